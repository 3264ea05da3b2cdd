"""Pictures with their silhouettes and cameras, and the rays through them that a step of Flow-SDF looks along."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from sdfkit.models.rendering.outlines import empty_sines
from sdfkit.models.rendering.silhouette import RADIUS, cast_rays, meet_ball

# Pixels on each side of a silhouette's edge that count as near it.
BAND = 2.0


class Pictures(NamedTuple):
    """What there is to see of shapes. Nothing else is known of them."""

    rgb: UInt8[Tensor, "shape view side side 3"]
    """At the size that the conditioner looks at; what follows may be larger."""
    grey: UInt8[Tensor, "shape view row column"]
    mask: Bool[Tensor, "shape view row column"]
    distances: Float[Tensor, "shape view row column"]
    """Of pixels from the silhouette's edge, in pixels, negative inside."""
    cameras: Float[Tensor, "shape view 4 4"]
    yfov: Float[Tensor, "shape view"]
    features: Float[Tensor, "shape seen patch feature"] | None
    """What an encoder made of pictures, or of captions, where the conditioner looks at that."""

    def to(self, device: torch.device) -> "Pictures":
        features = None if self.features is None else self.features.to(device)
        rgb, grey, mask, distances, cameras, yfov = (
            part.to(device)
            for part in (self.rgb, self.grey, self.mask, self.distances, self.cameras, self.yfov)
        )
        return Pictures(rgb, grey, mask, distances, cameras, yfov, features)

    @property
    def seen(self) -> int:
        """How many views of a shape the conditioner can look at: features may be more or fewer."""
        return (self.rgb if self.features is None else self.features).shape[1]


class Rays(NamedTuple):
    """Rays of some shapes, each shape's views one after the other."""

    origins: Float[Tensor, "shape ray 3"]
    directions: Float[Tensor, "shape ray 3"]
    mask: Bool[Tensor, "shape ray"]
    """Whether the ray's pixel belongs to the shape."""
    sines: Float[Tensor, "shape ray"]
    """How wide a cone around it shows nothing, see `outlines.empty_sines`."""
    grey: Float[Tensor, "shape ray"]
    """Of its pixel, from 0 to 1."""


def look(pictures: Pictures, rows: Int[Tensor, " row"], views: Int[Tensor, " row"]) -> Tensor:
    """What the conditioner is given of one view of each of some shapes: pictures from -1 to 1, or features."""
    if pictures.features is not None:
        return pictures.features[rows, views][:, None]  # (row, 1, patch, feature)
    return prepare(pictures.rgb[rows, views])[:, None]  # (row, 1, 3, row, column)


def prepare(rgb: UInt8[Tensor, "*batch row column 3"]) -> Float[Tensor, "*batch 3 row column"]:
    """Pictures as the convolutions take them, from -1 to 1."""
    return rgb.movedim(-1, -3).float() / 127.5 - 1


def choose_rays(
    pictures: Pictures,
    rows: Int[Tensor, " row"],
    views: Int[Tensor, "row view"],
    chances: Float[Tensor, "row view ray"],
    *,
    edge: float,
) -> Rays:
    """Choose rays through views of shapes among those that meet the ball, those near silhouettes' edges rather.

    A view's pixels, row after row, cover a line: each has a length of 1 on it, of `edge` near the silhouette's edge
    and of 0 where it misses the ball. Each equal part of that line gives one ray. Where there are as many rays as
    pixels, all are taken.

    Args:
        pictures: All there is to see.
        rows: The shapes.
        views: Some views of each.
        chances: Where in its part of the line each ray is taken, from 0 to 1.
        edge: How many times as likely a ray near the edge is chosen as another.
    """
    at, rays = (rows[:, None], views), chances.shape[2]
    height, width = pictures.mask.shape[2:]
    if rays >= height * width:
        return rays_through(pictures, rows, views, grid_pixels(pictures, 1).expand(*views.shape, -1))
    cameras = pictures.cameras[at].flatten(0, 1)
    met = meet_ball(cameras, pictures.yfov[at].flatten(), height, width, RADIUS).view(*views.shape, -1)
    near_edge = pictures.distances[at].flatten(2).abs() <= BAND
    ends = torch.where(met, torch.where(near_edge, edge, 1.0), 0.0).cumsum(dim=2)
    parts = (torch.arange(rays, device=chances.device) + chances) / rays
    chosen = torch.searchsorted(ends, parts * ends[..., -1:], right=True).clamp(max=height * width - 1)
    return rays_through(pictures, rows, views, chosen)


def grid_pixels(pictures: Pictures, spacing: int) -> Int[Tensor, " pixel"]:
    """The pixels of a view, row after row, or one of each square of `spacing` × `spacing`."""
    numbers = torch.arange(pictures.mask[0, 0].numel(), device=pictures.mask.device)
    middle = slice(spacing // 2, None, spacing)
    return numbers.view(pictures.mask.shape[2:])[middle, middle].flatten()


def rays_through(
    pictures: Pictures,
    rows: Int[Tensor, " row"],
    views: Int[Tensor, "row view"],
    pixels: Int[Tensor, "row view pixel"],
) -> Rays:
    """The rays through pixels of views of shapes."""
    height, width = pictures.mask.shape[2:]
    yfov = pictures.yfov[rows[:, None], views].flatten()
    chosen = pixels.flatten(0, 1)
    cameras = pictures.cameras[rows[:, None], views].flatten(0, 1)
    origins, directions = cast_rays(cameras, yfov, height, width, chosen)
    at = (rows[:, None, None], views[..., None], pixels)
    mask, distances, grey = (
        part.flatten(2)[at] for part in (pictures.mask, pictures.distances, pictures.grey)
    )
    sines = empty_sines(distances.flatten(0, 1).float(), yfov, height, width, chosen)
    return Rays(
        origins[:, None].expand_as(directions).reshape(len(rows), -1, 3),
        directions.reshape(len(rows), -1, 3),
        mask.flatten(1),
        sines.reshape(len(rows), -1),
        grey.flatten(1).float() / 255,
    )
