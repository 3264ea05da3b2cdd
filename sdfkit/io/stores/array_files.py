"""Stores as NumPy files: all arrays in one .npz, which reads back as a store, or the main array alone in a .npy."""

import io
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from sdfkit.errors import InputError, UsageError
from sdfkit.io.fields import OBJECT, Field, check_fields, parse_json
from sdfkit.io.outputs import beside, put, remove, replaced_file
from sdfkit.io.stores.arrays import load_arrays
from sdfkit.io.stores.checks import axes_of
from sdfkit.io.stores.layout import PLAIN
from sdfkit.io.stores.store_writer import StoreWriter
from sdfkit.io.streams import open_input, sniff
from sdfkit.rows import Row

log = logging.getLogger(__name__)
# The array that a .npy holds, by the kind of store.
MAIN = PLAIN | {"grids": "grid"}
# The first member of a .npz of sdfkit: the attributes of the store as JSON.
ATTRIBUTES = "sdfkit"
REMEDY = "write the file again"
FIELDS = {
    "axes": Field(
        lambda value: isinstance(value, dict) and all(isinstance(axes, list) for axes in value.values()),
        "an object of lists",
    ),
    "groups": Field(
        lambda value: isinstance(value, dict) and all(map(OBJECT.fits, value.values())),
        "an object of objects",
    ),
}
# Bytes that are copied at once.
BLOCK = 1 << 24
# All members have the same time, so that equal stores are equal files.
EPOCH = (1980, 1, 1, 0, 0, 0)


def check_main(path: Path, kind: str) -> None:
    """Raise UsageError if a path ends in .npy, and a store of this kind has no main array."""
    if path.suffix == ".npy" and kind not in MAIN:
        raise UsageError(
            f"{path}: {kind} are more than one array, but a .npy holds one; use {path.with_suffix('.npz').name}"
        )


def holds_store(path: Path) -> bool:
    """Return whether a .npz that exists is one of sdfkit, or none exists."""
    if not path.is_file():
        return not path.exists()
    with open_input(str(path)) as stream:
        return sniff(stream, str(path)) == "arrays"


@contextmanager
def replace_arrays(
    path: Path, root: Mapping[str, Any], rows: Sequence[Row] | None, number: int | None
) -> Iterator[StoreWriter]:
    """Write a store as a NumPy file that replaces what is at a path when the block ends.

    The store is first written to a folder beside the file, so that memory does not grow with the number of rows.
    """
    part = beside(path, "part")
    remove(part)
    part.mkdir()
    try:
        writer = StoreWriter(part / "store", root, rows, number, in_order=False)
        yield writer
        with replaced_file(part / path.name) as stream:
            if path.suffix == ".npy":
                _write_main(stream, writer, root["kind"], path)
            else:
                _write_all(stream, writer.group, root)
        put(part / path.name, path)
    finally:
        remove(part)


def _write_main(stream: BinaryIO, writer: StoreWriter, kind: str, path: Path) -> None:
    """Write the main array. The rows of shapes that failed hold NaN, because nothing else marks them."""
    array = writer.group[MAIN[kind]]
    if writer.failed:
        log.warning("%s: the rows of shapes that failed hold NaN: %s", path, sorted(writer.failed))
        for row in writer.failed:
            array[row] = np.full((), np.nan, array.dtype)[()]  # type: ignore[index,union-attr]
    _write_array(stream, array)


def _write_all(stream: BinaryIO, group: Any, root: Mapping[str, Any]) -> None:
    import zarr

    members = dict(sorted(group.members(max_depth=None)))
    arrays = {name: node for name, node in members.items() if isinstance(node, zarr.Array)}
    attributes = {
        **root,
        "axes": {name: axes_of(node) for name, node in arrays.items() if axes_of(node)},
        "groups": {name: dict(node.attrs) for name, node in members.items() if name not in arrays},
    }
    with ZipFile(stream, "w", ZIP_STORED) as archive:
        with _member(archive, ATTRIBUTES) as member:
            np.lib.format.write_array(member, np.array(json.dumps(attributes)))
        for name, array in arrays.items():
            with _member(archive, name) as member:
                _write_array(member, array)


def _member(archive: ZipFile, name: str) -> Any:
    return archive.open(ZipInfo(f"{name}.npy", EPOCH), "w", force_zip64=True)


def _write_array(stream: BinaryIO, array: Any) -> None:
    """Write a Zarr array in the format .npy, some rows at a time; texts with a fixed width, which need no pickle."""
    if array.dtype.kind == "T" or not array.shape:
        values = np.asarray(array[...])
        if array.dtype.kind == "T":
            values = np.array(values.tolist(), "U").reshape(values.shape)
        np.lib.format.write_array(stream, values)
        return
    header = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": array.shape,
    }
    np.lib.format.write_array_header_1_0(stream, header)
    step = max(1, BLOCK // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))
    for start in range(0, array.shape[0], step):
        stream.write(np.ascontiguousarray(array[start : start + step]).tobytes())


def read_archive(stream: io.BufferedReader, name: str) -> Any:
    """Return the store in memory that a .npz of sdfkit holds.

    Raises:
        InputError: The file is damaged.
    """
    import zarr
    from zarr.storage import MemoryStore

    arrays = load_arrays(stream, name)
    try:
        text = parse_json(str(arrays.pop(ATTRIBUTES)))
    except ValueError as error:
        raise InputError(f"{name}: its attributes are not JSON ({error}); {REMEDY}") from error
    attributes = check_fields(text, FIELDS, name, "attributes", REMEDY)
    axes, groups = attributes.pop("axes", {}), attributes.pop("groups", {})
    store = MemoryStore()
    root = zarr.create_group(store, attributes=attributes)
    try:
        for path, own in sorted(groups.items()):
            root.create_group(path, attributes=own)
        for path, values in arrays.items():
            known = values.astype(np.dtypes.StringDType()) if values.dtype.kind == "U" else values
            root.create_array(path, data=known, dimension_names=axes.get(path), compressors=None)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{name}: an array cannot be read ({str(error)[:120]}); {REMEDY}") from error
    return store
