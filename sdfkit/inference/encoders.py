"""Computes features of images and captions with the encoder that the options of `embed` select."""

import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sdfkit.errors import UsageError
from sdfkit.io.digests import MARK
from sdfkit.options import STANDARD
from sdfkit.rows import digest_text
from sdfkit.runtime.cores import CORES
from sdfkit.runtime.pool import PoolOptions, compute_rows

if TYPE_CHECKING:
    from sdfkit.images.encoding.batches import Batches
    from sdfkit.images.encoding.depth import DepthEncoder
    from sdfkit.images.encoding.features import Encoder
    from sdfkit.io.stores.store_writer import StoreWriter
    from sdfkit.io.views import ViewSource
    from sdfkit.rows import Row
    from sdfkit.runtime.pool import Writer

log = logging.getLogger(__name__)


class DepthModel(NamedTuple):
    """A depth estimator.

    Attributes:
        name: A name on the Hugging Face hub, or a folder.
        revision: Commit, tag or branch on the hub; None for the main branch.
        kinds: The images of a view that are encoded: rgb, and depth, normal or both.
    """

    name: str
    revision: str | None
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class ChosenEncoder:
    """The encoder that the options of `embed` select.

    Attributes:
        kinds: The images of a view that are encoded: rgb, and optionally depth and normal; or caption.
        options: Options of `load_chosen`.
        settings: Settings of the store of features.
    """

    kinds: list[str]
    options: dict[str, Any]
    settings: dict[str, Any]

    @property
    def masked(self) -> bool:
        """Whether the encoder takes each view as a `MaskedView`, to estimate its depth."""
        return self.options["depth"] is not None

    def load(self) -> Any:
        """Load the encoder."""
        return load_chosen(**self.options)


def choose_encoder(
    *,
    model: str | None,
    revision: str | None,
    pool: str,
    tokens: str,
    extra: str | None,
    depth_model: str | None,
    depth_revision: str | None,
    device: str,
    precision: str,
    text: Path | None,
    inputs: Sequence[str],
) -> ChosenEncoder:
    """Return the encoder that the options of `embed` select.

    Args:
        model: See `load_encoder`, as for `revision`, `pool` and `tokens`; None for the default.
        extra: The images that are encoded beside the colours: depth, normal, or "depth,normal".
        depth_model: Estimator of these images; None if the views hold them.
        depth_revision: Commit, tag or branch of the estimator.
        device: Device that the user chose.
        precision: Precision that the user chose.
        text: File of captions to encode; None to encode images.
        inputs: The images.

    Raises:
        UsageError: Options contradict each other.
    """
    is_text = text is not None
    kinds = ["caption"] if is_text else ["rgb", *(extra.split(",") if extra else [])]
    if is_text and (list(inputs) != [STANDARD] or extra or tokens != "none" or precision == "int8"):
        raise UsageError(
            "--text encodes only captions; leave out images, --with, --tokens and --precision int8"
        )
    if depth_model is None and depth_revision is not None:
        raise UsageError("--depth-revision is that of --depth-model; give --depth-model too")
    if depth_model is not None and not extra:
        raise UsageError(
            "--depth-model estimates what --with names; give --with depth, normal or depth,normal"
        )
    settings = {
        "model": model or ("all-minilm-l6-v2" if is_text else "facebook/dinov2-base"),
        "revision": revision, "pool": pool, "tokens": tokens,
    }  # fmt: skip
    depth = depth_model and DepthModel(depth_model, depth_revision, tuple(kinds))
    options = {"device": device, "precision": precision, "is_text": is_text, "depth": depth}
    return ChosenEncoder(kinds, settings | options, settings | {"with": extra})


def load_chosen(
    *,
    is_text: bool,
    device: str,
    precision: str,
    tokens: Any,
    depth: DepthModel | None = None,
    **chosen: Any,
) -> Any:
    """Load the image or text encoder that the options of `embed` select, and the depth estimator, if there is one."""
    from sdfkit.images.encoding.features import load_encoder
    from sdfkit.images.encoding.texts import load_text_encoder
    from sdfkit.runtime.device import choose_device, choose_precision

    place = choose_device(device)
    exact = precision if precision == "int8" else choose_precision(precision, place)
    chosen |= {"device": place, "precision": exact}
    if is_text:
        return load_text_encoder(**chosen)
    return with_depth(load_encoder(tokens=tokens, **chosen), depth)


def with_depth(encoder: "Encoder", depth: DepthModel | None) -> "Encoder | DepthEncoder":
    """Return an encoder that also encodes estimated depth; the encoder itself if there is no depth estimator.

    Raises:
        InputError: The depth estimator cannot be used; see `load_depth_estimator`, as for `MissingError`.
        MissingError: It is not on this machine.
    """
    if depth is None:
        return encoder
    from sdfkit.images.encoding.depth import DepthEncoder, load_depth_estimator

    estimator = load_depth_estimator(depth.name, revision=depth.revision, device=encoder.device)
    return DepthEncoder(encoder, estimator, depth.kinds)


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


def embed_rows(
    source: "ViewSource",
    encoder: Any,
    writer: "Writer",
    chosen: ChosenEncoder,
    *,
    batch: int,
    cluster: str | None,
    fail_fast: bool,
) -> None:
    """Embed all shapes of an input, in this process or on a cluster.

    Args:
        source: The shapes.
        encoder: An image or text encoder.
        writer: Receives the rows; see `embed_together`.
        chosen: Where the encoder comes from.
        batch: Number of images in a batch.
        cluster: Address of a Dask scheduler; None to embed in this process.
        fail_fast: Stop at the first shape that fails.
    """
    size = max(1, batch // len(chosen.kinds))
    if cluster is None:
        embed_together(source, encoder, writer, batch=size, fail_fast=fail_fast)
        return
    alone = partial(embed_alone, load=source.load, batch=size, options=chosen.options)
    compute_rows(writer, source.rows, source.count, alone, PoolOptions(CORES, math.inf, cluster, fail_fast))


def encoder_settings(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a features store that follow from its encoder, given `Encoder.describe`."""
    content = json.dumps(described, sort_keys=True)
    return {"encoder": MARK + digest_text(content), "precision": described["precision"]}


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
