"""Functions that read and write stores; see `sdfkit.api`."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sdfkit.errors import DoneError, UsageError
from sdfkit.io.stores import reader
from sdfkit.io.stores.layout import AXES
from sdfkit.rows import Row

if TYPE_CHECKING:
    from sdfkit.io.stores.store_reader import StoreReader


@contextmanager
def open_store(path: str | Path, *kinds: str) -> "Iterator[StoreReader]":
    """Open a store in a `with` block, to read its rows and arrays.

    `store.all_rows()` are the shapes (`uid`, `category`, `error` …), `store.read("code")` is a whole array,
    `store.rows("code")` yields row after row with their `arrays`, and `store.attributes` has the settings.

    Args:
        path: A folder, a zip file, a URL, or a .npy or .npz file with one array.
        kinds: Accepted kinds of store, such as "codes"; any kind if none is given.

    Raises:
        InputError: It is not a store or of another kind, or it is incomplete or damaged.
    """
    with reader.open_store(str(path), *kinds, manifest=None) as store:
        yield store


def create_store(
    path: str | Path,
    kind: str,
    uids: Sequence[str],
    arrays: Mapping[str, np.ndarray],
    *,
    categories: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write a store of arrays that a program has made, for the commands and functions of sdfkit.

    Args:
        path: A folder *.zarr, a file *.zarr.zip or a URL.
        kind: Kind of the store: samples, views, features, weights, codes or grids.
        uids: Unique names of the shapes.
        arrays: The arrays, whose first axis is the shapes; sdfkit-store(5) has the names, axes and units of each kind.
        categories: Categories of the shapes; none if empty.
        overwrite: Replace an existing store.

    Raises:
        UsageError: An array is not one of that kind, or its axes or its number of shapes are wrong.
        InputError: The path holds another store, and `overwrite` is false.
    """
    from sdfkit.io.stores.writer import create_store as create

    if len({*uids}) < len(uids) or len(categories) not in (0, len(uids)):
        raise UsageError("uids must be unique, and there must be as many categories as uids, or none")
    known, digest = AXES.get(kind, {}), hashlib.sha256()
    for name, array in arrays.items():
        if name not in known:
            raise UsageError(f"{kind}: has no array {name}; known: {', '.join(known) or 'no such kind'}")
        if array.ndim != len(known[name]) or len(array) != len(uids):
            raise UsageError(
                f"{name}: has the shape {array.shape}, but its axes are ({', '.join(known[name])}), with "
                f"{len(uids)} shapes"
            )
        digest.update(name.encode() + str(array.dtype).encode() + np.ascontiguousarray(array).tobytes())
    rows = [
        Row(index, uid, category=category)
        for index, (uid, category) in enumerate(zip(uids, categories or [""] * len(uids), strict=True))
    ]
    settings = {"content": digest.hexdigest()[:16]}
    try:
        with create(str(path), kind, rows=rows, history=[], settings=settings, overwrite=overwrite) as store:
            for name, array in arrays.items():
                store.create_array(name, shape=array.shape, dtype=array.dtype, axes=known[name])
            for row in rows:
                store.write(row, **{name: array[row.index] for name, array in arrays.items()})
    except DoneError:
        return  # the same store is already there
