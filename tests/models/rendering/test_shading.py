import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.rendering.rasteriser import GAMMA, LIGHT_DIRECTIONS
from sdfkit.models.rendering import shading
from sdfkit.models.rendering.shading import lambert, normals, surface_points
from sdfkit.models.rendering.silhouette import cast_rays, march, march_bounded

LIGHTS = torch.tensor(LIGHT_DIRECTIONS)


def spheres(codes, points):
    """Exact fields of spheres around the origin; the code is the radius."""
    return points.norm(dim=-1) - codes


class Bent(nn.Module):
    """A sphere deformed by a small network with a smooth activation or ReLU."""

    def __init__(self, smooth):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, 1)
        self.bend = (lambda x: F.softplus(x, beta=10)) if smooth else torch.relu

    def forward(self, codes, points):
        x = torch.cat([codes[:, None].expand(*points.shape[:2], 5), points], dim=-1)
        x = self.last(self.bend(self.second(self.bend(self.first(x)))))[..., 0]
        return x + self.sphere(points)

    def sphere(self, points):
        """A sphere approximated by ReLU, so that all curvature comes from the deformation."""
        return points.abs().sum(-1) - 0.8


def camera_rays(count=2, size=24, kind=torch.float32):
    cameras = torch.from_numpy(fibonacci_cameras(count, 2.5)).to(kind)
    origins, directions = cast_rays(cameras, torch.full((count,), 0.8, dtype=kind), size, size, None)
    return cameras, origins[:, None].expand_as(directions), directions


@pytest.mark.parametrize("bounded", [False, True])
def test_rays_enter_spheres_at_the_closed_form_points_with_correct_gradients(bounded):
    _, *rays = camera_rays()
    codes = torch.tensor([[0.5], [0.8]], requires_grad=True)
    if bounded:
        nearest = march_bounded(spheres, codes, *rays, samples=10, rounds=4, refine=2)
    else:
        nearest = march(spheres, codes, *rays, samples=48, jitter=torch.Generator().manual_seed(0))
    points, met = surface_points(spheres, codes, *rays, nearest, secants=2)
    passing = torch.linalg.cross(*rays).norm(dim=-1)
    assert torch.all(met[passing < 0.97 * codes]) and not torch.any(met[passing > codes])
    clear = passing < 0.9 * codes
    middle = -(rays[0] * rays[1]).sum(-1)
    half = (codes.square() - passing.square()).clamp(min=0).sqrt()
    expected = rays[0] + (middle - half)[..., None] * rays[1]
    assert (points - expected)[clear].norm(dim=-1).max() < 2e-3
    # A larger sphere is met earlier: the depth falls by radius / half.
    (gradient,) = torch.autograd.grad(((points * rays[1]).sum(-1))[clear].sum(), codes)
    truth = -torch.where(clear, codes / half, 0).sum(1, keepdim=True)
    assert torch.allclose(gradient, truth, rtol=0.01)


def test_secant_steps_reduce_the_error():
    _, *rays = camera_rays()
    codes = torch.tensor([[0.5], [0.8]])
    nearest = march(spheres, codes, *rays, samples=8, jitter=None)
    worst = []
    for secants in range(3):
        points, met = surface_points(spheres, codes, *rays, nearest, secants=secants)
        worst.append((points.norm(dim=-1) - codes).abs()[met].mean().item())
    assert worst[0] > 5 * worst[1] > 25 * worst[2]


def test_a_ray_that_starts_inside_has_no_entry_point():
    codes = torch.tensor([[1.5]])
    _, *rays = camera_rays(1)
    nearest = march(spheres, codes, *rays, samples=8, jitter=None)
    assert torch.any(nearest.distances < 0)
    assert not surface_points(spheres, codes, *rays, nearest, secants=2)[1].any()


def test_normals_of_spheres_point_away_from_the_centre():
    points = torch.randn(2, 50, 3)
    wanted = torch.rand(2, 50) > 0.5
    found = normals(spheres, torch.tensor([[0.4], [0.9]]), points, wanted, create_graph=False)
    assert torch.allclose(found[wanted], F.normalize(points[wanted], dim=-1), atol=1e-6)
    assert torch.all(found[~wanted] == 0)


def test_lights_are_fixed_to_the_camera():
    cameras = torch.from_numpy(fibonacci_cameras(7, 2.5))
    facing = cameras[:, None, :3, 2]  # the surface straight ahead of each camera, turned towards it
    seen = lambert(facing, cameras, LIGHTS, torch.tensor([0.5, 0.4]), torch.tensor(0.1))
    assert torch.allclose(seen, torch.tensor(0.6 ** (1 / GAMMA)), atol=1e-6)  # the rim light is behind it
    up = cameras[:, None, :3, 1]
    seen = lambert(up, cameras, LIGHTS, torch.tensor([0.5, 0.4]), torch.tensor(0.1))
    rim = 0.7 / math.sqrt(0.5**2 + 0.7**2 + 0.45**2)
    assert torch.allclose(seen, torch.tensor((0.1 + 0.4 * rim) ** (1 / GAMMA)), atol=1e-6)
    away = lambert(-facing, cameras, LIGHTS[:1], torch.tensor([0.5]), torch.tensor(0.0, requires_grad=True))
    assert torch.all(away < 0.02)
    assert torch.all(lambert(facing, cameras, LIGHTS, torch.tensor([3.0, 4.0]), torch.tensor(0.1)) == 1)


def test_shading_has_the_gamma_of_rendered_images():
    assert shading.GAMMA == GAMMA


def shade(field, codes, cameras, rays, nearest):
    """The mean of a pattern times the shaded image, as a simple loss of shading."""
    points, met = surface_points(field, codes, *rays, nearest, secants=3)
    turned = normals(field, codes, points, met, create_graph=True)
    dtype = codes.dtype
    seen = lambert(turned, cameras, LIGHTS.to(dtype), codes.new_tensor([0.5, 0.4]), codes.new_tensor(0.1))
    pattern = torch.linspace(-1, 1, seen.shape[1], dtype=dtype)
    return (seen * pattern * met).sum(), met


def test_the_gradient_of_shading_agrees_with_finite_differences():
    torch.manual_seed(0)
    kind = torch.float64
    field, codes = Bent(smooth=True).to(kind), torch.randn(2, 5, dtype=kind, requires_grad=True)
    field.sphere = lambda points: points.norm(dim=-1) - 0.6
    cameras, *rays = camera_rays(kind=kind)
    # Only rays that are not tangent to the surface: at outlines, the set of hits changes discontinuously.
    squarely = torch.linalg.cross(*rays).norm(dim=-1).max(0).values < 0.3
    rays = [ray[:, squarely] for ray in rays]

    def light(codes):
        nearest = march(field, codes, *rays, samples=48, jitter=None)
        return shade(field, codes, cameras, rays, nearest)

    value, met = light(codes)
    assert torch.all(met)
    (gradient,) = torch.autograd.grad(value, codes)
    step = 1e-5 * torch.randn_like(codes)
    difference = light(codes.detach() + step)[0] - light(codes.detach() - step)[0]
    assert (gradient * step).sum() * 2 == pytest.approx(difference.item(), rel=1e-3)


@pytest.mark.parametrize("smooth", [False, True])
def test_shading_has_a_gradient_only_for_smooth_decoders(smooth):
    torch.manual_seed(0)
    field, codes = Bent(smooth), torch.randn(2, 5, requires_grad=True)
    cameras, *rays = camera_rays()
    nearest = march(field, codes, *rays, samples=48, jitter=None)
    value, met = shade(field, codes, cameras, rays, nearest)
    assert met.float().mean() > 0.1
    biases = [field.first.bias, field.second.bias]
    gradients = torch.autograd.grad(value, [codes, *biases], allow_unused=True, materialize_grads=True)
    assert all(bool(gradient.abs().sum() > 0) is smooth for gradient in gradients)


def test_rays_without_a_surface_have_a_gradient_of_zero():
    field, codes = Bent(smooth=True), torch.randn(1, 5, requires_grad=True)
    cameras, *rays = camera_rays(1)
    away = [rays[0], -rays[1]]
    nearest = march(field, codes, *away, samples=4, jitter=None)
    value, met = shade(field, codes, cameras, away, nearest)
    value.backward()
    assert not met.any() and np.all(codes.grad.numpy() == 0)
