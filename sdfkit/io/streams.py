"""Binary standard input and output, and the detection of file types."""

import atexit
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, Literal, TextIO, cast
from weakref import WeakKeyDictionary

from sdfkit.errors import InputError, UsageError
from sdfkit.io.pictures.places import holds_cameras
from sdfkit.io.urls.files import Mirror, download, forget_servers, holds_files, is_url
from sdfkit.options import STANDARD
from sdfkit.wording import copies, original_names

BUFFER = 1 << 16
MESH_SUFFIXES = (".3mf", ".dae", ".glb", ".gltf", ".obj", ".off", ".ply", ".stl")
MAGIC = {b"ply": "ply", b"PK": "zarr", b"glTF": "glb", b"\x93NUMPY": "npy"}
# The error of a shape whose file is missing among several.
NO_FILE = "no such file"
_readers: WeakKeyDictionary[TextIO, io.BufferedReader] = WeakKeyDictionary()


def name_of(path: str) -> str:
    """Return the name of an input for messages."""
    return "standard input" if path == STANDARD else original_names(path)


def open_input(path: str) -> io.BufferedReader:
    """Open a file, or standard input for `-`, for reading bytes.

    Raises:
        UsageError: Standard input is closed or a terminal.
        InputError: The path is a folder.
    """
    if path != STANDARD:
        if Path(path).is_dir():
            raise InputError(f"{path}: is a folder, but a file is needed")
        return io.BufferedReader(io.FileIO(path), BUFFER)
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("no input: give a file, or pipe data to standard input")
    # One buffered reader per process: bytes that were peeked at must not be lost for the next caller.
    reader = _readers.get(sys.stdin)
    if reader is None or reader.closed:
        reader = _readers[sys.stdin] = io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False), BUFFER)
    return reader


def spool(path: str) -> str:
    """Copy a named pipe, or files at a URL, to a temporary file or folder of the same name.

    A named pipe, such as that of a process substitution of the shell, can be read only once, from start to end, but
    inputs are opened to see what they are before they are read. Of a URL, only stores can be read in place.

    Returns:
        The path of the copy, which is removed when the program ends; the same path for anything else.

    Raises:
        FileNotFoundError: There is nothing at a URL.
    """
    place = Path(path)
    if path in copies:
        return copies[path]
    if is_url(path):
        if holds_files(path):
            copies[path] = str(download(path, temporary_folder()))
        return copies.get(path, path)
    try:
        if path == STANDARD or not place.is_fifo():
            return path
    except (OSError, ValueError):
        return path
    copy = temporary_folder() / place.name
    with place.open("rb") as stream, copy.open("wb") as file:
        shutil.copyfileobj(stream, file, 1 << 20)
    copies[path] = str(copy)
    return copies[path]


def forget_copies() -> None:
    """Make the next command of this process copy its inputs anew, and name its own servers in messages."""
    copies.clear()
    forget_servers()


def temporary_folder() -> Path:
    """Make an empty folder, which is removed when the program ends."""
    folder = tempfile.mkdtemp(prefix="sdfkit-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def open_mirror(url: str) -> Mirror:
    """Return the temporary place of a folder or file that is written to a URL. Messages name the URL.

    Raises:
        InputError: It is also an input of the running command.
    """
    if any(url.rstrip("/") == path.rstrip("/") for path in copies):
        raise InputError(f"{url}: is also an input; choose another name for the output")
    mirror = Mirror(url, temporary_folder())
    copies[url.rstrip("/")] = str(mirror.place)
    return mirror


def read_list(path: str) -> list[str]:
    """Read paths of inputs from a file, or from standard input for `-`.

    The file has one path a line; if it has a NUL, as that of `find -print0`, each path ends with a NUL. Relative paths
    are relative to the working folder. Empty lines are skipped.

    Raises:
        InputError: The file names no input.
    """
    with nullcontext(open_input(path)) if path == STANDARD else open_input(path) as stream:
        content = stream.read()
    names = content.split(b"\0") if b"\0" in content else content.splitlines()
    # A file of the name `-` is not standard input.
    found = ["./-" if name == b"-" else os.fsdecode(name) for name in names if name]
    if not found:
        raise InputError(f"{name_of(path)}: names no input; write one path a line")
    return found


def sniff(stream: io.BufferedReader, name: str) -> str:
    """Detect the type of a stream from its first bytes.

    It is ply, glb, zarr (a store as a zip), arrays (a store as a .npz), npz (of another program), npy, or `unknown`.

    Raises:
        InputError: The stream is empty.
    """
    start = stream.peek(64)
    if not start:
        raise InputError(f"{name}: is empty; did the command that wrote it fail?")
    kind = next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), "unknown")
    # A .npz is a zip whose first member is a .npy.
    member = start[30 : 30 + int.from_bytes(start[26:28], "little")]
    if kind == "zarr" and member.endswith(b".npy"):
        return "arrays" if member == b"sdfkit.npy" else "npz"
    return kind


def find_kind(path: str) -> Literal["store", "arrays", "mesh"]:
    """Detect the type of the data at a path. The type of a single file follows from its first bytes, not its name.

    Raises:
        InputError: The file is empty or of an unknown type.
    """
    if "://" in path or Path(path, "zarr.json").is_file() or (Path(path).is_dir() and path.endswith(".zarr")):
        return "store"
    if holds_cameras(path):
        return "store"
    if Path(path).is_dir() or Path(path).suffix.lower() in (*MESH_SUFFIXES, ".json"):  # a manifest of meshes
        return "mesh"
    stream = open_input(path)
    with nullcontext() if path == STANDARD else stream:
        kind = sniff(stream, name_of(path))
    if kind == "unknown":
        raise InputError(
            f"{name_of(path)}: holds data in an unknown format; give a Zarr store, a mesh or a .npy"
        )
    if kind in ("zarr", "arrays"):
        return "store"
    return "arrays" if kind in ("npy", "npz") else "mesh"


class OutputFile(io.BufferedWriter):
    """A binary file that is being written.

    Attributes:
        is_kept: A file with the same content was there, and is kept in place of this one; known once it is closed.
    """

    is_kept = False


@contextmanager
def standard_output() -> Iterator[OutputFile]:
    """Yield standard output as a binary stream. Text that libraries print meanwhile goes to standard error.

    Raises:
        UsageError: Standard output is a terminal.
    """
    if sys.stdout.isatty():
        raise UsageError(
            "standard output is a terminal, and the output is binary; add -o FILE or pipe it to another command"
        )
    sys.stdout.flush()
    kept = os.dup(1)
    # Here and in worker processes, so that text does not mix with the data.
    os.dup2(2, 1)
    stream = cast(BinaryIO, os.fdopen(kept, "wb", buffering=0))
    try:
        yield cast(OutputFile, _Whole(stream))
    finally:
        sys.stdout.flush()
        os.dup2(stream.fileno(), 1)
        stream.close()


class _Whole(io.RawIOBase):
    """An unbuffered stream whose writes are complete and immediate, so that the next command of a pipe can start."""

    is_kept = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        view = memoryview(content)
        while view:
            view = view[self._stream.write(view) :]
        return len(content)
