"""The training shapes as coarse grids of distances, from which similar shapes are retrieved by their silhouettes."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdfkit.models.recon.posed_views import PosedViews

# Width and height in pixels of the silhouettes that are compared. Their pixels are as large as the cells of a grid.
SIDE = 28
# Nodes at most at this distance make the silhouette of a grid: they cover pixels whose centres lie up to half a pixel
# beyond them.
INSIDE = -0.015


class Neighbours(NamedTuple):
    """For each shape, the training shapes that are most similar to it, the most similar one first."""

    grids: Float[Tensor, "shape neighbour x y z"]
    """Signed distances at nodes from -1 to 1 along each axis."""
    overlaps: Float[Tensor, "shape neighbour"]
    """Mean IoU of the silhouettes with those of the shape, over the views."""
    turns: Float[Tensor, "shape 3 3"]
    """Orthogonal matrices that map the frame of the grids to that of the shape."""

    def distances(self, points: Float[Tensor, "shape point 3"]) -> Float[Tensor, "shape point neighbour"]:
        """Return the distances of points from the neighbours, interpolated linearly."""
        # Of an orthogonal matrix, the transpose is the inverse. grid_sample takes the last axis first.
        positions = (points @ self.turns).flip(-1)[:, None, None]
        read = F.grid_sample(self.grids.float(), positions, padding_mode="border", align_corners=True)
        return read[:, :, 0, 0].mT


class Library:
    """The training shapes.

    Args:
        grids: Signed distances at nodes from -1 to 1 along each axis.
    """

    def __init__(self, grids: Float[Tensor, "shape x y z"]) -> None:
        self.grids = grids
        self._owners, self._nodes = (grids.flatten(1) <= INSIDE).nonzero(as_tuple=True)
        self._seen: tuple[bytes, Tensor] = (b"", torch.empty(0))

    def silhouettes(
        self, cameras: Float[Tensor, "view 4 4"], yfov: Float[Tensor, " view"]
    ) -> Bool[Tensor, "shape view pixel"]:
        """Return the silhouettes of all shapes as cameras see them. Those of the last cameras are kept."""
        key = cameras.cpu().numpy().tobytes() + yfov.cpu().numpy().tobytes()
        if self._seen[0] == key:
            return self._seen[1]
        axis = torch.linspace(-1, 1, self.grids.shape[-1], device=cameras.device)
        nodes = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(1, -1, 3)
        empty = torch.empty(0, device=cameras.device)
        positions = PosedViews(empty, empty, cameras[None], yfov[None]).project(nodes).positions[0]
        pixels = ((positions + 1) * (SIDE / 2)).floor().long()  # (view, node, 2)
        inside = ((pixels >= 0) & (pixels < SIDE)).all(dim=-1)
        # Nodes outside the image fill one more pixel, which is left out.
        flat = torch.where(inside, pixels[..., 1] * SIDE + pixels[..., 0], SIDE * SIDE)
        covered = torch.zeros(
            len(self.grids), len(cameras), SIDE * SIDE + 1, dtype=torch.bool, device=cameras.device
        )
        for view in range(len(cameras)):
            covered[self._owners, view, flat[view][self._nodes]] = True
        self._seen = (key, covered[..., :-1])
        return self._seen[1]


def retrieve(
    masks: Bool[Tensor, "view pixel"],
    known: Bool[Tensor, "candidate view pixel"],
    candidates: Int[Tensor, " candidate"],
    count: int,
) -> tuple[Int[Tensor, " neighbour"], Float[Tensor, " neighbour"]]:
    """Return the candidates whose silhouettes are most similar to given ones.

    Args:
        masks: Silhouettes of a shape.
        known: Silhouettes of the candidates, as the same cameras see them.
        candidates: Indices of the candidates among the training shapes.
        count: Number of neighbours. If there are fewer candidates, the last one is repeated.

    Returns:
        Indices of the neighbours, the most similar first, and their overlaps.
    """
    both, either = (known & masks).sum(-1), (known | masks).sum(-1)
    overlaps = (both / either.clamp(min=1)).mean(dim=1)
    best = overlaps.topk(min(count, len(candidates)))
    places = torch.arange(count, device=masks.device).clamp(max=len(best.indices) - 1)
    return candidates[best.indices[places]], best.values[places]


def shrink_silhouettes(coverage: Float[Tensor, "*view row column"]) -> Bool[Tensor, "*view pixel"]:
    """Return silhouettes at `SIDE` pixels a side: pixels of which a shape covers at least half.

    Args:
        coverage: Share of each pixel that the shape covers; the size is a multiple of `SIDE`.
    """
    scale = math.isqrt(coverage.shape[-1] * coverage.shape[-2]) // SIDE
    means = F.avg_pool2d(coverage.float().reshape(-1, 1, *coverage.shape[-2:]), scale)
    return (means >= 0.5 - 1e-6).reshape(*coverage.shape[:-2], SIDE * SIDE)
