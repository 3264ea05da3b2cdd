"""Reads .npy and .npz files without unpickling, and wraps an array as a store in memory."""

import io
import lzma
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from sdfkit.errors import InputError
from sdfkit.io.stores.layout import COLUMNS, FORMAT, PLAIN, describe_kinds, is_bomb

NEEDED = "a matrix of finite numbers is needed, one row per shape"
# Errors that NumPy raises for a damaged header or archive.
NUMPY_ERRORS = (
    ArithmeticError,
    BadZipFile,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zlib.error,
)


def load_matrix(stream: io.BufferedReader, name: str) -> np.ndarray:
    """Read the only array of a .npy or .npz file, which must be a matrix, as float32.

    float64 values beyond the range of float32 become infinite.

    Raises:
        InputError: The file is a pickle, damaged, holds several arrays, or its array is not a matrix of numbers.
    """
    arrays = load_arrays(stream, name)
    if len(arrays) != 1:
        raise InputError(
            f"{name}: must hold one array, but holds {', '.join(arrays) or 'none'}; save one array alone"
        )
    (content,) = arrays.values()
    require_matrix(content.shape, content.dtype, name)
    with np.errstate(over="ignore"):
        return content.astype(np.float32, copy=False)


def require_matrix(shape: Sequence[int], dtype: np.dtype[Any], name: str) -> None:
    """Raise InputError unless shape and type are those of a matrix of numbers, with at least one column."""
    if len(shape) != 2 or min(shape) < 0 or dtype.kind not in "fiu":
        raise InputError(f"{name}: holds a {dtype} array of shape {tuple(shape)}; {NEEDED}")
    if not shape[1]:
        # Such a file of a few bytes may declare any number of rows.
        raise InputError(f"{name}: its rows have no columns; {NEEDED}")


def load_arrays(stream: io.BufferedReader, name: str) -> dict[str, np.ndarray]:
    """Read the arrays of a .npz file by name, or the array of a .npy file under an empty name.

    Raises:
        InputError: The file is a pickle or damaged.
    """
    content = stream.read()
    with numpy_errors(name):
        if not content.startswith(b"PK"):
            return {"": np.load(io.BytesIO(content), allow_pickle=False)}
        _refuse_bomb(content, name)
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            # A member that is not a .npy is returned as bytes.
            return {member: np.asarray(archive[member]) for member in archive.files}


@contextmanager
def numpy_errors(name: str) -> Iterator[None]:
    """Turn the errors that NumPy raises for a damaged file into InputError, and drop its warnings about old headers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except NUMPY_ERRORS as error:
        raise InputError(
            f"{name}: is not a NumPy array of numbers ({' '.join(str(error).split())[:120]})"
        ) from error


def _refuse_bomb(content: bytes, name: str) -> None:
    """Raise InputError if the members of a .npz unpack to far more bytes than they take in the file."""
    with ZipFile(io.BytesIO(content)) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if is_bomb(unpacked, len(content)):
        raise InputError(
            f"{name}: unpacks from {len(content)} to {unpacked} bytes, as in a zip bomb; save its arrays with "
            "numpy.savez"
        )


def plain_store(stream: io.BufferedReader, name: str, kinds: Sequence[str]) -> Any:
    """Wrap a plain array as a store in memory, of the first of `kinds` that a plain array can represent.

    Raises:
        InputError: A plain array can represent none of `kinds`, or the array is not a matrix of finite numbers.
    """
    import zarr
    from zarr.storage import MemoryStore

    kind = next((kind for kind in kinds if kind in PLAIN), None)
    if kind is None:
        raise InputError(f"{name}: is a plain NumPy array; {describe_kinds(kinds)} needed")
    vectors = load_matrix(stream, name)
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if broken.size:
        raise InputError(f"{name}: row {broken[0]} holds numbers that are not finite; {NEEDED}")
    count = len(vectors)
    text = np.dtypes.StringDType()
    columns: dict[str, np.ndarray] = {column: np.zeros(count, text) for column in (*COLUMNS, "error")}
    columns["uid"] = np.array([f"row_{index}" for index in range(count)], text)
    store = MemoryStore()
    group = zarr.create_group(
        store, attributes={"kind": kind, "format": FORMAT, "complete": True, "history": []}
    )
    for column, values in (columns | {"valid": np.ones(count, bool)}).items():
        group.create_array(column, data=values, dimension_names=("shape",))
    group.create_array(PLAIN[kind], data=vectors, dimension_names=("shape", "dim"))
    return store
