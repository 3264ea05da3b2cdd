"""`sdfkit predict` from features, views and photos: results, names of samples, and errors."""

import shutil

import numpy as np
import pytest
import trimesh
import zarr
from PIL import Image
from typer.testing import CliRunner

from sdfkit.cli import app
from tests.tiny_models import save_image_encoder

FEW = ("--steps", 2, "--device", "cpu")


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Views of two boxes, their features by a tiny DINOv2, a decoder, and denoisers of two kinds."""
    folder = tmp_path_factory.mktemp("predict")
    save_image_encoder(folder / "encoder")
    (folder / "closed").mkdir()
    for name, size in (("low", 1), ("high", 2)):
        trimesh.creation.box([1, size, 1]).export(folder / f"closed/{name}.ply")
    run("render", folder / "closed", "--views", 2, "--size", 48, "--jobs", 1, "-o", folder / "views.zarr")
    options = ("--model", folder / "encoder", "--tokens", "all", "--precision", "fp32", "--device", "cpu")
    run("embed", folder / "views.zarr", *options, "-o", folder / "features.zarr")
    options = ("--points", 500, "--surface-points", 0, "--jobs", 1)
    run("sample-sdf", folder / "closed", *options, "-o", folder / "samples.zarr")
    run("train-deepsdf", folder / "samples.zarr", *FEW, "-o", folder / "deepsdf.zarr")
    for name, condition in (("dit", "feature"), ("patches", "token")):
        options = ("--codes", folder / "deepsdf.zarr", "--condition", condition, "--batch", 4, *FEW)
        run("train-dit", folder / "features.zarr", *options, "-o", folder / f"{name}.zarr")
    for name, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
        picture = np.full((60, 80, 3), 255, np.uint8)
        picture[20:40, 30:50] = colour
        Image.fromarray(picture).save(folder / f"{name}.png")
    return folder


def codes(path):
    return zarr.open_group(path, mode="r")["code"][:]


def fails(result, status, *words):
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("model", ["dit", "patches"])
def test_views_are_embedded_with_the_encoder_of_the_training_features(job, tmp_path, model):
    for source in ("features", "views"):
        options = ("--device", "cpu", "-o", tmp_path / f"{source}.zarr")
        run("predict", job / f"{model}.zarr", job / f"{source}.zarr", *options)
    assert np.allclose(codes(tmp_path / "views.zarr"), codes(tmp_path / "features.zarr"), atol=1e-5)
    store = zarr.open_group(tmp_path / "views.zarr", mode="r")
    assert store["uid"][:].tolist() == ["high", "low"]


@pytest.mark.slow
def test_each_photo_is_a_shape_and_photos_in_a_folder_are_views_of_one_shape(sdfkit, job, tmp_path):
    run("predict", job / "dit.zarr", job / "red.png", job / "blue.png", "-o", tmp_path / "files.zarr")
    options = ("--model", job / "encoder", "--precision", "fp32", "-o", tmp_path / "features.zarr")
    run("embed", job / "red.png", job / "blue.png", *options)
    run("predict", job / "dit.zarr", tmp_path / "features.zarr", "-o", tmp_path / "two_steps.zarr")
    assert np.allclose(codes(tmp_path / "files.zarr"), codes(tmp_path / "two_steps.zarr"), atol=1e-5)
    assert zarr.open_group(tmp_path / "files.zarr")["uid"][:].tolist() == ["red", "blue"]
    (tmp_path / "photos/thing").mkdir(parents=True)
    for name in ("red", "blue"):
        shutil.copy(job / f"{name}.png", tmp_path / "photos/thing")
    run("predict", job / "dit.zarr", tmp_path / "photos", "-o", tmp_path / "one.zarr")
    store = zarr.open_group(tmp_path / "one.zarr", mode="r")
    assert store["uid"][:].tolist() == ["thing"]


@pytest.mark.slow
def test_samples_are_named_after_their_shape(job, tmp_path):
    options = ("--samples", 2, "--device", "cpu")
    told = run("predict", job / "dit.zarr", job / "features.zarr", *options, "-o", tmp_path / "codes.zarr")
    assert "wrote 2 codes each of 2 shapes" in told.stderr
    store = zarr.open_group(tmp_path / "codes.zarr", mode="r")
    assert store["uid"][:].tolist() == ["high_s0", "high_s1", "low_s0", "low_s1"]
    assert store["sample_of"][:].tolist() == ["high", "high", "low", "low"]
    assert len(np.unique(store["code"][:], axis=0)) == 4
    decoder = zarr.open_group(job / "deepsdf.zarr", mode="r").attrs["decoder_sha256"]
    assert store.attrs["decoder_sha256"] == decoder


@pytest.mark.slow
def test_prediction_continues_after_an_unreadable_photo(sdfkit, job, tmp_path):
    (tmp_path / "text.png").write_text("This is no picture.")
    line = ("predict", job / "dit.zarr", job / "red.png", tmp_path / "text.png", "--samples", 2)
    result = sdfkit(*line, "-o", tmp_path / "codes.zarr")
    assert result.exit_code == 4
    assert result.stderr.splitlines() == [
        f"sdfkit: text: {tmp_path}/text.png: is not an image in a supported format; convert it to PNG, JPEG, WebP, "
        "AVIF, TIFF, GIF, BMP, PPM or JPEG 2000",
        f"sdfkit: 1 of 2 shapes failed, for the reasons above; the other 1 is in {tmp_path}/codes.zarr",
    ]
    store = zarr.open_group(tmp_path / "codes.zarr", mode="r")
    assert store["valid"][:].tolist() == [True, True, False, False]
    assert store["sample_of"][:].tolist() == ["red", "red", "text", "text"]
    fails(
        sdfkit("predict", job / "dit.zarr", tmp_path / "text.png", "-o", tmp_path / "x.zarr"), 3, "text.png"
    )
    assert not (tmp_path / "x.zarr").exists()


def changed(job, tmp_path, **encoder):
    """A copy of the denoiser that names another encoder."""
    path = tmp_path / "changed.zarr"
    shutil.copytree(job / "dit.zarr", path)
    attributes = zarr.open_group(path, mode="r+").attrs
    attributes["encoder"] = {**attributes["encoder"], **encoder}
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "status", "words"),
    [
        (
            {"model": "nobody/nothing"},
            5,
            ("its encoder cannot be loaded: nobody/nothing: ", "give the features"),
        ),
        (
            {"revision": "abc"},
            3,
            ("changed since the model was trained; embed the images on a machine", "give the features"),
        ),
        ({"preprocessing": {"output": "cls"}}, 3, ("has changed since the model was trained",)),
        ({"preprocessing": {}}, 3, ("does not name the encoder of its training features; give features",)),
        ({"views": ["caption"]}, 3, ("was trained on captions, not images", "sdfkit embed --text")),
        ({"views": ["rgb", "depth"]}, 3, ("was trained on rgb, depth, but", "render a mesh with --depth")),
    ],
)
def test_a_missing_or_changed_encoder_is_refused(sdfkit, job, tmp_path, encoder, status, words):
    model = changed(job, tmp_path, **encoder)
    fails(sdfkit("predict", model, job / "red.png", "-o", tmp_path / "codes.zarr"), status, *words)
    assert not (tmp_path / "codes.zarr").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inputs", "status", "words"),
    [
        (["samples.zarr"], 3, "holds samples, but a store of kind features or views is needed"),
        (["closed/low.ply"], 3, "is a mesh, but images are needed; render the mesh first: sdfkit render"),
        (
            ["red.png", "features.zarr"],
            2,
            "is a store among other inputs; give only stores, or only image files",
        ),
        (["empty"], 3, "a folder without images"),
        (["nothing.zarr"], 3, "No such file or directory"),
    ],
)
def test_inputs_of_other_kinds_are_refused(sdfkit, job, tmp_path, inputs, status, words):
    (job / "empty").mkdir(exist_ok=True)
    paths = [job / name for name in inputs]
    fails(sdfkit("predict", job / "dit.zarr", *paths, "-o", tmp_path / "codes.zarr"), status, words)


@pytest.mark.slow
def test_a_denoiser_without_a_network_is_refused(sdfkit, job, tmp_path):
    np.save(tmp_path / "codes.npy", np.zeros((2, 4)))
    line = (job / "features.zarr", "-o", tmp_path / "codes.zarr")
    refused = sdfkit("predict", tmp_path / "codes.npy", *line)
    fails(refused, 3, "codes.npy: holds no denoiser; give a store that train-dit wrote")
    for lost, words in (
        ("denoiser/tokens_in.weight", "cannot be loaded"),
        ("standard/std", "denoiser without the array standard/std; was it made by sdfkit?"),
    ):
        model = tmp_path / f"{lost[:3]}.zarr"
        shutil.copytree(job / "dit.zarr", model)
        shutil.rmtree(model / lost)
        fails(sdfkit("predict", model, *line), 3, words)
    shutil.copytree(job / "dit.zarr", tmp_path / "broken.zarr")
    group = zarr.open_group(tmp_path / "broken.zarr", mode="r+")
    group["standard/std"][0] = np.nan
    broken = "the denoiser is incomplete; train it again"
    fails(sdfkit("predict", tmp_path / "broken.zarr", *line), 3, broken)
    group["denoiser/position"][0, 0] = np.inf
    broken = "the parameter position of its denoiser is not finite; train the denoiser again"
    fails(sdfkit("predict", tmp_path / "broken.zarr", *line), 3, broken)


@pytest.mark.slow
def test_a_shape_with_non_finite_features_is_marked_as_failed(sdfkit, job, tmp_path):
    shutil.copytree(job / "features.zarr", tmp_path / "features.zarr")
    zarr.open_group(tmp_path / "features.zarr", mode="r+")["feature"][1, 0, 3] = np.nan
    line = ("predict", job / "dit.zarr", tmp_path / "features.zarr", *FEW)
    result = sdfkit(*line, "-o", tmp_path / "codes.zarr")
    assert result.exit_code == 4
    assert result.stderr.startswith(
        "sdfkit: low: its array feature holds numbers that are not finite; embed the shape again"
    )
    assert np.isfinite(codes(tmp_path / "codes.zarr")).all()


@pytest.mark.slow
def test_features_of_another_length_are_refused(sdfkit, job, tmp_path):
    def replaced(name, values, axes):
        path = tmp_path / "features.zarr"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(job / "features.zarr", path)
        shutil.rmtree(path / name)
        if values is not None:
            zarr.open_group(path, mode="r+").create_array(name, data=values, dimension_names=axes)
        return path

    axes = ("shape", "view", "token", "dim")
    for model, name, values, words in (
        ("dit", "feature", np.zeros((2, 2, 7), np.float32), "its features have 7 numbers, but"),
        ("dit", "feature", None, "has no array feature, which"),
        ("patches", "token", np.zeros((2, 2, 4, 16), np.float32), "has 4 patches per view, but"),
    ):
        path = replaced(name, values, axes[: 2 if values is None else values.ndim - 1] + axes[-1:])
        fails(sdfkit("predict", job / f"{model}.zarr", path, "-o", tmp_path / "codes.zarr"), 3, words)


def refine(sdfkit, job, *options, inputs="views.zarr"):
    return sdfkit("predict", job / "dit.zarr", job / inputs, "--refine", "--device", "cpu", *options)


@pytest.mark.slow
def test_refined_codes_fit_the_silhouettes_better_than_sampled_ones(sdfkit, job, tmp_path):
    run(
        "train-deepsdf",
        job / "samples.zarr",
        "--steps",
        150,
        "--device",
        "cpu",
        "-o",
        tmp_path / "deepsdf.zarr",
    )
    options = ("--codes", tmp_path / "deepsdf.zarr", "--batch", 4, *FEW)
    run("train-dit", job / "features.zarr", *options, "-o", tmp_path / "dit.zarr")
    options = ("--refine", "--decoder", tmp_path / "deepsdf.zarr", "--device", "cpu")
    done = sdfkit(
        "predict", tmp_path / "dit.zarr", job / "views.zarr", *options, "-o", tmp_path / "refined.zarr"
    )
    assert done.exit_code == 0, done.stderr
    assert "silhouette IoU with the images: mean 0." in done.stderr
    refined = zarr.open_group(tmp_path / "refined.zarr", mode="r")
    assert refined["uid"][:].tolist() == ["high", "low"]
    assert (refined["silhouette_iou"][:] > 0.8).all()
    assert refined.attrs["settings"]["decoder"].startswith("sha256:")
    # The same command gives the same codes, and its codes are meshed with the decoder.
    run("predict", tmp_path / "dit.zarr", job / "views.zarr", *options, "-o", tmp_path / "again.zarr")
    assert np.array_equal(codes(tmp_path / "again.zarr"), refined["code"][:])
    options = ("--decoder", tmp_path / "deepsdf.zarr", "--views", job / "views.zarr", "--resolution", 32)
    run("mesh", tmp_path / "refined.zarr", *options, "-o", f"{tmp_path}/cut/")
    high, low = (trimesh.load_mesh(tmp_path / f"cut/{name}.ply") for name in ("high", "low"))
    assert high.extents[1] / high.extents[0] > 1.4 > low.extents[1] / low.extents[0]


@pytest.mark.slow
def test_refinement_needs_views_a_decoder_and_codes(sdfkit, job, tmp_path):
    decoder = ("--decoder", job / "deepsdf.zarr")
    fails(refine(sdfkit, job), 2, "--refine compares decoded shapes with the images; add --decoder STORE")
    fails(refine(sdfkit, job, *decoder, "--samples", 2), 2, "leave --samples out")
    fails(
        refine(sdfkit, job, *decoder, inputs="red.png"), 3,
        "red.png: holds no cameras, which --refine needs; give views of sdfkit render",
    )  # fmt: skip
    fails(
        refine(sdfkit, job, *decoder, inputs="features.zarr"), 3,
        "features.zarr: has features without the masks that --refine needs; give the views store",
    )  # fmt: skip
    run("train-deepsdf", job / "samples.zarr", "--seed", 1, *FEW, "-o", tmp_path / "other.zarr")
    fails(
        refine(sdfkit, job, "--decoder", tmp_path / "other.zarr"), 3,
        "dit.zarr: its latent codes belong to another decoder",
    )  # fmt: skip
    shutil.copytree(job / "views.zarr", tmp_path / "bare.zarr")
    shutil.rmtree(tmp_path / "bare.zarr/mask")
    line = ("predict", job / "dit.zarr", tmp_path / "bare.zarr", "--refine", *decoder, "--device", "cpu")
    fails(sdfkit(*line), 3, "bare.zarr: has views without the array mask")
    fails(
        sdfkit("predict", job / "dit.zarr", job / "views.zarr", *decoder),
        2,
        "--decoder is used by --refine only",
    )
