"""DeepSDF: one decoder for all shapes, one code for each.

Reference: Park et al., DeepSDF (2019), figure 3a, with positionally encoded points, plain layers without weight
normalisation or dropout, and no tanh at the end.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sdfkit.models.encodings import encode_points, encoded_width


@dataclass(frozen=True)
class DeepSDFConfig:
    """The shape of a decoder.

    Attributes:
        code: Numbers in a code.
        bands: Octaves of the positional encoding of points.
        hidden: Width of the hidden layers.
        layers: Hidden layers.
        skip: The hidden layer, counted from 0, that is given the input again.
        activation: What follows each hidden layer. The field's slope is smooth, and can be taught, with silu only.
    """

    code: int
    bands: int
    hidden: int
    layers: int
    skip: int
    activation: Literal["relu", "silu"]


PRESETS = {
    "512x8": DeepSDFConfig(code=64, bands=6, hidden=512, layers=8, skip=4, activation="relu"),
    "256x4": DeepSDFConfig(code=64, bands=6, hidden=256, layers=4, skip=2, activation="relu"),
    # For two CPU cores: the pilot's network. What makes it learn there is how it is trained.
    "small": DeepSDFConfig(code=64, bands=6, hidden=256, layers=4, skip=2, activation="relu"),
}


# A smooth decoder multiplies its input by this and divides what comes out by it: its layers then bend as sharply as
# ReLU does, at no cost, where plain SiLU is nearly a straight line for what a fresh network feeds it. Silhouettes
# of four shapes after 300 steps: cross-entropy 0.29 at 10, 0.18 at 40, and 0.59 without.
SHARPNESS = 40.0


class DeepSDF(nn.Module):
    """Distances of points from the shapes that codes stand for."""

    def __init__(self, config: DeepSDFConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = config.code + encoded_width(config.bands)
        widths = [self.inputs] + [config.hidden] * (config.layers - 1)
        widths[config.skip] += self.inputs
        self.hidden = nn.ModuleList(nn.Linear(width, config.hidden) for width in widths)
        self.out = nn.Linear(config.hidden, 1)

    @property
    def matrices(self) -> list[Tensor]:
        """Weights of the hidden layers, which Muon can train."""
        return [layer.weight for layer in self.hidden if isinstance(layer, nn.Linear)]

    def forward(
        self, codes: Float[Tensor, "shape code"], points: Float[Tensor, "shape point 3"]
    ) -> Float[Tensor, "shape point"]:
        """Distances, negative inside, of each shape's points from its surface.

        The paper's input is concat(code, encoded point), and concat(hidden, code, encoded point) at the skip.
        The same sums are written as products with slices of those layers, so that the code's part is computed
        once a shape and not once a point.
        """
        activate, sharpness = (F.silu, SHARPNESS) if self.config.activation == "silu" else (F.relu, 1.0)
        codes = sharpness * codes
        encoded = sharpness * encode_points(points, self.config.bands)  # (shape, point, encoded)
        x = encoded
        for index, layer in enumerate(self.hidden):
            assert isinstance(layer, nn.Linear)
            if index == 0:
                x = self.enter(layer, codes, encoded)
            elif index == self.config.skip:
                x = F.linear(x, layer.weight[:, : self.config.hidden]) + self.enter(layer, codes, encoded)
            else:
                x = layer(x)
            x = activate(x, inplace=not torch.is_grad_enabled())  # (shape, point, hidden)
        distances: Tensor = self.out(x)  # (shape, point, 1)
        return distances.squeeze(-1) / sharpness  # (shape, point)

    def enter(
        self,
        layer: nn.Linear,
        codes: Float[Tensor, "shape code"],
        encoded: Float[Tensor, "shape point encoded"],
    ) -> Float[Tensor, "shape point hidden"]:
        """A layer's bias and its product with the input, which are its last columns."""
        weight = layer.weight[:, -self.inputs :]
        of_codes = F.linear(codes, weight[:, : self.config.code], layer.bias)  # (shape, hidden)
        return F.linear(encoded, weight[:, self.config.code :]) + of_codes[:, None]


def slope_errors(
    decoder: DeepSDF, codes: Float[Tensor, "shape code"], points: Float[Tensor, "shape point 3"]
) -> Float[Tensor, " shape"]:
    """How far the field's slope is from 1 at points, squared, in the mean of each shape.

    Reference: Gropp et al., Implicit Geometric Regularization (2020), equation 2.
    """
    places = points.detach().requires_grad_()
    distances = decoder(codes, places)
    (slope,) = torch.autograd.grad(distances.float().sum(), places, create_graph=True)
    unlike: Tensor = (slope.norm(dim=2) - 1).square().mean(dim=1)  # (shape,)
    return unlike
