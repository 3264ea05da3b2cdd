"""Where cameras stand, what they see, and how much of a shape falls inside the picture.

A camera is its camera-to-world matrix in OpenGL's convention: it looks along its own -Z, +Y is up and +X is
right. Row 0 of a picture is its top. Angles are radians, lengths are radii of the shape's bounding sphere.
"""

import math

import numpy as np
from jaxtyping import Float

from sdfkit.errors import GeometryError

GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))

# Surface nearer than this is cut away, as pyrender does by default.
NEAR = 0.05


def fibonacci_sphere(count: int) -> Float[np.ndarray, "point 3"]:
    """Spread points evenly over the unit sphere, from near +Y down to near -Y.

    Each point stands for an equal band of height, a golden angle further round than the one before, so no
    count needs special care and no point falls on a pole.

    Reference:
        González, Measurement of areas on a sphere using Fibonacci and latitude-longitude lattices (2010),
        offset by half a step.
    """
    index = np.arange(count)
    height = 1 - (2 * index + 1) / count
    radius = np.sqrt(1 - height**2)
    azimuth = index * GOLDEN_ANGLE
    return np.stack([radius * np.cos(azimuth), height, radius * np.sin(azimuth)], axis=-1)


def look_at(
    eye: Float[np.ndarray, " 3"], target: Float[np.ndarray, " 3"], up: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "4 4"]:
    """Stand at `eye`, look at `target`, keep `up` upwards in the picture.

    Where the line of sight runs along `up`, the picture has no natural top; the world axis furthest from the
    line of sight takes over, so the result is always a rotation and a translation.

    Raises:
        GeometryError: `eye` is `target`, so there is no direction to look in.
    """
    back = eye - target
    length = np.linalg.norm(back)
    if length == 0:
        raise GeometryError("a camera stands on the point it looks at: move one of them")
    back = back / length
    right = np.cross(up, back)
    if np.linalg.norm(right) < 1e-6 * np.linalg.norm(up):
        right = np.cross(np.eye(3)[np.argmin(np.abs(back))], back)
    right = right / np.linalg.norm(right)
    camera_to_world = np.eye(4)
    camera_to_world[:3] = np.stack([right, np.cross(back, right), back, eye], axis=-1)
    return camera_to_world


def fibonacci_cameras(count: int, distance: float) -> Float[np.ndarray, "view 4 4"]:
    """Place cameras on a Fibonacci sphere around the origin, all looking at it, +Y up.

    Returns:
        Camera-to-world matrices, float32, in the order of `fibonacci_sphere`.
    """
    origin, up = np.zeros(3), np.array([0.0, 1.0, 0.0])
    eyes = distance * fibonacci_sphere(count)
    return np.stack([look_at(eye, origin, up) for eye in eyes]).astype(np.float32)


def intrinsics(yfov: float, width: int, height: int) -> Float[np.ndarray, "3 3"]:
    """Give the matrix that takes a point in camera space to the picture.

    For `u, v, depth = intrinsics @ point`, the point lies at column u / depth and row v / depth, where whole
    numbers are the corners of pixels and halves their centres, at `depth` in front of the camera (along -Z).
    Pixels are square: `yfov` is the angle between the lower and the upper edge.
    """
    focal = height / 2 / math.tan(yfov / 2)
    return np.array([[focal, 0, -width / 2], [0, -focal, -height / 2], [0, 0, -1.0]])


def silhouette_share(
    distance: float, yfov: float, width: int, height: int, kept: tuple[float, float]
) -> float:
    """Tell which share of the unit sphere's silhouette is inside the picture.

    The camera looks at the sphere's centre. A shape in sdfkit's frame touches that sphere, so a share below 1
    means that some shape is cut at the edge of the picture.

    Args:
        distance: From the camera to the sphere's centre, above 1.
        yfov: Angle between the lower and the upper edge of the picture.
        width: Pixels in a row.
        height: Rows.
        kept: Share of the width and of the height that a later centre crop keeps: (1, 1) without one, see
            `Preprocessing.kept`.

    Returns:
        A share in (0, 1] of the silhouette's area.
    """
    # In units of the image plane at distance 1 the silhouette is a disc, and the picture a box around its
    # centre.
    radius = 1 / math.sqrt(distance**2 - 1)
    top = math.tan(yfov / 2) * kept[1]
    side = math.tan(yfov / 2) * width / height * kept[0]
    if math.hypot(side, top) <= radius:
        inside = 4 * side * top
    else:  # The corners are outside the disc, so the four segments that are cut off do not overlap.
        inside = math.pi * radius**2 - 2 * _segment(radius, side) - 2 * _segment(radius, top)
    return inside / (math.pi * radius**2)


def _segment(radius: float, chord: float) -> float:
    """Area of a disc beyond a chord at distance `chord` from its centre."""
    if chord >= radius:
        return 0.0
    return radius**2 * math.acos(chord / radius) - chord * math.sqrt(radius**2 - chord**2)


def check_outside(camera_to_world: Float[np.ndarray, "view 4 4"]) -> None:
    """Refuse cameras that could stand inside a shape or cut it with their near plane.

    Raises:
        GeometryError: A camera is not outside the unit sphere by the near plane's distance.
    """
    distances = np.linalg.norm(camera_to_world[:, :3, 3], axis=-1)
    view = int(np.argmin(distances))
    if distances[view] < 1 + NEAR:
        raise GeometryError(
            f"view {view}: a camera at distance {distances[view]:.3g} stands inside the shape's bounding "
            f"sphere (radius 1): stay at {1 + NEAR} or beyond"
        )
