"""Runs trainings that save their state regularly and when a signal stops them, so that they can be continued later."""

import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from sdfkit.errors import OtherProcessError, SdfkitError, StoppedError, UsageError
from sdfkit.options import STANDARD
from sdfkit.runtime.progress import progress

if TYPE_CHECKING:
    from sdfkit.training.run import DeviceContext, Training

log = logging.getLogger(__name__)
# The first save comes early, so that the run can be looked at, and a wrong one is noticed.
SECONDS_TO_FIRST_SAVE, MINUTES_BETWEEN_SAVES = 15.0, 3.0
SECONDS_TO_FIRST_LINE = 5.0
# The loss that is shown is the mean of so many steps.
SHOWN_LOSSES = 100


class Save(Protocol):
    """A function that writes a state and the losses of all steps up to that state. It is called in every process."""

    def __call__(
        self, state: dict[str, np.ndarray], losses: list[float], *, complete: bool, rate: float
    ) -> None: ...


class StepRecord(NamedTuple):
    """What a log holds of a step; its fields are the columns of the table that --log writes.

    Attributes:
        step: Number of steps taken, with this one.
        loss: Loss of the step.
        learning_rate: See `Training.lr`.
        steps_per_second: Rate in the last minute.
        seconds: Time since training began; of a run that was continued, without the time between its parts.
    """

    step: int
    loss: float
    learning_rate: float
    steps_per_second: float
    seconds: float


def open_training_context(device: str, precision: str, paths: Sequence[str | None]) -> "DeviceContext":
    """Choose the device and the precision of a training run.

    Args:
        device: `auto`, `cpu` or `gpu`.
        precision: `auto`, `fp32` or `bf16`.
        paths: Paths of the inputs and of the output of the run.

    Raises:
        MissingError: A GPU is requested, but there is none.
        UsageError: There are several processes, and one of the paths is a pipe.
    """
    from sdfkit.runtime.device import choose_device, choose_precision
    from sdfkit.training.run import open_device_context

    chosen = choose_device(device)
    context = open_device_context(chosen, choose_precision(precision, chosen))
    if context.processes > 1 and STANDARD in paths:
        raise UsageError("several processes cannot share a pipe; give paths of stores for input and output")
    return context


def train(
    training: "Training",
    steps: int,
    losses: list[float],
    save: Save,
    output: str,
    record: Callable[[StepRecord], None] = lambda _: None,
) -> list[float]:
    """Take the remaining steps, and save the state: every few minutes, when a signal stops the run, and at the end.

    A state with NaN or infinity is not saved, so the last finite state remains in the store.

    Args:
        training: The training object.
        steps: Total number of steps.
        losses: Losses of the steps that an earlier run has taken. Those of the new steps are appended.
        save: Writes the state.
        output: Path of the output. If it is a stream, the state is written only at the end.
        record: Called after each step.

    Returns:
        The losses of all steps.

    Raises:
        SdfkitError: A loss or parameter is not finite.
        OtherProcessError: Another process of the run has ended.
        StoppedError: A signal stopped the run after the state was saved.
    """
    kept = training.steps_taken
    try:
        for state, rate in _states(training, steps, losses, output, record):
            _check_finite(state, training.steps_taken)
            save(state, losses, complete=training.steps_taken == steps, rate=rate)
            kept = training.steps_taken
    except StoppedError:
        raise
    except OtherProcessError as error:
        remedy = "the same command continues from its last saved state" if kept else "no state was saved yet"
        raise OtherProcessError(f"{output}: {error}; {remedy}") from error
    except SdfkitError:
        if kept:
            log.warning(
                "%s: still holds the state after step %d; the same command continues from there, and --overwrite "
                "starts again with other settings",
                output, kept,
            )  # fmt: skip
        raise
    return losses


def _check_finite(state: Mapping[str, np.ndarray], step: int) -> None:
    for name, array in state.items():
        if not np.isfinite(array).all():
            raise SdfkitError(
                f"{name} has numbers that are not finite after step {step}; lower the learning rate"
            )


def _states(
    training: "Training", steps: int, losses: list[float], output: str, record: Callable[[StepRecord], None]
) -> Iterator[tuple[dict[str, np.ndarray], float]]:
    """Take the remaining steps and yield each state that is to be saved, with the steps per second."""
    began, first = time.monotonic(), training.steps_taken
    saved_at, between = began, min(SECONDS_TO_FIRST_SAVE, 60 * MINUTES_BETWEEN_SAVES)

    def describe() -> dict[str, float | str]:
        return {"loss": float(np.mean(losses[-SHOWN_LOSSES:])), **training.facts()}

    with (
        _signals() as received,
        progress(steps, "step", done=first, first_line=SECONDS_TO_FIRST_LINE) as shown,
    ):
        while training.steps_taken < steps:
            losses.append(training.step())
            shown.update(describe=describe)
            seconds = time.monotonic() - began
            record(StepRecord(training.steps_taken, losses[-1], training.lr, shown.rate, seconds))
            # The state is distributed over all processes, so all of them must save and stop at the same step.
            stopped = training.context.any(bool(received))
            due = training.context.any(time.monotonic() - saved_at > between)
            if training.steps_taken == steps:
                break
            if (due or stopped) and output != STANDARD:
                yield training.state(), shown.rate
                saved_at, between = time.monotonic(), 60 * MINUTES_BETWEEN_SAVES
            if stopped:
                remedy = "; run the same command again to continue" * (output != STANDARD)
                raise StoppedError(
                    f"stopped after step {training.steps_taken}{remedy}",
                    received[0] if received else signal.SIGTERM,
                )
    if first < steps:
        log.info("%.1f training steps a second", (steps - first) / (time.monotonic() - began))
    yield training.state(), shown.rate


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM, which take effect between two steps: a step in progress cannot be saved."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt  # a second signal stops at once
        received.append(number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
