"""A network that reconstructs a signed distance field from any number of images with known cameras.

Every point is projected into every image, where it reads features of the pixel and its distance from the outline. A
coarse volume of such features, processed by a 3-D U-Net, completes what no image shows. Fine features are read again
at the query point, so that details are as sharp as the images. The network also gets the distances of the training
shapes whose silhouettes are most similar, and learns how far to trust them.

References: Saito et al., PIFu (2019), for features at the projections of points; Çiçek et al., 3D U-Net (2016); Murez
et al., Atlas (2020), for a volume of features of posed images.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sdfkit.models.recon.neighbours import SIDE, Neighbours
from sdfkit.models.recon.posed_views import PosedViews, read_maps, read_volume

# Normalisation groups of all convolutions.
GROUPS = 4
# Distances from silhouettes are limited to this, in units of the query cube's half side.
FARTHEST = 0.5
# Near the outline, a second input with a finer scale.
NEAREST = 0.1
# Outlines, as channel of the images: pixels are divided by this, and limited to ±2.
PIXELS = 8
# Largest size of the images, and largest number of cells along a side. The coarsest level has a quarter of the cells:
# for fewer than three along a side, oneDNN leaves a part of the gradient of the weights unset in bfloat16.
LARGEST, FEWEST_CELLS = 1024, 12
# Octaves of the sine and cosine of a point's coordinates. With six, kinds of shapes that were not in the training set
# are reconstructed worse (see examples/LOG.md).
OCTAVES = 3


@dataclass(frozen=True)
class ReconConfig:
    """Architecture of a reconstruction network.

    Attributes:
        size: Width and height in pixels of the images, a multiple of `neighbours.SIDE`.
        width: Width of the first convolution over the images; each of the three further levels doubles it.
        cells: Cells of the volume along a side, a multiple of 4 from `FEWEST_CELLS`.
        volume: Width of the finest level of the U-Net; each of the two further levels doubles it.
        hidden: Width of the layers that decode a point.
        layers: Number of residual layers that decode a point.
        latent: Length of the vector that describes all images together.
        neighbours: Number of similar training shapes whose distances the network gets.

    Raises:
        ValueError: `size` or `cells` is not such a multiple, or out of range. They do not change the parameters.
    """

    size: int
    width: int
    cells: int
    volume: int
    hidden: int
    layers: int
    latent: int
    neighbours: int

    def __post_init__(self) -> None:
        for name, factor, smallest in (("size", SIDE, SIDE), ("cells", 4, FEWEST_CELLS)):
            value = getattr(self, name)
            if value % factor or not smallest <= value <= LARGEST:
                raise ValueError(
                    f"its {name} is {value}, but a multiple of {factor} from {smallest} to {LARGEST} is needed"
                )


PRESETS = {
    "small": ReconConfig(
        size=112, width=16, cells=16, volume=32, hidden=128, layers=2, latent=256, neighbours=4
    ),
    "large": ReconConfig(
        size=224, width=32, cells=32, volume=64, hidden=256, layers=4, latent=512, neighbours=4
    ),
}


class Scene(NamedTuple):
    """What the network knows about shapes after it has seen their images."""

    views: PosedViews
    neighbours: Neighbours
    maps: Float[Tensor, "shape view channel row column"]
    """Fine features of the pixels."""
    volume: Float[Tensor, "shape channel z y x"]
    """Features of the cells of the query cube."""


class Block(nn.Module):
    """A residual block of two convolutions, in two or three dimensions; with stride 2, it halves the resolution."""

    def __init__(
        self, convolution: type[nn.Conv2d] | type[nn.Conv3d], before: int, after: int, stride: int = 1
    ) -> None:
        super().__init__()
        self.first = convolution(before, after, 3, stride, 1)
        self.second = convolution(after, after, 3, 1, 1)
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, after) for _ in range(2))
        self.skip = nn.Identity() if (before, stride) == (after, 1) else convolution(before, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.silu(self.norms[0](self.first(x)))
        return F.silu(self.skip(x) + self.norms[1](self.second(inner)))


class ImageNetwork(nn.Module):
    """Convolutions over the images: maps at a half and a quarter of the resolution, and one vector per image."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        widths = [width << level for level in range(4)]
        self.stem = nn.Conv2d(5, widths[0], 5, 2, 2)
        self.down = nn.ModuleList(Block(nn.Conv2d, widths[i], widths[i + 1], 2) for i in range(3))
        self.up = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in range(3))
        self.smooth = nn.ModuleList(nn.Conv2d(widths[i], widths[i], 3, 1, 1) for i in range(2))
        # The vector of an image: its last level, and its camera.
        self.summary = nn.Sequential(
            nn.Linear(2 * widths[3] + 12, latent), nn.SiLU(), nn.Linear(latent, latent)
        )

    def forward(self, views: PosedViews) -> tuple[Tensor, Tensor, Tensor]:
        """Return fine maps, coarse maps, both (shape, view, channel, row, column), and one vector per shape."""
        outlines = (views.outlines / PIXELS).clamp(-2, 2)
        images = torch.cat([views.pictures, outlines[:, :, None]], dim=2).flatten(0, 1)
        levels = [F.silu(self.stem(images))]
        for block in self.down:
            levels.append(block(levels[-1]))
        last = levels[-1]
        for i in (2, 1, 0):
            wider = _resize(self.up[i](levels[i + 1]), levels[i])
            levels[i] = levels[i] + wider if i == 2 else self.smooth[i](levels[i] + wider)
            levels[i] = F.silu(levels[i])
        poses = views.cameras[:, :, :3].flatten(0, 1).flatten(1)
        vectors = self.summary(torch.cat([last.mean((2, 3)), last.amax((2, 3)), poses], dim=1))
        mean, largest = _pool(vectors.reshape(*views.outlines.shape[:2], -1)).chunk(2, dim=-1)
        half = mean.shape[-1] // 2
        vector = torch.cat([mean[:, :half], largest[:, half:]], dim=-1)
        fine, coarse = (level.reshape(*views.outlines.shape[:2], *level.shape[1:]) for level in levels[:2])
        return fine, coarse, vector


class Recon(nn.Module):
    """Reconstructs distance fields: `encode` reads the images, `forward` returns distances at points."""

    def __init__(self, config: ReconConfig) -> None:
        super().__init__()
        self.config = config
        fine, coarse = config.width, 2 * config.width
        w1, w2, w3 = (config.volume << level for level in range(3))
        self.images = ImageNetwork(config.width, config.latent)
        self.lift = nn.Linear(coarse + 2, 2 * w1)
        self.enter = nn.Linear(4 * w1 + 5 + 2 * config.neighbours, w1)
        self.down = nn.ModuleList(
            [Block(nn.Conv3d, w1, w1), Block(nn.Conv3d, w1, w2, 2), Block(nn.Conv3d, w2, w3, 2)]
        )
        self.modulation = nn.Linear(config.latent, 2 * w3)
        self.middle = Block(nn.Conv3d, w3, w3)
        self.up = nn.ModuleList([nn.Conv3d(w2, w1, 1), nn.Conv3d(w3, w2, 1)])
        self.join = nn.ModuleList([Block(nn.Conv3d, w1, w1), Block(nn.Conv3d, w2, w2)])
        self.read = nn.Linear(fine + 2, 32)
        self.first = nn.Linear(w1 + 64 + 2 + 3 * config.neighbours + 3 + 6 * OCTAVES, config.hidden)
        self.layers = nn.ModuleList(nn.Linear(config.hidden, config.hidden) for _ in range(config.layers))
        self.last = nn.Linear(config.hidden, 1)
        side = (torch.arange(config.cells) + 0.5) / config.cells * 2 - 1
        z, y, x = torch.meshgrid(side, side, side, indexing="ij")
        self.register_buffer("centres", torch.stack([x, y, z], dim=-1).reshape(-1, 3), persistent=False)

    @property
    def matrices(self) -> list[nn.Parameter]:
        """Weights of the hidden layers, which Muon can train: all but those of the first and the last layer."""
        outer = {id(self.images.stem.weight), id(self.last.weight)}
        return [weight for weight in self.parameters() if weight.ndim > 1 and id(weight) not in outer]

    def encode(self, views: PosedViews, neighbours: Neighbours) -> Scene:
        """Read the images of shapes, and the distances of similar shapes."""
        fine, coarse, vector = self.images(views)
        centres = self.get_buffer("centres").expand(len(vector), -1, -1)
        projections = views.project(centres)
        cones = views.cone_distances(projections)
        lifted = F.silu(
            self.lift(_beside(read_maps(coarse, projections.positions), cones, projections.depths))
        )
        hull = torch.stack([cones.amax(1), cones.mean(1)], dim=-1).clamp(-FARTHEST, FARTHEST)
        known = neighbours.distances(centres).clamp(-FARTHEST, FARTHEST)
        overlaps = neighbours.overlaps[:, None].expand_as(known)
        x = self.enter(torch.cat([_pool(lifted), hull, centres, known, overlaps], dim=-1))
        levels = [x.mT.reshape(len(x), -1, *[self.config.cells] * 3)]  # (shape, channel, z, y, x)
        for block in self.down:
            levels.append(block(levels[-1]))
        scale, shift = self.modulation(vector)[:, :, None, None, None].chunk(2, dim=1)
        volume = self.middle(levels[3] * (1 + scale) + shift)
        for i in (1, 0):
            volume = self.join[i](levels[i + 1] + _resize(self.up[i](volume), levels[i + 1]))
        return Scene(views, neighbours, fine, volume)

    def forward(self, scene: Scene, points: Float[Tensor, "shape point 3"]) -> Float[Tensor, "shape point"]:
        """Return signed distances, negative inside, in units of the query cube's half side."""
        projections = scene.views.project(points)
        cones = scene.views.cone_distances(projections)
        pixels = F.silu(
            self.read(_beside(read_maps(scene.maps, projections.positions), cones, projections.depths))
        )
        hull = cones.amax(1)[..., None]
        known = scene.neighbours.distances(points)
        overlaps = scene.neighbours.overlaps[:, None].expand_as(known)
        waves = [wave(points * (math.pi * 2**k)) for k in range(OCTAVES) for wave in (torch.sin, torch.cos)]
        x = torch.cat([
            read_volume(scene.volume, points), _pool(pixels), _scales(hull), _scales(known), overlaps, points, *waves,
        ], dim=-1)  # fmt: skip
        x = F.silu(self.first(x))
        for layer in self.layers:
            x = x + F.silu(layer(x))
        distances: Tensor = self.last(x)[..., 0].float() * NEAREST
        # No shape extends beyond the visual hull of its images.
        return torch.maximum(distances, hull[..., 0])


def _beside(
    features: Float[Tensor, "shape view point channel"],
    cones: Float[Tensor, "shape view point"],
    depths: Float[Tensor, "shape view point"],
) -> Float[Tensor, "shape view point channel+2"]:
    return torch.cat([features, cones.clamp(-FARTHEST, FARTHEST)[..., None], depths[..., None] - 2.5], dim=-1)


def _scales(distances: Float[Tensor, "shape point value"]) -> Float[Tensor, "shape point 2*value"]:
    """Return distances at two scales."""
    near = distances.clamp(-NEAREST, NEAREST) * (FARTHEST / NEAREST)
    return torch.cat([distances.clamp(-FARTHEST, FARTHEST), near], dim=-1)


def _pool(x: Float[Tensor, "shape view *rest"]) -> Float[Tensor, "shape ..."]:
    """Pool over the views, whose number and order do not matter: mean and maximum, one after the other."""
    return torch.cat([x.mean(1), x.amax(1)], dim=-1)


def _resize(x: Tensor, like: Tensor) -> Tensor:
    mode = "bilinear" if x.ndim == 4 else "trilinear"
    return F.interpolate(x, size=like.shape[2:], mode=mode, align_corners=False)
