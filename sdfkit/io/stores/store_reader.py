"""An open Zarr store: its attributes, its arrays and its rows, each checked before it is read."""

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import InputError, first_line
from sdfkit.io.manifests import Entry, label
from sdfkit.io.stores.checks import (
    CHUNK_ERRORS,
    METADATA_ERRORS,
    axes_of,
    bad_metadata,
    check_array,
    check_attributes,
    check_group,
    check_stored,
    shared_sizes,
    size_in_memory,
)
from sdfkit.io.stores.layout import COLUMNS, FORMAT, OPTIONAL, SMALL, describe_kinds
from sdfkit.rows import Row, free_uid

if TYPE_CHECKING:
    import zarr


@dataclass(frozen=True)
class ArrayRow(Row):
    """One row of a store, with the entries of some arrays for this row; a shape that failed has no arrays."""

    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    steps: Sequence[Mapping[str, Any]] = ()

    @property
    def history(self) -> list[dict[str, Any]]:
        return [dict(step) for step in self.steps]

    @property
    def identity(self) -> str:
        content = hashlib.sha256()
        for name, array in self.arrays.items():
            content.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return content.hexdigest()[:16]


class StoreReader:
    """An open store. `name` is the name of the store in messages."""

    def __init__(self, group: "zarr.Group", name: str, manifest: Mapping[str, Entry]) -> None:
        self.group = group
        self.name = name
        self.attributes = check_attributes(dict(group.attrs), name)
        self.kind = str(self.attributes.get("kind"))
        self.history: list[dict[str, Any]] = list(self.attributes.get("history", []))
        self._manifest = manifest
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._columns: dict[str, list[str]] = {}
        # The length of each axis that several arrays have, and the first array that has it.
        self._lengths: dict[str, tuple[int, str]] = {}
        self._stored: dict[str, int] = {}
        # Of arrays several of whose rows share a chunk, the first row and the content of the chunk that was read last.
        self._blocks: dict[str, tuple[int, np.ndarray]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._arrays or self._node(name) is not None

    def __len__(self) -> int:
        """Return the number of rows.

        Raises:
            InputError: The uids of that many rows are not stored.
        """
        uid = self.array("uid")
        if uid.chunks != (1,) or not self._is_pipe:  # On a pipe, `rows` checks that each row arrives.
            self._require_stored(uid, "uid", ...)
        return int(uid.shape[0])

    @property
    def _is_pipe(self) -> bool:
        return hasattr(self.group.store, "forget")

    def _node(self, name: str) -> "zarr.Array[Any] | zarr.Group | None":
        """Return an array or group. None if there is none.

        Raises:
            InputError: Its metadata cannot be read.
        """
        from zarr.errors import ZarrUserWarning

        try:
            with warnings.catch_warnings():
                # zarr 3.4 reads some invalid metadata as if they were valid, with a warning.
                warnings.simplefilter("error", ZarrUserWarning)
                return self.group[name]
        except KeyError:
            return None
        except (*METADATA_ERRORS, ZarrUserWarning) as error:
            raise bad_metadata(self.name, f"the metadata of {name}", error) from error

    def array(self, name: str) -> "zarr.Array[Any]":
        """Return a Zarr array without reading its chunks. On a pipe, the shape is known before the chunks arrive."""
        import zarr

        # Opened arrays are kept: parsing the metadata takes longer than reading a row.
        if name in self._arrays:
            return self._arrays[name]
        array = self._node(name)
        if array is None:
            raise InputError(f"{self.name}: has {self.kind} without the array {name}; was it made by sdfkit?")
        if not isinstance(array, zarr.Array):
            raise InputError(f"{self.name}: {name} is a Zarr group, but an array is needed")
        check_array(array, name, self.name)
        if name != "uid" and "uid" in self:
            self.array("uid")
        for axis, length in shared_sizes(array, name, self.kind).items():
            first, other = self._lengths.setdefault(axis, (length, name))
            if length != first:
                raise InputError(
                    f"{self.name}: the array {name} has {length} entries along the axis {axis}, but {other} has "
                    f"{first}; make the store again"
                )
        self._arrays[name] = array
        return array

    def read(self, name: str, *axes: str) -> np.ndarray:
        """Read a whole array. If `axes` are given, the array must have these names of axes."""
        array = self.array(name)
        stored = axes_of(array)
        if axes and tuple(stored or ()) != axes:
            raise InputError(f"{self.name}: the array {name} has the axes {stored}, but needs {axes}")
        return self._get(array, name, ...)

    def read_part(self, name: str, selection: Any) -> np.ndarray:
        """Read the part of an array that a NumPy index selects."""
        return self._get(self.array(name), name, selection)

    def read_slice(self, name: str, rows: slice) -> np.ndarray:
        """Read some rows of an array."""
        return self._get(self.array(name), name, rows)

    def attributes_of(self, name: str) -> dict[str, Any]:
        """Return the attributes of a subgroup, such as a network's configuration."""
        return check_group(dict(self._subgroup(name).attrs), name, self.name)

    def _subgroup(self, name: str) -> "zarr.Group":
        import zarr

        group = self._node(name)
        if not isinstance(group, zarr.Group):
            raise InputError(f"{self.name}: has {self.kind} without the group {name}; was it made by sdfkit?")
        return group

    def _members(self, group: "zarr.Group") -> "dict[str, zarr.Array[Any]]":
        """Return all arrays of a group and its subgroups by their paths, sorted."""
        import zarr

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of files that are no part of the store
                members = sorted(group.members(max_depth=None))
        except METADATA_ERRORS as error:
            raise bad_metadata(self.name, "the metadata of an array", error) from error
        return {path: node for path, node in members if isinstance(node, zarr.Array)}

    def describe_arrays(self) -> list[dict[str, Any]]:
        """List name, axes, shape, type and size in bytes (None for strings) of every array, also in subgroups."""
        return [
            {
                "name": name,
                "axes": axes_of(node),
                "shape": node.shape,
                "dtype": "string" if node.dtype.kind == "T" else node.dtype.name,
                # Not `nbytes`, which fails for lengths beyond those of any array.
                "bytes": None if node.dtype.kind == "T" else math.prod(node.shape) * node.dtype.itemsize,
            }
            for name, node in self._members(self.group).items()
        ]

    def read_group(self, name: str) -> dict[str, np.ndarray]:
        """Read every array of a subgroup, by its path within the subgroup."""
        return {path: self.read(f"{name}/{path}") for path in self._members(self._subgroup(name))}

    def _get(self, array: "zarr.Array[Any]", name: str, selection: Any) -> np.ndarray:
        self._require_stored(array, name, selection)
        try:
            return np.asarray(array[selection])
        except CHUNK_ERRORS as error:
            raise InputError(
                f"{self.name}: a chunk of the array {name} is damaged ({first_line(error)}); make the store again"
            ) from error

    def _require_stored(self, array: "zarr.Array[Any]", name: str, selection: Any) -> None:
        """Raise InputError if a part of an array takes far more memory than the chunks that are stored.

        Chunks that are missing are read as zeros, so that a few bytes could declare an array of any size.
        """
        first = selection[0] if isinstance(selection, tuple) else selection
        rows = 1 if isinstance(first, (int, np.integer)) else array.shape[0] if array.shape else 1
        if isinstance(first, slice):
            rows = len(range(*first.indices(rows)))
        size = size_in_memory(array, rows)
        if size <= SMALL:
            return
        store: Any = self.group.store
        if self._is_pipe:
            # The chunk of the last row, behind which the other chunks have arrived.
            last = (rows if first is ... else first if rows == 1 else first.stop) - 1
            store.read_to(f"{name}/c/{min(last, array.shape[0] - 1) // (array.shards or array.chunks)[0]}/")
        if name not in self._stored or self._is_pipe:
            self._stored[name] = array.nbytes_stored()
        check_stored(size, self._stored[name], name, self.name)

    @cached_property
    def _columns_here(self) -> tuple[str, ...]:
        return (*COLUMNS, *(name for name in OPTIONAL if name in self), "error")

    def row(self, index: int) -> Row:
        """Read the columns (uid, labels, error) of one row."""
        text = {name: self._text(name, index) for name in self._columns_here}
        return label(Row(index=index, **text), self._manifest)

    def _text(self, name: str, index: int) -> str:
        array = self.array(name)
        if array.chunks == (1,):
            return str(self._get(array, name, index))
        # A column in one chunk is decoded once: decoding it for every row took minutes for 10,000 rows.
        if name not in self._columns:
            self._columns[name] = self.read(name).tolist()
        return self._columns[name][index]

    def all_rows(self, *, errors: bool = True) -> list[Row]:
        """Read the columns (uid, labels, error) of every row.

        On a pipe this waits for the last row, whose error arrives with it. Without `errors`, it does not, if the other
        columns are known in advance; see `StoreWriter`.
        """
        names = [name for name in self._columns_here if errors or self.array(name).chunks != (1,)]
        columns = {name: self.read(name).tolist() for name in names}
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return [label(Row(index=index, **row), self._manifest) for index, row in enumerate(rows)]

    def read_rows(self, *names: str, own: slice = slice(None)) -> tuple[list[Row], dict[str, np.ndarray]]:
        """Read the rows of shapes that did not fail, and the entries of the named arrays for these rows.

        Args:
            names: Names of the arrays to read.
            own: Read the arrays only for this slice of the rows that did not fail.

        Returns:
            All rows that did not fail, numbered from 0, and the arrays by name.

        Raises:
            InputError: All shapes failed.
        """
        for name in names:
            self._row_array(name)
        rows = self.all_rows()
        good = [row for row in rows if not row.error]
        if not good:
            raise InputError(f"{self.name}: all its shapes failed in an earlier step")
        keep = [row.index for row in good]
        if own == slice(None):
            arrays = {name: self.read(name) for name in names}
            if len(good) < len(rows):
                arrays = {name: array[keep] for name, array in arrays.items()}
        else:
            arrays = {
                name: np.stack([self._get(self.array(name), name, index) for index in keep[own]])
                for name in names
            }
        return [replace(row, index=index) for index, row in enumerate(good)], arrays

    def _row_array(self, name: str) -> "zarr.Array[Any]":
        """Return an array that has one entry for each row."""
        array = self.array(name)
        if array.shape[:1] != (len(self),):
            raise InputError(
                f"{self.name}: the array {name} has the shape {array.shape}, but the store has {len(self)} rows; "
                "make the store again"
            )
        return array

    def rows(
        self,
        *names: str,
        numbered: bool = True,
        check: "Callable[[StoreReader], None]" = lambda _: None,
    ) -> Iterator[ArrayRow]:
        """Yield the rows in order, each with the entries of the named arrays for this row.

        Memory does not grow with the number of rows. The rows of stores that follow this one on a pipe come after its
        own; a uid that occurs again gets a number, unless `numbered` is false. `check` is called with each such store.

        Raises:
            InputError: A store that follows is of another kind, or the entries of its rows have other shapes.
        """
        if not self._is_pipe:
            yield from self._own_rows(names)
            return
        reader, offset, taken = self, 0, set[str]()
        while True:
            for row in reader._own_rows(names):
                uid = free_uid(row.uid, taken) if numbered else row.uid
                taken.add(uid)
                yield row if not offset else replace(row, index=offset + row.index, uid=uid)
            offset += len(reader)
            following = reader.group.store.take_next()  # type: ignore[attr-defined]
            if following is None:
                return
            reader = open_root(following, self.name, (self.kind,), self._manifest, partial=False)
            check(reader)
            for name in names:
                if reader.array(name).shape[1:] != self.array(name).shape[1:]:
                    raise InputError(
                        f"{self.name}: holds several stores, whose arrays {name} have rows of different shapes; give "
                        "one at a time"
                    )

    def read_row(self, index: int, names: Sequence[str]) -> ArrayRow:
        """Read one row with its entries of the named arrays; a shape that failed has none."""
        row = self.row(index)
        if self._is_pipe and self.array("uid").chunks == (1,):
            self.group.store.require(f"uid/c/{index}")  # type: ignore[attr-defined]
        parts = {} if row.error else {name: self._entry(name, index) for name in names}
        return ArrayRow(**vars(row), arrays=parts, steps=self.history)

    def _entry(self, name: str, index: int) -> np.ndarray:
        array = self.array(name)
        size = (array.shards or array.chunks)[0]
        if size == 1:
            return self._get(array, name, index)
        # Such a chunk is decoded once, not for each of its rows.
        start, block = self._blocks.get(name, (0, np.empty(0)))
        if not start <= index < start + len(block):
            start = index // size * size
            block = self._get(array, name, slice(start, min(start + size, array.shape[0])))
            self._blocks[name] = start, block
        return np.asarray(block[index - start])

    def _own_rows(self, names: Sequence[str]) -> Iterator[ArrayRow]:
        for name in names:
            self._row_array(name)
        forget = getattr(self.group.store, "forget", None)
        # Where an array is sharded, a stored object is a shard.
        by_row = [
            name
            for name, node in self._members(self.group).items()
            if (node.shards or node.chunks)[:1] == (1,)
        ]
        for index in range(len(self)):
            yield self.read_row(index, names)
            if forget is not None:
                # Also for the previous row: those of its arrays that were not read arrived after it was yielded.
                for name in by_row:
                    forget(f"{name}/c/{index - 1}")
                    forget(f"{name}/c/{index}")
        if forget is not None:
            # A stream can be cut after its last row. Check this before the caller finishes its own output.
            self.group.store.finish_archive()  # type: ignore[attr-defined]


def open_root(
    store: Any,
    name: str,
    kinds: Sequence[str],
    labels: Mapping[str, Entry],
    partial: bool,
    reader: type[StoreReader] = StoreReader,
) -> StoreReader:
    """Check the root of a store and return a reader of it, of the class `reader`; see `reader.open_store`."""
    import zarr

    from sdfkit.io.stores.codecs import use_checked_codecs

    use_checked_codecs()
    try:
        # Version 2 of Zarr has codecs that unpickle.
        group = zarr.open_group(store, mode="r", zarr_format=3)
    except FileNotFoundError as error:
        raise InputError(f"{name}: is not a Zarr store; {describe_kinds(kinds)} needed") from error
    except METADATA_ERRORS as error:
        raise bad_metadata(name, "the metadata of the root", error) from error
    found = reader(group, name, labels)
    if found.attributes.get("format", 0) > FORMAT:
        raise InputError(
            f"{name}: has store format {found.attributes['format']}, but this sdfkit reads up to {FORMAT}; "
            "update sdfkit"
        )
    if kinds and found.kind not in kinds:
        raise InputError(f"{name}: holds {found.kind}, but {describe_kinds(kinds)} needed")
    if not partial and not found.attributes.get("complete", False):
        raise InputError(f"{name}: is not complete; run the command that began it again to finish it")
    return found
