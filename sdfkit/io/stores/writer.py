"""The writing half of the door to Zarr stores: whole or absent, or continued where it stopped."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sdfkit.errors import InputError, UsageError
from sdfkit.io.stores.layout import COLUMNS, FORMAT, OPTIONAL, remote
from sdfkit.io.stores.resume import find_unfinished
from sdfkit.io.streams import open_output
from sdfkit.options import STANDARD
from sdfkit.rows import Row, history_step

SAMPLES_PER_CHUNK = 8192


class StoreWriter:
    """A store being written.

    With `in_order`, rows come in their order and their columns lead them; else in any order, `valid` last,
    so that a row that has it is whole. `done` holds the rows that are there.
    """

    def __init__(
        self,
        store: Any,
        attributes: Mapping[str, Any],
        rows: Sequence[Row] | None,
        count: int | None,
        *,
        in_order: bool,
    ) -> None:
        import zarr

        # Chunks that are all zeros are written too: a reader of a pipe could not tell them from late ones.
        zarr.config.set({"array.write_empty_chunks": True})
        self._in_order = in_order
        self._by_row: dict[str, Any] = {}
        self._pending: list[tuple[Any, np.ndarray]] = []
        self.done: set[int] = set()
        self.failed: set[int] = set()
        # A folder that is being continued is left as it is.
        self._continues = not in_order and attributes == {}
        if self._continues:
            self.group = zarr.open_group(store, mode="r+")
            folder = Path(store, "valid", "c")
            self.done = {int(path.name) for path in folder.iterdir()} if folder.is_dir() else set()
            self.failed = {row for row in self.done if not self.group["valid"][row]}  # type: ignore[index]
        else:
            self.group = zarr.create_group(store, attributes=dict(attributes))
        if count is not None:
            self._create_columns(rows, count)

    def _create_columns(self, rows: Sequence[Row] | None, count: int) -> None:
        # Columns that are known go first, in one chunk; what a pipe tells row by row is written so.
        for name in COLUMNS:
            if rows is None:
                self._create(name, count, np.dtypes.StringDType())
            elif not self._continues:
                column = np.array([getattr(row, name) for row in rows], np.dtypes.StringDType())
                self.create_array(name, data=column, axes=("shape",))
        self._create("valid", count, np.dtype(bool))
        self._create("error", count, np.dtypes.StringDType())

    def _create(self, name: str, count: int, dtype: Any) -> None:
        self.create_array(name, shape=(count,), dtype=dtype, axes=("shape",))

    def create_array(
        self,
        name: str,
        *,
        axes: tuple[str, ...],
        data: np.ndarray | None = None,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        compress: bool = False,
    ) -> None:
        """Declare an array: whole with `data`, or to be written row by row with `shape` and `dtype`.

        A sample axis is cut into chunks of 8,192 points, kept in one shard a shape: one chunk is one fair random
        batch, and one shape stays one file.
        """
        options: dict[str, Any] = {"dimension_names": axes}
        if not compress:
            options["compressors"] = None
        if self._continues and name in self.group:
            if data is None:
                self._by_row[name] = self.group[name]
            return
        if data is not None:
            self._create_whole(self.group, name, data, **options)
            return
        assert shape is not None
        chunks = (1, *shape[1:])
        if "sample" in axes and shape[1] > SAMPLES_PER_CHUNK:
            chunks = (1, SAMPLES_PER_CHUNK, *shape[2:])
            options["shards"] = (1, -(-shape[1] // SAMPLES_PER_CHUNK) * SAMPLES_PER_CHUNK, *shape[2:])
        self._by_row[name] = self.group.create_array(name, shape=shape, dtype=dtype, chunks=chunks, **options)

    def create_group(
        self, name: str, *, attributes: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> None:
        """Write a group of named arrays, such as a network with its configuration."""
        group = self.group.create_group(name, attributes=dict(attributes))
        for path, data in arrays.items():
            self._create_whole(group, path, data, compressors=None)

    def _create_whole(self, group: Any, name: str, data: np.ndarray, **options: Any) -> None:
        chunks = tuple(max(size, 1) for size in data.shape)
        array = group.create_array(name, shape=data.shape, dtype=data.dtype, chunks=chunks, **options)
        if self._in_order:
            # Data waits until all metadata is there: a reader of a pipe takes the first chunk for the end of it.
            self._pending.append((array, data))
        else:
            array[...] = data

    def flush(self) -> None:
        """Write the whole arrays that were declared and wait."""
        for array, data in self._pending:
            array[...] = data
        self._pending.clear()

    def has(self, row: Row) -> bool:
        """Whether an earlier run has written this row."""
        return row.index in self.done

    def write(self, row: Row, **arrays: np.ndarray) -> None:
        """Write one row; one with an error has no arrays."""
        self.flush()
        known = {name: getattr(row, name) for name in (*COLUMNS, *OPTIONAL) if name in self._by_row}
        status = {"error": row.error, "valid": not row.error}
        values: dict[str, Any] = (
            {**known, **status, **arrays} if self._in_order else {**arrays, **known, **status}
        )
        for name, value in values.items():
            self._by_row[name][row.index] = value
        self.done.add(row.index)
        if row.error:
            self.failed.add(row.index)


@contextmanager
def create_store(
    output: str,
    kind: str,
    *,
    rows: Sequence[Row] | None = None,
    count: int | None = None,
    history: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    attributes: Mapping[str, Any] | None = None,
    seed: int | None = None,
    overwrite: bool,
    resumable: bool = False,
    complete: bool = True,
) -> Iterator[StoreWriter]:
    """Create a store that appears whole when the block ends, or not at all.

    A `resumable` folder whose `rows` are known is filled in its place, so that the same command can continue it;
    it says that it is not complete until the block ends.

    Args:
        output: A folder `*.zarr`, a file `*.zip`, a URL, or `-` for standard output.
        kind: What it holds.
        rows: The shapes, where they are known.
        count: Their number, where only that is known.
        history: The steps of the inputs; this one is added.
        settings: What must be equal for a run to be continued.
        attributes: More root attributes.
        seed: Recorded in the history.
        overwrite: Replace what is there.
        resumable: Keep the rows of an interrupted run.
        complete: False for a checkpoint: readers refuse it, its own command continues from it.

    Raises:
        InputError: The output exists, or an unfinished one was made with other settings.
        UsageError: The name is none of a store, or standard output is a terminal.
    """
    number = len(rows) if rows is not None else count
    root = {
        "kind": kind,
        "format": FORMAT,
        "complete": complete,
        "history": [*history, history_step(seed)],
        "settings": dict(settings),
        **(attributes or {}),
    }
    path = Path(output.rstrip("/"))
    is_special = path.exists() and not path.is_dir() and not path.is_file()
    if output == STANDARD or output.endswith(".zip") or is_special:
        from sdfkit.io.stores.zip_stream import ZipWriter

        with open_output(output, overwrite=overwrite) as stream:
            zipped = ZipWriter(stream)
            writer = StoreWriter(zipped, root, rows, number, in_order=True)
            yield writer
            writer.flush()
            zipped.finish()
        return
    if "://" in output:
        store = _empty_remote(output, overwrite)
        writer = StoreWriter(store, {**root, "complete": False}, rows, number, in_order=False)
        yield writer
        writer.group.attrs["complete"] = complete
        return
    if path.suffix != ".zarr":
        raise UsageError(f"{output}: name a store *.zarr (a folder) or *.zarr.zip (one file)")
    if rows is not None and resumable:
        yield from _fill_in_place(path, root, rows, overwrite)
    else:
        yield from _appear_at_once(path, root, rows, number, overwrite)


def _fill_in_place(
    path: Path, root: Mapping[str, Any], rows: Sequence[Row], overwrite: bool
) -> Iterator[StoreWriter]:
    unfinished = find_unfinished(
        path, root["kind"], root["settings"], [row.uid for row in rows], overwrite=overwrite
    )
    if not unfinished and path.exists():
        shutil.rmtree(path)
    attributes = {} if unfinished else {**root, "complete": False}
    writer = StoreWriter(path, attributes, rows, len(rows), in_order=False)
    try:
        yield writer
    except BaseException:
        if not writer.done:
            shutil.rmtree(path)
        raise
    writer.group.attrs["complete"] = True


def _empty_remote(url: str, overwrite: bool) -> Any:
    """A store at a URL where there is none, or none any more."""
    import zarr
    from zarr.core.sync import sync

    store = remote(url)
    try:
        zarr.open_group(store, mode="r")
    except FileNotFoundError:
        return store
    if not overwrite:
        raise InputError(f"{url}: exists; choose another name or add --overwrite")
    sync(store.delete_dir(""))
    return store


def _appear_at_once(
    path: Path, root: Mapping[str, Any], rows: Sequence[Row] | None, number: int | None, overwrite: bool
) -> Iterator[StoreWriter]:
    find_unfinished(path, root["kind"], root["settings"], None, overwrite=overwrite)
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        yield StoreWriter(part, root, rows, number, in_order=False)
        old = path.with_name(f".{path.name}.old-{os.getpid()}")
        if path.exists():
            path.rename(old)
        part.rename(path)
        if old.exists():
            shutil.rmtree(old)
    finally:
        if part.exists():
            shutil.rmtree(part)
