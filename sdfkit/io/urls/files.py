"""Files and folders at URLs, which are copied to this machine to be read, and from it as they are written.

Zarr reads and writes stores at URLs itself; see `stores.remote`.
"""

import errno
import os
import re
import sys
from pathlib import Path
from typing import Any

from sdfkit.errors import MissingError, first_line

# The base classes of the errors that packages for URLs raise besides OSError, by module.
CONNECTION_ERRORS = (
    ("aiohttp", "ClientError"), ("botocore.exceptions", "BotoCoreError"), ("botocore.exceptions", "ClientError"),
)  # fmt: skip
# Protocols without folders.
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "az"}
# The servers and buckets that this process has opened, such as s3://bucket.
_opened: set[str] = set()


def is_url(path: str) -> bool:
    """Return whether a path is a URL of another machine."""
    return "://" in path and not path.startswith("file://")


def restore_url(path: str | Path) -> str:
    """Return the text of a path, with the slash of a URL that pathlib has removed."""
    return re.sub(r"^([a-z][a-z0-9+.-]+):/(?!/)", r"\1://", str(path))


def open_files(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path there.

    Listings are not cached: Zarr writes through a file system of its own, of which such a cache would know nothing.

    Raises:
        MissingError: The package that reads URLs of this protocol is not installed.
    """
    import fsspec

    note_server(url)
    try:
        files, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise MissingError(f"{url}: {error}; pip install 'sdfkit[cloud]'") from error
    return files, path.rstrip("/")


def note_server(url: str) -> None:
    """Note that a URL is used, so that messages can name its server."""
    _opened.add("/".join(url.split("/")[:3]))


def forget_servers() -> None:
    """Let messages of the next command in this process name its own servers only."""
    _opened.clear()


def connection_errors() -> tuple[type[Exception], ...]:
    """Return the errors, other than OSError, for servers that do not answer; those of packages that are loaded."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in CONNECTION_ERRORS)
    return tuple(error for error in found if error is not None)


def describe_server_error(error: Exception) -> str:
    """Return the message for an error of the server of a URL; empty for other errors."""
    if not _opened:
        return ""
    text = first_line(error)
    if isinstance(error, OSError):
        if error.filename is not None or (error.errno and error.strerror == os.strerror(error.errno)):
            return ""
        text = error.strerror or text
    return f"{', '.join(sorted(_opened))}: {text.rstrip('.')}; the same command continues what it can"


def holds_files(url: str) -> bool:
    """Return whether a URL is that of a file or a folder of files, and not of a store.

    Raises:
        FileNotFoundError: Nothing is there, and the name is not that of a store.
    """
    files, root = open_files(url)
    if files.exists(f"{root}/zarr.json"):
        return False
    if files.exists(root):
        return True
    if root.endswith((".zarr", ".zip")):
        return False  # the reader of stores says what is missing
    raise _missing(url)


def require_there(url: str) -> None:
    """Raise FileNotFoundError if nothing is at a URL."""
    files, root = open_files(url)
    # A server of plain files knows no folders.
    if not (files.exists(f"{root}/zarr.json") or files.exists(root)):
        raise _missing(url)


def _missing(url: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url)


def download(url: str, folder: Path) -> Path:
    """Copy a file, or a folder with all it holds, into a folder on this machine, and return its path there.

    The path ends with that of the URL: where names of meshes are not unique, parts of it become parts of their uids.
    """
    files, root = open_files(url)
    place = folder / root.lstrip("/")
    place.parent.mkdir(parents=True)
    if files.isfile(root):
        files.get_file(root, str(place))
        return place
    place.mkdir()
    for path in files.find(root):
        copy = place / path.removeprefix(root).lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        files.get_file(path, str(copy))
    return place


class Mirror:
    """The place on this machine of a file at a URL, or of the files of a folder there.

    Args:
        url: The file or folder; without a suffix or with a slash at its end it is a folder.
        parent: An empty folder.

    Attributes:
        is_folder: Whether the URL is that of a folder.
        place: Path of the file or folder in `parent`.
        output: The same path, with a slash at the end if it is a folder.
    """

    def __init__(self, url: str, parent: Path) -> None:
        self._files, root = open_files(url)
        self._protocols = (
            [self._files.protocol] if isinstance(self._files.protocol, str) else self._files.protocol
        )
        self.is_folder = url.endswith("/") or not Path(root).suffix
        self.place = parent / root.rpartition("/")[2]
        self.output = f"{self.place}{'/' * self.is_folder}"
        self._base, self._root = (self.place, root) if self.is_folder else (parent, root.rpartition("/")[0])
        found = self._files.find(root) if self._files.exists(root) else []
        # Times of the copies of files that were fetched, by their names.
        self._names: dict[str, int] = {path.removeprefix(self._root).lstrip("/"): 0 for path in found}

    def fetch(self, path: Path) -> None:
        """Copy the file that belongs at a path to this machine, if the URL has it."""
        name = path.relative_to(self._base).as_posix()
        if name in self._names and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files.get_file(f"{self._root}/{name}", str(path))
            self._names[name] = path.stat().st_mtime_ns

    def publish(self, path: Path) -> None:
        """Move a file from this machine to the URL; if there is none, remove it at the URL too."""
        name = path.relative_to(self._base).as_posix()
        there = f"{self._root}/{name}"
        if path.exists():
            if not OBJECT_STORES.intersection(
                self._protocols
            ):  # where it would create a bucket that is missing
                self._files.makedirs(there.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(path), there)  # which appears when it is whole
            path.unlink()
            self._names[name] = 0
        elif self._names.pop(name, None) is not None:
            self._files.rm_file(there)

    def fetch_all(self) -> None:
        """Copy all files to this machine."""
        for name in list(self._names):
            self.fetch(self._base / name)

    def publish_all(self) -> None:
        """Move all files to the URL that have been written on this machine."""
        for path in sorted(self._base.rglob("*")):
            name = path.relative_to(self._base).as_posix()
            if path.is_file() and path.stat().st_mtime_ns != self._names.get(name):
                self.publish(path)
