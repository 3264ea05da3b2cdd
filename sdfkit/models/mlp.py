"""One small network for each shape, all of a set evaluated at once.

Their parameters are one vector a shape, which is what the weights store holds and what weight-space models learn.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sdfkit.models.encodings import encode_points, encoded_width


@dataclass(frozen=True)
class MLPConfig:
    """The shape of a per-shape network.

    Attributes:
        kind: `relu-pe`, ReLU on encoded points; or `siren`, sines on the points themselves (Sitzmann et al., 2020).
        bands: Octaves of the positional encoding of points; 0 hands them over as they are.
        hidden: Width of the hidden layers.
        layers: Hidden layers.
        frequency: What a SIREN multiplies with before each sine, its ω0; of no meaning to `relu-pe`.
    """

    kind: Literal["relu-pe", "siren"]
    bands: int
    hidden: int
    layers: int
    frequency: float


PRESETS = {
    "relu-pe": MLPConfig(kind="relu-pe", bands=6, hidden=128, layers=4, frequency=1.0),
    "siren": MLPConfig(kind="siren", bands=0, hidden=128, layers=4, frequency=30.0),
}


def layer_sizes(config: MLPConfig) -> list[tuple[int, int]]:
    """Outputs and inputs of each layer."""
    widths = [encoded_width(config.bands)] + [config.hidden] * config.layers + [1]
    return list(zip(widths[1:], widths[:-1], strict=True))


def layer_lengths(config: MLPConfig) -> list[int]:
    """How many numbers describe each layer of one shape, weight and bias."""
    return [outputs * (inputs + 1) for outputs, inputs in layer_sizes(config)]


def count_parameters(config: MLPConfig) -> int:
    """How many numbers describe one shape."""
    return sum(layer_lengths(config))


def draw_weights(
    config: MLPConfig, shapes: int, generator: torch.Generator
) -> Float[Tensor, "shape parameter"]:
    """Weights to begin with, different for each shape.

    ReLU layers begin as PyTorch's do, uniform within 1/√inputs; of a SIREN, the first layer's weights within 1/inputs
    and the others' within √(6/inputs)/ω0.

    Reference: Sitzmann et al., Implicit Neural Representations with Periodic Activation Functions (2020), section 3.2.
    """
    parts = []
    for index, (outputs, inputs) in enumerate(layer_sizes(config)):
        bound = 1 / math.sqrt(inputs)
        if config.kind == "siren":
            bound = math.sqrt(6 / inputs) / config.frequency if index else 1 / inputs
        for count, reach in ((outputs * inputs, bound), (outputs, 1 / math.sqrt(inputs))):
            parts.append(reach * (2 * torch.rand(shapes, count, generator=generator) - 1))
    return torch.cat(parts, dim=1)  # (shape, parameter)


def unflatten_weights(
    weights: Float[Tensor, "shape parameter"], config: MLPConfig
) -> list[tuple[Float[Tensor, "shape _ _"], Float[Tensor, "shape _"]]]:
    """The weight and the bias of each layer, as views of the vectors.

    A vector holds the layers from the points to the distance, of each first the weight, output by output, then the
    bias.
    """
    layers, start = [], 0
    for outputs, inputs in layer_sizes(config):
        middle, end = start + outputs * inputs, start + outputs * (inputs + 1)
        layers.append((weights[:, start:middle].view(-1, outputs, inputs), weights[:, middle:end]))
        start = end
    return layers


def flatten_weights(
    layers: list[tuple[Float[Tensor, "shape _ _"], Float[Tensor, "shape _"]]],
) -> Float[Tensor, "shape parameter"]:
    """The vectors that `unflatten_weights` takes apart."""
    return torch.cat([part.flatten(1) for layer in layers for part in layer], dim=1)


class MLPs(nn.Module):
    """Distances of points from the shapes that vectors of weights stand for."""

    def __init__(self, config: MLPConfig, weights: Float[Tensor, "shape parameter"]) -> None:
        super().__init__()
        self.config = config
        self.weights = nn.Parameter(weights)

    def forward(self, points: Float[Tensor, "shape point 3"]) -> Float[Tensor, "shape point"]:
        """Distances, negative inside, of each shape's points from its surface."""
        x = encode_points(points, self.config.bands)  # (shape, point, encoded)
        layers = unflatten_weights(self.weights, self.config)
        for index, (weight, bias) in enumerate(layers):
            x = torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))  # (shape, point, output)
            if index < len(layers) - 1:
                x = torch.sin(self.config.frequency * x) if self.config.kind == "siren" else torch.relu(x)
        return x.squeeze(-1)  # (shape, point)


def slope_by_weights(
    config: MLPConfig,
    weights: Float[Tensor, " parameter"],
    points: Float[Tensor, "point 3"],
    probes: int,
    generator: torch.Generator,
) -> Float[Tensor, " parameter"]:
    """How fast a field changes with each weight: the root mean square over points of its slope by it.

    Estimated from the gradients of sums over the points with random signs, whose mean square is that sum of squares:
    `probes` of them are right to about √(2 / probes) of each square, where the slopes themselves would take as much
    memory as points times weights.
    """
    networks = MLPs(config, weights[None])
    squares = torch.zeros_like(weights)
    predicted = networks(points[None])  # (1, point)
    for _ in range(probes):
        signs = 2.0 * torch.randint(2, predicted.shape, generator=generator).to(predicted) - 1
        (slope,) = torch.autograd.grad(predicted, networks.weights, signs, retain_graph=True)
        squares += slope[0].square()
    return (squares / (probes * len(points))).sqrt()
