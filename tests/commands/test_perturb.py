"""`sdfkit perturb` on two balls represented by tiny networks."""

import json

import numpy as np
import pytest
import torch
import trimesh

from sdfkit.io.stores.writer import create_store
from sdfkit.models.layers import MLPConfig
from sdfkit.models.mlp import draw_weights
from sdfkit.rows import Row
from sdfkit.training.mlp.fitting import fit_mlps
from sdfkit.training.mlp.recipes import MLPFitSettings

CONFIG = MLPConfig(kind="relu-pe", bands=2, hidden=16, layers=2, frequency=1.0)
CPU = ("--device", "cpu", "--resolution", 24)


def write(path, vectors, kind="weights", array="weights", **attributes):
    rows = [Row(index, f"ball_{index}") for index in range(len(vectors))]
    with create_store(
        str(path), kind, rows=rows, history=[], settings={}, overwrite=True, attributes=attributes
    ) as store:
        store.create_array(array, data=vectors.astype(np.float32), axes=("shape", "parameter"))
        for row in rows:
            store.write(row)
    return path


@pytest.fixture(scope="module")
def balls():
    points = torch.rand(2, 4000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    distances = points.norm(dim=2) - torch.tensor([0.5, 0.8])[:, None]
    settings = MLPFitSettings(steps=800, points=128, near=0.5, lr=1e-2, clamp=0.1, stop=None)
    start = draw_weights(CONFIG, 2, torch.Generator().manual_seed(0))
    return fit_mlps(CONFIG, start, points, distances, distances.abs() < 0.1, settings).weights.numpy()


@pytest.fixture
def store(balls, tmp_path):
    return write(tmp_path / "weights.zarr", balls, network=vars(CONFIG))


@pytest.mark.slow
def test_iou_falls_with_increasing_noise(sdfkit, store, tmp_path):
    picture = tmp_path / "noise.png"
    strengths = [word for sigma in (0.001, 0.3, 3) for word in ("--sigma", sigma)]
    done = sdfkit("perturb", store, *strengths, *CPU, "--json", "-o", picture)
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    (part,) = facts["stores"][0]["parts"].values()
    iou = [level["iou"] for level in part["levels"]]
    assert iou[0] > 0.99 and iou == sorted(iou, reverse=True) and iou[2] < 0.5
    assert part["levels"][0]["same"] == 1 and part["levels"][0]["pieces"] == 1
    assert 0.001 < part["breaks_at"] < 3
    assert [shape["uid"] for shape in part["shapes"]] == ["ball_0", "ball_1"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_report(sdfkit, store):
    words = ("perturb", store, "--sigma", 0.3, *CPU, "--json")
    first, again, other = (sdfkit(*words, "--seed", seed).stdout for seed in (1, 1, 2))
    assert first == again != other


def test_the_iou_of_noisy_networks_agrees_with_a_closed_form(sdfkit, store, balls):
    """The last bias determines the radius, so noise on it alone gives another ball, whose IoU is known."""
    vectors = balls.copy()
    done = sdfkit("perturb", store, "--per", "layer", "--noise", "number", "--sigma", 0.2, *CPU, "--json")
    parts = json.loads(done.stdout)["stores"][0]["parts"]
    assert list(parts) == [f"layer {n} {what}" for n in (1, 2, 3) for what in ("weight", "bias")]
    rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(0,)))
    shift = 0.2 * abs(vectors[0, -1]) * rng.standard_normal(vectors.shape[1], dtype=np.float32)[-1]
    radius = 0.5 - shift
    expected = min(0.5, radius) ** 3 / max(0.5, radius) ** 3
    assert parts["layer 3 bias"]["shapes"][0]["iou"][0] == pytest.approx(expected, abs=0.12)


def test_noise_on_sensitive_dimensions_lowers_the_iou_more(sdfkit, store):
    done = sdfkit("perturb", store, "--per", "dimension", "--sigma", 0.5, *CPU, "--json")
    assert done.exit_code == 0, done.stderr
    parts = json.loads(done.stdout)["stores"][0]["parts"]
    assert list(parts) == ["0 to 0.1 %", "0.1 to 1 %", "1 to 10 %", "10 to 50 %", "50 to 100 %"]
    iou = {name: part["levels"][0]["iou"] for name, part in parts.items()}
    assert iou["50 to 100 %"] > iou["10 to 50 %"] > iou["1 to 10 %"] - 0.05


def test_several_stores_appear_in_one_table(sdfkit, store, balls, tmp_path):
    other = write(tmp_path / "other.zarr", balls[::-1], network=vars(CONFIG))
    done = sdfkit("perturb", store, other, "--sigma", 0.01, "--noise", "spread", *CPU)
    assert done.exit_code == 0, done.stderr
    assert (
        f"{store}: does not fall that low at any sigma tried" in done.stdout
        and f"{other}: does not" in done.stdout
    )
    assert "noise: sigma times each number's standard deviation over the shapes" in done.stdout


@pytest.mark.slow
def test_codes_are_perturbed_through_their_decoder(sdfkit, tmp_path):
    trimesh.creation.box().export(tmp_path / "box.ply")
    trimesh.creation.icosphere(2).export(tmp_path / "ball.ply")
    for words in (
        ("sample-sdf", tmp_path / "box.ply", tmp_path / "ball.ply", "--points", 2000, "--jobs", 1),
        ("train-deepsdf", tmp_path / "samples.zarr", "--steps", 60, "--device", "cpu"),
    ):
        name = {"sample-sdf": "samples", "train-deepsdf": "deepsdf"}[words[0]]
        made = sdfkit(*words, "-o", tmp_path / f"{name}.zarr")
        assert made.exit_code == 0, made.stderr
    done = sdfkit("perturb", tmp_path / "deepsdf.zarr", "--noise", "vector", "--sigma", 0.001, *CPU, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["stores"][0]["parts"]["all"]["levels"][0]["iou"] > 0.9
    refused = sdfkit("perturb", tmp_path / "deepsdf.zarr", "--per", "layer", *CPU)
    assert refused.exit_code == 2 and "codes have no layers" in refused.stderr
    codes = write(tmp_path / "codes.zarr", np.zeros((1, 64)), kind="codes", array="code")
    refused = sdfkit("perturb", codes, *CPU)
    assert refused.exit_code == 2 and "codes without their decoder" in refused.stderr
    done = sdfkit("perturb", codes, "--decoder", tmp_path / "deepsdf.zarr", "--sigma", 1, *CPU, "--json")
    assert done.exit_code == 0, done.stderr


def test_a_shape_without_a_surface_before_noise_is_left_out(sdfkit, balls, tmp_path):
    vectors = balls.copy()
    vectors[0] = 0
    store = write(tmp_path / "weights.zarr", vectors, network=vars(CONFIG))
    done = sdfkit("perturb", store, "--sigma", 0.01, *CPU)
    assert done.exit_code == 4 and "1 of 2 shapes failed" in done.stderr
    assert "ball_0: is left out, because it is broken even without noise: no surface" in done.stderr
    store = write(tmp_path / "weights.zarr", vectors[:1], network=vars(CONFIG))
    done = sdfkit("perturb", store, "--sigma", 0.01, *CPU)
    assert done.exit_code == 4 and done.stdout == "" and "1 of 1 shape failed" in done.stderr


@pytest.mark.parametrize(
    ("change", "words", "status", "message"),
    [
        (lambda v: v * np.nan, (), 3, "the vector of ball_0 has numbers that are not finite; make it again"),
        (lambda v: v[:, :-1], (), 3, "numbers per shape, but its network needs"),
        (lambda v: v[:1], ("--noise", "spread"), 3, "has one shape only, but --noise spread needs several"),
        (lambda v: v, ("-o", "x.jpg"), 2, "plots are written as PNG"),
    ],
)
def test_unsuitable_weights_and_options_are_refused(sdfkit, balls, tmp_path, change, words, status, message):
    store = write(tmp_path / "weights.zarr", change(balls), network=vars(CONFIG))
    refused = sdfkit("perturb", store, *words, *CPU)
    assert refused.exit_code == status
    assert message in refused.stderr and refused.stderr.count("\n") == 1


def test_weights_without_a_network_configuration_are_refused(sdfkit, balls, tmp_path):
    np.save(tmp_path / "weights.npy", balls)
    refused = sdfkit("perturb", tmp_path / "weights.npy", *CPU)
    assert refused.exit_code == 3 and "has no configuration of its per-shape networks" in refused.stderr
    refused = sdfkit("perturb", "-", "-", *CPU)
    assert refused.exit_code == 2 and "only one STORE can be standard input" in refused.stderr
