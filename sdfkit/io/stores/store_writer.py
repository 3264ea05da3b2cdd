"""A Zarr store that is being written, row by row, and which rows of it an earlier run has written."""

import logging
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from sdfkit.errors import InputError, MissingError
from sdfkit.io.outputs import remove, share
from sdfkit.io.stores.earlier_rows import EarlierRows, find_done
from sdfkit.io.stores.layout import COLUMNS, OPTIONAL, SAMPLES_PER_CHUNK
from sdfkit.rows import Row
from sdfkit.runtime.pool import RemoteWriter

log = logging.getLogger(__name__)
# Rows that share a chunk of a small array in a folder. Of stores of few rows, the mark of each is a file of its own.
ROWS_PER_CHUNK, FEW_ROWS = 256, 1000


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
        may_restart: True for a pipe that may hold several archives, one after another.
        tracks_inputs: Store the digest of each row's input, by which a later run recognises rows that it may keep.
        retry_failed: Of a store that is continued, make the rows again that failed. Those that failed for a reason of
            the machine are always made again.
        earlier: Rows of an earlier store, of which those are copied that were made from the same input.
        claimed: Path that this process has claimed for the store, or the store's URL, if other machines may write rows.

    Attributes:
        done: Indices of the rows that are written.
        failed: Indices of the written rows that have an error.
        made: Number of rows that this run has written.
    """

    def __init__(
        self,
        store: Any,
        attributes: Mapping[str, Any],
        rows: Sequence[Row] | None,
        count: int | None,
        *,
        in_order: bool,
        may_restart: bool = False,
        tracks_inputs: bool = False,
        retry_failed: bool = False,
        earlier: EarlierRows | None = None,
        claimed: Path | str | None = None,
    ) -> None:
        import zarr

        # Chunks of zeros are written too: to the reader of a pipe, an omitted chunk looks like one that is still to
        # come.
        zarr.config.set({"array.write_empty_chunks": True})
        self._claimed = claimed
        # Names of the arrays that other machines write; None if none does.
        self._remote: list[str] | None = None
        self._in_order, self._may_restart = in_order, may_restart
        self._by_row: dict[str, Any] = {}
        self._pending: list[tuple[Any, np.ndarray]] = []
        self._store, self._root = store, dict(attributes)
        self._count = count
        # Index of the first row of the archive that is being written, and what was created in it.
        self._first = 0
        self._created: list[tuple[Callable[..., None], str, dict[str, Any]]] = []
        self._tracks_inputs = tracks_inputs
        self._earlier = earlier
        self._inputs: dict[int, str] = {}
        self._earlier_inputs: dict[int, str] = {}
        # A mark of this run in the root of a store at a URL, where nothing can be locked.
        self._run = uuid4().hex if isinstance(claimed, str) else ""
        # Rows of the earlier run that stay until they are written again.
        self._stale: set[int] = set()
        self.done: set[int] = set()
        self.failed: set[int] = set()
        self.made = 0
        # A folder that is continued keeps its attributes and columns.
        self._continues = not in_order and attributes == {}
        if self._continues:
            self.group = zarr.open_group(store, mode="r+")
            if isinstance(store, Path):
                for partial in store.rglob("*.partial"):
                    partial.unlink()
            self.done, self.failed, self._stale = find_done(self.group, retry_failed=retry_failed)
            if tracks_inputs:
                inputs = np.asarray(self.group["input"][...]).tolist()  # type: ignore[index]
                self._earlier_inputs = {row: inputs[row] for row in self.done}
        else:
            self.group = zarr.create_group(store, attributes=dict(attributes))
        if self._run:
            self.group.attrs["run"] = self._run
        if count is not None:
            self._create_columns(rows, count)
        if earlier is not None:
            for name, group in earlier.group.groups():
                if name not in self.group:
                    arrays = {path: np.asarray(array[...]) for path, array in group.arrays()}
                    self.create_group(name, attributes=dict(group.attrs), arrays=arrays)

    def _drop(self, row: int) -> None:
        """Delete what an earlier run has written of a row, its mark first."""
        if self.group.attrs.get("complete"):
            self.group.attrs["complete"] = False
        for name in sorted(self._by_row, key=lambda name: name != "valid"):
            self._clear(name, row)

    def _clear(self, name: str, row: int) -> None:
        array = self._by_row[name]
        if array.chunks[0] == 1 and isinstance(self._store, Path):
            remove(self._store / name / "c" / str(row))
        else:
            array[row] = np.zeros((), array.dtype)[()]

    def _create_columns(self, rows: Sequence[Row] | None, count: int) -> None:
        # Known columns are written first, in one chunk; columns that arrive row by row have one chunk per row.
        for name in COLUMNS:
            self._create_text(name, rows, count)
        self._create("valid", count, np.dtype(bool))
        self._create("error", count, np.dtypes.StringDType())
        # The origins of meshes of other programs become known as their files are read.
        self._create_text("origin", rows if rows and all(row.origin for row in rows) else None, count)
        if self._tracks_inputs:
            self._create("input", count, np.dtypes.StringDType())

    def _create_text(self, name: str, rows: Sequence[Row] | None, count: int) -> None:
        if rows is None:
            self._create(name, count, np.dtypes.StringDType())
            return
        column = np.array([getattr(row, name) for row in rows], np.dtypes.StringDType())
        self.create_array(name, data=column, axes=("shape",))
        if self._continues and self.group[name][...].tolist() != column.tolist():  # type: ignore[index,union-attr]
            self.group[name][...] = column  # type: ignore[index]  # other labels, of another manifest

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
        if self._in_order:
            made = {"axes": axes, "data": data, "shape": shape, "dtype": dtype, "compress": compress}
            self._created.append((self.create_array, name, made))
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
        chunks = (
            self._rows_per_chunk(name, axes, shape[0]),
            *(max(size, 1) for size in shape[1:]),
        )  # 0 is refused
        if "sample" in axes and shape[1] > SAMPLES_PER_CHUNK:
            chunks = (1, SAMPLES_PER_CHUNK, *shape[2:])
            options["shards"] = (1, -(-shape[1] // SAMPLES_PER_CHUNK) * SAMPLES_PER_CHUNK, *shape[2:])
        self._by_row[name] = self.group.create_array(name, shape=shape, dtype=dtype, chunks=chunks, **options)

    def _rows_per_chunk(self, name: str, axes: Sequence[str], count: int) -> int:
        """Return how many rows share a file: in a folder, many of an array that takes little for each row.

        The files of 500,000 shapes are a burden for a file system, and more so for a copy of them.
        """
        is_small = not set(axes) - {"shape", "view", "to", "from"}
        if not isinstance(self._store, Path) or not is_small or (name == "valid" and count <= FEW_ROWS):
            return 1
        return ROWS_PER_CHUNK

    def create_group(
        self, name: str, *, attributes: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> None:
        """Write a group of named arrays, such as a network with its configuration."""
        if self._in_order:
            self._created.append((self.create_group, name, {"attributes": attributes, "arrays": arrays}))
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

    def _extend(self, count: int) -> None:
        """Make room for rows beyond the number that was known: those of further stores on a pipe.

        Raises:
            InputError: The store is a zip file, whose metadata are written.
        """
        self._count = count
        if not self._in_order:
            for array in self._by_row.values():
                array.resize((count, *array.shape[1:]))
            return
        if not self._may_restart:
            raise InputError(
                "a zip file cannot hold the rows of several stores from a pipe; write a folder (*.zarr) or to a pipe"
            )
        import zarr

        self.flush()
        # Each of these rows becomes an archive of its own, behind the others.
        self._store.restart()
        self._first = count - 1
        self.group = zarr.create_group(self._store, attributes=self._root)
        created, self._created = self._created, []
        for create, name, options in created:
            if options.get("shape") is not None:
                options = options | {"shape": (1, *options["shape"][1:])}
            create(name, **options)

    def flush(self) -> None:
        """Write the data of complete arrays, which is held back until the metadata of all arrays are written."""
        for array, data in self._pending:
            array[...] = data
        self._pending.clear()

    def has(self, row: Row) -> bool:
        """Return whether an earlier run has written this row, from the same input."""
        is_kept = self._find(row)
        if self._remote is not None and not is_kept:
            # Otherwise the arrays of another machine would lie beside the old mark, or beyond the end.
            self._make_room(row)
            if row.index in self._stale:
                self._stale.discard(row.index)
                self._drop(row.index)
        return is_kept

    def _find(self, row: Row) -> bool:
        if not self._tracks_inputs:
            return row.index in self.done
        self._inputs[row.index] = row.identity
        if row.index not in self.done:
            return self._copy_earlier(row)
        if self._earlier_inputs.get(row.index, row.identity) == row.identity:
            return True
        log.warning("%s: its input has changed since the earlier run, so it is made again", row.uid)
        self.done.discard(row.index)
        self.failed.discard(row.index)
        self._stale.add(row.index)
        return False

    def _copy_earlier(self, row: Row) -> bool:
        """Copy a row of the earlier store that was made from the same input. False if there is none."""
        index = None if self._earlier is None else self._earlier.find(row, self._by_row)
        if self._earlier is None or index is None:
            return False
        # `valid` comes last, as in `write`.
        names = sorted(self._by_row, key=lambda name: name == "valid")
        self._earlier.copy(index, {name: self._by_row[name] for name in names}, self._store, row.index)
        self.done.add(row.index)
        if self._earlier.has_failed(index):
            self.failed.add(row.index)
        return True

    def drop_all(self) -> None:
        """Delete all rows, because something has changed that they were all made from."""
        self._earlier = None
        for row in sorted(self.done | self._stale):
            self._drop(row)
        self._stale = set()
        self.done.clear()
        self.failed.clear()

    def _make_room(self, row: Row) -> None:
        if self._count is not None and row.index >= self._count:
            self._extend(row.index + 1)

    def remote(self) -> RemoteWriter | None:
        """Return the writer of the large arrays for other machines; None for a pipe or a file of one's own.

        The values of several rows that share a chunk are left to this process, and so is `valid`, which comes last.
        """
        if self._claimed is None:
            return None
        own = {*COLUMNS, *OPTIONAL, "input", "error", "valid"}
        self._remote = [
            name for name, array in self._by_row.items() if array.chunks[0] == 1 and name not in own
        ]
        if isinstance(self._claimed, Path):
            check = share(self._claimed).check
        else:
            check = partial(check_run, self._store, self._claimed, self._run)
        return RemoteWriter(check, partial(write_arrays, self._store, self._remote))

    def record(self, row: Row, **arrays: np.ndarray) -> None:
        """Write what the writer of another machine has left of a row; see `remote`."""
        self.write(row, **arrays)

    def write(self, row: Row, **arrays: np.ndarray) -> None:
        """Write one row and its entries of the named arrays; a row with an error has no entries.

        Raises:
            InputError: Another command has begun to write the rows at this URL.
        """
        if self._run and self._tracks_inputs and find_run(self._store) != self._run:
            raise InputError(
                f"{self._claimed}: another command has begun to write this store; run one at a time, or choose "
                "another name"
            )
        self._earlier_inputs.pop(row.index, None)
        self._make_room(row)
        self.flush()
        if row.error:
            # Another machine may have failed after it wrote them.
            for name in self._remote or ():
                self._clear(name, row.index)
        if not self._in_order and (row.index in self._stale or row.index in self.done):
            self._stale.discard(row.index)
            self._drop(row.index)
        known = {name: getattr(row, name) for name in (*COLUMNS, *OPTIONAL) if name in self._by_row}
        status = {"error": row.error, "valid": not row.error}
        values: dict[str, Any] = {}
        if known.pop("origin", None) is not None:
            values["origin"] = row.origin if row.error else row.find_origin()
        if self._tracks_inputs:
            # Of a row that has failed meanwhile, the arrays are gone.
            values["input"] = self._inputs.pop(row.index, None) or row.identity
        values = (
            {**known, **status, **values, **arrays}
            if self._in_order
            else {**values, **arrays, **known, **status}
        )
        for name, value in values.items():
            self._by_row[name][row.index - self._first] = value
        self.done.add(row.index)
        self.made += 1
        if row.error:
            self.failed.add(row.index)


def find_run(store: Any) -> str | None:
    """Return the mark of the run that writes a store at a URL; None if there is no store."""
    import zarr

    try:
        return str(zarr.open_group(store, mode="r").attrs.get("run"))
    except FileNotFoundError:
        return None


def check_run(store: Any, url: str, run: str) -> None:
    """Raise MissingError unless a store at a URL is the one of a run."""
    if find_run(store) != run:
        raise MissingError(
            f"{url}: is not what the worker on {platform.node()} finds there; use a shared URL"
        )


def write_arrays(store: Any, names: Sequence[str], row: Row, **arrays: Any) -> dict[str, Any]:
    """Write the entries of a row in the named arrays of a store, and return those of other arrays."""
    import zarr

    zarr.config.set({"array.write_empty_chunks": True})  # as `StoreWriter` does it
    group: Any = zarr.open_group(store, mode="r+")
    for name in names:
        if name in arrays:
            group[name][row.index] = arrays.pop(name)
    return arrays
