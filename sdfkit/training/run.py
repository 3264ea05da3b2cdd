"""What every training run shares: its context, averaged parameters, and a state made of plain arrays.

A training object has three methods, and nothing else is expected of it:

* `step()` takes one step and returns its loss;
* `state()` returns everything that the next step depends on, as a flat dictionary of arrays: parameters and
  codes, the optimizer's moments, averages, the generator and the number of steps taken. Keys are paths,
  such as `parameters/decoder.out.weight`. Nothing in it needs pickle;
* `load_state()` takes that dictionary back. On a CPU the losses after it are, bit for bit, those that an
  uninterrupted run would have had, if the number of threads is the same.

Threads: beside other busy processes, threads of OpenMP that spin while they wait made a step five times
slower. The command that trains must therefore set `OMP_WAIT_POLICY=PASSIVE` before torch is first imported;
it is too late to do it here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from sdfkit.errors import InputError

State = dict[str, np.ndarray]


@dataclass(frozen=True)
class DeviceContext:
    """Where a run computes, and how precisely.

    Attributes:
        accelerator: Device, and the other processes of a distributed run.
        precision: "bf16" multiplies matrices in bfloat16; parameters and losses are float32 in either case.
    """

    accelerator: Accelerator
    precision: Literal["fp32", "bf16"]

    @property
    def device(self) -> torch.device:
        device: torch.device = self.accelerator.device
        return device

    @property
    def processes(self) -> int:
        return int(self.accelerator.num_processes)

    @property
    def process(self) -> int:
        """This one's number; 0 writes and talks."""
        return int(self.accelerator.process_index)

    @property
    def own(self) -> slice:
        """Which of all shapes, or of a batch, are this process's."""
        return slice(self.process, None, self.processes)

    def any(self, happened: bool) -> bool:
        """Whether something happened in any process; all of them must ask."""
        return bool(self.total(torch.tensor(float(happened), device=self.device)).item())

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        return tensor if self.processes == 1 else self.accelerator.reduce(tensor, reduction="sum")

    def whole(self, part: Tensor, count: int) -> Tensor:
        """All `count` rows, of which each process has its own."""
        if self.processes == 1:
            return part
        rows = torch.zeros(count, *part.shape[1:], dtype=part.dtype, device=part.device)
        rows[self.own] = part
        return self.total(rows)

    def total_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum gradients over all processes, in place, in one message."""
        if self.processes > 1:
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            summed = self.total(torch.cat([gradient.flatten() for gradient in gradients]))
            parts = torch.split(summed, [gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def autocast(self) -> AbstractContextManager[None]:
        # Not accelerate's own autocast: it fixes one precision for all that a process ever trains.
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def open_device_context(device: str, precision: Literal["fp32", "bf16"]) -> DeviceContext:
    """Take hold of the device of a run.

    Args:
        device: As torch names it, see `sdfkit.runtime.device`, which also tells whether there is one.
        precision: bf16 pays on GPUs and on CPUs with matrix tiles (AMX), where it is up to five times faster.
            Elsewhere it is slower: 31 against 165 GF/s was measured on AVX-512 without them.
    """
    return DeviceContext(Accelerator(cpu=torch.device(device).type == "cpu"), precision)


def cosine(step: int, steps: int) -> float:
    """The share of the learning rate that is left at a step: 1 at the first, falling to 0 after the last."""
    return 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))


def update_ema(average: Mapping[str, Tensor], current: Mapping[str, Tensor], decay: float, step: int) -> None:
    """Move averaged tensors towards the current ones, in place.

    The decay is warmed up, min(decay, (1 + step) / (10 + step)), or 0.9999 would still hold 22 % of the
    random start after 15,000 steps. Decay 0 keeps a plain copy.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.values()), [current[name].detach() for name in average], weight)


@contextmanager
def seeded(generator: torch.Generator) -> Iterator[None]:
    """Inside, torch's global generator follows another one: networks fill their parameters from it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield


def pack(prefix: str, tensors: Mapping[str, Tensor]) -> State:
    """Tensors as arrays of a state, each a copy."""
    return {f"{prefix}/{name}": tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}


def unpack(prefix: str, tensors: Mapping[str, Tensor], state: Mapping[str, np.ndarray]) -> None:
    """Fill tensors from a state.

    Raises:
        InputError: The state is of another network.
    """
    with torch.no_grad():
        for name, tensor in tensors.items():
            key = f"{prefix}/{name}"
            if key not in state:
                raise InputError(f"state: has no {key}: it was saved by a run of another kind")
            if state[key].shape != tuple(tensor.shape):
                raise InputError(
                    f"state: {key} has shape {state[key].shape}, but this run needs {tuple(tensor.shape)}: "
                    "resume with the network and shapes that it was saved with"
                )
            tensor.copy_(torch.from_numpy(np.array(state[key])))


def set_rate(optimizers: Sequence[torch.optim.Optimizer], share: float) -> None:
    """Set the learning rate of each parameter group to a share of its `initial_lr`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = share * group["initial_lr"]


def moments(
    optimizers: Sequence[torch.optim.Optimizer], parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What the optimizers remember of each parameter, named `parameter/what`."""
    names = {id(parameter): name for name, parameter in parameters.items()}
    kept: dict[str, Tensor] = {}
    for optimizer in optimizers:
        for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
            memory = optimizer.state[parameter]
            if not memory:  # Adam's begins as zeros, at its first step.
                memory["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                memory["exp_avg"] = torch.zeros_like(parameter)
                memory["exp_avg_sq"] = torch.zeros_like(parameter)
            kept |= {f"{names[id(parameter)]}/{key}": tensor for key, tensor in memory.items()}
    return kept


def pack_clock(step: int, generator: torch.Generator) -> State:
    """The number of steps taken, and the generator, as arrays of a state."""
    return {"step": np.array(step, dtype=np.int64), "generator": generator.get_state().numpy().copy()}


def unpack_clock(state: Mapping[str, np.ndarray], generator: torch.Generator) -> int:
    """Set the generator from a state, and return the number of steps taken."""
    generator.set_state(torch.from_numpy(np.array(state["generator"])))
    return int(state["step"])
