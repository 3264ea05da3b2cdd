"""Images of a shape on a turntable, with a transparent background."""

import math

import numpy as np
import trimesh
from jaxtyping import Float, UInt8

from sdfkit.errors import GeometryError
from sdfkit.images.rendering.cameras import look_at
from sdfkit.images.rendering.paint import Paint
from sdfkit.images.rendering.rasteriser import NOT_VISIBLE, render_views

DISTANCE, YFOV = 2.6, math.radians(46)  # The unit sphere just fits into the image.
AZIMUTH, ELEVATION = math.radians(35), math.radians(22)


def turntable_cameras(count: int) -> Float[np.ndarray, "view 4 4"]:
    """Place cameras on a circle around the +Y axis, slightly above a shape, all looking at the origin.

    The first camera is in front of the shape and to its right. Each further one is more to the right, so the shape
    appears to turn to the left.
    """
    azimuths = AZIMUTH + np.arange(count) * (2 * math.pi / count)
    level = math.cos(ELEVATION)
    origin, up = np.zeros(3), np.array([0.0, 1.0, 0.0])
    return np.stack([
        look_at(DISTANCE * np.array([math.sin(a) * level, math.sin(ELEVATION), math.cos(a) * level]), origin, up)
        for a in azimuths
    ]).astype(np.float32)  # fmt: skip


def draw_turntable(
    mesh: trimesh.Trimesh, *, views: int, size: int, paint: Paint | None = None
) -> UInt8[np.ndarray, "view size size 4"]:
    """Render a mesh from the cameras of a turntable.

    Args:
        mesh: A shape in the unit frame.
        views: Number of cameras.
        size: Width and height of the images in pixels.
        paint: The colours of the mesh; None draws all of it grey-blue.

    Returns:
        RGBA images; colours are not premultiplied by alpha.

    Raises:
        GeometryError: The mesh has no faces, or none with an area.
    """
    pictures = render_views(
        mesh, turntable_cameras(views), yfov=YFOV, size=size, crease=math.radians(40), cull=False,
        depth=False, normal=False, paint=paint,
    )  # fmt: skip
    if not pictures.mask.any():
        raise GeometryError(NOT_VISIBLE)
    return cut_out(pictures.rgb, pictures.mask)


def cut_out(
    rgb: UInt8[np.ndarray, "view row column 3"], mask: UInt8[np.ndarray, "view row column"]
) -> UInt8[np.ndarray, "view row column 4"]:
    """Make the black background transparent, and remove it from the colours of pixels at the shape's edge."""
    share = np.maximum(mask, 1)[..., None] / 255
    color = np.minimum(np.rint(rgb / share), 255).astype(np.uint8)
    return np.concatenate([color, mask[..., None]], axis=-1)


def pick_evenly(
    pictures: UInt8[np.ndarray, "view row column channel"], count: int
) -> UInt8[np.ndarray, "some row column channel"]:
    """Return up to `count` evenly spaced images, beginning with the first."""
    count = min(count, len(pictures))
    return pictures[np.arange(count) * len(pictures) // count]
