from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdfkit.options import STANDARD, Curve, Device, Input, Manifest, Output, Overwrite, Precision, Seed

if TYPE_CHECKING:
    import numpy as np

    from sdfkit.rows import Row
    from sdfkit.training.autoencoder import AutoencoderTraining, ShapeSamples

# Samples are stored in random order: the first ones of a shape are a fair draw, and fit into memory.
KEPT = 1 << 15


def train_ae(
    weights: Input = STANDARD,
    *,
    preset: Annotated[
        Literal["small", "1024x3"],
        typer.Option(help="Network and recipe: small is made for two CPU cores, 1024x3 is the paper's."),
    ] = "small",
    latent: Annotated[
        int, typer.Option(min=1, help="Numbers in a code; the paper's have 128 and 256.")
    ] = 128,
    loss: Annotated[
        Literal["weights", "field"],
        typer.Option(
            help="Error of the weights, as in the paper, or of the distances they give at --samples."
        ),
    ] = "weights",
    samples: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Samples of the same shapes: to learn by, and to judge by."),
    ] = None,
    points: Annotated[int, typer.Option(min=1, help="Samples of each shape a step.")] = 1024,
    clamp: Annotated[float, typer.Option(min=0, help="Distances count up to this.")] = 0.1,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the shapes; the preset's.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Shapes a step; the preset's.")] = None,
    lr: Annotated[float | None, typer.Option(min=0, help="Learning rate; the preset's.")] = None,
    resolution: Annotated[
        int,
        typer.Option(min=8, max=256, help="Cells along a side of the cube in which surfaces are looked for."),
    ] = 48,
    curve: Curve = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Train the autoencoder that turns the weights of small networks into codes, and back.

    What it encodes is how far each shape's weights are from the mean of all. At the end it tells how well it does, and
    keeps that with the model: by the weights (FVU, the share of their variance that is left, where the mean leaves 1;
    centred cosines; raw ones, which are near 1 for anything near the mean) and by what they are for, the surfaces: how
    much of the inside is still inside, and which shapes have lost their surface, with no zero crossing left. Weights
    that look right can make no shape.

    --loss field learns the distances in place of the weights: the repair, and several times as slow.

    \b
    Examples:
      sdfkit train-ae weights.zarr -o ae.zarr && sdfkit mesh ae.zarr -o reconstructed/
      sdfkit train-ae weights.zarr --loss field --samples samples.zarr -o field_ae.zarr
      sdfkit train-dit features.zarr --codes ae.zarr -o dit.zarr
      sdfkit predict dit.zarr features.zarr | sdfkit mesh --decoder ae.zarr -o predicted/
    """
    import dataclasses
    import logging

    import numpy as np
    import torch

    from sdfkit.errors import InputError, UsageError
    from sdfkit.io.models import fingerprint, load_unfinished, read_mlp, read_vectors
    from sdfkit.io.stores.reader import open_store
    from sdfkit.io.stores.writer import create_store
    from sdfkit.models.autoencoder import PRESETS
    from sdfkit.report.plots import check_picture, draw_losses
    from sdfkit.runtime.device import choose_device, choose_precision
    from sdfkit.runtime.training_loop import train
    from sdfkit.training.autoencoder import RECIPES, AutoencoderTraining
    from sdfkit.training.run import open_device_context

    log = logging.getLogger(__name__)
    if loss == "field" and samples is None:
        raise UsageError("--loss field compares distances: add --samples STORE")
    if [weights, samples].count(STANDARD) > 1:
        raise UsageError("standard input can be read once; name files for the weights or --samples")
    if curve is not None:
        check_picture(curve, overwrite)
    asked: dict[str, Any] = {"epochs": epochs, "batch": batch, "lr": lr}
    recipe = dataclasses.replace(
        RECIPES[preset], loss=loss, points=points, clamp=clamp,
        **{name: value for name, value in asked.items() if value is not None},
    )  # fmt: skip
    place = choose_device(device)
    context = open_device_context(place, choose_precision(precision, place))
    if context.processes > 1 and STANDARD in (weights, samples, output):
        raise UsageError("several processes cannot share a pipe: name the stores")
    with open_store(weights, "weights", manifest=manifest) as store:
        networks, history = read_mlp(store), store.history
        rows, vectors = read_vectors(store)
        if len(rows) == 1:
            raise InputError(
                f"{store.name}: one shape ({rows[0].uid}), from which there is nothing to learn; two or more are needed"
            )
    known, more = _read_samples(samples, rows) if samples is not None else (None, [])
    history = [*history, *more]
    config, uids = PRESETS[preset](vectors.shape[1], latent), [row.uid for row in rows]
    training = AutoencoderTraining(
        config, recipe, uids, vectors, networks, known, context, torch.Generator().manual_seed(seed)
    )
    settings = {
        "preset": preset, "latent": latent, "seed": seed, "precision": context.precision, **dataclasses.asdict(recipe),
    }  # fmt: skip
    losses = load_unfinished(training, output, "autoencoder", settings, uids, overwrite=overwrite)

    def save(state: dict[str, np.ndarray], losses: list[float], *, complete: bool) -> None:
        if context.process > 0:
            return
        network, codes, _ = training.result()
        parameters = {name: value.cpu().numpy() for name, value in network.state_dict().items()}
        iou, report = _judge(training, resolution) if complete else (np.zeros(len(rows), np.float32), {})
        attributes = {
            "network": dataclasses.asdict(networks), "decoder_sha256": fingerprint(parameters), "report": report,
        }  # fmt: skip
        with create_store(
            output, "autoencoder", rows=rows, history=history, settings=settings, seed=seed, attributes=attributes,
            overwrite=overwrite, complete=complete,
        ) as model:  # fmt: skip
            model.create_array("code", data=codes.cpu().numpy(), axes=("shape", "dim"))
            model.create_array("iou", data=iou, axes=("shape",))
            model.create_array("loss", data=np.array(losses, np.float32), axes=("step",))
            model.create_group("autoencoder", attributes=dataclasses.asdict(config), arrays=parameters)
            model.create_group("state", attributes={}, arrays=state)
            for row in rows:
                model.write(row)

    losses = train(training, training.steps, losses, save, output)
    if curve is not None and context.process == 0:
        draw_losses(curve, losses, title=output, overwrite=overwrite)
    log.info(
        "wrote an autoencoder and %d codes to %s",
        len(rows),
        "standard output" if output == STANDARD else output,
    )


def _read_samples(path: str, rows: "list[Row]") -> "tuple[ShapeSamples, list[dict[str, Any]]]":
    """The first samples of each shape, and how they were made."""
    import numpy as np
    import torch

    from sdfkit.errors import InputError
    from sdfkit.io.stores.reader import open_store
    from sdfkit.training.autoencoder import ShapeSamples

    with open_store(path, "samples", manifest=None) as store:
        places = {row.uid: row.index for row in store.all_rows() if not row.error}
        for row in rows:
            if row.uid not in places:
                raise InputError(
                    f"{store.name}: has no samples of {row.uid}; name those that its weights were fitted to"
                )
        parts = [
            np.stack([store.read_part(name, (places[row.uid], slice(0, KEPT))) for row in rows])
            for name in ("point", "distance", "near")
        ]
        return ShapeSamples(*map(torch.from_numpy, parts)), store.history


def _judge(training: "AutoencoderTraining", resolution: int) -> "tuple[np.ndarray, dict[str, Any]]":
    """IoU of each shape, and all that is told of the reconstructions."""
    import logging

    import numpy as np

    from sdfkit.evaluation.reconstructions import compare_surfaces, compare_vectors

    log = logging.getLogger(__name__)
    _, codes, made = training.result()
    originals = training.vectors.to(made.device)
    like = compare_vectors(originals, made, codes)
    before, after = compare_surfaces(training.networks.config, originals, made, training.samples, resolution)
    spread = {
        name: {"mean": float(values.mean()), "median": float(np.median(values)), "min": float(values.min())}
        for name, values in (("cosine", like.cosine), ("centred", like.centred), ("iou", after.iou))
    }
    report: dict[str, Any] = {
        "mse": like.mse, "fvu": like.fvu, **spread,
        "code_cosine": like.code_cosine, "original_cosine": like.original_cosine,
        "lost": [training.uids[row] for row in np.flatnonzero(after.lost).tolist()],
        "lost_before": [training.uids[row] for row in np.flatnonzero(before.lost).tolist()],
    }  # fmt: skip
    log.info(
        "weights: FVU %.4f (the mean's is 1); centred cosine %.4f in the mean, %.4f at least",
        like.fvu, spread["centred"]["mean"], spread["centred"]["min"],
    )  # fmt: skip
    log.info(
        "raw cosine %.4f, MSE %.3g: they mislead, two different shapes have %.4f already",
        spread["cosine"]["mean"], like.mse, like.original_cosine,
    )  # fmt: skip
    log.info("codes: mean cosine of pairs %.2f", like.code_cosine)
    log.info(
        "surfaces: IoU with the original %.3f in the mean, %.3f in the median, %.3f at least",
        *spread["iou"].values(),
    )
    if before.true_iou is not None and after.true_iou is not None:
        report["true_iou"] = {"before": float(before.true_iou.mean()), "after": float(after.true_iou.mean())}
        log.info(
            "with the true shape %.3f; the original networks %.3f", *reversed(report["true_iou"].values())
        )
    ranges = (
        f"{training.uids[row]} {after.low[row]:.3f} to {after.high[row]:.3f}"
        for row in np.flatnonzero(after.lost).tolist()[:10]
    )
    log.info(
        "%d of %d lost their surface: no zero crossing (of the original networks %d)%s", after.lost.sum(),
        len(after.lost), before.lost.sum(), "".join(f"; {text}" for text in ranges),
    )  # fmt: skip
    return after.iou, report
