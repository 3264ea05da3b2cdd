"""Samples to train on, out of a store: held in memory where they fit, or else read when they are needed."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sdfkit.errors import InputError
from sdfkit.io.stores.layout import SAMPLES_PER_CHUNK
from sdfkit.io.stores.reader import StoreReader, open_store
from sdfkit.options import STANDARD

if TYPE_CHECKING:
    from sdfkit.rows import Row
    from sdfkit.training.deepsdf_recipes import DeepSDFSettings
    from sdfkit.training.run import DeviceContext
    from sdfkit.training.samples import Part, Read, Samples

ARRAYS = ("point", "distance", "near")
# The rest is for the network, its optimizer and the system's own cache of files.
SHARE_OF_MEMORY = 0.5


class TrainingSet(NamedTuple):
    """The shapes of a samples store that did not fail, how they were made, and the samples of this process's own."""

    rows: "list[Row]"
    history: list[dict[str, Any]]
    samples: "Samples"


@contextmanager
def open_samples(
    path: str, settings: "DeepSDFSettings", context: "DeviceContext", *, manifest: Path | None
) -> Iterator[TrainingSet]:
    """Open the samples of shapes to train on.

    They are read as they are needed until the block ends, unless they fit into half of the free memory. What comes
    through a pipe or out of a zip cannot be read again and is held in memory.

    Raises:
        InputError: Not samples, none usable, or samples that a step cannot be made of.
    """
    from sdfkit.runtime.doctor import free_memory
    from sdfkit.training.samples import Samples

    near = round(settings.near * settings.points)
    with open_store(path, "samples", manifest=manifest) as store:
        rows = [row for row in store.all_rows() if not row.error]
        if not rows:
            raise InputError(f"{store.name}: none of its {len(store)} shapes is usable")
        own = rows[context.own]
        read: Read
        if path == STANDARD or Path(path).is_file():
            memory, waiting = sys.maxsize, _in_order(store, {row.index for row in own})
            read = lambda row, start, stop: next(waiting)  # noqa: E731
        else:
            memory = int(SHARE_OF_MEMORY * free_memory()) // context.processes
            read = partial(_read, store, [row.index for row in own])
        samples = Samples(
            read, [row.uid for row in own], store.array("point").shape[1], window=SAMPLES_PER_CHUNK,
            near=near, others=settings.points - near, memory=memory,
        )  # fmt: skip
        yield TrainingSet(
            [replace(row, index=index) for index, row in enumerate(rows)], store.history, samples
        )


def _read(store: StoreReader, rows: Sequence[int], row: int, start: int, stop: int) -> "Part":
    """Samples of one shape, wherever they lie."""
    from sdfkit.training.samples import Part

    return Part(*(store.read_part(name, (rows[row], slice(start, stop))) for name in ARRAYS))


def _in_order(store: StoreReader, wanted: set[int]) -> "Iterator[Part]":
    """The samples of rows in the order that they come in, in flat memory."""
    from sdfkit.training.samples import Part

    for row in store.rows(*ARRAYS):
        if row.index in wanted:
            yield Part(*(row.arrays[name] for name in ARRAYS))
