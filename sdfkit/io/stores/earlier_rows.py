"""Rows of an earlier output that are taken over into a new one, because their inputs and settings are equal."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.io.outputs import remove
from sdfkit.rows import Row, is_machine_failure
from sdfkit.wording import counted

if TYPE_CHECKING:
    import zarr


def find_done(group: "zarr.Group", *, retry_failed: bool) -> tuple[set[int], set[int], set[int]]:
    """Find the rows that a store holds.

    Args:
        group: The store.
        retry_failed: Count rows that failed among those to be made again. Rows that failed for a reason of the machine
            always are.

    Returns:
        The indices of the rows that are written, of those of them that failed, and of the rows to be made again.
    """
    valid = np.asarray(group["valid"][...])  # type: ignore[index]
    errors = np.asarray(group["error"][...]).tolist()  # type: ignore[index]
    failed = {row for row, error in enumerate(errors) if error and not valid[row]}
    stale = {row for row in failed if retry_failed or is_machine_failure(errors[row])}
    return {*np.flatnonzero(valid).tolist(), *failed} - stale, failed - stale, stale


class EarlierRows:
    """The rows of a store of the same command and settings, but of other shapes.

    Args:
        folder: The store, which is not changed.
        retry_failed: See `find_done`.

    Attributes:
        group: The store.
    """

    def __init__(self, folder: Path, *, retry_failed: bool) -> None:
        import zarr

        self.group = zarr.open_group(folder, mode="r")
        self._folder = folder
        done, self._failed, _ = find_done(self.group, retry_failed=retry_failed)
        uids, inputs = (self.group[name][...].tolist() for name in ("uid", "input"))  # type: ignore[index,union-attr]
        self._uids = uids
        self._rows = {uids[row]: (row, inputs[row]) for row in done}
        self._columns: dict[str, np.ndarray] = {}

    def find(self, row: Row, arrays: Mapping[str, "zarr.Array[Any]"]) -> int | None:
        """Return the index of a row that was made from the same input; None if there is none with all the arrays."""
        index, digest = self._rows.get(row.uid, (None, ""))
        if index is None or digest != row.identity or any(name not in self.group for name in arrays):
            return None
        return index

    def has_failed(self, index: int) -> bool:
        """Return whether a row failed."""
        return index in self._failed

    def copy(self, index: int, arrays: Mapping[str, "zarr.Array[Any]"], folder: Path, row: int) -> None:
        """Copy the entries of a row to another one of a new store.

        Files that hold nothing else are linked where the file system can, which takes neither time nor space.

        Args:
            index: The row.
            arrays: Arrays of the new store, in the order in which to write them.
            folder: The new store.
            row: The row there.
        """
        for name, array in arrays.items():
            old: Any = self.group[name]
            if array.ndim > 1 and _describe(array) == _describe(old):
                source = self._folder / name / "c" / str(index)
                if source.exists():  # not of a row that failed
                    _link(source, folder / name / "c" / str(row))
                continue
            if name not in self._columns:
                self._columns[name] = np.asarray(old[...]) if array.ndim == 1 else old
            array[row] = self._columns[name][index]

    def describe(self, rows: Sequence[Row], made: int) -> str:
        """Say how many rows were taken over, made and left out.

        Args:
            rows: All rows of the new store.
            made: Number of rows that the run has made.
        """
        lost = {*self._uids} - {row.uid for row in rows}
        left_out = f", {len(lost)} left out" if lost else ""
        return f"{counted(made, 'shape')} made, {len(rows) - made} kept from the earlier run{left_out}"


def _describe(array: "zarr.Array[Any]") -> dict[str, Any] | None:
    """Return the metadata of an array whose rows are files of their own, without the number of rows; else None."""
    if (array.shards or array.chunks)[0] != 1:
        return None
    described: dict[str, Any] = array.metadata.to_dict()
    return described | {"shape": described["shape"][1:]}


def _link(source: Path, target: Path) -> None:
    # A run that was killed here may have left a part of it, or a link, through which a copy would write to the source.
    remove(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_file)
    else:
        _link_file(source, target)


def _link_file(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
