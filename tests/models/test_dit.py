import dataclasses

import pytest
import torch

from sdfkit.models.dit import PRESETS, DiT, DiTConfig
from sdfkit.models.layers import layer_lengths
from sdfkit.models.mlp import PRESETS as MLP_PRESETS

TINY = DiTConfig(
    dim=10, tokens=1, feature=7, patches=1, width=16, layers=2, heads=2, ffn=2, gated=False, target="x0"
)
PIECES = DiTConfig(
    dim=10, tokens=3, feature=7, patches=1, width=16, layers=2, heads=2, ffn=4, gated=True, target="x0"
)

# One piece for each of two layers, of unlike lengths.
LAYERS = dataclasses.replace(PIECES, tokens=[7, 3])

PATCHES = dataclasses.replace(TINY, patches=4)


def lively(config):
    """A model whose zero-initialised layers have random weights, like a trained one."""
    torch.manual_seed(0)
    model = DiT(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def inputs(batch, views):
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(batch, 10, generator=generator),
        torch.arange(batch) * 7,
        torch.randn(batch, views, 1, 7, generator=generator),
        torch.randn(batch, views, 4, 4, generator=generator),
        torch.ones(batch, views, dtype=torch.bool),
    )


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (PRESETS["latent-10m"](64, 768), 10_372_288),
        (PRESETS["weights-132m"](54_785, 768), 131_242_689),
        (PRESETS["small"](64, 1280), 799_424),
        (PRESETS["weights-small"](54_785, 1280), 6_886_081),
    ],
)
def test_presets_have_the_papers_number_of_parameters(config, parameters):
    with torch.device("meta"):
        model = DiT(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("config", [TINY, PIECES, LAYERS])
def test_an_untrained_model_predicts_the_mean(config):
    assert torch.equal(DiT(config)(*inputs(3, 4)), torch.zeros(3, 10))


@pytest.mark.parametrize("config", [TINY, PIECES, LAYERS])
def test_masked_views_do_not_change_the_prediction(config):
    model = lively(config)
    noisy, timesteps, features, cameras, seen = inputs(2, 5)
    seen[:, 3:] = False
    short = model(noisy, timesteps, features[:, :3], cameras[:, :3], seen[:, :3])
    assert torch.allclose(model(noisy, timesteps, features, cameras, seen), short, atol=1e-5)


@pytest.mark.parametrize("config", [TINY, PIECES, LAYERS])
def test_the_prediction_depends_on_views_but_not_on_their_order(config):
    model = lively(config)
    noisy, timesteps, features, cameras, seen = inputs(2, 5)
    order = torch.tensor([4, 2, 0, 3, 1])
    plain = model(noisy, timesteps, features, cameras, seen)
    mixed = model(noisy, timesteps, features[:, order], cameras[:, order], seen)
    assert torch.allclose(mixed, plain, atol=1e-5)
    assert not torch.allclose(model(noisy, timesteps, features + 1, cameras, seen), plain, atol=1e-2)
    assert not torch.allclose(model(noisy, timesteps, features, cameras + 1, seen), plain, atol=1e-2)


@pytest.mark.parametrize("config", [TINY, PIECES, LAYERS])
def test_a_sample_with_all_views_masked_ignores_features(config):
    model = lively(config)
    noisy, timesteps, features, cameras, seen = inputs(2, 3)
    seen[0] = False
    first = model(noisy, timesteps, features, cameras, seen)
    second = model(noisy, timesteps, features + 1, cameras - 1, seen)
    assert torch.isfinite(first).all()
    assert torch.equal(first[0], second[0])
    assert not torch.allclose(first[1], second[1], atol=1e-2)


@pytest.mark.parametrize("config", [TINY, PIECES, LAYERS])
def test_permuting_samples_permutes_predictions(config):
    model = lively(config)
    order = torch.tensor([2, 0, 1])
    permuted = model(*(part[order] for part in inputs(3, 4)))
    assert torch.allclose(permuted, model(*inputs(3, 4))[order], atol=1e-5)


@pytest.mark.parametrize("config", [TINY, PIECES, LAYERS])
def test_the_prediction_depends_on_the_timestep_and_every_input_element(config):
    model = lively(config)
    noisy, timesteps, features, cameras, seen = inputs(1, 4)
    plain = model(noisy, timesteps, features, cameras, seen)
    assert not torch.allclose(model(noisy, timesteps + 100, features, cameras, seen), plain, atol=1e-3)
    for number in range(10):
        changed = noisy.clone()
        changed[0, number] += 1
        assert not torch.allclose(model(changed, timesteps, features, cameras, seen), plain, atol=1e-3)


def test_a_vector_is_split_into_equal_pieces_or_layers():
    assert PIECES.lengths == [4, 4, 2]
    assert PRESETS["weights-132m"](54_785, 768).lengths == [6_849] * 7 + [6_842]
    layers = layer_lengths(MLP_PRESETS["relu-pe"])
    assert layers == [5_120, 16_512, 16_512, 16_512, 129] and sum(layers) == 54_785
    assert dataclasses.replace(PIECES, tokens=layers).lengths == layers


def test_explicit_equal_lengths_equal_a_number_of_pieces():
    model, same = lively(PIECES), DiT(dataclasses.replace(PIECES, tokens=[4, 4, 2]))
    same.load_state_dict(model.state_dict())
    assert torch.equal(model(*inputs(3, 4)), same(*inputs(3, 4)))


def test_patches_of_a_view_are_distinguished_by_position():
    model = lively(PATCHES)
    noisy, timesteps, _, cameras, seen = inputs(2, 3)
    features = torch.randn(2, 3, 4, 7, generator=torch.Generator().manual_seed(2))
    plain = model(noisy, timesteps, features, cameras, seen)
    assert not torch.allclose(model(noisy, timesteps, features.flip(2), cameras, seen), plain, atol=1e-3)
    seen[:, 2] = False
    hidden = model(noisy, timesteps, features, cameras, seen)
    assert torch.allclose(
        model(noisy, timesteps, features[:, :2], cameras[:, :2], seen[:, :2]), hidden, atol=1e-5
    )


@pytest.mark.parametrize("config", [TINY, PIECES, LAYERS])
def test_every_parameter_has_a_gradient(config):
    model = lively(config).double()
    model.time_in.register_forward_pre_hook(lambda _, given: (given[0].double(),))
    noisy, timesteps, features, cameras, seen = inputs(3, 4)
    model(noisy.double(), timesteps, features.double(), cameras.double(), seen).square().sum().backward()
    largest = max(parameter.grad.abs().max() for parameter in model.parameters())
    for name, parameter in model.named_parameters():
        share = parameter.grad.abs().max() / largest
        if len(config.lengths) == 1 and "self_attention.query" in name:
            assert share < 1e-12, f"{name}: a single token attends to itself alone, whatever its query"
        else:
            assert share > 1e-9, name
