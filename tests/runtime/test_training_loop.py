"""The device of a training run, and the refusal of pipes for several processes."""

import pytest

from sdfkit.errors import UsageError
from sdfkit.runtime.training_loop import open_training_context
from sdfkit.training.run import DeviceContext


def test_device_and_precision_are_those_requested():
    context = open_training_context("cpu", "bf16", ("-", None, "model.zarr"))
    assert (context.device.type, context.precision, context.processes) == ("cpu", "bf16", 1)


def test_several_processes_need_stores_that_are_not_piped(monkeypatch):
    monkeypatch.setattr(DeviceContext, "processes", 2)
    assert open_training_context("cpu", "fp32", ("samples.zarr", "model.zarr")).processes == 2
    with pytest.raises(
        UsageError, match="^several processes cannot share a pipe; give paths of stores for input and output$"
    ):
        open_training_context("cpu", "fp32", ("samples.zarr", "-"))
