"""Muon: stochastic gradient descent with momentum, whose update of each matrix is made orthogonal."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

MOMENTUM = 0.95
NEWTON_SCHULZ_STEPS = 5


class Muon(torch.optim.Optimizer):
    """Optimizer of the weights of hidden layers; other parameters need another optimizer.

    Recent versions of torch include Muon too, but their Muon computes in bfloat16, which is five times slower than
    float32 on a CPU without matrix tiles (AMX).

    Args:
        groups: Parameter groups as torch's optimizers take them; all parameters are matrices, or kernels of
            convolutions, which count as matrices with a row for each output channel. Each group needs its learning
            rate, `lr`, before the first step. A step changes a matrix by about the learning rate in every direction,
            whatever the size of the gradient, so that good learning rates are about ten times as large as for Adam.

    Reference: Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024).
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {})
        for group in self.param_groups:
            for matrix in group["params"]:
                self.state[matrix]["momentum"] = torch.zeros_like(matrix)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along the orthogonalised momentum."""
        for group in self.param_groups:
            for matrix in group["params"]:
                momentum = self.state[matrix]["momentum"].lerp_(matrix.grad, 1 - MOMENTUM)
                lookahead = matrix.grad.lerp(momentum, MOMENTUM).flatten(1)  # Nesterov momentum
                rows, columns = lookahead.shape
                scale = max(1.0, rows / columns) ** 0.5
                matrix.add_(orthogonalise(lookahead).view_as(matrix), alpha=-group["lr"] * scale)


def trained_by_others(parameters: Iterable[nn.Parameter], matrices: Sequence[Tensor]) -> list[nn.Parameter]:
    """Return the parameters that another optimizer must train: those that are not among Muon's matrices."""
    taken = {id(matrix) for matrix in matrices}
    return [parameter for parameter in parameters if id(parameter) not in taken]


def orthogonalise(matrix: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
    """Return a matrix with the same singular vectors and singular values of about 1 (0.7 to 1.2).

    Reference: the quintic Newton-Schulz iteration of Muon, whose coefficients are chosen for fast convergence.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x: Tensor = matrix if wide else matrix.T
    x = x / (x.norm() + 1e-12)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.T  # (row, row)
        x = 3.4445 * x + torch.addmm(square, square, square, beta=-4.7750, alpha=2.0315) @ x
    return x if wide else x.T
