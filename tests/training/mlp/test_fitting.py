import numpy as np
import pytest
import torch
from torch import nn

from sdfkit.evaluation.field_errors import mlp_errors
from sdfkit.models.encodings import encode_points
from sdfkit.models.layers import MLPConfig
from sdfkit.models.mlp import MLPs, draw_weights, unflatten_weights
from sdfkit.training.mlp.fitting import BatchedMLP, fit_mlps
from sdfkit.training.mlp.recipes import MLPFitSettings

TINY = {
    "relu-pe": MLPConfig(kind="relu-pe", bands=2, hidden=16, layers=2, frequency=1.0),
    "siren": MLPConfig(kind="siren", bands=0, hidden=16, layers=2, frequency=30.0),
}
SETTINGS = MLPFitSettings(steps=30, points=16, near=0.75, lr=1e-3, clamp=0.1, stop=None)
RADII = (0.3, 0.5, 0.7)


def draw(config, shapes, seed=0):
    return draw_weights(config, shapes, torch.Generator().manual_seed(seed))


def balls(count=600, seed=0):
    """Samples of balls with different numbers of points near the surface."""
    points = torch.rand(3, count, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    distances = points.norm(dim=2) - torch.tensor(RADII)[:, None]
    return points, distances, distances.abs() < 0.1


@pytest.mark.parametrize("kind", TINY)
def test_the_manual_gradient_equals_autograd(kind):
    config = TINY[kind]
    points, distances, _ = (part[:, :16] for part in balls())
    stack = BatchedMLP(config, draw(config, 3), SETTINGS)
    networks = MLPs(config, draw(config, 3))
    predicted = networks(points)
    # Inside the clamp only: beyond it the two differ on purpose.
    predicted.backward((predicted.clamp(-0.1, 0.1) - distances.clamp(-0.1, 0.1)).detach().sign() / 16)
    stack.step(points, distances, 0.0)
    assert torch.allclose(stack.weights.grad, networks.weights.grad, atol=1e-6)


class Sine(nn.Module):
    def forward(self, x):
        return torch.sin(30 * x)


def plain_loop(config, start, points, distances, near, settings):
    """Fit one shape with nn.Sequential, autograd, Adam and a cosine schedule of the learning rate."""
    modules = []
    for weight, bias in unflatten_weights(start[None], config):
        linear = nn.Linear(weight.shape[2], weight.shape[1])
        linear.weight.data, linear.bias.data = weight[0].clone(), bias[0].clone()
        modules += [linear, Sine() if config.kind == "siren" else nn.ReLU()]
    network = nn.Sequential(*modules[:-1])
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + np.cos(np.pi * step / settings.steps))
    )
    kinds = [(points[near], distances[near], 12), (points[~near], distances[~near], 4)]
    for step in range(settings.steps):
        chosen = [(torch.arange(step * n, step * n + n) % len(d), p, d) for p, d, n in kinds]
        x = torch.cat([p[index] for index, p, _ in chosen])
        wanted = torch.cat([d[index] for index, _, d in chosen]).clamp(-0.1, 0.1)
        predicted = network(encode_points(x, config.bands))[:, 0]
        wrong = predicted.detach().clamp(-0.1, 0.1) != wanted
        loss = ((predicted - wanted).abs() * wrong).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("kind", TINY)
def test_batched_fitting_equals_fitting_one_shape(kind):
    config, start = TINY[kind], draw(TINY[kind], 3)
    samples = balls()
    together = fit_mlps(config, start, *samples, SETTINGS)
    assert together.steps.tolist() == [30, 30, 30]
    for shape in range(3):
        alone = plain_loop(config, start[shape], *(part[shape] for part in samples), SETTINGS)
        assert torch.allclose(together.weights[shape], alone, atol=2e-5)
        assert (alone - start[shape]).abs().max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "lr"), [("relu-pe", 1e-2), ("siren", 1e-3)])
def test_balls_are_learned(kind, lr):
    config = TINY[kind]
    settings = MLPFitSettings(steps=600, points=128, near=0.5, lr=lr, clamp=0.1, stop=None)
    points, distances, near = balls(4000)
    found = fit_mlps(config, draw(config, 3), points, distances, near, settings).weights
    fresh, true, _ = balls(1000, seed=1)
    assert (mlp_errors(config, found, fresh, true, 0.1, 300) < 0.006).all()
    # Where the surface is, along an axis.
    ray = torch.linspace(0, 1, 1001)[:, None] * torch.tensor([0.0, 1.0, 0.0])
    inside = (MLPs(config, found)(ray.expand(3, -1, -1)) < 0).float().mean(dim=1)
    assert torch.allclose(inside, torch.tensor(RADII), atol=0.03)


def test_a_network_with_all_values_beyond_the_clamp_recovers():
    """The loss of DeepSDF has no gradient there, so the network would never change."""
    config = TINY["relu-pe"]
    start = draw(config, 1)
    start[:, -1] = 2.0
    points, distances, near = (part[:1] for part in balls(4000))
    assert (MLPs(config, start)(points) > 0.1).all()
    settings = MLPFitSettings(steps=600, points=128, near=0.5, lr=1e-2, clamp=0.1, stop=None)
    found = fit_mlps(config, start, points, distances, near, settings).weights
    assert mlp_errors(config, found, points, distances, 0.1, 1000) < 0.006


@pytest.mark.slow
def test_finished_shapes_leave_the_batch_without_affecting_others():
    config, start = TINY["relu-pe"], draw(TINY["relu-pe"], 3)
    settings = MLPFitSettings(steps=1000, points=64, near=0.5, lr=1e-2, clamp=0.1, stop=0.008)
    samples = balls(4000)
    fits = fit_mlps(config, start, *samples, settings)
    assert len(set(fits.steps.tolist())) > 1 and (fits.steps < 1000).all() and (fits.steps % 100 == 0).all()
    for shape in range(3):
        alone = fit_mlps(
            config, start[shape : shape + 1], *(part[shape : shape + 1] for part in samples), settings
        )
        assert alone.steps[0] == fits.steps[shape]
        assert torch.allclose(alone.weights[0], fits.weights[shape], atol=1e-2)


def test_errors_are_clamped():
    config, start = TINY["relu-pe"], draw(TINY["relu-pe"], 3) * 0
    points, distances, _ = balls()
    errors = mlp_errors(config, start, points, distances, 0.1, 77)
    assert torch.allclose(errors, distances.abs().clamp_max(0.1).mean(dim=1))


def test_a_diverging_shape_does_not_affect_others():
    config, start = TINY["relu-pe"], draw(TINY["relu-pe"], 3)
    points, distances, near = balls()
    clean = fit_mlps(config, start, points, distances, near, SETTINGS).weights
    start[1, 0] = torch.nan
    fits = fit_mlps(config, start, points, distances, near, SETTINGS).weights
    assert not fits[1].isfinite().all()
    assert torch.allclose(fits[[0, 2]], clean[[0, 2]], atol=1e-6)
