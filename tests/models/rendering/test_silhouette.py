import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sdfkit.images.rendering.cameras import fibonacci_cameras, intrinsics
from sdfkit.images.silhouettes import mask_distances
from sdfkit.models.rendering.outlines import empty_sines
from sdfkit.models.rendering.silhouette import (
    MISSED,
    ball_span,
    bound_loss,
    cast_rays,
    find_ball_pixels,
    march,
    march_bounded,
    silhouette_loss,
    soft_silhouette,
)

BOUNDED = {"samples": 10, "rounds": 4, "refine": 2}


def spheres(codes, points):
    """Exact fields of spheres around the origin; the code is the radius."""
    return points.norm(dim=-1) - codes


def tori(codes, points):
    """Exact fields of tori around +Y with a tube radius of 0.2; the code is the ring's radius."""
    around = torch.hypot(points[..., 0], points[..., 2]) - codes
    return torch.hypot(around, points[..., 1]) - 0.2


class Smooth(nn.Module):
    """A small decoder of slightly deformed spheres."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, 1)

    def forward(self, codes, points):
        x = torch.cat([codes[:, None].expand(*points.shape[:2], 5), points], dim=-1)
        x = F.softplus(self.second(F.softplus(self.first(x), beta=10)), beta=10)
        return points.norm(dim=-1) - 0.6 + 0.3 * self.last(x)[..., 0]


def camera_rays(count=2, distance=2.5, yfov=0.9, size=16, kind=torch.float32):
    """Rays of `count` cameras, one camera for each shape."""
    cameras = torch.from_numpy(fibonacci_cameras(count, distance)).to(kind)
    origins, directions = cast_rays(cameras, torch.full((count,), yfov, dtype=kind), size, size, None)
    return origins[:, None].expand_as(directions), directions


def plain_silhouette(field, codes, origins, directions, samples, temperature, jitter):
    """The renderer as the paper describes it: every sample with gradient, then the smallest distance."""
    near, far = ball_span(origins, directions, 1.0)
    parts = torch.arange(samples, dtype=near.dtype)
    drawn = torch.rand((*near.shape, samples), generator=jitter, dtype=near.dtype)
    depths = near[..., None] + (far - near)[..., None] * (parts + drawn) / samples
    points = origins[:, :, None] + depths[..., None] * directions[:, :, None]
    distances = field(codes, points.flatten(1, 2)).view(depths.shape)
    return torch.where(near < far, -distances.min(-1).values / temperature, MISSED)


def test_rays_pass_through_the_pixels_of_the_intrinsic_matrix():
    cameras = fibonacci_cameras(5, 2.5)
    origins, directions = cast_rays(torch.from_numpy(cameras), torch.full((5,), 0.8), 6, 10, None)
    assert directions.shape == (5, 60, 3)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(5, 60), atol=1e-6)
    for camera, origin, rays in zip(cameras, origins.numpy(), directions.numpy(), strict=True):
        points = np.c_[origin + 1.7 * rays, np.ones(60)]
        column, row, depth = intrinsics(0.8, 10, 6) @ (np.linalg.inv(camera) @ points.T)[:3]
        rows, columns = np.divmod(np.arange(60), 10)
        assert np.all(depth > 0)
        assert np.allclose(column / depth, columns + 0.5, atol=1e-4)
        assert np.allclose(row / depth, rows + 0.5, atol=1e-4)


def test_rays_match_their_pixels_and_ball_pixels_agree_with_ball_span():
    cameras, yfov = torch.from_numpy(fibonacci_cameras(5, 1.3)), torch.linspace(0.5, 2.0, 5)
    cameras[1, :3, 3] *= 0.5  # inside the ball, where all rays meet it
    cameras[2, :3, :3] = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    origins, directions = cast_rays(cameras, yfov, 20, 30, None)
    near, far = ball_span(origins[:, None], directions, 0.9)
    met = find_ball_pixels(cameras, yfov, 20, 30, 0.9).flatten(1)
    assert torch.equal(met, near < far)
    assert met[1].all() and met[4].any() and not met[4].all()
    pixels = torch.tensor([[7, 599]]).expand(5, 2)
    chosen = cast_rays(cameras, yfov, 20, 30, pixels)[1]
    assert torch.allclose(chosen, directions[:, [7, 599]], atol=1e-6)


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
def test_the_silhouette_of_a_sphere_is_the_closed_form_disc(radius, distance):
    # Seen from a distance d, a sphere of radius r appears under the half angle arcsin(r / d).
    origins, directions = camera_rays(3, distance, 2.0, 64)
    codes = torch.full((3, 1), radius)
    nearest = march_bounded(spheres, codes, origins, directions, **BOUNDED)
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
def test_one_evaluation_per_ray_gives_the_gradient_of_all_samples(kind):
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


def test_bounded_march_gives_nearly_the_same_gradient():
    torch.manual_seed(0)
    field, codes = Smooth(), torch.randn(2, 5, requires_grad=True)
    rays = camera_rays()
    masks = torch.rand(rays[0].shape[:2]) > 0.5
    gradients = []
    for nearest in (
        march(field, codes, *rays, samples=48, jitter=None),
        march_bounded(field, codes, *rays, **BOUNDED),
    ):
        loss = silhouette_loss(soft_silhouette(field, codes, nearest, 0.02), masks).mean()
        parts = torch.autograd.grad(loss.mean(), [codes, *field.parameters()])
        gradients.append(torch.cat([part.flatten() for part in parts]))
    assert F.cosine_similarity(*gradients, dim=0) >= 0.999


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_bounded_march_finds_thin_rings_with_few_samples(kind):
    rays, codes = camera_rays(3, size=32, kind=kind), torch.full((3, 1), 0.6, dtype=kind)

    def rings(codes, points):
        around = torch.hypot(points[..., 0], points[..., 2]) - codes
        return torch.hypot(around, points[..., 1]) - 0.01

    dense = march(rings, codes, *rays, samples=1024, jitter=None)
    even = march(rings, codes, *rays, samples=19, jitter=None)
    few = march_bounded(rings, codes, *rays, **BOUNDED)
    assert few.sample_depths.shape[-1] == 19 and torch.equal(few.hits, dense.hits)
    away = few.hits & (dense.distances > 0)
    lost, worse = ((nearest.distances - dense.distances)[away] for nearest in (few, even))
    assert lost.abs().max() < 0.003 and lost.mean() < worse.mean() / 100
    # The stored distance is that of the nearest point.
    assert torch.allclose(rings(codes, few.points)[few.hits], few.distances[few.hits], atol=1e-6)


def test_samples_lie_in_their_intervals():
    rays, codes = camera_rays(1), torch.tensor([[0.5]])
    near, far = ball_span(*rays, 1.0)
    fine = march(tori, codes, *rays, samples=7, jitter=torch.Generator().manual_seed(3))
    parts = (fine.sample_depths - near[..., None]) / (far - near)[..., None] * 7
    assert torch.equal(parts[fine.hits].floor(), torch.arange(7.0).expand(int(fine.hits.sum()), 7))
    assert parts[fine.hits].frac().std() > 0.2
    middle = march(tori, codes, *rays, samples=7, jitter=None)
    parts = (middle.sample_depths - near[..., None]) / (far - near)[..., None] * 7
    assert torch.allclose(parts[middle.hits].frac(), torch.tensor(0.5), atol=1e-3)


def test_rays_belong_to_their_shape_however_many_hit_the_ball():
    # More rays of the second, nearer camera hit the ball; each shape has the same result as alone.
    distances = (2.5, 1.2, 8.0)
    rays = [
        torch.cat(parts) for parts in zip(*(camera_rays(1, distance) for distance in distances), strict=True)
    ]
    codes = torch.tensor([[0.5], [0.7], [0.4]])
    together = march(tori, codes, *rays, samples=9, jitter=None)
    assert len(set(together.hits.sum(1).tolist())) == 3
    logits = soft_silhouette(tori, codes, together, 0.1)
    for row in range(3):
        own = [part[row : row + 1] for part in (codes, *rays)]
        alone = march(tori, *own, samples=9, jitter=None)
        assert torch.equal(together.hits[row], alone.hits[0])
        # Products of matrices differ in the last bits with the size of the batch.
        pairs = [(a[row], b[0]) for a, b in zip(together, alone, strict=True)]
        pairs.append((logits[row], soft_silhouette(tori, codes[row : row + 1], alone, 0.1)[0]))
        assert all(torch.allclose(a.float(), b.float(), rtol=1e-5, atol=1e-6) for a, b in pairs)


def test_the_gradient_is_zero_if_all_rays_miss():
    field, codes = Smooth(), torch.randn(1, 5, requires_grad=True)
    away = torch.tensor([[[0.0, 0, 2.5]]]), torch.tensor([[[0.0, 0, 1]]])
    nearest = march(field, codes, *away, samples=4, jitter=None)
    loss = silhouette_loss(soft_silhouette(field, codes, nearest, 0.1), torch.zeros(1, 1, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and codes.grad.abs().sum() == 0


def bounds_of_spheres(inflated, size=48):
    """The bound loss of spheres whose radius exceeds that of the spheres in the masks by `inflated`."""
    count, yfov = 3, torch.full((3,), 1.2)
    rays = camera_rays(count, 2.0, 1.2, size)
    codes = torch.tensor([[0.3], [0.5], [0.7]])
    silhouettes = march(spheres, codes, *rays, samples=48, jitter=None).distances < 0
    distances = torch.from_numpy(mask_distances(silhouettes.view(count, size, size).numpy()))
    sines = empty_sines(distances.flatten(1), yfov, size, size, None)
    assert torch.all(sines[silhouettes] == 0)
    assert (sines > 0).float().mean() > 0.5
    codes = (codes + inflated).requires_grad_()
    nearest = march(spheres, codes, *rays, samples=48, jitter=None)
    loss = bound_loss(spheres, codes, *rays, nearest, silhouettes, sines)
    return loss, codes, rays, sines, silhouettes


def test_exact_fields_do_not_violate_the_bounds():
    loss, codes, *_ = bounds_of_spheres(0.0)
    assert torch.all(loss == 0)
    loss.sum().backward()
    assert torch.all(codes.grad == 0)


@pytest.mark.parametrize("inflated", [0.15, -0.15])
def test_wrong_fields_violate_the_bounds_with_a_gradient_of_the_right_sign(inflated):
    loss, codes, rays, sines, mask = bounds_of_spheres(inflated)
    assert torch.all(loss > 0)
    (gradient,) = torch.autograd.grad(loss.sum(), codes)
    assert torch.all(
        gradient.sign() == math.copysign(1, inflated)
    )  # so that a step shrinks or enlarges each sphere
    # The reference evaluates every sample with gradient.
    near, far = ball_span(*rays, 1.0)
    depths = near[..., None] + (far - near)[..., None] * (torch.arange(48) + 0.5) / 48
    points = rays[0][:, :, None] + depths[..., None] * rays[1][:, :, None]
    distances = spheres(codes[..., None], points)
    outside = (depths * sines[..., None] - distances).clamp(min=0).mean(-1)
    inside = distances.min(-1).values.clamp(min=0)
    plain = (torch.where(mask, inside, outside) * (near < far)).mean(-1)
    assert torch.allclose(loss, plain, rtol=1e-5)
    assert torch.allclose(gradient, torch.autograd.grad(plain.sum(), codes)[0], rtol=1e-5)
