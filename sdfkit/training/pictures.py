"""Pictures with their silhouettes and cameras, and the rays through them that a step of Flow-SDF looks along."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from sdfkit.models.outlines import empty_sines
from sdfkit.models.silhouette import RADIUS, ball_span, cast_rays

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
    chances: Float[Tensor, "row view pixel"],
    *,
    rays: int,
    edge: float,
) -> Rays:
    """Choose rays through views of shapes among those that meet the ball, those near silhouettes' edges rather.

    Args:
        pictures: All there is to see.
        rows: The shapes.
        views: Some views of each.
        chances: Uniform draws, from 0 to 1, for every pixel.
        rays: Rays a view.
        edge: How many times as likely a ray near the edge is chosen as another.
    """
    all_rays = rays_through(pictures, rows, views)
    shape = (len(rows), views.shape[1], -1)
    near, far = ball_span(all_rays.origins, all_rays.directions, RADIUS)
    band = pictures.distances[rows[:, None], views].flatten(2).abs() <= BAND
    weights = (near < far).view(shape) * torch.where(band, edge, 1.0)
    # Of all ways to draw without replacement, this one needs a sort only. Efraimidis and Spirakis (2006).
    keys = torch.where(weights > 0, chances.log() / weights, -torch.inf)
    chosen = keys.topk(min(rays, keys.shape[2]), dim=2).indices  # (row, view, ray)
    offsets = torch.arange(shape[1], device=chosen.device)[:, None] * keys.shape[2]
    index = (chosen + offsets).flatten(1)  # (row, ray)
    return Rays(*(part[torch.arange(len(rows))[:, None], index] for part in all_rays))


def rays_through(pictures: Pictures, rows: Int[Tensor, " row"], views: Int[Tensor, "row view"]) -> Rays:
    """The rays through all pixels of views of shapes."""
    at = (rows[:, None], views)
    height, width = pictures.mask.shape[2:]
    cameras, yfov = pictures.cameras[at], pictures.yfov[at]
    origins, directions = cast_rays(cameras.flatten(0, 1), yfov.flatten(), height, width)
    count, pixels = len(rows), height * width
    return Rays(
        origins[:, None].expand(-1, pixels, -1).reshape(count, -1, 3),
        directions.view(count, -1, 3),
        pictures.mask[at].flatten(1),
        empty_sines(pictures.distances[at].flatten(0, 1).float(), yfov.flatten()).view(count, -1),
        pictures.grey[at].flatten(1).float() / 255,
    )
