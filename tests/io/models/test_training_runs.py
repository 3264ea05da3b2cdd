"""Training saves its state, stops and continues at every kind of output, and keeps what it must not replace."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sdfkit.errors import DoneError, InputError
from sdfkit.io.models.training_runs import run_training
from sdfkit.io.models.writer import Group, ModelContents, ModelOutput
from sdfkit.io.reuse import is_longer
from sdfkit.io.stores.reader import open_store
from sdfkit.rows import Row
from sdfkit.runtime import training_loop

ROWS = [Row(0, "a"), Row(1, "b")]


class Counting:
    """A training whose state is the sum of its steps; a chosen step fails."""

    def __init__(self, fails_at=None):
        self.steps_taken, self.total, self.fails_at = 0, 0.0, fails_at
        self.context = SimpleNamespace(process=0, any=bool)

    def step(self):
        if self.steps_taken + 1 == self.fails_at:
            raise KeyboardInterrupt
        self.steps_taken += 1
        self.total += self.steps_taken
        return float(self.steps_taken)

    def state(self):
        return {"taken": np.array([self.steps_taken]), "total": np.array([self.total])}

    def load_state(self, state):
        self.steps_taken, self.total = int(state["taken"][0]), float(state["total"][0])


def train(output, *, fails_at=None, settings=None, overwrite=False, steps=5, may_grow=True):
    training = Counting(fails_at)
    target = ModelOutput(str(output), "deepsdf", ROWS, [], settings or {"lr": 1}, 0, overwrite, may_grow)

    def describe(complete):
        return ModelContents(
            {"code": np.full((2, 3), training.total, "f4")},
            {"decoder": Group({}, {"w": np.ones(2, "f4")})},
            {},
        )

    return run_training(training, steps, target, describe)


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
    with pytest.raises(InputError, match="not complete|differs|is not a Zarr store"):
        total(output)
    assert train(output) == [1, 2, 3, 4, 5]
    assert total(output) == 15
    with pytest.raises(DoneError, match="is complete, and nothing was to be done"):
        train(output)
    with pytest.raises(InputError, match="exists; choose another name or add --overwrite"):
        train(output, settings={"lr": 2})
    assert [path.name for path in tmp_path.iterdir()] in ([], [Path(output).name])


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


@pytest.mark.parametrize("name", ["x.zarr", "x.zarr.zip"])
def test_more_steps_continue_a_complete_run_and_that_is_said(tmp_path, monkeypatch, caplog, name):
    monkeypatch.setattr(training_loop, "MINUTES_BETWEEN_SAVES", -1.0)
    output, longer = str(tmp_path / name), {"settings": {"steps": 7}, "steps": 7}
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
    assert [path.name for path in tmp_path.iterdir()] == [name]
