"""Plain arrays: .npy and .npz files, read without pickle, and a store in memory around one of them."""

import io
import struct
import zlib
from collections.abc import Sequence
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np

from sdfkit.errors import InputError
from sdfkit.io.stores.layout import COLUMNS, FORMAT, PLAIN, needed

NEEDED = "a matrix of finite numbers is needed, one row a shape"
# What numpy meets a damaged header or archive with.
NUMPY_ERRORS = (
    ArithmeticError,
    BadZipFile,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


def load_matrix(stream: io.BufferedReader, name: str) -> np.ndarray:
    """The one array of a .npy or .npz, a matrix, as float32; never a pickle.

    A float64 beyond the range of float32 becomes infinite.

    Raises:
        InputError: A pickle, several arrays, damage, or not a matrix of numbers.
    """
    arrays = load_arrays(stream, name)
    if len(arrays) != 1:
        raise InputError(
            f"{name}: holds {', '.join(arrays) or 'nothing'}; one array is needed, save it alone"
        )
    (content,) = arrays.values()
    require_matrix(content.shape, content.dtype, name)
    with np.errstate(over="ignore"):
        return content.astype(np.float32, copy=False)


def require_matrix(shape: Sequence[int], dtype: np.dtype[Any], name: str) -> None:
    """Refuse what is not a matrix of numbers."""
    if len(shape) != 2 or min(shape) < 0 or dtype.kind not in "fiu":
        raise InputError(f"{name}: {dtype} of shape {tuple(shape)}; {NEEDED}")


def load_arrays(stream: io.BufferedReader, name: str) -> dict[str, np.ndarray]:
    """The arrays of a .npz by name, or the one of a .npy, whose name is empty; never a pickle.

    Raises:
        InputError: A pickle, or damage.
    """
    try:
        content = np.load(io.BytesIO(stream.read()), allow_pickle=False)
        if isinstance(content, np.lib.npyio.NpzFile):
            return {member: content[member] for member in content.files}
    except NUMPY_ERRORS as error:
        raise InputError(f"{name}: not a plain array ({' '.join(str(error).split())[:120]})") from error
    return {"": content}


def plain_store(stream: io.BufferedReader, name: str, kinds: Sequence[str]) -> Any:
    """A store in memory around one plain array: of the first of `kinds` that one array can stand for.

    Raises:
        InputError: None of them can, or the array is not a matrix of finite numbers.
    """
    import zarr
    from zarr.storage import MemoryStore

    kind = next((kind for kind in kinds if kind in PLAIN), None)
    if kind is None:
        raise InputError(f"{name}: one plain array, but {needed(kinds)} needed")
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
