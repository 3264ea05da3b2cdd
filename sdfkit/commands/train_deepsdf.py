from typing import Annotated, Literal

import typer

from sdfkit.options import (
    STANDARD,
    Device,
    Ema,
    HeldOut,
    Inputs,
    Latent,
    Length,
    Manifest,
    Output,
    Overwrite,
    Precision,
    Seed,
    Watch,
    preset_option,
)
from sdfkit.wording import counted


def train_deepsdf(
    samples: Inputs = [STANDARD],  # noqa: B006  typer copies it
    *,
    preset: Annotated[
        Literal["small", "256x4", "512x8"],
        typer.Option(help="Settings, see Presets; small: for two CPU cores; others: width x layers."),
    ] = "small",
    latent: Latent = "global",
    length: Length = Length(),
    batch: Annotated[int | None, preset_option("Shapes per step", min=1)] = None,
    points: Annotated[int | None, preset_option("Points per shape and step", min=1)] = None,
    near_focus: Annotated[
        float | None, preset_option("Share of --points near the surface", min=0, max=1)
    ] = None,
    lr: Annotated[float | None, preset_option("Learning rate of the decoder", min=0)] = None,
    code_lr: Annotated[float | None, preset_option("Learning rate of the codes", min=0)] = None,
    code_std: Annotated[float | None, preset_option("Standard deviation of initial codes", min=0)] = None,
    code_penalty: Annotated[float | None, preset_option("Weight of the codes' squared length", min=0)] = None,
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
        typer.Option(min=0, help="Weight of the KL divergence of variational codes; no --code-penalty then."),
    ] = 0.0,
    eikonal: Annotated[
        float, typer.Option(min=0, help="Weight of the eikonal loss at points away from the surface.")
    ] = 0.0,
    interpolation: Annotated[
        float,
        typer.Option(min=0, help="Weight of the eikonal loss at codes between those of two shapes."),
    ] = 0.0,
    ema: Ema = None,
    compile: Annotated[bool, typer.Option("--compile", help="Use torch.compile, on a GPU.")] = False,
    held_out: HeldOut = 0.0,
    watch: Watch = Watch(),
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Train DeepSDF: one decoder, and a latent code for each shape.

    The decoder f(code, point) computes the signed distance of a point from the surface of the shape with this latent
    code. All shapes share the decoder and differ only in their codes. With --latent, the numbers of a code have places
    on a grid or on three planes, where points read them; shapes unlike the training shapes are then fitted better
    (fit-code). The samples are those of sdfkit sample-sdf. A run saves its state every few minutes, and when a signal
    stops it; the same command then continues the run. Samples that do not fit into half of the free memory are read
    when they are needed. A low loss does not guarantee good shapes: compare meshes (sdfkit mesh, sdfkit compare). With
    --held-out, codes are fitted in the end to half of the samples of each held-out shape, and the errors of its other
    samples are reported. --latent-noise, --kl and --interpolation regularise the codes: sdfkit interpolate measures it.

    \b
    Examples:
      sdfkit train-deepsdf samples.zarr --preset small -o deepsdf.zarr
      sdfkit mesh deepsdf.zarr -o meshes/
      torchrun --nproc-per-node 4 -m sdfkit train-deepsdf samples.zarr --preset 512x8 -o deepsdf.zarr
    """
    import logging
    from dataclasses import asdict

    import torch

    from sdfkit.evaluation.field_errors import measure_decoder, measure_held_out
    from sdfkit.io.models.contents import decoder_contents
    from sdfkit.io.models.training_runs import log_written, run_training
    from sdfkit.io.models.writer import ModelOutput
    from sdfkit.io.stores.contents.samples import open_samples
    from sdfkit.models.deepsdf import PRESETS, place_codes
    from sdfkit.report.plots import check_picture
    from sdfkit.report.training_summary import (
        answer_dry_run,
        describe_decoder,
        describe_held_out,
        log_lines,
        plot_training,
    )
    from sdfkit.runtime.training_loop import open_training_context
    from sdfkit.training.deepsdf.recipes import choose_recipe
    from sdfkit.training.deepsdf.training import DeepSDFTraining
    from sdfkit.training.epochs import choose_steps
    from sdfkit.training.run import override

    log = logging.getLogger(__name__)
    check_picture(watch.curve, overwrite)
    config = place_codes(PRESETS[preset], latent)
    recipe = override(
        choose_recipe(preset, latent), shapes=batch, points=points, near=near_focus, decoder_lr=lr,
        code_lr=code_lr, code_std=code_std, code_penalty=code_penalty, ema_decay=ema, penalty_ramp=penalty_ramp,
        latent_noise=latent_noise, kl=kl, eikonal=eikonal, interpolation=interpolation,
    )  # fmt: skip
    context = open_training_context(device, precision, (*samples, output))
    with open_samples(samples, recipe, context, held_out=held_out, seed=seed, manifest=manifest) as known:
        if len(known.rows) == 1:
            log.warning("%s: has only one shape; the decoder cannot represent others", samples[0])
        count = len(known.rows)
        recipe = override(recipe, steps=choose_steps(*length, count, min(recipe.shapes, count)))
        training = DeepSDFTraining(
            config, recipe, known.samples, [row.uid for row in known.rows], context, torch.Generator().manual_seed(seed)
        )  # fmt: skip
        if compile:
            training.compile()
        settings = {
            "preset": preset, "latent": latent, "held_out": held_out, "seed": seed, "precision": context.precision,
            "compile": compile, **asdict(recipe),
        }  # fmt: skip
        target = ModelOutput(output, "deepsdf", known.rows, known.history, settings, seed, overwrite)
        answer_dry_run(watch, training, settings)

        plot = plot_training(watch, target, training)
        run_training(training, recipe.steps, target, lambda _: decoder_contents(training), watch, plot)
        errors = measure_decoder(training, samples=20_000, clamp=0.1)
    unseen = measure_held_out(training, [part for _, part in known.held_out])
    rows = [row for row, _ in known.held_out]
    lines = [*describe_decoder(errors, known.rows), *describe_held_out(unseen, rows)]
    log_lines(lines)
    log_written(target, f"a decoder and {counted(len(known.rows), 'code')}")
