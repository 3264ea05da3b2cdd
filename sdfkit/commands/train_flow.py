from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdfkit.options import STANDARD, Curve, Device, Input, Manifest, Output, Overwrite, Precision, Seed

if TYPE_CHECKING:
    from sdfkit.training.flow.training import FlowTraining

# Views of each shape that silhouettes are judged in at the end.
JUDGED = 2


def train_flow(
    views: Input = STANDARD,
    *,
    stage: Annotated[
        Literal["encoder", "distil", "joint", "rgb", "all"], typer.Option(help="What to train; see below.")
    ] = "all",
    start: Annotated[
        str | None, typer.Option(metavar="STORE", help="The flow store of the stage before, to go on from.")
    ] = None,
    preset: Annotated[Literal["small", "paper"], typer.Option(help="Networks and recipe.")] = "small",
    features: Annotated[
        str | None,
        typer.Option(
            metavar="STORE", help="Features of pictures or captions of the same shapes, to look at instead."
        ),
    ] = None,
    velocity: Annotated[
        Literal["mlp", "dit"], typer.Option(help="The flow's network; dit attends to parts of the pictures.")
    ] = "mlp",
    supervision: Annotated[
        Literal["mask", "mask+rgb"], typer.Option(help="Whether all ends with the rgb stage.")
    ] = "mask+rgb",
    silhouette: Annotated[
        Literal["bce", "dt-bound"] | None,
        typer.Option(help="Cross-entropy, or SDF-SRN's bound by distance transforms; the preset's."),
    ] = None,
    code_scale: Annotated[
        bool, typer.Option("--code-scale/--no-code-scale", help="Let noise be as spread as the codes are.")
    ] = True,
    views_per_shape: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Use N views of each shape, each seen from elsewhere; all."),
    ] = None,
    rays: Annotated[int | None, typer.Option(min=1, help="Rays through a view; the preset's.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Shapes a step; the preset's.")] = None,
    temperature: Annotated[
        float | None, typer.Option(min=1e-4, help="Of the soft silhouette, at the end; the preset's.")
    ] = None,
    eikonal: Annotated[
        float | None, typer.Option(min=0, help="Weight of the slope's error; the preset's.")
    ] = None,
    cfg_dropout: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of pictures that the flow does not see; the preset's."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each stage; the preset's.")] = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="Views of other shapes, whose silhouettes and shades are judged at the end too.",
        ),
    ] = None,
    check_gradients: Annotated[
        bool, typer.Option("--check-gradients", help="Tell the length of each network's last gradient.")
    ] = False,
    curve: Curve = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Train Flow-SDF: pictures to shapes, taught by silhouettes alone.

    Only the views are read: their masks, cameras and colours. No mesh, sample or distance is.

    \b
      encoder  a network that turns a picture into a code, and a decoder, whose silhouettes are compared with the masks
      distil   a rectified flow that carries noise to the encoder's codes in 8 steps, given the picture
      joint    everything, through the flow, the decoder and its silhouettes
      rgb      the same with shades beside silhouettes, which tell how surfaces are turned

    Each begins with --start, what the one before has made; all runs them in order. The loss of silhouettes is told with
    its temperature, and beside it what a field that is right everywhere would lose at that temperature: it is not 0,
    and a loss below it means an inflated field. Judge by meshes: predict, mesh and compare.

    From one view a shape, depth is free: silhouettes are met by wrong shapes. Several views carve.

    \b
    Examples:
      sdfkit render closed/ --views 24 | sdfkit train-flow -o flow.zarr
      sdfkit train-flow views.zarr --stage encoder -o cnn.zarr
      sdfkit train-flow views.zarr --stage distil --start cnn.zarr -o distilled.zarr
      sdfkit predict flow.zarr photo.jpg | sdfkit mesh --decoder flow.zarr > photo.ply
    """
    import dataclasses
    import logging

    import numpy as np
    import torch

    from sdfkit.errors import UsageError
    from sdfkit.evaluation.silhouettes import score
    from sdfkit.images.rendering.rasteriser import LIGHT_DIRECTIONS
    from sdfkit.io.models import fingerprint, load_unfinished
    from sdfkit.io.stores.training_views import read_pictures
    from sdfkit.io.stores.writer import create_store
    from sdfkit.report.plots import check_picture, draw_losses
    from sdfkit.runtime.device import choose_device, choose_precision
    from sdfkit.runtime.training_loop import train
    from sdfkit.training.flow.recipes import NETWORKS, RECIPES, STAGES
    from sdfkit.training.flow.training import FlowTraining
    from sdfkit.training.run import open_device_context

    log = logging.getLogger(__name__)
    if stage in ("encoder", "all") and start is not None:
        raise UsageError(f"--start: --stage {stage} begins from nothing")
    if stage in STAGES[1:] and start is None:
        before = STAGES[STAGES.index(stage) - 1]
        raise UsageError(f"--stage {stage} goes on from what --stage {before} made; name it with --start")
    if held_out is not None and features is not None:
        raise UsageError("--held-out: with --features there is nothing to look at of other shapes")
    if curve is not None:
        check_picture(curve, overwrite)
    stages = [stage] if stage != "all" else list(STAGES[: 4 if supervision == "mask+rgb" else 3])
    network, decoder = NETWORKS[preset]
    recipe = RECIPES[preset]
    asked: dict[str, Any] = {
        "silhouette": silhouette, "rays": rays, "shapes": batch, "temperature": temperature, "eikonal": eikonal,
        "dropout": cfg_dropout, "steps": steps and dict.fromkeys(STAGES, steps),
    }  # fmt: skip
    recipe = dataclasses.replace(
        recipe, code_scale=code_scale, **{name: value for name, value in asked.items() if value is not None}
    )
    seen = read_pictures(
        views, features, most=views_per_shape, parts=velocity == "dit", size=recipe.size,
        temperature=recipe.temperature, manifest=manifest,
    )  # fmt: skip
    rows, pictures = seen.rows, seen.pictures
    unseen = None
    if held_out is not None:
        unseen = read_pictures(
            held_out, None, most=None, parts=False, size=recipe.size, temperature=recipe.temperature, manifest=manifest
        )  # fmt: skip
    config = dataclasses.replace(network, velocity=velocity)
    if pictures.features is not None:
        _, _, patches, width = pictures.features.shape
        config = dataclasses.replace(config, feature=width, patches=patches)
    place = choose_device(device)
    context = open_device_context(place, choose_precision(precision, place))
    if context.processes > 1 and STANDARD in (views, features, output):
        raise UsageError("several processes cannot share a pipe: name the stores")
    uids = [row.uid for row in rows]
    training = FlowTraining(
        config, decoder, recipe, stages, LIGHT_DIRECTIONS, uids, pictures, context, torch.Generator().manual_seed(seed)
    )  # fmt: skip
    settings = {
        "preset": preset, "stage": stage, "velocity": velocity, "views": pictures.rgb.shape[1], "seed": seed,
        "precision": context.precision, **dataclasses.asdict(recipe),
    }  # fmt: skip
    if start is not None:
        _begin_with(training, start, STAGES[STAGES.index(stage) - 1])
    losses = load_unfinished(training, output, "flow", settings, uids, overwrite=overwrite)
    attributes = {
        "stage": stages[-1], "condition": seen.condition, "encoder": seen.encoder, "euler": recipe.euler,
        "noise": "scaled" if code_scale else "unit",
    }  # fmt: skip

    def save(state: dict[str, np.ndarray], losses: list[float], *, complete: bool) -> None:
        codes = training.result().cpu().numpy()
        if context.process > 0:
            return
        known = {key: value.cpu().numpy() for key, value in training.networks.decoder.state_dict().items()}
        with create_store(
            output, "flow", rows=rows, history=seen.history, settings=settings, seed=seed,
            attributes=attributes | {"decoder_sha256": fingerprint(known)}, overwrite=overwrite, complete=complete,
        ) as model:  # fmt: skip
            model.create_array("code", data=codes, axes=("shape", "dim"))
            model.create_array("loss", data=np.array(losses, np.float32), axes=("step",))
            for name in ("encoder", "conditioner", "flow", "decoder", "light"):
                shape = dataclasses.asdict(decoder if name == "decoder" else config)
                parameters = {
                    key: value.cpu().numpy()
                    for key, value in training.networks.get_submodule(name).state_dict().items()
                }
                model.create_group(name, attributes={} if name == "light" else shape, arrays=parameters)
            model.create_group("state", attributes={}, arrays=state)
            for row in rows:
                model.write(row)

    train(training, training.steps, losses, save, output)
    for name, known in {"": seen, "held out: ": unseen}.items():
        if known is None:
            continue
        shown = known.pictures.to(context.device)
        judged = score(training, shown, min(JUDGED, shown.rgb.shape[1]))
        log.info(
            "%ssilhouettes at temperature %g: loss %.4f (an exact field: %.4f), IoU %.3f; shades %.4f off",
            name, judged.temperature, judged.loss, known.exact, judged.overlap, judged.shading,
        )  # fmt: skip
    if check_gradients:
        norms = training.gradient_norms()
        log.info("gradients: %s", ", ".join(f"{name} {norm:.3g}" for name, norm in norms.items()))
    if curve is not None and context.process == 0:
        draw_losses(curve, losses, title=output, overwrite=overwrite)
    log.info(
        "wrote a flow for %d shapes to %s", len(rows), "standard output" if output == STANDARD else output
    )


def _begin_with(training: "FlowTraining", path: str, before: str) -> None:
    """Give a stage the networks that the one before has left."""
    from sdfkit.errors import InputError
    from sdfkit.io.stores.reader import open_store

    with open_store(path, "flow", manifest=None) as store:
        if store.attributes.get("stage") != before:
            raise InputError(
                f"{store.name}: was trained up to stage {store.attributes.get('stage')}, but {before} comes before; "
                f"make it with --stage {before}"
            )
        networks = {
            f"{name}.{key}": value
            for name in ("encoder", "conditioner", "flow", "decoder", "light")
            for key, value in store.read_group(name).items()
        }
    training.load_networks(networks)
