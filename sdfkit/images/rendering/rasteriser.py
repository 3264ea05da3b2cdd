"""A renderer for the CPU, without OpenGL, that draws the same image as pyrender, faster."""

import math
from typing import Any, NamedTuple

import numpy as np
import trimesh
from jaxtyping import Float, UInt8

from sdfkit.images.rendering.cameras import NEAR
from sdfkit.images.rendering.paint import BASE_COLOR, Paint, decode_srgb
from sdfkit.images.rendering.raster_kernels import (
    CENTRE_SAMPLE,
    COLOR_SAMPLES,
    EMPTY,
    orient,
    project,
    rasterise,
    shade,
)
from sdfkit.images.rendering.surface import shading_geometry

METALLIC = 0.1
ROUGHNESS = 0.6

# Reflectance of a dielectric at normal incidence, and the gamma of the output: constants of pyrender.
DIELECTRIC = 0.04
GAMMA = 2.2

# Both lights are directional and fixed to the camera. The headlight shines along the viewing direction; the rim light
# comes from behind the shape, above and to the right. Directions are in camera space and point towards the light.
LIGHT_DIRECTIONS = ((0.0, 0.0, 1.0), (0.5, 0.7, -0.45))
LIGHT_INTENSITIES = (3.5, 6.0)

NOT_VISIBLE = "no view shows any face of the mesh; check that its faces have an area"


class RenderedViews(NamedTuple):
    """Images of one shape, one per camera. Row 0 is the top; the background is 0 in all arrays."""

    rgb: UInt8[np.ndarray, "view row column 3"]
    """Colour."""
    mask: UInt8[np.ndarray, "view row column"]
    """Share of the pixel that the shape covers, in quarters, as 0, 64, 128, 191 or 255."""
    depth: Float[np.ndarray, "view row column"] | None
    """Depth of the surface along the camera's -Z, at the pixel's centre."""
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
) -> RenderedViews:
    """Render a mesh from every camera.

    Args:
        mesh: A shape in the unit frame.
        camera_to_world: Cameras, see `cameras`.
        yfov: Vertical field of view.
        size: Width and height of the images in pixels.
        crease: Angle between faces above which their edge is shaded sharp, see `surface.shading_geometry`.
        cull: Leave out back faces. Back faces of a closed mesh are never visible; those of an open mesh appear dark.
        depth: Also return depth.
        normal: Also return normals.
        paint: The colours of the mesh; None renders all of it grey-blue.

    Raises:
        GeometryError: The mesh has no faces.
    """
    points, faces, normals, normal_rows = shading_geometry(mesh, crease=crease)
    focal = size / 2 / math.tan(yfov / 2)
    shading, colors = _shading_tables(), _color_tables(paint)

    # All views share these buffers, so memory is that of one view plus the images.
    in_camera = np.empty((len(points), 3), dtype=np.float32)
    screen = np.empty((len(points), 2), dtype=np.int32)
    inverse = np.empty(len(points), dtype=np.float32)

    count = len(camera_to_world)
    rgb = np.empty((count, size, size, 3), dtype=np.uint8)
    mask = np.empty((count, size, size), dtype=np.uint8)
    distances = np.zeros((count, size, size), dtype=np.float32) if depth else None
    directions = np.zeros((count, size, size, 3), dtype=np.float32) if normal else None
    for view in range(count):
        world_to_camera = np.linalg.inv(camera_to_world[view].astype(np.float64))
        project(points, world_to_camera, focal, size, NEAR, in_camera, screen, inverse)
        placed = (in_camera, screen, inverse, faces, focal, NEAR, cull)
        surface = (in_camera, faces, normals, normal_rows, world_to_camera, focal)
        nearest = np.zeros((size, size * 4), dtype=np.float32)
        owner = np.full((size, size * 4), EMPTY, dtype=np.int32)
        rasterise(*placed, COLOR_SAMPLES, nearest, owner)
        shade(*surface, owner, shading, colors, rgb[view], mask[view])
        if depth or normal:
            nearest = np.zeros((size, size), dtype=np.float32)
            owner = np.full((size, size), EMPTY, dtype=np.int32)
            rasterise(*placed, CENTRE_SAMPLE, nearest, owner)
        if distances is not None:
            np.divide(1, nearest, out=distances[view], where=nearest > 0)
        if directions is not None:
            orient(*surface, owner, directions[view])
    return RenderedViews(rgb, mask, distances, directions)


def render_masks(
    mesh: trimesh.Trimesh, camera_to_world: Float[np.ndarray, "view 4 4"], *, yfov: float, size: int
) -> UInt8[np.ndarray, "view row column"]:
    """Render the silhouette of a mesh from every camera: the masks of `render_views`, in a fraction of the time."""
    points = np.ascontiguousarray(mesh.vertices, dtype=np.float32)
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int32)
    focal = size / 2 / math.tan(yfov / 2)
    in_camera = np.empty((len(points), 3), dtype=np.float32)
    screen, inverse = np.empty((len(points), 2), dtype=np.int32), np.empty(len(points), dtype=np.float32)
    masks = np.empty((len(camera_to_world), size, size), dtype=np.uint8)
    for view, pose in enumerate(camera_to_world):
        project(points, np.linalg.inv(pose.astype(np.float64)), focal, size, NEAR, in_camera, screen, inverse)
        nearest = np.zeros((size, size * 4), dtype=np.float32)
        owner = np.full((size, size * 4), EMPTY, dtype=np.int32)
        rasterise(in_camera, screen, inverse, faces, focal, NEAR, False, COLOR_SAMPLES, nearest, owner)
        hits = (owner.reshape(size, size, 4) != EMPTY).sum(axis=2)
        masks[view] = (hits * 255 + 2) // 4
    return masks


def describe_shading() -> dict[str, Any]:
    """Return the material and the lights, which stores record."""
    lights = [
        {"towards": list(direction), "intensity": intensity}
        for direction, intensity in zip(LIGHT_DIRECTIONS, LIGHT_INTENSITIES, strict=True)
    ]
    return {"base_color": list(BASE_COLOR), "metallic": METALLIC, "roughness": ROUGHNESS, "lights": lights}


def pixels_per_unit(camera_to_world: Float[np.ndarray, "view 4 4"], yfov: float, size: int) -> float:
    """Return how many pixels a unit of length at the origin measures in the images, on average over the cameras."""
    distance = np.linalg.norm(camera_to_world[:, :3, 3], axis=-1).mean()
    return float(size / 2 / math.tan(yfov / 2) / distance)


def _color_tables(paint: Paint | None) -> tuple[np.ndarray, ...]:
    """Return the colours in the form that `shade` takes, see `texture_kernels.surface_color`."""
    none = np.zeros((0, 3))
    texels = [np.zeros((0, 3), dtype=np.uint8)]
    if paint is None:
        no_index, no_sheets = np.zeros(0, dtype=np.int32), np.zeros((0, 5), dtype=np.int64)
        uv, tint = none[:, :2].astype(np.float32), none.astype(np.float32)
        return no_index, none, no_sheets, texels[0], uv, tint, none[:, 0]
    sheets = np.zeros((len(paint.base), 5), dtype=np.int64)
    for row, texture in enumerate(paint.textures):
        if texture is not None:
            sheets[row] = sum(len(part) for part in texels), *texture.shape[:2], *paint.wraps[row]
            texels.append(texture.reshape(-1, 3))
    # One more than there are bytes, because values between two bytes are interpolated.
    decode = decode_srgb(np.minimum(np.arange(257), 255).astype(np.uint8))
    return paint.material, paint.base, sheets, np.concatenate(texels), paint.uv, paint.tint, decode


def _shading_tables() -> tuple[object, ...]:
    """Return material, lights and the encoding of light as bytes, in the form that `shade` takes."""
    directions = np.array(LIGHT_DIRECTIONS)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    lights = np.column_stack([directions, LIGHT_INTENSITIES])
    # Each byte represents a range of light, whose bounds follow from the plain gamma of pyrender. To encode light,
    # `shade` looks up a first guess of the byte in a table and steps up from there, which gives the same byte as a
    # power function in a third of the time.
    steps = (np.maximum(np.arange(256) - 0.5, 0) / 255) ** GAMMA
    guesses = (np.searchsorted(steps, np.arange(16384) / 16384, side="right") - 1).astype(np.uint8)
    return np.array(BASE_COLOR), DIELECTRIC, METALLIC, ROUGHNESS, lights, steps, guesses
