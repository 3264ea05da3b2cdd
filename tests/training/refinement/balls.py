"""A decoder whose shapes are balls, and their exact outlines."""

import math

import numpy as np
import torch

from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.silhouettes import mask_distances
from sdfkit.models.rendering.silhouette import cast_rays
from sdfkit.training.flow.pictures import Pictures

SIZE, YFOV = 64, math.radians(60)


def decode_balls(codes, points):
    """A code is the radius of a ball and its centre, in tenths from a ball of radius 0.5 at the origin."""
    radii, centres = 0.5 + 0.1 * codes[:, :1], 0.1 * codes[:, 1:4]
    return (points - centres[:, None]).norm(dim=2) - radii


def see_balls(codes, views):
    """Pictures of the balls of some codes, from cameras on a sphere."""
    cameras = torch.from_numpy(fibonacci_cameras(views, 2.5))
    yfov = torch.full((views,), YFOV)
    origins, directions = cast_rays(cameras, yfov, SIZE, SIZE, None)
    masks = []
    for code in codes:
        offset = 0.1 * code[1:4] - origins
        along = (offset[:, None] * directions).sum(dim=2)
        distances = (offset.square().sum(dim=1)[:, None] - along.square()).sqrt()
        masks.append((distances < 0.5 + 0.1 * code[0]).view(views, SIZE, SIZE))
    mask = torch.stack(masks)
    distances = np.stack([mask_distances(one.numpy()) for one in mask])
    count = len(codes)
    return Pictures(
        torch.zeros(count, views, 1, 1, 3, dtype=torch.uint8), mask.byte(), mask, torch.from_numpy(distances),
        cameras.expand(count, -1, -1, -1), yfov.expand(count, -1), None,
    )  # fmt: skip
