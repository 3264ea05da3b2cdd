import math

import pytest
import torch

from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.silhouettes import mask_distances
from sdfkit.models.rendering.outlines import empty_sines, ideal_loss, pixel_lengths
from sdfkit.models.rendering.silhouette import cast_rays, march, silhouette_loss, soft_silhouette


def spheres(codes, points):
    """Exact fields of spheres around the origin; the code is the radius."""
    return points.norm(dim=-1) - codes


def test_the_ideal_loss_of_a_disc_agrees_with_a_closed_form():
    # The integral of softplus(-|x| / T) over a line is T pi^2 / 6, here along each pixel of the outline.
    at = torch.arange(256.0) - 127.5
    distances = (torch.hypot(at[:, None], at) - 80)[None]
    expected = 0.01 * math.pi**2 / 6 * (2 * math.pi * 80 / 128) / 4
    length = torch.full((1, 256, 256), 1 / 128)
    assert ideal_loss(distances, length, 0.01) == pytest.approx(expected, rel=0.02)
    assert ideal_loss(-distances, length, 0.01) == ideal_loss(distances, length, 0.01)
    # The result does not depend on the unit of length.
    assert ideal_loss(distances, 3 * length, 0.03) == pytest.approx(ideal_loss(distances, length, 0.01))


@pytest.mark.parametrize(
    ("temperature", "size", "error"),
    [(0.003, 64, 0.3), (0.006, 64, 0.2), (0.006, 192, 0.06), (0.05, 64, 0.06)],
)
def test_the_ideal_loss_equals_the_loss_of_an_exact_field(temperature, size, error):
    cameras = torch.from_numpy(fibonacci_cameras(3, 2.5))
    yfov = torch.full((3,), 0.96)
    origins, directions = cast_rays(cameras, yfov, size, size, None)
    rays, codes = (origins[:, None].expand_as(directions), directions), torch.linspace(0.4, 0.8, 3)[:, None]
    nearest = march(spheres, codes, *rays, samples=48, jitter=None)
    logits = soft_silhouette(spheres, codes, nearest, temperature)
    mask = logits > 0
    distances = torch.from_numpy(mask_distances(mask.view(3, size, size).numpy()))
    expected = ideal_loss(distances, pixel_lengths(cameras, yfov, size, size), temperature)
    loss = silhouette_loss(logits, mask).mean()
    assert loss == pytest.approx(expected.item(), rel=error)
    assert silhouette_loss(logits, ~mask).mean() > 10 * loss


def test_cone_angles_are_lower_bounds_of_the_distance_to_the_shape():
    # A shape that fills the right half of the picture: a wall through the camera, which looks straight ahead.
    half = torch.arange(64) >= 32
    distances = torch.from_numpy(mask_distances(half.expand(1, 64, 64).numpy()))
    sines = empty_sines(distances.flatten(1), torch.tensor([1.0]), 64, 64, None).view(64, 64)
    _, directions = cast_rays(torch.eye(4)[None], torch.tensor([1.0]), 64, 64, None)
    true = (-directions[0, :, 0]).view(64, 64)  # the sine of a ray's angle to the wall
    assert torch.all(sines[:, half] == 0)
    assert torch.all(sines <= true.clamp(min=0) + 1e-6)
    assert torch.all(sines[:, :8] > 0.5 * true[:, :8])
