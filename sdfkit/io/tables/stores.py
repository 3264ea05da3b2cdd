"""Opens stores as tables of rows, and copies some of their rows, or all rows of several stores, to another store."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from sdfkit.errors import InputError
from sdfkit.io.digests import MARK, UNKNOWN
from sdfkit.io.manifests import Entry, read_manifest
from sdfkit.io.models.training_state import STATE
from sdfkit.io.stores.checks import axes_of
from sdfkit.io.stores.layout import COLUMNS, OPTIONAL
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.store_reader import ArrayRow, StoreReader, open_root
from sdfkit.io.streams import name_of, open_input
from sdfkit.options import STANDARD
from sdfkit.rows import Row

if TYPE_CHECKING:
    from sdfkit.io.stores.store_writer import StoreWriter

# Columns that the writer of a store creates by itself, and the column `sample_of`.
OWN = {*COLUMNS, *OPTIONAL, "valid", "error", "input"}
# The first axis of an array that has one entry for each row.
ROW_AXES = ("shape", "prediction")
# Keys of settings under which the commands that copy rows store their own options.
COPIES = ("cat", "select", "split")
# Keys of settings under which a command stores the digest of an input that has a row per shape.
ROW_INPUTS = ("inputs", "manifest", "samples", "text")


class StoreTable:
    """The rows of an open store.

    Attributes:
        store: The store. Its arrays and attributes stand for those of the stores that follow on a pipe.
        known: The columns of all rows. Of a store that is arriving on a pipe, those of the first store, without their
            errors; None if they arrive row by row.
        arrays: Names of the arrays that have one entry for each row, but for the columns.
        constant: Names of the other arrays, which belong to all rows.
        is_whole: Whether `known` are all rows. False if they may be followed by others on a pipe.
    """

    def __init__(
        self, store: StoreReader, known: Sequence[Row] | None, *, is_whole: bool, is_stream: bool = False
    ) -> None:
        self.store = store
        self.known = known
        self.is_whole = is_whole
        self._is_stream = is_stream
        if "uid" not in store:
            raise InputError(f"{store.name}: has {store.kind} without rows for shapes; give another store")
        names = _root_arrays(store)
        self.arrays = [name for name in names if _has_rows(store, name)]
        self.constant = [name for name in names if name not in self.arrays]
        self._read: dict[str, dict[str, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.store) if self.known is None else len(self.known)

    def read_constant(self, name: str) -> dict[str, np.ndarray]:
        """Read an array that belongs to all rows, or the arrays of a group. On a pipe, this must precede the rows."""
        if name not in self._read:
            is_array = name in self.constant
            self._read[name] = {"": self.store.read(name)} if is_array else self.store.read_group(name)
        return self._read[name]

    def read(
        self, chosen: Sequence[int] | None = None, *, check: Callable[[StoreReader], None] = lambda _: None
    ) -> Iterator[ArrayRow]:
        """Yield rows in order, with the entries of all arrays.

        Args:
            chosen: Positions of the rows, ascending; None for all rows, also those of stores that follow on a pipe.
            check: Called with each store that follows on a pipe.
        """
        if self._is_stream:
            wanted = None if chosen is None else set(chosen)
            for row in self.store.rows(*self.arrays, numbered=False, check=check):
                if wanted is None or row.index in wanted:
                    yield row
            return
        for index in range(len(self.store)) if chosen is None else chosen:
            yield self.store.read_row(index, self.arrays)


def _root_arrays(store: StoreReader) -> list[str]:
    names = [array["name"] for array in store.describe_arrays()]
    return [name for name in names if "/" not in name and name not in OWN]


def _has_rows(store: StoreReader, name: str) -> bool:
    array = store.array(name)
    return (axes_of(array) or ("",))[0] in ROW_AXES and array.shape[0] == store.array("uid").shape[0]


class _Recorder:
    """A binary stream that keeps a copy in a file of what is read from it."""

    def __init__(self, stream: BinaryIO, file: BinaryIO) -> None:
        self._stream, self._file = stream, file
        self.records = True

    def read(self, size: int) -> bytes:
        content = self._stream.read(size)
        if self.records:
            self._file.write(content)
        return content


@contextmanager
def open_table(path: str, *, manifest: Path | None, needs: str) -> Iterator[StoreTable]:
    """Open a store as a table.

    Args:
        path: The store, as in `reader.open_store`; `-` for standard input, which may hold several stores.
        manifest: Manifest whose labels replace the stored ones.
        needs: What must be known before the first row is read: "nothing" of the rows, their "labels", or "all" of them.
            Standard input is copied to a temporary file if that is not stored before the rows.

    Raises:
        InputError: The input is not a store, or has no rows.
    """
    if path != STANDARD:
        with open_store(path, manifest=manifest) as store:
            yield StoreTable(store, store.all_rows() if "uid" in store else (), is_whole=True)
        return
    from sdfkit.io.stores.archives.zip_stream import ZipReader

    labels = read_manifest(manifest) if manifest else {}
    name = name_of(path)
    stream = open_input(path)
    with tempfile.TemporaryFile(prefix="sdfkit-") as file:
        recorder = _Recorder(stream, file)
        store = _open_archives(ZipReader(recorder, name), name, labels)  # type: ignore[arg-type]
        # Columns that are known in advance have one chunk, which comes before the rows.
        in_advance = "uid" in store and store.array("uid").chunks != (1,)
        if needs == "nothing" or (needs == "labels" and in_advance):
            recorder.records = False
            known = store.all_rows(errors=False) if in_advance and needs == "labels" else None
            yield StoreTable(store, known, is_whole=False, is_stream=True)
            return
        while recorder.read(1 << 20):
            pass

        def again() -> StoreReader:
            file.seek(0)
            return _open_archives(ZipReader(file, name), name, labels)

        known = [row.columns(row.index) for row in again().rows(numbered=False)]
        yield StoreTable(again(), known, is_whole=True, is_stream=True)


def _open_archives(store: Any, name: str, labels: Mapping[str, Entry]) -> StoreReader:
    return open_root(store, name, (), labels, partial=False)


def settings_of(store: StoreReader) -> dict[str, Any]:
    """Return the settings that the rows of a store were made with, without those that say which rows were copied."""
    settings = store.attributes.get("settings", {})
    return {
        name: value
        for name, value in settings.items()
        if name not in COPIES and not (name in ROW_INPUTS and _is_digest(value))
    }


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and (value.startswith(MARK) or UNKNOWN in value)


def further_attributes(store: StoreReader) -> dict[str, Any]:
    """Return the attributes of the root that say what the rows are: of which decoder, of which encoder."""
    own = ("kind", "format", "complete", "history", "settings")
    return {name: value for name, value in store.attributes.items() if name not in own}


def describe_array(store: StoreReader, name: str) -> dict[str, Any]:
    """Return axes, shape, type and compression of an array, as `StoreWriter.create_array` takes them."""
    array = store.array(name)
    axes = axes_of(array) or ("",) * array.ndim
    return {"axes": axes, "shape": array.shape, "dtype": array.dtype, "compress": bool(array.compressors)}


def create_arrays(writer: "StoreWriter", table: StoreTable, count: int) -> None:
    """Create the arrays of a store in another one for a number of rows, and copy what belongs to all rows."""
    store = table.store
    if "sample_of" in store:
        writer.create_array("sample_of", shape=(count,), dtype=np.dtypes.StringDType(), axes=("shape",))
    for name in table.arrays:
        described = describe_array(store, name)
        writer.create_array(name, **described | {"shape": (count, *described["shape"][1:])})
    for name in table.constant:
        described = describe_array(store, name)
        writer.create_array(
            name, data=table.read_constant(name)[""], axes=described["axes"], compress=described["compress"]
        )
    for name in groups_of(store):
        if name not in writer.group:
            writer.create_group(name, attributes=store.attributes_of(name), arrays=table.read_constant(name))


def groups_of(store: StoreReader) -> list[str]:
    """Return the names of the groups of a store that are copied: all but the state of its training."""
    names = [array["name"].split("/")[0] for array in store.describe_arrays() if "/" in array["name"]]
    return [name for name in dict.fromkeys(names) if name != STATE]


def numbered(rows: Sequence[Row]) -> list[Row]:
    """Return rows with new indices from 0."""
    return [row.columns(index) for index, row in enumerate(rows)]


def write_row(writer: "StoreWriter", row: ArrayRow, index: int) -> None:
    """Write a row at another index, unless an earlier run has written it."""
    placed = replace(row, index=index)
    if not writer.has(placed):
        writer.write(placed, **row.arrays)
