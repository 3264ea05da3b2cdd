"""Functions of rows that the workers of a test compute, and writers of their results."""

import os
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sdfkit.errors import GeometryError
from sdfkit.runtime.pool import RemoteWriter


def fail(row):
    """Fail in the rows 1, 2 and 3: by an error, by taking too long, and by ending the process."""
    if row.index == 1:
        raise GeometryError("no surface")
    if row.index == 2:
        time.sleep(600)
    if row.index == 3:
        os._exit(9)


def fail_or_square(row, *, folder):
    """Fail in one of several ways, or return the square of the index."""
    (folder / f"{row.index}.{os.getpid()}").touch()
    fail(row)
    return {"square": row.index**2, "large": f"{row.index}"}


def hold_on_one_worker(row, *, folder):
    """Wait in the first row that the worker a computes, until that is killed."""
    with (folder / "computed").open("a") as file:
        file.write(f"{row.index}\n")
    if os.environ["SDFKIT_TEST_WORKER"] == "a" and not (folder / "held").exists():
        (folder / "held").write_text(str(row.index))
        time.sleep(600)
    return {"square": row.index**2}


def accept():
    """Accept every machine."""


def put(row, *, folder, large, **others):
    """Write a large value as a file, and leave the others."""
    (folder / f"large_{row.index}").write_text(large)
    return others


@dataclass
class Table:
    """A writer that records its rows, and whose rows workers can write to a folder if it has one."""

    folder: Path | None = None
    failed: set[int] = field(default_factory=set)
    written: dict[int, object] = field(default_factory=dict)

    def has(self, row):
        return False

    def write(self, row, **values):
        if row.error:
            self.failed.add(row.index)
        self.written[row.index] = row.error or values["square"]

    def remote(self):
        return None if self.folder is None else RemoteWriter(accept, partial(put, folder=self.folder))

    def record(self, row, **values):
        assert "large" not in values
        self.write(row, **values)
