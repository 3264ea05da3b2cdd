"""Layout of the weights of one network per shape in a vector: names and sizes of the layers. Does not import torch."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal


@dataclass(frozen=True)
class MLPConfig:
    """The architecture of the network of each shape.

    Attributes:
        kind: `relu-pe`: ReLU layers on positionally encoded points; `siren`: sine layers on plain points (Sitzmann et
            al., 2020).
        bands: Number of octaves in the positional encoding of points; 0 for plain points.
        hidden: Width of the hidden layers.
        layers: Number of hidden layers.
        frequency: Factor ω0 in front of each sine of a SIREN; `relu-pe` ignores it.
    """

    kind: Literal["relu-pe", "siren"]
    bands: int
    hidden: int
    layers: int
    frequency: float


def encoded_width(bands: int) -> int:
    """Return the length of the encoding of a point in space by `encode_points`."""
    return 3 + 2 * 3 * bands


def layer_sizes(config: MLPConfig) -> list[tuple[int, int]]:
    """Return the numbers of outputs and inputs of each layer, from the points to the distance."""
    widths = [encoded_width(config.bands)] + [config.hidden] * config.layers + [1]
    return list(zip(widths[1:], widths[:-1], strict=True))


def name_layers(config: MLPConfig) -> list[tuple[str, int]]:
    """Name the parts of a network's vector of weights, in order.

    A vector holds the layers in order: for each, the weight matrix row by row, one row per output, then the bias.

    Returns:
        The name and length of each part: ("layer 1 weight", 4992), ("layer 1 bias", 128), …
    """
    return [
        part
        for layer, (outputs, inputs) in enumerate(layer_sizes(config), 1)
        for part in ((f"layer {layer} weight", outputs * inputs), (f"layer {layer} bias", outputs))
    ]


def layer_lengths(config: MLPConfig) -> list[int]:
    """Return the number of parameters of each layer, weight and bias together."""
    return [outputs * (inputs + 1) for outputs, inputs in layer_sizes(config)]


def count_parameters(config: MLPConfig) -> int:
    """Return the length of a network's vector of weights."""
    return sum(layer_lengths(config))


def slice_layers(config: MLPConfig) -> dict[str, slice]:
    """Return the slice of the vector of weights for each part of `name_layers`."""
    parts = name_layers(config)
    ends = accumulate(length for _, length in parts)
    return {name: slice(end - length, end) for (name, length), end in zip(parts, ends, strict=True)}
