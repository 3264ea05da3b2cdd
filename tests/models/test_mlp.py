import math

import pytest
import torch

from sdfkit.models.encodings import encode_points
from sdfkit.models.layers import MLPConfig, count_parameters
from sdfkit.models.mlp import (
    PRESETS,
    MLPs,
    draw_weights,
    flatten_weights,
    slope_by_weights,
    unflatten_weights,
)

TINY = {
    "relu-pe": MLPConfig(kind="relu-pe", bands=2, hidden=5, layers=2, frequency=1.0),
    "siren": MLPConfig(kind="siren", bands=0, hidden=5, layers=2, frequency=30.0),
}


def draw(config, shapes, seed=0):
    return draw_weights(config, shapes, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("name", "parameters"), [("relu-pe", 54_785), ("siren", 50_177)])
def test_presets_have_the_papers_number_of_parameters(name, parameters):
    assert count_parameters(PRESETS[name]) == parameters
    assert draw(PRESETS[name], 2).shape == (2, parameters)


@pytest.mark.parametrize("kind", TINY)
def test_a_vector_holds_layer_by_layer_weight_then_bias(kind):
    config = TINY[kind]
    vector = torch.arange(count_parameters(config), dtype=torch.float32)[None]
    layers = unflatten_weights(vector, config)
    inputs = 15 if kind == "relu-pe" else 3
    assert [tuple(weight.shape[1:]) for weight, _ in layers] == [(5, inputs), (5, 5), (1, 5)]
    (weight, bias), (second, _) = layers[0], layers[1]
    assert weight[0, 0].tolist() == list(range(inputs)), "output by output"
    assert bias[0].tolist() == list(range(5 * inputs, 5 * inputs + 5))
    assert second[0, 0, 0] == 5 * inputs + 5
    assert torch.equal(flatten_weights(layers), vector)


@pytest.mark.parametrize("kind", TINY)
def test_the_batched_network_equals_the_separate_networks(kind):
    config = TINY[kind]
    weights, points = draw(config, 3), torch.rand(3, 7, 3) * 2 - 1
    batched = MLPs(config, weights)(points)
    for shape in range(3):
        x = encode_points(points[shape], config.bands)
        for weight, bias in unflatten_weights(weights[shape : shape + 1], config)[:-1]:
            x = x @ weight[0].T + bias[0]
            x = torch.sin(30 * x) if kind == "siren" else x.clamp_min(0)
        weight, bias = unflatten_weights(weights[shape : shape + 1], config)[-1]
        assert torch.allclose(batched[shape], (x @ weight[0].T + bias[0])[:, 0], atol=1e-5)
        alone = MLPs(config, weights[shape : shape + 1])(points[shape : shape + 1])
        assert torch.allclose(batched[shape], alone[0], atol=1e-6)


def test_relu_layers_are_initialised_as_in_pytorch():
    (weight, bias), *_ = unflatten_weights(draw(PRESETS["relu-pe"], 4), PRESETS["relu-pe"])
    like = torch.nn.Linear(39, 128)
    for drawn, theirs in ((weight, like.weight), (bias, like.bias)):
        assert drawn.abs().max() <= 1 / math.sqrt(39)
        assert drawn.std() == pytest.approx(theirs.std().item(), rel=0.1)


def test_inputs_of_siren_sines_have_variance_1():
    """The input of each sine after the first has a normal distribution of variance 1 (SIREN paper, theorem 1.8)."""
    config = PRESETS["siren"]
    layers = unflatten_weights(draw(config, 1), config)
    x = torch.rand(1, 2000, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for index, (weight, bias) in enumerate(layers[:-1]):
        before = 30 * (x @ weight.transpose(1, 2))
        if index:
            assert before.std() == pytest.approx(1, abs=0.2)
        x = torch.sin(before + 30 * bias[:, None])


def test_initial_weights_depend_only_on_the_generator():
    config = TINY["siren"]
    assert torch.equal(draw(config, 2), draw(config, 2))
    assert not torch.equal(draw(config, 2), draw(config, 2, seed=1))
    assert not torch.equal(*draw(config, 2))


@pytest.mark.parametrize("kind", TINY)
def test_every_parameter_has_a_gradient(kind):
    networks = MLPs(TINY[kind], draw(TINY[kind], 2))
    networks(torch.rand(2, 200, 3) * 2 - 1).sum().backward()
    for weight, bias in unflatten_weights(networks.weights.grad, TINY[kind]):
        assert weight.abs().sum() > 0
        assert bias.abs().sum() > 0


@pytest.mark.parametrize("kind", TINY)
def test_slope_by_weights_agrees_with_the_exact_derivatives(kind):
    config, points = TINY[kind], torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    weights = draw(config, 1)[0]
    found = slope_by_weights(config, weights, points, 2000, torch.Generator().manual_seed(0))
    networks = MLPs(config, weights[None])
    each = [
        torch.autograd.grad(distance, networks.weights, retain_graph=True)[0][0]
        for distance in networks(points[None])[0]
    ]
    assert torch.allclose(found, torch.stack(each).square().mean(dim=0).sqrt(), rtol=0.15, atol=1e-6)
