"""A views store with the silhouettes of meshes as they are, not scaled to the unit frame."""

import math

import numpy as np

from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.rendering.rasteriser import render_masks
from sdfkit.io.stores.writer import create_store

YFOV = math.radians(60)


def write_views(path, shapes, *, views=6, size=64, leave_out=()):
    """Write a views store.

    Args:
        path: Path of the store.
        shapes: Rows and their meshes.
        views: Number of cameras.
        size: Width of the images in pixels.
        leave_out: Names of arrays that the store shall not have.
    """
    cameras = fibonacci_cameras(views, 2.5)
    axes, lead = ("shape", "view", "row", "column"), (len(shapes), views)
    arrays = {
        "camera_to_world": ((*lead, 4, 4), "f4", ("shape", "view", "to", "from")),
        "yfov": (lead, "f4", ("shape", "view")),
        "rgb": ((*lead, size, size, 3), "u1", (*axes, "channel")),
        "mask": ((*lead, size, size), "u1", axes),
    }
    rows = [row for row, _ in shapes]
    with create_store(str(path), "views", rows=rows, history=[], settings={}, overwrite=False) as store:
        for name, (shape, dtype, own_axes) in arrays.items():
            if name not in leave_out:
                store.create_array(name, shape=shape, dtype=dtype, axes=own_axes)
        for row, mesh in shapes:
            masks = render_masks(mesh, cameras, yfov=YFOV, size=size)
            values = {
                "camera_to_world": cameras,
                "yfov": np.full(views, YFOV, np.float32),
                "rgb": np.repeat(masks[..., None], 3, axis=-1),
                "mask": masks,
            }
            store.write(row, **{name: value for name, value in values.items() if name not in leave_out})
    return path
