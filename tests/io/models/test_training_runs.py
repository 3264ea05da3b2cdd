"""Training saves its state, stops and continues at every kind of output, and keeps what it must not replace."""

import csv
import io
import re
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sdfkit.errors import DoneError, InputError, MissingError
from sdfkit.io.models.training_runs import run_training
from sdfkit.io.models.writer import Group, ModelContents, ModelOutput
from sdfkit.io.reuse import is_longer
from sdfkit.io.stores.reader import open_store
from sdfkit.options import Watch
from sdfkit.report.description import describe_inputs, format_store
from sdfkit.rows import Row
from sdfkit.runtime import training_loop
from sdfkit.training.run import open_device_context

ROWS = [Row(0, "a"), Row(1, "b")]


class Counting:
    """A training whose state is the sum of its steps; a chosen step fails."""

    lr = 0.25

    def __init__(self, fails_at=None):
        self.steps_taken, self.total, self.fails_at = 0, 0.0, fails_at
        self.context = open_device_context("cpu", "fp32")

    def step(self):
        if self.steps_taken + 1 == self.fails_at:
            raise KeyboardInterrupt
        self.steps_taken += 1
        self.total += self.steps_taken
        return float(self.steps_taken)

    def facts(self):
        return {"stage": "first", "best constant": 7.0}

    def state(self):
        return {"taken": np.array([self.steps_taken]), "total": np.array([self.total])}

    def load_state(self, state):
        self.steps_taken, self.total = int(state["taken"][0]), float(state["total"][0])


def train(
    output,
    *,
    fails_at=None,
    settings=None,
    overwrite=False,
    steps=5,
    may_grow=True,
    watch=Watch(),
    plot=lambda _: None,
):
    training = Counting(fails_at)
    target = ModelOutput(str(output), "deepsdf", ROWS, [], settings or {"lr": 1}, 0, overwrite, may_grow)

    def describe(complete):
        return ModelContents(
            {"code": np.full((2, 3), training.total, "f4")},
            {"decoder": Group({}, {"w": np.ones(2, "f4")})},
            {},
        )

    return run_training(training, steps, target, describe, watch, plot)


def total(output):
    with open_store(str(output), "deepsdf", manifest=None) as store:
        return float(store.read("code")[0, 0])


@pytest.fixture(params=["x.zarr", "x.zarr.zip", "file", "memory"])
def output(request, tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "MINUTES_BETWEEN_SAVES", -1.0)
    if request.param == "memory":
        return f"memory://{tmp_path.name}/x.zarr"
    return f"file://{tmp_path}/x.zarr" if request.param == "file" else str(tmp_path / request.param)


def test_a_run_saves_repeatedly_and_continues(output, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(output, fails_at=4)
    with pytest.raises((InputError, FileNotFoundError), match="not complete|differs|No such file"):
        total(output)
    assert train(output) == [1, 2, 3, 4, 5]
    assert total(output) == 15
    with pytest.raises(DoneError, match="is complete, and nothing was to be done"):
        train(output)
    with pytest.raises(InputError, match="exists; choose another name or add --overwrite"):
        train(output, settings={"lr": 2})
    assert [path.name for path in tmp_path.iterdir()] in ([], [Path(output).name])


def test_a_checkpoint_says_how_far_the_run_is_and_the_model_does_not(output):
    with pytest.raises(KeyboardInterrupt):
        train(output, fails_at=4)
    if "://" not in output:
        (facts,) = describe_inputs([output], None)
        training = facts["training"]
        assert (training["step"], training["steps"], training["steps_per_second"] > 0) == (3, 5, True)
        assert training["loss"] == [(1, 1.0), (2, 2.0), (3, 3.0)]
        assert datetime.fromisoformat(training["saved"]).tzinfo is not None
        assert "\n\nstep 3 of 5, " in format_store(facts) and " left; saved 20" in format_store(facts)
    train(output)
    with open_store(output, "deepsdf", manifest=None) as store:
        assert "progress" not in store.attributes


def test_an_old_model_stays_until_the_new_one_is_trained(output, tmp_path):
    train(output)
    other = {"settings": {"lr": 2}, "overwrite": True}
    with pytest.raises(KeyboardInterrupt):
        train(output, fails_at=3, **other)
    assert total(output) == 15
    assert train(output, **other) == [1, 2, 3, 4, 5]
    with open_store(str(output), manifest=None) as store:
        assert store.attributes["settings"] == {"lr": 2}
    assert [path.name for path in tmp_path.iterdir()] in ([], [Path(output).name])


@pytest.mark.parametrize(
    ("shorter", "longer", "is_so"),
    [
        ({"steps": 5}, {"steps": 7}, True),
        ({"steps": 5, "epochs": 1.5}, {"steps": 7, "epochs": 2.0}, True),
        ({"steps": 5}, {"steps": 7, "epochs": 2.0}, True),
        ({"epochs": 5}, {"epochs": 7}, True),
        ({"steps": {"encoder": 5, "rgb": 5}}, {"steps": {"encoder": 7, "rgb": 7}}, True),
        ({"steps": {"encoder": 5, "rgb": 5}}, {"steps": {"encoder": 7, "rgb": 3}}, False),
        ({"steps": 5, "lr": 1}, {"steps": 7, "lr": 2}, False),
        ({"steps": 5, "lr": 1}, {"steps": 7}, False),
        ({"steps": 9}, {"steps": 7}, False),
        ({"steps": 7}, {"steps": 7}, False),
        ({"lr": 1}, {"lr": 2}, False),
    ],
)
def test_only_the_length_of_a_longer_run_differs(shorter, longer, is_so):
    assert is_longer(shorter, longer) == is_so


def test_more_steps_continue_a_complete_run_and_that_is_said(output, tmp_path, caplog):
    longer = {"settings": {"steps": 7}, "steps": 7}
    train(output, settings={"steps": 5})
    with pytest.raises(InputError, match="it was made in another way: steps: 5 then, 7 now"):
        train(output, **longer, may_grow=False)
    with pytest.raises(KeyboardInterrupt):
        train(output, **longer, fails_at=7)
    assert total(output) == 15, "the shorter run's model stays until the longer one is complete"
    assert "training on after its 5 steps; the learning rate, which had fallen to 0, is again" in caplog.text
    assert train(output, **longer) == [1, 2, 3, 4, 5, 6, 7]
    assert total(output) == 28
    with pytest.raises(DoneError):
        train(output, **longer)
    with pytest.raises(InputError, match="it was made in another way: steps: 7 then, 5 now"):
        train(output, settings={"steps": 5})
    assert [path.name for path in tmp_path.iterdir()] in ([], [Path(output).name])


def test_the_first_save_comes_early(tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "SECONDS_TO_FIRST_SAVE", -1.0)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "x.zarr", fails_at=4)
    with open_store(str(tmp_path / "x.zarr"), manifest=None, partial=True) as store:
        assert store.read("loss").tolist() == [1]


def table(path):
    with path.open(newline="") as stream:
        return [*csv.DictReader(stream)]


def test_a_table_has_each_step_once_whatever_stopped_the_run(output, tmp_path):
    log = tmp_path / "logs" / "log.csv"
    log.parent.mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(output, fails_at=4, watch=Watch(log=log))
    with log.open("a") as stream:
        stream.write("4,9,9,9,9\n5,9")  # steps after the last save, the last row cut off
    before = table(log)[2]
    train(output, watch=Watch(log=log))
    rows = table(log)
    assert [(row["step"], row["loss"], row["learning_rate"]) for row in rows] == [
        (str(step), str(step), "0.25") for step in range(1, 6)
    ]
    assert rows[2] == before
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)


def test_a_table_that_begins_late_has_the_losses_of_the_steps_before(output, tmp_path):
    log = tmp_path / "log.csv"
    with pytest.raises(KeyboardInterrupt):
        train(output, fails_at=4)
    for _ in range(2):  # the second time, rows without a rate and seconds are read
        with pytest.raises(KeyboardInterrupt):
            train(output, fails_at=5, watch=Watch(log=log))
    train(output, watch=Watch(log=log))
    rows = table(log)
    assert [(row["step"], row["loss"]) for row in rows] == [(str(step), str(step)) for step in range(1, 6)]
    assert [row["learning_rate"] for row in rows] == ["", "", "", "0.25", "0.25"]


def test_the_plot_is_whole_before_the_model_is(output, tmp_path):
    watch = Watch(curve=tmp_path / "loss.png")

    def fail(losses):
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        train(output, watch=watch, plot=fail)
    watch.curve.touch()  # by a run that was killed
    drawn = []
    train(output, watch=watch, plot=drawn.append)
    assert drawn == [[1, 2, 3, 4, 5]] and total(output) == 15
    with pytest.raises(DoneError):
        train(output, watch=watch)


def test_the_plot_of_another_run_is_refused_before_the_training(tmp_path):
    watch = Watch(curve=tmp_path / "loss.png")
    watch.curve.touch()
    for output in (tmp_path / "x.zarr", "-"):
        with pytest.raises(InputError, match="loss.png: exists"):
            train(output, watch=watch, fails_at=1)


def test_a_table_of_another_run_is_not_overwritten(tmp_path):
    log, others = tmp_path / "log.csv", tmp_path / "others.csv"
    train(tmp_path / "x.zarr", watch=Watch(log=log))
    for path in (tmp_path / "y.zarr", "-"):
        with pytest.raises(
            InputError, match="log.csv: exists, and is not of this run; choose another name or"
        ):
            train(path, watch=Watch(log=log))
    assert len(table(log)) == 5 and not (tmp_path / "y.zarr").exists()
    train(tmp_path / "x.zarr", settings={"lr": 2}, overwrite=True, watch=Watch(log=log))
    assert len(table(log)) == 5
    with pytest.raises(InputError, match="none: no such folder; make it first"):
        train(tmp_path / "y.zarr", watch=Watch(log=tmp_path / "none" / "log.csv"))
    others.write_text("a,b\n1,2\n")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training_loop, "MINUTES_BETWEEN_SAVES", -1.0)
        train(tmp_path / "y.zarr", fails_at=3)
    with pytest.raises(InputError, match="others.csv: is no log of a training; choose another name"):
        train(tmp_path / "y.zarr", watch=Watch(log=others))
    assert others.read_text() == "a,b\n1,2\n"


@pytest.mark.slow
def test_tensorboard_shows_each_step_once(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing import event_accumulator

    monkeypatch.setattr(training_loop, "MINUTES_BETWEEN_SAVES", -1.0)
    watch = Watch(tensorboard=tmp_path / "events")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "x.zarr", fails_at=4, watch=watch)
    train(tmp_path / "x.zarr", watch=watch)
    events = event_accumulator.EventAccumulator(str(watch.tensorboard))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(n, n) for n in range(1, 6)]
    assert {event.value for event in events.Scalars("learning_rate")} == {0.25}
    with pytest.raises(InputError, match="events: holds events of another run; choose another folder or add"):
        train(tmp_path / "y.zarr", watch=watch)


def test_tensorboard_that_is_not_installed_or_not_a_folder_is_reported(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    watch = Watch(tensorboard=tmp_path / "file")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=None))
    with pytest.raises(InputError, match="file: is no folder; choose another name"):
        train(tmp_path / "x.zarr", watch=watch)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingError, match=r"not installed; pip install 'sdfkit\[tensorboard\]'"):
        train(tmp_path / "x.zarr", watch=watch)
    assert not (tmp_path / "x.zarr").exists()


def test_a_line_tells_the_loss_beside_its_baseline_without_a_terminal(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(training_loop, "SECONDS_TO_FIRST_LINE", 0.0)
    with caplog.at_level("INFO", logger="sdfkit"):
        train(tmp_path / "x.zarr")
    (line,) = [text for text in caplog.messages if text.startswith("step ")]
    assert re.fullmatch(
        r"step 1 / 5, loss 1, stage first, best constant 7, \S+ (steps/s|s/step), \S+ s left", line
    )
    caplog.clear()
    with caplog.at_level("WARNING", logger="sdfkit"):
        train(tmp_path / "y.zarr")
    assert not caplog.messages


def test_the_bar_of_a_terminal_shows_the_loss_unless_it_is_silenced(tmp_path, caplog, monkeypatch):
    for level, shown in (("INFO", True), ("WARNING", False)):
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        monkeypatch.setattr(sys, "stderr", terminal)
        with caplog.at_level(level, logger="sdfkit"):
            train(tmp_path / f"{level}.zarr")
        assert ("loss 1, stage first" in terminal.getvalue()) == shown
