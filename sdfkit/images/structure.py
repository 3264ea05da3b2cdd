"""Depth and normals as images, for encoders that were trained on photos; and estimates of depth, scaled to be such."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

# Grey level of a surface at the far end of the unit sphere. Above 0, to differ from the background.
FARTHEST = 51

# Where the 2nd and 98th percentile of a view's depth lie, less the camera's distance: the mean over 480 views of 60
# generated shapes. One view to the next they differ with standard deviations of 0.18 and 0.26.
FRONT, BACK = -0.71, 0.23
PERCENTILES = (2.0, 98.0)
# An estimate that varies by a smaller share of its largest value has no relief that could be scaled.
LEAST_RELIEF = 1e-6


class MaskedView(NamedTuple):
    """A view whose depth is to be estimated.

    Attributes:
        picture: Colours on black.
        mask: Share of each pixel that the shape covers, from 0 to 255.
        distance: Distance of the camera from the shape's centre.
        yfov: Vertical field of view in radians.
    """

    picture: UInt8[np.ndarray, "row column 3"]
    mask: UInt8[np.ndarray, "row column"]
    distance: float
    yfov: float


def draw_depth(
    depth: Float[np.ndarray, "view row column"], distance: Float[np.ndarray, " view"]
) -> UInt8[np.ndarray, "view row column 3"]:
    """Encode depth as grey levels: 255 at the front of the unit sphere, 51 at its back, and linear in between.

    The background, where depth is 0, is black. `distance` is that of each camera from the sphere's centre.
    """
    behind_front = np.clip((depth - (distance[:, None, None] - 1)) / 2, 0, 1)
    level = np.where(depth > 0, 255 - (255 - FARTHEST) * behind_front, 0)
    return np.repeat(np.rint(level).astype(np.uint8)[..., None], 3, axis=-1)


def draw_normals(
    normal: Float[np.ndarray, "view row column 3"],
) -> UInt8[np.ndarray, "view row column 3"]:
    """Encode unit normals as colours: each coordinate from -1 to 1 becomes a level from 0 to 255.

    The background, where the normal is 0, is black.
    """
    is_shape = normal.any(axis=-1, keepdims=True)
    return np.rint(np.where(is_shape, np.clip(normal + 1, 0, 2) * 127.5, 0)).astype(np.uint8)


def draw_estimate(
    estimate: Float[np.ndarray, "row column"], view: MaskedView, *, is_inverse: bool
) -> dict[str, UInt8[np.ndarray, "row column 3"]]:
    """Draw an estimate of depth as `draw_depth` draws true depth, and the normals that follow from it.

    Depth is that of `scale_depth`. Normals are those of `normals_of_depth`: in the frame of the camera, whereas the
    true normals of `render` are in the frame of the shape, which is unknown for photos.

    Returns:
        The images `depth` and `normal`.
    """
    depth = scale_depth(estimate, view.mask, view.distance, is_inverse=is_inverse)
    return {
        "depth": draw_depth(depth[None], np.array([view.distance]))[0],
        "normal": draw_normals(normals_of_depth(depth, view.yfov)[None])[0],
    }


def scale_depth(
    estimate: Float[np.ndarray, "row column"],
    mask: UInt8[np.ndarray, "row column"],
    distance: float,
    *,
    is_inverse: bool,
) -> Float[np.ndarray, "row column"]:
    """Scale an estimate of depth to that of a shape of average extent in the unit frame.

    Estimators give depth, or inverse depth, of unknown scale and offset. Both are chosen so that the 2nd and the 98th
    percentile over the shape lie where they lie on average in rendered views, `FRONT` and `BACK` behind the shape's
    centre. Pixels next to the outline are left out of the percentiles, because estimators blur the shape with its
    background there. How deep a shape is in comparison with its width is lost: a thin plate seen from the front and a
    ball get the same depth of relief. With inverse depth, a plane remains a plane. An estimate without relief becomes a
    surface halfway between front and back.

    Args:
        estimate: Depth, or inverse depth, with any scale above 0 and any offset.
        mask: Share of each pixel that the shape covers, from 0 to 255.
        distance: Distance of the camera from the shape's centre, above 1.
        is_inverse: Whether the estimate is of inverse depth, which is larger for nearer surfaces.

    Returns:
        Depth along the camera's -Z, inside the unit sphere; 0 where the shape covers less than half of a pixel.
    """
    is_shape = mask > 127
    if not is_shape.any():
        return np.zeros(mask.shape)
    inner = ndimage.binary_erosion(is_shape, np.ones((3, 3)))
    low, high = np.percentile(estimate[inner if inner.any() else is_shape].astype(np.float64), PERCENTILES)
    front, back = distance + FRONT, distance + BACK
    if high - low <= LEAST_RELIEF * max(abs(low), abs(high)):
        return np.where(is_shape, (front + back) / 2, 0)
    share = (estimate - low) / (high - low)
    if is_inverse:
        nearest, farthest = 1 / (distance - 1), 1 / (distance + 1)
        depth = 1 / np.clip(1 / back + share * (1 / front - 1 / back), farthest, nearest)
    else:
        depth = np.clip(front + share * (back - front), distance - 1, distance + 1)
    return np.where(is_shape, depth, 0)


def normals_of_depth(
    depth: Float[np.ndarray, "row column"], yfov: float
) -> Float[np.ndarray, "row column 3"]:
    """Return the normals of the surface that a depth image shows, from differences of neighbouring pixels.

    In each direction, the difference is that to the neighbour whose depth is more similar, so that normals beside a
    step in depth are those of the surface, not of the step. A pixel without neighbours on the shape faces the camera.

    Args:
        depth: Depth along the camera's -Z; 0 in the background.
        yfov: Vertical field of view in radians. Pixels are square.

    Returns:
        Unit normals in the frame of the camera: right, up, and towards the camera. 0 in the background.
    """
    rows, columns = depth.shape
    focal = rows / 2 / math.tan(yfov / 2)
    x = (np.arange(columns) + 0.5 - columns / 2) / focal
    y = (rows / 2 - np.arange(rows) - 0.5) / focal
    rays = np.stack(np.broadcast_arrays(x, y[:, None], -1.0), axis=-1)  # (row, column, xyz)
    points = depth[..., None] * rays
    is_shape = depth > 0
    size = depth[..., None] / focal  # of a pixel at this depth
    right = _step(points, is_shape, size * np.array([1.0, 0, 0]))
    turned, below = points.swapaxes(0, 1), (size * np.array([0, -1.0, 0])).swapaxes(0, 1)
    down = _step(turned, is_shape.T, below).swapaxes(0, 1)
    normal = np.cross(down, right)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.where(is_shape[..., None], normal / np.where(length > 0, length, 1), 0)


def _step(
    points: Float[np.ndarray, "line pixel 3"],
    is_shape: Bool[np.ndarray, "line pixel"],
    facing: Float[np.ndarray, "line pixel 3"],
) -> Float[np.ndarray, "line pixel 3"]:
    """Return the vector to the next pixel's point, or from the previous one's: the one with the smaller step in depth.

    Where neither pixel is on the shape, it is that of a surface facing the camera.
    """
    gap = np.full((len(points), 1, 3), np.inf)
    between = np.where((is_shape[:, 1:] & is_shape[:, :-1])[..., None], np.diff(points, axis=1), np.inf)
    ahead, behind = np.concatenate([between, gap], axis=1), np.concatenate([gap, between], axis=1)
    nearer = np.where(np.abs(ahead[..., 2:]) <= np.abs(behind[..., 2:]), ahead, behind)
    return np.where(np.isfinite(nearer), nearer, facing)
