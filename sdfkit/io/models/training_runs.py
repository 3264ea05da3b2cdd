"""Runs a training from the state of an interrupted run, if there is one, to the finished model store.

The state is saved as a model store that is not complete. It is whole at every moment: a new one is written beside the
old one, and then takes its place. At URLs, where nothing can be renamed, two states take turns, `.x.zarr.state-0` and
`.x.zarr.state-1`, until the finished model is written.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from sdfkit.errors import InputError
from sdfkit.io.models.training_logs import open_logs
from sdfkit.io.models.training_state import read_state
from sdfkit.io.models.writer import ModelContents, ModelOutput, save_model, save_model_at
from sdfkit.io.outputs import claim, is_stream, put, refuse_existing
from sdfkit.io.reuse import Place, choose_place, complete_settings, describe_refusal, refuse_done
from sdfkit.io.stores.archives.zip_stream import digest_of_pipe
from sdfkit.io.stores.layout import check_url, local_path
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.remote import beside_url, find_remote, remove_remote
from sdfkit.io.stores.writer import check_name
from sdfkit.options import STANDARD, Watch
from sdfkit.runtime.training_loop import train

if TYPE_CHECKING:
    from sdfkit.training.run import DeviceContext, Training

log = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """What is saved of a training run.

    Attributes:
        contents: Codes and networks, for the commands that read the finished model.
        losses: The loss of each step.
        state: The state from which an interrupted run continues.
        complete: Training is complete, so this is the finished model.
    """

    contents: ModelContents
    losses: Sequence[float]
    state: Mapping[str, np.ndarray]
    complete: bool


class Saved(Protocol):
    """Where the states of a training run are saved."""

    def load(self, training: "Training") -> list[float]:
        """Load the state of an interrupted run, and return the losses of its steps; empty if there is none."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a state, or the finished model."""


def run_training(
    training: "Training",
    steps: int,
    target: ModelOutput,
    describe: Callable[[bool], ModelContents],
    watch: Watch = Watch(),
    plot: Callable[[Sequence[float]], None] = lambda _: None,
) -> list[float]:
    """Train to the end and write the model, with checkpoints every few minutes and when a signal stops the run.

    The plot and the logs are whole before the model is: a run that is killed before continues from its last state, and
    one whose model is there has nothing left to do.

    Args:
        training: The training object. If an interrupted run of the same command has saved a state, it is loaded first.
            So is the state of a run of fewer steps whose other settings are equal; that run's model stays until the
            longer run is complete.
        steps: Total number of steps, including those of an interrupted run.
        target: The store to write.
        describe: Returns the contents of the store, given whether training is complete. It is called in every process.
        watch: Options with the paths of the plot and of logs; see `training_logs`.
        plot: Plots the loss of each step to `watch.curve`. It is called in the first process.

    Returns:
        The loss of each step, including the steps of interrupted runs.

    Raises:
        DoneError: The model is already there, trained by the same command on the same inputs.
        InputError: The output exists and is not an interrupted run of this command, or another process writes it; or
            the run is a new one, and its plot or a log is there.
        SdfkitError: A loss or parameter is not finite.
        StoppedError: A signal stopped the run after the state was saved.
    """
    # Trainings that count steps record epochs as the number of steps.
    unused = () if "epochs" in target.settings else ("epochs",)
    own = complete_settings(target.settings, by_row=False, stream=digest_of_pipe, unused=unused)
    target = target._replace(settings=own)
    is_first = training.context.process == 0
    with _open_saved(target, training.context) as saved:
        losses = saved.load(training)
        if watch.curve is not None and not losses:
            refuse_existing(watch.curve, target.overwrite)
        with open_logs(watch, losses, overwrite=target.overwrite, is_first=is_first) as logs:
            if losses or isinstance(saved, _Stream):
                logs.write()  # a state is saved already, or none will ever be

            def save(
                state: Mapping[str, np.ndarray], losses: list[float], *, complete: bool, rate: float
            ) -> None:
                if not complete or watch.curve or watch.log or watch.tensorboard:
                    contents = describe(False)
                    progress = {**contents.attributes, "progress": _progress(steps, rate)}
                    if is_first:
                        saved.save(
                            Checkpoint(contents._replace(attributes=progress), losses, state, complete=False)
                        )
                        logs.write()
                if complete:
                    contents = describe(True)
                    if is_first:
                        plot(losses)
                        saved.save(Checkpoint(contents, losses, state, complete=True))

            return train(training, steps, losses, save, target.path, logs.record)


def _progress(steps: int, rate: float) -> dict[str, Any]:
    """Return what a checkpoint records about its run, for those who watch it."""
    saved = datetime.now(UTC).isoformat(timespec="seconds")
    return {"steps": steps, "steps_per_second": float(f"{rate:.4g}"), "saved": saved}


@contextmanager
def _open_saved(target: ModelOutput, context: "DeviceContext") -> Iterator[Saved]:
    path = local_path(target.path)
    if target.path == STANDARD or (path is not None and is_stream(path)):
        yield _Stream(target)
    elif path is None:
        yield _Remote(target, context)
    else:
        check_name(path)
        with context.in_first(claim(path)):
            yield _Local(target, path, context)


def _read_state(path: str, kind: str, training: "Training") -> list[float]:
    with open_store(path, kind, manifest=None, partial=True) as store:
        training.load_state(read_state(store))
        losses: list[float] = store.read("loss").tolist()
    return losses


def _continue(path: str, kind: str, training: "Training") -> list[float]:
    losses = _read_state(path, kind, training)
    log.info("%s: continuing the interrupted run after step %d", path, training.steps_taken)
    return losses


def _train_on(path: str, kind: str, training: "Training") -> list[float]:
    losses = _read_state(path, kind, training)
    log.warning(
        "%s: training on after its %d steps; the learning rate, which had fallen to 0, is again that of the longer run "
        "at this step, so the result is not that of one run of this length, for which add --overwrite",
        path, training.steps_taken,
    )  # fmt: skip
    return losses


class _Stream:
    """Standard output: only the finished model is written."""

    def __init__(self, target: ModelOutput) -> None:
        self._target = target

    def load(self, training: "Training") -> list[float]:
        return []

    def save(self, checkpoint: Checkpoint) -> None:
        if checkpoint.complete:
            save_model(self._target, checkpoint.contents, checkpoint.losses, checkpoint.state)


class _Local:
    """A folder or a zip file. Of several processes, the first one chooses what to continue, and writes."""

    def __init__(self, target: ModelOutput, path: Path, context: "DeviceContext") -> None:
        self._target, self._path = target, path
        self._place, self._earlier, self._shorter = context.from_first(self._choose)

    def _choose(self) -> Place:
        target, path = self._target, self._path
        place = choose_place(
            path, target.kind, target.settings, [row.uid for row in target.rows], overwrite=target.overwrite,
            takes_over="steps" if target.may_grow else "nothing",
        )  # fmt: skip
        if place.earlier is not None and place.earlier.is_complete and place.path == path:
            refuse_done(path, target.settings)
        return place

    def load(self, training: "Training") -> list[float]:
        if self._earlier is not None:
            return _continue(str(self._place), self._target.kind, training)
        return [] if self._shorter is None else _train_on(str(self._shorter), self._target.kind, training)

    def save(self, checkpoint: Checkpoint) -> None:
        save_model_at(
            self._place, self._target, checkpoint.contents, checkpoint.losses, checkpoint.state,
            complete=checkpoint.complete,
        )  # fmt: skip
        if checkpoint.complete and self._place != self._path:
            put(self._place, self._path)


class _Remote:
    """A URL. Of several processes, the first one chooses what to continue, and writes."""

    def __init__(self, target: ModelOutput, context: "DeviceContext") -> None:
        self._target = target
        self._slots = [beside_url(target.path, f"state-{number}") for number in (0, 1)]
        self._grows, self._latest = context.from_first(self._choose)
        self._next = 0 if self._latest is None else 1 - self._slots.index(self._latest)

    def _choose(self) -> tuple[bool, str | None]:
        """Return whether to continue a complete model of fewer steps, and the latest state of an interrupted run."""
        target = self._target
        check_url(target.path, target.kind)
        earlier = find_remote(target.path, target.kind, target.settings)
        grows = False
        if earlier is not None and not target.overwrite:
            if earlier.is_complete and not earlier.difference:
                refuse_done(target.path, target.settings)
            grows = target.may_grow and earlier.is_complete and earlier.is_shorter
            if earlier.difference and not grows:
                raise InputError(describe_refusal(target.path, earlier))
        found = []
        for slot in self._slots:
            with suppress(InputError):
                saved = find_remote(slot, self._target.kind, self._target.settings)
                if saved is not None and saved.is_complete and not saved.difference:
                    with open_store(slot, self._target.kind, manifest=None) as store:
                        found.append((len(store.read("loss")), slot))
        return grows, max(found)[1] if found else None

    def load(self, training: "Training") -> list[float]:
        if self._latest is not None:
            return _continue(self._latest, self._target.kind, training)
        return _train_on(self._target.path, self._target.kind, training) if self._grows else []

    def save(self, checkpoint: Checkpoint) -> None:
        contents, losses, state, complete = checkpoint
        if complete:
            save_model(self._target._replace(overwrite=True), contents, losses, state)
            for slot in self._slots:
                remove_remote(slot)
            return
        slot = self._slots[self._next]
        remove_remote(slot)
        # The attribute `complete` of a state says that all of it is written.
        save_model(self._target._replace(path=slot, overwrite=True), contents, losses, state)
        self._next = 1 - self._next


def log_written(target: ModelOutput, what: str) -> None:
    """Log what was written, and where."""
    place = "standard output" if target.path == STANDARD else target.path
    log.info("wrote %s to %s", what, place)
