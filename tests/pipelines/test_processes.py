"""Training in several processes, started as torchrun does, compared with training in one."""

import os
import subprocess
import sys

import numpy as np
import pytest
import trimesh
import zarr
from typer.testing import CliRunner

from sdfkit.cli import app
from sdfkit.io.models.training_state import read_state
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row

pytestmark = pytest.mark.slow

SHAPES, POINTS = 5, 600


def alone(*words):
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr


def in_two(*words):
    command = [sys.executable, "-m"]
    command += ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "sdfkit"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Samples of spheres of several sizes, one of which failed."""
    path = tmp_path_factory.mktemp("processes") / "samples.zarr"
    rng = np.random.default_rng(0)
    rows = [Row(index, f"ball_{index}", error="lost" if index == 2 else "") for index in range(SHAPES + 1)]
    with create_store(str(path), "samples", rows=rows, history=[], settings={}, overwrite=False) as store:
        store.create_array("point", shape=(len(rows), POINTS, 3), dtype="f4", axes=("shape", "sample", "xyz"))
        store.create_array("distance", shape=(len(rows), POINTS), dtype="f4", axes=("shape", "sample"))
        store.create_array("near", shape=(len(rows), POINTS), dtype="bool", axes=("shape", "sample"))
        for row in rows:
            point = rng.uniform(-1, 1, (POINTS, 3)).astype(np.float32)
            distance = np.linalg.norm(point, axis=1) - 0.3 - 0.1 * row.index
            near = np.arange(POINTS) % 2 == 0
            values = {"point": point, "distance": distance.astype(np.float32), "near": near}
            store.write(row, **({} if row.error else values))
    return path


def test_two_processes_train_deepsdf_like_one(samples, tmp_path):
    words = ("train-deepsdf", samples, "--steps", 6, "--device", "cpu", "--precision", "fp32")
    one, two = tmp_path / "one.zarr", tmp_path / "two.zarr"
    alone(*words, "-o", one)
    told = in_two(*words, "-o", two)
    # Only one process logs.
    assert told.count("wrote a decoder and 5 codes") == 1 and told.count("SDF L1 mean") == 1
    first, second = (zarr.open_group(path, mode="r") for path in (one, two))
    assert np.allclose(first["loss"][:], second["loss"][:], rtol=0, atol=1e-4)
    assert np.allclose(first["code"][:], second["code"][:], atol=1e-4)
    states = []
    for path in (one, two):
        with open_store(str(path), "deepsdf", manifest=None) as store:
            states.append(read_state(store))
    assert states[0]["parameters/code"].shape == states[1]["parameters/code"].shape
    moments = [state["moments/code/exp_avg"] for state in states]
    assert np.allclose(*moments, atol=1e-4) and np.abs(moments[0]).max() > 0


def test_two_processes_train_a_denoiser_like_one(samples, tmp_path):
    rng = np.random.default_rng(0)
    rows = [Row(index, f"ball_{index}") for index in range(SHAPES)]
    stores = {
        "codes": {"code": (rng.normal(size=(SHAPES, 8)), ("dim",))},
        "features": {
            "feature": (rng.normal(size=(SHAPES, 3, 6)), ("view", "dim")),
            "camera_to_world": (np.tile(np.eye(4), (SHAPES, 3, 1, 1)), ("view", "to", "from")),
        },
    }
    for kind, arrays in stores.items():
        with create_store(
            str(tmp_path / f"{kind}.zarr"), kind, rows=rows, history=[], settings={}, overwrite=False
        ) as store:
            for name, (values, axes) in arrays.items():
                store.create_array(name, data=values.astype(np.float32), axes=("shape", *axes))
            for row in rows:
                store.write(row)
    words = ("train-dit", tmp_path / "features.zarr", "--codes", tmp_path / "codes.zarr", "--steps", 6)
    losses = []
    for run in (alone, in_two):
        model = tmp_path / f"{run.__name__}.zarr"
        run(*words, "--batch", 16, "--device", "cpu", "--precision", "fp32", "-o", model)
        losses.append(zarr.open_group(model, mode="r")["loss"][:])
    assert np.allclose(*losses, rtol=0, atol=1e-4)


def test_two_processes_train_on_silhouettes_like_one(tmp_path):
    for name, size in (("cube", 1), ("high", 2), ("wide", 0.5)):
        trimesh.creation.box([1, size, 1]).export(tmp_path / f"{name}.ply")
    meshes = [tmp_path / f"{name}.ply" for name in ("cube", "high", "wide")]
    alone("render", *meshes, "--views", 2, "--size", 64, "--jobs", 1, "-o", tmp_path / "views.zarr")
    words = (
        "train-flow",
        tmp_path / "views.zarr",
        "--steps",
        2,
        "--rays",
        32,
        "--batch",
        2,
        "--check-gradients",
    )
    models = []
    for run in (alone, in_two):
        model = tmp_path / f"{run.__name__}.zarr"
        run(*words, "--device", "cpu", "--precision", "fp32", "-o", model)
        models.append(zarr.open_group(model, mode="r"))
    one, two = (model["loss"][:] for model in models)
    assert len(one) == 8 and np.allclose(one, two, rtol=1e-3, atol=1e-4)
    assert np.allclose(models[0]["code"][:], models[1]["code"][:], atol=1e-3)
