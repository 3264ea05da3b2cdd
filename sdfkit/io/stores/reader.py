"""Reads Zarr stores from a folder, a zip file, a URL or a pipe.

A store is a table in ordinary Zarr v3; each row is a shape. `open_store` opens a store, `writer.create_store` creates
one. The manual page sdfkit-store(5) describes the format.
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from sdfkit.errors import InputError
from sdfkit.io.manifests import read_manifest
from sdfkit.io.pictures.places import holds_cameras
from sdfkit.io.stores.arrays import plain_store
from sdfkit.io.stores.layout import describe_kinds, local_path, open_remote
from sdfkit.io.stores.store_reader import StoreReader, open_root
from sdfkit.io.streams import name_of, open_input, sniff
from sdfkit.io.urls.files import require_there
from sdfkit.options import STANDARD


@contextmanager
def open_store(path: str, *kinds: str, manifest: Path | None, partial: bool = False) -> Iterator[StoreReader]:
    """Open a store for reading.

    Args:
        path: A folder, a zip file, a URL, a .npy or .npz file with one array, a folder of pictures with cameras, which
            is read as a views store, or `-` for standard input.
        kinds: Accepted kinds of store, such as "codes"; any kind if none is given.
        manifest: Manifest whose labels replace the stored ones.
        partial: Also accept the incomplete store of an interrupted command.

    Raises:
        InputError: The input is not a store or of another kind, or it is incomplete, truncated or damaged.
        FileNotFoundError: Nothing is there.
    """
    labels = read_manifest(manifest) if manifest else {}
    path = str(local_path(path) if path.startswith("file://") else path)
    name = name_of(path)
    if holds_cameras(path):
        from sdfkit.io.stores.contents.pictures import open_pictures

        yield open_pictures(path, kinds, labels)
        return
    store: Any
    if "://" in path:
        require_there(path)
        store = open_remote(path)
    elif path != STANDARD and Path(path).is_dir():
        from zarr.storage import LocalStore

        store = LocalStore(path, read_only=True)
    else:
        store = _file_store(path, name, kinds)
    try:
        yield open_root(store, name, kinds, labels, partial)
        if path == STANDARD and hasattr(store, "finish"):
            store.finish()
    except (BadZipFile, OSError) as error:
        # An offset in a zip file that lies before its start is an invalid argument of the system.
        if isinstance(error, OSError) and (error.errno != errno.EINVAL or error.filename is not None):
            raise
        raise InputError(
            f"{name}: cannot be read as a zip file ({error}); it is truncated or damaged"
        ) from error
    finally:
        # Zarr 3.1 cannot close a zip file that it could not open, such as a truncated one.
        with suppress(AttributeError):
            store.close()


def _file_store(path: str, name: str, kinds: Sequence[str]) -> Any:
    stream = open_input(path)
    with nullcontext() if path == STANDARD else stream:
        kind = sniff(stream, name)
        if kind == "zarr" and path == STANDARD:
            from sdfkit.io.stores.archives.zip_stream import read_standard_input

            return read_standard_input(stream, name)
        if kind == "arrays":
            from sdfkit.io.stores.array_files import read_archive

            return read_archive(stream, name)
        if kind in ("npy", "npz"):
            return plain_store(stream, name, kinds)
        if kind != "zarr":
            holds = "meshes" if kind in ("ply", "glb") else "data in an unknown format"
            raise InputError(f"{name}: holds {holds}, but {describe_kinds(kinds)} needed")
    from sdfkit.io.stores.archives.zip_stream import ZipFileReader

    return ZipFileReader(path)
