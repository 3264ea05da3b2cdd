"""`sdfkit train-ae` on octahedra: results, commands that read them, and errors."""

from dataclasses import asdict

import numpy as np
import pytest
import trimesh
import zarr

from sdfkit.io.models.writer import fingerprint
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row
from tests.training import octahedra

SHAPES = 4
ROWS = [Row(index, f"shape_{index}") for index in range(SHAPES)]
RADII = np.linspace(0.4, 0.7, SHAPES)
FEW = ("--latent", 2, "--resolution", 24, "--batch", 4)
RNG = np.random.default_rng(0)


def write(path, kind, rows=ROWS, **arrays):
    attributes = {"network": asdict(octahedra.NETWORK)} if kind == "weights" else {}
    with create_store(
        str(path), kind, rows=rows, history=[], settings={}, attributes=attributes, overwrite=False
    ) as store:
        for name, values in arrays.items():
            axes = ("shape", *("view", "dim", "xyz")[: values.ndim - 1])
            store.create_array(name, data=values, axes=axes)
        for row in rows:
            store.write(row)
    return path


@pytest.fixture
def weights(tmp_path):
    return write(tmp_path / "weights.zarr", "weights", weights=octahedra.octahedra(RADII))


@pytest.fixture
def samples(tmp_path):
    points = RNG.uniform(-1, 1, (SHAPES, 600, 3)).astype(np.float32)
    distance = np.stack([octahedra.distances(*pair) for pair in zip(points, RADII, strict=True)])
    near = np.zeros((SHAPES, 600), bool)
    # In another order than the weights.
    order = [2, 0, 3, 1]
    rows = [Row(index, ROWS[place].uid) for index, place in enumerate(order)]
    arrays = {"point": points[order], "distance": distance[order], "near": near}
    return write(tmp_path / "samples.zarr", "samples", rows, **arrays)


def volumes(folder):
    return [trimesh.load(folder / f"{row.uid}.ply").volume for row in ROWS]


@pytest.mark.slow
def test_codes_of_weights_are_decoded_to_the_shapes_by_every_command(sdfkit, weights, samples, tmp_path):
    model = tmp_path / "ae.zarr"
    done = sdfkit("train-ae", weights, *FEW, "--epochs", 300, "--samples", samples, "-o", model)
    assert done.exit_code == 0, done.stderr
    assert "networks without a surface: 0 of 4 before reconstruction, 0 after it" in done.stderr
    assert "raw cosine" in done.stderr and "both mislead" in done.stderr
    group = zarr.open_group(model, mode="r")
    assert group["code"].shape == (SHAPES, 2)
    report = group.attrs["report"]
    assert report["fvu"] < 0.05 and report["centred"]["min"] > 0.9
    assert report["true_iou"]["before"] == 1 and report["true_iou"]["after"] > 0.9
    assert group["iou"][:].min() == pytest.approx(report["iou"]["min"])
    assert (report["lost"], report["lost_before"]) == ([], [])
    assert sdfkit("mesh", model, "--resolution", 32, "-o", tmp_path / "own").exit_code == 0
    assert np.allclose(volumes(tmp_path / "own"), 4 / 3 * RADII**3, rtol=0.1)

    features = write(
        tmp_path / "features.zarr", "features", feature=RNG.normal(size=(SHAPES, 2, 6)).astype(np.float32)
    )
    denoiser, predicted = tmp_path / "dit.zarr", tmp_path / "predicted.zarr"
    options = ("--steps", 2, "--batch", 2, "-o", denoiser)
    assert sdfkit("train-dit", features, "--codes", model, *options).exit_code == 0
    assert sdfkit("predict", denoiser, features, "--steps", 2, "-o", predicted).exit_code == 0
    store = zarr.open_group(predicted, mode="r")
    assert (store.attrs["kind"], store["code"].shape) == ("codes", (SHAPES, 2))
    assert "network" not in store.attrs
    done = sdfkit("mesh", predicted, "--decoder", model, "--resolution", 16, "-o", tmp_path / "meshes")
    assert done.exit_code == 0, done.stderr
    assert sdfkit("rank", predicted).exit_code == 0

    other = tmp_path / "other.zarr"
    assert sdfkit("train-ae", weights, *FEW, "--epochs", 1, "-o", other).exit_code == 0
    refused = sdfkit("mesh", predicted, "--decoder", other, "-o", tmp_path / "wrong")
    assert refused.exit_code == 3 and "its latent codes belong to another decoder" in refused.stderr


def test_field_loss_is_trained_and_shapes_without_a_surface_are_reported(sdfkit, weights, samples, tmp_path):
    vectors = octahedra.octahedra(RADII)
    # A network that is positive everywhere has no surface to reconstruct.
    vectors[1, -1] = 2
    weights = write(tmp_path / "one_without.zarr", "weights", weights=vectors)
    model = tmp_path / "ae.zarr"
    options = ("--loss", "field", "--samples", samples, "--points", 50, "--epochs", 2)
    done = sdfkit("train-ae", weights, *FEW, *options, "-o", model)
    assert done.exit_code == 0, done.stderr
    assert "networks without a surface: 1 of 4 before reconstruction" in done.stderr
    group = zarr.open_group(model, mode="r")
    assert group.attrs["report"]["lost_before"] == ["shape_1"]
    assert group.attrs["settings"]["loss"] == "field"
    assert np.allclose(group["autoencoder/mean"][:], vectors.mean(axis=0), atol=1e-6)
    members = dict(group["autoencoder"].members(max_depth=None))
    parameters = {name: node[...] for name, node in members.items() if isinstance(node, zarr.Array)}
    assert group.attrs["decoder_sha256"] == fingerprint(parameters)


@pytest.mark.slow
def test_a_resumed_run_gives_the_same_result(sdfkit, weights, tmp_path, monkeypatch):
    whole, halved = tmp_path / "whole.zarr", tmp_path / "halved.zarr"
    options = (*FEW, "--epochs", 6, "--device", "cpu", "-o")
    assert sdfkit("train-ae", weights, *options, whole).exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr("sdfkit.runtime.training_loop.MINUTES_BETWEEN_SAVES", 0)
        from sdfkit.training.autoencoder import AutoencoderTraining

        step = AutoencoderTraining.step

        def stop(training):
            if training.steps_taken == 3:
                raise KeyboardInterrupt
            return step(training)

        patch.setattr(AutoencoderTraining, "step", stop)
        assert sdfkit("train-ae", weights, *options, halved).exit_code == 130
    refused = sdfkit("train-ae", weights, *FEW, "--epochs", 7, "-o", halved)
    assert refused.exit_code == 3 and "differs from this one (epochs: 6 then, 7 now)" in refused.stderr
    assert (
        "continuing the interrupted run after step 3" in sdfkit("train-ae", weights, *options, halved).stderr
    )
    assert np.array_equal(*(zarr.open_group(path, mode="r")["loss"][:] for path in (whole, halved)))
    assert np.array_equal(*(zarr.open_group(path, mode="r")["code"][:] for path in (whole, halved)))


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--loss", "field"), 2, "--loss field compares distances at samples; add --samples STORE"),
        (("--samples", "-"), 2, "standard input can be read only once"),
        (("--curve", "loss.jpg"), 2, "loss.jpg: plots are written as PNG; choose a name that ends in .png"),
    ],
)
def test_unsuitable_options_are_refused(sdfkit, weights, tmp_path, options, status, words):
    source = "-" if "-" in options else weights
    refused = sdfkit("train-ae", source, *options, "-o", tmp_path / "ae.zarr")
    assert refused.exit_code == status and words in refused.stderr
    assert not (tmp_path / "ae.zarr").exists()


def test_unsuitable_weights_are_refused(sdfkit, samples, tmp_path):
    vectors = octahedra.octahedra(RADII)
    broken = vectors.copy()
    broken[2, 0] = np.nan
    np.save(tmp_path / "plain.npy", vectors)
    np.save(tmp_path / "ragged.npy", np.array([np.zeros(2), np.zeros(3)], dtype=object))
    stranger = [*ROWS[:3], Row(3, "stranger")]
    cases = [
        (write(tmp_path / "one.zarr", "weights", ROWS[:1], weights=vectors[:1]), "one shape (shape_0), but training"),
        (write(tmp_path / "nan.zarr", "weights", weights=broken), "shape_2: its weights or samples hold"),
        (write(tmp_path / "short.zarr", "weights", weights=vectors[:, :-1]), "30 weights per shape, but their network"),
        (write(tmp_path / "other.zarr", "weights", stranger, weights=vectors), "has no samples of stranger"),
        (write(tmp_path / "codes.zarr", "codes", code=vectors), "holds codes, but a store of kind weights is needed"),
        (tmp_path / "plain.npy", "has no configuration of its per-shape networks"),
        (tmp_path / "ragged.npy", "is not a NumPy array of numbers"),
    ]  # fmt: skip
    for path, words in cases:
        refused = sdfkit("train-ae", path, "--samples", samples, "-o", tmp_path / "ae.zarr")
        assert refused.exit_code == 3 and words in refused.stderr, refused.stderr
        assert refused.stderr.count("\n") == 1
        assert not (tmp_path / "ae.zarr").exists()


@pytest.mark.parametrize("loss", ["weights", "field"])
def test_a_dry_run_prints_settings_and_costs_and_writes_nothing(
    sdfkit, weights, samples, tmp_path, monkeypatch, loss
):
    monkeypatch.setattr("sdfkit.training.costs.SECONDS", 0.0)
    options = ("--loss", loss, "--samples", samples, "--epochs", 8, "--dry-run", "-o", tmp_path / "ae.zarr")
    done = sdfkit("train-ae", weights, *FEW, *options)
    assert done.exit_code == 0, done.stderr
    assert f"loss        {loss}\n" in done.stdout or f"loss       {loss}\n" in done.stdout
    assert "measured in 3 steps; nothing was written" in done.stdout
    assert not (tmp_path / "ae.zarr").exists()
