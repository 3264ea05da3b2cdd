"""Where a command computes, and how precisely."""

import pytest
import torch

from sdfkit.errors import MissingError
from sdfkit.runtime.device import choose_device, choose_precision


def test_the_cpu_is_what_is_left(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("cpu") == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there():
    with pytest.raises(MissingError, match="--device gpu: this machine has no GPU that torch can use"):
        choose_device("gpu")


@pytest.mark.parametrize("able", [True, False])
def test_auto_takes_bf16_where_the_hardware_has_it(monkeypatch, able):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: able)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    expected = "bf16" if able else "fp32"
    assert choose_precision("auto", "cpu") == expected
    assert choose_precision("auto", "cuda:0") == expected
    assert choose_precision("fp32", "cpu") == "fp32"
    assert choose_precision("bf16", "cpu") == "bf16"
