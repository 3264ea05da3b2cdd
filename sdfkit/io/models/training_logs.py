"""Writes the loss, rate and learning rate of each training step to a table and to events for TensorBoard.

Nothing is written before the first save of the run: a log that is there belongs to a run that can be continued, or to
another run, whose log is not overwritten. When a run continues, what its log holds of later steps is dropped, and a
table gets rows for steps that it lacks, because the run was killed before they were written or had no table.
"""

import csv
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sdfkit.errors import InputError, MissingError
from sdfkit.io.outputs import refuse_input, replaced_file, require_folder
from sdfkit.options import Watch
from sdfkit.runtime.training_loop import StepRecord

# Seconds after which records are written.
BETWEEN_WRITES = 2.0
# Of a TensorBoard event, in the order of the fields of a record after its step.
TAGS = ("loss", "learning_rate", "steps_per_second")


class Log(Protocol):
    """Where records are written."""

    def begin(self, losses: Sequence[float]) -> None:
        """Continue after so many steps, whose losses are given, and drop what the log holds of later ones."""

    def write(self, records: list[StepRecord]) -> None:
        """Append records."""

    def close(self) -> None:
        """End the log."""


class TrainingLogs:
    """The logs of a run in one process: records wait in memory until they are written.

    Args:
        logs: The logs; empty to drop all records.
        losses: Losses of the steps that the run has taken before.
    """

    def __init__(self, logs: list[Log], losses: Sequence[float]) -> None:
        self._logs, self._losses = logs, losses
        self._records: list[StepRecord] = []
        self._written = time.monotonic()
        self.has_begun = False

    def record(self, record: StepRecord) -> None:
        """Take a record, and write it with others from time to time, once a state of the run has been saved."""
        if self._logs:
            self._records.append(record)
            if self.has_begun and time.monotonic() - self._written > BETWEEN_WRITES:
                self.write()

    def write(self) -> None:
        """Write all records."""
        if not self.has_begun:
            for log in self._logs:
                log.begin(self._losses)
            self.has_begun = True
        for log in self._logs:
            log.write(self._records)
        self._records = []
        self._written = time.monotonic()


@contextmanager
def open_logs(
    watch: Watch, losses: Sequence[float], *, overwrite: bool, is_first: bool
) -> Iterator[TrainingLogs]:
    """Open the logs that are asked for.

    Args:
        watch: Options with the paths of the logs.
        losses: Losses of the steps that the run has taken before.
        overwrite: Replace the logs of another run.
        is_first: This is the first of several processes, which writes the logs.

    Raises:
        InputError: A log is there, and belongs to another run, or is no log.
        MissingError: TensorBoard is not installed.
    """
    logs: list[Log] = []
    step = len(losses)
    if is_first and watch.log is not None:
        logs.append(_Table(watch.log, step, overwrite=overwrite))
    if is_first and watch.tensorboard is not None:
        logs.append(_Events(watch.tensorboard, step, overwrite=overwrite))
    opened = TrainingLogs(logs, tuple(losses))
    try:
        yield opened
    finally:
        if opened.has_begun:
            opened.write()
        for log in logs:
            log.close()


class _Table:
    """A table, as CSV."""

    def __init__(self, path: Path, step: int, *, overwrite: bool) -> None:
        self._path, self._stream, self._earlier = path, None, 0.0
        require_folder(path)
        refuse_input(path)
        if step and path.exists():
            self._read(step)  # so that another file is refused before the work begins
        elif path.exists() and not overwrite:
            raise InputError(
                f"{path}: exists, and is not of this run; choose another name or add --overwrite"
            )

    def _read(self, step: int) -> list[list[str]]:
        with self._path.open(encoding="utf-8", newline="") as stream:
            header, *rows = [*csv.reader(stream)] or [[]]
        # A killed run may have left part of a row at the end.
        whole = [row for row in rows if len(row) == len(StepRecord._fields)]
        if tuple(header) != StepRecord._fields or not all(row[0].isdecimal() for row in whole):
            raise InputError(f"{self._path}: is no log of a training; choose another name")
        return [row for row in whole if int(row[0]) <= step]

    def begin(self, losses: Sequence[float]) -> None:
        rows = self._read(len(losses)) if losses and self._path.exists() else []
        self._earlier = max((float(row[-1]) for row in rows if row[-1]), default=0.0)
        first = int(rows[-1][0]) if rows else 0
        rows += [
            [str(step), f"{losses[step - 1]:.6g}", "", "", ""] for step in range(first + 1, len(losses) + 1)
        ]
        with replaced_file(self._path) as stream:
            lines = [",".join(row) for row in [StepRecord._fields, *rows]]
            stream.write("".join(f"{line}\n" for line in lines).encode())

    def write(self, records: list[StepRecord]) -> None:
        lines = [
            f"{one.step},{one.loss:.6g},{one.learning_rate:.6g},{one.steps_per_second:.4g},"
            f"{self._earlier + one.seconds:.3f}\n"
            for one in records
        ]
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write("".join(lines))

    def close(self) -> None:
        pass


class _Events:
    """Events for TensorBoard."""

    def __init__(self, folder: Path, step: int, *, overwrite: bool) -> None:
        self._folder = folder
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingError(
                "--tensorboard: TensorBoard is not installed; pip install 'sdfkit[tensorboard]'"
            ) from error
        self._make: Any = SummaryWriter
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is no folder; choose another name")
        if not step and not overwrite and any(folder.glob("events.out.tfevents.*")):
            raise InputError(
                f"{folder}: holds events of another run; choose another folder or add --overwrite"
            )

    def begin(self, losses: Sequence[float]) -> None:
        # TensorBoard leaves out what earlier files of the folder hold of these steps.
        self._writer = self._make(str(self._folder), purge_step=len(losses) + 1)

    def write(self, records: list[StepRecord]) -> None:
        for record in records:
            for tag, value in zip(TAGS, record[1:], strict=False):
                self._writer.add_scalar(tag, value, record.step)
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
