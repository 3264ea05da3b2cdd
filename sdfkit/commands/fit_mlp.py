from typing import Annotated, Literal

import typer

from sdfkit.options import (
    STANDARD,
    WHOLE,
    Device,
    FailFast,
    Inputs,
    Manifest,
    Output,
    Overwrite,
    RetryFailed,
    Seed,
    preset_option,
    refuse_two_lengths,
)


def fit_mlp(
    samples: Inputs = [STANDARD],  # noqa: B006  typer copies it
    *,
    network: Annotated[
        Literal["relu-pe", "siren"],
        typer.Option(
            help="Network of each shape. relu-pe: ReLU network with positional encoding; siren: sine activations."
        ),
    ] = "relu-pe",
    preset: Annotated[
        Literal["fast", "paper"],
        typer.Option(
            help='Settings of the fits, see Presets. paper: those of the paper "image to 3-D from small data".'
        ),
    ] = "fast",
    anchor: Annotated[
        str,
        typer.Option(
            metavar="first|none|UID|STORE",
            help="Initial weights of all fits. first: the network of the first shape; UID: the network of that shape; "
            "STORE: the anchor of an earlier weights store; none: random weights, different for each shape.",
        ),
        WHOLE,
    ] = "first",
    epochs: Annotated[
        float | None, typer.Option(min=1e-6, help="Number of passes over the samples, in place of --steps.")
    ] = None,
    steps: Annotated[int | None, preset_option("Number of steps per shape", min=1)] = None,
    points: Annotated[int | None, preset_option("Number of samples per shape and step", min=1)] = None,
    near_focus: Annotated[
        float | None, preset_option("Share of these samples that lie near the surface", min=0, max=1)
    ] = None,
    lr: Annotated[float | None, preset_option("Initial learning rate of a cosine schedule", min=0)] = None,
    clamp: Annotated[
        float,
        typer.Option(
            min=0, help="Limit predicted and true distances to this absolute value before comparing them."
        ),
    ] = 0.1,
    stop: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="LOSS", help="Stop the fit of a shape once its mean clamped error is below this."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, show_default="8; on a GPU, 256", help="Number of shapes to fit at the same time."
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    retry_failed: RetryFailed = False,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Fit one small network to each shape.

    Each network learns the signed distances of its shape from samples (of sdfkit sample-sdf). All parameters of the
    network, as one vector, are the weights of this shape. By default a network is first fitted to the first shape, and
    all fits start from its weights, the anchor; the weights of different shapes then remain similar to each other. With
    --anchor none each fit starts from its own random weights. The anchor is stored with the weights, so that --anchor
    STORE fits further shapes from the same anchor.

    The reported loss is the mean absolute error of clamped distances (--clamp) at held-out samples: the last tenth of
    each shape's samples, at most 10,000. A low loss does not guarantee good shapes: extract the meshes (sdfkit mesh)
    and view them. The same command continues an interrupted run after the last shape that was written.

    \b
    Examples:
      sdfkit fit-mlp samples.zarr -o weights.zarr
      sdfkit mesh weights.zarr -o meshes/ && sdfkit compare meshes/ closed/
      sdfkit fit-mlp more.zarr --anchor weights.zarr -o more_weights.zarr
      sdfkit fit-mlp samples.zarr --anchor none --network siren -o independent.zarr
    """
    from dataclasses import asdict

    from sdfkit.inference.fitting.mlps import (
        ARRAYS,
        MLPFitter,
        count_held_out,
        create_arrays,
        find_anchor,
    )
    from sdfkit.io.stores.writer import create_store
    from sdfkit.io.tables.joined import open_stores
    from sdfkit.models.mlp import PRESETS
    from sdfkit.report.training_summary import describe_fits, log_lines
    from sdfkit.runtime.pool import report_outcome
    from sdfkit.runtime.progress import progress
    from sdfkit.runtime.training_loop import open_training_context
    from sdfkit.training.mlp.recipes import choose_settings

    refuse_two_lengths(steps, epochs)
    config, context = PRESETS[network], open_training_context(device, "fp32", (*samples, output))
    origin = find_anchor(anchor, samples, config)
    with open_stores(samples, "samples", manifest=manifest) as store:
        count, sample = len(store), store.array("point").shape[1]
        recipe = choose_settings(
            network, preset, sample - count_held_out(sample), epochs,
            {"steps": steps, "points": points, "near": near_focus, "lr": lr, "clamp": clamp, "stop": stop},
        )  # fmt: skip
        together = batch or (8 if context.device.type == "cpu" else 256)
        # The rows of a store on disk are known before they are read, so its output can be resumed.
        rows = None if samples == [STANDARD] else store.all_rows()
        earlier = [step for step in (origin.history if origin else []) if step not in store.history]
        settings = {"network": network, "preset": preset, "seed": seed, "batch": together, **asdict(recipe)}
        make = create_store(
            output, "weights", rows=rows, count=count, history=[*store.history, *earlier], settings=settings, seed=seed,
            attributes={"network": asdict(config)}, overwrite=overwrite, resumable=True,
            retry_failed=retry_failed,
        )  # fmt: skip
        with context.in_first(make) as fitted, progress(count, "shape") as bar:
            if fitted is not None:
                create_arrays(fitted, config, count)
            fitter = MLPFitter(fitted, config, recipe, context, seed, stop=fail_fast or count == 1)
            fitter.prepare_anchor(anchor, origin, store)
            fitter.fit_rows(store.rows(*ARRAYS), together, anchor_first=anchor == "first", advance=bar.update)
    if fitted is not None:
        log_lines(describe_fits(fitter.losses, recipe.clamp))
        report_outcome(output, "weights", count, fitted.failed, made=fitted.made)
