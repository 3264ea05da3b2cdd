"""Long training runs: saved every few minutes and when they are told to stop, and continued by the same command."""

import hashlib
import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import typer

from sdfkit.options import STANDARD
from sdfkit.parallel import progress
from sdfkit.store import open_store
from sdfkit.storewriter import find_unfinished

if TYPE_CHECKING:
    from sdfkit.training.run import Machine

log = logging.getLogger(__name__)
MINUTES_BETWEEN_SAVES = 3.0


class Training(Protocol):
    """What a training object offers; see `sdfkit.training.run`."""

    steps_taken: int
    machine: "Machine"

    def step(self) -> float: ...

    def state(self) -> dict[str, np.ndarray]: ...

    def load_state(self, state: Mapping[str, np.ndarray]) -> None: ...


def load_unfinished(
    training: Training,
    output: str,
    kind: str,
    settings: Mapping[str, Any],
    uids: Sequence[str],
    *,
    overwrite: bool,
) -> list[float]:
    """Continue from what an interrupted run of the same command has saved, if there is such a thing.

    Returns:
        The losses of the steps that were taken.

    Raises:
        InputError: The output exists and is something else.
    """
    if output == STANDARD or "://" in output:
        return []
    if not find_unfinished(Path(output.rstrip("/")), kind, settings, uids, overwrite=overwrite):
        return []
    with open_store(output, kind, manifest=None, partial=True) as store:
        training.load_state(store.read_group("state"))
        losses: list[float] = store.read("loss").tolist()
    log.info("%s: goes on after step %d", output, training.steps_taken)
    return losses


def train(
    training: Training, steps: int, losses: list[float], save: Callable[[list[float]], None] | None
) -> list[float]:
    """Take the steps that are left, with a bar that shows the mean loss of the last hundred.

    Args:
        training: What is trained.
        steps: Steps in all.
        losses: Those of the steps taken; the new ones are added.
        save: Writes a checkpoint, called in every process; None where the output is a stream.
    """
    saved_at = time.monotonic()
    with _signals() as received, progress(steps, "step") as bar:
        bar.update(training.steps_taken)
        while training.steps_taken < steps:
            losses.append(training.step())
            bar.update()
            if training.steps_taken % 100 == 0:
                bar.set_postfix(loss=f"{np.mean(losses[-100:]):.5g}")
            # Every process has its part of the state, so that all of them save and stop at the same step.
            stopped = training.machine.any(bool(received))
            due = training.machine.any(time.monotonic() - saved_at > 60 * MINUTES_BETWEEN_SAVES)
            if save is not None and (due or stopped):
                save(losses)
                saved_at = time.monotonic()
            if stopped:
                log.warning(
                    "stopped after step %d%s", training.steps_taken, "; the same command goes on" * bool(save)
                )
                raise typer.Exit(128 + (received[0] if received else signal.SIGTERM))
    return losses


def fingerprint(parameters: Mapping[str, np.ndarray]) -> str:
    """A SHA-256 of a network's named parameters, by which codes tell whose they are."""
    content = hashlib.sha256()
    for name in sorted(parameters):
        content.update(name.encode() + np.ascontiguousarray(parameters[name]).tobytes())
    return content.hexdigest()


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
