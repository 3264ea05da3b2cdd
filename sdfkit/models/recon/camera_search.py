"""Finds cameras from which known shapes have the silhouettes of given images.

Silhouettes are compared after normalisation: the centre and the size of their bounding box are the same. So the place
and the size of the object in an image do not matter, and the distance of the camera need not be known.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sdfkit.models.recon.posed_views import PosedViews

# Width and height in pixels of normalised silhouettes, and of the images in which shapes are drawn: those in which all
# shapes are compared, and those of the refinement.
SIDE, FINE_SIDE = 28, 56
# Share of a normalised silhouette's side that the longer side of the bounding box takes.
FILLED = 0.92
# Nodes at most at this distance are drawn. Walls that are thinner than a cell have no node inside: with a level of
# -0.015, half of the directions of thin shapes were wrong.
LEVEL = 0.01
# Angle between neighbouring candidate directions.
STEP = math.radians(12)
# Number of directions that are refined, and the steps of their angles. Roll is limited to MAX_ROLL.
REFINED = 10
ANGLES = (math.radians(6), math.radians(3), math.radians(1.5))
# Steps of size and place beside those of the angles, as shares of the silhouette.
SHIFTS = (0.04, 0.02, 0.01)
MAX_ROLL = math.radians(15)
# Difference of overlaps by which a direction becomes 1/e as probable. With it, the expected errors of 55 shapes that
# are not in the training set were 55° on average, and so were their true errors.
TEMPERATURE = 0.02
# Grids with fewer nodes along a side are interpolated for the refinement, whose pixels would show gaps between nodes.
FEWEST_NODES = 45
# Largest number of silhouettes that are compared at once.
BATCH = 1 << 13


class Lens(NamedTuple):
    """What is common to all cameras."""

    distance: float
    """Distance from the origin."""
    yfov: float
    """Field of view of a square image."""


class Estimate(NamedTuple):
    """The camera of one image."""

    camera_to_world: Float[Tensor, "4 4"]
    box: tuple[float, float, float]
    """Centre (column, row) and half the side of the normalised silhouette's square in the image of this camera, whose
    columns and rows run from -1 to 1."""
    overlap: float
    """IoU of the normalised silhouettes of the image and of the most similar shape."""
    error: float
    """Expected angle between the viewing direction and the true one, over the candidate directions."""
    shape: int
    """Index of the shape."""


def list_directions(lowest: float, highest: float) -> Float[Tensor, "direction 2"]:
    """Return azimuths and elevations about `STEP` apart, with elevations from `lowest` to `highest`.

    Azimuth 0 is +Z, a quarter of a turn is +X.
    """
    rows = max(1, round((highest - lowest) / STEP) + 1)
    angles = []
    for row, elevation in enumerate(torch.linspace(lowest, highest, rows).tolist()):
        count = max(1, round(2 * math.pi * math.cos(elevation) / STEP))
        angles += [(2 * math.pi * (column + row % 2 / 2) / count, elevation) for column in range(count)]
    return torch.tensor(angles)


def viewing_axes(angles: Float[Tensor, "camera angle"]) -> Float[Tensor, "camera 3"]:
    """Return the unit vectors from the origin to cameras of given azimuth and elevation."""
    azimuth, elevation = angles[:, 0], angles[:, 1]
    across = elevation.cos()
    return torch.stack([across * azimuth.sin(), elevation.sin(), across * azimuth.cos()], dim=-1)


def make_cameras(angles: Float[Tensor, "camera angle"], distance: float) -> Float[Tensor, "camera 4 4"]:
    """Return the camera-to-world matrices of cameras that look at the origin.

    Args:
        angles: Azimuth, elevation and, if there is a third column, roll; with roll 0, +Y is up in the image. With
            positive roll, the camera is turned counter-clockwise, and what it sees clockwise.
        distance: Distance from the origin.
    """
    back = viewing_axes(angles)
    azimuth = angles[:, 0]
    right = torch.stack([azimuth.cos(), torch.zeros_like(azimuth), -azimuth.sin()], dim=-1)
    up = torch.linalg.cross(back, right)
    roll = angles[:, 2:3] if angles.shape[1] > 2 else torch.zeros(len(angles), 1)
    cameras = torch.eye(4).repeat(len(angles), 1, 1)
    cameras[:, :3, 0] = roll.cos() * right + roll.sin() * up
    cameras[:, :3, 1] = roll.cos() * up - roll.sin() * right
    cameras[:, :3, 2] = back
    cameras[:, :3, 3] = distance * back
    return cameras


def draw_points(
    points: Float[Tensor, "point 3"], cameras: Float[Tensor, "camera 4 4"], lens: Lens, side: int
) -> Bool[Tensor, "camera row column"]:
    """Return images of the pixels that contain a point."""
    empty = torch.empty(0)
    views = PosedViews(empty, empty, cameras[None], torch.full((1, len(cameras)), lens.yfov))
    positions = views.project(points[None]).positions[0]
    column, row = ((positions + 1) * (side / 2)).long().clamp(0, side - 1).unbind(-1)
    image = torch.zeros(len(cameras), side * side, dtype=torch.bool)
    image.scatter_(1, row * side + column, True)
    return image.view(-1, side, side)


class Normalised(NamedTuple):
    """Normalised silhouettes."""

    images: Float[Tensor, "image pixel"]
    boxes: Float[Tensor, "image 3"]
    """Centre (column, row) and half side of their squares in the images, whose columns and rows run from -1 to 1."""


def normalise(
    images: Float[Tensor, "image row column"], change: Float[Tensor, "image 3"] | None = None
) -> Normalised:
    """Crop the square around each silhouette. Images must not be empty.

    Args:
        images: Share of each pixel that a shape covers.
        change: Shift of the square, as a share of its half side, and logarithm of a factor of its size.
    """
    side = images.shape[-1]
    edges = torch.linspace(-1, 1, side + 1)
    inside = images > 0.5
    low, high = [], []
    for axis in (1, 2):  # columns, rows
        taken = inside.any(dim=axis)
        low.append(torch.where(taken, edges[:-1], 2.0).amin(dim=1))
        high.append(torch.where(taken, edges[1:], -2.0).amax(dim=1))
    lower, upper = torch.stack(low, dim=-1), torch.stack(high, dim=-1)
    centre = (lower + upper) / 2
    half = (upper - lower).amax(dim=1, keepdim=True) / (2 * FILLED)
    if change is not None:
        centre = centre + change[:, :2] * half
        half = half * change[:, 2:].exp()
    pixels = (torch.arange(SIDE) + 0.5) * (2 / SIDE) - 1
    x = (centre[:, :1] + half * pixels)[:, None].expand(-1, SIDE, -1)
    y = (centre[:, 1:] + half * pixels)[:, :, None].expand(-1, -1, SIDE)
    read = F.grid_sample(images[:, None], torch.stack([x, y], dim=-1), align_corners=False)
    return Normalised(read.flatten(1), torch.cat([centre, half], dim=1))


class CameraSearch:
    """Shapes whose silhouettes are compared with those of images.

    Args:
        grids: Signed distances of the shapes at nodes from -1 to 1 along each axis.
        lens: Distance and field of view of the cameras.
        lowest: Lowest elevation of candidate cameras.
        highest: Highest elevation.
    """

    def __init__(
        self, grids: Float[Tensor, "shape x y z"], lens: Lens, *, lowest: float, highest: float
    ) -> None:
        self._grids, self._lens, self._limits = grids.float(), lens, (lowest, highest)
        self._directions = list_directions(lowest, highest)
        cameras = make_cameras(self._directions, lens.distance)
        # Shapes without a node inside are never found.
        self._shapes = (grids.flatten(1).amin(dim=1) <= LEVEL).nonzero()[:, 0]
        known = [
            normalise(draw_points(list_points(grid), cameras, lens, SIDE).float()).images.half()
            for grid in self._grids[self._shapes]
        ]
        self._known = torch.cat(known) if known else torch.empty(0, SIDE * SIDE)

    @property
    def is_empty(self) -> bool:
        """Whether no shape has a silhouette."""
        return len(self._shapes) == 0

    def search(self, masks: Float[Tensor, "view pixel"]) -> list[Estimate]:
        """Estimate the cameras of images of one object.

        The most similar shape must explain all images: of two directions of one shape, the one with the larger overlap
        is better, and of two shapes, the one whose best overlaps are larger on average. Then the best candidates are
        refined.

        Args:
            masks: Normalised silhouettes, `SIDE` pixels a side.
        """
        overlaps = torch.stack([self._compare(mask) for mask in masks])  # (view, shape, direction)
        best = overlaps.amax(dim=2, keepdim=True)
        joint = overlaps - best + best.mean(dim=0)
        return [self._refine(mask, view) for mask, view in zip(masks, joint, strict=True)]

    def _compare(self, mask: Float[Tensor, " pixel"]) -> Float[Tensor, "shape direction"]:
        parts = []
        for part in torch.split(self._known, BATCH):
            known = part.float()
            both = known @ mask
            parts.append(both / (known.sum(dim=1) + mask.sum() - both))
        return torch.cat(parts).view(len(self._shapes), -1)

    def _refine(self, mask: Float[Tensor, " pixel"], overlaps: Float[Tensor, "shape direction"]) -> Estimate:
        found, shapes = overlaps.max(dim=0)
        chosen = found.topk(min(REFINED, len(found))).indices
        fits = [self._fit(mask, int(shapes[index]), self._directions[index]) for index in chosen]
        best = max(range(len(fits)), key=lambda index: fits[index][0])
        overlap, angles, box = fits[best]
        # The other directions count as if they gained as much by a refinement as the refined ones on average.
        refined = torch.tensor([fit[0] for fit in fits])
        found, axes = found + (refined - found[chosen]).mean(), viewing_axes(self._directions)
        found[chosen], axes[chosen] = refined, viewing_axes(torch.stack([fit[1] for fit in fits]))
        weights = (found / TEMPERATURE).softmax(dim=0)
        error = float(weights @ (axes @ axes[chosen[best]]).clamp(-1, 1).arccos())
        shape = int(self._shapes[shapes[chosen[best]]])
        return Estimate(make_cameras(angles[None], self._lens.distance)[0], box, overlap, error, shape)

    def _fit(
        self, mask: Float[Tensor, " pixel"], shape: int, direction: Float[Tensor, "2"]
    ) -> tuple[float, Float[Tensor, "3"], tuple[float, float, float]]:
        """Move a camera in small steps until the overlap of one shape's silhouette with the image is largest."""
        grid = self._grids[self._shapes[shape]]
        points = list_points(refine_grid(grid) if len(grid) < FEWEST_NODES else grid)
        current = torch.cat([direction, torch.zeros(4)])  # azimuth, elevation, roll; shift (2), log size
        best, box = -1.0, torch.zeros(3)
        for angle, shift in zip(ANGLES, SHIFTS, strict=True):
            steps = torch.diag(torch.tensor([angle] * 3 + [shift] * 3))
            # Azimuths are closer together near the poles.
            steps[0, 0] /= max(0.2, math.cos(float(current[1])))
            moved = True
            while moved:
                tried = current + torch.cat([torch.zeros(1, 6), steps, -steps])
                tried[:, 1] = tried[:, 1].clamp(*self._limits)
                tried[:, 2] = tried[:, 2].clamp(-MAX_ROLL, MAX_ROLL)
                cameras = make_cameras(tried[:, :3], self._lens.distance)
                images = draw_points(points, cameras, self._lens, FINE_SIDE)
                known, boxes = normalise(images.float(), tried[:, 3:])
                overlaps = torch.minimum(known, mask).sum(dim=1) / torch.maximum(known, mask).sum(dim=1)
                top = int(overlaps.argmax())
                moved = float(overlaps[top]) > best + 1e-4
                if moved:
                    best, current, box = float(overlaps[top]), tried[top], boxes[top]
                moved = moved and top > 0
        x, y, half = box.tolist()
        return best, current[:3], (x, y, half)


def list_points(grid: Float[Tensor, "x y z"]) -> Float[Tensor, "point 3"]:
    """Return the positions of the nodes of a grid that are drawn."""
    inside = (grid <= LEVEL).nonzero()
    return inside * (2 / (grid.shape[0] - 1)) - 1


def refine_grid(grid: Float[Tensor, "x y z"]) -> Float[Tensor, "finer_x finer_y finer_z"]:
    """Halve the spacing of a grid by linear interpolation."""
    size = [2 * side - 1 for side in grid.shape]
    return F.interpolate(grid[None, None], size, mode="trilinear", align_corners=True)[0, 0]
