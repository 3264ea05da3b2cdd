"""Threads that compute the gradient of a training step in parallel, each thread for some of the rows of the batch.

Parallel threads within each operation of torch gain little if the operations are small: a step of silhouette training
took 0.23 s with one OpenMP thread and 0.18 s with two. Two Python threads with one OpenMP thread each take 0.14 s.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

# More threads than this would mostly wait for the global interpreter lock of Python.
MAX_THREADS = 4


class GradientThreads:
    """A pool of at most four threads. torch's OpenMP threads are divided among them.

    On a GPU, only the calling thread is used.

    Args:
        device: Device of the computation.
    """

    def __init__(self, device: torch.device) -> None:
        threads = torch.get_num_threads()
        self.count = min(threads, MAX_THREADS) if device.type == "cpu" else 1
        pool = ThreadPoolExecutor(
            self.count, initializer=_initialise_thread, initargs=(threads // self.count,)
        )
        self.map = pool.map if device.type == "cpu" else map

    def compute_gradients(
        self,
        compute: Callable[[Int[Tensor, " row"]], Float[Tensor, " row"]],
        rows: Int[Tensor, " row"],
        parameters: Sequence[nn.Parameter],
        total: int,
    ) -> Float[Tensor, " row"]:
        """Set the gradients of parameters to those of the sum of all losses, divided by `total`.

        Results are reproducible for the same number of threads, because the gradients of the threads are added in a
        fixed order.

        Args:
            compute: Function from some rows to the loss of each of them.
            rows: All rows of the batch.
            parameters: Parameters whose `grad` is replaced.
            total: Divisor of the sum.

        Returns:
            The loss of each row. Without rows, gradients are None.
        """
        if not len(rows):
            for parameter in parameters:
                parameter.grad = None
            return torch.zeros(0, device=parameters[0].device)
        parts = [part for part in torch.tensor_split(rows, self.count) if len(part)]
        found = list(self.map(lambda part: _differentiate(compute, part, parameters, total), parts))
        for parameter, *gradients in zip(parameters, *(gradients for _, gradients in found), strict=True):
            known = [gradient for gradient in gradients if gradient is not None]
            parameter.grad = sum(known[1:], start=known[0]) if known else None
        return torch.cat([losses for losses, _ in found])

    def step(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """Take the steps of optimizers in the threads of the pool, which flush denormal numbers to 0."""
        list(self.map(lambda optimizer: optimizer.step(), optimizers))


def _initialise_thread(threads: int) -> None:
    """Set the number of OpenMP threads and the treatment of denormal numbers, before a thread's first operation."""
    torch.set_num_threads(threads)
    # Rays far from an edge, in units of the temperature, have gradients below 1e-38. Processors are slow with such
    # denormal numbers: a late training step took 0.25 s with them and takes 0.15 s if they are set to 0.
    torch.set_flush_denormal(True)


def _differentiate(
    compute: Callable[[Int[Tensor, " row"]], Float[Tensor, " row"]],
    rows: Int[Tensor, " row"],
    parameters: Sequence[nn.Parameter],
    total: int,
) -> tuple[Float[Tensor, " row"], tuple[Tensor | None, ...]]:
    losses = compute(rows)
    return losses.detach(), torch.autograd.grad(losses.sum() / total, parameters, allow_unused=True)
