"""Images with silhouettes and cameras, and the rays through their pixels that a step of Flow-SDF uses."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from sdfkit.models.rendering.outlines import empty_sines
from sdfkit.models.rendering.silhouette import RADIUS, cast_rays, find_ball_pixels

# Pixels at most this far from the edge of a silhouette, in pixels, count as near the edge.
BAND = 2.0


class Pictures(NamedTuple):
    """Views of shapes: the whole training data of Flow-SDF."""

    rgb: UInt8[Tensor, "shape view side side 3"]
    """Images at the input size of the conditioner. `grey`, `mask` and `distances` may be larger."""
    grey: UInt8[Tensor, "shape view row column"]
    mask: Bool[Tensor, "shape view row column"]
    distances: Float[Tensor, "shape view row column"]
    """Distance of each pixel from the silhouette's edge, in pixels, negative inside."""
    cameras: Float[Tensor, "shape view 4 4"]
    yfov: Float[Tensor, "shape view"]
    features: Float[Tensor, "shape condition patch feature"] | None
    """Features of images or captions, if the conditioner takes features in place of images; else None."""

    def to(self, device: torch.device) -> "Pictures":
        """Copy all arrays to a device."""
        features = None if self.features is None else self.features.to(device)
        rgb, grey, mask, distances, cameras, yfov = (
            part.to(device)
            for part in (self.rgb, self.grey, self.mask, self.distances, self.cameras, self.yfov)
        )
        return Pictures(rgb, grey, mask, distances, cameras, yfov, features)

    @property
    def conditions(self) -> int:
        """Number of conditions per shape: its features if there are any, otherwise its images."""
        return (self.rgb if self.features is None else self.features).shape[1]


class Rays(NamedTuple):
    """Rays of some shapes. The rays of a shape are those of its views, one view after the other."""

    origins: Float[Tensor, "shape ray 3"]
    directions: Float[Tensor, "shape ray 3"]
    mask: Bool[Tensor, "shape ray"]
    """Whether the ray's pixel belongs to the shape."""
    sines: Float[Tensor, "shape ray"]
    """Sine of the half angle of the widest cone about the ray that the shape does not enter; see `empty_sines`."""
    grey: Float[Tensor, "shape ray"]
    """Grey value of the ray's pixel, from 0 to 1."""


def select_conditions(pictures: Pictures, rows: Int[Tensor, " row"], views: Int[Tensor, " row"]) -> Tensor:
    """Return the conditioner's input for one view of each of some shapes: images from -1 to 1, or features."""
    if pictures.features is not None:
        return pictures.features[rows, views][:, None]  # (row, 1, patch, feature)
    return normalise_pictures(pictures.rgb[rows, views])[:, None]  # (row, 1, 3, row, column)


def normalise_pictures(rgb: UInt8[Tensor, "*batch row column 3"]) -> Float[Tensor, "*batch 3 row column"]:
    """Convert images to the conditioner's input: channels first, values from -1 to 1."""
    return rgb.movedim(-1, -3).float() / 127.5 - 1


def choose_rays(
    pictures: Pictures,
    rows: Int[Tensor, " row"],
    views: Int[Tensor, "row view"],
    chances: Float[Tensor, "row view ray"],
    *,
    edge: float,
) -> Rays:
    """Draw rays through pixels of views, preferably near the silhouettes' edges; all of them intersect the unit ball.

    The draw is stratified: the pixels of a view, row after row, are laid out as intervals of a line. The interval of a
    pixel has the length 1, or `edge` near the silhouette's edge, or 0 if the ray misses the ball. The line is divided
    into as many equal parts as rays are drawn, and one point in each part selects a pixel. If a view has no more pixels
    than rays are drawn, all pixels are taken.

    Args:
        pictures: All views of all shapes.
        rows: The shapes to draw rays for.
        views: Some views of each of these shapes.
        chances: Position within its part of the line at which each ray is taken, from 0 to 1.
        edge: Ratio of the probability of a pixel near the edge to that of another pixel.
    """
    at, rays = (rows[:, None], views), chances.shape[2]
    height, width = pictures.mask.shape[2:]
    if rays >= height * width:
        return rays_through(pictures, rows, views, grid_pixels(pictures, 1).expand(*views.shape, -1))
    cameras = pictures.cameras[at].flatten(0, 1)
    met = find_ball_pixels(cameras, pictures.yfov[at].flatten(), height, width, RADIUS).view(*views.shape, -1)
    near_edge = pictures.distances[at].flatten(2).abs() <= BAND
    ends = torch.where(met, torch.where(near_edge, edge, 1.0), 0.0).cumsum(dim=2)
    parts = (torch.arange(rays, device=chances.device) + chances) / rays
    chosen = torch.searchsorted(ends, parts * ends[..., -1:], right=True).clamp(max=height * width - 1)
    return rays_through(pictures, rows, views, chosen)


def grid_pixels(pictures: Pictures, spacing: int) -> Int[Tensor, " pixel"]:
    """Return the indices of a view's pixels, row after row: one of each square of `spacing` × `spacing` pixels."""
    numbers = torch.arange(pictures.mask[0, 0].numel(), device=pictures.mask.device)
    middle = slice(spacing // 2, None, spacing)
    return numbers.view(pictures.mask.shape[2:])[middle, middle].flatten()


def rays_through(
    pictures: Pictures,
    rows: Int[Tensor, " row"],
    views: Int[Tensor, "row view"],
    pixels: Int[Tensor, "row view pixel"],
) -> Rays:
    """Return the rays through pixels of views of shapes."""
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
