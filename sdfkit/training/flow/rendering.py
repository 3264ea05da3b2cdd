"""Where rays come nearest to decoded shapes, and how far their shades are from the pictures'."""

import torch
from jaxtyping import Float
from torch import Tensor

from sdfkit.models.deepsdf import DeepSDF
from sdfkit.models.flow import FlowNetworks
from sdfkit.models.rendering.shading import normals, surface_points
from sdfkit.models.rendering.silhouette import Nearest, march, march_bounded
from sdfkit.training.flow.pictures import Rays

# Samples along a ray: of the paper's march, and of the one by bounds.
SAMPLES, FIRST, ROUNDS, REFINE = 48, 10, 4, 2
# Times that a surface is looked for between two samples.
SECANTS = 2


def find_nearest(
    decoder: DeepSDF, codes: Float[Tensor, "row code"], rays: Rays, *, exhaustive: bool
) -> Nearest:
    """Where rays come nearest to what codes stand for, by the paper's march or by bounds."""
    asked = (decoder, codes.detach(), rays.origins, rays.directions)
    if exhaustive:
        return march(*asked, samples=SAMPLES, jitter=None)
    return march_bounded(*asked, samples=FIRST, rounds=ROUNDS, refine=REFINE)


def shading_errors(
    networks: FlowNetworks,
    codes: Float[Tensor, "row code"],
    rays: Rays,
    nearest: Nearest,
    cameras: Float[Tensor, "row view 4 4"],
) -> Float[Tensor, " row"]:
    """How far shades are from the pictures', where rays meet both the decoded and the true shape."""
    points, met = surface_points(
        networks.decoder, codes, rays.origins, rays.directions, nearest, secants=SECANTS
    )
    met = met & rays.mask
    outward = normals(networks.decoder, codes, points, met, create_graph=torch.is_grad_enabled())
    grey = networks.light(outward.view(*cameras.shape[:2], -1, 3), cameras).flatten(1)
    error: Tensor = ((grey - rays.grey).abs() * met).sum(dim=1) / met.sum(dim=1).clamp(min=1)
    return error
