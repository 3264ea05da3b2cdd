"""Computes features of images and captions.

An encoder is loaded by the options of `embed`, or as the store of a trained model describes it.
"""

import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import GeometryError, InputError, MissingError
from sdfkit.options import STANDARD
from sdfkit.runtime.pool import PoolOptions, compute_rows
from sdfkit.wording import counted

if TYPE_CHECKING:
    from sdfkit.images.encoding.batches import Batches
    from sdfkit.images.encoding.features import Encoder
    from sdfkit.inference.prediction.predictors import Predictor
    from sdfkit.io.stores.store_reader import ArrayRow, StoreReader
    from sdfkit.io.stores.store_writer import StoreWriter
    from sdfkit.io.views import ViewSource
    from sdfkit.rows import Row
    from sdfkit.runtime.pool import Writer

log = logging.getLogger(__name__)
# Number of images in a batch for an encoder that the store of a model describes.
BATCH = 32
# Rows are computed in this process as they arrive, without a time limit.
IN_PROCESS = PoolOptions(1, math.inf, None, fail_fast=False)


def load_chosen(*, is_text: bool, device: str, precision: str, tokens: Any, **chosen: Any) -> Any:
    """Load the image or text encoder that the options of `embed` select."""
    from sdfkit.images.encoding.features import load_encoder
    from sdfkit.images.encoding.texts import load_text_encoder
    from sdfkit.runtime.device import choose_device, choose_precision

    place = choose_device(device)
    exact = precision if precision == "int8" else choose_precision(precision, place)
    chosen |= {"device": place, "precision": exact}
    return load_text_encoder(**chosen) if is_text else load_encoder(tokens=tokens, **chosen)


# Each worker of a cluster loads an encoder only once.
_load_once = cache(load_chosen)


def embed_alone(row: "Row", *, load: Any, batch: int, options: dict[str, Any]) -> dict[str, Any]:
    """Embed the views of one shape, on a worker of a cluster.

    Args:
        row: The shape.
        load: Function that loads the views of a row; see `ViewSource`.
        batch: Number of views in a batch.
        options: Options of `load_chosen`.
    """
    from sdfkit.images.encoding.batches import Batches

    known: dict[str, Any] = load(row)
    batches: Batches[None] = Batches(_load_once(**options).encode, batch)
    done = [*batches.add(None, known.pop("views")), *batches.finish()]
    return {**known, **done[0][1]}


def embed_together(
    source: "ViewSource", encoder: Any, writer: "Writer", *, batch: int, fail_fast: bool
) -> None:
    """Embed the shapes of an input in order. A batch may hold views of several shapes.

    A shape that fails is marked as failed, and the others continue. Of an interrupted run, groups of shapes that share
    a batch are kept or computed again as a whole: the last digits of features depend on the batch.

    Args:
        source: The shapes.
        encoder: An image or text encoder.
        writer: Receives each row with the array `feature`, and with `token` and `camera_to_world` if there are any.
        batch: Number of views in a batch.
        fail_fast: Stop at the first shape that fails.
    """
    from sdfkit.images.encoding.batches import Batches

    queue = _Queue(writer, Batches(encoder.encode, batch), max(1, batch // source.views))
    rows = queue.in_groups(source.rows)
    compute_rows(queue, rows, source.count, source.load, PoolOptions(1, math.inf, None, fail_fast))
    queue.finish()


def create_feature_arrays(
    store: "StoreWriter", source: "ViewSource", example: Mapping[str, np.ndarray]
) -> None:
    """Create the arrays of a features store.

    Args:
        store: The features store.
        source: The shapes.
        example: The arrays that the encoder returns for one view, by name.
    """
    shape, axes = (source.count, source.views), ("shape", "view")
    if source.has_cameras:
        store.create_array("camera_to_world", shape=(*shape, 4, 4), dtype="f4", axes=(*axes, "to", "from"))
    for name, own_axes in (("feature", ("dim",)), ("token", ("token", "dim"))):
        if name in example:
            own_shape = example[name].shape[1:]
            store.create_array(name, shape=(*shape, *own_shape), dtype="f4", axes=(*axes, *own_axes))


class _Queue:
    """A writer that collects views into batches, and passes the rows on in order when their features are computed.

    Args:
        writer: Receives the rows.
        batches: Encodes the views.
        group: Number of consecutive rows that share batches with each other, and with no other rows.
    """

    def __init__(
        self, writer: "Writer", batches: "Batches[tuple[Row, Mapping[str, Any]]]", group: int
    ) -> None:
        self._writer = writer
        self._batches = batches
        self._group = group
        self._is_kept = False
        self.failed = writer.failed

    def in_groups(self, rows: "Iterable[Row]") -> "Iterator[Row]":
        """Yield the rows, after finding out for each group whether the writer has all of its rows."""
        waiting = iter(rows)
        while group := list(islice(waiting, self._group)):
            kept = [self._writer.has(row) for row in group]
            self._is_kept = all(kept)
            yield from group

    def has(self, row: "Row") -> bool:
        """Return whether the writer has the row and the others of its group. The group is the last one yielded."""
        return self._is_kept

    def write(self, row: "Row", *, views: Any = (), **known: Any) -> None:
        self._take(self._batches.add((row, known), views))
        if (row.index + 1) % self._group == 0:
            self.finish()

    def finish(self) -> None:
        self._take(self._batches.finish())

    def _take(self, complete: "list[tuple[tuple[Row, Mapping[str, Any]], dict[str, Any]]]") -> None:
        for (row, known), arrays in complete:
            self._writer.write(row, **known, **arrays)


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
    from sdfkit.io.stores.reader import open_store
    from sdfkit.io.views import find_views, views_of

    if outlines and holds_images(inputs):
        raise InputError(
            f"{inputs[0]}: image files have no cameras, which --refine needs; give views of sdfkit render, or leave "
            "--refine out"
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
    if holds_images(inputs):
        if kinds not in (["rgb"], ["caption"]):
            raise InputError(
                f"{predictor.name}: was trained on {', '.join(kinds)}, but image files have only colours; render a "
                f"mesh with {' '.join(f'--{kind}' for kind in kinds[1:])}"
            )
        yield _embed_source(
            find_views(inputs, kinds, matte=matte, manifest=manifest), predictor, kinds, device
        )
        return
    with open_store(inputs[0], "features", "views", manifest=manifest) as store:
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
            source = views_of(store, kinds, is_pipe=inputs[0] == STANDARD, outlines=outlines)
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
    from sdfkit.io.stores.reader import open_store
    from sdfkit.io.views import find_views
    from sdfkit.models.flow import SIZE

    def send(rows: Any, count: int, take: Callable[[Any], dict[str, Any]], writer: "Writer") -> None:
        compute_rows(writer, rows, count, take, IN_PROCESS)

    def frame(row: Any) -> dict[str, Any]:
        return {"picture": shrink_pictures(np.stack(source.load(row)["views"])[:, 0], SIZE)}

    def shrink(row: "ArrayRow") -> dict[str, Any]:
        if row.error:
            raise GeometryError(row.error)
        small = {"picture": shrink_pictures(row.arrays["rgb"], SIZE)}
        if outlines:
            small["mask"] = row.arrays["mask"]
        elif "mask" in row.arrays:
            small["mask"] = np.where(shrink_masks(row.arrays["mask"], SIZE), np.uint8(255), np.uint8(0))
        return small | {name: row.arrays[name] for name in ("camera_to_world", "yfov")}

    if holds_images(inputs):
        source = find_views(inputs, ["rgb"], matte=matte, manifest=manifest)
        yield Features(
            source.count,
            source.history,
            partial(send, source.rows, source.count, frame),
            frozenset({"picture"}),
        )
        return
    with open_store(inputs[0], "views", manifest=manifest) as store:
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


def load_recorded(predictor: "Predictor", example: Any, device: str) -> "Encoder":
    """Load the image encoder that computed the features on which a model was trained.

    Args:
        predictor: The model. Its store describes the encoder.
        example: One view as an array of shape (kind, row, column, channel), with the size and the kinds of images (rgb,
            depth, normal) that the encoder will get. It is encoded once, to check the length of the features.
        device: Name of the torch device to compute on.

    Raises:
        InputError: The encoder is a text encoder or unknown, or has changed since the model was trained.
        MissingError: The encoder cannot be loaded on this machine.
    """
    from sdfkit.images.encoding.features import load_encoder

    name, recorded = predictor.name, predictor.encoder
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
    except (InputError, MissingError) as error:
        raise type(error)(f"{name}: its encoder cannot be loaded: {error}; or {by_hand}") from error
    found = encoder.describe()
    # The stored description has gone through JSON, which turns tuples into lists.
    same = json.loads(json.dumps(found["preprocessing"])) == preprocessing
    # Older stores may lack the commit of a model from the Hugging Face hub: version 5.24 of the transformers library no
    # longer keeps it in the configuration.
    if not same or recorded.get("revision") not in (None, "", found["revision"]):
        raise InputError(f"{name}: its encoder {model} has changed since the model was trained; {by_hand}")
    token = encoder.encode([example])[predictor.condition][0]
    if predictor.condition == "token" and len(token) + encoder.skipped == predictor.patches:
        encoder = replace(encoder, tokens="all")
    elif token.size != predictor.patches * predictor.feature:
        raise InputError(
            f"{name}: was trained on {counted(predictor.patches * predictor.feature, 'number')} per view, but "
            f"{model} gives {token.size} on this machine; {by_hand}"
        )
    return encoder
