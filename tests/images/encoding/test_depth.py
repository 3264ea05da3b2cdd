import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForDepthEstimation, DPTImageProcessorPil

from sdfkit.errors import InputError, MissingError
from sdfkit.images.encoding.depth import DepthEncoder, DepthEstimator, load_depth_estimator
from sdfkit.images.encoding.features import Encoder
from sdfkit.images.structure import BACK, FRONT, PERCENTILES, MaskedView, draw_depth
from tests.tiny_models import BUILT, save_depth_model

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
INVERSE = {"dpt": True, "depth-anything": True, "metric": False, "glpn": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return {name: save_depth_model(tmp_path_factory.mktemp(name), name) for name in BUILT}


def load(path, **changed):
    return load_depth_estimator(path, **{"revision": None, "device": "cpu"} | changed)


@pytest.mark.parametrize("name", BUILT)
def test_an_estimate_is_that_of_the_model_in_the_size_of_the_image(folder, name):
    estimator = load(folder[name])
    found = estimator.estimate(IMAGES)
    assert (found.shape, found.dtype) == ((3, 48, 48), np.float32)
    assert found.std() > 1e-3 * np.abs(found).max(), "the random network must respond to its input"
    assert np.array_equal(estimator.estimate(IMAGES), found)
    _, processor, settings = BUILT[name]
    inputs = processor(**settings)(images=list(IMAGES), return_tensors="pt")
    with torch.inference_mode():
        outputs = AutoModelForDepthEstimation.from_pretrained(folder[name]).eval()(**inputs).predicted_depth
    expected = torch.nn.functional.interpolate(outputs[:, None], (48, 48), mode="bilinear")[:, 0]
    assert np.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))
    described = estimator.describe()
    assert described["output"] == ("inverse depth" if INVERSE[name] else "depth")
    assert described["model"] == folder[name] and described["preprocessing"]["do_resize"]


def test_dpt_on_dinov2_gives_depth_and_refuses_what_it_would_pad(folder, tmp_path):
    network = AutoModelForDepthEstimation.from_pretrained(folder["dpt"])
    network.config.add_projection = True  # as of the models trained on NYU and KITTI
    with pytest.raises(InputError, match="of its weights are missing, such as head.projection"):
        network.save_pretrained(tmp_path)
        DPTImageProcessorPil().save_pretrained(tmp_path)
        load(str(tmp_path))
    processor = DPTImageProcessorPil(do_resize=False, do_pad=True, size_divisor=14)
    estimator = DepthEstimator(network, processor, "padded", "", False, "cpu")
    with pytest.raises(
        InputError, match="padded: takes images whose height and width are multiples of 14, not 48"
    ):
        estimator.estimate(IMAGES)


def test_weights_that_dpt_does_not_use_may_be_missing(folder, tmp_path):
    network = AutoModelForDepthEstimation.from_pretrained(folder["dpt"])
    weights = {
        name: value for name, value in network.state_dict().items() if "layers.0.residual_layer1" not in name
    }
    network.save_pretrained(tmp_path, state_dict=weights)
    DPTImageProcessorPil(**BUILT["dpt"][2]).save_pretrained(tmp_path)
    assert np.array_equal(load(str(tmp_path)).estimate(IMAGES), load(folder["dpt"]).estimate(IMAGES))


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (
            "nobody/nothing",
            MissingError,
            "is not on this machine, .* give a downloaded folder .--depth-model FOLDER",
        ),
        ("empty", InputError, "holds no depth estimator that the transformers library can load"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_named(tmp_path, monkeypatch, model, error, words):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=f"{model}: {words}"):
        load(model)


def test_an_architecture_of_unknown_output_is_refused(folder, monkeypatch):
    from sdfkit.images.encoding import depth

    monkeypatch.setattr(depth, "METRIC", ())
    with pytest.raises(
        InputError, match="is of type glpn, which is not supported; use a model of Depth Anything"
    ):
        load(folder["glpn"])


def fake(depth):
    """An estimator that returns a known inverse depth, whatever the image shows."""

    def network(pixel_values):
        return SimpleNamespace(predicted_depth=torch.as_tensor(depth).expand(len(pixel_values), -1, -1))

    processor = DPTImageProcessorPil(do_resize=False)
    return DepthEstimator(network, processor, "fake", "", True, "cpu")


class Passing(Encoder):
    """An encoder that returns the images of its views."""

    def __init__(self):
        pass

    def encode(self, views):
        return {"feature": np.stack(views)}


def test_the_depth_and_normals_of_a_plane_are_exact_whatever_the_scale_of_the_estimate():
    y = (24 - np.arange(48) - 0.5) / 24 * math.tan(math.radians(30))  # of rays at depth 1, upwards
    # Inverse depth is linear in y. This plane lies where estimates are placed, so its true depth is known.
    low, high = np.percentile(np.repeat(y[1:-1], 46), PERCENTILES)
    slope = (1 / (2.5 + FRONT) - 1 / (2.5 + BACK)) / (high - low)
    inverse = np.repeat((1 / (2.5 + BACK) + slope * (y - low))[:, None], 48, axis=1)
    normal = np.array([0, -slope, inverse[0, 0] - slope * y[0]])
    views = [MaskedView(image, np.full((48, 48), 255, np.uint8), 2.5, math.radians(60)) for image in IMAGES]
    encoder = DepthEncoder(Passing(), fake(40 * inverse - 3), ("rgb", "depth", "normal"))
    rgb, depth, normals = np.moveaxis(encoder.encode(views)["feature"], 1, 0)
    assert np.array_equal(rgb, IMAGES)
    assert np.abs(depth.astype(int) - draw_depth(1 / inverse[None], np.array([2.5]))).max() <= 1
    assert np.abs(normals / 127.5 - 1 - normal / np.linalg.norm(normal)).max() < 0.01


def test_an_estimate_that_is_not_finite_is_refused():
    with pytest.raises(
        InputError, match="fake: its estimate of depth is not finite; use another --depth-model"
    ):
        fake(np.full((48, 48), np.nan)).estimate(IMAGES)
