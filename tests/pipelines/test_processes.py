"""Training in two processes, started by torchrun, compared with training in one."""

import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import zarr

from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.io.models.training_state import read_state
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row
from tests.pipelines.tiny_runs import Run, take
from tests.training.balls import CENTRES, RADII, UIDS, arrays_of, samples_of

pytestmark = pytest.mark.slow

STEPS, STOP = 6, 3
CPU = ("--device", "cpu")
FEW = ("--batch", 3, "--seed", 4, "--precision", "fp32", *CPU)
BETWEEN = ("--interpolation", 0.5)
TRAININGS = {
    "train-deepsdf": ("samples", "--steps", STEPS, "--points", 64, "--latent-noise", 0.1, *BETWEEN, *FEW),
    # Some steps have a single shape, so that a process has none.
    "train-deepsdf, one": ("samples", "--steps", STEPS, "--points", 64, *BETWEEN, *FEW, "--batch", 1),
    "train-ae": ("weights", "--epochs", 10, "--loss", "field", "--samples", "samples", "--points", 64, *FEW),
    "train-dit": ("features", "--codes", "codes", "--steps", STEPS, *FEW),
    "train-flow": ("views", "--steps", 2, "--rays", 16, *FEW, "--batch", 1),
    "train-recon": ("views", "--samples", "samples", "--steps", STEPS, "--points", 64, *FEW),
}
FIT = ("samples", "--steps", 20, "--points", 32, "--batch", 2, *CPU)


def write(folder, kind, rows, arrays):
    with create_store(
        str(folder / f"{kind}.zarr"), kind, rows=rows, history=[], settings={}, overwrite=False
    ) as store:
        for name, (values, axes) in arrays.items():
            shape = (len(rows), *values[0].shape)
            store.create_array(name, shape=shape, dtype=values[0].dtype, axes=("shape", *axes))
        for row in rows:
            own = {} if row.error else {name: values[row.index] for name, (values, _) in arrays.items()}
            store.write(row, **own)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Samples, views, codes and features of balls; the samples of one failed."""
    folder, rng, count = tmp_path_factory.mktemp("processes"), np.random.default_rng(0), len(UIDS)
    rows = [Row(index, uid) for index, uid in enumerate(UIDS)]
    lost = [*rows, Row(count, "lost", error="has no faces")]
    known = [samples_of(centre, radius, 600) for centre, radius in zip(CENTRES, RADII, strict=True)]
    cameras = fibonacci_cameras(3, 2.5)
    seen = [arrays_of(centre, radius, cameras, 56) for centre, radius in zip(CENTRES, RADII, strict=True)]
    axes = {
        "rgb": ("view", "row", "column", "channel"), "mask": ("view", "row", "column"),
        "camera_to_world": ("view", "to", "from"), "yfov": ("view",),
    }  # fmt: skip
    write(folder, "samples", lost, {
        "point": ([one.points for one in known], ("sample", "xyz")),
        "distance": ([one.distances for one in known], ("sample",)),
        "near": ([one.near for one in known], ("sample",)),
    })  # fmt: skip
    write(folder, "views", rows, {name: ([one[name] for one in seen], axes[name]) for name in axes})
    write(folder, "codes", rows, {"code": (rng.normal(size=(count, 8)).astype("f4"), ("dim",))})
    write(folder, "features", rows, {
        "feature": (rng.normal(size=(count, 3, 6)).astype("f4"), ("view", "dim")),
        "camera_to_world": (np.tile(np.eye(4, dtype="f4"), (count, 3, 1, 1)), axes["camera_to_world"]),
    })  # fmt: skip
    return folder


def line(folder, name, options, output):
    """Return a command line, with the stores of the folder in place of their kinds."""
    stores = ("samples", "weights", "codes", "features", "views")
    words = [str(folder / f"{word}.zarr") if word in stores else str(word) for word in options]
    return [name.partition(",")[0], *words, "-o", str(output)]


@pytest.fixture(scope="module")
def outcome(folder):
    """All trainings in one process, and in two that the same torchrun starts; what the two print."""
    fit = line(folder, "fit-mlp", FIT, folder / "weights.zarr")
    assert take(Run(fit)) == 4
    runs = [Run(line(folder, "fit-mlp", FIT, folder / "two weights.zarr")), Run(fit)]
    for name, options in TRAININGS.items():
        assert take(Run(line(folder, name, options, folder / f"{name} whole.zarr"))) == 0
        first, last = (
            line(folder, name, options, folder / f"{name} {end}.zarr") for end in ("first", "last")
        )
        assert take(Run(first, stops_after=STOP)) == 143
        runs += [Run(first), Run(last, stops_after=STOP)]
    runs.append(
        Run(line(folder, "train-deepsdf", TRAININGS["train-deepsdf"], folder / "dies.zarr"), dies_after=4)
    )
    (folder / "runs.json").write_text(json.dumps(runs))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, "-m", "tests.pipelines.tiny_runs", folder / "runs.json"], capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=900,
    )  # fmt: skip


def test_two_processes_fit_the_networks_of_one(folder, outcome):
    one, two = (zarr.open_group(folder / name, mode="r") for name in ("weights.zarr", "two weights.zarr"))
    assert one["valid"][:].tolist() == two["valid"][:].tolist() == [True] * len(UIDS) + [False]
    assert two["error"][-1] == "has no faces"
    for name in ("weights", "loss", "anchor/weights"):
        assert np.allclose(one[name][:], two[name][:], atol=1e-5), name


@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_train_as_one_and_continue_each_other(folder, outcome, name):
    assert take(Run(line(folder, name, TRAININGS[name], folder / f"{name} last.zarr"))) == 0
    whole, *others = (
        zarr.open_group(folder / f"{name} {end}.zarr", mode="r") for end in ("whole", "first", "last")
    )
    for other in others:
        assert len(other["loss"][:]) == len(whole["loss"][:]) > STOP
        assert np.allclose(whole["loss"][:], other["loss"][:], rtol=1e-3, atol=1e-4)
    states = []
    for end in ("whole", "first", "last"):
        with open_store(str(folder / f"{name} {end}.zarr"), manifest=None) as store:
            states.append(read_state(store))
    for key in states[0]:
        assert states[0][key].shape == states[1][key].shape == states[2][key].shape, key


def test_only_the_first_process_prints(outcome):
    told = Counter(line for line in outcome.stderr.splitlines() if line.startswith("sdfkit: "))
    assert told[f"sdfkit: stopped after step {STOP}; run the same command again to continue"] == len(
        TRAININGS
    )
    assert sum(count for text, count in told.items() if text.startswith("sdfkit: wrote")) == len(TRAININGS)
    assert sum(count for text, count in told.items() if "1 of 6 shapes failed" in text) == 2
    found = {
        (int(run), process): status for run, process, status in map(str.split, outcome.stdout.splitlines())
    }
    for run in (0, 1):
        assert (found[run, "0"], found[run, "1"]) == ("4", "0")
    for run in range(2, 2 + 2 * len(TRAININGS)):
        assert found[run, "0"] == found[run, "1"] == ("143" if run % 2 else "0")


def test_a_process_that_dies_ends_the_others_and_leaves_the_last_state(folder, outcome):
    assert outcome.returncode != 0
    path = folder / "dies.zarr"
    (line_,) = [
        line for line in outcome.stderr.splitlines() if str(path) in line and "another process" in line
    ]
    assert line_.startswith(f"sdfkit: {path}: another process of this run has ended (")
    assert line_.endswith("); the same command continues from its last saved state")
    assert take(Run(line(folder, "train-deepsdf", TRAININGS["train-deepsdf"], path))) == 0
    whole = zarr.open_group(folder / "train-deepsdf whole.zarr", mode="r")["loss"][:]
    assert np.allclose(whole, zarr.open_group(path, mode="r")["loss"][:], rtol=1e-3, atol=1e-4)
