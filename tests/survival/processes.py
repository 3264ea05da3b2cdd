"""Runs commands in forked children that are killed at a chosen write, and compares what they leave.

A child counts the events of Python's audit hooks that change files below its folder: opening a file for writing,
renaming, removing, making a folder. The child is killed immediately before the event of the given number, so that the
file of the event before may be open, half written or not yet renamed.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
# What differs between two equal runs: nothing, but for locks that a killed run leaves until the next one.
Disturb = Callable[[int], None]


class Outcome(NamedTuple):
    """How a child ended: its exit status (negative for a signal), its messages, and how many writes it began."""

    status: int
    messages: str
    writes: int

    @property
    def has_traceback(self) -> bool:
        return "Traceback" in self.messages


def run(
    words: Sequence[str],
    folder: Path,
    *,
    kill_at: int = 0,
    prepare: Callable[[], None] | None = None,
    disturb: Disturb | None = None,
) -> Outcome:
    """Run a command line of sdfkit in a forked child, in a folder.

    Args:
        words: The words behind `sdfkit`.
        folder: Working folder.
        kill_at: Number of the write before which the child is killed; 0 for none.
        prepare: Called in the child before the command.
        disturb: Called in this process with the number of the running child's process.
    """
    reader, writer = os.pipe()
    messages = folder.parent / f"{folder.name}.messages"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            os.setsid()
            status = _run_child(words, folder, kill_at, prepare, writer, messages)
        finally:
            os._exit(status)
    os.close(writer)
    if disturb is not None:
        disturb(child)
    _, ended = os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        writes = len(pipe.read())
    return Outcome(os.waitstatus_to_exitcode(ended), messages.read_text(errors="replace"), writes)


def _run_child(
    words: Sequence[str],
    folder: Path,
    kill_at: int,
    prepare: Callable[[], None] | None,
    counter: int,
    messages: Path,
) -> int:
    os.chdir(folder)
    out = os.open(messages, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    sys.argv = ["sdfkit", *words]
    count = 0
    here = str(folder)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if not _is_write(event, arguments, here):
            return
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(counter, b".")

    from sdfkit import cli

    if prepare is not None:
        prepare()
    sys.addaudithook(hook)
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
    return 0


def _is_write(event: str, arguments: tuple[object, ...], folder: str) -> bool:
    if event == "ctypes.dlsym":
        return "renameat2" in arguments
    if event == "open":
        path, _, flags = arguments
        if not isinstance(flags, int) or not flags & WRITES:
            return False
    elif event in CHANGES:
        path = arguments[0]
    else:
        return False
    if not isinstance(path, (str, bytes, os.PathLike)):
        return False
    return os.path.abspath(os.fsdecode(path)).startswith(folder)  # noqa: PTH100


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder by their paths, hidden ones included, and of its folders b''."""
    found = {}
    for path in sorted(folder.rglob("*")):
        found[path.relative_to(folder).as_posix()] = path.read_bytes() if path.is_file() else b""
    return found


def processes_of(session: int) -> list[int]:
    """Return the processes of a session that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found.append(int(entry.name))
    return found


def wait_until_gone(session: int, seconds: float) -> list[int]:
    """Wait until no process of a session runs any more, and return those that remain."""
    end = time.monotonic() + seconds
    while (left := processes_of(session)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


@contextlib.contextmanager
def copied(base: Path, place: Path) -> Iterator[Path]:
    """Copy a folder for one run, by hard links, and remove the copy."""
    import shutil

    folder = place / "run"
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(base, folder, symlinks=True, copy_function=os.link)
    yield folder
    shutil.rmtree(folder)
