"""Read the arrays of a glTF: numbers in buffers, strided, sparse, and as normalized integers."""

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from sdfkit.io.meshes.formats.gltf.document import Document, natural
from sdfkit.wording import counted

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
COLUMNS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
# Largest number of elements without data, which are zeros, for each byte of the file.
MOST_ZEROS = 16


def read_accessor(document: Document, index: Any, *columns: int) -> Shaped[np.ndarray, "element column"]:
    """Read an accessor as stored; the result may be a read-only view of the file.

    Args:
        document: The glTF.
        index: Index of the accessor.
        columns: Accepted numbers of components. None: all.

    Raises:
        ValueError: The data is not there, or does not have that many components.
    """
    accessor = document.item("accessors", index)
    kind, width = np.dtype(COMPONENTS[accessor["componentType"]]), COLUMNS[accessor["type"]]
    count = natural(accessor, "count")
    if columns and width not in columns:
        raise ValueError(f"accessors[{index}] is a {accessor['type']}")
    sparse = accessor.get("sparse")
    if sparse is not None:
        changed, start = natural(sparse, "count"), sparse["indices"]
        row_kind = np.dtype(COMPONENTS[start["componentType"]])
        if row_kind.kind != "u":
            raise ValueError(f"sparse indices of type {row_kind}")
        rows = _elements(document, start, row_kind, 1, changed)[:, 0]
        values = _elements(document, sparse["values"], kind, width, changed)
        if changed and int(rows.max()) >= count:
            raise ValueError(f"a sparse index {rows.max()} of {counted(count, 'element')}")
    if "bufferView" in accessor:
        array = _elements(document, accessor, kind, width, count)
    elif count <= MOST_ZEROS * document.size:
        array = np.zeros((count, width), kind)
    else:
        raise ValueError(f"accessors[{index}] declares {counted(count, 'element')}, but has no data")
    if sparse is not None:
        array = array.copy()
        array[rows] = values
    return array


def read_numbers(document: Document, index: Any, *columns: int) -> Float[np.ndarray, "element column"]:
    """Read an accessor as floating-point numbers; normalized integers become -1 to 1 or 0 to 1."""
    return normalise(read_accessor(document, index, *columns), document.item("accessors", index))


def normalise(
    array: Shaped[np.ndarray, "element column"], accessor: dict[str, Any]
) -> Float[np.ndarray, "element column"]:
    """Convert the elements of an accessor to floating-point numbers.

    Reference: glTF 2.0, section 3.6.2.2: the largest integer is 1, and the two smallest signed ones are -1.
    """
    if array.dtype.kind == "f":
        return array
    numbers = array.astype(np.float64)
    if not accessor.get("normalized", False):
        return numbers
    return np.maximum(numbers / np.iinfo(COMPONENTS[accessor["componentType"]]).max, -1)


def _elements(
    document: Document, place: dict[str, Any], kind: np.dtype, width: int, count: int
) -> Shaped[np.ndarray, "element column"]:
    """Return the elements at a place of a buffer view, without a copy."""
    content = document.view(place["bufferView"])
    view, first, size = (
        document.item("bufferViews", place["bufferView"]),
        natural(place, "byteOffset", 0),
        kind.itemsize,
    )
    stride = natural(view, "byteStride", 0) or size * width
    if stride < size * width:
        raise ValueError(f"byteStride is {stride}, but an element has {counted(size * width, 'byte')}")
    if count and first + (count - 1) * stride + size * width > len(content):
        raise ValueError(
            f"bufferViews[{place['bufferView']}] ends before the last of {counted(count, 'element')}"
        )
    return np.ndarray((count, width), kind, content, first if count else 0, (stride, size))
