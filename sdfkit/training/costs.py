"""Measures what a training takes: time, memory and bytes, in a few of its steps."""

import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sdfkit.errors import UsageError

if TYPE_CHECKING:
    import torch

    from sdfkit.training.run import Training

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
        cores: Number of cores that the steps kept busy.
        memory: Peak of the memory of this process until now, in bytes.
        gpu_memory: Peak of the GPU memory of this process, in bytes; None without a GPU.
        state: Bytes of the state of the training, which is saved with the model.
        shapes: Number of training shapes.
        shape_state: Bytes of the state for each shape, such as those of its code.
        shape_memory: Bytes in memory for each shape, which all shapes need at the same time.
    """

    parameters: int
    steps: Sequence[StepCost]
    cores: float
    memory: int
    gpu_memory: int | None
    state: int
    shapes: int
    shape_state: int
    shape_memory: int

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


class ShapeCost(NamedTuple):
    """What one shape takes in a stage.

    Attributes:
        seconds: Time.
        work: Time of all cores together.
        bytes: Bytes of the output.
    """

    seconds: float
    work: float
    bytes: float


class StageCost(NamedTuple):
    """What a stage takes.

    Attributes:
        name: Name of the command.
        shapes: The cost of each measured shape, or of one more shape; empty if it was not measured, or is a training.
        shared: Bytes of the output that do not depend on the number of shapes.
        files: Files of the output for each shape.
        shared_files: Files that do not depend on the number of shapes.
        memory: Peak of the memory, in bytes.
        training: For a training, what --dry-run --json reports.
        is_on_gpu: The stage computes on a GPU.
        problem: Why it was not measured; empty if it was.
        failed: The messages of the measured shapes that failed, which are not counted.
    """

    name: str
    shapes: Sequence[ShapeCost] = ()
    shared: float = 0.0
    files: float = 0.0
    shared_files: float = 0.0
    memory: int = 0
    training: dict[str, Any] | None = None
    is_on_gpu: bool = False
    problem: str = ""
    failed: Sequence[str] = ()


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
    wall, work = 0.0, 0.0
    for kind in kinds:
        _time_step(training, kind.steps[0])  # allocates and compiles, so it does not count
        times: list[float] = []
        began, busy = time.monotonic(), time.process_time()
        while len(times) < STEPS or time.monotonic() - began < SECONDS / len(kinds):
            times.append(_time_step(training, kind.steps[(len(times) + 1) % len(kind.steps)]))
        wall, work = wall + time.monotonic() - began, work + time.process_time() - busy
        measured.append(StepCost(kind.name, kind.number, times))
    state = training.state()
    parameters = sum(tensor.numel() for tensor in training.parameters.values())
    shapes = len(training.uids)
    return TrainingCost(
        parameters, measured, work / wall, peak_memory(), _peak_gpu_memory(context.device),
        sum(array.nbytes for array in state.values()), shapes, _count_bytes(state, shapes) // shapes,
        _count_bytes(vars(training), shapes) // shapes,
    )  # fmt: skip


def _count_bytes(values: Any, shapes: int) -> int:
    """Return the bytes of all tensors and arrays that have a row per shape."""
    if isinstance(values, Mapping):
        values = tuple(values.values())
    if isinstance(values, tuple | list):
        return sum(_count_bytes(value, shapes) for value in values)
    has_rows = (
        hasattr(values, "nbytes") and len(getattr(values, "shape", ())) > 1 and values.shape[0] == shapes
    )
    return int(values.nbytes) if has_rows else 0


def _time_step(training: "Training", number: int) -> float:
    training.steps_taken = number
    began = time.perf_counter()
    training.step()  # returns a number of the CPU, so a GPU has ended its work too
    return time.perf_counter() - began


def peak_memory() -> int:
    """Return the peak of the memory of this process, until now or since `reset_peak_memory`, in bytes."""
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _peak_gpu_memory(device: "torch.device") -> int | None:
    import torch

    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def reset_peak_memory() -> None:
    """Let the peak of `peak_memory` begin anew, on Linux; elsewhere the peak is that of the whole process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
