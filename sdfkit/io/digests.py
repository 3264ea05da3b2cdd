"""Digests of the content of inputs, which tell whether an input is the one that an earlier run has read."""

import hashlib
import json
import lzma
import os
import zlib
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from sdfkit.io.urls.files import open_files
from sdfkit.options import STANDARD

MARK = "sha256:"
# The digest of an input that has not been read to its end.
UNKNOWN = "standard input"
# Errors that zipfile raises for a damaged archive.
ZIP_ERRORS = (
    ArithmeticError, BadZipFile, EOFError, LookupError, OSError, RuntimeError, ValueError, lzma.LZMAError, zlib.error,
)  # fmt: skip
# Attributes of a store's root that say how it was made, not what it holds.
MAKING = ("history", "complete", "run")


class ContentDigest:
    """A digest of named members that does not depend on their order."""

    def __init__(self) -> None:
        self._total = 0

    def add(self, name: str, content: bytes) -> None:
        """Add a member. Of the root of a store, what says how it was made is left out."""
        if name == "zarr.json":
            content = _without_making(content)
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass") + b"\0" + content).digest()
        self._total = (self._total + int.from_bytes(digest, "little")) % (1 << 256)

    def __str__(self) -> str:
        return f"{MARK}{self._total:064x}"[: len(MARK) + 16]


def _without_making(content: bytes) -> bytes:
    try:
        root = json.loads(content)
        kept = {name: value for name, value in root["attributes"].items() if name not in MAKING}
        return json.dumps(root | {"attributes": kept}, sort_keys=True).encode()
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return content


def digest_input(path: str) -> str:
    """Return a digest of the content of an input, `UNKNOWN` for standard input, or the text itself if it names none.

    The digest of a store does not depend on how the store was made, only on what it holds.
    """
    if path == STANDARD:
        return UNKNOWN
    if "://" in path:
        return _digest_remote(path)
    place = Path(path)
    try:
        if place.is_dir():
            return _digest_folder(place)
        if not place.is_file():
            return path
    except (OSError, ValueError):  # a text that is too long, or has a NUL character, for a path
        return path
    with place.open("rb") as file:
        start = file.read(2)
    return _digest_zip(place) if start == b"PK" else digest_file(place)


def digest_file(path: Path) -> str:
    """Return the marked digest of a file's bytes."""
    with path.open("rb") as file:
        return f"{MARK}{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def _digest_folder(folder: Path) -> str:
    digest = ContentDigest()
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and not name.endswith(".partial"):
                path = Path(parent, name)
                digest.add(path.relative_to(folder).as_posix(), path.read_bytes())
    return str(digest)


def _digest_zip(path: Path) -> str:
    digest = ContentDigest()
    try:
        with ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size > 1000 * member.compress_size + (1 << 26):
                    return digest_file(path)  # a bomb, which its reader refuses
                digest.add(member.filename, archive.read(member))
    except ZIP_ERRORS:
        return digest_file(path)  # a damaged archive, which its reader refuses
    return str(digest)


def _digest_remote(url: str) -> str:
    files, root = open_files(url)
    digest = ContentDigest()
    for path in files.find(root):
        digest.add(path.removeprefix(root).lstrip("/"), files.cat_file(path))
    return str(digest)
