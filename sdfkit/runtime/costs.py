"""Measures what a training takes: time, memory and bytes, in a few of its steps."""

import math
import statistics
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sdfkit.errors import UsageError

if TYPE_CHECKING:
    import torch

    from sdfkit.runtime.training_loop import Training

# Measured steps of each kind: at least so many, and more until all kinds together have taken so many seconds.
STEPS, SECONDS = 3, 3.0


class StepCost(NamedTuple):
    """The time of the steps of one kind.

    Attributes:
        name: Name of the kind; see `training.run.StepKind`.
        number: How many of them the run has.
        seconds: The time that each measured step took.
    """

    name: str
    number: int
    seconds: Sequence[float]


class TrainingCost(NamedTuple):
    """What a training takes.

    Attributes:
        parameters: Number of trained parameters.
        steps: Time of the steps, by kind.
        memory: Peak of the memory of this process until now, in bytes.
        gpu_memory: Peak of the GPU memory of this process, in bytes; None without a GPU.
        state: Bytes of the state of the training, which is saved with the model.
    """

    parameters: int
    steps: Sequence[StepCost]
    memory: int
    gpu_memory: int | None
    state: int

    @property
    def seconds(self) -> float:
        """Estimated time of all steps."""
        return sum(kind.number * statistics.mean(kind.seconds) for kind in self.steps)

    @property
    def error(self) -> float:
        """Standard error of `seconds`, from the spread of the measured steps."""
        return math.hypot(
            *(
                kind.number * statistics.stdev(kind.seconds) / math.sqrt(len(kind.seconds))
                for kind in self.steps
            )
        )


def measure_training(training: "Training") -> TrainingCost:
    """Take steps of each kind and measure them. Afterwards, the training is of no other use.

    Args:
        training: A training that has taken no step.

    Raises:
        UsageError: The training runs in several processes.
    """
    context = training.context
    if context.processes > 1:
        raise UsageError("--dry-run measures one process; start it without torchrun")
    kinds = training.step_kinds()
    measured = []
    for kind in kinds:
        _time_step(training, kind.steps[0])  # allocates and compiles, so it does not count
        times: list[float] = []
        began = time.monotonic()
        while len(times) < STEPS or time.monotonic() - began < SECONDS / len(kinds):
            times.append(_time_step(training, kind.steps[(len(times) + 1) % len(kind.steps)]))
        measured.append(StepCost(kind.name, kind.number, times))
    state = sum(array.nbytes for array in training.state().values())
    parameters = sum(tensor.numel() for tensor in training.parameters.values())
    return TrainingCost(parameters, measured, peak_memory(), _peak_gpu_memory(context.device), state)


def _time_step(training: "Training", number: int) -> float:
    training.steps_taken = number
    began = time.perf_counter()
    training.step()  # returns a number of the CPU, so a GPU has ended its work too
    return time.perf_counter() - began


def peak_memory() -> int:
    """Return the peak of the memory of this process until now, in bytes."""
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _peak_gpu_memory(device: "torch.device") -> int | None:
    import torch

    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
