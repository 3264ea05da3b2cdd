"""What the outlines of masks say of distances: how far from the shape rays are, and what an exact field would score."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sdfkit.models.rendering.silhouette import cast_rays, pixel_slopes

# How much nearer than half-way between two pixels' centres an outline can pass: a shape's edge may come
# between the centres of pixels, up to their diagonal.
OUTLINE_ERROR = math.sqrt(2) - 0.5

# Parts of a pixel's width that `ideal_loss` averages over: each shorter than half a temperature of 0.003 in
# pictures of 64 rows.
PARTS = 32


def ideal_loss(
    distances: Float[Tensor, "view row column"], lengths: Float[Tensor, "view row column"], temperature: float
) -> Float[Tensor, ""]:
    """The silhouette loss of a field that is right everywhere: what is left of it at a temperature.

    A pixel whose centre is d away from the outline, on its right side, costs softplus(-d / temperature). A mask
    tells d only to within half a pixel, so the mean over that pixel's width counts: without it the loss is a quarter
    of the true one where the temperature is a seventh of a pixel. Inside, distances count as if a shape were as
    thick as its silhouette is wide, so a thin one costs more. Of spheres this is within 5 % where pixels are up to
    two temperatures wide, and 11 % too little where they are seven: use masks as large as there are.

    Args:
        distances: Of pixels from the outline, in pixels, see `images.silhouettes.mask_distances`.
        lengths: Of pixels, see `pixel_lengths`.
        temperature: That of the soft silhouette.
    """
    within = (torch.arange(PARTS, dtype=lengths.dtype, device=lengths.device) + 0.5) / PARTS - 0.5
    scale = lengths / temperature
    return torch.stack([F.softplus(-(distances.abs() + part) * scale).mean() for part in within]).mean()


def pixel_lengths(
    camera_to_world: Float[Tensor, "view 4 4"], yfov: Float[Tensor, " view"], height: int, width: int
) -> Float[Tensor, "view row column"]:
    """Give the length that each pixel spans, on average over directions, where its ray comes nearest to the origin."""
    origins, directions = cast_rays(camera_to_world, yfov, height, width, None)
    depths = -(origins[:, None] * directions).sum(-1)  # (view, ray)
    # Away from the centre a pixel appears under a smaller angle: by the cosine round it, by its square outwards.
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
    """Measure the cone around each ray in which masks show nothing, as the sine of its half angle.

    A point at depth t of the ray is at least t times that far from the shape. The sine is 0 where the ray meets
    the shape or passes within the error of a mask's outline.

    Args:
        distances: Of the rays' pixels from the outline, in pixels, see `images.silhouettes.mask_distances`.
        yfov, height, width, pixels: As for `silhouette.cast_rays`.

    Reference: Lin et al., SDF-SRN (2020), section 3.1: distances in the picture bound those in space. Here by an
    angle, which holds at every depth and towards the corners too.
    """
    from_centre = torch.hypot(*pixel_slopes(yfov, height, width, pixels))
    free = (distances - OUTLINE_ERROR).clamp(min=0) * (2 / height * torch.tan(yfov / 2))[:, None]
    # The shape's nearest ray, if it lies outwards, where pixels span the smallest angles.
    return free / torch.sqrt((1 + from_centre.square()) * (1 + (from_centre + free).square()))
