"""Muon: momentum whose matrices are made orthogonal before they are taken as a step."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

MOMENTUM = 0.95
NEWTON_SCHULZ_STEPS = 5


class Muon(torch.optim.Optimizer):
    """For the hidden matrices of a network; its other parameters need another optimizer.

    Written here although later torches have one: theirs works in bfloat16, which is five times slower than
    float32 on a CPU without matrix tiles.

    Args:
        groups: Parameters of two axes, in groups as any optimizer of torch takes them; each has its rate in
            `lr` by the first step. A step moves a matrix by about its rate in every direction at once,
            whatever the size of the gradient, so good rates are ten times Adam's.

    Reference: Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024).
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {})
        for group in self.param_groups:
            for matrix in group["params"]:
                self.state[matrix]["momentum"] = torch.zeros_like(matrix)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients."""
        for group in self.param_groups:
            for matrix in group["params"]:
                momentum = self.state[matrix]["momentum"].lerp_(matrix.grad, 1 - MOMENTUM)
                ahead = matrix.grad.lerp(momentum, MOMENTUM)  # Nesterov's
                rows, columns = matrix.shape
                scale = max(1.0, rows / columns) ** 0.5
                matrix.add_(orthogonalise(ahead), alpha=-group["lr"] * scale)


def orthogonalise(matrix: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
    """The matrix with its singular values brought to about 1 (0.7 to 1.2), its singular vectors kept.

    Reference: the quintic Newton-Schulz iteration of Muon, whose coefficients are chosen for speed.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x: Tensor = matrix if wide else matrix.T
    x = x / (x.norm() + 1e-12)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.T  # (row, row)
        x = 3.4445 * x + torch.addmm(square, square, square, beta=-4.7750, alpha=2.0315) @ x
    return x if wide else x.T
