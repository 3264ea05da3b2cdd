"""Models of samples for a web page: points with their signed distances."""

from typing import Any

import numpy as np
from jaxtyping import Float

from sdfkit.images.scenes.packing import Packed, morton_codes, pack_arrays, quantise


def make_cloud(
    point: Float[np.ndarray, "sample 3"], distance: Float[np.ndarray, " sample"], *, points: int
) -> dict[str, Any]:
    """Make the model of the samples of a shape.

    Args:
        point: Sample points, all finite, in random order, as in a samples store.
        distance: Their signed distances, negative inside.
        points: Largest number of points to show; the first ones are taken.

    Returns:
        The content of the page: packed arrays `position` and `distance`, the numbers by which they are scaled, and how
        many points are `shown` of those `given`.
    """
    shown, values = point[:points], distance[:points]
    order = np.argsort(morton_codes(shown), kind="stable")
    shown, values = shown[order], values[order]
    scale, size = float(np.abs(shown).max()), np.abs(values)
    content = {
        "kind": "points",
        "given": len(point),
        "shown": len(shown),
        "scale": scale,
        "distance": {"mean": float(size.mean()), "largest": float(size.max()), "signed": True},
    }
    arrays = [
        Packed("position", quantise(shown, scale), "differences"),
        Packed("distance", quantise(values, float(size.max()))[:, None], "differences"),
    ]
    return content | pack_arrays(arrays)
