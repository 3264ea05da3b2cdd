"""Threads that take a step's gradient side by side, each of some of its rows.

Threads within operations gain little where operations are small: a step of silhouettes took 0.23 s with one of
OpenMP's and 0.18 s with two. Two threads of our own, each with one of OpenMP's, take 0.14 s.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

# More than this many wait for each other in Python.
MOST = 4


class Workers:
    """As many threads as cores, up to four, which share torch's threads; on a GPU none but the caller's.

    Args:
        device: Where is computed.
    """

    def __init__(self, device: torch.device) -> None:
        threads = torch.get_num_threads()
        self.count = min(threads, MOST) if device.type == "cpu" else 1
        pool = ThreadPoolExecutor(self.count, initializer=_prepare_thread, initargs=(threads // self.count,))
        self.map = pool.map if device.type == "cpu" else map

    def descend(
        self,
        compute: Callable[[Int[Tensor, " row"]], Float[Tensor, " row"]],
        rows: Int[Tensor, " row"],
        parameters: Sequence[nn.Parameter],
        total: int,
    ) -> Float[Tensor, " row"]:
        """Give parameters the gradient of the sum of rows' losses, divided by `total`; and give the losses.

        The same numbers come out each time with as many threads: their gradients are added in their order.
        """
        parts = [part for part in torch.tensor_split(rows, self.count) if len(part)]
        found = list(self.map(lambda part: _differentiate(compute, part, parameters, total), parts))
        for parameter, *gradients in zip(parameters, *(gradients for _, gradients in found), strict=True):
            known = [gradient for gradient in gradients if gradient is not None]
            parameter.grad = sum(known[1:], start=known[0]) if known else None
        return torch.cat([losses for losses, _ in found])

    def update(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """Let each optimizer take its step: here their moments, too, are 0 where they are denormal."""
        list(self.map(lambda optimizer: optimizer.step(), optimizers))


def _prepare_thread(threads: int) -> None:
    """Set what is a thread's own, before its first operation."""
    torch.set_num_threads(threads)
    # Rays many temperatures from an edge have gradients below 1e-38, with which processors count slowly: a step late in
    # training took 0.25 s with them and takes 0.15 s where they are 0.
    torch.set_flush_denormal(True)


def _differentiate(
    compute: Callable[[Int[Tensor, " row"]], Float[Tensor, " row"]],
    rows: Int[Tensor, " row"],
    parameters: Sequence[nn.Parameter],
    total: int,
) -> tuple[Float[Tensor, " row"], tuple[Tensor | None, ...]]:
    losses = compute(rows)
    return losses.detach(), torch.autograd.grad(losses.sum() / total, parameters, allow_unused=True)
