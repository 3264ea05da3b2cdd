"""Features for a trained model: from a store, or computed from images as the store of the model describes it."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import GeometryError, InputError, MissingError
from sdfkit.inference.encoders import DepthModel, embed_together, with_depth
from sdfkit.options import STANDARD
from sdfkit.runtime.pool import PoolOptions, compute_rows
from sdfkit.wording import counted

if TYPE_CHECKING:
    from sdfkit.images.encoding.depth import DepthEncoder
    from sdfkit.images.encoding.features import Encoder
    from sdfkit.inference.prediction.predictors import Predictor
    from sdfkit.io.stores.store_reader import ArrayRow, StoreReader
    from sdfkit.io.views import ViewSource
    from sdfkit.runtime.pool import Writer

# Number of images in a batch for an encoder that the store of a model describes.
BATCH = 32
# Rows are computed in this process as they arrive, without a time limit.
IN_PROCESS = PoolOptions(1, math.inf, None, fail_fast=False)


@dataclass(frozen=True)
class Features:
    """The shapes of an input, with the arrays on which a model is conditioned: features, or images for a flow.

    Features are read from a store, or computed from images while they are sent.

    Attributes:
        count: Number of shapes.
        history: The commands that made the input, oldest first.
        send: Passes every row in order to a writer, with the arrays that the model is conditioned on, and with
            `camera_to_world` if the cameras are known. Rows that failed are passed without arrays.
        holds: Which of the arrays `picture` and `mask` are passed.
    """

    count: int
    history: Sequence[Mapping[str, Any]]
    send: Callable[["Writer"], None]
    holds: frozenset[str] = frozenset()


@contextmanager
def open_features(
    inputs: Sequence[str],
    predictor: "Predictor",
    *,
    matte: str,
    device: str,
    manifest: Path | None,
    outlines: bool = False,
) -> Iterator[Features]:
    """Open features for a model, or images, which are embedded in the same way as the model's training images.

    Args:
        inputs: One features or views store, or image files and folders of them; `-` is standard input.
        predictor: The model that the features are for.
        matte: How to separate the object in an image file from its background; see `images.photos.frame_photo`.
        device: Name of the torch device to embed on.
        manifest: Manifest whose labels replace the stored ones.
        outlines: Also pass the arrays `mask`, `camera_to_world` and `yfov`, which only a views store has.

    Raises:
        InputError: The input is neither features nor images, or not of the kind that the model was trained on; or it
            has no outlines.
        MissingError: The encoder of the model's training features cannot be loaded on this machine.
    """
    from sdfkit.inference.prediction.predictors import check_features
    from sdfkit.inference.prediction.reconstruction import Reconstructor, open_posed
    from sdfkit.io.image_files import holds_images
    from sdfkit.io.stores.contents.outlines import require_outlines
    from sdfkit.io.streams import name_of
    from sdfkit.io.tables.joined import open_stores
    from sdfkit.io.views import find_views, views_of

    if outlines and holds_images(inputs):
        raise InputError(
            f"{name_of(inputs[0])}: holds no cameras, which --refine needs; give views of sdfkit render, estimate the "
            "cameras of photos with sdfkit pose, or leave --refine out"
        )
    if predictor.condition == "picture":
        with _open_pictures(inputs, matte=matte, manifest=manifest, outlines=outlines) as pictures:
            yield pictures
        return
    if isinstance(predictor, Reconstructor):
        with open_posed(inputs, predictor, manifest=manifest) as posed:
            yield posed
        return
    kinds = predictor.encoder.get("views") or ["rgb"]
    masked = "depth" in predictor.encoder
    if holds_images(inputs):
        if kinds not in (["rgb"], ["caption"]) and not masked:
            raise InputError(
                f"{predictor.name}: was trained on {', '.join(kinds)}, but image files have only colours; render a "
                f"mesh with {' '.join(f'--{kind}' for kind in kinds[1:])}, or train on estimates of sdfkit embed "
                "--depth-model"
            )
        source = find_views(inputs, kinds, matte=matte, manifest=manifest, masked=masked)
        yield _embed_source(source, predictor, kinds, device)
        return
    with open_stores(inputs, "features", "views", manifest=manifest) as store:
        if outlines and store.kind == "features":
            raise InputError(
                f"{store.name}: has features without the masks that --refine needs; give the views store that was "
                "embedded"
            )
        if outlines:
            require_outlines(store)
        if store.kind == "features":
            check_features(store, predictor)
            yield Features(len(store), store.history, partial(_send_features, store, predictor.condition))
        else:
            is_pipe = inputs[0] == STANDARD
            source = views_of(store, kinds, is_pipe=is_pipe, outlines=outlines, distinct=True, masked=masked)
            yield _embed_source(source, predictor, kinds, device)


@contextmanager
def _open_pictures(
    inputs: Sequence[str], *, matte: str, manifest: Path | None, outlines: bool
) -> Iterator[Features]:
    """Open images for a flow, scaled to its input size.

    If they come from a store, masks are included, with `outlines` in full size.
    """
    from sdfkit.images.silhouettes import shrink_masks, shrink_pictures
    from sdfkit.io.image_files import holds_images
    from sdfkit.io.stores.contents.outlines import require_outlines
    from sdfkit.io.stores.contents.posed_views import distinct_views
    from sdfkit.io.tables.joined import open_stores
    from sdfkit.io.views import find_views
    from sdfkit.models.flow import SIZE

    def send(rows: Any, count: int, take: Callable[[Any], dict[str, Any]], writer: "Writer") -> None:
        compute_rows(writer, rows, count, take, IN_PROCESS)

    def frame(row: Any) -> dict[str, Any]:
        return {"picture": shrink_pictures(np.stack(source.load(row)["views"])[:, 0], SIZE)}

    def shrink(row: "ArrayRow") -> dict[str, Any]:
        if row.error:
            raise GeometryError(row.error)
        arrays = distinct_views(row.arrays)
        small = {"picture": shrink_pictures(arrays["rgb"], SIZE)}
        if outlines:
            small["mask"] = arrays["mask"]
        elif "mask" in arrays:
            small["mask"] = np.where(shrink_masks(arrays["mask"], SIZE), np.uint8(255), np.uint8(0))
        return small | {name: arrays[name] for name in ("camera_to_world", "yfov")}

    if holds_images(inputs):
        source = find_views(inputs, ["rgb"], matte=matte, manifest=manifest)
        yield Features(
            source.count,
            source.history,
            partial(send, source.rows, source.count, frame),
            frozenset({"picture"}),
        )
        return
    with open_stores(inputs, "views", manifest=manifest) as store:
        if outlines:
            require_outlines(store)
        masks = ("mask",) if "mask" in store else ()
        rows = store.rows("rgb", "camera_to_world", "yfov", *masks)
        yield Features(
            len(store), store.history, partial(send, rows, len(store), shrink), frozenset({"picture", *masks})
        )


def _send_features(store: "StoreReader", condition: str, writer: "Writer") -> None:
    """Pass the stored features of every row to a writer."""
    from sdfkit.inference.prediction.predictors import condition_arrays

    def take(row: "ArrayRow") -> dict[str, Any]:
        if row.error:
            raise GeometryError(row.error)
        for name, array in row.arrays.items():
            if not np.isfinite(array).all():
                raise GeometryError(
                    f"its array {name} holds numbers that are not finite; embed the shape again"
                )
        return dict(row.arrays)

    rows = store.rows(*condition_arrays(store, condition))
    compute_rows(writer, rows, len(store), take, IN_PROCESS)


def _embed_source(
    source: "ViewSource", predictor: "Predictor", kinds: Sequence[str], device: str
) -> Features:
    encoder = load_recorded(predictor, source.example, device)
    source.warn_if_cropped(encoder.preprocessing)
    send = partial(embed_together, source, encoder, batch=max(1, BATCH // len(kinds)), fail_fast=False)
    return Features(source.count, source.history, send)


def load_recorded(predictor: "Predictor", example: Any, device: str) -> "Encoder | DepthEncoder":
    """Load the image encoder that computed the features on which a model was trained, with its depth estimator.

    Args:
        predictor: The model. Its store describes the encoder.
        example: One view as an array of shape (kind, row, column, channel), with the size and the kinds of images (rgb,
            depth, normal) that the encoder will get, or a `MaskedView` if depth is to be estimated. It is encoded once,
            to check the length of the features.
        device: Name of the torch device to compute on.

    Raises:
        InputError: The encoder is a text encoder or unknown, or it or the depth estimator has changed since the model
            was trained.
        MissingError: The encoder or the depth estimator cannot be loaded on this machine.
    """
    from sdfkit.images.encoding.features import load_encoder

    name, recorded = predictor.name, predictor.encoder
    estimator = recorded.get("depth", {})
    depth = None
    if estimator:
        kinds = tuple(recorded.get("views", ()))
        depth = DepthModel(str(estimator.get("model")), estimator.get("revision") or None, kinds)
    model, preprocessing = recorded.get("model"), recorded.get("preprocessing", {})
    if model is None or "output" not in preprocessing:
        raise InputError(
            f"{name}: does not name the encoder of its training features; give features, not images"
        )
    if "caption" in recorded.get("views", ()):
        raise InputError(
            f"{name}: was trained on captions, not images; embed captions: sdfkit embed --text CSV --model {model}"
        )
    by_hand = f"embed the images on a machine that has the unchanged {model}, and give the features"
    try:
        encoder = load_encoder(
            model,
            revision=recorded.get("revision") or None,
            pool=preprocessing["output"] if preprocessing["output"] in ("mean", "max") else "auto",
            tokens="none" if predictor.condition == "feature" else "patch",
            device=device,
            # A model that was trained on int8 features gets fp32 features, which int8 approximates: every machine can
            # compute fp32.
            precision="bf16" if recorded.get("precision") == "bf16" else "fp32",
        )
        complete = with_depth(encoder, depth)
    except (InputError, MissingError) as error:
        raise type(error)(f"{name}: its encoder cannot be loaded: {error}; or {by_hand}") from error
    # The stored description has gone through JSON, which turns tuples into lists.
    found = json.loads(json.dumps(complete.describe()))
    same = found["preprocessing"] == preprocessing
    # Older stores may lack the commit of a model from the Hugging Face hub: version 5.24 of the transformers library no
    # longer keeps it in the configuration.
    if not same or recorded.get("revision") not in (None, "", found["revision"]):
        raise InputError(f"{name}: its encoder {model} has changed since the model was trained; {by_hand}")
    if depth is not None and found["depth"] != estimator:
        raise InputError(
            f"{name}: its depth model {depth.name} has changed since the model was trained; {by_hand}"
        )
    token = complete.encode([example])[predictor.condition][0]
    if predictor.condition == "token" and len(token) + encoder.skipped == predictor.patches:
        return with_depth(replace(encoder, tokens="all"), depth)
    if token.size != predictor.patches * predictor.feature:
        raise InputError(
            f"{name}: was trained on {counted(predictor.patches * predictor.feature, 'number')} per view, but "
            f"{model} gives {token.size} on this machine; {by_hand}"
        )
    return complete
