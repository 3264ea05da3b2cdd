"""--epochs and --steps of the training commands: the number of steps, and both together."""

import dataclasses
import json

import numpy as np
import pytest
import trimesh

from sdfkit.io.stores.writer import create_store
from sdfkit.models.recon import network as recon
from sdfkit.rows import Row
from sdfkit.training import costs
from sdfkit.training.flow import recipes as flow
from tests.commands.views_store import write_views
from tests.training.balls import CONFIG

SHAPES, VIEWS = 5, 3
ROWS = [Row(index, f"ball_{index}") for index in range(SHAPES)]
ARRAYS = {
    "samples": {"point": ("sample", "xyz"), "distance": ("sample",), "near": ("sample",)},
    "features": {"feature": ("view", "dim"), "camera_to_world": ("view", "to", "from")},
    "codes": {"code": ("dim",)},
}
COMMANDS = {
    "deepsdf": "train-deepsdf samples.zarr --points 32",
    "recon": "train-recon views.zarr --samples samples.zarr --points 32",
    "dit": "train-dit features.zarr --codes codes.zarr",
    "flow": "train-flow views.zarr --rays 24",
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Stores of five balls for all trainings."""
    folder, rng = tmp_path_factory.mktemp("epochs"), np.random.default_rng(0)
    point = rng.uniform(-1, 1, (SHAPES, 400, 3))
    values = {
        "point": point,
        "distance": np.linalg.norm(point, axis=2) - 0.5,
        "near": np.tile(np.arange(400) % 2 == 0, (SHAPES, 1)),
        "feature": rng.normal(size=(SHAPES, VIEWS, 6)),
        "camera_to_world": np.tile(np.eye(4), (SHAPES, VIEWS, 1, 1)),
        "code": rng.normal(size=(SHAPES, 4)),
    }
    for kind, arrays in ARRAYS.items():
        path, attributes = str(folder / f"{kind}.zarr"), {"encoder": {"model": "none"}}
        with create_store(
            path, kind, rows=ROWS, history=[], settings={}, attributes=attributes, overwrite=False
        ) as store:
            for name, axes in arrays.items():
                data = values[name].astype(bool if name == "near" else np.float32)
                store.create_array(name, data=data, axes=("shape", *axes))
            for row in ROWS:
                store.write(row)
    ball = trimesh.creation.icosphere(1, radius=0.5)
    write_views(folder / "views.zarr", [(row, ball) for row in ROWS], views=VIEWS, size=56)
    return folder


@pytest.fixture
def dry_run(sdfkit, stores, monkeypatch):
    """Run a command with --dry-run, without its measurement; the networks are small."""
    config, decoder = flow.NETWORKS["small"]
    config = dataclasses.replace(config, code=8, channels=(4, 4, 4, 4), hidden=16, width=64, blocks=1)
    decoder = dataclasses.replace(decoder, code=8, hidden=16, layers=2, skip=1)
    monkeypatch.setitem(flow.NETWORKS, "small", (config, decoder))
    monkeypatch.setitem(recon.PRESETS, "small", CONFIG)

    def count(training):
        kinds = [costs.StepCost(kind.name, kind.number, [1.0, 1.0]) for kind in training.step_kinds()]
        return costs.TrainingCost(0, kinds, 1.0, 0, None, 0, SHAPES, 0, 0)

    monkeypatch.setattr(costs, "measure_training", count)
    monkeypatch.chdir(stores)
    return lambda command, words: sdfkit(
        *COMMANDS[command].split(), *words.split(), "--device", "cpu", "--dry-run", "--json", "-o", "out.zarr"
    )


@pytest.mark.parametrize(
    ("command", "words", "steps"),
    [
        ("deepsdf", "--epochs 6 --batch 2", 15),
        ("deepsdf", "--epochs 6", 6),  # all five shapes in a step
        ("deepsdf", "--epochs 6 --batch 2 --held-out 0.2", 12),
        ("recon", "--epochs 6 --batch 30", 1),  # drawn with replacement
        ("dit", "--epochs 6 --batch 4", 8),
        ("dit", "--epochs 6 --batch 4 --held-out 0.2", 6),
        ("flow", "--epochs 6 --batch 2", {"encoder": 45, "distil": 2, "joint": 45, "rgb": 45}),
        ("flow", "--epochs 6 --views-per-shape 1", {"encoder": 6, "distil": 1, "joint": 6, "rgb": 6}),
        ("flow", "--steps 6", dict.fromkeys(flow.STAGES, 6)),
    ],
)
def test_an_epoch_uses_each_shape_once(dry_run, command, words, steps):
    done = dry_run(command, words)
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["settings"]["steps"] == steps
    total = sum(steps.values()) if isinstance(steps, dict) else steps
    assert sum(kind["number"] for kind in facts["steps"]) == total


@pytest.mark.parametrize("line", [*COMMANDS.values(), "fit-mlp samples.zarr"])
def test_steps_and_epochs_exclude_each_other(sdfkit, line):
    refused = sdfkit(*line.split(), "--steps", 3, "--epochs", 3, "-o", "out.zarr")
    assert (refused.exit_code, refused.stdout) == (2, "")
    told = "--steps and --epochs both set the length of the training; give only one of them"
    assert refused.stderr == f"sdfkit: {told}\n"
