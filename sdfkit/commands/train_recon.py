from typing import Annotated, Literal

import typer

from sdfkit.options import (
    STANDARD,
    WHOLE,
    Device,
    Inputs,
    Length,
    Manifest,
    Output,
    Overwrite,
    Precision,
    Seed,
    Watch,
    preset_option,
)


def train_recon(
    views: Inputs = [STANDARD],  # noqa: B006  typer copies it
    *,
    samples: Annotated[
        str,
        typer.Option(metavar="STORE", help="Store of sdfkit sample-sdf with samples of the same shapes."),
        WHOLE,
    ],
    preset: Annotated[
        Literal["small", "large"], typer.Option(help="Network and training settings, see Presets.")
    ] = "small",
    length: Length = Length(),
    batch: Annotated[int | None, preset_option("Shapes per step", min=1)] = None,
    points: Annotated[int | None, preset_option("Points per shape and step", min=1)] = None,
    most: Annotated[
        int | None, preset_option("Maximum of views per shape and step", "--views", min=1)
    ] = None,
    turned: Annotated[
        float | None, preset_option("Share of shapes that are turned at random", min=0, max=1)
    ] = None,
    lr: Annotated[float | None, preset_option("Learning rate of Muon", min=0)] = None,
    watch: Watch = Watch(),
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Train a network that reconstructs shapes from posed images.

    It is the model to choose for shapes and kinds of shapes that are not in the training set. A model of train-dit or
    train-flow can only predict shapes that its decoder represents. This network projects every point of space into
    every image, and reads there the image's features and the distance from the silhouette; a coarse volume of such
    features completes what no image shows. Predictions agree with the images, and improve with each further image.

    The input is a views store of sdfkit render (24 views of each shape are enough), and the samples of the same shapes.
    In each step, the network sees 1 to 8 views of each shape. Half of the shapes are mirrored, and some are turned
    about the vertical axis, together with their cameras. The loss is the mean absolute error of distances clamped at
    0.1. It is reported beside the error of the visual hull, which needs no training: a model whose error is not lower
    is of no use.

    Predictions need masks and cameras. sdfkit predict writes a grid of signed distances for each shape, and sdfkit mesh
    needs no decoder for it.

    \b
    Examples:
      sdfkit train-recon views.zarr --samples samples.zarr -o recon.zarr
      sdfkit render new.glb --views 4 | sdfkit predict recon.zarr | sdfkit mesh > new.ply
    """
    from dataclasses import asdict

    import torch

    from sdfkit.evaluation.reconstruction_errors import measure_errors
    from sdfkit.io.models.training_runs import log_written, run_training
    from sdfkit.io.models.writer import ModelContents, ModelOutput, network_group
    from sdfkit.io.stores.contents.posed_views import read_view_set
    from sdfkit.io.stores.contents.samples import open_samples_of
    from sdfkit.models.recon.network import PRESETS
    from sdfkit.report.plots import check_picture
    from sdfkit.report.training_summary import (
        answer_dry_run,
        describe_reconstruction_errors,
        log_lines,
        plot_training,
    )
    from sdfkit.runtime.training_loop import open_training_context
    from sdfkit.training.epochs import choose_steps
    from sdfkit.training.recon.training import RECIPES, ReconTraining, TrainingViews
    from sdfkit.training.run import override

    check_picture(watch.curve, overwrite)
    config = PRESETS[preset]
    recipe = override(RECIPES[preset], shapes=batch, points=points, views=most, turned=turned, lr=lr)
    context = open_training_context(device, precision, (*views, samples, output))
    seen = read_view_set(views, config.size, manifest=manifest)
    with open_samples_of(seen.rows, f"the views of {seen.name}", samples, recipe, context) as known:
        recipe = override(recipe, steps=choose_steps(*length, len(known.rows), recipe.shapes))
        settings = {"preset": preset, "seed": seed, "precision": context.precision, **asdict(recipe)}
        indices = [row.index for row in known.rows]
        arrays = TrainingViews(*(torch.from_numpy(part[indices]) for part in seen.arrays))
        training = ReconTraining(
            config, recipe, arrays, known.samples, [row.uid for row in known.rows], context,
            torch.Generator().manual_seed(seed),
        )  # fmt: skip
        history = [*seen.history, *(step for step in known.history if step not in seen.history)]
        target = ModelOutput(output, "recon", known.rows, history, settings, seed, overwrite)
        answer_dry_run(watch, training, settings)

        def describe(complete: bool) -> ModelContents:
            group = network_group(training.result(), config)
            return ModelContents({"grid": training.grids.numpy()}, {"recon": group}, {})

        run_training(training, recipe.steps, target, describe, watch, plot_training(watch, target, training))
        lines = describe_reconstruction_errors(measure_errors(training))
    log_lines(lines)
    log_written(target, f"a reconstruction network for {len(known.rows)} shapes")
