import pytest
import torch

from sdfkit.models.deepsdf import PRESETS, DeepSDF, DeepSDFConfig
from sdfkit.models.encodings import encode_points

TINY = DeepSDFConfig(code=5, bands=2, hidden=16, layers=4, skip=2, activation="relu")


@pytest.mark.parametrize(("name", "parameters"), [("512x8", 1_945_089), ("256x4", 250_625)])
def test_presets_have_the_papers_number_of_parameters(name, parameters):
    with torch.device("meta"):
        decoder = DeepSDF(PRESETS[name])
    assert sum(parameter.numel() for parameter in decoder.parameters()) == parameters


def test_the_middle_layer_of_the_papers_decoder_has_615_inputs():
    with torch.device("meta"):
        decoder = DeepSDF(PRESETS["512x8"])
    assert [layer.in_features for layer in decoder.hidden] == [103, 512, 512, 512, 615, 512, 512, 512]


def test_split_layers_equal_concatenation():
    torch.manual_seed(0)
    decoder = DeepSDF(TINY)
    codes, points = torch.randn(3, 5), torch.rand(3, 7, 3) * 2 - 1
    joined = torch.cat([codes[:, None].expand(3, 7, 5), encode_points(points, 2)], dim=-1)
    x = joined
    for index, layer in enumerate(decoder.hidden):
        x = torch.relu(layer(torch.cat([x, joined], dim=-1) if index == 2 else x))
    assert torch.allclose(decoder(codes, points), decoder.out(x)[..., 0], atol=1e-6)


def test_permuting_shapes_permutes_distances():
    decoder = DeepSDF(TINY)
    codes, points, order = torch.randn(4, 5), torch.rand(4, 6, 3), torch.tensor([2, 0, 3, 1])
    assert torch.allclose(decoder(codes[order], points[order]), decoder(codes, points)[order], atol=1e-6)


def test_every_parameter_and_code_has_a_gradient():
    decoder = DeepSDF(TINY)
    codes = torch.randn(2, 5, requires_grad=True)
    decoder(codes, torch.rand(2, 50, 3)).sum().backward()
    for gradient in [codes.grad, *(parameter.grad for parameter in decoder.parameters())]:
        assert gradient is not None and gradient.abs().sum() > 0
