import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sdfkit.images.cameras import fibonacci_cameras, intrinsics
from sdfkit.models.silhouette import (
    MISSED,
    ball_span,
    cast_rays,
    march,
    march_coarse,
    soft_silhouette,
)

COARSE = {"samples": 12, "rounds": 2, "refine": 4}


def spheres(codes, points):
    """Exact spheres around the origin: a code is a radius."""
    return points.norm(dim=-1) - codes


def tori(codes, points):
    """Exact tori around +Y: a code is the radius of the ring; its tube is 0.2 thick."""
    around = torch.hypot(points[..., 0], points[..., 2]) - codes
    return torch.hypot(around, points[..., 1]) - 0.2


class Smooth(nn.Module):
    """A small decoder of spheres, bent a little."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, 1)

    def forward(self, codes, points):
        x = torch.cat([codes[:, None].expand(*points.shape[:2], 5), points], dim=-1)
        x = F.softplus(self.second(F.softplus(self.first(x), beta=10)), beta=10)
        return points.norm(dim=-1) - 0.6 + 0.3 * self.last(x)[..., 0]


def camera_rays(count=2, distance=2.5, yfov=0.9, size=16, kind=torch.float32):
    """Rays of `count` cameras, as of so many shapes seen once."""
    cameras = torch.from_numpy(fibonacci_cameras(count, distance)).to(kind)
    origins, directions = cast_rays(cameras, torch.full((count,), yfov, dtype=kind), size, size)
    return origins[:, None].expand_as(directions), directions


def plain_silhouette(field, codes, origins, directions, samples, temperature, jitter):
    """The paper's renderer as it is written: every sample with gradient, then the smallest distance."""
    near, far = ball_span(origins, directions, 1.0)
    parts = torch.arange(samples, dtype=near.dtype)
    drawn = torch.rand((*near.shape, samples), generator=jitter, dtype=near.dtype)
    depths = near[..., None] + (far - near)[..., None] * (parts + drawn) / samples
    points = origins[:, :, None] + depths[..., None] * directions[:, :, None]
    distances = field(codes, points.flatten(1, 2)).view(depths.shape)
    return torch.where(near < far, -distances.min(-1).values / temperature, MISSED)


def test_rays_meet_the_picture_where_intrinsics_say():
    cameras = fibonacci_cameras(5, 2.5)
    origins, directions = cast_rays(torch.from_numpy(cameras), torch.full((5,), 0.8), 6, 10)
    assert directions.shape == (5, 60, 3)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(5, 60), atol=1e-6)
    for camera, origin, rays in zip(cameras, origins.numpy(), directions.numpy(), strict=True):
        points = np.c_[origin + 1.7 * rays, np.ones(60)]
        column, row, depth = intrinsics(0.8, 10, 6) @ (np.linalg.inv(camera) @ points.T)[:3]
        rows, columns = np.divmod(np.arange(60), 10)
        assert np.all(depth > 0)
        assert np.allclose(column / depth, columns + 0.5, atol=1e-4)
        assert np.allclose(row / depth, rows + 0.5, atol=1e-4)


coordinate = st.floats(-2, 2, allow_subnormal=False)
vector = st.tuples(coordinate, coordinate, coordinate).map(torch.tensor)


@given(vector, vector, st.floats(0.1, 2))
def test_the_span_is_the_part_of_the_ray_inside_the_ball(origin, towards, radius):
    origin, towards = origin.double(), towards.double()
    if towards.norm() < 1e-3:
        return
    direction = towards / towards.norm()
    near, far = ball_span(origin, direction, radius)
    depths = torch.linspace(0, 8, 4001, dtype=torch.float64)
    lengths = (origin + depths[:, None] * direction).norm(dim=-1)
    span = (near <= depths) & (depths <= far)
    assert torch.all(lengths[span] <= radius + 1e-9)
    assert torch.all(lengths[~span] >= radius - 1e-9)


@pytest.mark.parametrize(("radius", "distance"), [(0.6, 2.5), (0.9, 1.5)])
def test_the_silhouette_of_a_sphere_is_the_disc_that_geometry_says(radius, distance):
    # Seen from a distance d, a sphere of radius r appears under the half angle arcsin(r / d).
    origins, directions = camera_rays(3, distance, 2.0, 64)
    codes = torch.full((3, 1), radius)
    nearest = march_coarse(spheres, codes, origins, directions, jitter=None, **COARSE)
    logits = soft_silhouette(spheres, codes, nearest, 0.01)
    angle = torch.acos((-origins * directions).sum(-1) / distance)
    away = (angle - math.asin(radius / distance)).abs() > 0.003
    assert torch.equal((logits > 0)[away], (angle < math.asin(radius / distance))[away])
    assert torch.equal(logits == MISSED, ~nearest.hits)
    assert torch.equal(nearest.hits, angle < math.asin(1 / distance))
    # Its nearest point lies where the ray passes the centre, if it does not go through the sphere.
    passing = distance * angle.sin() - radius
    outside = nearest.hits & (passing > 0)
    assert torch.allclose(nearest.distances[outside], passing[outside], atol=2e-3)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_one_point_a_ray_has_the_gradient_of_all_samples(kind):
    torch.manual_seed(0)
    field = Smooth().to(kind)
    codes = torch.randn(2, 5, dtype=kind, requires_grad=True)
    rays = camera_rays(kind=kind)
    masks = torch.rand(rays[0].shape[:2], dtype=kind).round()
    nearest = march(field, codes, *rays, samples=48, jitter=torch.Generator().manual_seed(7))
    ours = soft_silhouette(field, codes, nearest, 0.02)
    theirs = plain_silhouette(field, codes, *rays, 48, 0.02, torch.Generator().manual_seed(7))
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    inputs = [codes, *field.parameters()]
    ours, theirs = (
        torch.cat([part.flatten() for part in torch.autograd.grad(loss, inputs)])
        for loss in (F.binary_cross_entropy_with_logits(logits, masks) for logits in (ours, theirs))
    )
    assert theirs.norm() > 0
    assert (ours - theirs).norm() <= (1e-12 if kind == torch.float64 else 1e-5) * theirs.norm()
