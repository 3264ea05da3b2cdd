"""`sdfkit train-dit` on weights, and prediction: networks of known shapes are learned and meshed."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import trimesh
import zarr

from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row
from tests.training import octahedra

SHAPES, VIEWS, FEATURE = 4, 3, 6
ROWS = [Row(index, f"shape_{index}") for index in range(SHAPES)]
NETWORK = asdict(octahedra.NETWORK)
RADII = np.linspace(0.4, 0.7, SHAPES)
RNG = np.random.default_rng(0)


def write(path, kind, name, values, axes, **attributes):
    with create_store(
        str(path), kind, rows=ROWS, history=[], settings={}, attributes=attributes, overwrite=False
    ) as store:
        store.create_array(name, data=values.astype(np.float32), axes=("shape", *axes))
        for row in ROWS:
            store.write(row)
    return path


@pytest.fixture
def features(tmp_path):
    values = RNG.normal(size=(SHAPES, 1, FEATURE)) + 0.1 * RNG.normal(size=(SHAPES, VIEWS, FEATURE))
    return write(tmp_path / "features.zarr", "features", "feature", values, ("view", "dim"))


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.zarr"
    return write(path, "weights", "weights", octahedra.octahedra(RADII), ("parameter",), network=NETWORK)


@pytest.mark.slow
def test_predicted_weights_are_meshed_without_a_decoder(sdfkit, features, weights, tmp_path):
    model, predicted = tmp_path / "dit.zarr", tmp_path / "predicted.zarr"
    options = ("--preset", "small", "--tokens", "layers", "--steps", 200, "--batch", 16, "--seed", 1)
    done = sdfkit("train-dit", features, "--codes", weights, *options, "-o", model)
    assert done.exit_code == 0, done.stderr
    group = zarr.open_group(model, mode="r")
    assert group["denoiser"].attrs["tokens"] == [24, 7]
    assert group["standard"].attrs["floored"] == 30
    done = sdfkit("predict", model, features, "--steps", 10, "-o", predicted)
    assert "wrote weights of 4 shapes" in done.stderr
    store = zarr.open_group(predicted, mode="r")
    assert (store.attrs["kind"], store.attrs["network"]) == ("weights", NETWORK)
    assert store["weights"].metadata.dimension_names == ("shape", "parameter")
    assert sdfkit("mesh", predicted, "--resolution", 32, "-o", tmp_path / "meshes").exit_code == 0
    for row, radius in zip(ROWS, RADII, strict=True):
        mesh = trimesh.load(tmp_path / f"meshes/{row.uid}.ply")
        assert mesh.is_watertight and mesh.euler_number == 2
        assert mesh.volume == pytest.approx(4 / 3 * radius**3, rel=0.1)
    facts = json.loads(sdfkit("rank", predicted, "--json").stdout)
    assert [row["nearest"]["uid"] for row in facts["predictions"]] == [row.uid for row in ROWS]
    for truth in ((), ("--codes", weights)):
        told = sdfkit("timestep-loss", model, features, "--views", 2, "--steps", 10, *truth, "--json")
        facts = json.loads(told.stdout)
        # These shapes differ in one of 31 weights.
        assert facts["mean_predictor"] == pytest.approx(1 / 31, rel=1e-3)
        assert facts["sampled"]["fvu"] < 0.1


@pytest.mark.slow
def test_options_reproduce_the_phases_of_the_paper(sdfkit, features, weights, tmp_path):
    last = ("--views", 1, "--raw", "--cfg-dropout", 0, "--pose-dropout", 0)
    told = []
    for name, options in (("seventh", ()), ("all_others", last)):
        model = tmp_path / f"{name}.zarr"
        options += ("--steps", 1, "--batch", 1)
        done = sdfkit("train-dit", features, "--codes", weights, *options, "-o", model)
        assert done.exit_code == 0, done.stderr
        group = zarr.open_group(model, mode="r")
        settings = group.attrs["settings"]
        assert (settings["preset"], settings["tokens"]) == ("weights-small", 8)
        raw = not group["standard/mean"][:].any() and (group["standard/std"][:] == 1).all()
        told.append((settings["views"], raw, settings["feature_dropout"], settings["camera_dropout"]))
    assert told == [(8, False, 0.1, 0.2), (1, True, 0, 0)]


@pytest.mark.parametrize("tokens", ["0", "-1", "all"])
def test_tokens_must_be_a_number_or_layers(sdfkit, features, weights, tokens):
    refused = sdfkit("train-dit", features, "--codes", weights, "--tokens", tokens, "-o", "dit.zarr")
    assert (
        refused.exit_code == 2
        and f"--tokens {tokens}: must be a number of at least 1, layers or places" in refused.stderr
    )


def test_tokens_layers_is_refused_for_codes(sdfkit, features, tmp_path):
    codes = write(tmp_path / "codes.zarr", "codes", "code", np.eye(SHAPES), ("dim",))
    refused = sdfkit(
        "train-dit", features, "--codes", codes, "--tokens", "layers", "-o", tmp_path / "dit.zarr"
    )
    assert (
        refused.exit_code == 3
        and "holds codes, which have no layers; give --tokens a number" in refused.stderr
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden": 7}, "has 31 weights per shape, but their network has 36"),
        ({"kind": None}, "has no configuration of its per-shape networks"),
    ],
)
def test_weights_of_another_network_are_refused(sdfkit, features, tmp_path, change, words):
    network = {key: value for key, value in (NETWORK | change).items() if value is not None}
    path = tmp_path / "weights.zarr"
    weights = write(path, "weights", "weights", octahedra.octahedra(RADII), ("parameter",), network=network)
    refused = sdfkit("train-dit", features, "--codes", weights, "-o", tmp_path / "dit.zarr")
    assert refused.exit_code == 3 and words in refused.stderr
    assert not (tmp_path / "dit.zarr").exists()


def test_non_finite_weights_are_refused(sdfkit, features, weights, tmp_path):
    zarr.open_group(weights)["weights"][2, 5] = np.nan
    refused = sdfkit("train-dit", features, "--codes", weights, "-o", tmp_path / "dit.zarr")
    assert refused.exit_code == 3 and "shape_2: its latent code or a feature holds numbers" in refused.stderr
