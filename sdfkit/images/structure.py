"""Depth and normals as pictures, for encoders that were trained on photos."""

import numpy as np
from jaxtyping import Float, UInt8

# The level of a surface at the far end of the unit sphere. Above 0, so that it stands out from the background.
FARTHEST = 51


def draw_depth(
    depth: Float[np.ndarray, "view row column"], camera_to_world: Float[np.ndarray, "view 4 4"]
) -> UInt8[np.ndarray, "view row column 3"]:
    """Draw depth in grey: the front of the unit sphere is 255, its back 51, linear between; beside the shape 0."""
    distance = np.linalg.norm(camera_to_world[:, :3, 3], axis=-1)[:, None, None]
    behind_front = np.clip((depth - (distance - 1)) / 2, 0, 1)
    level = np.where(depth > 0, 255 - (255 - FARTHEST) * behind_front, 0)
    return np.repeat(np.rint(level).astype(np.uint8)[..., None], 3, axis=-1)


def draw_normals(
    normal: Float[np.ndarray, "view row column 3"],
) -> UInt8[np.ndarray, "view row column 3"]:
    """Draw unit normals as colours: -1 is 0 and +1 is 255 on each axis; beside the shape black."""
    is_shape = normal.any(axis=-1, keepdims=True)
    return np.rint(np.where(is_shape, np.clip(normal + 1, 0, 2) * 127.5, 0)).astype(np.uint8)
