"""Bounds on distances in space from the outlines of masks, and the silhouette loss of an exact distance field."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sdfkit.models.rendering.silhouette import cast_rays, pixel_slopes

# Error bound, in pixels, of the assumption that the outline lies half-way between pixel centres: the edge of a shape
# may lie anywhere between the centres of pixels, up to their diagonal.
OUTLINE_ERROR = math.sqrt(2) - 0.5

# Number of offsets within a pixel that `ideal_loss` averages over. In images of 64 rows their spacing is below half of
# a temperature of 0.003.
PARTS = 32


def ideal_loss(
    distances: Float[Tensor, "view row column"], lengths: Float[Tensor, "view row column"], temperature: float
) -> Float[Tensor, ""]:
    """Compute the silhouette loss of an exact field, the smallest loss to expect at a temperature.

    A pixel whose centre is on the correct side of the outline, at distance d, contributes softplus(-d / temperature). A
    mask determines d only up to half a pixel, so the loss is averaged over the width of a pixel. Without this average,
    the result would be a quarter of the true loss if the temperature is a seventh of a pixel. For pixels inside the
    outline, the shape is assumed to be as thick as its silhouette is wide; the true loss of a thinner shape is higher.
    For spheres, the result has an error of at most 5 % if pixels are up to two temperatures wide, and is 11 % too low
    if pixels are seven temperatures wide: use the largest masks available.

    Args:
        distances: Signed distances of pixels from the outline, in pixels, see `images.silhouettes.mask_distances`.
        lengths: Lengths that pixels span, see `pixel_lengths`.
        temperature: Temperature of the soft silhouette.
    """
    within = (torch.arange(PARTS, dtype=lengths.dtype, device=lengths.device) + 0.5) / PARTS - 0.5
    scale = lengths / temperature
    return torch.stack([F.softplus(-(distances.abs() + part) * scale).mean() for part in within]).mean()


def pixel_lengths(
    camera_to_world: Float[Tensor, "view 4 4"], yfov: Float[Tensor, " view"], height: int, width: int
) -> Float[Tensor, "view row column"]:
    """Compute the length that each pixel spans at the point of its ray that is nearest to the origin.

    It is the geometric mean of the lengths in the radial and in the tangential direction of the image.
    """
    origins, directions = cast_rays(camera_to_world, yfov, height, width, None)
    depths = -(origins[:, None] * directions).sum(-1)  # (view, ray)
    # Away from the image centre a pixel spans a smaller angle: by the cosine in the tangential direction, and by its
    # square in the radial direction.
    cosines = -(directions * camera_to_world[:, None, :3, 2]).sum(-1)
    focal = height / 2 / torch.tan(yfov / 2)
    lengths: Tensor = depths * cosines**1.5 / focal[:, None]
    return lengths.view(-1, height, width)


def empty_sines(
    distances: Float[Tensor, "view ray"],
    yfov: Float[Tensor, " view"],
    height: int,
    width: int,
    pixels: Int[Tensor, "view ray"] | None,
) -> Float[Tensor, "view ray"]:
    """Compute the sine of the half angle of the empty cone around each ray, in which the mask shows no shape.

    The distance of the shape from a point at depth t of the ray is at least t times the sine. The sine is 0 if the ray
    intersects the shape or passes it within the error bound of the outline.

    Args:
        distances: Signed distances of the rays' pixels from the outline, in pixels, see
            `images.silhouettes.mask_distances`.
        yfov, height, width, pixels: As for `silhouette.cast_rays`.

    Reference: Lin et al., SDF-SRN (2020), section 3.1: distances in the image bound distances in space. Here the
    bound is an angle, which is valid at every depth, and also near the corners of the image.
    """
    from_centre = torch.hypot(*pixel_slopes(yfov, height, width, pixels))
    free = (distances - OUTLINE_ERROR).clamp(min=0) * (2 / height * torch.tan(yfov / 2))[:, None]
    # The worst case: the nearest ray of the shape lies away from the image centre, where pixels span smaller angles.
    return free / torch.sqrt((1 + from_centre.square()) * (1 + (from_centre + free).square()))
