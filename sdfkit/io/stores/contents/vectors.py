"""Reads sets of vectors: latent codes, network weights, features or a plain array.

A small set is kept in memory; a large set is read in blocks of rows.
"""

import hashlib
import io
import logging
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from sdfkit.errors import InputError
from sdfkit.io.stores.arrays import NEEDED, load_matrix, numpy_errors, require_matrix
from sdfkit.io.stores.layout import PLAIN
from sdfkit.io.stores.reader import open_store
from sdfkit.io.streams import name_of, open_input, sniff
from sdfkit.options import STANDARD
from sdfkit.rows import Row
from sdfkit.wording import counted

if TYPE_CHECKING:
    from sdfkit.io.stores.store_reader import StoreReader

log = logging.getLogger(__name__)
# Largest size in bytes of a set that is kept in memory. For scale: the 976 weight vectors of the paper "image to 3-D
# from small data" take 214 MB.
LARGEST_IN_MEMORY = 1 << 28
# Kinds of stores whose rows are codes or weights.
VECTOR_KINDS = ("codes", "deepsdf", "denoiser", "weights", "autoencoder", "flow")


class RowBlocks:
    """A float32 matrix (shape, dim) that stays on disk. Indexing with a slice or an array of rows reads these rows."""

    def __init__(self, shape: tuple[int, int], read: Callable[[int, int], np.ndarray]) -> None:
        self.shape = shape
        self._read = read

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            return _single(self._read(start, max(stop, start)))
        parts = [self[int(row) : int(row) + 1] for row in rows]
        return np.concatenate([np.empty((0, self.shape[1]), np.float32), *parts])


@dataclass(frozen=True)
class Vectors:
    """A set of vectors, one per row.

    `rows` has the uid and labels of each vector; `index` of such a row is its position in the store. The rows of a
    plain array have no uids and are named row_0, row_1, ...; `has_uids` is then false, because row_3 of one array need
    not be the same shape as row_3 of another.
    """

    name: str
    rows: Sequence[Row]
    vectors: np.ndarray | RowBlocks
    history: Sequence[Mapping[str, Any]]
    has_uids: bool
    attributes: Mapping[str, Any]

    @property
    def dim(self) -> int:
        return int(self.vectors.shape[1])

    def digest(self) -> str:
        """Return the SHA-256 of the values, which identifies the set."""
        content = hashlib.sha256()
        for start in range(0, len(self.rows), 1 + LARGEST_IN_MEMORY // (32 * self.dim + 1)):
            content.update(
                self.vectors[start : start + 1 + LARGEST_IN_MEMORY // (32 * self.dim + 1)].tobytes()
            )
        return content.hexdigest()


@contextmanager
def open_vectors(path: str, *kinds: str, manifest: Path | None) -> Iterator[Vectors]:
    """Open the vectors of a store of codes, weights or features, or of a plain array.

    The features of a shape are averaged over its views. Rows of shapes that failed are left out, and their number is
    logged. Values that are not finite are not detected here, but by the functions that use them. Zarr is not imported
    for a .npy file, so that it opens fast.

    Raises:
        InputError: The input is not a set of vectors, or it has no rows or no columns.
    """
    name = name_of(path)
    with ExitStack() as open_files:
        if path == STANDARD or Path(path).is_file():
            stream = open_input(path)
            # Standard input stays open: if it is a store, `open_store` reads it from its start.
            if path != STANDARD:
                open_files.enter_context(stream)
            kind = sniff(stream, name)
            if kind in ("npy", "npz"):
                yield plain_vectors(name, _read_plain(stream, name, kind, open_files))
                return
        store = open_files.enter_context(open_store(path, *kinds, manifest=manifest))
        yield vectors_of(store, is_pipe=path == STANDARD, open_files=open_files)


@contextmanager
def open_training_vectors(
    predicted: Vectors, path: str | None, *kinds: str, manifest: Path | None
) -> Iterator[Vectors | None]:
    """Open the training vectors of predictions: those at a path, or in the model that the predictions name.

    Yields:
        The vectors; None if no path is given and the predictions name no model, or one that does not exist.

    Raises:
        InputError: The model has changed since the prediction.
    """
    named = predicted.attributes.get("denoiser") if path is None else path
    if named is None:
        yield None
    elif path is None and not Path(named).exists():
        log.warning(
            "%s: the model %s, which made the predictions, does not exist; give its training codes with --known",
            predicted.name, named,
        )  # fmt: skip
        yield None
    else:
        with open_vectors(named, *kinds, manifest=manifest) as known:
            if path is None and known.digest() != predicted.attributes["known"]:
                raise InputError(
                    f"{predicted.name}: {named} has changed since the prediction; give the training codes with --known"
                )
            yield known


def plain_vectors(name: str, array: np.ndarray | RowBlocks) -> Vectors:
    """Return the rows of a plain float32 matrix (shape, dim) as vectors.

    Raises:
        InputError: The matrix has no rows or no columns.
    """
    return _check(
        Vectors(name, [Row(index, f"row_{index}") for index in range(len(array))], array, [], False, {})
    )


def _check(vectors: Vectors) -> Vectors:
    if not vectors.rows:
        raise InputError(f"{vectors.name}: has no row that can be used; at least one is needed")
    if not vectors.dim:
        raise InputError(f"{vectors.name}: its rows have no columns; {NEEDED}")
    return vectors


def _read_plain(
    stream: io.BufferedReader, name: str, kind: str, open_files: ExitStack
) -> np.ndarray | RowBlocks:
    if kind == "npz":
        return load_matrix(stream, name)
    with numpy_errors(name):
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in read_header:
            raise ValueError(f"version {version[0]}.{version[1]} of the format has texts only")
        shape, by_column, dtype = read_header[version](stream)
        if dtype.hasobject:
            raise ValueError("it holds objects, which need pickle; pickles are not read")
    require_matrix(shape, dtype, name)
    size = math.prod(shape) * dtype.itemsize
    if size <= LARGEST_IN_MEMORY:
        content = np.frombuffer(_read_exactly(stream, size, name), dtype)
        return _single(content.reshape(shape, order="F" if by_column else "C"))
    if by_column:
        raise InputError(f"{name}: is stored in column-major order; save numpy.ascontiguousarray of it")
    file: BinaryIO = stream
    start = stream.tell() if stream.seekable() else 0
    if not stream.seekable():
        file = open_files.enter_context(TemporaryFile())  # noqa: SIM115  open_files closes it
        shutil.copyfileobj(stream, file)
    if file.seek(0, io.SEEK_END) < start + size:
        raise _truncated(name, shape)
    return _blocks_of_file(file, start, shape, dtype, name)


def _read_exactly(stream: BinaryIO, size: int, name: str) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise InputError(f"{name}: is truncated after {len(content)} of {size} bytes; make it again")
    return content


def _truncated(name: str, shape: tuple[int, ...]) -> InputError:
    return InputError(f"{name}: is truncated before the last of its {shape[0]} rows; make it again")


def _blocks_of_file(
    file: BinaryIO, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], name: str
) -> RowBlocks:
    # Not memory-mapped: mapped pages count as memory of this process until another process needs the memory.
    width = shape[1] * dtype.itemsize

    def read(first: int, last: int) -> np.ndarray:
        file.seek(start + first * width)
        content = _read_exactly(file, (last - first) * width, name)
        return np.frombuffer(content, dtype).reshape(last - first, shape[1])

    return RowBlocks((shape[0], shape[1]), read)


def vectors_of(store: "StoreReader", *, is_pipe: bool, open_files: ExitStack) -> Vectors:
    """Return the vectors of an open store. Temporary files stay open until `open_files` closes."""
    array = store.array(PLAIN[store.kind])
    shape = tuple(int(size) for size in array.shape)
    if len(shape) not in (2, 3):
        raise InputError(f"{store.name}: the array {array.path} has the shape {shape}; {NEEDED}")
    is_small = math.prod(shape) * array.dtype.itemsize <= LARGEST_IN_MEMORY
    vectors: np.ndarray | RowBlocks
    if is_pipe and not is_small:
        rows, vectors = _spool(store, shape, open_files)
    else:
        rows = [row for row in store.all_rows() if not row.error]
        if is_small:
            content = store.read(array.path)
            keep = [row.index for row in rows]
            vectors = _single(_flat(content if len(rows) == len(content) else content[keep]))
        else:
            vectors = _blocks_of_array(store, shape, np.array([row.index for row in rows]))
    found = _check(Vectors(store.name, rows, vectors, store.history, True, store.attributes))
    if len(rows) < shape[0]:
        log.warning(
            "%s: left out %d of %s: failed in an earlier step",
            store.name,
            shape[0] - len(rows),
            counted(shape[0], "shape"),
        )
    return found


def _flat(vectors: np.ndarray) -> np.ndarray:
    return vectors.mean(axis=1) if vectors.ndim == 3 else vectors


def _spool(
    store: "StoreReader", shape: tuple[int, ...], open_files: ExitStack
) -> tuple[list[Row], RowBlocks]:
    """Copy a large stream to a temporary file: a pipe can be read only once, but the vectors are read several times."""
    array = PLAIN[store.kind]
    file = open_files.enter_context(TemporaryFile())  # noqa: SIM115  open_files closes it
    rows = []
    for row in store.rows(array):
        if not row.error:
            rows.append(Row(**{column.name: getattr(row, column.name) for column in fields(Row)}))
            file.write(_single(_flat(row.arrays[array][None])).tobytes())
    return rows, _blocks_of_file(file, 0, (len(rows), shape[-1]), np.dtype(np.float32), store.name)


def _blocks_of_array(store: "StoreReader", shape: tuple[int, ...], keep: np.ndarray) -> RowBlocks:
    name = PLAIN[store.kind]

    def read(first: int, last: int) -> np.ndarray:
        if first == last:
            return np.empty((0, shape[-1]), np.float32)
        begin = int(keep[first])
        content = store.read_slice(name, slice(begin, int(keep[last - 1]) + 1))
        return _flat(content[keep[first:last] - begin])

    return RowBlocks((len(keep), shape[-1]), read)


def _single(vectors: np.ndarray) -> np.ndarray:
    # float64 values beyond the range of float32 become infinite, which the functions that use them refuse.
    with np.errstate(over="ignore"):
        return vectors.astype(np.float32, copy=False)
