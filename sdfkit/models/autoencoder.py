"""An autoencoder of the weights of one small network per shape, which encodes deviations from the mean weights."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class AutoencoderConfig:
    """Architecture of an autoencoder.

    Attributes:
        dim: Length of a vector of weights.
        code: Length of a latent code.
        hidden: Width of the hidden layers.
        layers: Number of hidden layers in the encoder, and in the decoder.
    """

    dim: int
    code: int
    hidden: int
    layers: int


def small(dim: int, code: int) -> AutoencoderConfig:
    """Return a configuration for two CPU cores: 28,302,465 parameters for 54,785 weights and codes of length 128."""
    return AutoencoderConfig(dim, code, hidden=256, layers=2)


def wide(dim: int, code: int) -> AutoencoderConfig:
    """Return the configuration of the paper "Small-data image-to-3-D".

    It has 116,717,185 parameters for 54,785 weights and codes of length 128, and 116,979,457 for codes of length 256.
    """
    return AutoencoderConfig(dim, code, hidden=1024, layers=3)


PRESETS: dict[str, Callable[[int, int], AutoencoderConfig]] = {"small": small, "1024x3": wide}


class Autoencoder(nn.Module):
    """An encoder from weights to codes, and a decoder from codes to weights.

    Encoder and decoder work on residuals from the mean of all training vectors, as in the paper, where all shapes were
    fitted from one common initialisation, the anchor. The anchor could be used instead of the mean: the biases of
    the first and the last layer compensate for the difference. Networks of linear layers with ReLU between them, and no
    other layers, have the parameter counts that the paper gives.

    Two things differ from the paper. Residuals are divided by their root mean square, one number for all dimensions:
    the residuals of the paper are about 0.01, while the default initialisation of PyTorch expects inputs of about 1.
    And the last layer is initialised to zero, so that the first reconstruction is the mean.

    Attributes:
        mean: Mean of the training vectors.
        scale: Root mean square of their residuals.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.dim, *[config.hidden] * config.layers, config.code]
        self.encoder = _linear_layers(widths)
        self.decoder = _linear_layers(widths[::-1])
        last = self.decoder[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.register_buffer("mean", torch.zeros(config.dim))
        self.register_buffer("scale", torch.ones(()))
        self.mean: Tensor
        self.scale: Tensor

    def centre(self, vectors: Float[Tensor, "shape dim"]) -> None:
        """Set mean and scale from the training vectors."""
        self.mean.copy_(vectors.mean(dim=0))
        self.scale.copy_((vectors - self.mean).square().mean().sqrt())

    def encode(self, vectors: Float[Tensor, "shape dim"]) -> Float[Tensor, "shape code"]:
        """Encode vectors of weights as codes."""
        codes: Tensor = self.encoder((vectors - self.mean) / self.scale)
        return codes

    def decode(self, codes: Float[Tensor, "shape code"]) -> Float[Tensor, "shape dim"]:
        """Decode codes into vectors of weights."""
        residuals: Tensor = self.decoder(codes)
        return self.mean + self.scale * residuals

    def forward(self, vectors: Float[Tensor, "shape dim"]) -> Float[Tensor, "shape dim"]:
        """Reconstruct vectors of weights."""
        return self.decode(self.encode(vectors))


def _linear_layers(widths: list[int]) -> nn.Sequential:
    """Return linear layers of these widths, with ReLU between them."""
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        parts += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*parts[:-1])
