"""The device and the precision of a command."""

import pytest
import torch

from sdfkit.errors import MissingError
from sdfkit.runtime import device
from sdfkit.runtime.device import choose_device, choose_precision


def test_the_cpu_is_chosen_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("cpu") == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_an_error():
    with pytest.raises(MissingError, match="--device gpu: this machine has no GPU that torch can use"):
        choose_device("gpu")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse avx512f avx512_vnni amx_tile amx_bf16", "bf16"),
        ("fpu sse avx512f avx512_bf16", "bf16"),
        ("fpu sse avx512f avx512_vnni", "fp32"),
    ],
)
def test_auto_uses_bf16_on_a_cpu_with_bf16_units(monkeypatch, tmp_path, flags, expected):
    monkeypatch.setattr(device, "CPU_INFO", tmp_path / "cpuinfo")
    tmp_path.joinpath("cpuinfo").write_text(f"processor\t: 0\nvmx flags\t: ept\nflags\t\t: {flags}\n" * 2)
    assert choose_precision("auto", "cpu") == expected
    assert choose_precision("fp32", "cpu") == "fp32"
    assert choose_precision("bf16", "cpu") == "bf16"


def test_auto_uses_fp32_if_the_cpu_flags_are_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "CPU_INFO", tmp_path / "none")
    assert choose_precision("auto", "cpu") == "fp32"


@pytest.mark.parametrize("able", [True, False])
def test_auto_uses_bf16_on_a_gpu_with_bf16_units(monkeypatch, able):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    assert choose_precision("auto", "cuda:0") == ("bf16" if able else "fp32")
