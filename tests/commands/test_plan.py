"""`sdfkit plan`: stages measured on small meshes, and their extrapolation."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import trimesh

from sdfkit.cli import Terminated
from sdfkit.errors import SdfkitError
from sdfkit.inference import planning
from sdfkit.inference.planning import PlanOptions, choose_sample, measure_stages
from sdfkit.models import deepsdf, dit
from sdfkit.models.recon import network
from sdfkit.report.plan import LARGE, describe_plan, estimate, format_plan
from sdfkit.training import costs
from sdfkit.training.costs import ShapeCost, StageCost
from sdfkit.training.dit.recipes import choose_steps
from tests.training.balls import CONFIG

TOY = (
    "--views", 2, "--size", 56, "--points", 2000, "--resolution", 32, "--mesh-resolution", 32, "--device", "cpu"
)  # fmt: skip
HOUR = 3600.0
STAGES = [
    "watertight", "sample-sdf", "render", "embed", "train-deepsdf", "train-dit", "train-recon", "predict (train-dit)",
    "predict (train-recon)", "mesh",
]  # fmt: skip


@pytest.fixture
def meshes(tmp_path, monkeypatch):
    """Four meshes, and the stages at toy size: tiny networks, few steps."""
    small = deepsdf.PRESETS["small"]
    tiny = dataclasses.replace(small, code=4, hidden=16, layers=2, skip=1)
    monkeypatch.setitem(deepsdf.PRESETS, "small", tiny)
    monkeypatch.setitem(network.PRESETS, "small", CONFIG)
    monkeypatch.setattr(costs, "SECONDS", 0.0)
    monkeypatch.setattr(planning, "FEWEST", 4)
    monkeypatch.setattr(planning, "MOST", 4)
    monkeypatch.setattr(planning, "FITTED_STEPS", 20)
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, mesh in {
        "ball": trimesh.creation.icosphere(2),
        "cube": trimesh.creation.box(),
        "high": trimesh.creation.box([1, 2, 1]),
        "tube": trimesh.creation.annulus(0.3, 0.6, 1.0),
    }.items():
        mesh.export(folder / f"{name}.ply")
    return folder


@pytest.mark.slow
def test_every_stage_is_measured_and_nothing_remains(sdfkit, meshes, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (meshes / "flat.ply").write_bytes(b"ply\nformat ascii 1.0\n")
    words = (*TOY, "--sample", 5, "--model", "efficientnet-lite0", "--shapes", 100, "--json")
    done = sdfkit("plan", meshes, *words)
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["sample"][0] == "flat.ply" and len(facts["sample"]) == 5 and facts["shapes"] == [100, LARGE]
    stages = {stage["name"]: stage for stage in facts["stages"]}
    assert [*stages] == STAGES
    assert "flat.ply" in stages["watertight"]["failed"][0]
    problems = {name: stage["not_measured"] for name, stage in stages.items() if "not_measured" in stage}
    assert problems.keys() <= {"mesh"}, problems  # the toy decoder may have no surface
    samples = stages["sample-sdf"]["estimates"]["100"]
    # Point, distance and near of 2,000 samples, and point and normal of 20,000 on the surface.
    assert samples["bytes"] / 100 == pytest.approx(2000 * 17 + 20_000 * 24, rel=0.2)
    assert samples["files"] / 100 == pytest.approx(5, abs=0.5)
    assert stages["watertight"]["estimates"]["100"]["files"] == 100
    more = [stage["estimates"][str(LARGE)] for name, stage in stages.items() if name not in problems]
    assert all(one["core_hours"] > 0 and one["gpu_hours"] is None for one in more)
    assert not [*(tmp_path / "temporary").glob("sdfkit-plan-*")]


class Program:
    """A program that writes what it is asked for, one file for each input, but for the commands that fail."""

    def __init__(self, *failing):
        self.failing, self.commands = failing, []

    def __call__(self, *words):
        words = [*map(str, words)]
        self.commands.append(words[0])
        if words[0] in self.failing:
            raise SdfkitError(f"{words[0]} fails")
        if "-o" in words:
            output = Path(words[words.index("-o") + 1])
            count = 3 if output.name in ("features.zarr", "codes_3.zarr", "grids_3.zarr", "meshes") else 1
            if output.suffix == ".ply":
                output.write_bytes(b"1234")
            else:
                output.mkdir()
                for index in range(count):
                    (output / f"{index}").write_bytes(b"12345")
        if words[0] == "info":
            return json.dumps({"rows": {"count": 3}, "arrays": [{"shape": [3, 1], "bytes": 3}]})
        return json.dumps({"memory": 7, "shape_state": 0})


def measure(program, folder, without=None):
    sample = [folder / f"{index}.obj" for index in range(3)]
    for path in sample:
        path.touch()
    (folder / "work").mkdir()
    options = PlanOptions(2, 56, 100, 32, 32, None, "small", None, without, "cpu", "y")
    found = measure_stages(program, sample, folder / "work", options, total=9, is_on_gpu=True)
    return {stage.name: stage for stage in found}


def test_the_costs_of_one_more_shape_are_those_beyond_the_first(tmp_path):
    stages = measure(Program(), tmp_path)
    assert [*stages] == STAGES and not any(stage.problem for stage in stages.values())
    embed = stages["embed"]
    assert (embed.shapes[0].bytes, embed.shared, embed.files, embed.shared_files) == (5, 0, 1, 0)
    assert [one.bytes for one in stages["watertight"].shapes] == [4, 4, 4]
    model = stages["train-recon"]
    assert (model.training["shape_bytes"], model.shared, model.shared_files, model.memory) == (1, 2, 1, 7)
    on_gpu = {name for name, stage in stages.items() if stage.is_on_gpu}
    assert on_gpu == {*STAGES} - {"watertight", "sample-sdf", "render"}


@pytest.mark.parametrize(
    ("failing", "lost"),
    [
        ("embed", {"embed"}),
        ("watertight", {"watertight", "sample-sdf", "render"}),
        ("train-dit", {"train-dit"}),
    ],
)
def test_a_stage_that_fails_does_not_stop_the_others(tmp_path, failing, lost):
    stages = measure(Program(failing), tmp_path)
    assert [*stages] == STAGES
    assert lost <= {name for name, stage in stages.items() if stage.problem}
    assert stages[failing].problem.startswith(f"{failing} fails")


@pytest.mark.parametrize(("signal", "status"), [(KeyboardInterrupt(), 130), (Terminated(15), 143)])
def test_a_signal_ends_the_plan(sdfkit, meshes, monkeypatch, signal, status):
    started = []

    def stop(*_, **__):
        started.append(1)
        raise signal

    monkeypatch.setattr("sdfkit.io.meshes.writer.create_meshes", stop)
    done = sdfkit("plan", meshes, *TOY)
    assert (done.exit_code, done.stdout, len(started)) == (status, "", 1)


def test_inputs_without_a_choice_are_refused(sdfkit, meshes):
    for words, told in (
        ((meshes / "ball.ply",), "ball.ply: has fewer than two meshes; a plan needs more"),
        (("-",), "standard input: has no file sizes to choose a sample by; give mesh files or folders"),
    ):
        done = sdfkit("plan", *words)
        assert (done.exit_code, done.stdout) == (3, "") and done.stderr.rstrip().endswith(told)


def test_a_sample_has_small_and_large_files(tmp_path):
    paths = []
    for index in np.random.default_rng(0).permutation(40).tolist():
        paths.append(tmp_path / f"{index}.ply")
        paths[-1].write_bytes(b" " * (index + 1))
    for seed in range(5):
        chosen = choose_sample([*map(str, paths)], 4, np.random.default_rng(seed))
        groups = [int(name.rpartition("/")[2].removesuffix(".ply")) // 10 for name in chosen]
        assert groups == [0, 1, 2, 3]
    assert len(choose_sample([*map(str, paths)], 99, np.random.default_rng(0))) == 40


def test_a_stage_is_multiplied_and_its_error_is_that_of_the_mean():
    shapes = [ShapeCost(10.0, work, 1000.0) for work in (1.0, 2.0, 3.0)]
    stage = StageCost("render", shapes, shared=500.0, files=2.0, shared_files=7.0, memory=99)
    found = estimate(stage, 3600, 1000, 0)
    assert (found.bytes, found.files, found.core_hours, found.memory) == (3_600_500, 7207, 2.0, 99)
    assert found.error == pytest.approx(1 / math.sqrt(3)) and found.gpu_hours is None
    assert estimate(stage._replace(is_on_gpu=True), 3600, 1000, 0).gpu_hours == 10.0
    assert estimate(stage._replace(shapes=shapes[:1]), 3600, 1000, 0).error is None


def test_a_training_is_not_multiplied_but_for_the_steps_of_the_denoiser():
    facts = {
        "settings": {"preset": "small", "steps": choose_steps("small", 6, None, steps=None, epochs=None)},
        "seconds": HOUR, "error": 36.0, "cores": 2.0, "memory": 1000, "shapes": 6, "shape_memory": 10,
        "shape_bytes": 100.0, "epochs": None,
    }  # fmt: skip
    stage = StageCost("train-deepsdf", (), 5000.0, 0, 30, 1000, facts)
    found = estimate(stage, 106, 20, free=1 << 40)
    assert (found.bytes, found.files, found.core_hours, found.error) == (15_600, 30, 2.0, 0.02)
    assert found.memory == 1000 + 100 * 10 + 100 * 20 * 16
    assert estimate(stage, 106, 20, free=1000).memory == 1000 + 100 * 10 + 500
    ratio = choose_steps("small", LARGE, None, steps=None, epochs=None) / facts["settings"]["steps"]
    assert ratio > 100
    denoiser = stage._replace(name="train-dit", is_on_gpu=True)
    assert estimate(denoiser, LARGE, 20, 0).gpu_hours == pytest.approx(ratio)


def test_the_steps_of_epochs_grow_with_the_shapes():
    facts = {
        "settings": {"shapes": 4, "steps": 9}, "seconds": 9 * HOUR, "error": 36.0, "cores": 2.0, "memory": 1000,
        "shapes": 6, "shape_memory": 10, "shape_bytes": 100.0, "epochs": 6,
    }  # fmt: skip
    stage = StageCost("train-deepsdf", (), 5000.0, 0, 30, 1000, facts)
    for shapes, steps in ((1000, 1500), (3, 6)):
        found = estimate(stage, shapes, 20, 0)
        assert (found.steps, found.core_hours) == (steps, 2.0 * steps)
    lines = format_plan(describe_plan([stage], ["a"], 1000, 100, 0)).splitlines()
    assert next(line.split() for line in lines if line.startswith("train-deepsdf"))[4:6] == ["1,500", "3e+03"]


def test_models_that_are_not_trained_are_left_out(tmp_path):
    stages = measure(Program(), tmp_path, without="train-recon")
    assert [*stages] == [name for name in STAGES if "train-recon" not in name]


def test_the_text_has_the_sums_and_says_what_is_unknown():
    stages = [
        StageCost("watertight", [ShapeCost(1.0, HOUR, 1e6)] * 2, files=1),
        StageCost("embed", problem="no such encoder"),
        StageCost("render", [ShapeCost(1.0, HOUR, 3e6)], files=2, failed=["a.ply: no faces"]),
    ]
    text = format_plan(describe_plan(stages, ["a", "b"], 10, 100, 0))
    assert "10 shapes, computed" in text and "500,000 shapes, computed" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["watertight", "10", "MB", "10", "10", "±", "0", "not", "measured", "0", "B"] in rows
    assert ["all", "40", "MB", "30", "20"] in rows
    assert "not measured\nembed  no such encoder\n" in text
    assert "failed, and not counted\nrender  a.ply: no faces\n" in text


def test_presets_exist():
    for names in planning.PRESETS.values():
        for name, known in zip(names, (deepsdf.PRESETS, dit.PRESETS, network.PRESETS), strict=True):
            assert name in known


@pytest.mark.parametrize(("one", "all_", "each"), [(2.0, 8.0, 3.0), (5.0, 4.5, 1.5)])
def test_a_stage_never_costs_nothing(monkeypatch, one, all_, each):
    """The cost of each of three shapes: the difference, or a third of all where one took longer than all."""
    trials = iter([one, one, all_])
    monkeypatch.setattr(planning, "_try", lambda *_: planning.Trial(ShapeCost(*[next(trials)] * 3), 1, 0))
    cost = planning._measure_pair(None, (), (Path("a"), Path("b")), (Path("c"), Path("d")), 3)
    assert cost.shapes[0].seconds == each
