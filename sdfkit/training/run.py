"""Parts that all training runs share: the device context, the EMA, and a state made of plain arrays.

The program that runs a training needs only these methods of a training object to save it:

* `step()` takes one step and returns its loss.
* `state()` returns the state from which training can be resumed, as a flat dictionary of arrays: parameters and codes,
  the optimizer's moments, the EMA, the generator and the number of steps taken. Keys are paths, such as
  `parameters/decoder.out.weight`. No value needs pickle.
* `load_state()` restores such a dictionary. On a CPU, and with the same number of threads, the losses that follow are
  bit for bit equal to those of a run without interruption.

Threads: OpenMP threads spin while they wait, which made a step five times slower when other processes were busy. The
program must therefore set `OMP_WAIT_POLICY=PASSIVE` before torch is first imported; this module cannot do so, because
it imports torch itself.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sdfkit.errors import DoneError, InputError, OtherProcessError, SdfkitError, first_line

S = TypeVar("S")
T = TypeVar("T")
State = dict[str, np.ndarray]


@dataclass(frozen=True)
class DeviceContext:
    """The device, the precision and the processes of a training run.

    Attributes:
        accelerator: Device, and the other processes of a distributed run.
        precision: "bf16" multiplies matrices in bfloat16. Parameters and losses are float32 in either case.
    """

    accelerator: Accelerator
    precision: Literal["fp32", "bf16"]

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def processes(self) -> int:
        """Number of processes."""
        return int(self.accelerator.num_processes)

    @property
    def process(self) -> int:
        """Index of this process. Process 0 writes the output and logs."""
        return int(self.accelerator.process_index)

    @property
    def own(self) -> slice:
        """The shapes, or the rows of a batch, that belong to this process: k, k + n, ... for process k of n."""
        return slice(self.process, None, self.processes)

    def any(self, happened: bool) -> bool:
        """Return whether the condition is true in any process; every process must call this."""
        return bool(self.total(torch.tensor(float(happened), device=self.device)).item())

    def total(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes.

        Raises:
            OtherProcessError: Another process has ended, here and in the methods below.
        """
        if self.processes == 1:
            return tensor
        with _connected():
            summed: Tensor = self.accelerator.reduce(tensor, reduction="sum")
        return summed

    def whole(self, part: Tensor, count: int) -> Tensor:
        """Gather all `count` rows, given the rows `own` of each process."""
        if self.processes == 1:
            return part
        rows = torch.zeros(count, *part.shape[1:], dtype=part.dtype, device=part.device)
        rows[self.own] = part
        return self.total(rows)

    def total_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum gradients over all processes, in place, in a single reduction.

        A process that has no row of a batch has no gradients. A parameter without a gradient in all processes remains
        without.
        """
        if self.processes > 1:
            gradients = [
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                for parameter in parameters
            ]
            known = [float(parameter.grad is not None) for parameter in parameters]
            flat = [gradient.flatten() for gradient in gradients]
            *parts, known_by = torch.split(
                self.total(torch.cat([*flat, flat[0].new_tensor(known)])), [*map(len, flat), len(known)]
            )
            for parameter, gradient, part, count in zip(
                parameters, gradients, parts, known_by.tolist(), strict=True
            ):
                if count:
                    parameter.grad = gradient.copy_(part.view_as(gradient))

    def from_first(self, compute: Callable[[], T]) -> T:
        """Call a function in process 0 only, and return what it returns, or raise what it raises, in every process."""
        if self.processes == 1:
            return compute()
        outcome: list[Any] = [None, None]
        if self.process == 0:
            try:
                outcome[0] = compute()
            except (SdfkitError, DoneError, OSError) as error:
                outcome[1] = error
        with _connected():
            torch.distributed.broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        result: T = outcome[0]
        return result

    @contextmanager
    def in_first(self, block: AbstractContextManager[T]) -> Iterator[T | None]:
        """Enter a context manager in process 0; None in the others. What entering raises is raised in every process."""
        with ExitStack() as stack:
            entered: list[T] = []
            self.from_first(lambda: entered.append(stack.enter_context(block)))
            yield entered[0] if entered else None

    def gather(self, part: T) -> list[T]:
        """Return the parts of all processes in process 0, and an empty list in the others."""
        if self.processes == 1:
            return [part]
        parts: list[Any] | None = [None] * self.processes if self.process == 0 else None
        with _connected():
            torch.distributed.gather_object(part, parts)
        return parts or []

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context manager in which matrix products have the precision of this run."""
        # Not Accelerator.autocast: accelerate keeps one precision for the lifetime of the process.
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


@contextmanager
def _connected() -> Iterator[None]:
    """Turn the error that torch raises when it has lost another process into one line."""
    try:
        yield
    except RuntimeError as error:
        # Without the place in torch's source, and without advice on bugs.
        reason = re.sub(r"^\[[^]]*\] ", "", first_line(error)).partition(". ")[0].rstrip(".")
        raise OtherProcessError(f"another process of this run has ended ({reason})") from error


def open_device_context(device: str, precision: Literal["fp32", "bf16"]) -> DeviceContext:
    """Create the context of a training run.

    Args:
        device: Name of a torch device that exists; see `sdfkit.runtime.device.choose_device`.
        precision: bf16 is up to five times faster than fp32 on GPUs and on CPUs with matrix tiles (AMX). On other CPUs
            it is slower: on AVX-512 without tiles, 31 GFLOP/s were measured, and 165 GFLOP/s with fp32.
    """
    return DeviceContext(Accelerator(cpu=torch.device(device).type == "cpu"), precision)


class StepKind(NamedTuple):
    """Steps of a run that take about the same time.

    Attributes:
        name: What distinguishes them from the other steps; empty if there are no others.
        steps: Their numbers, of which the first is 0.
        number: How many of them the run has.
    """

    name: str
    steps: range
    number: int


class Training(Protocol):
    """Interface of training objects; see the top of this module."""

    steps_taken: int
    context: DeviceContext

    @property
    def uids(self) -> Sequence[str]:
        """Names of the training shapes."""

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """All tensors that are trained, by name."""

    @property
    def lr(self) -> float:
        """Learning rate of the last step, that of the option --lr if the command has it."""

    def step_kinds(self) -> Sequence[StepKind]:
        """Return the kinds of steps of the whole run, which may take different times."""

    def step(self) -> float:
        """Take one step and return its loss."""

    def facts(self) -> Mapping[str, str | float]:
        """Return what to show beside the loss: a loss that needs no training, for comparison, and the stage."""

    def state(self) -> dict[str, np.ndarray]:
        """Return all arrays that the next step depends on."""

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore a state that `state` returned."""


def constant_loss(distances: Tensor, clamp: float) -> float:
    """Return the mean absolute error of the constant that predicts clamped distances best: their median."""
    clamped = distances.clamp(-clamp, clamp)
    return float((clamped - clamped.median()).abs().mean())


def override(settings: S, **values: Any) -> S:
    """Return a copy of a settings dataclass with some fields replaced. None values keep the field."""
    given = {name: value for name, value in values.items() if value is not None}
    return replace(settings, **given)  # type: ignore[type-var]


def cosine(step: int, steps: int) -> float:
    """Return the factor of a cosine learning-rate schedule: 1 at step 0, 0 from `steps` on."""
    return 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))


def check_loss(loss: float, errors: Tensor, uids: Sequence[str], step: int) -> None:
    """Check that the loss of a step is finite.

    Args:
        loss: The loss over the shapes of all processes.
        errors: The loss of each shape of this process.
        uids: The name of each shape of this process.
        step: Number of steps taken before this one.

    Raises:
        SdfkitError: The loss is not finite. The message names the first shape whose error is not.
        OtherProcessError: The errors that are not finite are those of other processes.
    """
    if not math.isfinite(loss):
        wrong = torch.nonzero(~torch.isfinite(errors.detach()))[:, 0].tolist()
        if not wrong:
            raise OtherProcessError(
                f"another process: the loss at step {step} is {loss}; lower the learning rate"
            )
        raise SdfkitError(f"{uids[wrong[0]]}: the loss at step {step} is {loss}; lower the learning rate")


def update_ema(ema: Mapping[str, Tensor], current: Mapping[str, Tensor], decay: float, step: int) -> None:
    """Update the exponential moving average (EMA) of named tensors, in place.

    At first the decay is smaller: min(decay, (1 + step) / (10 + step)). Without this warm-up, the EMA with a decay of
    0.9999 would still contain 22 % of the random initial values after 15,000 steps. A decay of 0 copies the current
    tensors.
    """
    warm = min(decay, (1 + step) / (10 + step))
    update = get_ema_multi_avg_fn(warm)  # type: ignore[no-untyped-call]
    update(list(ema.values()), [current[name].detach() for name in ema], step)


@contextmanager
def seeded(generator: torch.Generator) -> Iterator[None]:
    """Seed torch's global generator from another generator inside the block, for modules that draw from it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield


def step_generator(generator: torch.Generator, step: int) -> torch.Generator:
    """Return the generator of one step of a run, which depends on the run's seed and the step's number alone."""
    # A resumed run has the same seed: the state of a generator includes its initial seed.
    seed = np.random.SeedSequence([generator.initial_seed(), step]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed[0] >> np.uint64(1)))


def pack(prefix: str, tensors: Mapping[str, Tensor]) -> State:
    """Copy named tensors into a state, as arrays `prefix/name`."""
    return {f"{prefix}/{name}": tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}


def unpack(prefix: str, tensors: Mapping[str, Tensor], state: Mapping[str, np.ndarray]) -> None:
    """Fill named tensors, in place, from the arrays `prefix/name` of a state.

    Raises:
        InputError: An array is missing or has another shape, because the state was saved with another network.
    """
    with torch.no_grad():
        for name, tensor in tensors.items():
            key = f"{prefix}/{name}"
            if key not in state:
                raise InputError(f"training state: has no array {key}; it was saved by another kind of run")
            if state[key].shape != tuple(tensor.shape):
                raise InputError(
                    f"training state: {key} has shape {state[key].shape}, but this run needs {tuple(tensor.shape)}; "
                    "resume with the network and the shapes that the state was saved with"
                )
            tensor.copy_(torch.from_numpy(np.array(state[key])))


def set_rate(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Set the learning rate of each parameter group to `factor` times its `initial_lr`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = factor * group["initial_lr"]


def moments(
    optimizers: Sequence[torch.optim.Optimizer], parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the state tensors of the optimizers by name, `parameter/key`.

    Adam creates its moments only at its first step. Moments that are missing are created as zeros.
    """
    names = {id(parameter): name for name, parameter in parameters.items()}
    kept: dict[str, Tensor] = {}
    for optimizer in optimizers:
        for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
            memory = optimizer.state[parameter]
            if not memory:
                memory["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                memory["exp_avg"] = torch.zeros_like(parameter)
                memory["exp_avg_sq"] = torch.zeros_like(parameter)
            kept |= {f"{names[id(parameter)]}/{key}": tensor for key, tensor in memory.items()}
    return kept


def pack_clock(step: int, generator: torch.Generator) -> State:
    """Copy the number of steps taken and the state of the generator into a state."""
    return {"step": np.array(step, dtype=np.int64), "generator": generator.get_state().numpy().copy()}


def unpack_clock(state: Mapping[str, np.ndarray], generator: torch.Generator) -> int:
    """Restore the generator from a state, and return the number of steps taken."""
    generator.set_state(torch.from_numpy(np.array(state["generator"])))
    return int(state["step"])
