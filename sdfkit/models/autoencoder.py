"""An autoencoder of per-shape networks: their weights, less the mean of all, through a narrow code and back."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class AutoencoderConfig:
    """The shape of an autoencoder.

    Attributes:
        dim: Numbers in a vector of weights.
        code: Numbers in a code.
        hidden: Width of the hidden layers.
        layers: Hidden layers on either side of the code.
    """

    dim: int
    code: int
    hidden: int
    layers: int


def small(dim: int, code: int) -> AutoencoderConfig:
    """For two CPU cores: 28,302,465 parameters with 54,785 weights and 128 numbers in a code."""
    return AutoencoderConfig(dim, code, hidden=256, layers=2)


def wide(dim: int, code: int) -> AutoencoderConfig:
    """The paper's: 116,717,185 parameters with 54,785 weights and 128 numbers in a code, 116,979,457 with 256."""
    return AutoencoderConfig(dim, code, hidden=1024, layers=3)


PRESETS: dict[str, Callable[[int, int], AutoencoderConfig]] = {"small": small, "1024x3": wide}


class Autoencoder(nn.Module):
    """Codes of weights, and weights of codes.

    What passes through it are residuals from the mean of all training shapes, as in the paper, where all shapes were
    fitted from one anchor; the anchor itself would do as well, for the first and last bias take up the difference.
    Linear layers with ReLU between them, nothing else, count up to the paper's totals.

    We depart from it in two ways. Residuals are divided by their root mean square, one number for all of them: the
    paper's are about 0.01, and the layers begin as PyTorch's do, for inputs about 1. And the last layer begins as
    zeros: the first reconstruction is the mean.

    Attributes:
        mean: The mean of the training vectors.
        scale: The root mean square of what differs from it.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.dim, *[config.hidden] * config.layers, config.code]
        self.encoder = _stack(widths)
        self.decoder = _stack(widths[::-1])
        last = self.decoder[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.register_buffer("mean", torch.zeros(config.dim))
        self.register_buffer("scale", torch.ones(()))
        self.mean: Tensor
        self.scale: Tensor

    def centre(self, vectors: Float[Tensor, "shape dim"]) -> None:
        """Take mean and scale from the training vectors."""
        self.mean.copy_(vectors.mean(dim=0))
        self.scale.copy_((vectors - self.mean).square().mean().sqrt())

    def encode(self, vectors: Float[Tensor, "shape dim"]) -> Float[Tensor, "shape code"]:
        codes: Tensor = self.encoder((vectors - self.mean) / self.scale)
        return codes

    def decode(self, codes: Float[Tensor, "shape code"]) -> Float[Tensor, "shape dim"]:
        residuals: Tensor = self.decoder(codes)
        return self.mean + self.scale * residuals

    def forward(self, vectors: Float[Tensor, "shape dim"]) -> Float[Tensor, "shape dim"]:
        return self.decode(self.encode(vectors))


def _stack(widths: list[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        parts += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*parts[:-1])
