"""Masks as silhouettes to train with: small pictures, and how far each pixel is from the shape's outline."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import distance_transform_edt

from sdfkit.errors import GeometryError

# Coverage of exactly one half counts, whatever the last bit of a sum says.
HALF = 0.5 - 1e-6


def shrink_masks(
    masks: UInt8[np.ndarray, "*view side side"], size: int
) -> Bool[np.ndarray, "*view size size"]:
    """Make masks of `size` pixels a side: a pixel belongs to the shape when at least half of its area does.

    Args:
        masks: Share of each pixel that the shape covers, 255 for all of it.
        size: Pixels a side of the small masks; the old ones need not be a multiple.
    """
    return _average(masks, size) / 255 >= HALF


def shrink_pictures(
    pictures: UInt8[np.ndarray, "*view side side channel"], size: int
) -> UInt8[np.ndarray, "*view size size channel"]:
    """Make pictures of `size` pixels a side: each is the mean of the area it covers."""
    small = np.rint(_average(np.moveaxis(pictures, -1, -3), size)).astype(np.uint8)
    last: UInt8[np.ndarray, "*view size size channel"] = np.moveaxis(small, -3, -1)
    return last


def mask_distances(masks: Bool[np.ndarray, "view row column"]) -> Float[np.ndarray, "view row column"]:
    """Measure how many pixels each pixel's centre is from the outline, negative inside the shape.

    The outline passes half-way between the centre of a pixel and that of the nearest one on its other side.

    Raises:
        GeometryError: A mask has no outline: it is empty or full.
    """
    for view, mask in enumerate(masks):
        if not mask.any():
            raise GeometryError(
                f"view {view}: the mask is empty: the shape is out of sight or thinner than half a pixel: "
                "leave this view out or make the pictures larger"
            )
        if mask.all():
            raise GeometryError(
                f"view {view}: the mask is full: the shape is larger than the picture: move the camera away"
            )
    outside = np.stack([distance_transform_edt(~mask) for mask in masks])
    inside = np.stack([distance_transform_edt(mask) for mask in masks])
    return np.where(masks, 0.5 - inside, outside - 0.5).astype(np.float32)


def _average(pictures: UInt8[np.ndarray, "*any side side"], size: int) -> Float[np.ndarray, "*any size size"]:
    """Mean over the area of each of the `size` × `size` pixels, which may cut old pixels anywhere."""
    side = pictures.shape[-1]
    edges = np.linspace(0, side, size + 1)
    old = np.arange(side)
    shared = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    weights = (np.maximum(shared, 0) * size / side).astype(np.float32)  # (size, side), rows sum to 1
    small: Float[np.ndarray, "*any size size"] = weights @ pictures.astype(np.float32) @ weights.T
    return small
