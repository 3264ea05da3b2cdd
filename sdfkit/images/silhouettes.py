"""Masks for networks: downsampling, and the distance of each pixel from the outline."""

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8
from scipy.ndimage import distance_transform_edt

from sdfkit.errors import GeometryError

# Less than one half by a rounding error, so that a coverage of exactly one half always counts.
HALF = 0.5 - 1e-6


def binarise_masks(masks: UInt8[np.ndarray, "*view row column"]) -> Bool[np.ndarray, "*view row column"]:
    """Return whether the shape covers at least half of each pixel."""
    return masks / 255 >= HALF


def shrink_masks(
    masks: UInt8[np.ndarray, "*view side side"], size: int
) -> Bool[np.ndarray, "*view size size"]:
    """Downsample masks and make them binary: a pixel is True if the shape covers at least half of its area.

    Args:
        masks: Share of each pixel that the shape covers, from 0 to 255.
        size: Width and height of the result in pixels; `side` need not be a multiple of it.
    """
    return _average(masks, size) / 255 >= HALF


def shrink_pictures(
    pictures: UInt8[np.ndarray, "*view side side channel"], size: int
) -> UInt8[np.ndarray, "*view size size channel"]:
    """Downsample images to `size` pixels a side by averaging over areas."""
    small = np.rint(_average(np.moveaxis(pictures, -1, -3), size)).astype(np.uint8)
    last: UInt8[np.ndarray, "*view size size channel"] = np.moveaxis(small, -3, -1)
    return last


def mask_distances(masks: Bool[np.ndarray, "view row column"]) -> Float[np.ndarray, "view row column"]:
    """Compute the signed distance of each pixel's centre from the outline, in pixels, negative inside the shape.

    The outline is taken to lie half-way between the centres of a pixel inside and the nearest pixel outside.

    Raises:
        GeometryError: A mask has no outline, because it is empty or full.
    """
    for view, mask in enumerate(masks):
        if not mask.any():
            raise GeometryError(
                f"view {view}: the mask is empty, because the shape is outside the image or thinner than half a pixel; "
                "leave this view out or render larger images"
            )
        if mask.all():
            raise GeometryError(
                f"view {view}: the mask is full, because the shape is larger than the image; move the camera away"
            )
    outside = np.stack([distance_transform_edt(~mask) for mask in masks])
    inside = np.stack([distance_transform_edt(mask) for mask in masks])
    return np.where(masks, 0.5 - inside, outside - 0.5).astype(np.float32)


def shrink_outlines(
    masks: UInt8[np.ndarray, "view side side"], size: int
) -> Float[np.ndarray, "view size size"]:
    """Return `mask_distances` of masks, reduced to `size` × `size` pixels by averaging, in units of these pixels.

    Raises:
        GeometryError: A mask has no outline, because it is empty or full.
    """
    distances = mask_distances(binarise_masks(masks))
    return _average(distances, size) * np.float32(size / masks.shape[-1])


def silhouette_overlap(
    masks: Bool[np.ndarray, "view row column"], known: Bool[np.ndarray, "shape view row column"]
) -> Float[np.ndarray, " shape"]:
    """Return how well the silhouettes of known shapes agree with those of one shape: the mean IoU over the views.

    Args:
        masks: Silhouettes of the shape.
        known: Silhouettes of the known shapes, as the same cameras see them.
    """
    both, either = (masks & known).sum(axis=(2, 3)), (masks | known).sum(axis=(2, 3))
    share: Float[np.ndarray, " shape"] = (both / np.maximum(either, 1)).mean(axis=1)
    return share


def _average(
    pictures: Shaped[np.ndarray, "*any side side"], size: int
) -> Float[np.ndarray, "*any size size"]:
    """Average images over the area of each of `size` × `size` pixels, which may cover fractions of the given pixels."""
    side = pictures.shape[-1]
    edges = np.linspace(0, side, size + 1)
    given = np.arange(side)
    shared = np.minimum(edges[1:, None], given + 1) - np.maximum(edges[:-1, None], given)
    weights = (np.maximum(shared, 0) * size / side).astype(np.float32)  # (size, side), rows sum to 1
    small: Float[np.ndarray, "*any size size"] = weights @ pictures.astype(np.float32) @ weights.T
    return small
