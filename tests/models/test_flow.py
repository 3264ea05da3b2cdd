"""Conditioners, the rectified flow and its networks: sizes, direction of time, scale and guidance."""

from dataclasses import replace

import pytest
import torch

from sdfkit.models.deepsdf import DeepSDF
from sdfkit.models.flow import SIZE, Flow, FlowConfig, FlowNetworks, build_conditioner, integrate
from sdfkit.training.flow.recipes import NETWORKS

TINY = FlowConfig(
    code=6, channels=(4, 4, 4, 4), hidden=16, feature=None, patches=1, velocity="mlp", width=64, blocks=2
)
FEATURES = replace(TINY, feature=10, patches=3)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_papers_networks_have_the_stated_numbers_of_parameters():
    config, decoder = NETWORKS["paper"]
    assert count(build_conditioner(config, pooled=True)) == 2_919_136
    assert count(Flow(config)) == 3_895_936
    assert count(DeepSDF(decoder)) == 330_497


def test_time_runs_from_noise_to_codes_in_equal_steps():
    noise, code = torch.randn(3, 5), torch.randn(3, 5)
    asked = []

    def straight(codes, times):
        asked.append(times[0].item())
        return code - noise

    path = integrate(straight, noise, 8)
    assert path.shape == (9, 3, 5)
    assert asked == [step / 8 for step in range(8)]
    assert torch.allclose(path[-1], code, atol=1e-6) and torch.equal(path[0], noise)
    assert torch.allclose(path[4], (noise + code) / 2, atol=1e-6)


@pytest.mark.parametrize("velocity", ["mlp", "dit"])
@pytest.mark.parametrize("config", [TINY, FEATURES])
def test_an_untrained_flow_returns_noise_at_the_scale_of_the_codes(config, velocity):
    config = replace(config, velocity=velocity)
    flow, conditioner = Flow(config), build_conditioner(config, pooled=velocity == "mlp")
    pictures = torch.rand(2, 3, 3, SIZE, SIZE) if config.feature is None else torch.rand(2, 3, 3, 10)
    seen = conditioner(pictures)
    parts = 1 if velocity == "mlp" else 3 if config.feature else (SIZE >> 4) ** 2
    assert seen.shape == (2, 3, parts, config.code)
    flow.mean.copy_(torch.arange(6.0))
    flow.spread.fill_(0.05)
    noise = torch.randn(2, config.code)
    path = flow.run(noise, seen, steps=4, guidance=1.0)
    # The initial velocity is zero, so the codes do not change.
    assert torch.allclose(path, (flow.mean + 0.05 * noise).expand(5, -1, -1), atol=1e-6)
    assert torch.allclose(flow.standardise(path[0]), noise, atol=1e-4)


def test_guidance_moves_away_from_the_unconditional_velocity():
    flow = Flow(TINY)
    for zeros in (flow.velocity.out, *(block.modulation for block in flow.velocity.blocks)):
        torch.nn.init.normal_(zeros.weight)
    noise, seen = torch.randn(2, 6), torch.randn(2, 1, 1, 6)
    with torch.no_grad():
        with_it, without = (flow.velocity(noise, torch.zeros(2), condition) for condition in (seen, 0 * seen))
        guided = flow.run(noise, seen, steps=1, guidance=2.5)[-1]
    assert torch.allclose(guided, noise + without + 2.5 * (with_it - without), atol=1e-5)
    assert not torch.allclose(with_it, without)


def test_conditions_of_several_images_are_averaged():
    flow = Flow(TINY)
    for zeros in (flow.velocity.out, *(block.modulation for block in flow.velocity.blocks)):
        torch.nn.init.normal_(zeros.weight)
    noise, seen = torch.randn(2, 6), torch.randn(2, 4, 1, 6)
    with torch.no_grad():
        several = flow.velocity(noise, torch.zeros(2), seen)
        mean = flow.velocity(noise, torch.zeros(2), seen.mean(dim=1, keepdim=True))
    assert torch.allclose(several, mean, atol=1e-6)


def test_encoder_and_pooled_conditioner_have_the_same_architecture():
    networks = FlowNetworks(TINY, replace(NETWORKS["small"][1], code=6, hidden=8), [[0.0, 0.0, 1.0]])
    encoder, conditioner = networks.encoder.state_dict(), networks.conditioner.state_dict()
    assert {name: value.shape for name, value in encoder.items()} == {
        name: value.shape for name, value in conditioner.items()
    }
    # Directions of the lights are fixed; their intensities are learned.
    assert [name for name, _ in networks.light.named_parameters()] == ["intensities", "ambient"]
