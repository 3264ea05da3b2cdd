"""`sdfkit train-flow`: single stages and all stages, prediction with them, and errors."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import trimesh
import zarr
from PIL import Image
from typer.testing import CliRunner

from sdfkit.cli import app
from sdfkit.io.stores.contents import training_views
from sdfkit.training.flow.recipes import NETWORKS, STAGES

FEW = ("--steps", 2, "--rays", 24, "--device", "cpu", "--precision", "fp32")


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """Replace the preset's networks by small ones of the same kind."""
    config, decoder = NETWORKS["small"]
    config = dataclasses.replace(config, code=8, channels=(4, 4, 4, 4), hidden=16, width=64, blocks=1)
    decoder = dataclasses.replace(decoder, code=8, hidden=16, layers=2, skip=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "small", (config, decoder))
        yield


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Views of three boxes, features of two of them, and a flow of every stage."""
    folder = tmp_path_factory.mktemp("flow")
    (folder / "closed").mkdir()
    for name, size in (("cube", 1), ("high", 2), ("wide", 0.5)):
        trimesh.creation.box([1, size, 1]).export(folder / f"closed/{name}.ply")
    run("render", folder / "closed", "--views", 3, "--size", 96, "--jobs", 1, "-o", folder / "views.zarr")
    # Only the images remain for training.
    shutil.rmtree(folder / "closed")
    before = ()
    for stage in STAGES:
        run(
            "train-flow",
            folder / "views.zarr",
            "--stage",
            stage,
            *before,
            *FEW,
            "-o",
            folder / f"{stage}.zarr",
        )
        before = ("--start", folder / f"{stage}.zarr")
    return folder


def fails(result, status, *words):
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


def change(views, path, **changes):
    """Copy views and change the contents of some arrays."""
    shutil.copytree(views, path)
    store = zarr.open_group(path)
    for name, value in changes.items():
        store[name][:] = np.broadcast_to(value, store[name].shape)
    return path


@pytest.mark.slow
def test_train_flow_reads_only_views(job, tmp_path, monkeypatch):
    opened = []
    real = training_views.open_stores
    monkeypatch.setattr(
        training_views,
        "open_stores",
        lambda paths, *kinds, **rest: opened.append(kinds) or real(paths, *kinds, **rest),
    )
    monkeypatch.setattr(
        "sdfkit.io.stores.reader.open_store", lambda *_, **__: pytest.fail("another store was opened")
    )
    run("train-flow", job / "views.zarr", *FEW, "-o", tmp_path / "flow.zarr")
    assert opened == [("views",)]


@pytest.mark.slow
def test_a_flow_trained_in_all_stages_predicts_meshes(job, tmp_path):
    options = (*FEW, "--check-gradients", "--held-out", job / "views.zarr", "-o", tmp_path / "flow.zarr")
    told = run("train-flow", job / "views.zarr", *options).stderr
    assert "silhouettes at temperature 0.003: loss" in told and "ideal loss 0.0" in told
    # Held-out shapes are evaluated like training shapes; here they are the same.
    learned, held_out = (
        line.partition("silhouettes ") for line in told.splitlines() if "silhouettes " in line
    )
    assert learned[2] == held_out[2] and held_out[0].endswith("held out: ")
    norms = dict(part.rsplit(" ", 1) for part in told.split("gradients: ")[1].split("\n")[0].split(", "))
    assert norms.keys() == {"conditioner", "flow", "decoder", "light"}
    assert all(float(norms[name]) > 0 for name in ("conditioner", "flow", "decoder"))
    store = zarr.open_group(tmp_path / "flow.zarr", mode="r")
    assert store["loss"].shape == (8,) and store["code"].shape == (3, 8)
    assert (store.attrs["stage"], store.attrs["condition"], store.attrs["noise"]) == (
        "rgb",
        "picture",
        "scaled",
    )
    run("predict", tmp_path / "flow.zarr", job / "views.zarr", "-o", tmp_path / "codes.zarr")
    codes = zarr.open_group(tmp_path / "codes.zarr", mode="r")
    assert codes["code"].shape == (3, 8) and codes["uid"][:].tolist() == ["cube", "high", "wide"]
    words = ("--decoder", tmp_path / "flow.zarr", "--resolution", 16)
    run("mesh", tmp_path / "codes.zarr", *words, "-o", tmp_path / "meshes")
    run("mesh", tmp_path / "flow.zarr", *words[2:], "-o", tmp_path / "known")
    other = CliRunner().invoke(
        app,
        [
            "mesh",
            str(tmp_path / "codes.zarr"),
            "--decoder",
            str(job / "joint.zarr"),
            "-o",
            str(tmp_path / "x"),
        ],
    )
    fails(other, 3, "its latent codes belong to another decoder")
    run("rank", tmp_path / "codes.zarr")
    run("weight-stats", tmp_path / "flow.zarr")
    run("info", tmp_path / "flow.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_the_model_of_every_stage_can_predict(job, tmp_path, stage):
    # An encoder gives one code; a flow samples.
    samples = 1 if stage == "encoder" else 2
    words = ("predict", job / f"{stage}.zarr", job / "views.zarr", "--samples", samples)
    run(*words, "-o", tmp_path / "codes.zarr")
    codes = zarr.open_group(tmp_path / "codes.zarr", mode="r")["code"][:]
    assert np.isfinite(codes).all()
    assert len(np.unique(codes, axis=0)) == 3 * samples


@pytest.mark.slow
def test_trajectories_contain_every_step_and_its_silhouette(job, tmp_path):
    for steps, words in ((8, ()), (3, ("--steps", 3))):
        path = tmp_path / f"{steps}.zarr"
        run("predict", job / "joint.zarr", job / "views.zarr", "--trajectory", *words, "-o", path)
        store = zarr.open_group(path, mode="r")
        assert store["trajectory"].shape == (3, steps + 1, 8)
        assert np.array_equal(store["trajectory"][:, -1], store["code"][:])
        assert store["silhouette"].shape == (3, steps + 1, 64, 64)
        assert store.attrs["settings"]["noise"] == "scaled"
    masks = zarr.open_group(job / "views.zarr", mode="r")["mask"][:, 0]
    assert np.allclose(store["truth"][:].mean(axis=(1, 2)), masks.mean(axis=(1, 2)), rtol=0.05)
    assert np.allclose(
        store["picture"][:].mean(), zarr.open_group(job / "views.zarr")["rgb"][:, 0].mean(), rtol=0.05
    )
    run("view", path, "-o", tmp_path / "steps.html")


@pytest.mark.slow
def test_photos_are_framed_like_training_views(job, tmp_path):
    picture = np.full((60, 80, 3), 255, np.uint8)
    picture[20:40, 30:50] = (200, 0, 0)
    Image.fromarray(picture).save(tmp_path / "red.png")
    run("predict", job / "joint.zarr", tmp_path / "red.png", "--trajectory", "-o", tmp_path / "codes.zarr")
    store = zarr.open_group(tmp_path / "codes.zarr", mode="r")
    assert store["uid"][:].tolist() == ["red"] and "truth" not in store and "picture" in store


@pytest.mark.slow
@pytest.mark.parametrize("velocity", ["mlp", "dit"])
def test_features_and_captions_can_replace_images(job, tmp_path, velocity):
    rng = np.random.default_rng(0)
    from sdfkit.io.stores.writer import create_store
    from sdfkit.rows import Row

    rows = [Row(0, "high"), Row(1, "wide")]
    with create_store(
        str(tmp_path / "features.zarr"), "features", rows=rows, history=[], settings={},
        attributes={"encoder": {"model": "none", "views": ["caption"]}}, overwrite=False,
    ) as store:  # fmt: skip
        store.create_array(
            "feature", data=rng.normal(size=(2, 4, 6)).astype(np.float32), axes=("shape", "view", "dim")
        )
        for row in rows:
            store.write(row)
    options = ("--features", tmp_path / "features.zarr", "--velocity", velocity, "--cfg-dropout", 0.5)
    told = run("train-flow", job / "views.zarr", *options, *FEW, "-o", tmp_path / "flow.zarr").stderr
    assert "left out 1 of 3 shapes: no features" in told
    words = ("predict", tmp_path / "flow.zarr", tmp_path / "features.zarr", "--guidance", 2)
    assert "--guidance" not in run(*words, "-o", tmp_path / "codes.zarr").stderr
    assert zarr.open_group(tmp_path / "codes.zarr", mode="r")["code"].shape == (2, 8)
    words = ("predict", job / "joint.zarr", job / "views.zarr", "--guidance", 2, "-o", tmp_path / "led.zarr")
    assert "was trained without randomly dropped conditions, which --guidance needs" in run(*words).stderr


@pytest.mark.slow
def test_a_stopped_run_is_resumed(job, tmp_path, monkeypatch):
    words = ("train-flow", job / "views.zarr", *FEW, "--steps", 1)
    run(*words, "-o", tmp_path / "whole.zarr")
    monkeypatch.setattr("sdfkit.runtime.training_loop.MINUTES_BETWEEN_SAVES", 0.0)
    from sdfkit.training.flow.training import FlowTraining

    taken = []
    real = FlowTraining.step

    def step(self):
        taken.append(0)
        if len(taken) == 3:
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr(FlowTraining, "step", step)
    CliRunner().invoke(app, [str(word) for word in (*words, "-o", tmp_path / "parts.zarr")])
    told = run(*words, "-o", tmp_path / "parts.zarr").stderr
    assert "continuing the interrupted run after step 2" in told
    whole, parts = (zarr.open_group(tmp_path / f"{name}.zarr", mode="r") for name in ("whole", "parts"))
    assert np.array_equal(whole["loss"][:], parts["loss"][:])
    assert np.array_equal(whole["code"][:], parts["code"][:])


@pytest.mark.slow
def test_unsuitable_views_are_refused(sdfkit, job, tmp_path):
    output = tmp_path / "flow.zarr"
    for name, array, value, words in (
        ("empty", "mask", 0, ("has 0 usable shapes", "cube: view 0: the mask is empty")),
        ("full", "mask", 255, ("has 0 usable shapes", "view 0: the mask is full")),
        ("inside", "camera_to_world", np.eye(4), ("the camera at distance 0 from the origin is inside",)),
    ):
        views = change(job / "views.zarr", tmp_path / f"{name}.zarr", **{array: value})
        refused = sdfkit("train-flow", views, *FEW, "-o", output)
        assert refused.exit_code == 3 and not output.exists()
        last = refused.stderr.splitlines()[-1]
        assert all(word in last for word in words), last
    blind = change(job / "views.zarr", tmp_path / "blind.zarr")
    del zarr.open_group(blind)["mask"]
    fails(sdfkit("train-flow", blind, *FEW, "-o", output), 3, "views without masks")
    mixed = change(job / "views.zarr", tmp_path / "mixed.zarr")
    store = zarr.open_group(mixed)
    del store["mask"]
    store.create_array("mask", shape=(3, 3, 48, 48), dtype="u1")
    fails(
        sdfkit("train-flow", mixed, *FEW, "-o", output),
        3,
        "the array mask has 48 entries along the axis row, but rgb has 96",
    )
    fails(
        sdfkit("train-flow", job / "views.zarr", "--views-per-shape", 4, "-o", output),
        3,
        "has 3 views per shape",
    )
    assert not output.exists()


@pytest.mark.slow
def test_one_view_per_shape_gives_a_warning(job, tmp_path):
    words = ("--views-per-shape", 1, "--stage", "encoder", *FEW)
    told = run("train-flow", job / "views.zarr", *words, "-o", tmp_path / "flow.zarr").stderr
    assert "each shape has one view only: depth is unconstrained" in told


@pytest.mark.slow
def test_limited_views_differ_between_shapes(job):
    words = {"parts": False, "size": 32, "temperature": 0.01, "manifest": None}
    every, few, one = (
        training_views.read_pictures([str(job / "views.zarr")], None, most=most, **words).pictures.cameras
        for most in (None, 2, 1)
    )
    assert all(torch.equal(one[shape, 0], every[shape, shape % 3]) for shape in range(3))
    assert all(torch.equal(few[shape], every[shape, [shape % 3, (shape + 1) % 3]]) for shape in range(3))


@pytest.mark.slow
def test_stages_without_their_preceding_stage_are_refused(sdfkit, job, tmp_path):
    output = tmp_path / "flow.zarr"
    words = ("train-flow", job / "views.zarr", *FEW, "-o", output)
    fails(
        sdfkit(*words, "--stage", "joint"),
        2,
        "--stage joint continues from --stage distil; give the store of that stage with --start",
    )
    fails(
        sdfkit(*words, "--start", job / "joint.zarr"),
        2,
        "--start: --stage all starts from untrained networks; leave --start out",
    )
    refused = sdfkit(*words, "--held-out", job / "views.zarr", "--features", tmp_path / "features.zarr")
    fails(refused, 2, "--held-out: cannot be combined with --features")
    refused = sdfkit(*words, "--stage", "joint", "--start", job / "encoder.zarr")
    fails(refused, 3, "was trained up to stage encoder, but stage distil is needed")
    refused = sdfkit(*words, "--stage", "distil", "--start", job / "encoder.zarr", "--preset", "paper")
    fails(refused, 3, "has shape")


@pytest.mark.slow
def test_a_model_can_be_read_from_a_pipe(sdfkit, job, tmp_path):
    flow = tmp_path / "flow.zarr.zip"
    run("train-flow", job / "views.zarr", *FEW, "-o", flow)
    run("predict", flow, job / "views.zarr", "--device", "cpu", "-o", tmp_path / "named.zarr")
    words = ["predict", "-", job / "views.zarr", "--device", "cpu", "-o", tmp_path / "piped.zarr"]
    with flow.open("rb") as stdin:
        subprocess.run([sys.executable, "-m", "sdfkit", *words], stdin=stdin, check=True)
    named, piped = (zarr.open_group(tmp_path / f"{name}.zarr")["code"][:] for name in ("named", "piped"))
    np.testing.assert_allclose(named, piped, atol=1e-6)
    fails(sdfkit("predict", "-", "-o", tmp_path / "none.zarr"), 2, "standard input can be read only once")


@pytest.mark.slow
def test_predict_refuses_options_that_a_flow_does_not_support(sdfkit, job, tmp_path):
    output = tmp_path / "codes.zarr"
    words = ("predict", job / "joint.zarr", job / "views.zarr", "-o", output)
    fails(sdfkit(*words, "--eta", 0.5), 2, "is a flow, which adds no noise")
    fails(sdfkit(*words, "--average", 2), 2, "is a flow, but --average is for networks of train-recon")
    refused = sdfkit("predict", job / "encoder.zarr", job / "views.zarr", "--trajectory", "-o", output)
    fails(refused, 2, "is not a flow, but --trajectory stores the steps of a flow")
    for options, told in (
        (("--steps", 5), "--steps"), (("--guidance", 2), "--guidance"), (("--samples", 2), "--samples"),
        (("--guidance", 0, "--samples", 3, "--steps", 8), "--samples, --steps, --guidance"),
    ):  # fmt: skip
        refused = sdfkit("predict", job / "encoder.zarr", job / "views.zarr", *options, "-o", output)
        fails(
            refused,
            2,
            f"encoder.zarr: is a flow of stage encoder, which predicts without sampling; leave {told} out\n",
        )
    broken = change(job / "joint.zarr", tmp_path / "broken.zarr")
    del zarr.open_group(broken)["flow"]
    fails(sdfkit("predict", broken, job / "views.zarr", "-o", output), 3, "holds no flow", "train-flow")
    other = change(job / "joint.zarr", tmp_path / "other.zarr")
    del zarr.open_group(other).attrs["stage"]
    fails(sdfkit("predict", other, job / "views.zarr", "-o", output), 3, "the flow is incomplete")
    assert not output.exists()


@pytest.mark.slow
def test_a_dry_run_measures_each_stage(sdfkit, job, tmp_path, monkeypatch):
    monkeypatch.setattr("sdfkit.training.costs.SECONDS", 0.0)
    options = (*FEW, "--steps", 120, "--dry-run", "--json", "-o", tmp_path / "flow.zarr")
    done = sdfkit("train-flow", job / "views.zarr", *options)
    assert done.exit_code == 0, done.stderr
    kinds = [(kind["name"], kind["number"]) for kind in json.loads(done.stdout)["steps"]]
    assert kinds == [("encoder, ball", 100), ("encoder", 20), ("distil", 120), ("joint", 120), ("rgb", 120)]
    assert not (tmp_path / "flow.zarr").exists()
