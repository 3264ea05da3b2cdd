"""One function over many rows: on this machine's cores or on a Dask cluster, outliving any single shape."""

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from sdfkit.errors import GeometryError, MissingError, SdfkitError
from sdfkit.rows import Row
from sdfkit.runtime.compiling import compiling, take_turns

log = logging.getLogger(__name__)
R = TypeVar("R", bound=Row)
Submit = Callable[[R], "Future"]


class Future(Protocol):
    """What local and cluster futures have in common."""

    def result(self) -> Any: ...

    def done(self) -> bool: ...


class Writer(Protocol):
    """A store or a folder of meshes that takes rows."""

    failed: set[int]

    def has(self, row: Row) -> bool: ...

    def write(self, row: Row, **values: Any) -> None: ...


@dataclass(frozen=True)
class Workers:
    """How to spread rows over machines and cores, as the command line says it.

    `jobs` processes of one thread each; a shape that takes longer than `timeout` seconds, or kills its process, is
    marked as failed and its process replaced. A library that leaks or hangs has its process replaced after `recycle`
    shapes, and always works in one of its own.
    """

    jobs: int
    timeout: float
    cluster: str | None
    fail_fast: bool
    recycle: int | None = None


def fill(
    writer: Writer, rows: Iterable[R], count: int, function: Callable[[R], dict[str, Any]], workers: Workers
) -> None:
    """Write `function(row)` for every row, in their order; mark the rows that fail and go on.

    Rows that the writer has already are kept. With one row, or with `fail_fast`, its own error ends the command.
    """
    stop = workers.fail_fast or count == 1
    with _submitter(function, count, workers) as submit, progress(count, "shape") as bar:
        missing = (row for row in rows if not _is_kept(row, writer, bar))
        for row, outcome in _in_order(missing, submit, ahead=2 * workers.jobs + 1):
            if isinstance(outcome, BaseException):
                if stop:
                    raise _named(outcome, row)
                text = _tell(outcome, workers.timeout)
                writer.write(replace(row, error=text))
                bar.clear()
                sys.stderr.write(f"sdfkit: {row.uid}: {text}\n")
                bar.set_postfix(failed=len(writer.failed))
            else:
                writer.write(row, **outcome)
            bar.update()


def _is_kept(row: Row, writer: Writer, bar: Any) -> bool:
    kept = writer.has(row)
    bar.update(kept)
    return kept


def _in_order(rows: Iterable[R], submit: Submit[R], *, ahead: int) -> Iterator[tuple[R, Any]]:
    """Results or errors in the order of the rows, with at most `ahead` rows begun and not yet taken."""
    waiting: deque[tuple[R, Future]] = deque()
    for row in rows:
        waiting.append((row, submit(row)))
        # What is ready leaves before the next row is asked for: it may be long in coming through a pipe.
        while waiting and (len(waiting) > ahead or waiting[0][1].done()):
            yield _wait(*waiting.popleft())
    while waiting:
        yield _wait(*waiting.popleft())


def _wait(row: R, future: Future) -> tuple[R, Any]:
    try:
        return row, future.result()
    except Exception as error:  # noqa: BLE001  the one place that must outlive any single shape
        return row, error


def _tell(error: BaseException, timeout: float) -> str:
    """One line about a shape that failed."""
    if isinstance(error, SdfkitError):
        return " ".join(str(error).split())
    if isinstance(error, FutureTimeout | TimeoutError):
        return f"took longer than {timeout:g} s; raise --timeout or simplify it"
    if type(error).__name__ == "ProcessExpired":
        return f"its process died ({error}); is there enough memory?"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _named(error: BaseException, row: Row) -> BaseException:
    """The same error, with the shape it is about."""
    if not isinstance(error, SdfkitError) or row.uid in str(error):
        return error
    return type(error)(f"{row.uid}: {error}").with_traceback(error.__traceback__)


class _Done:
    """A future whose work is done when it is asked for, in this process."""

    def __init__(self, function: Callable[[Any], Any], row: Row) -> None:
        self._function = function
        self._row = row

    def result(self) -> Any:
        return self._function(self._row)

    def done(self) -> bool:
        return True


@contextmanager
def _submitter(function: Callable[[R], Any], count: int, workers: Workers) -> Iterator[Submit[R]]:
    if workers.cluster is not None:
        with _cluster(workers.cluster) as client:
            yield lambda row: client.submit(function, row, pure=False)
    elif (workers.jobs == 1 or count == 1) and workers.recycle is None:
        # One shape or one job needs no second process, which costs seconds to start.
        with compiling(log.info):
            yield lambda row: _Done(function, row)
    else:
        # Workers start from a clean process: forking one with compiled code or threads in it may hang.
        import multiprocessing

        from pebble import ProcessPool

        context = multiprocessing.get_context("forkserver")
        with compiling(log.info):
            pool = ProcessPool(
                max_workers=min(workers.jobs, count),
                max_tasks=workers.recycle or 0,
                initializer=_calm,
                initargs=(context.Event() if log.isEnabledFor(logging.INFO) else None,),
                context=context,
            )
            try:
                yield lambda row: pool.schedule(function, args=(row,), timeout=workers.timeout)
                pool.close()  # type: ignore[no-untyped-call]
            except BaseException:
                pool.stop()  # type: ignore[no-untyped-call]
                raise
            finally:
                pool.join()


def _calm(told: Any) -> None:
    """A worker uses one thread, warns as the command does, leaves Ctrl-C to it, and tells that it compiles once.

    `told` is the event that workers share, of which one tells; None keeps them quiet about it.
    """
    import signal

    logging.basicConfig(format="sdfkit: %(message)s", stream=sys.stderr)

    def tell(text: str) -> None:
        if told is not None and not told.is_set():
            told.set()
            sys.stderr.write(f"sdfkit: {text}\n")

    take_turns(tell)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingError(
            f"--cluster {address}: dask is not installed; pip install 'sdfkit[cluster]'"
        ) from error
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise MissingError(
            f"--cluster {address}: no scheduler answers ({error}); start one with dask scheduler"
        ) from error
    with client:
        yield client


@contextmanager
def progress(count: int, unit: str) -> Iterator[Any]:
    """A bar on standard error with rate and time left; nothing where that is not a terminal."""
    from tqdm import tqdm

    # None lets tqdm look for a terminal. Of the processes that torchrun starts, the first one has the bar.
    silent = True if os.environ.get("RANK", "0") != "0" else None
    with tqdm(total=count, unit=unit, disable=silent, dynamic_ncols=True, smoothing=0.1) as bar:
        yield bar


def conclude(output: str, what: str, count: int, failed: set[int]) -> None:
    """Say in one sentence what was written, and end with status 4 where shapes failed.

    Raises:
        GeometryError: Some shapes failed; the output is whole, and they are marked in it.
    """
    place = "standard output" if output == "-" else output
    good = count - len(failed)
    if failed:
        rest = f"the other {good} are in {place}" if good else "nothing was written"
        raise GeometryError(f"{len(failed)} of {count} shapes failed, for the reasons above; {rest}")
    log.info("wrote %s of %d shape%s to %s", what, count, "" if count == 1 else "s", place)


class Results:
    """Keeps what `fill` brings, for a command that ends in a report."""

    def __init__(self) -> None:
        self.failed: set[int] = set()
        self.rows: list[tuple[Row, dict[str, Any]]] = []

    def has(self, row: Row) -> bool:
        return False

    def write(self, row: Row, **values: Any) -> None:
        if row.error:
            self.failed.add(row.index)
        else:
            self.rows.append((row, values))
