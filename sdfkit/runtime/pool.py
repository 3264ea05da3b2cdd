"""Applies a function to many rows, in worker processes or on a Dask cluster. Rows that fail do not stop the others."""

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar, runtime_checkable

from sdfkit.errors import GeometryError, SdfkitError
from sdfkit.rows import TOO_LONG, Row
from sdfkit.runtime.cluster.client import LostClusterError, connect
from sdfkit.runtime.compiling import managed_compilation
from sdfkit.runtime.progress import Progress, progress
from sdfkit.runtime.workers import WorkerPool, time_limit
from sdfkit.wording import agreeing, counted, original_names

log = logging.getLogger(__name__)
R = TypeVar("R", bound=Row)
Submit = Callable[[R], Any]


class Future(Protocol):
    """Interface that the futures of local processes and of Dask have in common."""

    def result(self) -> Any: ...

    def done(self) -> bool: ...


class Writer(Protocol):
    """Interface of an output for rows, such as a store or a folder of meshes."""

    failed: set[int]

    def has(self, row: Row) -> bool: ...

    def write(self, row: Row, **values: Any) -> None: ...


@dataclass(frozen=True)
class RemoteWriter:
    """Writes rows of an output in processes on other machines. It must be picklable.

    Attributes:
        check: Raises an error unless this machine sees the output, and the command is still running.
        put: Writes the large values of a row, and returns the others, which the command writes.
    """

    check: Callable[[], None]
    put: Callable[..., dict[str, Any]]

    def write_result(self, row: Row, *, function: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Write the results of a function for a row, and return those that the command must write."""
        results = function(row)
        self.check()
        return self.put(row, **results)


@runtime_checkable
class SharedWriter(Writer, Protocol):
    """Interface of an output that other machines may be able to write."""

    def remote(self) -> RemoteWriter | None:
        """Return the writer for other machines; None if only this process can write the output.

        From then on, a row is prepared for that writer by `has`, and recorded by `record` or, if it failed, `write`.
        """

    def record(self, row: Row, **values: Any) -> None:
        """Record a row that the other writer has written, with the values that it returned."""


@dataclass(frozen=True)
class PoolOptions:
    """How to distribute rows over processes or machines.

    Attributes:
        jobs: Number of parallel worker processes, each with one thread.
        timeout: Time limit in seconds per shape. A shape that takes longer, or whose process crashes, is marked as
            failed, and the process is replaced.
        cluster: Address of a Dask scheduler to use instead of processes on this machine; None for processes.
        fail_fast: Stop at the first shape that fails.
        recycle: Number of shapes after which a process is replaced, for functions that leak memory or hang. Such a
            function always runs in a worker process, even with one job. None to keep the processes.
    """

    jobs: int
    timeout: float
    cluster: str | None
    fail_fast: bool
    recycle: int | None = None


def compute_rows(
    writer: Writer,
    rows: Iterable[R],
    count: int,
    function: Callable[[R], dict[str, Any]],
    options: PoolOptions,
) -> None:
    """Compute `function(row)` for every row and write the results in the order of the rows.

    If the function raises an error for a row, the row is written as failed, and the other rows continue. If there is
    only one row, or with `fail_fast`, the error is raised instead. Rows that the writer already has are skipped.

    On a cluster, the workers write to an output that they can reach, and the rows are written as they are finished.

    Args:
        writer: Output of the results; `writer.write(row, **function(row))` is called for each row. With a cluster, it
            is a `SharedWriter`.
        rows: The rows. They may arrive through a pipe.
        count: Number of rows.
        function: Returns the results for a row. It must be picklable if it runs in other processes.
        options: How to distribute the rows.
    """
    stop = options.fail_fast or count == 1
    shared = writer if options.cluster is not None and isinstance(writer, SharedWriter) else None
    remote = shared.remote() if shared is not None else None
    record = writer.write if shared is None or remote is None else shared.record
    with _computer(function, count, options, remote) as compute, progress(count, "shape") as bar:
        missing = (row for row in rows if not _is_kept(row, writer, bar))
        for row, outcome in compute(missing):
            if isinstance(outcome, LostClusterError):
                raise outcome
            if isinstance(outcome, BaseException):
                if stop:
                    raise _named(outcome, row)
                failed = replace(row, error=describe_failure(outcome, options.timeout))
                writer.write(failed)
                bar.clear()
                sys.stderr.write(f"sdfkit: {failed.uid}: {failed.error}\n")
                bar.set_postfix(failed=len(writer.failed))
            else:
                record(row, **outcome)
            bar.update()


def _is_kept(row: Row, writer: Writer, bar: Progress) -> bool:
    kept = writer.has(row)
    bar.update(kept)
    return kept


def _in_order(rows: Iterable[R], submit: Submit[R], ahead: Callable[[], int]) -> Iterator[tuple[R, Any]]:
    """Yield each row with its result or error, in order. `ahead()` rows are submitted and not yet yielded, at most."""
    waiting: deque[tuple[R, Future]] = deque()
    for row in rows:
        waiting.append((row, submit(row)))
        # Finished results are yielded before the next row is requested, because a row may take long to arrive in a
        # pipe.
        while waiting and (len(waiting) > ahead() or waiting[0][1].done()):
            yield _wait(*waiting.popleft())
    while waiting:
        yield _wait(*waiting.popleft())


def _as_finished(rows: Iterable[R], submit: Submit[R], ahead: Callable[[], int]) -> Iterator[tuple[R, Any]]:
    """Yield rows as `_in_order`, but each as soon as it is finished, so that none waits for a slow one before it."""
    finished: SimpleQueue[tuple[R, Future]] = SimpleQueue()
    waiting = 0
    for row in rows:
        submit(row).add_done_callback(lambda future, row=row: finished.put((row, future)))
        waiting += 1
        while waiting and (waiting > ahead() or not finished.empty()):
            yield _wait(*finished.get())
            waiting -= 1
    for _ in range(waiting):
        yield _wait(*finished.get())


def _wait(row: R, future: Future) -> tuple[R, Any]:
    try:
        return row, future.result()
    except Exception as error:  # noqa: BLE001  the one place that continues after any error of a single shape
        return row, error


def describe_failure(error: BaseException, timeout: float) -> str:
    """Describe the error of a shape in one line."""
    if isinstance(error, SdfkitError):
        return original_names(" ".join(str(error).split()))
    if isinstance(error, TimeoutError):
        return f"{TOO_LONG} {timeout:g} s; raise --timeout or simplify the shape"
    return original_names(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _named(error: BaseException, row: Row) -> BaseException:
    """Return the same error with the uid of the shape in the message."""
    if not isinstance(error, SdfkitError) or row.uid in str(error):
        return error
    return type(error)(f"{row.uid}: {error}").with_traceback(error.__traceback__)


class _DeferredCall:
    """A future that calls the function in this process when the result is requested."""

    def __init__(self, function: Callable[[Any], Any], row: Row, timeout: float) -> None:
        self._function = function
        self._row = row
        self._timeout = timeout

    def result(self) -> Any:
        with time_limit(self._timeout):
            return self._function(self._row)

    def done(self) -> bool:
        return True


@contextmanager
def _computer(
    function: Callable[[R], Any], count: int, options: PoolOptions, remote: RemoteWriter | None
) -> Iterator[Callable[[Iterable[R]], Iterator[tuple[R, Any]]]]:
    """Yield a function that yields each of some rows with its result or error."""
    most = 2 * options.jobs + 1
    if options.cluster is not None:
        order, check = (_in_order, _accept) if remote is None else (_as_finished, remote.check)
        if remote is not None:
            function = partial(remote.write_result, function=function)
        with connect(options.cluster, function, options.timeout, options.recycle, check) as cluster:
            yield lambda rows: order(rows, cluster.submit, lambda: 2 * cluster.count_threads() + 1)
    elif (options.jobs == 1 or count == 1) and options.recycle is None:
        # With one shape or one job, everything runs in this process, because a worker process takes seconds to start.
        with managed_compilation(log.info):
            yield lambda rows: _in_order(
                rows, lambda row: _DeferredCall(function, row, options.timeout), lambda: most
            )
    else:
        with managed_compilation(log.info):
            pool = WorkerPool(
                function, min(options.jobs, count), options.timeout, options.recycle,
                notified=log.isEnabledFor(logging.INFO),
            )  # fmt: skip
            try:
                yield lambda rows: _in_order(rows, pool.submit, lambda: most)
            except BaseException:
                pool.stop()
                raise
            pool.close()


def _accept() -> None:
    """Accept any machine, because it only returns results."""


def report_outcome(output: str, what: str, count: int, failed: set[int], *, made: int | None = None) -> None:
    """Log in one sentence what was written.

    Args:
        output: Path of the output, or `-`.
        what: What was written for each shape, such as "views".
        count: Number of shapes.
        failed: Indices of the shapes that failed.
        made: Number of shapes that this run has made, if the output may hold shapes of an earlier run.

    Raises:
        GeometryError: Some shapes failed. The output is complete nevertheless, and marks these shapes as failed.
    """
    place = "standard output" if output == "-" else output
    count = max(count, made or 0)  # further stores on a pipe add shapes
    good = count - len(failed)
    if made == 0 and good:
        if failed:
            raise GeometryError(
                f"{place}: nothing was to be done; {len(failed)} of {count} shapes failed in an earlier run, and "
                "--retry-failed tries them again"
            )
        log.info("%s: is complete, and nothing was to be done", place)
        return
    if failed:
        rest = (
            f"the other {good} {agreeing(good, 'is', 'are')} in {place}" if good else "no shape was written"
        )
        raise GeometryError(
            f"{len(failed)} of {counted(count, 'shape')} failed, for the reasons above; {rest}"
        )
    log.info("wrote %s of %s to %s", what, counted(count, "shape"), place)
