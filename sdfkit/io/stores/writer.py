"""Writes Zarr stores. A store appears when it is complete, or is written in place so that it can be continued."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sdfkit.errors import InputError, UsageError
from sdfkit.io.stores.layout import COLUMNS, FORMAT, OPTIONAL, SAMPLES_PER_CHUNK, open_remote
from sdfkit.io.stores.resume import find_unfinished
from sdfkit.io.streams import open_output
from sdfkit.options import STANDARD
from sdfkit.rows import Row, history_step


class StoreWriter:
    """A store that is being written.

    Args:
        store: Zarr store or folder.
        attributes: Attributes of the root; empty to continue an existing folder, which has attributes.
        rows: The rows, if they are known in advance.
        count: Number of rows; None for a store that has no rows.
        in_order: True for a pipe: rows must be written in order, and the columns of a row are written before its
            arrays. Otherwise rows may be written in any order, and the column `valid` of a row is written last, so that
            it marks the row as complete.
        overwrite: Delete the existing content of the store first.

    Attributes:
        done: Indices of the rows that are written.
        failed: Indices of the written rows that have an error.
    """

    def __init__(
        self,
        store: Any,
        attributes: Mapping[str, Any],
        rows: Sequence[Row] | None,
        count: int | None,
        *,
        in_order: bool,
        overwrite: bool = False,
    ) -> None:
        import zarr

        # Chunks of zeros are written too: to the reader of a pipe, an omitted chunk looks like one that is still to
        # come.
        zarr.config.set({"array.write_empty_chunks": True})
        self._in_order = in_order
        self._by_row: dict[str, Any] = {}
        self._pending: list[tuple[Any, np.ndarray]] = []
        self.done: set[int] = set()
        self.failed: set[int] = set()
        # A folder that is continued keeps its attributes and columns.
        self._continues = not in_order and attributes == {}
        if self._continues:
            self.group = zarr.open_group(store, mode="r+")
            folder = Path(store, "valid", "c")
            self.done = {int(path.name) for path in folder.iterdir()} if folder.is_dir() else set()
            self.failed = {row for row in self.done if not self.group["valid"][row]}  # type: ignore[index]
        else:
            self.group = zarr.create_group(store, attributes=dict(attributes), overwrite=overwrite)
        if count is not None:
            self._create_columns(rows, count)

    def _create_columns(self, rows: Sequence[Row] | None, count: int) -> None:
        # Known columns are written first, in one chunk; columns that arrive row by row have one chunk per row.
        for name in COLUMNS:
            self._create_text(name, rows, count)
        self._create("valid", count, np.dtype(bool))
        self._create("error", count, np.dtypes.StringDType())
        # The origins of meshes of other programs become known as their files are read.
        self._create_text("origin", rows if rows and all(row.origin for row in rows) else None, count)

    def _create_text(self, name: str, rows: Sequence[Row] | None, count: int) -> None:
        if rows is None:
            self._create(name, count, np.dtypes.StringDType())
        elif not self._continues:
            column = np.array([getattr(row, name) for row in rows], np.dtypes.StringDType())
            self.create_array(name, data=column, axes=("shape",))

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
        """Create an array, either complete from `data`, or with `shape` and `dtype` to be written row by row.

        An axis named "sample" is divided into chunks of 8,192 points, with one shard per shape: each chunk can serve as
        a random batch, and each shape is one file.
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
        chunks = (1, *(max(size, 1) for size in shape[1:]))  # zarr 3.2 refuses chunks of 0
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
            # Data is written after all metadata: for the reader of a pipe, the first chunk ends the metadata.
            self._pending.append((array, data))
        else:
            array[...] = data

    def flush(self) -> None:
        """Write the data of complete arrays, which is held back until the metadata of all arrays are written."""
        for array, data in self._pending:
            array[...] = data
        self._pending.clear()

    def has(self, row: Row) -> bool:
        """Return whether an earlier run has written this row."""
        return row.index in self.done

    def write(self, row: Row, **arrays: np.ndarray) -> None:
        """Write one row and its entries of the named arrays; a row with an error has no entries."""
        self.flush()
        known = {name: getattr(row, name) for name in (*COLUMNS, *OPTIONAL) if name in self._by_row}
        status = {"error": row.error, "valid": not row.error}
        values: dict[str, Any] = {}
        if known.pop("origin", None) is not None:
            values["origin"] = row.origin if row.error else row.find_origin()
        values = (
            {**known, **status, **values, **arrays}
            if self._in_order
            else {**values, **arrays, **known, **status}
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
    """Create a store that appears complete when the block ends without an error, or not at all.

    A `resumable` folder with known `rows` is different: it is written in place, so that the same command can continue
    it after an interruption. Its attribute `complete` is false until the block ends.

    Args:
        output: A folder `*.zarr`, a file `*.zip`, a URL, or `-` for standard output.
        kind: Kind of the store, such as "codes"; the manual page sdfkit-store(5) lists all kinds.
        rows: The rows, if they are known in advance.
        count: Number of rows, if only their number is known in advance.
        history: The commands that made the inputs, oldest first; the running command is appended.
        settings: Settings of the command. A later run continues this one only if its settings are equal.
        attributes: Further attributes of the root.
        seed: Seed to record in the history.
        overwrite: Replace an existing store.
        resumable: Keep the rows that are written if the command is interrupted.
        complete: False for a checkpoint: other commands refuse it, and the command that wrote it continues it.

    Raises:
        InputError: The output exists, or is an unfinished run with other settings.
        UsageError: The output is not named like a store, or standard output is a terminal.
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
        store, exists = _open_remote_output(output, overwrite)
        attributes = {**root, "complete": False}
        writer = StoreWriter(store, attributes, rows, number, in_order=False, overwrite=exists)
        yield writer
        writer.group.attrs["complete"] = complete
        return
    if path.suffix != ".zarr":
        raise UsageError(
            f"{output}: is not a name for a store; use *.zarr (a folder) or *.zarr.zip (one file)"
        )
    if rows is not None and resumable:
        yield from _write_in_place(path, root, rows, overwrite)
    else:
        yield from _write_beside(path, root, rows, number, overwrite)


def _write_in_place(
    path: Path, root: Mapping[str, Any], rows: Sequence[Row], overwrite: bool
) -> Iterator[StoreWriter]:
    """Write a folder in place. After an error, the folder is kept if at least one row is complete."""
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


def _open_remote_output(url: str, overwrite: bool) -> tuple[Any, bool]:
    """Return the Zarr store at a URL, and whether it holds a group that is to be overwritten."""
    import zarr

    store = open_remote(url)
    try:
        zarr.open_group(store, mode="r")
    except FileNotFoundError:
        return store, False
    if not overwrite:
        raise InputError(f"{url}: exists; choose another name or add --overwrite")
    return store, True


def _write_beside(
    path: Path, root: Mapping[str, Any], rows: Sequence[Row] | None, number: int | None, overwrite: bool
) -> Iterator[StoreWriter]:
    """Write a store beside its final path, and rename it when the block ends without an error."""
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
