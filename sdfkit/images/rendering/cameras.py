"""Camera poses and intrinsics, and the share of a shape that lies inside the image.

A camera is represented by its camera-to-world matrix in the convention of OpenGL: the viewing direction is -Z, +Y
is up and +X is right. Row 0 of an image is its top. Angles are in radians, lengths in radii of the shape's bounding
sphere.
"""

import math

import numpy as np
from jaxtyping import Float

from sdfkit.errors import GeometryError
from sdfkit.geometry.sphere import fibonacci_sphere

# Distance of the near plane, which clips nearer surfaces: the default of pyrender.
NEAR = 0.05


def look_at(
    eye: Float[np.ndarray, " 3"], target: Float[np.ndarray, " 3"], up: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "4 4"]:
    """Return the camera-to-world matrix of a camera at `eye` that looks at `target`.

    `up` points upwards in the image. If the viewing direction is parallel to `up`, the world axis that is most nearly
    perpendicular to the viewing direction takes its place, so the result is always a rotation and a translation.

    Raises:
        GeometryError: `eye` equals `target`, so the viewing direction is undefined.
    """
    back = eye - target
    length = np.linalg.norm(back)
    if length == 0:
        raise GeometryError("the camera's position equals the point that it looks at; move one of them")
    back = back / length
    right = np.cross(up, back)
    if np.linalg.norm(right) < 1e-6 * np.linalg.norm(up):
        right = np.cross(np.eye(3)[np.argmin(np.abs(back))], back)
    right = right / np.linalg.norm(right)
    camera_to_world = np.eye(4)
    camera_to_world[:3] = np.stack([right, np.cross(back, right), back, eye], axis=-1)
    return camera_to_world


def fibonacci_cameras(count: int, distance: float) -> Float[np.ndarray, "view 4 4"]:
    """Place `count` cameras on a Fibonacci sphere of radius `distance`, all looking at the origin, +Y up.

    Returns:
        Camera-to-world matrices, float32, in the order of `fibonacci_sphere`.
    """
    origin, up = np.zeros(3), np.array([0.0, 1.0, 0.0])
    eyes = distance * fibonacci_sphere(count)
    return np.stack([look_at(eye, origin, up) for eye in eyes]).astype(np.float32)


def intrinsics(yfov: float, width: int, height: int) -> Float[np.ndarray, "3 3"]:
    """Return the matrix that projects points from camera space into the image.

    For `u, v, depth = intrinsics @ point`, the point lies at column u / depth and row v / depth, at `depth` in front
    of the camera (along -Z). Integer coordinates are corners of pixels, half-integers their centres. Pixels are
    square; `yfov` is the vertical field of view.
    """
    focal = height / 2 / math.tan(yfov / 2)
    return np.array([[focal, 0, -width / 2], [0, -focal, -height / 2], [0, 0, -1.0]])


def silhouette_share(
    distance: float, yfov: float, width: int, height: int, kept: tuple[float, float]
) -> float:
    """Return the share of the unit sphere's silhouette that lies inside the image.

    The camera looks at the centre of the sphere. A shape in the unit frame touches this sphere, so a share below 1
    means that the image can cut a shape off.

    Args:
        distance: Distance of the camera from the sphere's centre, above 1.
        yfov: Vertical field of view.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        kept: Shares of the width and height that a later centre crop keeps, see `Preprocessing.kept`; (1, 1) for no
            crop.

    Returns:
        A share of the silhouette's area, in (0, 1].
    """
    # On the image plane at distance 1 the silhouette is a disc, and the image is a rectangle around its centre.
    radius = 1 / math.sqrt(distance**2 - 1)
    top = math.tan(yfov / 2) * kept[1]
    side = math.tan(yfov / 2) * width / height * kept[0]
    if math.hypot(side, top) <= radius:
        inside = 4 * side * top
    else:  # The corners are outside the disc, so the four segments beyond the edges do not overlap.
        inside = math.pi * radius**2 - 2 * _segment(radius, side) - 2 * _segment(radius, top)
    return inside / (math.pi * radius**2)


def _segment(radius: float, chord: float) -> float:
    """Return the area of a circular segment, whose chord is at distance `chord` from the centre of the disc."""
    if chord >= radius:
        return 0.0
    return radius**2 * math.acos(chord / radius) - chord * math.sqrt(radius**2 - chord**2)


def check_outside(camera_to_world: Float[np.ndarray, "view 4 4"]) -> None:
    """Check that no camera is inside the unit sphere or near enough for its near plane to cut a shape.

    Raises:
        GeometryError: A camera's distance from the origin is below 1 + NEAR.
    """
    distances = np.linalg.norm(camera_to_world[:, :3, 3], axis=-1)
    view = int(np.argmin(distances))
    if distances[view] < 1 + NEAR:
        raise GeometryError(
            f"view {view}: the camera at distance {distances[view]:.3g} from the origin is inside the shape's bounding "
            f"sphere (radius 1) or too near to it; use a distance of {1 + NEAR} or more"
        )
