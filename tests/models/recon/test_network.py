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
    ("name", "value", "needed"),
    [
        ("size", 30, "28 from 28"), ("size", 0, "28 from 28"), ("cells", 14, "4 from 12"), ("cells", 8, "4 from 12"),
        ("cells", 4096, "4 from 12 to 1024"),
    ],
)  # fmt: skip
def test_sizes_that_the_network_cannot_have_are_refused(name, value, needed):
    with pytest.raises(ValueError, match=f"its {name} is {value}, but a multiple of {needed}"):
        ReconConfig(**vars(CONFIG) | {name: value})


def test_mixed_precision_gives_full_precision_distances():
    network, seen, near, points = draw()
    with torch.autocast("cpu", torch.bfloat16):
        distances = predict(network, seen, near, points)
    assert distances.dtype == torch.float32
    assert np.allclose(distances, predict(network, seen, near, points), atol=0.2)


@pytest.mark.parametrize("config", [CONFIG, *PRESETS.values()])
def test_gradients_of_convolutions_are_whole_in_mixed_precision(config):
    """oneDNN leaves a part of them unset where the volume is very small, so each is compared after memory of NaNs."""
    with torch.device("meta"):
        network = Recon(config)
        size = config.size
        images = [(1, 1, 4, size, size), (1, 1, size, size), (1, 1, 4, 4), (1, 1)]
        known = [(1, config.neighbours, 5, 5, 5), (1, config.neighbours), (1, 3, 3)]
        seen, near = PosedViews(*map(torch.empty, images)), Neighbours(*map(torch.empty, known))
        points = torch.empty(1, 1, 3)
    calls = set()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Conv3d):
            kind = (
                type(module),
                module.in_channels,
                module.out_channels,
                module.kernel_size,
                module.stride,
                module.padding,
            )
            module.register_forward_hook(
                lambda _, inputs, __, kind=kind: calls.add((kind, inputs[0].shape[2:]))
            )
    network(network.encode(seen, near), points)
    assert len(calls) > 15
    for (build, *arguments), sides in calls:
        convolution = build(*arguments, bias=False)
        x = torch.randn(2, arguments[0], *sides)
        with torch.autocast("cpu", torch.bfloat16):
            y = convolution(x)
        change = torch.randn_like(y)
        torch.full_like(convolution.weight, torch.nan, dtype=y.dtype)  # freed at once
        (found,) = torch.autograd.grad(y, convolution.weight, change)
        (expected,) = torch.autograd.grad(convolution(x), convolution.weight, change.float())
        assert (found - expected).norm() < 0.02 * expected.norm(), (build, arguments, sides)
