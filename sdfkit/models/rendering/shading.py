"""How light falls on the surfaces of distance functions, differentiable in all that shapes them.

A silhouette says where a shape ends, shading says how its surface is turned. Light depends on normals, which are
the field's own gradient, so what teaches a field by them is its second derivative: a decoder of ReLU layers has
none in its code and its biases, and learns next to nothing here. Use softplus.

Reference: Flow-SDF, stage 3 (Lambertian shading beside silhouettes).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sdfkit.models.rendering.silhouette import Field, Nearest, ask

# Pictures encode light by this power, see images.render.
GAMMA = 2.2

# Light below this is as dark as a picture can show; the power's slope is infinite at 0.
DARKEST = 1e-4

# The least slope of distances along a ray, where it passes a surface nearly edge on.
GRAZING = 0.05


def surface_points(
    field: Field,
    codes: Float[Tensor, "shape code"],
    origins: Float[Tensor, "shape ray 3"],
    directions: Float[Tensor, "shape ray 3"],
    nearest: Nearest,
    *,
    secants: int,
) -> tuple[Float[Tensor, "shape ray 3"], Bool[Tensor, "shape ray"]]:
    """Find where rays first enter their shapes, between the samples of a march.

    Points move with the field's parameters along their rays, as implicit differentiation tells: where the field
    grows by e, the surface comes e / |slope along the ray| later.

    Args:
        field, codes, origins, directions: As for `march`.
        nearest: What it found.
        secants: Times that the field is asked, without gradient, where the line between the last sample
            outside and the first one inside crosses zero.

    Returns:
        Points on the surface, and which rays have one. The others' points mean nothing.

    Reference: Niemeyer et al., Differentiable Volumetric Rendering (2020), equation 8.
    """
    points, met = _first_crossings(field, codes, origins, directions, nearest, secants)
    points = points.requires_grad_()
    distances = ask(field, codes, points, met)
    (gradient,) = torch.autograd.grad(distances.sum(), points, retain_graph=True)
    # Grazing rays have no slope: there the surface leaps, and no step along the ray follows it.
    slopes = (gradient * directions).sum(-1).clamp(max=-GRAZING)[met]
    later = torch.zeros_like(nearest.distances).masked_scatter(met, (distances.detach() - distances) / slopes)
    return points.detach() + later[..., None] * directions, met


def normals(
    field: Field,
    codes: Float[Tensor, "shape code"],
    points: Float[Tensor, "shape point 3"],
    wanted: Bool[Tensor, "shape point"],
    *,
    create_graph: bool,
) -> Float[Tensor, "shape point 3"]:
    """Directions in which distances grow fastest, of length 1: outward on a surface. Zero where not wanted.

    By automatic differentiation: exact, and half the time of differences.

    Args:
        create_graph: Whether what is made of the normals is to be differentiated in turn.
    """
    if not points.requires_grad:
        points = points.detach().requires_grad_()
    distances = ask(field, codes, points, wanted)
    (gradient,) = torch.autograd.grad(distances.sum(), points, create_graph=create_graph)
    return F.normalize(gradient, dim=-1)


def lambert(
    normals: Float[Tensor, "*view ray 3"],
    camera_to_world: Float[Tensor, "*view 4 4"],
    lights: Float[Tensor, "light 3"],
    intensities: Float[Tensor, " light"],
    ambient: Float[Tensor, ""],
) -> Float[Tensor, "*view ray"]:
    """Give the grey of matt surfaces as pictures encode it, from 0 to 1.

    Args:
        normals: Unit normals in the world.
        camera_to_world: Cameras, with which the lights travel.
        lights: Directions towards them in camera space, of any length.
        intensities: What a surface sends back of each light when it faces it, at most 1 of all together.
        ambient: What it sends back from everywhere.
    """
    towards = F.normalize(lights, dim=-1) @ camera_to_world[..., :3, :3].mT  # (*view, light, 3)
    facing = (normals @ towards.mT).clamp(min=0)  # (*view, ray, light)
    return (facing @ intensities + ambient).clamp(DARKEST, 1) ** (1 / GAMMA)


@torch.no_grad()
def _first_crossings(
    field: Field,
    codes: Float[Tensor, "shape code"],
    origins: Float[Tensor, "shape ray 3"],
    directions: Float[Tensor, "shape ray 3"],
    nearest: Nearest,
    secants: int,
) -> tuple[Float[Tensor, "shape ray 3"], Bool[Tensor, "shape ray"]]:
    """The points themselves, and which rays have one."""
    order = nearest.sample_depths.argsort(-1)
    depths, distances = (values.gather(-1, order) for values in nearest[-2:])  # (shape, ray, sample)
    within = distances < 0
    first = within.int().argmax(-1, keepdim=True)
    # A ray that is inside from its first sample on has no place where it enters.
    met = nearest.hits & within.any(-1) & (first[..., 0] > 0)
    start, positive = (
        values.gather(-1, (first - 1).clamp(min=0))[met][:, 0] for values in (depths, distances)
    )
    end, negative = (values.gather(-1, first)[met][:, 0] for values in (depths, distances))  # (met,)
    points = origins.clone()
    for turn in range(secants + 1):
        crossing = start + (end - start) * positive / (positive - negative)
        points[met] = origins[met] + crossing[:, None] * directions[met]
        if turn < secants:
            found = ask(field, codes, points, met)
            outside = found > 0
            start, positive = torch.where(outside, crossing, start), torch.where(outside, found, positive)
            end, negative = torch.where(outside, end, crossing), torch.where(outside, negative, found)
    return points, met
