"""Latent codes whose numbers have places: a grid, or three planes, of features that a point reads where it lies.

References: Jiang et al., Local Implicit Grid Representations (2020), for grids; Chan et al., Efficient
    Geometry-aware 3D Generative Adversarial Networks (2022), for three planes.
"""

from dataclasses import dataclass
from functools import reduce
from itertools import combinations, pairwise, product
from operator import mul
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class LatentLayout:
    """What the numbers of a code are.

    A code holds `shared` numbers of the whole shape, then `channels` numbers of each place. Places are the cells of a
    grid over the query cube; or the cells of the planes xy, xz and yz, one plane after the other. They are ordered by
    blocks of two places along each axis, and in each block, by the first coordinate, then the next. So the numbers of
    a block are consecutive, and can be a token of a transformer.

    Attributes:
        kind: Places in a grid, or in three planes.
        shared: Number of numbers of the whole shape.
        resolution: Number of places along a side, even.
        channels: Number of numbers of each place.
        hidden: Width of the convolutions that compute features from the numbers.
        features: Number of features at a node, after upsampling.
        upsamplings: Number of upsamplings, each of which doubles the resolution.
    """

    kind: Literal["grid", "triplane"]
    shared: int
    resolution: int
    channels: int
    hidden: int
    features: int
    upsamplings: int

    @property
    def axes(self) -> list[tuple[int, ...]]:
        """The coordinates that a place has, in the grid or in each plane: 0 for x, 1 for y, 2 for z."""
        return [(0, 1, 2)] if self.kind == "grid" else list(combinations(range(3), 2))

    @property
    def places(self) -> int:
        """Number of places."""
        return sum(self.resolution ** len(axes) for axes in self.axes)

    @property
    def code(self) -> int:
        """Length of a code."""
        return self.shared + self.places * self.channels

    @property
    def nodes(self) -> int:
        """Number of nodes along a side, after upsampling."""
        return self.resolution << self.upsamplings

    @property
    def read(self) -> int:
        """Number of features that a point reads."""
        return self.features * len(self.axes)

    @property
    def tokens(self) -> list[int]:
        """Number of numbers of each part of a code, in order: the whole shape's, if any, and those of each block."""
        block = 2 ** len(self.axes[0])
        return [self.shared] * (self.shared > 0) + [self.channels * block] * (self.places // block)


# By the value of --latent; None for codes without places.
LAYOUTS: dict[str, LatentLayout | None] = {
    "global": None,
    "grid": LatentLayout("grid", 0, resolution=8, channels=4, hidden=32, features=16, upsamplings=1),
    "triplane": LatentLayout("triplane", 0, resolution=12, channels=5, hidden=32, features=16, upsamplings=1),
    "hybrid": LatentLayout("grid", 16, resolution=8, channels=4, hidden=32, features=16, upsamplings=1),
}


class PlacedFeatures(nn.Module):
    """Computes features on a grid or on three planes from codes, and interpolates them at points.

    Convolutions, which are the same for all shapes, compute the features, so that a place also depends on its
    neighbours, and codes are short.
    """

    def __init__(self, layout: LatentLayout) -> None:
        super().__init__()
        self.layout = layout
        convolution, upsampling = (
            (nn.Conv3d, nn.ConvTranspose3d) if layout.kind == "grid" else (nn.Conv2d, nn.ConvTranspose2d)
        )
        planes = len(layout.axes)  # each plane has its own convolutions
        widths = [layout.hidden * planes] * layout.upsamplings + [layout.features * planes]
        self.first = convolution(layout.channels * planes, widths[0], 3, padding=1, groups=planes)
        self.upsamplings = nn.ModuleList(
            upsampling(before, after, 4, stride=2, padding=1, groups=planes)
            for before, after in pairwise(widths)
        )

    def forward(self, numbers: Float[Tensor, "shape number"]) -> Float[Tensor, "shape value"]:
        """Compute the features of each shape, as one vector: (plane, *node, feature) in order.

        Args:
            numbers: The numbers of the places.
        """
        layout = self.layout
        planes, axes = len(layout.axes), len(layout.axes[0])
        x = numbers.view(-1, planes, *[layout.resolution // 2] * axes, *[2] * axes, layout.channels)
        sides = [
            side for axis in range(axes) for side in (2 + axis, 2 + axes + axis)
        ]  # of blocks, of places in them
        x = x.permute(0, 1, -1, *sides).reshape(-1, planes * layout.channels, *[layout.resolution] * axes)
        x = self.first(x)  # (shape, plane · hidden, *place)
        for upsampling in self.upsamplings:
            x = upsampling(F.relu(x))  # (shape, plane · hidden, *node)
        x = x.unflatten(1, (planes, layout.features)).movedim(2, -1)  # (shape, plane, *node, feature)
        values: Tensor = x.flatten(1)
        return values

    def at(
        self, values: Float[Tensor, "shape value"], points: Float[Tensor, "shape point 3"]
    ) -> Float[Tensor, "shape point read"]:
        """Interpolate the features of each shape at its points. Those outside the query cube read its boundary."""
        layout = self.layout
        planes = values.view(len(values), len(layout.axes), -1, layout.features)
        read = [
            interpolate(planes[:, index], points[..., list(axes)], layout.nodes)
            for index, axes in enumerate(layout.axes)
        ]
        return torch.cat(read, dim=-1)


def interpolate(
    values: Float[Tensor, "shape node feature"], points: Float[Tensor, "shape point axis"], side: int
) -> Float[Tensor, "shape point feature"]:
    """Interpolate linearly along each axis between nodes from -1 to 1.

    `F.grid_sample` has no second derivatives in three dimensions, which a loss on the gradient of the field needs.

    Args:
        values: Values at `side` nodes along each axis, the last axis fastest.
        points: Positions. Those outside the nodes read the boundary.
        side: Number of nodes along an axis.
    """
    place = (points.clamp(-1, 1) + 1) * ((side - 1) / 2)
    low = place.detach().floor().clamp(0, side - 2)
    share = (place - low)[..., None, :]  # (shape, point, 1, axis)
    axes = points.shape[-1]
    offsets = torch.tensor(list(product((0, 1), repeat=axes)), device=points.device)  # (corner, axis)
    strides = torch.tensor([side ** (axes - 1 - axis) for axis in range(axes)], device=points.device)
    first = torch.arange(len(values), device=points.device)[:, None, None] * values.shape[1]
    nodes = ((low.long()[..., None, :] + offsets) * strides).sum(-1) + first  # (shape, point, corner)
    weights = reduce(mul, torch.where(offsets == 1, share, 1 - share).unbind(-1))  # (shape, point, corner)
    corners = F.embedding(nodes, values.flatten(0, 1))  # (shape, point, corner, feature)
    return (weights[..., None] * corners).sum(-2)
