"""Per-shape networks: one small MLP per shape, evaluated as a batch.

The parameters of each network are flattened into one vector. Stores of weights hold these vectors, and weight-space
models are trained on them.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sdfkit.models.encodings import encode_points
from sdfkit.models.layers import MLPConfig, layer_sizes

PRESETS = {
    "relu-pe": MLPConfig(kind="relu-pe", bands=6, hidden=128, layers=4, frequency=1.0),
    "siren": MLPConfig(kind="siren", bands=0, hidden=128, layers=4, frequency=30.0),
}


def draw_weights(
    config: MLPConfig, shapes: int, generator: torch.Generator
) -> Float[Tensor, "shape parameter"]:
    """Draw initial weights, different for each shape.

    ReLU layers are initialised as in PyTorch, uniformly within ±1/√inputs. The weights of a SIREN are uniform within
    ±1/inputs in the first layer and within ±√(6/inputs)/ω0 in the others.

    Reference: Sitzmann et al., Implicit Neural Representations with Periodic Activation Functions (2020), section 3.2.
    """
    parts = []
    for index, (outputs, inputs) in enumerate(layer_sizes(config)):
        bound = 1 / math.sqrt(inputs)
        if config.kind == "siren":
            bound = math.sqrt(6 / inputs) / config.frequency if index else 1 / inputs
        for count, limit in ((outputs * inputs, bound), (outputs, 1 / math.sqrt(inputs))):
            parts.append(limit * (2 * torch.rand(shapes, count, generator=generator) - 1))
    return torch.cat(parts, dim=1)  # (shape, parameter)


def unflatten_weights(
    weights: Float[Tensor, "shape parameter"], config: MLPConfig
) -> list[tuple[Float[Tensor, "shape _ _"], Float[Tensor, "shape _"]]]:
    """Return the weight and the bias of each layer, as views of the vectors.

    A vector contains the layers in order from the points to the distance: for each, the weight matrix row by row, one
    row per output, then the bias.
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
    """Return the vectors of weights: the inverse of `unflatten_weights`."""
    return torch.cat([part.flatten(1) for layer in layers for part in layer], dim=1)


class MLPs(nn.Module):
    """Per-shape networks, one for each vector of weights, from points to signed distances."""

    def __init__(self, config: MLPConfig, weights: Float[Tensor, "shape parameter"]) -> None:
        super().__init__()
        self.config = config
        self.weights = nn.Parameter(weights)

    def forward(self, points: Float[Tensor, "shape point 3"]) -> Float[Tensor, "shape point"]:
        """Compute the signed distances of each shape's points, negative inside."""
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
    """Estimate the sensitivity of a field to each weight: the root mean square of its partial derivative over points.

    The estimate is the mean square of `probes` gradients of sums over the points with random signs, whose expectation
    is the sum of squared derivatives. The relative error of each square is about √(2 / probes). The exact value would
    need memory for points times weights.
    """
    networks = MLPs(config, weights[None])
    squares = torch.zeros_like(weights)
    predicted = networks(points[None])  # (1, point)
    for _ in range(probes):
        signs = 2.0 * torch.randint(2, predicted.shape, generator=generator).to(predicted) - 1
        (slope,) = torch.autograd.grad(predicted, networks.weights, signs, retain_graph=True)
        squares += slope[0].square()
    return (squares / (probes * len(points))).sqrt()
