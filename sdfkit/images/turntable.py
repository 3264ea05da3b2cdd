"""Pictures of a shape as it turns about its upright axis, cut out from their background."""

import math

import numpy as np
import trimesh
from jaxtyping import Float, UInt8

from sdfkit.errors import GeometryError
from sdfkit.images.rendering.cameras import look_at
from sdfkit.images.rendering.rasteriser import render_views

DISTANCE, YFOV = 2.6, math.radians(46)  # the whole unit sphere, up to the edge
AZIMUTH, ELEVATION = math.radians(35), math.radians(22)


def turntable_cameras(count: int) -> Float[np.ndarray, "view 4 4"]:
    """Place cameras on a circle a little above a shape, the first one before its right front corner.

    Each stands further to the right than the one before, so that the shape seems to turn to the left.
    """
    azimuths = AZIMUTH + np.arange(count) * (2 * math.pi / count)
    level = math.cos(ELEVATION)
    origin, up = np.zeros(3), np.array([0.0, 1.0, 0.0])
    return np.stack([
        look_at(DISTANCE * np.array([math.sin(a) * level, math.sin(ELEVATION), math.cos(a) * level]), origin, up)
        for a in azimuths
    ]).astype(np.float32)  # fmt: skip


def draw_turntable(mesh: trimesh.Trimesh, *, views: int, size: int) -> UInt8[np.ndarray, "view size size 4"]:
    """Draw a mesh of the unit frame from all around.

    Returns:
        Colour and opacity, not multiplied.

    Raises:
        GeometryError: The mesh has no faces, or none that has an area.
    """
    pictures = render_views(
        mesh, turntable_cameras(views), yfov=YFOV, size=size, crease=math.radians(40), cull=False,
        depth=False, normal=False, paint=None,
    )  # fmt: skip
    if not pictures.mask.any():
        raise GeometryError("no picture shows any of it: have its faces no area?")
    return cut_out(pictures.rgb, pictures.mask)


def cut_out(
    rgb: UInt8[np.ndarray, "view row column 3"], mask: UInt8[np.ndarray, "view row column"]
) -> UInt8[np.ndarray, "view row column 4"]:
    """Take the black background out of pictures: at a shape's edge it is mixed into the colours."""
    share = np.maximum(mask, 1)[..., None] / 255
    color = np.minimum(np.rint(rgb / share), 255).astype(np.uint8)
    return np.concatenate([color, mask[..., None]], axis=-1)


def spread(
    pictures: UInt8[np.ndarray, "view row column channel"], count: int
) -> UInt8[np.ndarray, "some row column channel"]:
    """Up to so many pictures, evenly spaced over all, the first one first."""
    count = min(count, len(pictures))
    return pictures[np.arange(count) * len(pictures) // count]
