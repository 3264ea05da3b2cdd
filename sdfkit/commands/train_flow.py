from typing import Annotated, Literal

import typer

from sdfkit.options import (
    IRRELEVANT,
    STANDARD,
    WHOLE,
    Device,
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


def train_flow(
    views: Inputs = [STANDARD],  # noqa: B006  typer copies it
    *,
    stage: Annotated[
        Literal["encoder", "distil", "joint", "rgb", "all"], typer.Option(help="Stage to train, see above.")
    ] = "all",
    start: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Store of the previous stage, to continue from."),
        WHOLE,
    ] = None,
    preset: Annotated[
        Literal["small", "paper"], typer.Option(help="Networks and training settings, see Presets.")
    ] = "small",
    latent: Latent = "global",
    features: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Condition on features of the same shapes, not on images."),
        WHOLE,
    ] = None,
    velocity: Annotated[
        Literal["mlp", "dit"], typer.Option(help="Network of the flow; dit attends to the patches of images.")
    ] = "mlp",
    supervision: Annotated[
        Literal["mask", "mask+rgb"], typer.Option(help="mask: leave stage rgb out of --stage all.")
    ] = "mask+rgb",
    silhouette: Annotated[
        Literal["bce", "dt-bound"] | None,
        preset_option("bce: cross-entropy; dt-bound: distance bound of SDF-SRN"),
    ] = None,
    code_scale: Annotated[
        bool, typer.Option("--code-scale/--no-code-scale", help="Scale initial noise like the codes, or not.")
    ] = True,
    views_per_shape: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Views of each shape to use; default: all.")
    ] = None,
    rays: Annotated[int | None, preset_option("Rays per view", min=1)] = None,
    batch: Annotated[int | None, preset_option("Shapes per step", min=1)] = None,
    temperature: Annotated[float | None, preset_option("Final temperature of silhouettes", min=1e-4)] = None,
    eikonal: Annotated[float | None, preset_option("Weight of the eikonal loss", min=0)] = None,
    cfg_dropout: Annotated[float | None, preset_option("Share of images left out", min=0, max=1)] = None,
    length: Length = Length(),
    held_out: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Views of held-out shapes, to evaluate at the end."),
        WHOLE,
    ] = None,
    check_gradients: Annotated[
        bool,
        typer.Option("--check-gradients", help="Log the norm of each network's last gradient."),
        IRRELEVANT,
    ] = False,
    watch: Watch = Watch(),
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Train Flow-SDF: images to shapes, without 3-D data.

    Training uses only rendered views (masks, cameras, colours), and no mesh, sample or distance. --stage all trains the
    four stages in order. A stage that is trained alone continues from the store of the previous stage (--start):

    \b
      encoder  an encoder from images to latent codes, and a decoder from codes to signed distances, whose
               silhouettes are compared with the masks
      distil   a rectified flow from noise to the encoder's codes in 8 steps, conditioned on the image
      joint    the flow's own image encoder (the conditioner), the flow and the decoder together, by silhouettes
      rgb      the same networks by silhouettes and shading, which depends on the orientation of surfaces

    Silhouettes are soft: distances are divided by a temperature, which falls during training. The silhouette loss is
    reported with its temperature and with the ideal loss, which exact signed distances would have, and which is above
    0; a loss below it means that decoded distances are larger in magnitude than true ones. Compare meshes to judge a
    model (predict, mesh, compare). With one view per shape depth is not determined, and wrong shapes match the masks.

    \b
    Examples:
      sdfkit render closed/ --views 24 | sdfkit train-flow -o flow.zarr
      sdfkit train-flow views.zarr --stage encoder -o cnn.zarr
      sdfkit train-flow views.zarr --stage distil --start cnn.zarr -o distilled.zarr
      sdfkit predict flow.zarr photo.jpg | sdfkit mesh --decoder flow.zarr > photo.ply
    """
    from dataclasses import asdict

    import torch

    from sdfkit.images.rendering.rasteriser import LIGHT_DIRECTIONS
    from sdfkit.io.models.contents import flow_contents, read_flow_networks
    from sdfkit.io.models.training_runs import log_written, run_training
    from sdfkit.io.models.writer import ModelOutput
    from sdfkit.io.stores.contents.training_views import read_training_views
    from sdfkit.report.plots import check_picture
    from sdfkit.report.training_summary import answer_dry_run, evaluate_silhouettes, log_lines, plot_training
    from sdfkit.runtime.training_loop import open_training_context
    from sdfkit.training.flow.recipes import RECIPES, choose_networks, choose_stage_steps, choose_stages
    from sdfkit.training.flow.training import FlowTraining
    from sdfkit.training.run import override

    stages, before = choose_stages(stage, supervision, start)
    check_picture(watch.curve, overwrite)
    recipe = override(
        RECIPES[preset], code_scale=code_scale, silhouette=silhouette, rays=rays, shapes=batch, temperature=temperature,
        eikonal=eikonal, dropout=cfg_dropout,
    )  # fmt: skip
    known, unseen = read_training_views(
        views, features, held_out, recipe, most=views_per_shape, parts=velocity == "dit", manifest=manifest
    )
    recipe = override(recipe, steps=choose_stage_steps(recipe, *length, *known.pictures.rgb.shape[:2]))
    config, decoder = choose_networks(preset, latent, velocity, known.pictures.features)
    context = open_training_context(device, precision, (*views, features, output))
    training = FlowTraining(
        config, decoder, recipe, stages, LIGHT_DIRECTIONS, [row.uid for row in known.rows], known.pictures, context,
        torch.Generator().manual_seed(seed),
    )  # fmt: skip
    if start is not None:
        training.load_networks(read_flow_networks(start, before))
    settings = {
        "preset": preset, "latent": latent, "stage": stage, "velocity": velocity,
        "views": known.pictures.rgb.shape[1], "seed": seed, "precision": context.precision, **asdict(recipe),
    }  # fmt: skip
    target = ModelOutput(output, "flow", known.rows, known.history, settings, seed, overwrite, stage != "all")
    answer_dry_run(watch, training, settings)
    plot = plot_training(watch, target, training)
    run_training(training, training.steps, target, lambda _: flow_contents(training, known), watch, plot)
    log_lines(evaluate_silhouettes(training, known, unseen, check_gradients=check_gradients))
    log_written(target, f"a flow for {len(known.rows)} shapes")
