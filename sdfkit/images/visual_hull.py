"""The visual hull: the largest solid whose silhouettes agree with the masks of posed images. It needs no training."""

import math

import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy.ndimage import map_coordinates

from sdfkit.errors import GeometryError
from sdfkit.images.rendering.cameras import NEAR
from sdfkit.images.silhouettes import binarise_masks, mask_distances


class VisualHull:
    """The visual hull of one shape.

    A point lies inside the hull if it projects into the silhouette in every view. Beyond the edges of an image nothing
    is known about the shape; there, the nearest pixel at the edge counts.

    Args:
        masks: Share of each pixel that the shape covers, from 0 to 255. A pixel belongs to the silhouette if the shape
            covers at least half of it.
        camera_to_world: Cameras, see `images.rendering.cameras`.
        yfov: Vertical field of view of each camera in radians.

    Raises:
        GeometryError: A mask is empty or full, so that it has no outline.

    Reference: Laurentini, The Visual Hull Concept for Silhouette-Based Image Understanding (1994).
    """

    def __init__(
        self,
        masks: UInt8[np.ndarray, "view row column"],
        camera_to_world: Float[np.ndarray, "view 4 4"],
        yfov: Float[np.ndarray, " view"],
    ) -> None:
        self._outlines = mask_distances(binarise_masks(masks))
        self._cameras = camera_to_world.astype(np.float64)
        self._focal = masks.shape[1] / 2 / np.tan(np.asarray(yfov, dtype=np.float64) / 2)

    @property
    def pixel(self) -> float:
        """Length that a pixel spans at the distance of the origin, on average over the views."""
        distances = np.linalg.norm(self._cameras[:, :3, 3], axis=1)
        return float((distances / self._focal).mean())

    def distance(self, points: Float[np.ndarray, "point 3"]) -> Float32[np.ndarray, " point"]:
        """Return signed distances from the hull's surface, negative inside.

        The distance of a point from one silhouette's cone is measured in the plane of the image, in pixels, and scaled
        by the point's depth; the result is the maximum over the views. The sign is that of the hull; near the surface
        the value exceeds the Euclidean distance by at most the factor 1 / cos(half the field of view).

        Raises:
            GeometryError: A point lies behind a camera.
        """
        height, width = self._outlines.shape[1:]
        result = np.full(len(points), -np.inf, dtype=np.float32)
        for outline, pose, focal in zip(self._outlines, self._cameras, self._focal, strict=True):
            x, y, z = ((points - pose[:3, 3]) @ pose[:3, :3]).T
            if (z > -NEAR).any():
                raise GeometryError(
                    f"a camera at distance {math.dist(pose[:3, 3], (0, 0, 0)):.3g} is too close to the shape; "
                    "move it away"
                )
            row, column = height / 2 + focal * y / z - 0.5, width / 2 - focal * x / z - 0.5
            pixels = map_coordinates(outline, np.stack([row, column]), order=1, mode="nearest")
            np.maximum(result, pixels * (-z / focal), out=result)
        return result
