import pytest
import torch
from torch import nn

from sdfkit.models.quantised import InputQuantiser, QuantisedLinear, has_int8_units, quantise

needs_vnni = pytest.mark.skipif(not has_int8_units(), reason="needs a processor with VNNI")


def test_a_limit_of_onednn_below_vnni_is_respected(monkeypatch):
    for limit in ("AVX2", "avx512_core"):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        assert not has_int8_units()


@needs_vnni
def test_a_quantised_layer_equals_the_layer_up_to_rounding():
    torch.manual_seed(0)
    layer = nn.Linear(64, 32)
    layer.weight.data[3] *= 100  # a much larger row must not reduce the precision of the others
    x = torch.rand(5, 7, 64) * 3 - 1
    expected = layer(x).detach()
    error = (QuantisedLinear(layer, InputQuantiser())(x) - expected).abs()
    assert error.shape == (5, 7, 32)
    # Half a step of each weight and of each input, over 64 products of random sign; five standard deviations.
    rows = layer.weight.detach().abs()
    step = (rows.amax(1) / 127 * x.square().mean().sqrt() + 3 / 254 * rows.square().mean(1).sqrt()) / 12**0.5
    assert (error.amax((0, 1)) < 5 * step * 64**0.5).all()


@needs_vnni
def test_sums_of_8_bit_products_do_not_overflow():
    layer = nn.Linear(64, 1, bias=False)
    layer.weight.data.fill_(1)
    x = torch.full((1, 64), 2.0)
    x[0, 0] = 0
    assert torch.allclose(QuantisedLinear(layer, InputQuantiser())(x), torch.tensor([[126.0]]), rtol=1e-2)


@needs_vnni
def test_every_linear_layer_is_replaced():
    network = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 4, bias=False)))
    assert quantise(network) == 2
    assert quantise(network) == 0
    assert network(torch.ones(2, 4)).shape == (2, 4)


@needs_vnni
def test_quantised_inputs_are_cached_for_the_same_tensor():
    inputs = InputQuantiser()
    x = torch.linspace(-1, 3, 12).reshape(2, 6)
    whole, scale, zero = inputs.apply(x)
    assert inputs.apply(x)[0] is whole
    assert whole.max() - whole.min() == 254
    assert torch.allclose(scale * (whole.float() - zero), x, atol=scale / 2 * 1.01)
    other = inputs.apply(x.clone() * 2)
    assert other[0] is not whole
    assert other[1] == pytest.approx(2 * scale)
    constant, scale, zero = inputs.apply(torch.zeros(1, 4))
    assert (scale * (constant.float() - zero) == 0).all()


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch is built without oneDNN")
def test_the_private_operators_of_torch_compute_a_linear_layer():
    """`torch.ops.onednn` is not public: this test fails if a version of torch removes or changes these operators."""
    advice = f"torch {torch.__version__} changed torch.ops.onednn: adapt QuantisedLinear, or bound torch in pyproject"
    torch.manual_seed(0)
    layer, x = nn.Linear(16, 8), torch.rand(3, 16)
    try:
        found = QuantisedLinear(layer, InputQuantiser())(x)
    except (AttributeError, RuntimeError, TypeError) as error:
        pytest.fail(f"{advice} ({error})")
    assert found.shape == (3, 8), advice
    if has_int8_units():  # others saturate sums of two products
        assert torch.allclose(found, layer(x), atol=0.02), advice
