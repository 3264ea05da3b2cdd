"""`sdfkit embed --depth-model`: estimated depth of stores and image files, resuming, and predictions from them."""

import shutil

import numpy as np
import pytest
import trimesh
import zarr
from PIL import Image

from tests.tiny_models import save_depth_model, save_image_encoder

EXACT = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A tiny encoder, two tiny depth estimators, and views of two boxes with and without depth."""
    from typer.testing import CliRunner

    from sdfkit.cli import app

    folder = tmp_path_factory.mktemp("depth")
    save_image_encoder(folder / "encoder")
    save_depth_model(folder / "first", "depth-anything")
    save_depth_model(folder / "second", "dpt", seed=1)
    (folder / "closed").mkdir()
    for name, size in (("high", 2), ("low", 1)):
        trimesh.creation.box([1, size, 1]).export(folder / f"closed/{name}.ply")
    for name, words in (("views", ()), ("deep", ("--depth", "--normal"))):
        words = ("render", folder / "closed", "--views", 2, "--size", 48, "--jobs", 1, *words)
        words = (*words, "-o", folder / f"{name}.zarr")
        assert CliRunner().invoke(app, list(map(str, words))).exit_code == 0
    return folder


@pytest.fixture
def run(sdfkit, job, tmp_path):
    """Embed with the tiny encoder and the first estimator; return the result, and the store or None."""

    def embed(*words, model="first", output="features.zarr"):
        estimated = () if model is None else ("--depth-model", job / model)
        line = ("embed", *words, "--model", job / "encoder", *estimated, *EXACT, "-o", tmp_path / output)
        result = sdfkit(*line)
        return result, zarr.open_group(tmp_path / output, mode="r") if (tmp_path / output).exists() else None

    return embed


def test_views_without_depth_get_features_of_estimates(run, job):
    result, store = run(job / "views.zarr", "--with", "depth,normal")
    assert result.exit_code == 0, result.stderr
    assert store["feature"].shape == (2, 2, 48) and "camera_to_world" in store
    encoder = store.attrs["encoder"]
    assert encoder["views"] == ["rgb", "depth", "normal"]
    assert encoder["depth"]["model"] == str(job / "first") and encoder["depth"]["output"] == "inverse depth"
    estimated = store["feature"][:]
    # True depth of the same views is not read, and gives other features.
    assert np.array_equal(
        run(job / "deep.zarr", "--with", "depth,normal", "--overwrite")[1]["feature"][:], estimated
    )
    true = run(job / "deep.zarr", "--with", "depth,normal", "--overwrite", model=None)[1]["feature"][:]
    assert np.allclose(true[..., :16], estimated[..., :16], atol=1e-5)
    assert np.abs(true - estimated)[..., 16:].max() > 0.01


def test_an_image_file_of_a_view_gets_the_features_of_the_view(run, sdfkit, job, tmp_path):
    _, store = run(job / "views.zarr", "--with", "depth,normal")
    expected = store["feature"][0, 0]
    views = zarr.open_group(job / "views.zarr", mode="r")
    pixels = np.dstack([views["rgb"][0, 0], views["mask"][0, 0]])
    Image.fromarray(pixels).resize((224, 224), Image.Resampling.BICUBIC).save(tmp_path / "a.png")
    result, store = run(tmp_path / "a.png", "--with", "depth,normal", "--overwrite")
    assert result.exit_code == 0, result.stderr
    found = store["feature"][0, 0]
    assert found.shape == (48,) and np.isfinite(found).all()
    for part in np.split(np.arange(48), 3):
        cosine = found[part] @ expected[part] / np.linalg.norm(found[part]) / np.linalg.norm(expected[part])
        assert cosine > 0.8, "framed larger, and resampled"


def test_an_interrupted_run_continues_and_notices_another_estimator(run, job, tmp_path, monkeypatch):
    from sdfkit.images.encoding.depth import DepthEncoder

    words = (job / "views.zarr", "--with", "depth", "--batch", 4)
    expected = run(*words, output="whole.zarr")[1]["feature"][:]
    encode, sizes = DepthEncoder.encode, []

    def stop(self, views):
        sizes.append(len(views))
        if len(sizes) == 3:  # after the example and the first shape
            raise KeyboardInterrupt
        return encode(self, views)

    monkeypatch.setattr(DepthEncoder, "encode", stop)
    assert run(*words)[0].exit_code == 130
    monkeypatch.setattr(DepthEncoder, "encode", encode)
    result, _ = run(*words, model="second")
    assert result.exit_code == 3
    assert "differs from this one (depth_model: its content has changed)" in result.stderr
    sizes.clear()
    monkeypatch.setattr(DepthEncoder, "encode", lambda self, x: sizes.append(len(x)) or encode(self, x))
    result, store = run(*words)
    assert result.exit_code == 0, result.stderr
    assert sizes == [1, 2], "the example, and the views of the second shape"
    assert np.array_equal(store["feature"][:], expected)


def test_a_cluster_gives_the_same_features(run, job, monkeypatch):
    from pickle import dumps, loads

    from sdfkit.inference import encoders

    def compute_rows(writer, rows, count, function, options):
        for row in rows:
            writer.write(row, **loads(dumps(function))(row))

    words = (job / "views.zarr", "--with", "normal", "--tokens", "patch", "--overwrite")
    _, store = run(*words)
    expected = store["token"][:]
    monkeypatch.setattr(encoders, "compute_rows", compute_rows)
    result, store = run(*words, "--cluster", "tcp://x")
    assert result.exit_code == 0, result.stderr
    assert np.allclose(store["token"][:], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (
            ("views.zarr", "--depth-model", "first"),
            2,
            "--depth-model estimates what --with names; give --with depth",
        ),
        (("views.zarr", "--depth-revision", "x"), 2, "--depth-revision is that of --depth-model; give"),
        (
            ("views.zarr", "--with", "depth", "--depth-model", "none/at-all"),
            5,
            "none/at-all: is not on this machine",
        ),
        (("views.zarr", "--with", "depth", "--depth-model", "encoder"), 3, "holds no depth estimator"),
        (
            ("bare.zarr", "--with", "depth", "--depth-model", "first"),
            3,
            "has views without masks, which the scale",
        ),
        (
            ("views.zarr", "--with", "depth"),
            3,
            "has views without depth; render the meshes again with --depth, or estimate",
        ),
        (("a.png", "--with", "depth"), 3, "an image file has no depth; estimate it with --depth-model"),
    ],
)
def test_what_cannot_be_estimated_is_refused(sdfkit, job, tmp_path, monkeypatch, words, status, message):
    monkeypatch.chdir(job)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("a.png")
    if not (job / "bare.zarr").exists():
        shutil.copytree("views.zarr", "bare.zarr")
        shutil.rmtree("bare.zarr/mask")
    result = sdfkit("embed", *words, "--model", "encoder", *EXACT, "-o", tmp_path / "f.zarr")
    assert result.exit_code == status
    assert message in result.stderr and not (tmp_path / "f.zarr").exists()


@pytest.fixture(scope="module")
def dit(job):
    """A denoiser that was trained on features of estimates."""
    from typer.testing import CliRunner

    from sdfkit.cli import app

    few = ("--steps", 2, "--device", "cpu")
    for words in (
        ("embed", job / "views.zarr", "--with", "depth,normal", "--depth-model", job / "first", "--model",
         job / "encoder", *EXACT, "-o", job / "estimated.zarr"),
        ("sample-sdf", job / "closed", "--points", 500, "--surface-points", 0, "--jobs", 1, "-o", job / "s.zarr"),
        ("train-deepsdf", job / "s.zarr", *few, "-o", job / "deepsdf.zarr"),
        ("train-dit", job / "estimated.zarr", "--codes", job / "deepsdf.zarr", "--batch", 4, *few, "-o",
         job / "dit.zarr"),
    ):  # fmt: skip
        result = CliRunner().invoke(app, list(map(str, words)))
        assert result.exit_code == 0, result.stderr
    return job / "dit.zarr"


@pytest.mark.slow
def test_predict_estimates_depth_of_views_and_photos(sdfkit, dit, job, tmp_path):
    found = {}
    for name in ("estimated", "views"):
        result = sdfkit(
            "predict", dit, job / f"{name}.zarr", "--device", "cpu", "-o", tmp_path / f"{name}.zarr"
        )
        assert result.exit_code == 0, result.stderr
        found[name] = zarr.open_group(tmp_path / f"{name}.zarr", mode="r")["code"][:]
    assert np.allclose(found["views"], found["estimated"], atol=1e-5)
    photo = np.full((60, 80, 3), 255, np.uint8)
    photo[20:40, 30:50] = (200, 0, 0)
    Image.fromarray(photo).save(tmp_path / "red.png")
    result = sdfkit("predict", dit, tmp_path / "red.png", "--device", "cpu", "-o", tmp_path / "photo.zarr")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(("model", "origin"), [(None, "(rendered), but"), ("second", "second), but")])
def test_predict_refuses_features_of_another_origin(run, sdfkit, dit, job, tmp_path, model, origin):
    run(job / "deep.zarr", "--with", "depth,normal", model=model)
    result = sdfkit(
        "predict", dit, tmp_path / "features.zarr", "--device", "cpu", "-o", tmp_path / "codes.zarr"
    )
    assert result.exit_code == 3
    assert f"{origin} {dit} was trained on rgb, depth, normal (estimated by {job / 'first'})" in result.stderr


def test_predict_refuses_a_changed_estimator(sdfkit, dit, job, tmp_path):
    shutil.copytree(dit, tmp_path / "dit.zarr")
    group = zarr.open_group(tmp_path / "dit.zarr", mode="r+")
    encoder = dict(group.attrs["encoder"])
    for changed, status, words in (
        ({"output": "depth"}, 3, f"its depth model {job / 'first'} has changed since the model was trained"),
        ({"model": "none/at-all"}, 5, "its encoder cannot be loaded: none/at-all: is not on this machine"),
    ):
        group.attrs["encoder"] = encoder | {"depth": encoder["depth"] | changed}
        result = sdfkit("predict", tmp_path / "dit.zarr", job / "views.zarr", "-o", tmp_path / "codes.zarr")
        assert result.exit_code == status, result.stderr
        assert words in result.stderr


def test_predict_refuses_true_depth_of_photos(sdfkit, dit, job, tmp_path):
    shutil.copytree(dit, tmp_path / "dit.zarr")
    group = zarr.open_group(tmp_path / "dit.zarr", mode="r+")
    encoder = dict(group.attrs["encoder"])
    del encoder["depth"]
    group.attrs["encoder"] = encoder
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    result = sdfkit("predict", tmp_path / "dit.zarr", tmp_path / "a.png", "-o", tmp_path / "codes.zarr")
    assert result.exit_code == 3
    assert (
        "image files have only colours; render a mesh with --depth --normal, or train on estimates"
        in result.stderr
    )
