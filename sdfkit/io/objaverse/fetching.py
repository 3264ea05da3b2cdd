"""Downloads shapes of Objaverse into a folder, with a manifest of their labels and checksums.

Beside the manifest, while a command runs and after it was killed, there is a hidden list, `.manifest.json.run`, with
the checksum of each file that is there: a line per file, as sha256sum writes them.
"""

import logging
import shutil
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdfkit.errors import InputError, MissingError
from sdfkit.io.manifest_writer import digest, dump_manifest
from sdfkit.io.manifests import Entry, read_manifest
from sdfkit.io.meshes.writer import file_name
from sdfkit.io.objaverse.annotations import FAILURES, supervised
from sdfkit.io.outputs import beside, claim, replaced_file, require_folder, sweep_folder
from sdfkit.rows import Row
from sdfkit.wording import counted, listed

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
# Digits of a SHA-256 in `Row.origin`.
ORIGIN = 16


def fetch_object(row: Row, *, folder: str) -> dict[str, Any]:
    """Download a shape, unless the package has it already, and copy it into a folder under its uid.

    The package keeps its own copy. If that is damaged, it is removed and downloaded again, once.

    Args:
        row: The shape. Its `origin`, if there is one, is that of the file which an earlier run has fetched.
        folder: The folder.

    Returns:
        The SHA-256 of the file.

    Raises:
        MissingError: The shape cannot be downloaded.
        InputError: What is downloaded is damaged, or is not the file that was there before.
    """
    for last in (False, True):
        source = _download(row.uid)
        fault, found = _find_fault(source), digest(source)
        if not fault and not found.startswith(row.origin):
            fault = "is not the file that was fetched before"
        if not fault:
            break
        source.unlink()
        if last:
            raise InputError(
                f"the downloaded file {fault}; run the same command again, or choose other shapes"
            )
    path = _path_in(folder, row.uid)
    if not path.is_file() or digest(path) != found:
        with replaced_file(path) as stream, source.open("rb") as file:
            shutil.copyfileobj(file, stream, 1 << 20)
    return {"sha256": found}


def _path_in(folder: str | Path, uid: str) -> Path:
    return Path(folder, f"{file_name(uid)}.glb")


def _download(uid: str) -> Path:
    """Return the path of a shape in the cache of the package.

    Shapes are downloaded one at a time: with several processes, the package (0.1.7) waits for ever after any error of
    the server, whose exception cannot be sent from one process to another.
    """
    import objaverse

    try:
        with supervised(), warnings.catch_warnings(action="ignore"):
            paths = objaverse.load_objects([uid], download_processes=1)
    except FAILURES as error:
        reason = " ".join(str(error).split())
        raise MissingError(f"cannot be downloaded ({reason}); run the same command again") from error
    if uid not in paths:
        raise MissingError("is not in Objaverse's list of files; choose other shapes")
    return Path(paths[uid])


def _find_fault(path: Path) -> str:
    """Return why a file is not a whole GLB; empty if it is one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
    if len(head) < 12 or head[:4] != b"glTF":
        return "is not a GLB"
    length = struct.unpack("<I", head[8:])[0]
    return "" if length == size else f"has {size:,} of {length:,} bytes"


class FetchedFolder:
    """A folder of fetched shapes and their manifest.

    Attributes:
        rows: The shapes.
        failed: Indices of the rows that failed.
        made: Number of rows that this run has fetched, or tried to.
    """

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        self._folder = folder
        self.failed: set[int] = set()
        self.made = 0
        self._errors: dict[str, str] = {}
        self._list = beside(folder / MANIFEST, "run")
        self._known = self._read_checksums()
        self.rows = [replace(row, origin=self._checksum(row)[:ORIGIN]) for row in rows]
        own = {_path_in(folder, row.uid).name for row in rows}
        others = sorted({path.name for path in folder.glob("*.glb")} - own)
        if others:
            raise InputError(
                f"{folder}: holds {counted(len(others), 'mesh')} that this command does not choose ({listed(others)}); "
                "choose another folder, or move them"
            )

    def _read_checksums(self) -> dict[str, str]:
        """Return the checksums of the files that were fetched by earlier runs, by their names."""
        manifest, known = self._folder / MANIFEST, {}
        if manifest.exists():
            known = {entry.path: entry.sha256 for entry in read_manifest(manifest).values()}
        with suppress(OSError, UnicodeDecodeError):
            # The last line has no end if the process was killed while it wrote it.
            for line in self._list.read_text(encoding="utf-8").split("\n")[:-1]:
                checksum, _, name = line.partition("  ")
                known[name] = checksum
        return known

    def _checksum(self, row: Row) -> str:
        """Return the checksum of the file of a row; empty if it was not fetched."""
        return self._known.get(_path_in(self._folder, row.uid).name, "")

    def has(self, row: Row) -> bool:
        """Return whether the file of this row is there, with the checksum that it had when it was fetched."""
        path, known = _path_in(self._folder, row.uid), self._checksum(row)
        if not known or not path.is_file():
            return False
        if digest(path) == known:
            return True
        log.warning("%s: has changed since it was fetched, and is fetched again", path)
        return False

    def write(self, row: Row, *, sha256: str = "", **others: Any) -> None:
        """Record a shape that was fetched, or that failed; the file of a shape that failed is removed."""
        self.made += 1
        path = _path_in(self._folder, row.uid)
        if row.error:
            self.failed.add(row.index)
            self._errors[row.uid] = row.error
            path.unlink(missing_ok=True)
            return
        self._known[path.name] = sha256
        with self._list.open("a", encoding="utf-8") as file:
            file.write(f"{sha256}  {path.name}\n")

    def finish(self) -> None:
        """Write the manifest, unless it is there with the same content, and remove the list of checksums."""
        kept = [row for row in self.rows if row.index not in self.failed]
        entries = [
            Entry(
                index, row.uid, _path_in(self._folder, row.uid).name, row.category, row.licence, row.source,
                self._checksum(row),
            )
            for index, row in enumerate(kept)
        ]  # fmt: skip
        content, path = dump_manifest(entries, self._errors).encode(), self._folder / MANIFEST
        if not path.is_file() or path.read_bytes() != content:
            with replaced_file(path) as stream:
                stream.write(content)
            self.made = max(self.made, 1)
        self._list.unlink(missing_ok=True)


@contextmanager
def open_fetched(output: str, rows: Sequence[Row]) -> Iterator[FetchedFolder]:
    """Open a folder for fetched shapes. Its manifest is written when the block ends without an error.

    Args:
        output: The folder, which may hold shapes of an earlier run.
        rows: The shapes.

    Raises:
        InputError: The path is a file, the folder holds other meshes, or another process writes it.
    """
    path = Path(output)
    with claim(path):
        check_folder(output)
        path.mkdir(exist_ok=True)
        sweep_folder(path)
        folder = FetchedFolder(path, rows)
        yield folder
        folder.finish()


def check_folder(output: str) -> None:
    """Raise InputError for an output that cannot be a folder, before anything is downloaded."""
    path = Path(output)
    require_folder(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is not a folder; choose another name")
