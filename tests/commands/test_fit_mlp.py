"""Networks of a few boxes after a few training steps."""

import numpy as np
import pytest
import trimesh
import zarr

FEW = ("--steps", 3, "--points", 32, "--device", "cpu")


@pytest.fixture
def samples(sdfkit, tmp_path):
    (tmp_path / "closed").mkdir()
    for index, extents in enumerate(([1, 1, 1], [1, 2, 1], [1, 1, 3])):
        trimesh.creation.box(extents).export(tmp_path / f"closed/box_{index}.ply")
    options = ("--points", 2000, "--surface-points", 0, "--jobs", 1, "--seed", 2)
    made = sdfkit("sample-sdf", tmp_path / "closed", *options, "-o", tmp_path / "samples.zarr")
    assert made.exit_code == 0, made.stderr
    return tmp_path / "samples.zarr"


@pytest.fixture
def fit(sdfkit, samples, tmp_path):
    def run(name, *options):
        return sdfkit("fit-mlp", samples, *FEW, *options, "-o", tmp_path / name)

    return run


def read(path, name):
    return zarr.open_group(path, mode="r")[name][:]


def test_each_shape_gets_the_weights_of_a_network(sdfkit, samples, fit, tmp_path):
    done = fit("weights.zarr", "--steps", 300)
    assert done.exit_code == 0, done.stderr
    assert "anchor box_0: loss" in done.stderr and "wrote weights of 3 shapes" in done.stderr
    store = zarr.open_group(tmp_path / "weights.zarr", mode="r")
    assert store.attrs["kind"] == "weights" and store["weights"].shape == (3, 54_785)
    assert store["anchor"].attrs["uid"] == "box_0"
    loss = store["loss"][:]
    assert (loss > 0).all() and (loss < 0.02).all()
    (line,) = [line for line in done.stderr.splitlines() if "held-out samples" in line]
    assert f"median {np.median(loss):.5f}, p95 {np.percentile(loss, 95):.5f}, max {loss.max():.5f}" in line
    worst = int(loss.argmax())
    assert f"worst: box_{worst} {loss[worst]:.5f}; " in done.stderr

    meshed = sdfkit("mesh", tmp_path / "weights.zarr", "--resolution", 32, "-o", tmp_path / "meshes")
    assert meshed.exit_code == 0, meshed.stderr
    box = trimesh.load(tmp_path / "meshes/box_2.ply")
    assert box.is_watertight and box.euler_number == 2
    assert box.extents == pytest.approx(np.array([1, 1, 3]) * 2 / 11**0.5, abs=0.1)


def test_the_stored_loss_is_measured_on_held_out_samples(fit, samples, tmp_path):
    import torch

    from sdfkit.models.mlp import PRESETS, MLPs

    assert fit("weights.zarr", "--clamp", 0.05).exit_code == 0
    weights = torch.from_numpy(read(tmp_path / "weights.zarr", "weights"))
    predicted = MLPs(PRESETS["relu-pe"], weights)(torch.from_numpy(read(samples, "point")[:, -200:]))
    error = predicted.detach().numpy().clip(-0.05, 0.05) - read(samples, "distance")[:, -200:].clip(
        -0.05, 0.05
    )
    assert np.abs(error).mean(axis=1) == pytest.approx(read(tmp_path / "weights.zarr", "loss"), rel=1e-4)


def test_networks_start_from_a_common_anchor_or_from_independent_initialisations(fit, tmp_path):
    for name in ("first", "none", "box_2"):
        assert fit(f"{name}.zarr", "--anchor", name, "--lr", 1e-9).exit_code == 0
    same, own, last = (read(tmp_path / f"{name}.zarr", "weights") for name in ("first", "none", "box_2"))
    assert np.allclose(same, read(tmp_path / "first.zarr", "anchor/weights"), atol=1e-6)
    assert not np.allclose(own[0], own[1], atol=1e-3)
    # At this learning rate the anchor equals its initial weights, whatever its shape.
    assert np.allclose(same, last, atol=1e-6)
    assert zarr.open_group(tmp_path / "box_2.zarr", mode="r")["anchor"].attrs["uid"] == "box_2"
    assert "anchor" not in zarr.open_group(tmp_path / "none.zarr", mode="r")


def test_anchor_takes_the_initialisation_from_an_earlier_store(fit, tmp_path):
    assert fit("first.zarr", "--steps", 20, "--seed", 3).exit_code == 0
    done = fit("later.zarr", "--anchor", tmp_path / "first.zarr", "--steps", 20, "--seed", 1)
    assert done.exit_code == 0, done.stderr
    for name in ("weights", "loss", "anchor/weights"):
        assert np.array_equal(read(tmp_path / "later.zarr", name), read(tmp_path / "first.zarr", name))
    assert len(zarr.open_group(tmp_path / "later.zarr", mode="r").attrs["history"]) == 3


def test_results_do_not_depend_on_batch_size_or_pipes(sdfkit, samples, fit, tmp_path):
    assert fit("one.zarr", "--batch", 1).exit_code == 0
    assert fit("all.zarr.zip").exit_code == 0
    meshed = sdfkit("info", tmp_path / "all.zarr.zip")
    assert meshed.exit_code == 0, meshed.stderr
    packed = zarr.open_group(zarr.storage.ZipStore(tmp_path / "all.zarr.zip"), mode="r")
    assert np.allclose(packed["weights"][:], read(tmp_path / "one.zarr", "weights"), atol=1e-5)
    assert np.array_equal(packed["anchor/weights"][:], read(tmp_path / "one.zarr", "anchor/weights"))


def test_an_interrupted_run_resumes_with_its_stored_anchor(fit, tmp_path, monkeypatch):
    from sdfkit.training.mlp import fitting

    assert fit("whole.zarr", "--batch", 1).exit_code == 0
    calls, real = [], fitting.fit_mlps

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 4:  # the anchor and two shapes
            raise OSError(5, "pulled the plug", "disk")
        return real(*arguments)

    monkeypatch.setattr(fitting, "fit_mlps", interrupted)
    assert fit("part.zarr", "--batch", 1).exit_code == 1
    refused = fit("part.zarr", "--batch", 1, "--lr", 0.5)
    assert refused.exit_code == 3 and "differs from this one (lr: 0.004 then, 0.5 now)" in refused.stderr
    done = fit("part.zarr", "--batch", 1)
    assert done.exit_code == 0, done.stderr
    assert len(calls) == 5, "the anchor and two shapes were kept"
    for name in ("weights", "loss", "anchor/weights"):
        assert np.array_equal(read(tmp_path / "part.zarr", name), read(tmp_path / "whole.zarr", name))
    assert "of 3 above" in done.stderr, "kept shapes count in the summary"


@pytest.mark.parametrize(
    ("array", "value", "message"),
    [
        ("distance", np.nan, "box_1: a sample has numbers that are not finite; sample the shape again"),
        ("near", False, "box_1: has no samples near its surface"),
        ("near", True, "box_1: all samples are near its surface"),
    ],
)
def test_a_shape_that_cannot_be_fitted_is_marked_as_failed_and_others_are_fitted(
    fit, samples, tmp_path, array, value, message
):
    zarr.open_group(samples)[array][1] = np.full(2000, value)
    done = fit("weights.zarr")
    assert done.exit_code == 4 and message in done.stderr and "1 of 3 shapes failed" in done.stderr
    assert read(tmp_path / "weights.zarr", "valid").tolist() == [True, False, True]
    assert fit("fast.zarr", "--fail-fast").exit_code == 4
    refused = fit("anchored.zarr", "--anchor", "box_1")
    assert refused.exit_code == 4 and "box_1: cannot be the anchor" in refused.stderr
    assert not (tmp_path / "anchored.zarr").exists()


def test_a_diverged_fit_is_marked_as_failed(fit, tmp_path):
    assert fit("first.zarr").exit_code == 0
    done = fit("weights.zarr", "--anchor", tmp_path / "first.zarr", "--lr", 1e38)
    assert (
        done.exit_code == 4 and "box_0: the loss of its fit is not a finite number; lower --lr" in done.stderr
    )
    refused = fit("other.zarr", "--lr", 1e38)
    assert (
        refused.exit_code == 4
        and "box_0: cannot be the anchor: the loss of its fit is not a finite number" in refused.stderr
    )


def test_the_paper_preset_trains_200_epochs():
    from sdfkit.training.mlp.recipes import choose_settings

    recipe = choose_settings("relu-pe", "paper", 190_000, None, {"clamp": 0.1})
    assert (recipe.steps, recipe.lr, recipe.stop) == (4639, 1e-4, None)  # 200 · 190,000 / 8,192
    assert choose_settings("relu-pe", "fast", 1000, 2.0, {"clamp": 0.1, "points": 100}).steps == 20


def test_unsuitable_stores_and_anchors_are_refused(sdfkit, samples, fit, tmp_path):
    refused = fit("x.zarr", "--anchor", "box_9")
    assert refused.exit_code == 3 and "--anchor box_9: is neither a shape" in refused.stderr
    refused = fit("x.zarr", "--anchor", samples)
    assert refused.exit_code == 3 and "holds samples, but a store of kind weights is needed" in refused.stderr
    assert fit("none.zarr", "--anchor", "none").exit_code == 0
    refused = fit("x.zarr", "--anchor", tmp_path / "none.zarr")
    assert refused.exit_code == 3 and "has no anchor" in refused.stderr
    assert fit("siren.zarr", "--network", "siren").exit_code == 0
    refused = fit("x.zarr", "--anchor", tmp_path / "siren.zarr")
    assert refused.exit_code == 3 and "its anchor has another architecture (siren)" in refused.stderr
    refused = sdfkit("fit-mlp", "--anchor", "box_1", "-o", tmp_path / "x.zarr")
    assert refused.exit_code == 2 and "only the first shape can be the anchor" in refused.stderr
    refused = sdfkit("fit-mlp", tmp_path / "none.zarr", "-o", tmp_path / "x.zarr")
    assert refused.exit_code == 3 and "holds weights, but a store of kind samples is needed" in refused.stderr
    assert not (tmp_path / "x.zarr").exists()
