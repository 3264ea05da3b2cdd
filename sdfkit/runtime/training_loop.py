"""Long training runs: saved every few minutes and when they are told to stop, and continued by the same command."""

import logging
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sdfkit.errors import SdfkitError, StoppedError
from sdfkit.options import STANDARD
from sdfkit.runtime.pool import progress

if TYPE_CHECKING:
    from sdfkit.training.run import DeviceContext

log = logging.getLogger(__name__)
MINUTES_BETWEEN_SAVES = 3.0


class Training(Protocol):
    """What a training object offers; see `sdfkit.training.run`."""

    steps_taken: int
    context: "DeviceContext"

    def step(self) -> float: ...

    def state(self) -> dict[str, np.ndarray]: ...

    def load_state(self, state: Mapping[str, np.ndarray]) -> None: ...


class Save(Protocol):
    """Writes a state and the losses that led to it; called in every process."""

    def __call__(self, state: dict[str, np.ndarray], losses: list[float], *, complete: bool) -> None: ...


def train(training: Training, steps: int, losses: list[float], save: Save, output: str) -> list[float]:
    """Take the steps that are left, and save: every few minutes, when told to stop, and at the end.

    What is not finite is never saved: the state that was saved before stays.

    Args:
        training: What is trained.
        steps: Steps in all.
        losses: Those of the steps taken; the new ones are added.
        save: Writes a checkpoint.
        output: Where to; a stream takes the end only.

    Raises:
        SdfkitError: A loss or a parameter is not finite.
    """
    kept = training.steps_taken
    try:
        for state in _states(training, steps, losses, output):
            _refuse_broken(state, training.steps_taken)
            save(state, losses, complete=training.steps_taken == steps)
            kept = training.steps_taken
    except StoppedError:
        raise
    except SdfkitError:
        if kept:
            log.warning(
                "%s: keeps step %d, from where the same command goes on; other settings begin anew with --overwrite",
                output, kept,
            )  # fmt: skip
        raise
    return losses


def _refuse_broken(state: Mapping[str, np.ndarray], step: int) -> None:
    for name, array in state.items():
        if not np.isfinite(array).all():
            raise SdfkitError(f"{name} is not finite after step {step}: lower the learning rate")


def _states(
    training: Training, steps: int, losses: list[float], output: str
) -> Iterator[dict[str, np.ndarray]]:
    """Take the steps that are left, with a bar that shows the mean loss of the last hundred; yield states to save."""
    began, first = time.monotonic(), training.steps_taken
    saved_at = began
    with _signals() as received, progress(steps, "step") as bar:
        bar.update(training.steps_taken)
        while training.steps_taken < steps:
            losses.append(training.step())
            bar.update()
            if training.steps_taken % 100 == 0:
                bar.set_postfix(loss=f"{np.mean(losses[-100:]):.5g}")
            # Every process has its part of the state, so that all of them save and stop at the same step.
            stopped = training.context.any(bool(received))
            due = training.context.any(time.monotonic() - saved_at > 60 * MINUTES_BETWEEN_SAVES)
            if training.steps_taken == steps:
                break
            if (due or stopped) and output != STANDARD:
                yield training.state()
                saved_at = time.monotonic()
            if stopped:
                goes_on = "; the same command goes on" * (output != STANDARD)
                raise StoppedError(
                    f"stopped after step {training.steps_taken}{goes_on}",
                    received[0] if received else signal.SIGTERM,
                )
    if first < steps:
        log.info("%.1f steps a second", (steps - first) / (time.monotonic() - began))
    yield training.state()


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM, to be obeyed between two steps: half a step cannot be continued."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt  # asked twice: now
        received.append(number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
