"""Conditions, targets and tokens of the denoiser, from stores made by the test."""

import json

import numpy as np
import pytest
import zarr
from PIL import Image

from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row

SHAPES, VIEWS, PATCHES, FEATURE, DIM = 4, 3, 4, 6, 8
ROWS = [Row(index, f"shape_{index}") for index in range(SHAPES)]
RNG = np.random.default_rng(0)


def write(path, kind, arrays, attributes):
    with create_store(
        str(path), kind, rows=ROWS, history=[], settings={}, attributes=attributes, overwrite=False
    ) as store:
        for name, (values, axes) in arrays.items():
            store.create_array(name, data=values.astype(np.float32), axes=("shape", *axes))
        for row in ROWS:
            store.write(row)
    return path


@pytest.fixture
def stores(tmp_path):
    features = {
        "feature": (RNG.normal(size=(SHAPES, VIEWS, FEATURE)), ("view", "dim")),
        "token": (RNG.normal(size=(SHAPES, VIEWS, PATCHES, FEATURE)), ("view", "token", "dim")),
        "camera_to_world": (np.tile(np.eye(4), (SHAPES, VIEWS, 1, 1)), ("view", "to", "from")),
    }
    encoder = {"encoder": {"model": "none"}}
    codes = write(tmp_path / "codes.zarr", "codes", {"code": (RNG.normal(size=(SHAPES, DIM)), ("dim",))}, {})
    plain = {name: features[name] for name in ("feature", "camera_to_world")}
    return (
        write(tmp_path / "features.zarr", "features", features, encoder),
        write(tmp_path / "plain.zarr", "features", plain, encoder),
        codes,
    )


@pytest.mark.slow
@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
def test_a_denoiser_can_be_conditioned_on_patch_tokens(sdfkit, stores, tmp_path, prediction):
    features, _, codes = stores
    options = ("--condition", "token", "--tokens", 2, "--prediction", prediction, "--min-snr", 5)
    options += ("--cfg-dropout", 0.5, "--pose-dropout", 0.5, "--views", 2, "--batch", 8, "--steps", 3)
    model = tmp_path / "dit.zarr"
    assert sdfkit("train-dit", features, "--codes", codes, *options, "-o", model).exit_code == 0
    group = zarr.open_group(model, mode="r")
    assert group.attrs["condition"] == "token"
    config = group["denoiser"].attrs
    assert (config["patches"], config["tokens"], config["target"]) == (PATCHES, 2, prediction)
    assert group["denoiser/place"].shape[0] == PATCHES
    predicted = tmp_path / "predicted.zarr"
    guided = sdfkit("predict", model, features, "--steps", 4, "--guidance", 2, "-o", predicted)
    assert guided.exit_code == 0 and "--guidance" not in guided.stderr
    codes = zarr.open_group(predicted, mode="r")["code"][:]
    assert codes.shape == (SHAPES, DIM) and np.isfinite(codes).all()


@pytest.mark.slow
@pytest.mark.parametrize("attributes", [{}, {"decoder_sha256": "5d"}])
def test_the_digest_of_the_decoder_is_copied_from_the_codes(sdfkit, stores, tmp_path, attributes):
    codes = {"code": (RNG.normal(size=(SHAPES, DIM)), ("dim",))}
    codes = write(tmp_path / "told.zarr", "codes", codes, attributes)
    model = tmp_path / "dit.zarr"
    done = sdfkit("train-dit", stores[0], "--codes", codes, "--steps", 1, "--batch", 2, "-o", model)
    assert done.exit_code == 0, done.stderr
    attrs = zarr.open_group(model, mode="r").attrs
    assert {key: attrs[key] for key in attrs if key == "decoder_sha256"} == attributes


@pytest.mark.slow
def test_missing_patch_tokens_are_reported(sdfkit, stores, tmp_path):
    features, plain, codes = stores
    model = tmp_path / "dit.zarr"
    refused = sdfkit("train-dit", plain, "--codes", codes, "--condition", "token", "-o", model)
    assert refused.exit_code == 3 and "embed with --tokens patch" in refused.stderr
    assert not model.exists()
    options = ("--condition", "token", "--steps", 1, "--batch", 2)
    assert sdfkit("train-dit", features, "--codes", codes, *options, "-o", model).exit_code == 0
    refused = sdfkit("predict", model, plain, "-o", tmp_path / "predicted.zarr")
    assert refused.exit_code == 3 and "embed with --tokens patch" in refused.stderr


def test_more_views_than_stored_are_refused(sdfkit, stores, tmp_path):
    features, _, codes = stores
    refused = sdfkit("train-dit", features, "--codes", codes, "--views", 4, "-o", tmp_path / "dit.zarr")
    assert refused.exit_code == 3
    assert f"{VIEWS} views per shape, but --views is 4" in refused.stderr


def test_a_single_shape_with_a_code_is_refused(sdfkit, stores, tmp_path):
    others = [Row(index, name) for index, name in enumerate(("shape_2", "stranger"))]
    with create_store(
        str(tmp_path / "others.zarr"), "codes", rows=others, history=[], settings={}, overwrite=False
    ) as store:
        store.create_array("code", data=np.eye(2, DIM, dtype=np.float32), axes=("shape", "dim"))
        for row in others:
            store.write(row)
    done = sdfkit("train-dit", stores[0], "--codes", tmp_path / "others.zarr", "-o", tmp_path / "dit.zarr")
    assert done.exit_code == 3
    assert "one shape with a code (shape_2), but training needs two or more" in done.stderr
    assert not (tmp_path / "dit.zarr").exists()


@pytest.fixture
def denoiser(sdfkit, stores, tmp_path):
    features, _, codes = stores
    model = tmp_path / "dit.zarr"
    assert (
        sdfkit("train-dit", features, "--codes", codes, "--steps", 2, "--batch", 4, "-o", model).exit_code
        == 0
    )
    return model


@pytest.mark.slow
def test_timestep_loss_prints_and_plots_losses_by_timestep(sdfkit, stores, denoiser, tmp_path):
    picture = tmp_path / "loss.png"
    told = sdfkit("timestep-loss", denoiser, stores[0], "--views", 2, "--steps", 3, "-o", picture)
    assert told.exit_code == 0, told.stderr
    assert f"{SHAPES} shapes, 2 views each" in told.stdout
    lines = told.stdout.splitlines()
    assert lines[2].split()[:3] == ["t", "alpha", "bar"]
    assert [line.split()[:2] for line in lines[3:5]] == [["0", "0.9999"], ["50", "0.9711"]]
    with Image.open(picture) as drawn:
        assert drawn.width == 1200
    facts = json.loads(sdfkit("timestep-loss", denoiser, stores[0], "--views", 2, "--json").stdout)
    assert facts["timesteps"]["timestep"] == [0, 50, 100, 200, 300, 450]
    # After two steps from zero weights, the model still predicts nearly the mean.
    assert facts["mean_predictor"] == pytest.approx(1, abs=1e-3)
    assert facts["one_step"]["fvu"] == pytest.approx(1, abs=0.1)
    assert facts["verdict"].startswith("the model ignores the images")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--views", 9), 3, "3 views per shape, but --views is 9"),
        (
            ("--views", 2, "-o", "loss.jpg"),
            2,
            "loss.jpg: plots are written as PNG; choose a name that ends in .png",
        ),
    ],
)
def test_timestep_loss_refuses_unsuitable_options(sdfkit, stores, denoiser, options, status, words):
    refused = sdfkit("timestep-loss", denoiser, stores[0], *options)
    assert refused.exit_code == status and words in refused.stderr


@pytest.mark.slow
def test_timestep_loss_refuses_shapes_without_codes(sdfkit, stores, denoiser, tmp_path):
    others = [Row(index, f"other_{index}") for index in range(SHAPES)]
    with create_store(
        str(tmp_path / "others.zarr"), "codes", rows=others, history=[], settings={}, overwrite=False
    ) as store:
        store.create_array("code", data=np.ones((SHAPES, DIM), np.float32), axes=("shape", "dim"))
        for row in others:
            store.write(row)
    refused = sdfkit("timestep-loss", denoiser, stores[0], "--codes", tmp_path / "others.zarr", "--views", 1)
    assert refused.exit_code == 3 and "none of its shapes has a code in" in refused.stderr


@pytest.mark.slow
def test_predictions_record_the_codes_to_rank_them_against(sdfkit, stores, denoiser, tmp_path):
    predicted = tmp_path / "predicted.zarr"
    assert (
        sdfkit("predict", denoiser, stores[0], "--samples", 2, "--steps", 2, "-o", predicted).exit_code == 0
    )
    facts = json.loads(sdfkit("rank", predicted, "--json").stdout)
    assert (facts["known"]["name"], facts["known"]["rows"]) == (str(denoiser), SHAPES)
    assert [row["uid"] for row in facts["predictions"]][:2] == ["shape_0_s0", "shape_0_s1"]
    # The truth of every sample is that of its shape.
    assert all(1 <= row["truth"]["rank"] <= SHAPES for row in facts["predictions"])
    codes = zarr.open_group(denoiser)["code"]
    codes[0] = codes[1]
    refused = sdfkit("rank", predicted)
    assert (
        refused.exit_code == 3
        and "has changed since the prediction; give the training codes" in refused.stderr
    )
    denoiser.rename(tmp_path / "elsewhere.zarr")
    alone = sdfkit("rank", predicted)
    assert alone.exit_code == 0 and "does not exist; give its training codes with --known" in alone.stderr
    assert "pairwise cosine" in alone.stdout


@pytest.mark.slow
def test_prediction_works_for_images_without_cameras(sdfkit, stores, denoiser, tmp_path):
    codes = []
    for name, keep in (("unknown", False), ("zeros", True)):
        path = tmp_path / f"{name}.zarr"
        source = zarr.open_group(stores[0], mode="r")
        arrays = {"feature": (source["feature"][:], ("view", "dim"))}
        if keep:
            arrays["camera_to_world"] = (np.zeros((SHAPES, VIEWS, 4, 4)), ("view", "to", "from"))
        write(path, "features", arrays, {"encoder": {"model": "none"}})
        predicted = tmp_path / f"{name}_codes.zarr"
        done = sdfkit("predict", denoiser, path, "--steps", 2, "-o", predicted)
        assert done.exit_code == 0, done.stderr
        codes.append(zarr.open_group(predicted, mode="r")["code"][:])
    assert np.array_equal(*codes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ({"model": "another"}, "embedded with another, but"),
        ({"model": "none", "preprocessing": {"output": "mean"}}, "embedded with output mean, but"),
        ({"model": "none", "views": ["rgb", "depth"]}, "embedded with rgb, depth (rendered), but"),
    ],
)
def test_features_of_another_encoder_are_refused(sdfkit, stores, denoiser, tmp_path, encoder, words):
    source = zarr.open_group(stores[0], mode="r")
    arrays = {"feature": (source["feature"][:], ("view", "dim"))}
    other = write(tmp_path / "other.zarr", "features", arrays, {"encoder": encoder})
    refused = sdfkit("predict", denoiser, other, "-o", tmp_path / "codes.zarr")
    assert refused.exit_code == 3 and words in refused.stderr


@pytest.mark.slow
def test_models_of_noise_without_a_skip_connection_are_refused(sdfkit, stores, tmp_path):
    features, _, codes = stores
    model = tmp_path / "dit.zarr"
    options = ("--prediction", "eps", "--steps", 1, "--batch", 2)
    assert sdfkit("train-dit", features, "--codes", codes, *options, "-o", model).exit_code == 0
    group = zarr.open_group(model, mode="r+")
    assert group.attrs["settings"]["timesteps"] == 454
    settings = {name: value for name, value in group.attrs["settings"].items() if name != "timesteps"}
    group.attrs["settings"] = settings
    refused = sdfkit("predict", model, features, "-o", tmp_path / "predicted.zarr")
    assert refused.exit_code == 3 and "predicts noise without a skip connection" in refused.stderr


@pytest.mark.slow
def test_held_out_shapes_are_reported_drawn_and_left_out_of_the_codes(sdfkit, stores, tmp_path):
    features, _, codes = stores
    model, picture = tmp_path / "dit.zarr", tmp_path / "loss.png"
    line = ("train-dit", features, "--codes", codes, "--held-out", 0.25, "--epochs", 10, "--batch", 4)
    done = sdfkit(*line, "--curve", picture, "-o", model)
    assert done.exit_code == 0, done.stderr
    assert "held-out shapes: " in done.stderr and ", which is kept, and " in done.stderr
    group = zarr.open_group(model, mode="r")
    (held_out,) = group.attrs["held_out"]
    kept = [row.uid for row in ROWS if row.uid != held_out]
    assert group["uid"][:].tolist() == kept
    assert group.attrs["settings"]["steps"] == 8  # 10 uses of 3 shapes, 4 a step
    with Image.open(picture) as drawn:
        assert drawn.width == 1200


def test_a_dry_run_measures_steps_with_and_without_held_out_shapes(sdfkit, stores, tmp_path, monkeypatch):
    monkeypatch.setattr("sdfkit.training.costs.SECONDS", 0.0)
    options = (
        "--steps",
        600,
        "--batch",
        4,
        "--held-out",
        0.3,
        "--dry-run",
        "--json",
        "-o",
        tmp_path / "d.zarr",
    )
    done = sdfkit("train-dit", stores[1], "--codes", stores[2], *options)
    assert done.exit_code == 0, done.stderr
    kinds = [(kind["name"], kind["number"]) for kind in json.loads(done.stdout)["steps"]]
    assert kinds == [("plain", 540), ("with held-out loss", 60)]
    assert not (tmp_path / "d.zarr").exists()
