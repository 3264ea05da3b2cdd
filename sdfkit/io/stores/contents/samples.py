"""Samples (points with signed distances) for training, from a store.

They are kept in memory if they fit, and otherwise read when they are needed.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sdfkit.errors import InputError
from sdfkit.io.stores.layout import SAMPLES_PER_CHUNK
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.store_reader import StoreReader
from sdfkit.io.tables.joined import open_stores
from sdfkit.options import STANDARD
from sdfkit.rows import choose_held_out, require_same_origins
from sdfkit.wording import counted

if TYPE_CHECKING:
    from sdfkit.rows import Row
    from sdfkit.training.autoencoder import ShapeSamples
    from sdfkit.training.run import DeviceContext
    from sdfkit.training.samples import ReadChunk, SampleChunk, SampleReader

log = logging.getLogger(__name__)
ARRAYS = ("point", "distance", "near")
# Samples per shape for the training and the evaluation of autoencoders, so few that those of all shapes fit in memory.
FIRST_SAMPLES = 1 << 15
# Share of the free memory for samples. The rest is for the network, its optimizer and the system's file cache.
SHARE_OF_MEMORY = 0.5


class Drawn(Protocol):
    """Settings of a training run that draws samples."""

    @property
    def points(self) -> int:
        """Number of points of a shape per step."""

    @property
    def near(self) -> float:
        """Share of these points near the surface."""


class TrainingSet(NamedTuple):
    """Samples for training.

    Attributes:
        rows: The shapes of the samples store that did not fail and are not held out.
        history: The commands that made the store, oldest first.
        samples: The samples of those shapes that this process trains on.
        held_out: The held-out shapes, and up to `FIRST_SAMPLES` samples of each.
    """

    rows: "list[Row]"
    history: list[dict[str, Any]]
    samples: "SampleReader"
    held_out: "list[tuple[Row, SampleChunk]]"


@contextmanager
def open_samples(
    paths: Sequence[str],
    settings: "Drawn",
    context: "DeviceContext",
    *,
    held_out: float = 0.0,
    seed: int = 0,
    manifest: Path | None,
) -> Iterator[TrainingSet]:
    """Open the samples of shapes for training.

    Samples are kept in memory if they fit in half of the free memory, which all processes share. Otherwise they are
    read when they are needed, so the store stays open until the block ends. Samples from a pipe or a zip file can be
    read only once and are always kept in memory.

    Args:
        paths: A samples store, or several that are read as one.
        settings: The number of points of a shape per training step, and the share of these near the surface.
        context: The number of processes, and the slice of shapes that this process trains on.
        held_out: Share of the shapes to hold out; see `rows.choose_held_out`.
        seed: Seed of the choice of these shapes.
        manifest: Manifest whose labels replace the stored ones.

    Raises:
        InputError: The store holds no samples, too few shapes would remain, all of its shapes failed, or a shape has
            fewer samples than one training step needs.
    """
    with open_stores(paths, "samples", manifest=manifest) as store:
        rows = [row for row in store.all_rows() if not row.error]
        if not rows:
            raise InputError(f"{store.name}: all its shapes failed in an earlier step")
        unseen = choose_held_out([row.uid for row in rows], held_out, seed)
        others = [rows[row] for row in unseen]
        rows = [row for index, row in enumerate(rows) if index not in unseen]
        samples, apart = _make_reader(store, paths, rows[context.own], settings, context, others)
        yield TrainingSet(
            [replace(row, index=index) for index, row in enumerate(rows)], store.history, samples, apart
        )


@contextmanager
def open_samples_of(
    shapes: "Sequence[Row]", what: str, path: str, settings: "Drawn", context: "DeviceContext"
) -> Iterator[TrainingSet]:
    """Open the samples of given shapes, all of them in every process; see `open_samples`.

    Shapes without samples are left out with a warning. `index` of the rows is the position among the given shapes.

    Args:
        shapes: The shapes.
        what: Where they come from, for messages, such as "the views of views.zarr".
        path, settings, context: As for `open_samples`.

    Raises:
        InputError: Fewer than two of the shapes have samples, or samples are of another mesh file.
    """
    with open_store(path, "samples", manifest=None) as store:
        known = {row.uid: row for row in store.all_rows() if not row.error}
        kept = [(shape, known[shape.uid]) for shape in shapes if shape.uid in known]
        if len(kept) < 2:
            raise InputError(
                f"{store.name}: has samples of {counted(len(kept), 'shape')} of {what}, but training needs two "
                "or more; the same uids are needed in both"
            )
        require_same_origins(kept, what, f"the samples of {store.name}")
        if len(kept) < len(shapes):
            log.warning(
                "%d of %d shapes have no samples and are left out", len(shapes) - len(kept), len(shapes)
            )
        in_order = sorted(kept, key=lambda pair: pair[1].index)
        samples, _ = _make_reader(store, [path], [row for _, row in in_order], settings, context, [])
        rows = [replace(shape, index=shapes.index(shape)) for shape, _ in in_order]
        yield TrainingSet(rows, store.history, samples, [])


def _make_reader(
    store: StoreReader,
    paths: Sequence[str],
    rows: "Sequence[Row]",
    settings: "Drawn",
    context: "DeviceContext",
    held_out: "Sequence[Row]",
) -> "tuple[SampleReader, list[tuple[Row, SampleChunk]]]":
    """Make the reader of some rows of an open store, and read the first samples of the held-out rows."""
    from sdfkit.runtime.doctor import free_memory
    from sdfkit.training.samples import SampleReader

    near = round(settings.near * settings.points)
    read: ReadChunk
    waiting: Iterator[SampleChunk] = iter(())
    kept: dict[int, SampleChunk] = {}
    if any(path == STANDARD or Path(path).is_file() for path in paths):
        unseen = {row.index for row in held_out}
        memory, waiting = sys.maxsize, _in_order(store, {row.index for row in rows}, unseen, kept)
        read = lambda row, start, stop: next(waiting)  # noqa: E731
    else:
        memory = int(SHARE_OF_MEMORY * free_memory()) // context.processes
        read = partial(_read, store, [row.index for row in rows])
        kept = {row.index: _read(store, [row.index], 0, 0, FIRST_SAMPLES) for row in held_out}
    samples = SampleReader(
        read, [row.uid for row in rows], store.array("point").shape[1], window=SAMPLES_PER_CHUNK,
        near=near, others=settings.points - near, memory=memory,
    )  # fmt: skip
    if not samples.in_memory:
        log.info("the samples do not fit into half of the free memory; they are read when they are needed")
    for _ in waiting:  # reads held-out shapes that come after the last training shape
        pass
    return samples, [(row, kept[row.index]) for row in held_out]


def _read(store: StoreReader, rows: Sequence[int], row: int, start: int, stop: int) -> "SampleChunk":
    """Read a range of samples of one shape."""
    from sdfkit.training.samples import SampleChunk

    return SampleChunk(*(store.read_part(name, (rows[row], slice(start, stop))) for name in ARRAYS))


def _in_order(
    store: StoreReader, wanted: set[int], held_out: set[int], kept: "dict[int, SampleChunk]"
) -> "Iterator[SampleChunk]":
    """Yield the samples of the wanted rows in the order of the store, one row in memory at a time.

    The first samples of held-out rows are put into `kept`.
    """
    from sdfkit.training.samples import SampleChunk

    for row in store.rows(*ARRAYS):
        if row.index in wanted:
            yield SampleChunk(*(row.arrays[name] for name in ARRAYS))
        elif row.index in held_out:
            kept[row.index] = SampleChunk(*(row.arrays[name][:FIRST_SAMPLES].copy() for name in ARRAYS))


def read_shape_samples(path: str, rows: "Sequence[Row]") -> "tuple[ShapeSamples, list[dict[str, Any]]]":
    """Read the first samples of each shape. They are a fair draw, because samples are stored in random order.

    Args:
        path: A samples store.
        rows: The shapes.

    Returns:
        Up to `FIRST_SAMPLES` samples of each shape, and the history of the store.

    Raises:
        InputError: A shape has no samples in the store.
    """
    import numpy as np
    import torch

    from sdfkit.training.autoencoder import ShapeSamples

    with open_store(path, "samples", manifest=None) as store:
        known = {row.uid: row for row in store.all_rows() if not row.error}
        for row in rows:
            if row.uid not in known:
                raise InputError(
                    f"{store.name}: has no samples of {row.uid}; give the samples that the weights were fitted to"
                )
        require_same_origins(
            [(row, known[row.uid]) for row in rows], "the weights", f"the samples of {store.name}"
        )
        parts = [
            np.stack([store.read_part(name, (known[row.uid].index, slice(0, FIRST_SAMPLES))) for row in rows])
            for name in ARRAYS
        ]
        return ShapeSamples(*map(torch.from_numpy, parts)), store.history
