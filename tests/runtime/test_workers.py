"""Worker processes that die, hang and raise what cannot be sent: only the row that they hold is affected."""

import os
import signal
import time
from dataclasses import dataclass

import pytest

from sdfkit.rows import Row, is_machine_failure
from sdfkit.runtime.pool import describe_failure
from sdfkit.runtime.workers import WorkerDiedError, WorkerPool, time_limit

ROWS = [Row(index, f"obj_{index}") for index in range(5)]


def once(flag):
    """Return whether this is the first call for a flag, in any process."""
    try:
        os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


@dataclass
class Killed:
    """Kills its process at a chosen row: the first time, or always."""

    flag: str
    always: bool = False

    def __call__(self, row):
        if row.index == 2 and (self.always or once(self.flag)):
            os.kill(os.getpid(), signal.SIGKILL)
        return row.index**2


def load(flag, always):
    if always or once(flag):
        os.kill(os.getpid(), signal.SIGKILL)
    return square


@dataclass
class KilledAtStart:
    """Kills the process in which it is unpickled."""

    flag: str
    always: bool = False

    def __reduce__(self):
        return load, (self.flag, self.always)


def square(row):
    return row.index**2


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def troubled(row):
    if row.index == 1:
        raise Unpicklable("hard", "words")
    if row.index == 2:
        return lambda: None
    if row.index == 3:
        time.sleep(600)
    return row.index**2


def compute(function, timeout=60.0):
    """Return the result or the error of every row."""
    pool = WorkerPool(function, 2, timeout, None, notified=False)
    futures = [pool.submit(row) for row in ROWS]
    found = [future.exception() or future.result() for future in futures]
    pool.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Killed, KilledAtStart])
def test_rows_of_a_worker_that_is_killed_once_are_computed(tmp_path, kind):
    assert compute(kind(str(tmp_path / "flag"))) == [0, 1, 4, 9, 16]


@pytest.mark.slow
def test_only_the_row_that_kills_its_workers_fails(tmp_path):
    found = compute(Killed(str(tmp_path / "flag"), always=True))
    assert found[:2] + found[3:] == [0, 1, 9, 16]
    assert isinstance(found[2], WorkerDiedError)
    text = describe_failure(found[2], 60)
    assert text == "its worker process died (signal 9); is there enough memory?"
    assert is_machine_failure(text)


@pytest.mark.slow
def test_workers_that_never_start_fail_all_rows_and_those_that_come_later(tmp_path):
    pool = WorkerPool(KilledAtStart("", always=True), 2, 60, None, notified=False)
    first = pool.submit(ROWS[0]).exception()
    assert str(first) == "its worker process died while it started (signal 9); is there enough memory?"
    assert pool.submit(ROWS[1]).exception() is first
    pool.close()


@pytest.mark.slow
def test_errors_and_results_that_cannot_be_sent_and_rows_that_hang():
    found = compute(troubled, timeout=5)
    assert (found[0], found[4]) == (0, 16)
    assert str(found[1]) == "hard words"
    assert "its result cannot be sent" in str(found[2])
    assert describe_failure(found[3], 5) == "took longer than 5 s; raise --timeout or simplify the shape"


def test_a_row_in_this_process_has_a_time_limit_too():
    with pytest.raises(TimeoutError), time_limit(0.05):
        time.sleep(60)
    with time_limit(0), time_limit(float("inf")):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
