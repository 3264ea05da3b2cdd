from typing import Annotated, Any, Literal

import typer

from sdfkit.options import STANDARD, Curve, Device, Input, Manifest, Output, Overwrite, Precision, Seed


def train_deepsdf(
    samples: Input = STANDARD,
    *,
    preset: Annotated[
        Literal["small", "256x4", "512x8"],
        typer.Option(help="Decoder and recipe; small is made for two CPU cores."),
    ] = "small",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps; the preset's where not given.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Shapes a step; the preset's.")] = None,
    points: Annotated[
        int | None, typer.Option(min=1, help="Points of each shape a step; the preset's.")
    ] = None,
    near_focus: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of them near the surface; the preset's.")
    ] = None,
    lr: Annotated[float | None, typer.Option(min=0, help="Decoder's learning rate; the preset's.")] = None,
    code_lr: Annotated[float | None, typer.Option(min=0, help="Codes' learning rate; the preset's.")] = None,
    code_std: Annotated[
        float | None, typer.Option(min=0, help="Spread of the codes at the start; the preset's.")
    ] = None,
    code_penalty: Annotated[
        float | None, typer.Option(min=0, help="Weight of the squared length of codes; the preset's.")
    ] = None,
    penalty_ramp: Annotated[
        int, typer.Option(min=0, help="Steps over which that weight grows, as DeepSDF's does.")
    ] = 0,
    latent_noise: Annotated[
        float,
        typer.Option(min=0, help="Noise on codes, as a share of their spread: a smoother space of shapes."),
    ] = 0.0,
    kl: Annotated[
        float, typer.Option(min=0, help="Weight of a variational code's divergence, in place of the penalty.")
    ] = 0.0,
    eikonal: Annotated[
        float, typer.Option(min=0, help="Weight of the field's slope being 1 away from the surface.")
    ] = 0.0,
    ema: Annotated[
        float | None, typer.Option(min=0, max=1, help="Decay of the averaged decoder; the preset's.")
    ] = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the decoder first, for long runs on a GPU.")
    ] = False,
    curve: Curve = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Train a shared decoder and one code for each shape.

    The decoder f(code, point) learns the signed distances of all shapes at once; what tells the shapes apart has
    to go into their codes. Training is saved every few minutes and when it is stopped; the same command goes on.
    Samples that do not fit into half of the free memory are read as they are needed, from a folder or a URL.
    The loss says little about shapes: look at the meshes (sdfkit mesh) and judge them (sdfkit compare).

    \b
    Examples:
      sdfkit train-deepsdf samples.zarr --preset small -o deepsdf.zarr
      sdfkit mesh deepsdf.zarr -o meshes/
      torchrun --nproc-per-node 4 -m sdfkit train-deepsdf samples.zarr --preset 512x8 -o deepsdf.zarr
    """
    import dataclasses
    import logging

    import numpy as np
    import torch

    from sdfkit.errors import UsageError
    from sdfkit.io.models import fingerprint, load_unfinished
    from sdfkit.io.stores.samples import open_samples
    from sdfkit.io.stores.writer import create_store
    from sdfkit.models.deepsdf import PRESETS
    from sdfkit.report.plots import check_picture, draw_losses
    from sdfkit.runtime.device import choose_device, choose_precision
    from sdfkit.runtime.training_loop import train
    from sdfkit.training.deepsdf import DeepSDFTraining
    from sdfkit.training.deepsdf_recipes import RECIPES
    from sdfkit.training.run import open_device_context

    log = logging.getLogger(__name__)
    if curve is not None:
        check_picture(curve, overwrite)
    asked: dict[str, Any] = {
        "steps": steps, "shapes": batch, "points": points, "near": near_focus, "decoder_lr": lr, "code_lr": code_lr,
        "code_std": code_std, "code_penalty": code_penalty, "average": ema,
    }  # fmt: skip
    config = PRESETS[preset]
    recipe = dataclasses.replace(
        RECIPES[preset], penalty_ramp=penalty_ramp, latent_noise=latent_noise, kl=kl, eikonal=eikonal,
        **{name: value for name, value in asked.items() if value is not None},
    )  # fmt: skip
    place = choose_device(device)
    context = open_device_context(place, choose_precision(precision, place))
    if context.processes > 1 and STANDARD in (samples, output):
        raise UsageError("several processes cannot share a pipe: name the stores")
    with open_samples(samples, recipe, context, manifest=manifest) as known:
        rows, uids = known.rows, [row.uid for row in known.rows]
        if len(rows) == 1:
            log.warning("%s: one shape alone: its code will tell nothing about others", samples)
        if not known.samples.in_memory:
            log.info("samples are read when they are needed: they do not fit into half of the free memory")
        training = DeepSDFTraining(
            config, recipe, known.samples, uids, context, torch.Generator().manual_seed(seed)
        )
        settings = {
            "preset": preset,
            "seed": seed,
            "precision": context.precision,
            "compile": compile,
            **dataclasses.asdict(recipe),
        }
        losses = load_unfinished(training, output, "deepsdf", settings, uids, overwrite=overwrite)

        def save(state: dict[str, np.ndarray], losses: list[float], *, complete: bool) -> None:
            decoder, codes = training.result()
            if context.process > 0:
                return
            parameters = {name: value.cpu().numpy() for name, value in decoder.state_dict().items()}
            with create_store(
                output, "deepsdf", rows=rows, history=known.history, settings=settings, seed=seed,
                attributes={"decoder_sha256": fingerprint(parameters)}, overwrite=overwrite, complete=complete,
            ) as model:  # fmt: skip
                model.create_array("code", data=codes.cpu().numpy(), axes=("shape", "dim"))
                model.create_array("loss", data=np.array(losses, np.float32), axes=("step",))
                model.create_group("decoder", attributes=dataclasses.asdict(config), arrays=parameters)
                model.create_group("state", attributes={}, arrays=state)
                for row in rows:
                    model.write(row)

        losses = train(training, recipe.steps, losses, save, output)
        report = training.report(samples=20_000, clamp=0.1)
    # The paper's figures count distances up to its clamp; a decoder is only taught that far.
    log.info(
        "SDF L1 mean %.5f, max %.5f (up to 0.1: %.5f, %.5f); mean cosine between codes %.2f",
        report.sdf_l1.mean(), report.sdf_l1.max(), report.clamped_l1.mean(), report.clamped_l1.max(),
        report.code_cosine,
    )  # fmt: skip
    worst = np.argsort(-report.clamped_l1)[:10]
    names = (f"{rows[row].uid} {rows[row].category} {report.clamped_l1[row]:.5f}" for row in worst)
    log.info("worst: %s", "; ".join(" ".join(name.split()) for name in names))
    if curve is not None and context.process == 0:
        draw_losses(curve, losses, title=output, overwrite=overwrite)
    log.info(
        "wrote a decoder and %d codes to %s", len(rows), "standard output" if output == STANDARD else output
    )
