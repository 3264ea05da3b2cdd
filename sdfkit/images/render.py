"""Meshes to pictures on the CPU, without OpenGL: the same picture as pyrender's, faster."""

import math
from typing import NamedTuple

import numpy as np
import trimesh
from jaxtyping import Float, UInt8

from sdfkit.errors import GeometryError
from sdfkit.images.cameras import NEAR
from sdfkit.images.raster_kernels import (
    CENTRE_SAMPLE,
    COLOR_SAMPLES,
    EMPTY,
    angle_weighted_normals,
    orient,
    project,
    rasterise,
    shade,
)

# A gray-blue plastic that stays below white where the headlight meets it head on; only the rim light may clip.
BASE_COLOR = (0.40, 0.46, 0.56)
METALLIC = 0.1
ROUGHNESS = 0.6

# Share of light that a plastic reflects head on, and the encoding of light: pyrender's constants.
DIELECTRIC = 0.04
GAMMA = 2.2

# Both lights are directional and travel with the camera: the headlight shines along its line of sight, and
# the rim light comes from behind the shape, above and to the right. Directions point towards the light, in
# camera space.
LIGHT_DIRECTIONS = ((0.0, 0.0, 1.0), (0.5, 0.7, -0.45))
LIGHT_INTENSITIES = (3.5, 6.0)


class Views(NamedTuple):
    """Pictures of one shape, one a camera. Row 0 is the top; the background is 0 in all of them."""

    rgb: UInt8[np.ndarray, "view row column 3"]
    """Colour."""
    mask: UInt8[np.ndarray, "view row column"]
    """Share of the pixel that the shape covers, in quarters: 0, 64, 128, 191 or 255."""
    depth: Float[np.ndarray, "view row column"] | None
    """Distance along the camera's -Z to the surface at the pixel's centre."""
    normal: Float[np.ndarray, "view row column 3"] | None
    """Unit normal in the shape's frame at the pixel's centre."""


def render_views(
    mesh: trimesh.Trimesh,
    camera_to_world: Float[np.ndarray, "view 4 4"],
    *,
    yfov: float,
    size: int,
    smooth: bool,
    cull: bool,
    depth: bool,
    normal: bool,
) -> Views:
    """Draw a mesh from every camera.

    Args:
        mesh: A shape in sdfkit's frame. Its own colours are not used.
        camera_to_world: Cameras, see `cameras`.
        yfov: Angle between the lower and the upper edge of the picture.
        size: Pixels a side.
        smooth: Blend normals between the faces of a vertex; else every face is flat.
        cull: Leave out faces seen from behind. Of a closed mesh none can be seen; of an open one they appear
            dark.
        depth: Also give distances.
        normal: Also give normals.

    Raises:
        GeometryError: The mesh has no faces.
    """
    check_faces(mesh)
    points = np.ascontiguousarray(mesh.vertices, dtype=np.float32)
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int32)
    normals = angle_weighted_normals(points, faces) if smooth else np.zeros((0, 3), dtype=np.float32)
    focal = size / 2 / math.tan(yfov / 2)
    look = _look()

    # Buffers are shared by all views: memory is that of one view, beside the pictures.
    seen = np.empty((len(points), 3), dtype=np.float32)
    screen = np.empty((len(points), 2), dtype=np.int32)
    inverse = np.empty(len(points), dtype=np.float32)

    count = len(camera_to_world)
    rgb = np.empty((count, size, size, 3), dtype=np.uint8)
    mask = np.empty((count, size, size), dtype=np.uint8)
    distances = np.zeros((count, size, size), dtype=np.float32) if depth else None
    directions = np.zeros((count, size, size, 3), dtype=np.float32) if normal else None
    for view in range(count):
        world_to_camera = np.linalg.inv(camera_to_world[view].astype(np.float64))
        project(points, world_to_camera, focal, size, NEAR, seen, screen, inverse)
        placed = (seen, screen, inverse, faces, focal, NEAR, cull)
        surface = (seen, faces, normals, smooth, world_to_camera, focal)
        nearest = np.zeros((size, size * 4), dtype=np.float32)
        owner = np.full((size, size * 4), EMPTY, dtype=np.int32)
        rasterise(*placed, COLOR_SAMPLES, nearest, owner)
        shade(*surface, owner, look, rgb[view], mask[view])
        if depth or normal:
            nearest = np.zeros((size, size), dtype=np.float32)
            owner = np.full((size, size), EMPTY, dtype=np.int32)
            rasterise(*placed, CENTRE_SAMPLE, nearest, owner)
        if distances is not None:
            np.divide(1, nearest, out=distances[view], where=nearest > 0)
        if directions is not None:
            orient(*surface, owner, directions[view])
    return Views(rgb, mask, distances, directions)


def check_faces(mesh: trimesh.Trimesh) -> None:
    """Refuse a mesh that would give empty pictures.

    Raises:
        GeometryError: The mesh has no faces.
    """
    if len(mesh.faces) == 0:
        raise GeometryError("a mesh without faces cannot be drawn: leave it out")


def _look() -> tuple[object, ...]:
    """Put material, lights and the encoding of light as bytes into the tables that `shade` reads."""
    base = np.array(BASE_COLOR)
    mirror_color = DIELECTRIC + METALLIC * (base - DIELECTRIC)
    diffuse_color = base * (1 - DIELECTRIC) * (1 - METALLIC) / math.pi
    directions = np.array(LIGHT_DIRECTIONS)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    lights = np.column_stack([directions, LIGHT_INTENSITIES])
    # A byte stands for the light around it, through pyrender's plain gamma. Guessing from a table where a
    # byte's range begins, and stepping up from there, gives the same byte as a power function in a third of
    # the time.
    steps = (np.maximum(np.arange(256) - 0.5, 0) / 255) ** GAMMA
    guesses = (np.searchsorted(steps, np.arange(16384) / 16384, side="right") - 1).astype(np.uint8)
    return mirror_color, diffuse_color, ROUGHNESS, lights, steps, guesses
