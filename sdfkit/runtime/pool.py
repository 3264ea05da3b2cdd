"""Applies a function to many rows, in worker processes or on a Dask cluster. Rows that fail do not stop the others."""

import logging
import math
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from sdfkit.errors import GeometryError, MissingError, SdfkitError
from sdfkit.rows import TOO_LONG, Row
from sdfkit.runtime.compiling import managed_compilation
from sdfkit.runtime.progress import Progress, progress
from sdfkit.runtime.workers import WorkerPool, time_limit
from sdfkit.wording import agreeing, counted

log = logging.getLogger(__name__)
R = TypeVar("R", bound=Row)
Submit = Callable[[R], "Future"]


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

    Args:
        writer: Output of the results; `writer.write(row, **function(row))` is called for each row.
        rows: The rows. They may arrive through a pipe.
        count: Number of rows.
        function: Returns the results for a row. It must be picklable if it runs in other processes.
        options: How to distribute the rows.
    """
    stop = options.fail_fast or count == 1
    with _submitter(function, count, options) as submit, progress(count, "shape") as bar:
        missing = (row for row in rows if not _is_kept(row, writer, bar))
        for row, outcome in _in_order(missing, submit, ahead=2 * options.jobs + 1):
            if isinstance(outcome, BaseException):
                if stop:
                    raise _named(outcome, row)
                failed = replace(row, error=describe_failure(outcome, options.timeout))
                writer.write(failed)
                bar.clear()
                sys.stderr.write(f"sdfkit: {failed.uid}: {failed.error}\n")
                bar.set_postfix(failed=len(writer.failed))
            else:
                writer.write(row, **outcome)
            bar.update()


def _is_kept(row: Row, writer: Writer, bar: Progress) -> bool:
    kept = writer.has(row)
    bar.update(kept)
    return kept


def _in_order(rows: Iterable[R], submit: Submit[R], *, ahead: int) -> Iterator[tuple[R, Any]]:
    """Yield each row with its result or error, in order. At most `ahead` rows are submitted and not yet yielded."""
    waiting: deque[tuple[R, Future]] = deque()
    for row in rows:
        waiting.append((row, submit(row)))
        # Finished results are yielded before the next row is requested, because a row may take long to arrive in a
        # pipe.
        while waiting and (len(waiting) > ahead or waiting[0][1].done()):
            yield _wait(*waiting.popleft())
    while waiting:
        yield _wait(*waiting.popleft())


def _wait(row: R, future: Future) -> tuple[R, Any]:
    try:
        return row, future.result()
    except Exception as error:  # noqa: BLE001  the one place that continues after any error of a single shape
        return row, error


def describe_failure(error: BaseException, timeout: float) -> str:
    """Describe the error of a shape in one line."""
    if isinstance(error, SdfkitError):
        return " ".join(str(error).split())
    if isinstance(error, TimeoutError):
        return f"{TOO_LONG} {timeout:g} s; raise --timeout or simplify the shape"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


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


class _ClusterTask:
    """A future of Dask with a time limit, which begins when the result of the shape is awaited."""

    def __init__(self, future: Any, timeout: float) -> None:
        self._future = future
        self._timeout = timeout if timeout < math.inf else None

    def result(self) -> Any:
        try:
            return self._future.result(timeout=self._timeout)
        except TimeoutError:
            self._future.cancel()
            raise

    def done(self) -> bool:
        return bool(self._future.done())


@contextmanager
def _submitter(function: Callable[[R], Any], count: int, options: PoolOptions) -> Iterator[Submit[R]]:
    if options.cluster is not None:
        with _cluster(options.cluster) as client:
            yield lambda row: _ClusterTask(client.submit(function, row, pure=False), options.timeout)
    elif (options.jobs == 1 or count == 1) and options.recycle is None:
        # With one shape or one job, everything runs in this process, because a worker process takes seconds to start.
        with managed_compilation(log.info):
            yield lambda row: _DeferredCall(function, row, options.timeout)
    else:
        with managed_compilation(log.info):
            pool = WorkerPool(
                function, min(options.jobs, count), options.timeout, options.recycle,
                notified=log.isEnabledFor(logging.INFO),
            )  # fmt: skip
            try:
                yield pool.submit
            except BaseException:
                pool.stop()
                raise
            pool.close()


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
            f"--cluster {address}: no Dask scheduler answers ({error}); start one with dask scheduler"
        ) from error
    with client:
        yield client


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
        rest = f"the other {good} {agreeing(good, 'is', 'are')} in {place}" if good else "nothing was written"
        raise GeometryError(
            f"{len(failed)} of {counted(count, 'shape')} failed, for the reasons above; {rest}"
        )
    log.info("wrote %s of %s to %s", what, counted(count, "shape"), place)
