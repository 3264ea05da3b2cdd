"""Puts outputs in their place: the old one stays until the new one is whole, and only one process writes at a time.

Beside an output `x.zarr` there may be, while a command writes it:

    .x.zarr.lock    the lock of the process that writes; the system releases it when the process ends. With --cluster it
                    holds a token, by which workers recognise the output
    .x.zarr.part    what is being written; removed by the next command if its process was killed
    .x.zarr.old     the output that was replaced, until it is deleted
    .x.zarr.new     an unfinished run that will replace the output (--overwrite), and that the same command continues
"""

import ctypes
import errno
import filecmp
import io
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sdfkit.errors import InputError, MissingError
from sdfkit.io.manifests import with_listed
from sdfkit.io.streams import MESH_SUFFIXES, OutputFile, standard_output
from sdfkit.io.urls.files import is_url, restore_url
from sdfkit.options import STANDARD, CommandLine, running_command

# Flag of the system call renameat2 that exchanges two files or folders, and the number that stands for the working
# folder.
EXCHANGE, WORKING_FOLDER = 2, -100
# What killed runs leave behind; earlier versions added the number of the process.
LEFTOVER = re.compile(r"\.(part|old)(-\d+)?")
LEFTOVER_FILE = re.compile(r"\..+\.(ply|glb|obj|stl)\.(part|old)(-\d+)?")
# Errors of the system for a file that cannot be written, on a full disk for example.
UNWRITTEN = (errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EROFS)
# The locks that this process holds, by path.
_held: dict[Path, tuple[int, Path]] = {}


def beside(path: Path, what: str) -> Path:
    """Return the path of a hidden file or folder beside an output; `what` is lock, part, old or new."""
    return path.with_name(f".{path.name}.{what}")


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Hold an output for this process during a block, and remove what killed runs left of it.

    A block within a block for the same path does nothing.

    Raises:
        InputError: The folder of the output does not exist, another process writes the output, or the output is an
            input of the running command.
    """
    require_folder(path)
    path = Path(os.path.abspath(path))  # noqa: PTH100  a link is replaced, not what it points to
    if path in _held:
        yield
        return
    refuse_input(path)
    # A folder for meshes may exist in a parent folder that may not be written.
    inside = path.is_dir() and not os.access(path.parent, os.W_OK)
    lock = path / ".lock" if inside else beside(path, "lock")
    handle = _lock(lock, path)
    _held[path] = handle, lock
    try:
        sweep(path)
        yield
    finally:
        del _held[path]
        # Removed before it is released: whoever waits for it then finds that the file has gone.
        lock.unlink(missing_ok=True)
        os.close(handle)


def _lock(lock: Path, path: Path) -> int:
    try:
        import fcntl
    except ImportError:  # a system without such locks
        fcntl = None  # type: ignore[assignment]
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is None:
            return handle
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise InputError(
                f"{path}: is being written by another process; wait until it has ended, or choose another name"
            ) from error
        except OSError:  # a file system without locks
            return handle
        # Between the two calls, the process that held the lock may have removed the file.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), lock.stat()):
                return handle
        os.close(handle)


@dataclass(frozen=True)
class SharedClaim:
    """What tells a process on another machine that an output which it sees is the one that a command holds.

    Attributes:
        output: Path of the output.
        lock: Path of its lock.
        token: Content of the lock, which no other run has.
    """

    output: str
    lock: str
    token: str

    def check(self) -> None:
        """Raise MissingError unless this machine sees the output, and the command still holds it."""
        try:
            found = Path(self.lock).read_text(encoding="ascii")
        except OSError:
            found = ""
        if found != self.token:
            raise MissingError(
                f"{self.output}: is not shared with the worker on {platform.node()}; choose an output that all "
                "machines see at the same path"
            )


def share(path: Path) -> SharedClaim:
    """Return what other machines need to know of an output that this process holds; see `claim`."""
    path = Path(os.path.abspath(path))  # noqa: PTH100  as in `claim`
    handle, lock = _held[path]
    token = uuid4().hex
    os.ftruncate(handle, 0)
    os.pwrite(handle, token.encode(), 0)
    os.fsync(handle)  # a network file system may send it later
    return SharedClaim(str(path), str(lock), token)


def sweep(path: Path) -> None:
    """Remove what killed runs left beside an output, and restore an output that was lost between two renames."""
    old = beside(path, "old")
    if old.exists() and not path.exists():
        old.rename(path)
    start = f".{path.name}"
    with os.scandir(path.parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(start)]
    for name in names:
        if LEFTOVER.fullmatch(name[len(start) :]):
            remove(path.with_name(name))


def sweep_folder(folder: Path) -> None:
    """Remove what killed runs left of single files in a folder."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(".")]
    for name in names:
        if LEFTOVER_FILE.fullmatch(name):
            remove(folder / name)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with everything in it, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def put(part: Path, path: Path) -> None:
    """Put a whole output in its place. At every moment, the path holds the old output or the new one.

    Where the system cannot exchange two folders at once, the old one is renamed first; `sweep` restores it if the
    process is killed before the second rename.
    """
    if not path.is_dir() and not part.is_dir():
        part.replace(path)
        return
    if not path.exists():
        part.rename(path)
        return
    old = beside(path, "old")
    remove(old)
    if _exchange(part, path):
        part.rename(old)
    else:
        path.rename(old)
        part.rename(path)
    remove(old)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two files or folders at once. False if the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    status = rename(WORKING_FOLDER, os.fsencode(one), WORKING_FOLDER, os.fsencode(other), EXCHANGE)
    return bool(status == 0)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield the path at which to write an output that replaces `path` when the block ends without an error."""
    part = beside(path, "part")
    remove(part)
    try:
        yield part
        put(part, path)
    except OSError as error:
        if error.filename is None and error.errno in UNWRITTEN:
            error.filename = str(path)  # the system does not name the file that it could not write
        raise
    finally:
        remove(part)


@contextmanager
def replaced_file(path: Path) -> Iterator[OutputFile]:
    """Yield a binary stream to a file that replaces `path` when the block ends without an error."""
    with replaced(path) as part, _create(part) as stream:
        yield stream


def _create(path: Path) -> OutputFile:
    return OutputFile(io.FileIO(path, "wb"))


@contextmanager
def open_output(output: str, *, overwrite: bool) -> Iterator[OutputFile]:
    """Yield a binary stream to a file or to standard output; the file appears when the block ends without an error.

    A file that exists already and has the same content is kept, so that the same command can be run again; the stream
    says so in its attribute `is_kept`.

    Raises:
        UsageError: Standard output is a terminal.
        InputError: The file exists with another content and `overwrite` is false, its folder does not exist, or the
            file is an input.
    """
    path = Path(output)
    if output == STANDARD:
        with standard_output() as stream:
            yield stream
    elif is_stream(path):
        with _create(path) as stream:
            yield stream
    else:
        with claim(path):
            refuse_existing(path, overwrite or path.is_file())
            if not path.exists() or overwrite:
                with replaced_file(path) as stream:
                    yield stream
                return
            part = beside(path, "part")
            try:
                with _create(part) as stream:
                    yield stream
                if not filecmp.cmp(part, path, shallow=False):
                    refuse_existing(path, overwrite)
                stream.is_kept = True
            finally:
                remove(part)


def is_stream(path: Path) -> bool:
    """Return whether a path is that of a device or a named pipe."""
    return path.exists() and not path.is_file() and not path.is_dir()


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise InputError if the path exists, or if its folder does not exist; with `overwrite`, a file may exist."""
    if path.exists() and (path.is_dir() or not overwrite):
        raise InputError(
            f"{path}: exists; choose another name" + ("" if path.is_dir() else " or add --overwrite")
        )
    require_folder(path)


def require_folder(path: Path) -> None:
    """Raise InputError unless the folder of an output exists."""
    if is_url(url := restore_url(path)):
        raise InputError(
            f"{url}: only stores and meshes can be written to a URL; give a path on this machine"
        )
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; make it first")


def refuse_input(path: Path) -> None:
    """Raise InputError if writing an output would replace an input of the running command, or a part of one."""
    line = running_command()
    if line is None or not path.exists():
        return
    place = path.resolve()
    for name in input_paths(line):
        given = Path(name)
        if name == STANDARD or "://" in name or not given.exists():
            continue
        source = given.resolve()
        # A folder of meshes is an input as a whole; a mesh that lies in it is one of its parts.
        is_part = path.suffix.lower() in MESH_SUFFIXES and place.is_relative_to(source)
        holds = source.is_relative_to(place) and (place.is_file() or _is_replaced(place, source))
        if holds or is_part:
            raise InputError(f"{path}: is also an input; choose another name for the output")
        if given.is_file() and place.is_file() and given.samefile(place):
            raise InputError(f"{path}: is also an input, by another name; choose another name for the output")


def input_paths(line: CommandLine) -> list[str]:
    """Return the paths of all inputs of a command, and of the meshes that a manifest among them lists."""
    by_row = [path for name, paths in line.rows.items() if name != "manifest" for path in with_listed(paths)]
    return [
        *(path for paths in line.inputs.values() for path in paths),
        *by_row,
        *line.rows.get("manifest", ()),
    ]


def _is_replaced(folder: Path, source: Path) -> bool:
    """Return whether writing a folder would replace an input in it: always, but for meshes beside other files."""
    return source == folder or (folder / "zarr.json").exists()
