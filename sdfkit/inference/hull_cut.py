"""Cuts predicted shapes by the visual hull of their images: a shape cannot extend beyond its silhouettes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sdfkit.images.visual_hull import VisualHull

if TYPE_CHECKING:
    import torch

    from sdfkit.models.fields import DistanceFunction

# Width in pixels of the band in which the edge of the cut is rounded. The true shapes of 24 generated ones, cut by four
# views of 224 pixels, keep an IoU of 0.992 with themselves (0.997 with a sharp edge, 0.977 with a width of 1 pixel).
# Silhouettes that are grown by half a pixel keep 0.999, but cut less: shapes 0.03 too thick have an IoU of 0.704 after
# the cut, and 0.749 with silhouettes as they are.
WIDTH = 0.5
# Half the distance, in pixels, between the points from which the gradient of the hull's distance is computed.
REACH = 0.5


def cut_by_hull(field: "DistanceFunction", images: Mapping[str, np.ndarray]) -> "DistanceFunction":
    """Return the distance function of a shape without what lies outside the visual hull of its images.

    Args:
        field: Any distance function in the frame of the cameras.
        images: The arrays `mask`, `camera_to_world` and `yfov` of a views store for this shape.

    Raises:
        GeometryError: A mask is empty or full, see `VisualHull`.
    """
    from sdfkit.models.fields import smooth_maximum

    hull = VisualHull(images["mask"], images["camera_to_world"], images["yfov"])
    width = WIDTH * hull.pixel

    def cut(points: "torch.Tensor") -> "torch.Tensor":
        return smooth_maximum(field(points), _evaluate(hull, points[0])[None], width)

    return cut


def _evaluate(hull: VisualHull, points: "torch.Tensor") -> "torch.Tensor":
    """Return the distances of a hull, which are differentiable in the points if these are."""
    import torch

    places = points.detach().cpu().numpy()
    distances = torch.from_numpy(hull.distance(places)).to(points.device)
    if not points.requires_grad:
        return distances
    reach = REACH * hull.pixel
    offsets = reach * np.eye(3, dtype=places.dtype)
    rises = [hull.distance(places + offset) - hull.distance(places - offset) for offset in offsets]
    gradient = torch.from_numpy(np.stack(rises, axis=1) / (2 * reach)).to(points)
    return distances + ((points - points.detach()) * gradient).sum(dim=1)
