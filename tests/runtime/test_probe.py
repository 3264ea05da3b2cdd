"""Tests of the machine that run in separate processes: every outcome is reported."""

import ctypes.util
import json
import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sdfkit.runtime import probe


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Put a library of the given name and source before the real one, in the started processes."""

    def make(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return make


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("raise ImportError('libcudart.so: not there\\n\\nSee elsewhere.')", "ImportError: libcudart.so: not there"),
        ("import os\nos.kill(os.getpid(), 4)", f"its process died: {signal.strsignal(4)}"),
        ("import os\nos._exit(3)", "exit status 3"),
        ("import time\ntime.sleep(60)", "no answer in 1 s"),
    ],
)  # fmt: skip
def test_a_library_that_cannot_be_imported_is_reported(library, monkeypatch, source, fault):
    library("numba", source)
    monkeypatch.setitem(probe.TIMEOUTS, "kernels", 1.0 if "sleep" in source else 60.0)
    assert probe._try("kernels") == {"fault": fault}


def test_the_last_exception_of_a_chain_is_reported(library):
    library(
        "torch", "try:\n  1 / 0\nexcept ZeroDivisionError as error:\n  raise OSError('no disk') from error"
    )
    assert probe._try("torch") == {"fault": "OSError: no disk"}


def test_output_printed_by_libraries_is_ignored(library):
    library("pyrender", """
import atexit, sys, types
print("loading", end="")
atexit.register(print, "bye")
class OffscreenRenderer:
    def __init__(self, width, height):
        pass
gl = types.ModuleType("OpenGL.GL")
gl.GL_RENDERER, gl.glGetString = 1, lambda name: b"Fine Card"
sys.modules["OpenGL"], sys.modules["OpenGL.GL"] = types.ModuleType("OpenGL"), gl
import ctypes.util
""")  # fmt: skip
    if ctypes.util.find_library("EGL") is None or ctypes.util.find_library("GL") is None:
        pytest.skip("needs the libraries of EGL")
    assert probe._try("egl") == {"driver": "Fine Card"}


def test_a_process_that_cannot_be_started_is_reported(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert probe._try("hub") == {"fault": "no process can be started: No such file or directory"}


def test_missing_driver_libraries_are_named(monkeypatch):
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    assert probe.try_egl() == {"missing": ["libEGL", "libGL"]}
    assert probe.try_osmesa() == {"missing": ["libOSMesa"]}


def test_an_unreachable_hub_is_reported(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr("sdfkit.images.encoding.features.getproxies", dict)
    found = probe.try_hub()
    assert found.pop("silent").startswith("hub.invalid does not answer (")
    assert found == {"hub": "https://hub.invalid", "offline": False, "proxy": False}
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert probe.try_hub() == {"hub": "https://hub.invalid", "offline": True, "proxy": False}


def test_the_torch_test_reports_automatic_choices_and_complete_encoders(tmp_path, monkeypatch):
    from huggingface_hub import constants

    from sdfkit.runtime.device import choose_device, choose_precision

    for name, files in {
        "facebook--dinov2-base": ("preprocessor_config.json", "model.safetensors"),
        "google--vit": ("preprocessor_config.json", "pytorch_model.bin"),
        "half--downloaded": ("preprocessor_config.json",),
        "meta--a-language-model": ("model.safetensors",),
    }.items():
        folder = tmp_path / f"models--{name}/snapshots/0123abcd"
        folder.mkdir(parents=True)
        for file in files:
            (folder / file).touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = probe.try_torch()
    json.dumps(found)
    assert found["encoders"] == ["facebook/dinov2-base", "google/vit"]
    assert found["device"] == choose_device("auto")
    assert found["precision"] == choose_precision("auto", found["device"])


def test_the_kernels_test_reports_the_cache_folder():
    found = probe.try_kernels()
    assert list(Path(found["cache"]).glob("distance_kernels.build-*.nbi"))


@pytest.mark.slow
def test_slow_tests_are_named_while_waiting(monkeypatch, caplog):
    named = threading.Event()
    monkeypatch.setattr(
        probe, "_try", lambda name: {} if name != "hub" or named.wait(60) else {"fault": name}
    )
    monkeypatch.setattr(probe, "NOTICE_AFTER", 2.0)  # long enough for the others, however busy the machine is
    caplog.handler.addFilter(lambda record: named.set() or True)
    with caplog.at_level(logging.INFO, "sdfkit.runtime.probe"):
        assert probe.try_all() == {name: {} for name in probe.TIMEOUTS}
    assert caplog.messages == ["still waiting for the tests of hub ..."]


@pytest.mark.slow
def test_a_file_named_torch_in_the_current_folder_is_ignored(tmp_path):
    (tmp_path / "huggingface_hub.py").write_text("raise ImportError('mine')")
    code = "from sdfkit.runtime import probe; print(probe._try('hub'))"
    command = [sys.executable, "-P", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "mine" not in result.stdout and "offline" in result.stdout
