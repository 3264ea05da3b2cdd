"""Arrays of numbers as text for a web page: differences, byte planes, deflate, base64.

`unpack` in report/web/models.js is the inverse. Positions and faces of a mesh of 6,000 faces take about 7 characters a
face; the same integers in base64 alone would take 13.
"""

import zlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Coding = Literal["plain", "differences", "faces"]


@dataclass(frozen=True)
class Packed:
    """One array to pack.

    Attributes:
        name: Name of the array on the page.
        values: Integers of shape (item, component): uint8, int16, uint16 or uint32.
        coding: "plain" stores the values; "differences" the difference of each to the one before it; "faces" how far
            each lies below the smallest index that has not occurred yet, which is 0 for a vertex that occurs first.
    """

    name: str
    values: np.ndarray
    coding: Coding


def pack_arrays(arrays: Sequence[Packed]) -> dict[str, Any]:
    """Pack arrays into one text.

    Returns:
        `arrays`: for each array its name, type, numbers of items and components, and coding. `data`: the base64 text
        of the deflated arrays, one after the other; of each, all first bytes, all second bytes, and so on.
    """
    content, described = [], []
    for array in arrays:
        items, components = array.values.shape
        unsigned = _encode(array).astype(array.values.dtype.str.replace("i", "u"))
        planes = np.ascontiguousarray(unsigned).view(np.uint8).reshape(-1, unsigned.itemsize).T
        content.append(planes.tobytes())
        described.append(
            {"name": array.name, "type": array.values.dtype.str[1:], "items": items, "components": components,
             "coding": array.coding}
        )  # fmt: skip
    data = b64encode(zlib.compress(b"".join(content), 9)).decode()
    return {"arrays": described, "data": data}


def _encode(array: Packed) -> np.ndarray:
    """Return the numbers to store, component after component; of faces, face after face."""
    values = array.values.astype(np.int64)
    if array.coding == "faces":
        flat = values.reshape(-1)
        highest = np.maximum.accumulate(np.concatenate([[-1], flat[:-1]]))
        return highest + 1 - flat
    if array.coding == "differences":
        values = np.diff(values, axis=0, prepend=0)
    return values.T.reshape(-1)


def morton_codes(points: np.ndarray) -> np.ndarray:
    """Return the place of each point (xyz) on a curve through space on which neighbours are near each other.

    Arrays in this order pack better, because differences are small.
    """
    low, extent = points.min(axis=0), max(float(np.ptp(points, axis=0).max()), 1e-12)
    cell = ((points - low) / extent * 1023).astype(np.int64)
    for shift, mask in ((16, 0x30000FF), (8, 0x300F00F), (4, 0x30C30C3), (2, 0x9249249)):
        cell = (cell | (cell << shift)) & mask
    codes: np.ndarray = cell @ np.array([1, 2, 4])
    return codes


def quantise(values: np.ndarray, largest: float) -> np.ndarray:
    """Round values from -largest to largest to int16, of which 32767 stands for `largest`."""
    return np.rint(np.clip(values / max(largest, 1e-12), -1, 1) * 32767).astype(np.int16)


def image_text(content: bytes, kind: str) -> str:
    """Return an encoded image as the address that a page shows it from."""
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
