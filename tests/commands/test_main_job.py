"""The whole pipeline in this process, at a small size: each command reads the output of the one before."""

import os
import shutil
import signal

import numpy as np
import pytest
import torch
import trimesh
import zarr
from transformers import Dinov2Config, Dinov2Model, ViTImageProcessor

from sdfkit.geometry.distance.tree import TriangleTree
from sdfkit.training.deepsdf.training import DeepSDFTraining

pytestmark = pytest.mark.slow

TRAIN = ("--preset", "small", "--device", "cpu", "--precision", "fp32")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny DINOv2 with random weights, saved in the format of transformers."""
    folder = tmp_path_factory.mktemp("encoder")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Dinov2Model(
            Dinov2Config(
                hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
            )
        )
    network.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def job(tmp_path_factory, encoder):
    """A folder with the outputs of all commands up to a denoiser."""
    from typer.testing import CliRunner

    from sdfkit.cli import app

    folder = tmp_path_factory.mktemp("job")

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        assert result.exit_code == 0, result.stderr

    run(
        "shapes",
        "--category",
        "table",
        "--category",
        "bowl",
        "--count",
        3,
        "--resolution",
        48,
        "-o",
        f"{folder}/raw/",
    )
    run("manifest", folder / "raw", "-o", folder / "manifest.json")
    run(
        "watertight",
        folder / "raw",
        "--resolution",
        64,
        "--manifest",
        folder / "manifest.json",
        "-o",
        f"{folder}/closed/",
    )
    run(
        "sample-sdf",
        folder / "closed",
        "--points",
        9000,
        "--surface-points",
        100,
        "-o",
        folder / "samples.zarr",
    )
    run("render", folder / "closed", "--views", 3, "--size", 48, "--jobs", 1, "-o", folder / "views.zarr")
    run(
        "embed",
        folder / "views.zarr",
        "--model",
        encoder,
        "--tokens",
        "patch",
        "-o",
        folder / "features.zarr",
    )
    run("train-deepsdf", folder / "samples.zarr", *TRAIN, "--steps", 60, "-o", folder / "deepsdf.zarr")
    run(
        "train-dit",
        folder / "features.zarr",
        "--codes",
        folder / "deepsdf.zarr",
        *TRAIN,
        "--steps",
        30,
        "-o",
        folder / "dit.zarr",
    )
    return folder


def test_sampled_distances_equal_those_of_the_mesh(job):
    store = zarr.open_group(job / "samples.zarr", mode="r")
    assert store["point"].shape == (3, 9000, 3)
    assert store["point"].chunks == (1, 8192, 3)
    assert store["distance"].metadata.dimension_names == ("shape", "sample")
    assert store["near"][:].sum(axis=1).tolist() == [4500] * 3
    assert (np.linalg.norm(store["surface_normal"][:], axis=-1) - 1 < 1e-5).all()
    assert store["category"][:].tolist() == ["table", "bowl", "table"]
    assert store["licence"][0] == "CC0-1.0"
    mesh = trimesh.load_mesh(job / "closed/obj_0001.ply")
    expected = TriangleTree(mesh.vertices, mesh.faces).signed(store["point"][1], "winding")
    assert np.abs(store["distance"][1] - expected).max() < 1e-6


def test_to_original_maps_samples_to_the_frame_of_the_input_mesh(job):
    raw = trimesh.load_mesh(job / "raw/obj_0000.glb")
    raw.apply_scale(7).apply_translation([1, 2, 3])
    raw.export(job / "moved.ply")
    from typer.testing import CliRunner

    from sdfkit.cli import app

    for words in (["watertight", job / "moved.ply", "--resolution", "64", "-o", job / "moved_closed.ply"],
                  ["sample-sdf", job / "moved_closed.ply", "--points", "200", "-o", job / "moved.zarr"]):  # fmt: skip
        assert CliRunner().invoke(app, [str(word) for word in words]).exit_code == 0
    store = zarr.open_group(job / "moved.zarr", mode="r")
    place = store["surface_point"][0] @ store["to_original"][0, :3, :3].T + store["to_original"][0, :3, 3]
    distance = TriangleTree(raw.vertices, raw.faces).signed(place, "normal")
    assert np.abs(distance).max() < 7 * 2 / 64, "one cell"


def test_features_have_the_shape_and_name_of_the_encoder(job, encoder):
    store = zarr.open_group(job / "features.zarr", mode="r")
    assert store["feature"].shape == (3, 3, 16)
    assert store["token"].shape == (3, 3, 16, 16)
    assert store.attrs["encoder"]["model"] == str(encoder)
    assert np.ptp(store["feature"][:], axis=(0, 1)).min() > 0


def test_history_contains_the_steps_of_every_input(job):
    # Codes: shapes, watertight, sample-sdf, train-deepsdf. Features: the first two, render, embed. And this step.
    assert len(zarr.open_group(job / "dit.zarr").attrs["history"]) == 9


def test_predicted_codes_are_meshed_and_equal_seeds_give_equal_codes(sdfkit, job, tmp_path):
    codes = tmp_path / "codes.zarr"
    assert (
        sdfkit(
            "predict", job / "dit.zarr", job / "features.zarr", "--samples", 2, "--steps", 5, "-o", codes
        ).exit_code
        == 0
    )
    store = zarr.open_group(codes, mode="r")
    assert store["uid"][:3].tolist() == ["obj_0000_s0", "obj_0000_s1", "obj_0001_s0"]
    assert not np.array_equal(store["code"][0], store["code"][1])
    again = tmp_path / "again.zarr"
    sdfkit("predict", job / "dit.zarr", job / "features.zarr", "--samples", 2, "--steps", 5, "-o", again)
    assert np.array_equal(store["code"][:], zarr.open_group(again)["code"][:])
    meshes = tmp_path / "meshes"
    assert sdfkit("mesh", job / "deepsdf.zarr", "--resolution", 48, "-o", f"{meshes}/").exit_code == 0
    for path in meshes.iterdir():
        mesh = trimesh.load_mesh(path)
        assert mesh.is_watertight
        assert mesh.volume > 0
    result = sdfkit("compare", meshes, job / "closed", "--points", 5000, "--json")
    assert result.exit_code == 0
    assert '"not_predicted": 0' in result.stdout


def test_codes_without_a_decoder_are_refused(sdfkit, job, tmp_path):
    codes = tmp_path / "codes.zarr"
    sdfkit("predict", job / "dit.zarr", job / "features.zarr", "--steps", 2, "-o", codes)
    result = sdfkit("mesh", codes, "-o", f"{tmp_path}/meshes/")
    assert result.exit_code == 2
    assert "codes without their decoder; add --decoder STORE" in result.stderr


def test_a_code_without_a_surface_is_reported_with_its_range_of_distances(sdfkit, job, tmp_path):
    np.save(tmp_path / "far.npy", np.full((1, 64), 1e4, np.float32))
    result = sdfkit(
        "mesh", tmp_path / "far.npy", "--decoder", job / "deepsdf.zarr", "-o", tmp_path / "far.ply"
    )
    assert result.exit_code == 4
    assert "row_0: no surface: distances run from" in result.stderr
    assert not (tmp_path / "far.ply").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train-deepsdf", "views.zarr"], "holds views, but a store of kind samples is needed"),
        (
            ["train-dit", "samples.zarr", "--codes", "deepsdf.zarr"],
            "samples, but a store of kind features is needed",
        ),
        (
            ["train-dit", "features.zarr", "--codes", "views.zarr"],
            "holds views, but a store of kind deepsdf or codes or weights or autoencoder is needed",
        ),
        (
            ["predict", "deepsdf.zarr", "features.zarr"],
            "holds deepsdf, but a store of kind denoiser or flow or recon is needed",
        ),
        (
            ["mesh", "dit.zarr"],
            "holds denoiser, but a store of kind codes or deepsdf or weights or grids or autoencoder or flow is needed",
        ),
        (["embed", "features.zarr"], "holds features, but a store of kind views is needed"),
    ],
)
def test_a_store_of_the_wrong_kind_is_named_in_the_error(sdfkit, job, tmp_path, words, message):
    paths = [job / word if word.endswith(".zarr") else word for word in words]
    result = sdfkit(*paths, "-o", tmp_path / "out.zarr")
    assert result.exit_code == 3
    assert message in result.stderr
    assert not (tmp_path / "out.zarr").exists()


def test_features_and_codes_without_common_uids_are_refused(sdfkit, job, tmp_path):
    shutil.copytree(job / "features.zarr", tmp_path / "other.zarr")
    group = zarr.open_group(tmp_path / "other.zarr", mode="r+")
    for index in range(3):
        group["uid"][index] = f"other_{index}"
    result = sdfkit(
        "train-dit", tmp_path / "other.zarr", "--codes", job / "deepsdf.zarr", "-o", tmp_path / "out.zarr"
    )
    assert result.exit_code == 3
    assert "the uids must be the same" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_resumed_training_equals_uninterrupted_training_bit_for_bit(
    sdfkit, job, tmp_path, monkeypatch, number
):
    output = tmp_path / "deepsdf.zarr"
    line = ("train-deepsdf", job / "samples.zarr", *TRAIN, "--steps", 60, "-o", output)
    step = DeepSDFTraining.step

    def interrupted(self):
        if self.steps_taken == 25:
            os.kill(os.getpid(), number)
        return step(self)

    monkeypatch.setattr(DeepSDFTraining, "step", interrupted)
    assert sdfkit(*line).exit_code == 128 + number
    store = zarr.open_group(output, mode="r")
    assert not store.attrs["complete"]
    assert store["loss"].shape == (26,)
    assert "not complete" in sdfkit("mesh", output, "-o", f"{tmp_path}/meshes/").stderr
    monkeypatch.undo()
    other = sdfkit(*line[:-3], 61, *line[-2:])
    assert "holds an unfinished run that differs from this one (steps: 60 then, 61 now)" in other.stderr
    assert sdfkit(*line).exit_code == 0
    store, whole = zarr.open_group(output, mode="r"), zarr.open_group(job / "deepsdf.zarr", mode="r")
    assert np.array_equal(store["loss"][:], whole["loss"][:])
    assert np.array_equal(store["code"][:], whole["code"][:])
    assert np.array_equal(store["decoder/out.weight"][:], whole["decoder/out.weight"][:])
    again = sdfkit(*line)
    assert (again.exit_code, "is complete, and nothing was to be done" in again.stderr) == (0, True)
