from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdfkit.options import STANDARD, Curve, Device, Input, Manifest, Output, Overwrite, Precision, Seed

if TYPE_CHECKING:
    from sdfkit.io.stores.reader import StoreReader


def train_dit(
    features: Input = STANDARD,
    *,
    codes: Annotated[
        str,
        typer.Option(
            metavar="STORE", help="Of the same shapes: a deepsdf, codes, weights or autoencoder store."
        ),
    ],
    preset: Annotated[
        Literal["small", "latent-10m", "weights-small", "weights-132m"] | None,
        typer.Option(show_default="small, for weights weights-small", help="Network and recipe."),
    ] = None,
    condition: Annotated[
        Literal["feature", "token"], typer.Option(help="A view's feature, or the vectors of its patches.")
    ] = "feature",
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="N|layers",
            help="Pieces that a code or weights are cut into, or one a layer; the preset's.",
        ),
    ] = None,
    standardise: Annotated[
        bool, typer.Option("--standardise/--raw", help="Standardise each number, or learn it as it is.")
    ] = True,
    prediction: Annotated[
        Literal["x0", "eps", "v"],
        typer.Option(help="What is predicted: the code, its noise, or the velocity."),
    ] = "x0",
    min_snr: Annotated[
        float | None, typer.Option(min=0.1, help="Limit of the weights of timesteps; 5 is usual.")
    ] = None,
    views: Annotated[
        int | None, typer.Option(min=1, help="Most views of a sample; the preset's where not given.")
    ] = None,
    cfg_dropout: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Share of samples without views, for predict --guidance; the preset's."
        ),
    ] = None,
    pose_dropout: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of samples whose cameras are unknown; the preset's."),
    ] = None,
    ema: Annotated[
        float | None, typer.Option(min=0, max=1, help="Decay of the averaged network; the preset's.")
    ] = None,
    lr: Annotated[float | None, typer.Option(min=0, help="Learning rate; the preset's.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Samples a step; the preset's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps; the preset's where not given.")] = None,
    curve: Curve = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Train the diffusion transformer that turns views into codes, or into weights.

    Each step sees 1 to 8 views of a shape and denoises its standardised code. The loss is told beside that of
    predicting the mean code: a model that does not beat it has not looked at the pictures.

    Codes are standardised; what undoes it is kept with the model. What predicts noise is trained and sampled at the 489
    of 500 timesteps where a trace of the code is left.

    Given the weights store of fit-mlp, it learns the weights themselves, and predict gives networks that mesh reads
    without a decoder. weights-132m is the paper's: 8 pieces, 1 to 8 views, 10 % of samples without views and 20 %
    without cameras (its phase 7; the presets for codes drop none). Its other phases:

    \b
      6  --views 1                               a single view
      8  --raw                                   weights as they are
      9  --raw --cfg-dropout 0 --pose-dropout 0  and nothing dropped

    \b
    Examples:
      sdfkit train-dit features.zarr --codes deepsdf.zarr -o dit.zarr
      sdfkit train-dit features.zarr --codes weights.zarr --tokens layers -o weight_dit.zarr
      sdfkit train-dit features.zarr --codes deepsdf.zarr --prediction v --cfg-dropout 0.1 -o dit.zarr
    """
    import dataclasses
    import logging

    import numpy as np
    import torch

    from sdfkit.errors import InputError, UsageError
    from sdfkit.inference.predictors import cameras_of, condition_arrays
    from sdfkit.io.models import load_unfinished, read_vectors
    from sdfkit.io.stores.reader import open_store
    from sdfkit.io.stores.writer import create_store
    from sdfkit.models.dit import PRESETS
    from sdfkit.report.plots import check_picture, draw_losses
    from sdfkit.runtime.device import choose_device, choose_precision
    from sdfkit.runtime.training_loop import train
    from sdfkit.training.dit import RECIPES, DiTTraining
    from sdfkit.training.run import open_device_context

    log = logging.getLogger(__name__)
    if curve is not None:
        check_picture(curve, overwrite)
    with open_store(codes, "deepsdf", "codes", "weights", "autoencoder", manifest=None) as store:
        known, vectors = read_vectors(store)
        history, is_weights = store.history, store.kind == "weights"
        # Who reads what will be predicted: the networks that weights are of, or the decoder; codes of a plain array or
        # of an older store do not tell.
        names = ("network",) if is_weights else ("decoder_sha256",)
        reader = {name: store.attributes[name] for name in names if name in store.attributes}
        known_at = {row.uid: index for index, row in enumerate(known)}
        cut = _cut(tokens, store)
    with open_store(features, "features", manifest=manifest) as store:
        if condition == "token" and "token" not in store:
            raise InputError(f"{store.name}: has no patch vectors; embed with --tokens patch")
        rows, arrays = store.read_rows(*condition_arrays(store, condition))
        history, encoder = [*history, *store.history], store.attributes.get("encoder", {})
    both = [index for index, row in enumerate(rows) if row.uid in known_at]
    if not both:
        raise InputError(
            f"{codes}: has no shape of {features}; their uids must be the same ({known[0].uid}, {rows[0].uid})"
        )
    if len(both) == 1:
        raise InputError(
            f"{features}: one shape with a code ({rows[both[0]].uid}), from which there is nothing to learn; "
            "two or more are needed"
        )
    if len(both) < len(rows):
        log.warning("%d of %d shapes have no code and are left out", len(rows) - len(both), len(rows))
    rows = [dataclasses.replace(rows[index], index=place) for place, index in enumerate(both)]
    targets = vectors[[known_at[row.uid] for row in rows]]
    pictures = arrays[condition][both]
    if condition == "feature":
        pictures = pictures[:, :, None]  # (shape, view, patch, feature)
    asked: dict[str, Any] = {
        "steps": steps,
        "batch": batch,
        "views": views,
        "lr": lr,
        "average": ema,
        "min_snr": min_snr,
        "feature_dropout": cfg_dropout,
        "camera_dropout": pose_dropout,
    }
    preset = preset or ("weights-small" if is_weights else "small")
    recipe = dataclasses.replace(
        RECIPES[preset], **{name: value for name, value in asked.items() if value is not None}
    )
    if views is not None and views > pictures.shape[1]:
        raise InputError(
            f"{features}: {pictures.shape[1]} views of a shape, but --views {views} are asked for"
        )
    config = PRESETS[preset](targets.shape[1], pictures.shape[3])
    config = dataclasses.replace(
        config, patches=pictures.shape[2], target=prediction, tokens=cut or config.tokens
    )
    place = choose_device(device)
    context = open_device_context(place, choose_precision(precision, place))
    if context.processes > 1 and STANDARD in (features, codes, output):
        raise UsageError("several processes cannot share a pipe: name the stores")
    uids = [row.uid for row in rows]
    training = DiTTraining(
        config, recipe, uids, targets, pictures, cameras_of(arrays, condition, 2)[both], 1e-4 if standardise else None,
        context, torch.Generator().manual_seed(seed),
    )  # fmt: skip
    settings = {
        "preset": preset, "condition": condition, "tokens": config.tokens, "standardise": standardise,
        "prediction": prediction, "seed": seed, "precision": context.precision, **dataclasses.asdict(recipe),
    }  # fmt: skip
    losses = load_unfinished(training, output, "denoiser", settings, uids, overwrite=overwrite)

    def save(state: dict[str, np.ndarray], losses: list[float], *, complete: bool) -> None:
        standard = training.standard
        if context.process > 0:
            return
        with create_store(
            output, "denoiser", rows=rows, history=history, settings=settings, seed=seed,
            attributes={"encoder": encoder, "condition": condition, **reader}, overwrite=overwrite, complete=complete,
        ) as model:  # fmt: skip
            model.create_array("code", data=targets, axes=("shape", "dim"))
            model.create_array("loss", data=np.array(losses, np.float32), axes=("step",))
            parameters = {name: value.cpu().numpy() for name, value in training.result().state_dict().items()}
            model.create_group("denoiser", attributes=dataclasses.asdict(config), arrays=parameters)
            model.create_group(
                "standard",
                attributes={"floored": standard.floored},
                arrays={"mean": standard.mean.numpy(), "std": standard.std.numpy()},
            )
            model.create_group("state", attributes={}, arrays=state)
            for row in rows:
                model.write(row)

    losses = train(training, recipe.steps, losses, save, output)
    last = float(np.mean(losses[-100:]))
    log.info("loss %.3g in the last 100 steps; predicting the mean code: %.3g", last, training.mean_loss())
    if curve is not None and context.process == 0:
        draw_losses(curve, losses, title=output, overwrite=overwrite)
    log.info(
        "wrote a denoiser for %d shapes to %s", len(rows), "standard output" if output == STANDARD else output
    )


def _cut(tokens: str | None, store: "StoreReader") -> int | list[int] | None:
    """Into how many pieces, or pieces of which lengths, vectors are cut; None where the preset says it."""
    from sdfkit.errors import InputError, UsageError
    from sdfkit.io.models import read_mlp
    from sdfkit.models.mlp import layer_lengths

    if tokens is None:
        return None
    if tokens == "layers":
        if store.kind != "weights":
            raise InputError(f"{store.name}: {store.kind} have no layers; give --tokens a number")
        return layer_lengths(read_mlp(store))
    if not tokens.isdecimal() or int(tokens) < 1:
        raise UsageError(f"--tokens {tokens}: a number from 1 on, or layers")
    return int(tokens)
