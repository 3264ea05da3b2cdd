"""Depth and normals as images, for encoders that were trained on photos."""

import numpy as np
from jaxtyping import Float, UInt8

# Grey level of a surface at the far end of the unit sphere. Above 0, to differ from the background.
FARTHEST = 51


def draw_depth(
    depth: Float[np.ndarray, "view row column"], camera_to_world: Float[np.ndarray, "view 4 4"]
) -> UInt8[np.ndarray, "view row column 3"]:
    """Encode depth as grey levels: 255 at the front of the unit sphere, 51 at its back, and linear in between.

    The background, where depth is 0, is black.
    """
    distance = np.linalg.norm(camera_to_world[:, :3, 3], axis=-1)[:, None, None]
    behind_front = np.clip((depth - (distance - 1)) / 2, 0, 1)
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
