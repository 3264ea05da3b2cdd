"""What a training takes: its steps by kind, from a few of them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sdfkit.errors import UsageError
from sdfkit.training import costs
from sdfkit.training.costs import StepCost, TrainingCost, measure_training
from sdfkit.training.run import StepKind


class Recorded:
    """A training of 3 shapes that records which steps it takes."""

    def __init__(self, processes=1):
        self.context = SimpleNamespace(processes=processes, device=torch.device("cpu"))
        self.uids = ["a", "b", "c"]
        self.parameters = {"w": torch.zeros(4, 5), "code": torch.zeros(3, 2)}
        self.views = (torch.zeros(3, 10, dtype=torch.uint8), np.zeros((3, 2), np.float16))
        self.steps_taken, self.taken = 0, []

    def step_kinds(self):
        return [StepKind("plain", range(9), 990), StepKind("tenth", range(9, 1000, 10), 100)]

    def step(self):
        self.taken.append(self.steps_taken)
        self.steps_taken += 1
        return 1.0

    def state(self):
        return {"w": np.zeros(20, np.float32), "code": np.zeros((3, 2), np.float32)}


def test_steps_of_each_kind_are_measured_after_one_that_does_not_count(monkeypatch):
    monkeypatch.setattr(costs, "SECONDS", 0.0)
    training = Recorded()
    cost = measure_training(training)
    assert training.taken == [0, 1, 2, 3, 9, 19, 29, 39]
    assert [(kind.name, kind.number, len(kind.seconds)) for kind in cost.steps] == [
        ("plain", 990, 3), ("tenth", 100, 3)
    ]  # fmt: skip
    assert (cost.parameters, cost.state, cost.shapes, cost.gpu_memory) == (26, 104, 3, None)
    assert (cost.shape_state, cost.shape_memory) == (2 * 4, 2 * 4 + 10 + 4)
    assert cost.memory > 10_000_000


def test_the_time_is_the_sum_over_kinds_and_its_error_that_of_independent_means():
    kinds = [StepCost("a", 10, [1.0, 2.0, 3.0]), StepCost("b", 100, [0.5, 0.5, 0.5])]
    cost = TrainingCost(0, kinds, 1.0, 0, None, 0, 1, 0, 0)
    assert cost.seconds == 70
    assert cost.error == pytest.approx(10 / 3**0.5)


def test_several_processes_are_refused():
    with pytest.raises(UsageError, match="^--dry-run measures one process; start it without torchrun$"):
        measure_training(Recorded(processes=2))
