from typing import Annotated, Literal

import typer

from sdfkit.options import STANDARD, Curve, Device, Input, Manifest, Output, Overwrite, Precision, Seed
from sdfkit.wording import counted


def train_deepsdf(
    samples: Input = STANDARD,
    *,
    preset: Annotated[
        Literal["small", "256x4", "512x8"],
        typer.Option(
            help="Settings, see Presets; small: for two CPU cores; others: width x layers of the decoder."
        ),
    ] = "small",
    steps: Annotated[int | None, typer.Option(min=1, help="Number of steps; default: the preset's.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Shapes per step; default: the preset's.")] = None,
    points: Annotated[
        int | None, typer.Option(min=1, help="Points per shape and step; default: the preset's.")
    ] = None,
    near_focus: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of --points near the surface; default: the preset's."),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(min=0, help="Learning rate of the decoder; default: the preset's.")
    ] = None,
    code_lr: Annotated[
        float | None, typer.Option(min=0, help="Learning rate of the codes; default: the preset's.")
    ] = None,
    code_std: Annotated[
        float | None, typer.Option(min=0, help="Standard deviation of initial codes; default: the preset's.")
    ] = None,
    code_penalty: Annotated[
        float | None, typer.Option(min=0, help="Weight of the codes' squared length; default: the preset's.")
    ] = None,
    penalty_ramp: Annotated[
        int, typer.Option(min=0, help="Steps in which --code-penalty grows from 0, as in DeepSDF.")
    ] = 0,
    latent_noise: Annotated[
        float,
        typer.Option(
            min=0,
            help="Standard deviation of noise added to codes, relative to that of the codes; smooths the latent space.",
        ),
    ] = 0.0,
    kl: Annotated[
        float,
        typer.Option(
            min=0,
            help="Weight of the KL divergence of variational codes; above 0 it replaces --code-penalty.",
        ),
    ] = 0.0,
    eikonal: Annotated[
        float, typer.Option(min=0, help="Weight of the eikonal loss at points away from the surface.")
    ] = 0.0,
    ema: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Decay of the moving average (EMA) of decoder and codes; 0: none; default: the preset's.",
        ),
    ] = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="Use torch.compile, for long runs on a GPU.")
    ] = False,
    curve: Curve = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Train DeepSDF: one decoder, and a latent code for each shape.

    The decoder f(code, point) computes the signed distance of a point from the surface of the shape with this latent
    code. All shapes share the decoder and differ only in their codes. The samples are those of sdfkit sample-sdf. A run
    saves its state every few minutes, and when a signal stops it; the same command then continues the run. Samples that
    do not fit into half of the free memory are read from their folder or URL when they are needed. A low training loss
    does not guarantee good shapes: extract meshes (sdfkit mesh), and compare them with the true meshes (sdfkit
    compare).

    \b
    Examples:
      sdfkit train-deepsdf samples.zarr --preset small -o deepsdf.zarr
      sdfkit mesh deepsdf.zarr -o meshes/
      torchrun --nproc-per-node 4 -m sdfkit train-deepsdf samples.zarr --preset 512x8 -o deepsdf.zarr
    """
    import logging
    from dataclasses import asdict

    import torch

    from sdfkit.evaluation.field_errors import measure_decoder
    from sdfkit.io.models import ModelContents, ModelOutput, fingerprint, network_group
    from sdfkit.io.stores.samples import open_samples
    from sdfkit.io.training_runs import log_written, run_training
    from sdfkit.models.deepsdf import PRESETS
    from sdfkit.report.plots import check_picture, draw_losses
    from sdfkit.report.training_summary import describe_decoder
    from sdfkit.runtime.training_loop import open_training_context
    from sdfkit.training.deepsdf import DeepSDFTraining
    from sdfkit.training.deepsdf_recipes import RECIPES
    from sdfkit.training.run import override

    log = logging.getLogger(__name__)
    if curve is not None:
        check_picture(curve, overwrite)
    config = PRESETS[preset]
    recipe = override(
        RECIPES[preset], steps=steps, shapes=batch, points=points, near=near_focus, decoder_lr=lr, code_lr=code_lr,
        code_std=code_std, code_penalty=code_penalty, ema_decay=ema, penalty_ramp=penalty_ramp,
        latent_noise=latent_noise, kl=kl, eikonal=eikonal,
    )  # fmt: skip
    context = open_training_context(device, precision, (samples, output))
    with open_samples(samples, recipe, context, manifest=manifest) as known:
        if len(known.rows) == 1:
            log.warning("%s: has only one shape; the decoder cannot represent others", samples)
        if not known.samples.in_memory:
            log.info(
                "the samples do not fit into half of the free memory; they are read when they are needed"
            )
        training = DeepSDFTraining(
            config, recipe, known.samples, [row.uid for row in known.rows], context, torch.Generator().manual_seed(seed)
        )  # fmt: skip
        if compile:
            training.compile()
        settings = {
            "preset": preset, "seed": seed, "precision": context.precision, "compile": compile, **asdict(recipe),
        }  # fmt: skip
        target = ModelOutput(output, "deepsdf", known.rows, known.history, settings, seed, overwrite)

        def describe(complete: bool) -> ModelContents:
            decoder, codes = training.result()
            group = network_group(decoder, config)
            attributes = {"decoder_sha256": fingerprint(group.arrays)}
            return ModelContents({"code": codes.cpu().numpy()}, {"decoder": group}, attributes)

        losses = run_training(training, recipe.steps, target, describe)
        errors = measure_decoder(training, samples=20_000, clamp=0.1)
    for line in describe_decoder(errors, known.rows):
        log.info("%s", line)
    if curve is not None and context.process == 0:
        draw_losses(curve, losses, title=output, overwrite=overwrite)
    log_written(target, f"a decoder and {counted(len(known.rows), 'code')}")
