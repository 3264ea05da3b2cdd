"""Checks of a store before its chunks are read: types of attributes, axes and codecs of arrays, sizes in memory."""

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from sdfkit.errors import InputError, first_line
from sdfkit.io.fields import (
    COUNT,
    FLAG,
    HISTORY,
    INDEX,
    NUMBER,
    OBJECT,
    PROGRESS,
    SIZE,
    TEXT,
    Field,
    check_fields,
    one_of,
)
from sdfkit.io.stores.layout import COLUMNS, OPTIONAL, SMALL

if TYPE_CHECKING:
    import zarr

REMEDY = "make the store again"
# Errors that zarr raises for metadata that it cannot read, and its codecs for damaged chunks.
METADATA_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
CHUNK_ERRORS = (*METADATA_ERRORS, AssertionError, BadZipFile, EOFError, MemoryError, OSError, zlib.error)
# Attributes of the root that sdfkit reads, of all kinds of stores.
ATTRIBUTES = {
    **dict.fromkeys(("settings", "encoder", "network", "report"), OBJECT),
    **dict.fromkeys(("kind", "condition", "stage", "noise", "decoder_sha256", "known", "denoiser", "decoder"), TEXT),
    "format": INDEX,
    "complete": FLAG,
    "history": HISTORY,
    "euler": COUNT,
    "progress": PROGRESS,
}  # fmt: skip


# Smallest and largest numbers of the layout of a code, see `latents.LatentLayout`.
LAYOUT_LIMITS = {
    "shared": (0, 1 << 20), "resolution": (2, 256), "channels": (1, 1 << 10), "hidden": (1, 1 << 10),
    "features": (1, 1 << 10), "upsamplings": (0, 6),
}  # fmt: skip


def _is_layout(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.get("kind") in ("grid", "triplane")
        and all(
            type(value.get(name)) is int and least <= value[name] <= most
            for name, (least, most) in LAYOUT_LIMITS.items()
        )
        and value["resolution"] % 2 == 0
        and value["resolution"] << value["upsamplings"] <= 256
    )


# Attributes of groups: the configurations of networks, whose names mean the same in all of them, and single facts.
GROUP_ATTRIBUTES = {
    **dict.fromkeys(("uid", "input"), TEXT),
    "kind": one_of("relu-pe", "siren"),
    "activation": one_of("relu", "silu"),
    "velocity": one_of("mlp", "dit"),
    **dict.fromkeys(
        ("bands", "hidden", "code", "skip", "dim", "patches", "width", "heads", "ffn", "blocks",
         "size", "cells", "volume", "latent", "neighbours"), SIZE
    ),
    "layers": Field(lambda value: type(value) is int and 0 <= value <= 1000, "a whole number from 0 to 1000"),
    "feature": Field(lambda value: value is None or SIZE.fits(value), f"{SIZE.needed}, or null"),
    "tokens": Field(
        lambda value: all(map(SIZE.fits, value if isinstance(value, list) else [value])),
        f"{SIZE.needed}, or a list of them",
    ),
    "layout": Field(_is_layout, "null, or an object with kind and sizes of places"),
    "gated": FLAG,
    "frequency": NUMBER,
    "floored": INDEX,
}  # fmt: skip
# The kinds of NumPy types, and the axes, of arrays that mean the same in all kinds of stores. See sdfkit-store(5).
TEXTS, FLAGS, FLOATS, BYTES = "TU", "b", "f", "u"
ARRAYS: dict[str, tuple[str, tuple[str, ...]]] = {
    **dict.fromkeys((*COLUMNS, *OPTIONAL, "error", "input"), (TEXTS, ("shape",))),
    "valid": (FLAGS, ("shape",)),
    "to_original": (FLOATS, ("shape", "to", "from")),
    "sign_agreement": (FLOATS, ("shape",)),
    "point": (FLOATS, ("shape", "sample", "xyz")),
    "distance": (FLOATS, ("shape", "sample")),
    "near": (FLAGS, ("shape", "sample")),
    "surface_point": (FLOATS, ("shape", "surface", "xyz")),
    "surface_normal": (FLOATS, ("shape", "surface", "xyz")),
    "camera_to_world": (FLOATS, ("shape", "view", "to", "from")),
    "yfov": (FLOATS, ("shape", "view")),
    "rgb": (BYTES, ("shape", "view", "row", "column", "channel")),
    "mask": (BYTES, ("shape", "view", "row", "column")),
    "depth": (FLOATS, ("shape", "view", "row", "column")),
    "normal": (FLOATS, ("shape", "view", "row", "column", "xyz")),
    "grid": (FLOATS, ("shape", "x", "y", "z")),
}
NUMBERS_OR_TEXTS = TEXTS + "biuf"
SIZES = {"xyz": 3, "to": 4, "from": 4, "channel": 3}
# The axes of a grid over the query cube, which have the same number of nodes, and at least two.
CUBE = ("x", "y", "z")
# Axes of one length in all arrays of a store. The rows of `ranks` are predictions.
SHARED = {"shape": "shape", "prediction": "shape", "sample": "sample", "surface": "surface", "view": "view"}
SHARED_BY_VIEWS = {"row": "row", "column": "column"}
# The codecs of sdfkit's stores. Others may allocate what a damaged chunk asks for, or run code.
CODECS = {"bytes", "crc32c", "sharding_indexed", "transpose", "vlen-utf8", "zstd"}
# Largest number of bytes in memory per stored byte. Masks of 4096² pixels reach 1,000 with zstd, and the rows of
# shapes that failed are not stored at all.
DENSEST = 1 << 12
# Bytes that count for each chunk, because Zarr needs time and memory to look for it.
PER_CHUNK = 1 << 12


def check_attributes(attributes: Any, name: str) -> dict[str, Any]:
    """Return the attributes of a store's root.

    Raises:
        InputError: The type of one of `ATTRIBUTES` is wrong.
    """
    checked = check_fields(attributes, ATTRIBUTES, name, "attributes", REMEDY)
    check_group(checked.get("network", {}), "network", name)
    return checked


def check_group(attributes: Any, group: str, name: str) -> dict[str, Any]:
    """Return the attributes of a group, or of the network of each shape. InputError if a type is wrong."""
    return check_fields(attributes, GROUP_ATTRIBUTES, name, f"attributes of {group}", REMEDY)


def check_array(array: "zarr.Array[Any]", name: str, store: str) -> None:
    """Check the codecs of an array, and its type and axes.

    Args:
        array: The array.
        name: Its name in the store.
        store: The name of the store in messages.

    Raises:
        InputError: A codec is not one of `CODECS`, or the type or the axes differ from those in `ARRAYS`.
    """
    foreign = [codec for codec in _codec_names(array.metadata.to_dict()["codecs"]) if codec not in CODECS]
    if foreign:
        raise InputError(
            f"{store}: the array {name} has the codec {foreign[0]}, which is not supported; {REMEDY}"
        )
    chunks = [part for part in (array.shards, array.chunks) if part is not None]
    if any(len(part) != array.ndim or (0 in part and 0 not in array.shape) for part in chunks):
        raise InputError(f"{store}: the array {name} has chunks of the shape {chunks[0]}; {REMEDY}")
    kinds, axes = ARRAYS.get(name, (NUMBERS_OR_TEXTS, None))
    wrong = array.dtype.kind not in kinds
    if axes is not None:
        wrong |= len(array.shape) != len(axes)
        wrong |= any(SIZES.get(axis, size) != size for axis, size in zip(axes, array.shape, strict=False))
        sides = {size for axis, size in zip(axes, array.shape, strict=False) if axis in CUBE}
        wrong |= len(sides) > 1 or min(sides, default=2) < 2
    if wrong:
        raise InputError(
            f"{store}: the array {name} has the type {array.dtype} and the shape {array.shape}, but "
            f"{_describe(kinds, axes)} is needed; {REMEDY}"
        )


def _codec_names(codecs: Any) -> Sequence[str]:
    """Return the names of codecs, also of those within shards."""
    names = []
    for codec in codecs:
        names.append(str(codec["name"]))
        inner = codec.get("configuration") or {}
        names += [name for part in ("codecs", "index_codecs") for name in _codec_names(inner.get(part, ()))]
    return names


def _describe(kinds: str, axes: tuple[str, ...] | None) -> str:
    nouns = {TEXTS: "texts", FLAGS: "booleans", FLOATS: "floating-point numbers", BYTES: "bytes"}
    noun = nouns.get(kinds, "numbers or texts")
    if axes is None:
        return f"an array of {noun}"
    sizes = [f"{axis} {SIZES[axis]}" if axis in SIZES else axis for axis in axes]
    cube = ", the last three of one length from 2" if axes[-3:] == CUBE else ""
    return f"an array of {noun} with the axes ({', '.join(sizes)}){cube}"


def axes_of(array: "zarr.Array[Any]") -> tuple[str, ...] | None:
    """Return the names of an array's axes; empty for an axis without a name, and None if no axis has one."""
    names = array.metadata.dimension_names  # type: ignore[union-attr]
    return None if names is None else tuple(name or "" for name in names)


def shared_sizes(array: "zarr.Array[Any]", name: str, kind: str) -> dict[str, int]:
    """Return the lengths of the axes of an array that must be equal in all arrays of a store of this kind."""
    _, axes = ARRAYS.get(name, ("", axes_of(array) or ()))
    shared: Mapping[str, str] = SHARED | (SHARED_BY_VIEWS if kind == "views" else {})
    return {shared[axis]: size for axis, size in zip(axes, array.shape, strict=False) if axis in shared}


def size_in_memory(array: "zarr.Array[Any]", rows: int) -> int:
    """Return the number of bytes that reading some rows of an array takes, of whole chunks and for each chunk."""
    stored = array.shards or array.chunks
    lengths = (rows, *array.shape[1:]) if array.shape else ()
    if 0 in lengths:
        return 0
    padded = [-(-length // part) * part for length, part in zip(lengths, stored, strict=True)]
    chunks = math.prod(-(-length // part) for length, part in zip(padded, array.chunks, strict=True))
    return math.prod(padded) * array.dtype.itemsize + PER_CHUNK * chunks


def check_stored(size: int, stored: int, name: str, store: str) -> None:
    """Raise InputError if reading an array takes far more memory than the bytes that are stored of it."""
    if size > SMALL + DENSEST * stored:
        raise InputError(
            f"{store}: the array {name} needs {size / 1e9:.3g} GB of memory, but only {stored} bytes of it are "
            f"stored; {REMEDY}"
        )


def bad_metadata(store: str, what: str, error: BaseException) -> InputError:
    """Return the error to raise for metadata that zarr cannot read."""
    return InputError(f"{store}: {what} cannot be read ({first_line(error)[:120]}); {REMEDY}")
