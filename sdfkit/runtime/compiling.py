"""Compiled kernels: who waits is told why, and processes take turns, so that each kernel is compiled once.

numba keeps what it compiled beside the source, or in the user's cache folder where it may not write there, or
where NUMBA_CACHE_DIR says. So all of this matters in the first run on a machine only.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

NOTICE = "compiling for this machine, once: about 10 s"
LOST = (
    "compiled code can be kept nowhere: name a folder in NUMBA_CACHE_DIR, or every run begins with 10 s of it"
)


@contextmanager
def compiling(tell: Callable[[str], None]) -> Iterator[None]:
    """Watch over numba while work is done that may compile, in this process and in those that it starts.

    Enter before anything imports kernels. `tell` is called when something is compiled, and where it cannot be
    kept.
    """
    import numba

    if not _can_keep():
        # numba refuses kernels that it cannot keep, so they get a folder that lasts as long as this run.
        tell(LOST)
        folder = tempfile.mkdtemp(prefix="sdfkit-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["NUMBA_CACHE_DIR"] = folder
        numba.config.reload_config()  # type: ignore[no-untyped-call]
    stop = take_turns(tell)
    try:
        yield
    finally:
        stop()


def take_turns(tell: Callable[[str], None]) -> Callable[[], None]:
    """Have this process wait while another one compiles, and tell once when it does so itself.

    numba looks into its cache only after its lock is taken: who waited finds there what the other has made.

    Returns:
        A function that ends it.
    """
    from numba.core import event

    class Turns(event.Listener):
        depth = 0
        lock: IO[bytes] | None = None
        told = False

        def on_start(self, happening: Any) -> None:
            if happening.kind == "numba:compile":
                if not self.told:
                    tell(NOTICE)
                self.told = True
                return
            self.depth += 1
            if self.depth == 1:
                self.lock = _lock()

        def on_end(self, happening: Any) -> None:
            if happening.kind == "numba:compile":
                return
            self.depth -= 1
            if self.depth == 0 and self.lock is not None:
                self.lock.close()

    turns = Turns()
    kinds = ("numba:compiler_lock", "numba:compile")
    for kind in kinds:
        event.register(kind, turns)  # type: ignore[no-untyped-call]

    def stop() -> None:
        for kind in kinds:
            event.unregister(kind, turns)  # type: ignore[no-untyped-call]

    return stop


def _lock() -> IO[bytes] | None:
    """Wait for the lock of all processes that run this installation; None where a system has no such locks.

    It is this file, which is always there; the system frees it when a process dies.
    """
    try:
        import fcntl

        file = open(__file__, "rb")  # noqa: SIM115, PTH123  closing it gives the lock back
        fcntl.flock(file, fcntl.LOCK_EX)
    except (ImportError, OSError):
        return None
    return file


def _can_keep() -> bool:
    from numba import njit

    try:
        njit(cache=True)(_lock)
    except RuntimeError:
        return False
    return True
