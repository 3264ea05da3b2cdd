"""Worker processes that compute one row at a time. Each has a pipe of its own, so that the death of one harms no other.

The package pebble was tried: its workers share a pipe and its lock, and one that is killed while it holds the lock
takes the whole pool with it.

Every worker ends when the command does, however that ends: it holds the reading end of a pipe whose writing end only
the command has, and it asks the system for a signal when the server from which it was forked dies.
"""

import contextlib
import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.context import ForkServerContext
from typing import Any

from sdfkit.errors import SdfkitError
from sdfkit.rows import DIED, PrintableFormatter
from sdfkit.runtime.compiling import serialise_compilation

log = logging.getLogger(__name__)
# A worker that takes longer to start, in seconds, is replaced, and after this number of them the pool gives up.
SLOWEST_START, MOST_STARTS = 300.0, 5
# How often a row is computed again whose worker was killed: the reason may have been another process.
MOST_DEATHS = 2
# Seconds that a worker has to end by itself.
FAREWELL = 5.0
PR_SET_PDEATHSIG = 1


class WorkerDiedError(SdfkitError):
    """A worker process died while it computed a row, or while it started."""


@dataclass(eq=False)
class _Task:
    row: Any
    future: "Future[Any]" = field(default_factory=Future)
    deaths: int = 0


@dataclass(eq=False)
class _Worker:
    process: Any
    pipe: Any
    deadline: float
    is_ready: bool = False
    task: _Task | None = None
    finished: int = 0


class WorkerPool:
    """Computes a function of rows in worker processes.

    A thread hands the rows to the workers, one at a time. A worker that exceeds the time limit, or that dies, is
    replaced; only the row that it held is affected.

    Args:
        function: The function; it must be picklable.
        workers: Number of processes.
        timeout: Time limit of a row in seconds.
        recycle: Number of rows after which a process is replaced; None to keep the processes.
        notified: Whether workers may report that they compile kernels.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        workers: int,
        timeout: float,
        recycle: int | None,
        *,
        notified: bool,
    ) -> None:
        # Workers are forked from a clean server process: forking a process with threads or compiled code may hang.
        self._context: ForkServerContext = get_context("forkserver")
        # The server imports once what otherwise each worker would, for about a CPU second.
        self._context.set_forkserver_preload(["__main__", "sdfkit.runtime.preload"])
        self._function = pickle.dumps(function)
        self._count, self._timeout, self._recycle = workers, timeout, recycle
        self._notified = self._context.Event() if notified else None
        self._waiting: deque[_Task] = deque()
        self._workers: list[_Worker] = []
        self._failed_starts = 0
        self._is_closing = self._is_stopping = False
        self._error: BaseException | None = None
        self._wake_reader, self._wake_writer = self._context.Pipe(duplex=False)
        self._lifeline, self._alive = self._context.Pipe(duplex=False)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="sdfkit-workers", daemon=True)
        self._thread.start()

    def submit(self, row: Any) -> "Future[Any]":
        """Return the future result of the function for a row."""
        task = _Task(row)
        with self._lock:
            if self._error is None:
                self._waiting.append(task)
            else:
                task.future.set_exception(self._error)
        self._wake()
        return task.future

    def close(self) -> None:
        """End the workers after their rows, and wait for them."""
        self._is_closing = True
        self._wake()
        self._thread.join()

    def stop(self) -> None:
        """Kill the workers. The rows that are not done fail."""
        self._is_stopping = True
        for worker in list(self._workers):
            worker.process.kill()
        self.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_writer.send_bytes(b"")

    def _run(self) -> None:
        try:
            while not self._is_done():
                self._assign()
                self._listen()
        except BaseException as error:  # noqa: BLE001  which the thread that waits for a row raises
            self._fail_all(error)
        finally:
            if self._is_stopping:
                self._fail_all(WorkerDiedError("its command has ended"))
            self._end_all()

    def _is_done(self) -> bool:
        busy = self._waiting or any(worker.task for worker in self._workers)
        return self._is_stopping or (self._is_closing and not busy)

    def _assign(self) -> None:
        """Start the workers that are needed, and give a row to each that is free."""
        with self._lock:
            busy = sum(worker.task is not None for worker in self._workers)
            wanted = min(self._count, busy + len(self._waiting))
        while len(self._workers) < wanted:
            self._workers.append(self._start())
        for worker in self._workers:
            with self._lock:
                if not worker.is_ready or worker.task is not None or not self._waiting:
                    continue
                worker.task = self._waiting.popleft()
            worker.deadline = time.monotonic() + self._timeout
            # If the worker has died, its sentinel says so.
            with contextlib.suppress(OSError):
                worker.pipe.send(worker.task.row)

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._lifeline, self._function, self._notified), daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(process, ours, time.monotonic() + SLOWEST_START)

    def _listen(self) -> None:
        """Wait until a worker answers, dies or exceeds its time, or a row is submitted."""
        limited = [worker for worker in self._workers if worker.task is not None or not worker.is_ready]
        limit = min((worker.deadline for worker in limited), default=float("inf")) - time.monotonic()
        pipes = {worker.pipe: worker for worker in self._workers}
        ends = {worker.process.sentinel: worker for worker in self._workers}
        heard = connection.wait(
            [self._wake_reader, *pipes, *ends], None if limit == float("inf") else max(0.0, limit)
        )
        if self._wake_reader in heard:
            self._wake_reader.recv_bytes()
        for source in heard:
            if source in pipes:
                self._receive(pipes[source])
        for source in heard:
            if source in ends and ends[source] in self._workers:
                self._bury(ends[source])
        now = time.monotonic()
        for worker in limited:
            if worker in self._workers and worker.deadline <= now:
                self._expire(worker)

    def _receive(self, worker: _Worker) -> None:
        try:
            is_error, answer = worker.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):  # it was killed, perhaps while it sent its answer
            self._bury(worker)
            return
        if not worker.is_ready:
            worker.is_ready, self._failed_starts = True, 0
            return
        task, worker.task = worker.task, None
        worker.finished += 1
        if task is not None:
            _settle(task, answer, is_error=is_error)
        if worker.finished == self._recycle:
            self._remove(worker)

    def _expire(self, worker: _Worker) -> None:
        task, worker.task = worker.task, None
        worker.process.kill()
        if task is None:
            self._bury(worker)
            return
        self._remove(worker)
        _settle(task, TimeoutError(), is_error=True)

    def _bury(self, worker: _Worker) -> None:
        """Replace a worker that died. Its row is tried again once; after that it counts as failed."""
        worker.process.join(FAREWELL)
        code = worker.process.exitcode
        reason = f"signal {-code}" if code is not None and code < 0 else f"status {code}"
        task, worker.task = worker.task, None
        self._remove(worker)
        if not worker.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= MOST_STARTS:
                raise WorkerDiedError(f"{DIED} while it started ({reason}); is there enough memory?")
        if task is None:
            return
        task.deaths += 1
        if task.deaths < MOST_DEATHS:
            with self._lock:
                self._waiting.appendleft(task)
        else:
            _settle(task, WorkerDiedError(f"{DIED} ({reason}); is there enough memory?"), is_error=True)

    def _remove(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.pipe.close()  # which ends the worker if it still runs

    def _fail_all(self, error: BaseException) -> None:
        with self._lock:
            self._error = error
            tasks = [*self._waiting, *(worker.task for worker in self._workers if worker.task is not None)]
            self._waiting.clear()
        for task in tasks:
            _settle(task, error, is_error=True)

    def _end_all(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
            if self._is_stopping:
                worker.process.kill()
        end = time.monotonic() + FAREWELL
        for worker in self._workers:
            worker.process.join(max(0.0, end - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()


def _settle(task: _Task, answer: Any, *, is_error: bool) -> None:
    with contextlib.suppress(InvalidStateError):
        if is_error:
            task.future.set_exception(answer)
        else:
            task.future.set_result(answer)


def _work(pipe: Any, lifeline: Any, function: bytes, notified: Any) -> None:
    """Compute the rows that arrive, until the pipe is closed."""
    die_with_parent(lifeline)
    initialise_worker(notified)
    compute = pickle.loads(function)
    with contextlib.suppress(EOFError, OSError):
        pipe.send((False, None))
        while True:
            row = pipe.recv()
            try:
                answer = False, compute(row)
            except Exception as error:  # noqa: BLE001  the one place that continues after any error of a shape
                answer = True, error
            _send(pipe, answer)


def _send(pipe: Any, answer: tuple[bool, Any]) -> None:
    try:
        content = pickle.dumps(answer)
        if answer[0]:
            pickle.loads(content)  # some errors can be pickled, but not unpickled
    except Exception as error:  # noqa: BLE001  pickling raises whatever an object's own methods raise
        text = str(answer[1]) if answer[0] else f"its result cannot be sent ({error})"
        content = pickle.dumps((True, RuntimeError(text)))
    pipe.send_bytes(content)


def die_with_parent(lifeline: Any) -> None:
    """End this process when the command ends, even while it computes."""
    with contextlib.suppress(AttributeError, OSError):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            lifeline.recv_bytes()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def initialise_worker(notified: Any) -> None:
    """Configure a worker process: one thread, warnings as the command prints them, and no reaction to Ctrl-C.

    Args:
        notified: Event that the workers share. It is set when the first of them reports that it compiles kernels, so
            that the others do not. None to report nothing.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.basicConfig(stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(PrintableFormatter("sdfkit: %(message)s"))

    def notify(text: str) -> None:
        if notified is not None and not notified.is_set():
            notified.set()
            sys.stderr.write(f"sdfkit: {text}\n")

    serialise_compilation(notify)
    limit_threads()


def limit_threads() -> None:
    """Make the libraries that this process imports from now on use one thread."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in a block that takes longer, and let SIGTERM end the process at once.

    A handler in Python, and so the limit, takes effect only when compiled code returns.
    """
    is_limited = 0 < seconds < float("inf") and hasattr(signal, "setitimer")
    if not is_limited or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(number: int, frame: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, expire)
    terminate = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.signal(signal.SIGTERM, terminate)
