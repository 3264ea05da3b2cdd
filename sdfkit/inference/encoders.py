"""The door from pictures to features: an encoder, chosen or recorded, and all that a source shows sent through it."""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import GeometryError, InputError, MissingError
from sdfkit.options import STANDARD

if TYPE_CHECKING:
    from sdfkit.images.encoding.batches import Batches
    from sdfkit.images.encoding.features import Encoder
    from sdfkit.inference.predictors import Predictor
    from sdfkit.io.stores.reader import ArrayRow, StoreReader
    from sdfkit.io.views import Views
    from sdfkit.rows import Row
    from sdfkit.runtime.pool import Writer

log = logging.getLogger(__name__)
# Pictures that go through a recorded encoder together.
BATCH = 32


def load_chosen(*, is_text: bool, device: str, precision: str, tokens: Any, **chosen: Any) -> Any:
    """The encoder that the options of `embed` name."""
    from sdfkit.images.encoding.features import load_encoder
    from sdfkit.images.encoding.texts import load_text_encoder
    from sdfkit.runtime.device import choose_device, choose_precision

    place = choose_device(device)
    exact = precision if precision == "int8" else choose_precision(precision, place)
    chosen |= {"device": place, "precision": exact}
    return load_text_encoder(**chosen) if is_text else load_encoder(tokens=tokens, **chosen)


# A worker of a cluster loads it once.
_load_once = cache(load_chosen)


def embed_alone(row: "Row", *, load: Any, batch: int, options: dict[str, Any]) -> dict[str, Any]:
    """One shape by itself, on a worker of a cluster."""
    from sdfkit.images.encoding.batches import Batches

    known: dict[str, Any] = load(row)
    batches: Batches[None] = Batches(_load_once(**options).encode, batch)
    done = [*batches.add(None, known.pop("views")), *batches.finish()]
    return {**known, **done[0][1]}


def embed_together(source: "Views", encoder: Any, writer: "Writer", *, batch: int, fail_fast: bool) -> None:
    """Write the features of every shape of a source, in order; mark those that fail and go on.

    Args:
        source: What there is to see.
        encoder: An image or text encoder.
        writer: Where the rows go, each with `feature` and what else the encoder and the source have.
        batch: Views that go through the encoder together.
        fail_fast: Stop at the first shape that fails.
    """
    from sdfkit.images.encoding.batches import Batches
    from sdfkit.runtime.pool import Workers, fill

    queue = _Queue(writer, Batches(encoder.encode, batch))
    fill(queue, source.rows, source.count, source.load, Workers(1, math.inf, None, fail_fast))
    queue.finish()


class _Queue:
    """Where `fill` leaves what it has read: features are written when their batch is done, rows in their order."""

    def __init__(self, writer: "Writer", batches: "Batches[tuple[Row, Mapping[str, Any]]]") -> None:
        self._writer = writer
        self._batches = batches
        self.failed = writer.failed

    def has(self, row: "Row") -> bool:
        return self._writer.has(row)

    def write(self, row: "Row", *, views: Any = (), **known: Any) -> None:
        self._take(self._batches.add((row, known), views))

    def finish(self) -> None:
        self._take(self._batches.finish())

    def _take(self, complete: "list[tuple[tuple[Row, Mapping[str, Any]], dict[str, Any]]]") -> None:
        for (row, known), arrays in complete:
            self._writer.write(row, **known, **arrays)


@dataclass(frozen=True)
class Features:
    """What there is to see of shapes, stored or made on the way: features, or pictures as a flow takes them.

    `send` writes every row in order with the arrays that a model looks at, and `camera_to_world` where there are
    cameras; rows that fail have none.
    """

    count: int
    history: Sequence[Mapping[str, Any]]
    send: Callable[["Writer"], None]
    holds: frozenset[str] = frozenset()
    """Of the arrays that are sent, `picture` and `mask`."""


@contextmanager
def open_features(
    inputs: Sequence[str], predictor: "Predictor", *, matte: str, device: str, manifest: Path | None
) -> Iterator[Features]:
    """Open features for a model, or pictures, which are embedded as those it was trained on.

    Args:
        inputs: One features or views store, or picture files and folders; `-` is standard input.
        predictor: Who will look at them.
        matte: How the object of a picture file is told from its background.
        device: Where to embed, as torch names it.
        manifest: Labels to prefer.

    Raises:
        InputError: Neither; or not of the kind that the model was trained on.
        MissingError: Its encoder cannot be loaded here.
    """
    from sdfkit.inference.predictors import check_features
    from sdfkit.io.image_files import holds_images
    from sdfkit.io.stores.reader import open_store
    from sdfkit.io.views import find_views, views_of

    if predictor.condition == "picture":
        with _open_pictures(inputs, matte=matte, manifest=manifest) as pictures:
            yield pictures
        return
    kinds = predictor.encoder.get("views") or ["rgb"]
    if holds_images(inputs):
        if kinds not in (["rgb"], ["caption"]):
            raise InputError(
                f"{predictor.name}: was trained on {', '.join(kinds)}, and picture files have colours only; render a "
                f"mesh with {' '.join(f'--{kind}' for kind in kinds[1:])}"
            )
        yield _embedded(find_views(inputs, kinds, matte=matte, manifest=manifest), predictor, kinds, device)
        return
    with open_store(inputs[0], "features", "views", manifest=manifest) as store:
        if store.kind == "features":
            check_features(store, predictor)
            yield Features(len(store), store.history, partial(_pass_on, store, predictor.condition))
        else:
            source = views_of(store, kinds, is_pipe=inputs[0] == STANDARD)
            yield _embedded(source, predictor, kinds, device)


@contextmanager
def _open_pictures(inputs: Sequence[str], *, matte: str, manifest: Path | None) -> Iterator[Features]:
    """Pictures themselves, at the size that a flow looks at, with masks where they are from a store."""
    from sdfkit.images.silhouettes import shrink_masks, shrink_pictures
    from sdfkit.io.image_files import holds_images
    from sdfkit.io.stores.reader import open_store
    from sdfkit.io.views import find_views
    from sdfkit.models.flow import SIZE
    from sdfkit.runtime.pool import Workers, fill

    def send(rows: Any, count: int, take: Callable[[Any], dict[str, Any]], writer: "Writer") -> None:
        fill(writer, rows, count, take, Workers(1, math.inf, None, fail_fast=False))

    def frame(row: Any) -> dict[str, Any]:
        return {"picture": shrink_pictures(np.stack(source.load(row)["views"])[:, 0], SIZE)}

    def shrink(row: "ArrayRow") -> dict[str, Any]:
        if row.error:
            raise GeometryError(row.error)
        small = {"picture": shrink_pictures(row.arrays["rgb"], SIZE)}
        if "mask" in row.arrays:
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
        masks = ("mask",) if "mask" in store else ()
        rows = store.rows("rgb", "camera_to_world", "yfov", *masks)
        yield Features(
            len(store), store.history, partial(send, rows, len(store), shrink), frozenset({"picture", *masks})
        )


def _pass_on(store: "StoreReader", condition: str, writer: "Writer") -> None:
    from sdfkit.inference.predictors import condition_arrays
    from sdfkit.runtime.pool import Workers, fill

    def take(row: "ArrayRow") -> dict[str, Any]:
        if row.error:
            raise GeometryError(row.error)
        for name, array in row.arrays.items():
            if not np.isfinite(array).all():
                raise GeometryError(f"its {name} holds numbers that are not finite; embed it again")
        return dict(row.arrays)

    rows = store.rows(*condition_arrays(store, condition))
    fill(writer, rows, len(store), take, Workers(1, math.inf, None, fail_fast=False))


def _embedded(source: "Views", predictor: "Predictor", kinds: Sequence[str], device: str) -> Features:
    encoder = load_recorded(predictor, source.example, device)
    source.warn_of_cut(encoder.preprocessing)
    send = partial(embed_together, source, encoder, batch=max(1, BATCH // len(kinds)), fail_fast=False)
    return Features(source.count, source.history, send)


def load_recorded(predictor: "Predictor", example: Any, device: str) -> "Encoder":
    """The encoder that made the features which a model was trained on.

    Args:
        predictor: A model; its store names the encoder.
        example: A view of the kind that is to be embedded.
        device: Where to run, as torch names it.

    Raises:
        InputError: It does not encode pictures, or is not what it was.
        MissingError: It cannot be loaded here.
    """
    from sdfkit.images.encoding.features import load_encoder

    name, recorded = predictor.name, predictor.encoder
    model, preprocessing = recorded.get("model"), recorded.get("preprocessing", {})
    if model is None or "output" not in preprocessing:
        raise InputError(f"{name}: does not say what made the features it was trained on; give features")
    if "caption" in recorded.get("views", ()):
        raise InputError(
            f"{name}: was trained on captions, not pictures; embed those: sdfkit embed --text CSV --model {model}"
        )
    by_hand = f"embed where {model} is as it was, and give the features"
    try:
        encoder = load_encoder(
            model,
            revision=recorded.get("revision") or None,
            pool=preprocessing["output"] if preprocessing["output"] in ("mean", "max") else "auto",
            tokens="none" if predictor.condition == "feature" else "patch",
            device=device,
            # What int8 comes near to is fp32, which every machine has.
            precision="bf16" if recorded.get("precision") == "bf16" else "fp32",
        )
    except (InputError, MissingError) as error:
        raise type(error)(f"{name}: its encoder cannot be loaded here: {error}; else {by_hand}") from error
    found = encoder.describe()
    # Through JSON, as it was stored: tuples come back as lists.
    same = json.loads(json.dumps(found["preprocessing"])) == preprocessing
    if not same or found["revision"] != recorded.get("revision", ""):
        raise InputError(f"{name}: was trained on features of {model} as it is no more; {by_hand}")
    token = encoder.encode([example])[predictor.condition][0]
    if predictor.condition == "token" and len(token) + encoder.skipped == predictor.patches:
        encoder = replace(encoder, tokens="all")
    elif token.size != predictor.patches * predictor.feature:
        raise InputError(
            f"{name}: {model} gives {token.size} numbers here, but it was trained on "
            f"{predictor.patches * predictor.feature}; {by_hand}"
        )
    return encoder
