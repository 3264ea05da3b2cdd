"""`sdfkit train-recon`, with `predict`, `mesh` and `view` of its grids: the pipeline, resumption, and errors."""

import dataclasses
import re
import shutil

import numpy as np
import pytest
import trimesh
import zarr
from PIL import Image
from typer.testing import CliRunner

from sdfkit.cli import app
from sdfkit.models.recon.network import PRESETS
from tests.training.balls import CONFIG

FEW = ("--steps", 3, "--batch", 2, "--points", 32, "--device", "cpu", "--precision", "fp32")
CPU = ("--device", "cpu")


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result


def fails(result, status, *words):
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """Replace the preset's network by a small one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "small", CONFIG)
        yield


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Views and samples of four balls and boxes, and a network that has taken a few steps."""
    folder = tmp_path_factory.mktemp("recon")
    (folder / "closed").mkdir()
    for name, mesh in {
        "ball": trimesh.creation.icosphere(3),
        "cube": trimesh.creation.box(),
        "high": trimesh.creation.box([1, 2, 1]),
        "wide": trimesh.creation.box([2, 1, 2]),
    }.items():
        mesh.export(folder / f"closed/{name}.ply")
    run("render", folder / "closed", "--views", 4, "--size", 56, "--jobs", 1, "-o", folder / "views.zarr")
    options = ("--points", 600, "--surface-points", 0, "--jobs", 1)
    run("sample-sdf", folder / "closed", *options, "-o", folder / "samples.zarr")
    train(folder, folder / "recon.zarr")
    run("predict", folder / "recon.zarr", folder / "views.zarr", *CPU, "-o", folder / "grids.zarr")
    return folder


def train(job, output, *more, runner=run):
    return runner(
        "train-recon", job / "views.zarr", "--samples", job / "samples.zarr", *FEW, *more, "-o", output
    )


def copy(path, place):
    return shutil.copytree(path, place / path.name)


@pytest.mark.slow
def test_views_become_closed_meshes(job, tmp_path):
    told = train(job, tmp_path / "again.zarr").stderr
    assert re.search(
        r"from 1 view: clamped SDF L1 0\.\d+ on training shapes, 0\.\d+ for the visual hull", told
    )
    assert "from 4 views: clamped SDF L1" in told and "from 8" not in told
    assert f"wrote a reconstruction network for 4 shapes to {tmp_path / 'again.zarr'}" in told
    model, again = (zarr.open_group(path, mode="r") for path in (job / "recon.zarr", tmp_path / "again.zarr"))
    assert model["loss"].shape == (3,) and np.array_equal(model["loss"][:], again["loss"][:])
    grids = zarr.open_group(job / "grids.zarr", mode="r")
    assert grids.attrs["kind"] == "grids" and grids["uid"][:].tolist() == ["ball", "cube", "high", "wide"]
    assert grids.attrs["history"]
    run("mesh", job / "grids.zarr", "--resolution", 32, *CPU, "-o", tmp_path / "meshes")
    for path in sorted((tmp_path / "meshes").iterdir()):
        mesh = trimesh.load(path)
        assert mesh.is_watertight and mesh.volume > 0
        # Nothing extends beyond the visual hull, which is a little larger than the unit ball.
        assert np.linalg.norm(mesh.vertices, axis=1).max() < 1.5
    for words in (("info",), ("view", "-o", tmp_path / "view.png")):
        told = run(words[0], job / "grids.zarr", *words[1:])
    assert np.asarray(Image.open(tmp_path / "view.png").convert("L")).std() > 10
    run("view", job / "recon.zarr", "-o", tmp_path / "loss.png")


@pytest.mark.slow
def test_a_piped_store_gives_the_same_grids(job, tmp_path):
    run("predict", job / "recon.zarr", job / "views.zarr", *CPU, "-o", tmp_path / "grids.zarr.zip")
    run("mesh", tmp_path / "grids.zarr.zip", "--resolution", 16, *CPU, "-o", tmp_path / "zipped")
    run("mesh", job / "grids.zarr", "--resolution", 16, *CPU, "-o", tmp_path / "folder")
    for path in (tmp_path / "zipped").iterdir():
        one, other = (trimesh.load(place / path.name) for place in (tmp_path / "zipped", tmp_path / "folder"))
        assert np.array_equal(one.vertices, other.vertices)


@pytest.mark.slow
def test_pictures_with_cameras_give_the_same_grids(job, tmp_path):
    run("cat", job / "views.zarr", "-o", tmp_path / "pictures")
    run("predict", job / "recon.zarr", tmp_path / "pictures", *CPU, "-o", tmp_path / "grids.zarr")
    known, found = (
        zarr.open_group(path, mode="r")["grid"][:] for path in (job / "grids.zarr", tmp_path / "grids.zarr")
    )
    assert np.allclose(found, known, atol=1e-5)  # the field of view in the file has other last digits


@pytest.mark.slow
def test_a_stopped_run_is_resumed_to_the_same_network(job, tmp_path, monkeypatch):
    monkeypatch.setattr("sdfkit.runtime.training_loop.MINUTES_BETWEEN_SAVES", 0.0)
    from sdfkit.training.recon.training import ReconTraining

    real = ReconTraining.step

    def step(self):
        if self.steps_taken == 2:
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr(ReconTraining, "step", step)
    train(job, tmp_path / "parts.zarr", runner=lambda *words: CliRunner().invoke(app, [*map(str, words)]))
    monkeypatch.setattr(ReconTraining, "step", real)
    refused = CliRunner().invoke(app, ["predict", str(tmp_path / "parts.zarr"), str(job / "views.zarr")])
    fails(refused, 3, "is not complete")
    told = train(job, tmp_path / "parts.zarr").stderr
    assert "continuing the interrupted run after step 2" in told
    whole, parts = (zarr.open_group(path, mode="r") for path in (job / "recon.zarr", tmp_path / "parts.zarr"))
    names = [name for name, node in whole.members(max_depth=None) if isinstance(node, zarr.Array)]
    assert len(names) > 50
    for name in names:
        assert np.array_equal(whole[name][...], parts[name][...]), name


@pytest.mark.slow
def test_inputs_that_are_not_suitable_are_refused(sdfkit, job, tmp_path):
    output = tmp_path / "out.zarr"
    Image.new("RGB", (40, 40), "white").save(tmp_path / "photo.png")
    blind = copy(job / "views.zarr", tmp_path)
    del zarr.open_group(blind)["mask"]
    model = job / "recon.zarr"
    told = "holds no cameras, which "
    fails(
        sdfkit("predict", model, tmp_path / "photo.png", "-o", output),
        3,
        told,
        "recon.zarr needs",
        "sdfkit pose photo.jpg --model",
    )
    fails(sdfkit("predict", model, blind, "-o", output), 3, "has views without masks, which are needed")
    fails(
        sdfkit("predict", model, job / "samples.zarr", "-o", output),
        3,
        "holds samples, but a store of kind views",
    )
    two = (job / "views.zarr", job / "views.zarr")
    fails(sdfkit("predict", model, *two, "-o", output), 3, "has two rows with the uid")
    words = ("--samples", job / "samples.zarr", *FEW, "-o", output)
    fails(sdfkit("train-recon", blind, *words), 3, "has views without masks")
    fails(sdfkit("train-recon", job / "samples.zarr", *words), 3, "holds samples, but a store of kind views")
    words = ("--samples", job / "views.zarr", *FEW, "-o", output)
    fails(sdfkit("train-recon", job / "views.zarr", *words), 3, "holds views, but a store of kind samples")
    others = copy(job / "samples.zarr", tmp_path)
    zarr.open_group(others)["uid"][:] = np.array(["e", "f", "g", "h"])
    words = ("--samples", others, *FEW, "-o", output)
    fails(sdfkit("train-recon", job / "views.zarr", *words), 3, "has samples of 0 shapes of the views of")
    assert not output.exists()


@pytest.mark.slow
def test_features_and_other_models_are_refused(sdfkit, job, tmp_path):
    from sdfkit.io.stores.writer import create_store
    from sdfkit.rows import Row

    path, output = tmp_path / "features.zarr", tmp_path / "out.zarr"
    with create_store(
        str(path), "features", rows=[Row(0, "a")], history=[], settings={}, overwrite=False
    ) as store:
        store.create_array("feature", data=np.ones((1, 1, 4), np.float32), axes=("shape", "view", "dim"))
        store.write(Row(0, "a"))
    told = "holds features, but a store of kind views is needed"
    fails(sdfkit("predict", job / "recon.zarr", path, "-o", output), 3, told)
    fails(
        sdfkit("predict", job / "grids.zarr", job / "views.zarr", "-o", output),
        3,
        "holds grids, but a store of",
    )
    fails(sdfkit("mesh", job / "recon.zarr", "-o", tmp_path / "m"), 3, "holds recon, but a store of kind")
    fails(sdfkit("rank", job / "grids.zarr"), 3, "holds grids, but")
    told = "holds grids of distances, which need no decoder; leave out --decoder"
    decoder = make_decoder(tmp_path)
    fails(sdfkit("mesh", job / "grids.zarr", "--decoder", decoder, "-o", tmp_path / "m"), 2, told)


def make_decoder(folder):
    """Write a deepsdf store with an untrained decoder."""
    import torch

    from sdfkit.io.models.writer import ModelContents, ModelOutput, network_group, save_model
    from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig
    from sdfkit.rows import Row

    config = DeepSDFConfig(code=4, bands=1, hidden=8, layers=2, skip=1, activation="relu")
    with torch.random.fork_rng():
        group = network_group(DeepSDF(config), config)
    target = ModelOutput(str(folder / "deepsdf.zarr"), "deepsdf", [Row(0, "a")], [], {}, 0, False)
    contents = ModelContents({"code": np.zeros((1, 4), np.float32)}, {"decoder": group}, {})
    save_model(target, contents, [1.0], {})
    return target.path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ("--samples", 3),
            "is a reconstruction network, which predicts without sampling; leave --samples out",
        ),
        (("--steps", 5), "is a reconstruction network, which predicts without sampling; leave --steps out"),
        (
            ("--guidance", 2),
            "is a reconstruction network, which predicts without sampling; leave --guidance out",
        ),
        (("--eta", 0.5), "is a reconstruction network, which adds no noise in its steps; leave --eta out"),
        (("--trajectory",), "is not a flow, but --trajectory stores the steps of a flow; leave it out"),
    ],
)
def test_predict_refuses_options_of_other_models(sdfkit, job, tmp_path, options, told):
    result = sdfkit("predict", job / "recon.zarr", job / "views.zarr", *options, "-o", tmp_path / "out.zarr")
    fails(result, 2, f"recon.zarr: {told}\n")


@pytest.mark.slow
def test_a_damaged_network_is_refused(sdfkit, job, tmp_path):
    def remove(store):
        del store["recon"]

    def without_weight(store):
        del store["recon/last.weight"]

    def set_nan(store):
        store["recon/last.bias"][:] = np.nan

    def set_attribute(**values):
        return lambda store: store["recon"].attrs.update(values)

    def poison_grid(store):
        store["grid"][1, 0, 0, 0] = np.nan

    def flatten(store):
        del store["grid"]
        store.create_array("grid", shape=(4, 9, 9), dtype="f2")

    for number, (damage, told) in enumerate([
        (remove, "holds no recon; give a store that train-recon wrote"),
        (without_weight, "its recon cannot be loaded"),
        (set_nan, "the parameter last.bias of its recon is not finite"),
        (set_attribute(size=29), "its size is 29, but a multiple of 28 from 28 to 1024 is needed"),
        (set_attribute(cells=1 << 20), "its cells is 1048576, but a multiple of 4 from 12 to 1024 is needed"),
        (set_attribute(neighbours="x"), "neighbours in its attributes of recon is"),
        (set_attribute(hidden=17), "its recon cannot be loaded"),
        (poison_grid, "the grid of cube holds numbers that are not finite; train the network again"),
        (flatten, "with the axes (shape, x, y, z), the last three of one length from 2 is needed"),
    ]):  # fmt: skip
        broken = shutil.copytree(job / "recon.zarr", tmp_path / f"{number}.zarr")
        damage(zarr.open_group(broken))
        result = sdfkit("predict", broken, job / "views.zarr", *CPU, "-o", tmp_path / "out.zarr")
        fails(result, 3, f"{number}.zarr: ", told)
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.slow
def test_a_damaged_grid_is_refused_or_fails_alone(sdfkit, job, tmp_path):
    for number, shape in enumerate([(4, 9, 9), (4, 9, 9, 8), (3, 9, 9, 9)]):
        broken = shutil.copytree(job / "grids.zarr", tmp_path / f"{number}.zarr")
        store = zarr.open_group(broken)
        del store["grid"]
        store.create_array("grid", shape=shape, dtype="f4")
        for words in (("mesh", "-o", tmp_path / "m"), ("view", "-o", tmp_path / "v.png")):
            fails(sdfkit(words[0], broken, *words[1:]), 3, f"{number}.zarr: the array grid has")
    poisoned = copy(job / "grids.zarr", tmp_path)
    zarr.open_group(poisoned)["grid"][1, 3, 3, 3] = np.nan
    result = sdfkit("mesh", poisoned, "--resolution", 16, *CPU, "-o", tmp_path / "meshes")
    assert result.exit_code == 4 and "cube: its grid holds numbers that are not finite" in result.stderr
    assert sorted(path.stem for path in (tmp_path / "meshes").iterdir()) == ["ball", "high", "wide"]


@pytest.mark.slow
def test_a_shape_that_failed_stays_failed(sdfkit, job, tmp_path):
    views = copy(job / "views.zarr", tmp_path)
    store = zarr.open_group(views)
    store["error"][1:2], store["valid"][1:2] = np.array(["no surface at all"]), False
    store["mask"][2] = 0
    grids = tmp_path / "grids.zarr"
    result = sdfkit("predict", job / "recon.zarr", views, *CPU, "-o", grids)
    assert result.exit_code == 4 and "cube: no surface at all" in result.stderr
    assert "high: view 0: the mask is empty" in result.stderr
    found = zarr.open_group(grids, mode="r")
    assert found["valid"][:].tolist() == [True, False, False, True]
    assert found["error"][:].tolist()[1] == "no surface at all"
    result = sdfkit("mesh", grids, "--resolution", 16, *CPU, "-o", tmp_path / "meshes")
    assert result.exit_code == 4 and "cube: no surface at all" in result.stderr
    assert sorted(path.stem for path in (tmp_path / "meshes").iterdir()) == ["ball", "wide"]
    result = sdfkit("view", grids, "--size", 32, "-o", tmp_path / "view.png")
    assert result.exit_code == 4 and "cube: no surface at all" in result.stderr
    # In training, such shapes are left out.
    result = sdfkit("train-recon", views, "--samples", job / "samples.zarr", *FEW, "-o", tmp_path / "r.zarr")
    assert result.exit_code == 0 and "cube: is left out: no surface at all" in result.stderr
    assert "wrote a reconstruction network for 2 shapes" in result.stderr


@pytest.mark.slow
def test_training_reconstructs_better_than_the_visual_hull(job, tmp_path, monkeypatch):
    network = dataclasses.replace(
        CONFIG, width=16, cells=12, volume=16, hidden=64, layers=2, latent=32, neighbours=3
    )
    monkeypatch.setitem(PRESETS, "small", network)
    raw = tmp_path / "raw"
    kinds = ("--category", "table", "--category", "bowl", "--category", "chair", "--category", "mug")
    run("shapes", *kinds, "--count", 8, "--resolution", 40, "--seed", 1, "--jobs", 1, "-o", raw)
    run("render", raw, "--views", 8, "--size", 56, "--jobs", 1, "-o", tmp_path / "views.zarr")
    options = ("--points", 4000, "--surface-points", 0, "--jobs", 1)
    run("sample-sdf", raw, *options, "-o", tmp_path / "samples.zarr")
    few = ("--steps", 40, "--batch", 8, "--points", 256, "--lr", 0.02, *CPU, "--precision", "fp32")
    words = ("train-recon", tmp_path / "views.zarr", "--samples", tmp_path / "samples.zarr", *few)
    told = run(*words, "-o", tmp_path / "recon.zarr").stderr
    learned, hull = map(
        float, re.search(r"from 4 views: \D+1 ([\d.]+) on training shapes, ([\d.]+)", told).groups()
    )
    assert learned < 0.8 * hull, told


@pytest.mark.slow
def test_a_dry_run_prints_settings_and_costs_and_writes_nothing(job, tmp_path, monkeypatch):
    monkeypatch.setattr("sdfkit.training.costs.SECONDS", 0.0)
    told = train(job, tmp_path / "recon.zarr", "--dry-run").stdout
    assert re.search(r"^turned +0\.5$", told, re.MULTILINE) and "measured in 3 steps" in told
    assert not (tmp_path / "recon.zarr").exists()
