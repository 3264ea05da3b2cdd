"""Ray marching of decoded shapes, and the error of their shading."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sdfkit.models.flow import FlowNetworks
from sdfkit.models.rendering.shading import normals, surface_points
from sdfkit.models.rendering.silhouette import RADIUS, ConditionalField, Nearest, march, march_bounded
from sdfkit.training.flow.pictures import Rays

# Number of samples on a ray in the ray march of Flow-SDF; and number of first samples, of rounds, and of samples per
# round in the march by bounds (`march_bounded`).
SAMPLES, FIRST, ROUNDS, REFINE = 48, 10, 4, 2
# Number of secant steps that locate the surface between two samples.
SECANTS = 2


def find_nearest(
    field: ConditionalField, codes: Float[Tensor, "row code"], rays: Rays, *, exhaustive: bool
) -> Nearest:
    """Find the point of each ray that is nearest to the decoded shape.

    Args:
        field: Function from codes and points to signed distances.
        codes: The code of each shape.
        rays: Rays of each shape.
        exhaustive: Evaluate evenly spaced samples on each ray (`march`), as Flow-SDF does. Otherwise evaluate fewer
            samples, where the distance can be smallest (`march_bounded`).
    """
    arguments = (field, codes.detach(), rays.origins, rays.directions)
    if exhaustive:
        return march(*arguments, samples=SAMPLES, jitter=None)
    return march_bounded(*arguments, samples=FIRST, rounds=ROUNDS, refine=REFINE)


def eikonal_points(
    nearest: Float[Tensor, "row point 3"], noise: Float[Tensor, "row place 3"]
) -> Float[Tensor, "row place 3"]:
    """Return the points of the eikonal loss: half near the rays' nearest points, which are supervised, half anywhere.

    Args:
        nearest: The point of each ray that is nearest to the shape.
        noise: Standard normal noise, from which the points are made.
    """
    middle = noise.shape[1] // 2
    near = nearest[:, :middle] + 0.05 * noise[:, :middle]
    radii = torch.linspace(0.1, 1, noise.shape[1] - middle, device=noise.device)
    far = F.normalize(noise[:, middle:], dim=2) * RADIUS * radii[None, :, None]
    return torch.cat([near, far], dim=1)


def shading_errors(
    networks: FlowNetworks,
    prepared: Float[Tensor, "row value"],
    rays: Rays,
    nearest: Nearest,
    cameras: Float[Tensor, "row view 4 4"],
) -> Float[Tensor, " row"]:
    """Return the mean absolute error of grey values, over rays that hit both the decoded and the true shape."""
    decode = networks.decoder.decode
    points, met = surface_points(decode, prepared, rays.origins, rays.directions, nearest, secants=SECANTS)
    met = met & rays.mask
    outward = normals(decode, prepared, points, met, create_graph=torch.is_grad_enabled())
    grey = networks.light(outward.view(*cameras.shape[:2], -1, 3), cameras).flatten(1)
    error: Tensor = ((grey - rays.grey).abs() * met).sum(dim=1) / met.sum(dim=1).clamp(min=1)
    return error
