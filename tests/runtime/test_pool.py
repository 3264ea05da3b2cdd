"""Rows that fail, hang or kill their process, and the order of the other rows."""

import io
import logging
import os
import re
import sys
import time
from dataclasses import dataclass, field
from unittest.mock import Mock

import pytest

from sdfkit.errors import GeometryError, MissingError
from sdfkit.rows import Row
from sdfkit.runtime.pool import PoolOptions, compute_rows, report_outcome
from tests.runtime.cluster.rows import fail

ROWS = [Row(index, f"obj_{index}") for index in range(6)]


@dataclass
class Table:
    """A writer that records its rows."""

    kept: tuple[int, ...] = ()
    failed: set[int] = field(default_factory=set)
    written: list[tuple[int, object]] = field(default_factory=list)

    def has(self, row):
        return row.index in self.kept

    def write(self, row, **values):
        if row.error:
            self.failed.add(row.index)
        self.written.append((row.index, row.error or values["square"]))


def square(row):
    if row.index == 0:
        time.sleep(0.2)  # the first row finishes last
    return {"square": row.index**2}


def at_home(row):
    return {"square": os.getpid()}


def warn(row):
    heard = io.StringIO()
    (handler,) = logging.getLogger().handlers
    handler.setStream(heard)
    logging.getLogger("sdfkit.geometry").info("unheard")
    logging.getLogger("sdfkit.geometry").warning("%s: thin", row.uid)
    return {"square": heard.getvalue()}


def troubled(row):
    fail(row)
    if row.index == 4:
        raise ZeroDivisionError("a bug")
    return {"square": row.index**2}


@pytest.mark.parametrize("jobs", [1, 2])
def test_rows_are_returned_in_order(jobs):
    table = Table()
    compute_rows(table, iter(ROWS), 6, square, PoolOptions(jobs, 60, None, False))
    assert table.written == [(index, index**2) for index in range(6)]


def test_warnings_of_workers_are_logged_by_the_command():
    table = Table()
    compute_rows(table, ROWS, 6, warn, PoolOptions(2, 60, None, False))
    assert table.written == [(row.index, f"sdfkit: {row.uid}: thin\n") for row in ROWS]


@pytest.mark.slow
def test_failing_hanging_and_dying_rows_are_marked(capsys):
    table = Table()
    compute_rows(table, ROWS, 6, troubled, PoolOptions(2, 20, None, False))
    texts = dict(table.written)
    assert list(texts) == [0, 1, 2, 3, 4, 5]
    assert texts[0] == 0
    assert texts[1] == "no surface"
    assert texts[2] == "took longer than 20 s; raise --timeout or simplify the shape"
    assert "its worker process died" in texts[3]
    assert texts[4] == "ZeroDivisionError: a bug"
    assert texts[5] == 25
    assert table.failed == {1, 2, 3, 4}
    assert "sdfkit: obj_1: no surface\n" in capsys.readouterr().err
    with pytest.raises(
        GeometryError, match="4 of 6 shapes failed, for the reasons above; the other 2 are in x.zarr"
    ):
        report_outcome("x.zarr", "squares", 6, table.failed)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]])
def test_workers_are_separate_processes_and_replaced_after_some_rows(rows):
    table = Table()
    compute_rows(table, rows, len(rows), at_home, PoolOptions(1, 60, None, False, recycle=4))
    homes = [home for _, home in table.written]
    assert os.getpid() not in homes
    assert len(set(homes[:4])) == 1
    assert set(homes[:4]).isdisjoint(homes[4:])


def test_existing_rows_are_not_computed_again():
    table = Table(kept=(1, 3))
    compute_rows(table, ROWS, 6, square, PoolOptions(1, 60, None, False))
    assert [index for index, _ in table.written] == [0, 2, 4, 5]


@pytest.mark.parametrize(("rows", "fail_fast"), [(ROWS, True), (ROWS[1:2], False)])
def test_fail_fast_or_a_single_failed_row_ends_the_command(rows, fail_fast):
    with pytest.raises(GeometryError, match="obj_1: no surface"):
        compute_rows(Table(), rows, len(rows), troubled, PoolOptions(1, 60, None, fail_fast))


@pytest.mark.parametrize(
    ("client", "message"),
    [
        (None, "dask is not installed; pip install 'sdfkit[cluster]'"),
        (OSError("timed out"), "no Dask scheduler answers (timed out); start one with dask scheduler"),
    ],
)
def test_a_cluster_without_dask_or_scheduler_is_refused(monkeypatch, client, message):
    if client is None:
        monkeypatch.setitem(sys.modules, "distributed", None)
    else:
        monkeypatch.setattr("distributed.Client", Mock(side_effect=client))
    with pytest.raises(MissingError, match=re.escape(f"--cluster tcp://127.0.0.1:1: {message}")):
        compute_rows(Table(), ROWS, 6, square, PoolOptions(1, 60, "tcp://127.0.0.1:1", False))
