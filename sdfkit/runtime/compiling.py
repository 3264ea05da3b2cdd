"""Compiles numba kernels only once, even if several processes need them, and reports to the user that it does.

numba caches compiled kernels in NUMBA_CACHE_DIR if it is set, otherwise beside their source files, or in the user's
cache folder if it cannot write there. So kernels are compiled only in the first run on a machine.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

COMPILER_LOCK, COMPILE = "numba:compiler_lock", "numba:compile"  # kinds of numba's events
NOTICE = "compiling for this machine; this is done once and takes about 10 s"
NO_CACHE = (
    "compiled code cannot be cached, so every run compiles for 10 s; set NUMBA_CACHE_DIR to a writable folder"
)


@contextmanager
def managed_compilation(notify: Callable[[str], None]) -> Iterator[None]:
    """Manage the compilation of kernels during a block, in this process and in the processes that it starts.

    The block must begin before any module with kernels is imported.

    Args:
        notify: Called with a message when a kernel is compiled for the first time, and if kernels cannot be cached.
    """
    import numba

    if not _can_cache():
        # numba refuses to define kernels that it cannot cache, so it gets a temporary cache folder for this run.
        notify(NO_CACHE)
        folder = tempfile.mkdtemp(prefix="sdfkit-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["NUMBA_CACHE_DIR"] = folder
        numba.config.reload_config()  # type: ignore[no-untyped-call]
    stop = serialise_compilation(notify)
    try:
        yield
    finally:
        stop()


def serialise_compilation(notify: Callable[[str], None]) -> Callable[[], None]:
    """Make this process wait while another process compiles, and report the first compilation in this process.

    numba looks for a kernel in its cache after it has taken its compiler lock, so a process that waited finds the
    kernel that the other process compiled. numba has no public interface for this: `numba.core.event` is documented for
    developers only, so a test checks that these events exist.

    Args:
        notify: Called with a message before the first compilation.

    Returns:
        A function that restores numba's behaviour.
    """
    from numba.core import event

    class LockListener(event.Listener):
        depth = 0
        lock: IO[bytes] | None = None
        notified = False

        def on_start(self, started: Any) -> None:
            if started.kind == COMPILE:
                if not self.notified:
                    notify(NOTICE)
                self.notified = True
                return
            self.depth += 1
            if self.depth == 1:
                self.lock = _lock()

        def on_end(self, ended: Any) -> None:
            if ended.kind == COMPILE:
                return
            self.depth -= 1
            if self.depth == 0 and self.lock is not None:
                self.lock.close()

    listener = LockListener()
    for kind in (COMPILER_LOCK, COMPILE):
        event.register(kind, listener)  # type: ignore[no-untyped-call]

    def stop() -> None:
        for kind in (COMPILER_LOCK, COMPILE):
            event.unregister(kind, listener)  # type: ignore[no-untyped-call]

    return stop


def _lock() -> IO[bytes] | None:
    """Wait for the lock that all processes of this installation share, and return the locked file.

    The result is None on a system without such locks. The locked file is this source file, because it always exists.
    The operating system releases the lock when the process ends.
    """
    try:
        import fcntl

        file = open(__file__, "rb")  # noqa: SIM115, PTH123  closing it releases the lock
        fcntl.flock(file, fcntl.LOCK_EX)
    except (ImportError, OSError):
        return None
    return file


def _can_cache() -> bool:
    from numba import njit

    try:
        njit(cache=True)(_lock)
    except RuntimeError:
        return False
    return True
