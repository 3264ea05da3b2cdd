"""Meshes to pictures on the CPU, without OpenGL: the same picture as pyrender's, faster."""

import math
from typing import Any, NamedTuple

import numpy as np
import trimesh
from jaxtyping import Float, UInt8

from sdfkit.images.rendering.cameras import NEAR
from sdfkit.images.rendering.paint import BASE_COLOR, Paint, decode_srgb, fit_textures
from sdfkit.images.rendering.raster_kernels import (
    CENTRE_SAMPLE,
    COLOR_SAMPLES,
    EMPTY,
    orient,
    project,
    rasterise,
    shade,
)
from sdfkit.images.rendering.surface import prepare

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
    crease: float,
    cull: bool,
    depth: bool,
    normal: bool,
    paint: Paint | None,
) -> Views:
    """Draw a mesh from every camera.

    Args:
        mesh: A shape in sdfkit's frame.
        camera_to_world: Cameras, see `cameras`.
        yfov: Angle between the lower and the upper edge of the picture.
        size: Pixels a side.
        crease: Angle between faces above which their edge is drawn sharp, see `surface.prepare`.
        cull: Leave out faces seen from behind. Of a closed mesh none can be seen; of an open one they appear
            dark.
        depth: Also give distances.
        normal: Also give normals.
        paint: The mesh's colours; all gray-blue without.

    Raises:
        GeometryError: The mesh has no faces.
    """
    points, faces, normals, chosen = prepare(mesh, crease=crease)
    focal = size / 2 / math.tan(yfov / 2)
    if paint is not None:
        paint = fit_textures(paint, points, faces, scale=focal / mean_distance(camera_to_world))
    look, colors = _look(), _list_colors(paint)

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
        surface = (seen, faces, normals, chosen, world_to_camera, focal)
        nearest = np.zeros((size, size * 4), dtype=np.float32)
        owner = np.full((size, size * 4), EMPTY, dtype=np.int32)
        rasterise(*placed, COLOR_SAMPLES, nearest, owner)
        shade(*surface, owner, look, colors, rgb[view], mask[view])
        if depth or normal:
            nearest = np.zeros((size, size), dtype=np.float32)
            owner = np.full((size, size), EMPTY, dtype=np.int32)
            rasterise(*placed, CENTRE_SAMPLE, nearest, owner)
        if distances is not None:
            np.divide(1, nearest, out=distances[view], where=nearest > 0)
        if directions is not None:
            orient(*surface, owner, directions[view])
    return Views(rgb, mask, distances, directions)


def describe_look() -> dict[str, Any]:
    """Tell material and lights, with all that a picture needs to be made again."""
    lights = [
        {"towards": list(direction), "intensity": intensity}
        for direction, intensity in zip(LIGHT_DIRECTIONS, LIGHT_INTENSITIES, strict=True)
    ]
    return {"base_color": list(BASE_COLOR), "metallic": METALLIC, "roughness": ROUGHNESS, "lights": lights}


def mean_distance(camera_to_world: Float[np.ndarray, "view 4 4"]) -> float:
    """Give the cameras' mean distance to the origin."""
    return float(np.linalg.norm(camera_to_world[:, :3, 3], axis=-1).mean())


def _list_colors(paint: Paint | None) -> tuple[np.ndarray, ...]:
    """Put colours into the tables that `shade` reads."""
    none = np.zeros((0, 3))
    texels = [np.zeros((0, 3), dtype=np.uint8)]
    if paint is None:
        no_index, no_sheets = np.zeros(0, dtype=np.int32), np.zeros((0, 3), dtype=np.int64)
        uv, tint = none[:, :2].astype(np.float32), none.astype(np.float32)
        return no_index, none, no_sheets, texels[0], uv, tint, none[:, 0]
    sheets = np.zeros((len(paint.base), 3), dtype=np.int64)
    for row, texture in enumerate(paint.textures):
        if texture is not None:
            sheets[row] = sum(len(part) for part in texels), *texture.shape[:2]
            texels.append(texture.reshape(-1, 3))
    # One more than there are bytes: what lies between two is interpolated.
    decode = decode_srgb(np.minimum(np.arange(257), 255).astype(np.uint8))
    return paint.material, paint.base, sheets, np.concatenate(texels), paint.uv, paint.tint, decode


def _look() -> tuple[object, ...]:
    """Put material, lights and the encoding of light as bytes into the tables that `shade` reads."""
    directions = np.array(LIGHT_DIRECTIONS)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    lights = np.column_stack([directions, LIGHT_INTENSITIES])
    # A byte stands for the light around it, through pyrender's plain gamma. Guessing from a table where a
    # byte's range begins, and stepping up from there, gives the same byte as a power function in a third of
    # the time.
    steps = (np.maximum(np.arange(256) - 0.5, 0) / 255) ** GAMMA
    guesses = (np.searchsorted(steps, np.arange(16384) / 16384, side="right") - 1).astype(np.uint8)
    return np.array(BASE_COLOR), DIELECTRIC, METALLIC, ROUGHNESS, lights, steps, guesses
