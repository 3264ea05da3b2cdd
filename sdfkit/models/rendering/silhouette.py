"""Silhouettes of distance functions, differentiable at the cost of one point a ray.

A ray belongs to the silhouette as far as it comes near the surface: sigmoid(-(its smallest distance) /
temperature). Where along the ray that smallest distance lies decides nothing about the gradient, only the
distance there does. So rays are marched without gradient, and the field is asked once more, with gradient, at
each ray's nearest point: the same gradient as if every sample had been recorded.

Rays are unit directions; depths are lengths along them, from the camera. Shapes lie in the unit ball around the
origin, so rays that miss it are never marched. Distances are negative inside.

Reference: Flow-SDF's renderer (64 × 64 rays × 48 samples, soft silhouette of the smallest distance).
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Field: TypeAlias = Callable[
    [Float[Tensor, "shape code"], Float[Tensor, "shape point 3"]], Float[Tensor, "shape point"]
]

# A shape in sdfkit's frame fills this ball, which its farthest vertex touches.
RADIUS = 1.0

# Points that a field is asked about at once on a CPU: what it computes of them stays in cache.
CACHED = 2048

# The logit of a ray that misses the ball: no silhouette, and finite, so that its cross-entropy is a number. A
# pixel at least half of which a shape covers has its centre in the ball's disc (which is convex), so no such ray
# is ever asked to be inside.
MISSED = -100.0


# How far from an interval's middle, in halves of it, the place that would reach its bound is believed.
LEAN = 0.8


class Nearest(NamedTuple):
    """Where rays come nearest to a surface, found without gradient."""

    hits: Bool[Tensor, "shape ray"]
    """Whether the ray meets the ball at all. What follows means nothing where it does not."""
    points: Float[Tensor, "shape ray 3"]
    """The nearest of the points that were looked at."""
    distances: Float[Tensor, "shape ray"]
    """Its distance from the surface; infinite for rays that miss."""
    sample_depths: Float[Tensor, "shape ray sample"]
    """How far along the ray samples lie, in no particular order."""
    sample_distances: Float[Tensor, "shape ray sample"]
    """Distances of the samples, infinite for those not looked at."""


def cast_rays(
    camera_to_world: Float[Tensor, "view 4 4"],
    yfov: Float[Tensor, " view"],
    height: int,
    width: int,
    pixels: Int[Tensor, "view ray"] | None,
) -> tuple[Float[Tensor, "view 3"], Float[Tensor, "view ray 3"]]:
    """Give the rays from cameras through the centres of pixels.

    Args:
        camera_to_world: Cameras that look along their own -Z, +Y up.
        yfov: Angle between the lower and the upper edge of each picture.
        height: Rows.
        width: Pixels in a row.
        pixels: Which ones, counted row by row from the top; None for all of them in that order.

    Returns:
        Where each camera stands, and unit directions in the world.
    """
    right, up = pixel_slopes(yfov, height, width, pixels)
    seen = torch.stack([right, up, -torch.ones_like(up)], dim=-1)  # (view, ray, 3), in the camera's space
    return camera_to_world[:, :3, 3], F.normalize(seen @ camera_to_world[:, :3, :3].mT, dim=-1)


def pixel_slopes(
    yfov: Float[Tensor, " view"], height: int, width: int, pixels: Int[Tensor, "view ray"] | None
) -> tuple[Float[Tensor, "view ray"], Float[Tensor, "view ray"]]:
    """Give how far to the right and up the centres of pixels are seen, for each unit ahead.

    Args:
        yfov, height, width, pixels: As for `cast_rays`.
    """
    if pixels is None:
        pixels = torch.arange(height * width, device=yfov.device).expand(len(yfov), -1)
    focal = (height / 2 / torch.tan(yfov / 2))[:, None]
    return (pixels % width + 0.5 - width / 2) / focal, (height / 2 - 0.5 - pixels // width) / focal


def meet_ball(
    camera_to_world: Float[Tensor, "view 4 4"],
    yfov: Float[Tensor, " view"],
    height: int,
    width: int,
    radius: float,
) -> Bool[Tensor, "view row column"]:
    """Tell through which pixels rays meet the ball around the origin, at a fraction of the price of rays.

    Args:
        camera_to_world, yfov, height, width: As for `cast_rays`.
        radius: Of the ball.
    """
    kind, device = yfov.dtype, yfov.device
    focal = (height / 2 / torch.tan(yfov / 2))[:, None, None]
    up = (height / 2 - 0.5 - torch.arange(height, dtype=kind, device=device))[:, None] / focal
    right = (torch.arange(width, dtype=kind, device=device) + 0.5 - width / 2) / focal
    x, y, z = (-camera_to_world[:, :3, 3, None] * camera_to_world[:, :3, :3]).sum(1).T[..., None, None]
    # How far along the ray its nearest point to the ball's centre is, times the length of (right, up, -1).
    along = x * right + y * up - z
    tangent = x**2 + y**2 + z**2 - radius**2  # its squared length; negative from inside the ball
    met: Tensor = (tangent < 0) | (along > 0) & (along.square() > tangent * (right**2 + up**2 + 1))
    return met


def ball_span(
    origins: Float[Tensor, "*#ray 3"], directions: Float[Tensor, "*#ray 3"], radius: float
) -> tuple[Float[Tensor, "*ray"], Float[Tensor, "*ray"]]:
    """Tell at which depths rays enter and leave the ball around the origin.

    Returns:
        Both depths, none before the ray's origin. For a ray that misses the ball, or has it behind, the second
        is smaller than the first.
    """
    middle = -(origins * directions).sum(-1)
    passing = origins + middle[..., None] * directions  # the ray's nearest point to the centre
    square = radius**2 - passing.square().sum(-1)
    half = torch.where(square > 0, square.clamp(min=0).sqrt(), -1.0)
    return (middle - half).clamp(min=0), middle + half


@torch.no_grad()
def march(
    field: Field,
    codes: Float[Tensor, "shape code"],
    origins: Float[Tensor, "shape ray 3"],
    directions: Float[Tensor, "shape ray 3"],
    *,
    samples: int,
    jitter: torch.Generator | None,
) -> Nearest:
    """Look for each ray's smallest distance at evenly spread depths between the ball's two sides.

    Args:
        field: Distances of points from the shapes of codes.
        codes: One a shape.
        origins: Where rays start, those of a shape's views one after the other.
        directions: Unit directions of rays.
        samples: Depths a ray, each in its own equal part of the way through the ball.
        jitter: Draws the place of a depth in its part; without one it is the middle.
    """
    near, far = ball_span(origins, directions, RADIUS)
    depths = _spread(near, far, samples, jitter)
    distances = _inspect(field, codes, origins, directions, depths, (near < far)[..., None])
    return _find_nearest(origins, directions, near < far, depths, distances)


@torch.no_grad()
def march_bounded(
    field: Field,
    codes: Float[Tensor, "shape code"],
    origins: Float[Tensor, "shape ray 3"],
    directions: Float[Tensor, "shape ray 3"],
    *,
    samples: int,
    rounds: int,
    refine: int,
) -> Nearest:
    """Look for each ray's smallest distance at few depths, then where it can still be smaller.

    Between two samples a field of slope 1 cannot fall below half of what their sum exceeds their spacing by. Each
    round looks into the `refine` intervals where that bound is lowest, at the place that would reach it; after all
    rounds, at the lowest point of the parabola through the nearest sample and its neighbours. So 10 + 4 × 2 + 1
    samples find what 192 evenly spread ones do, where the field is near a distance; anywhere it is a good guess.

    Args:
        field, codes, origins, directions: As for `march`.
        samples: Depths a ray that are evenly spread, from where it enters the ball to where it leaves it.
        rounds: How often to look closer.
        refine: Intervals that a ray is looked into in each round.

    Reference: Shubert, A sequential method seeking the global maximum of a function (1972), with slope 1.
    """
    near, far = ball_span(origins, directions, RADIUS)
    hits = near < far
    shares = torch.linspace(0, 1, samples, dtype=near.dtype, device=near.device)
    depths = near[..., None] + (far - near)[..., None] * shares

    def inspect(depths: Tensor) -> Tensor:
        return _inspect(field, codes, origins, directions, depths, hits[..., None])

    distances = inspect(depths)
    # Where each interval begins and ends, and the distances there.
    intervals = torch.stack([depths[..., :-1], depths[..., 1:], distances[..., :-1], distances[..., 1:]])
    for _ in range(rounds):
        start, end, first, last = intervals
        lowest = (
            (first + last - (end - start)).topk(refine, dim=-1, largest=False).indices.expand(4, -1, -1, -1)
        )
        start, end, first, last = intervals.gather(-1, lowest)
        lean = (first - last).nan_to_num(nan=0.0)  # of rays that miss, all distances are infinite
        middle = (start + end + lean.clamp(-LEAN * (end - start), LEAN * (end - start))) / 2
        found = inspect(middle)
        halves = torch.stack([start, middle, first, found]), torch.stack([middle, end, found, last])
        intervals = torch.cat([intervals.scatter(-1, lowest, halves[0]), halves[1]], dim=-1)
    start, end, first, last = intervals
    left, right = (
        intervals.gather(-1, beside.argmin(-1, keepdim=True).expand(4, -1, -1, -1))
        for beside in (last, first)
    )
    fall, rise = ((part[3] - part[2]).abs() / (part[1] - part[0]) for part in (left, right))
    bottom = (left[0] + left[1] + (right[1] - left[0]) * fall / (fall + rise)) / 2
    bottom = torch.where((left[1] == right[0]) & (fall + rise > 0), bottom, left[1])
    depths = torch.cat([start, depths[..., -1:], bottom], dim=-1)
    distances = torch.cat([first, distances[..., -1:], inspect(bottom)], dim=-1)
    return _find_nearest(origins, directions, hits, depths, distances)


def soft_silhouette(
    field: Field, codes: Float[Tensor, "shape code"], nearest: Nearest, temperature: float
) -> Float[Tensor, "shape ray"]:
    """Tell how surely each ray meets its shape, as logits: -(smallest distance) / temperature.

    The sigmoid of a logit is the silhouette. The gradient is that of the field at the rays' nearest points,
    which is also that of the minimum over all samples. `MISSED` for rays that miss the ball.
    """
    distances = ask(field, codes, nearest.points, nearest.hits)
    logits = torch.full_like(nearest.distances, MISSED)
    return logits.masked_scatter(nearest.hits, -distances / temperature)


def silhouette_loss(
    logits: Float[Tensor, "shape ray"], mask: Bool[Tensor, "shape ray"]
) -> Float[Tensor, " shape"]:
    """Binary cross-entropy between soft silhouettes and masks, on average over each shape's rays.

    It depends on the temperature that the logits were made with, see `ideal_loss`.
    """
    return F.binary_cross_entropy_with_logits(logits, mask.to(logits.dtype), reduction="none").mean(-1)


def bound_loss(
    field: Field,
    codes: Float[Tensor, "shape code"],
    origins: Float[Tensor, "shape ray 3"],
    directions: Float[Tensor, "shape ray 3"],
    nearest: Nearest,
    mask: Bool[Tensor, "shape ray"],
    sines: Float[Tensor, "shape ray"],
) -> Float[Tensor, " shape"]:
    """By how much distances break the bounds that masks set, on average over each shape's rays.

    Outside the mask each sample must be as far from the surface as the empty cone around its ray is wide there;
    what is missing counts, averaged over the ray's samples. Inside, the smallest distance must not be positive.
    Only samples that break a bound are asked with gradient: the others have none.

    Args:
        field, codes, origins, directions: As for `march`.
        nearest: What it found.
        mask: Which rays meet the shape.
        sines: Of the empty cones around rays, see `outlines.empty_sines`.

    Reference: Lin et al., SDF-SRN (2020), section 3.1. It needs a start from spheres and a steepness of 1, without
    which distances fall short of the bounds by scale alone.
    """
    bounds = nearest.sample_depths * sines[..., None]  # (shape, ray, sample)
    short = ~mask[..., None] & (nearest.sample_distances < bounds)
    points = origins[:, :, None] + nearest.sample_depths[..., None] * directions[:, :, None]
    missing = bounds[short] - ask(field, codes, points.flatten(1, 2), short.flatten(1))
    outside = torch.zeros_like(bounds).masked_scatter(short, missing).mean(-1)  # (shape, ray)
    absent = mask & nearest.hits & (nearest.distances > 0)
    inside = torch.zeros_like(outside).masked_scatter(absent, ask(field, codes, nearest.points, absent))
    return (outside + inside).mean(-1)


def ask(
    field: Field,
    codes: Float[Tensor, "shape code"],
    points: Float[Tensor, "shape point 3"],
    wanted: Bool[Tensor, "shape point"],
) -> Float[Tensor, " wanted"]:
    """Give the distances of the wanted points only, shape after shape.

    On a CPU few points at a time. Where all are wanted, shapes go together; else one at a time, so that none waits for
    the one with most points.
    """
    on_cpu = points.device.type == "cpu"
    if bool(wanted.all()):
        together = max(1, CACHED // points.shape[1]) if on_cpu else len(codes)
        parts = zip(torch.split(codes, together), torch.split(points, together), strict=True)
        return torch.cat([field(some, theirs).flatten() for some, theirs in parts])
    distances: list[Tensor] = []
    for row in range(len(codes)):
        chosen = points[row][wanted[row]]
        at_once = CACHED if on_cpu else max(1, len(chosen))
        distances += [field(codes[row : row + 1], part[None])[0] for part in torch.split(chosen, at_once)]
    return torch.cat(distances)


def _spread(
    near: Float[Tensor, "shape ray"],
    far: Float[Tensor, "shape ray"],
    samples: int,
    jitter: torch.Generator | None,
) -> Float[Tensor, "shape ray sample"]:
    """Depths in `samples` equal parts of the way from `near` to `far`, one in each."""
    parts = torch.arange(samples, dtype=near.dtype, device=near.device).expand(*near.shape, samples)
    if jitter is None:
        inside = torch.full_like(parts, 0.5)
    else:
        drawn = torch.rand(parts.shape, generator=jitter, dtype=near.dtype, device=jitter.device)
        inside = drawn.to(near.device)
    return near[..., None] + (far - near)[..., None] * (parts + inside) / samples


def _inspect(
    field: Field,
    codes: Float[Tensor, "shape code"],
    origins: Float[Tensor, "shape ray 3"],
    directions: Float[Tensor, "shape ray 3"],
    depths: Float[Tensor, "shape ray sample"],
    wanted: Bool[Tensor, "shape ray #sample"],
) -> Float[Tensor, "shape ray sample"]:
    """Distances of the wanted samples, infinite for the others."""
    points = origins[:, :, None] + depths[..., None] * directions[:, :, None]  # (shape, ray, sample, 3)
    wanted = wanted.expand_as(depths)
    found = ask(field, codes, points.flatten(1, 2), wanted.flatten(1))
    return torch.full_like(depths, torch.inf).masked_scatter(wanted, found)


def _find_nearest(
    origins: Float[Tensor, "shape ray 3"],
    directions: Float[Tensor, "shape ray 3"],
    hits: Bool[Tensor, "shape ray"],
    depths: Float[Tensor, "shape ray sample"],
    distances: Float[Tensor, "shape ray sample"],
) -> Nearest:
    """Pick each ray's nearest sample."""
    smallest, index = distances.min(-1)
    depth = depths.gather(-1, index[..., None])
    return Nearest(hits, origins + depth * directions, smallest, depths, distances)
