"""Runs a training from the state of an interrupted run, if there is one, to the finished model store."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from sdfkit.io.models import ModelContents, ModelOutput, save_model
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.resume import find_unfinished
from sdfkit.options import STANDARD
from sdfkit.runtime.training_loop import Training, train

log = logging.getLogger(__name__)


def run_training(
    training: Training, steps: int, target: ModelOutput, describe: Callable[[bool], ModelContents]
) -> list[float]:
    """Train to the end and write the model, with checkpoints every few minutes and when a signal stops the run.

    Args:
        training: The training object. If an interrupted run of the same command has saved a state, it is loaded first.
        steps: Total number of steps, including those of an interrupted run.
        target: The store to write.
        describe: Returns the contents of the store, given whether training is complete. It is called in every process.

    Returns:
        The loss of each step, including the steps of interrupted runs.

    Raises:
        InputError: The output exists and is not an interrupted run of this command.
        SdfkitError: A loss or parameter is not finite.
        StoppedError: A signal stopped the run after the state was saved.
    """

    def save(state: Mapping[str, np.ndarray], losses: list[float], *, complete: bool) -> None:
        contents = describe(complete)
        if training.context.process == 0:
            save_model(target, contents, losses, state, complete=complete)

    return train(training, steps, load_unfinished(training, target), save, target.path)


def load_unfinished(training: Training, target: ModelOutput) -> list[float]:
    """Load the state that an interrupted run of the same command has saved, if there is one.

    Returns:
        The losses of the steps that the interrupted run has taken; empty if there is none.

    Raises:
        InputError: The output exists and is not an interrupted run of this command.
    """
    path = target.path
    if path == STANDARD or "://" in path:
        return []
    uids = [row.uid for row in target.rows]
    if not find_unfinished(
        Path(path.rstrip("/")), target.kind, target.settings, uids, overwrite=target.overwrite
    ):
        return []
    with open_store(path, target.kind, manifest=None, partial=True) as store:
        training.load_state(store.read_group("state"))
        losses: list[float] = store.read("loss").tolist()
    log.info("%s: continuing the interrupted run after step %d", path, training.steps_taken)
    return losses


def log_written(target: ModelOutput, what: str) -> None:
    """Log what was written, and where."""
    place = "standard output" if target.path == STANDARD else target.path
    log.info("wrote %s to %s", what, place)
