"""Images with known cameras: projection of points into them, and values read at the projections.

The images are square. Cameras look along their own -Z, +Y up, as in `images.rendering.cameras`.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

# Points nearer to a camera than this, or behind it, are outside every shape: cameras are outside the unit ball, which
# contains the shape, while the query cube extends beyond the ball.
NEAR = 0.05


class Projections(NamedTuple):
    """Points as cameras see them."""

    positions: Float[Tensor, "shape view point 2"]
    """Column and row in the image, from -1 at the left and the top edge to 1 at the right and the bottom edge.
    They have no meaning for points at a depth below `NEAR`."""
    depths: Float[Tensor, "shape view point"]
    """Distances from the camera along its viewing direction."""


class PosedViews(NamedTuple):
    """Images of shapes, their outlines and their cameras. All shapes have the same number of views."""

    pictures: Float[Tensor, "shape view channel row column"]
    """Red, green, blue and the share of the pixel that the shape covers, from 0 to 1."""
    outlines: Float[Tensor, "shape view row column"]
    """Signed distance of each pixel's centre from the outline, in pixels of these images, negative inside."""
    cameras: Float[Tensor, "shape view 4 4"]
    """Camera-to-world matrices."""
    yfov: Float[Tensor, "shape view"]
    """Vertical fields of view in radians."""

    def project(self, points: Float[Tensor, "shape point 3"]) -> Projections:
        """Project points into all views of their shape."""
        offsets = points[:, None] - self.cameras[:, :, None, :3, 3]
        x, y, z = (offsets @ self.cameras[:, :, :3, :3]).unbind(-1)  # each (shape, view, point)
        depths = -z
        scale = depths.clamp(min=NEAR) * torch.tan(self.yfov / 2)[:, :, None]
        return Projections(torch.stack([x / scale, -y / scale], dim=-1), depths)

    def cone_distances(self, projections: Projections) -> Float[Tensor, "shape view point"]:
        """Return signed distances from the cone of each silhouette, negative inside.

        The maximum over the views is the distance from the visual hull, as `images.visual_hull` defines it. A cone ends
        at the depth `NEAR`.
        """
        pixels = read_maps(self.outlines[:, :, None], projections.positions)[..., 0]
        lengths = 2 / self.outlines.shape[-1] * torch.tan(self.yfov / 2)[:, :, None]
        cones = pixels * projections.depths.clamp(min=NEAR) * lengths
        return torch.maximum(cones, NEAR - projections.depths)


def turn_matrices(
    mirrored: Bool[Tensor, " shape"], angles: Float[Tensor, " shape"]
) -> Float[Tensor, "shape 3 3"]:
    """Return matrices that mirror at the plane x = 0, where asked for, and then turn about the y axis."""
    sign = torch.where(mirrored, -1.0, 1.0)
    turns = torch.zeros(len(sign), 3, 3)
    turns[:, 0, 0], turns[:, 0, 2] = sign * torch.cos(angles), torch.sin(angles)
    turns[:, 1, 1] = 1
    turns[:, 2, 0], turns[:, 2, 2] = -sign * torch.sin(angles), torch.cos(angles)
    return turns


def turn_views(
    views: PosedViews, mirrored: Bool[Tensor, " shape"], turns: Float[Tensor, "shape 3 3"]
) -> PosedViews:
    """Mirror and turn shapes together with their cameras.

    The images of a mirrored shape are flipped: its cameras are the mirrored ones, whose own x axis is reversed so that
    they remain rotations.

    Args:
        views: The views.
        mirrored: Which shapes are mirrored.
        turns: Return value of `turn_matrices`.
    """
    cameras = views.cameras.clone()
    cameras[:, :, :3] = turns[:, None] @ views.cameras[:, :, :3]
    cameras[:, :, :, 0] *= torch.where(mirrored, -1.0, 1.0)[:, None, None]
    pictures = torch.where(mirrored[:, None, None, None, None], views.pictures.flip(-1), views.pictures)
    outlines = torch.where(mirrored[:, None, None, None], views.outlines.flip(-1), views.outlines)
    return PosedViews(pictures, outlines, cameras, views.yfov)


def read_maps(
    maps: Float[Tensor, "shape view channel row column"], positions: Float[Tensor, "shape view point 2"]
) -> Float[Tensor, "shape view point channel"]:
    """Interpolate maps linearly at positions in the images; beyond an edge, the nearest pixel counts."""
    read = F.grid_sample(
        maps.flatten(0, 1).float(),
        positions.flatten(0, 1)[:, None],
        padding_mode="border",
        align_corners=False,
    )  # (shape · view, channel, 1, point)
    return read[:, :, 0].mT.reshape(*maps.shape[:2], positions.shape[2], -1)


def read_volume(
    volume: Float[Tensor, "shape channel z y x"], points: Float[Tensor, "shape point 3"]
) -> Float[Tensor, "shape point channel"]:
    """Interpolate a volume, whose cells divide the cube from -1 to 1 along each axis, linearly at points."""
    read = F.grid_sample(volume.float(), points[:, None, None], padding_mode="border", align_corners=False)
    return read[:, :, 0, 0].transpose(1, 2)
