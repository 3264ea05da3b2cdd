"""The network of train-recon: what its output depends on, and what it does not."""

import numpy as np
import pytest
import torch

from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.models.recon.neighbours import Neighbours
from sdfkit.models.recon.network import PRESETS, Recon, ReconConfig
from sdfkit.models.recon.posed_views import PosedViews
from sdfkit.report.presets import preset_table
from tests.training.balls import CONFIG


def draw(shapes=2, views=8, outline=None):
    """Return a network and random inputs for it."""
    generator = torch.Generator().manual_seed(0)
    size = CONFIG.size
    outlines = 4 * torch.randn(shapes, views, size, size, generator=generator)
    seen = PosedViews(
        torch.rand(shapes, views, 4, size, size, generator=generator),
        outlines if outline is None else torch.full_like(outlines, outline),
        torch.from_numpy(fibonacci_cameras(views, 2.5)).expand(shapes, -1, -1, -1),
        torch.full((shapes, views), 0.9),
    )
    count = CONFIG.neighbours
    near = Neighbours(
        torch.rand(shapes, count, 5, 5, 5, generator=generator),
        torch.rand(shapes, count, generator=generator),
        torch.eye(3).expand(shapes, -1, -1),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Recon(CONFIG).eval()
    return network, seen, near, 2 * torch.rand(shapes, 20, 3, generator=generator) - 1


@torch.no_grad()
def predict(network, seen, near, points):
    return network(network.encode(seen, near), points)


def select(seen, views):
    return PosedViews(*(part[:, views] for part in seen))


def test_the_order_of_views_does_not_matter():
    network, seen, near, points = draw()
    order = [3, 1, 7, 0, 6, 2, 5, 4]
    expected = predict(network, seen, near, points)
    assert torch.allclose(predict(network, select(seen, order), near, points), expected, atol=1e-5)
    # But the views do.
    others = predict(network, select(seen, order[:4]), near, points)
    assert not torch.allclose(others, expected, atol=1e-3)


@pytest.mark.parametrize("views", range(1, 9))
def test_any_number_of_views_is_accepted(views):
    network, seen, near, points = draw()
    distances = predict(network, select(seen, slice(views)), near, points)
    assert distances.shape == (2, 20) and torch.isfinite(distances).all()


def test_shapes_of_a_batch_are_independent():
    network, seen, near, points = draw()
    together = predict(network, seen, near, points)
    for row in range(2):
        own = slice(row, row + 1)
        alone = predict(
            network, PosedViews(*(part[own] for part in seen)), Neighbours(*(part[own] for part in near)), points[own]
        )  # fmt: skip
        assert torch.allclose(alone, together[own], atol=1e-5)


def test_every_parameter_gets_a_gradient():
    # All pixels are inside, so that the visual hull bounds nothing.
    network, seen, near, points = draw(outline=-8.0)
    network(network.encode(seen, near), points).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_no_point_outside_the_visual_hull_is_inside_the_shape():
    network, seen, near, points = draw()
    hull = seen.cone_distances(seen.project(points)).amax(1)
    assert (predict(network, seen, near, points) >= hull).all()
    assert (hull > 0).any()


@pytest.mark.parametrize(("preset", "count"), [("small", 2_654_369), ("large", 10_698_977)])
def test_presets_have_a_known_number_of_parameters(preset, count):
    assert sum(parameter.numel() for parameter in Recon(PRESETS[preset]).parameters()) == count
    assert f"{count:,}" in preset_table("train-recon")


@pytest.mark.parametrize(
    ("name", "value", "factor"), [("size", 30, 28), ("size", 0, 28), ("cells", 6, 4), ("cells", 4096, 4)]
)
def test_sizes_that_the_network_cannot_have_are_refused(name, value, factor):
    with pytest.raises(ValueError, match=f"its {name} is {value}, but a multiple of {factor} up to"):
        ReconConfig(**vars(CONFIG) | {name: value})


def test_mixed_precision_gives_full_precision_distances():
    network, seen, near, points = draw()
    with torch.autocast("cpu", torch.bfloat16):
        distances = predict(network, seen, near, points)
    assert distances.dtype == torch.float32
    assert np.allclose(distances, predict(network, seen, near, points), atol=0.2)
