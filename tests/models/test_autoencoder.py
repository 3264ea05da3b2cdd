import pytest
import torch

from sdfkit.models.autoencoder import PRESETS, Autoencoder, AutoencoderConfig

TINY = AutoencoderConfig(dim=10, code=3, hidden=8, layers=2)


@pytest.mark.parametrize(
    ("preset", "code", "parameters"),
    [("1024x3", 128, 116_717_185), ("1024x3", 256, 116_979_457), ("small", 128, 28_302_465)],
)
def test_presets_have_the_papers_number_of_parameters(preset, code, parameters):
    with torch.device("meta"):
        network = Autoencoder(PRESETS[preset](54_785, code))
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_the_first_reconstruction_is_the_mean():
    vectors = 5 + 0.01 * torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    network = Autoencoder(TINY)
    network.centre(vectors)
    assert network.encode(vectors).shape == (4, 3)
    assert torch.allclose(network(vectors), vectors.mean(dim=0).expand(4, 10))
    assert network.scale == pytest.approx(float(vectors.std(dim=0, correction=0).square().mean().sqrt()))


def test_codes_do_not_depend_on_scale_and_offset_of_the_weights():
    vectors = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    network = Autoencoder(TINY)
    network.centre(vectors)
    codes = network.encode(vectors)
    network.centre(3 * vectors + 2)
    assert torch.allclose(network.encode(3 * vectors + 2), codes, atol=1e-5)


def test_the_state_dict_restores_the_autoencoder():
    vectors = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    network, again = Autoencoder(TINY), Autoencoder(TINY)
    network.centre(vectors)
    torch.nn.init.normal_(network.decoder[-1].weight)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(vectors), network(vectors))
