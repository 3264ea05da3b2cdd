"""Compilation in the first run on a machine: messages and cache. Each run has its own process and cache folder."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import trimesh

from sdfkit.runtime import compiling

KERNELS = """
from numba import njit

@njit("int64(int64)", cache=True)
def double(x):
    return 2 * x

@njit(cache=True)
def quadruple(x):
    return double(double(x))
"""
SCRIPT = """
import sys
from sdfkit.runtime import compiling
compiling._can_cache = {can_cache}
with compiling.managed_compilation(lambda text: print(text, flush=True)):
    import kernels_of_a_test
    assert kernels_of_a_test.quadruple(3) == 12
import os, numba
print(os.environ.get("NUMBA_CACHE_DIR"), file=sys.stderr)
"""


@pytest.fixture
def start(tmp_path):
    """Start a process that uses two kernels."""
    tmp_path.joinpath("kernels_of_a_test.py").write_text(KERNELS)

    def start(can_cache: str = "compiling._can_cache") -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(can_cache=can_cache)],
            env={**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_numba_has_the_events_that_compilation_is_serialised_with():
    """`numba.core.event` is internal: this test fails if a release of numba changes what sdfkit uses."""
    message = (
        f"numba {numba.__version__} changed numba.core.event: adapt sdfkit/runtime/compiling.py, "
        "then raise the upper bound of numba in pyproject.toml"
    )
    try:
        from numba.core import event

        recorders = {kind: event.RecordingListener() for kind in (compiling.COMPILER_LOCK, compiling.COMPILE)}
        for kind, recorder in recorders.items():
            event.register(kind, recorder)
        numba.njit(lambda number: number + 1)(1)
        for kind, recorder in recorders.items():
            event.unregister(kind, recorder)
        seen = {kind: [what.is_start for _, what in recorder.buffer] for kind, recorder in recorders.items()}
    except (ImportError, AttributeError, TypeError) as error:
        pytest.fail(f"{message} ({error})")
    for kind, starts in seen.items():
        assert starts.count(True) == starts.count(False) > 0, f"{message} (no {kind})"


@pytest.mark.slow
def test_only_the_first_run_reports_compilation(start):
    for said in (f"{compiling.NOTICE}\n", ""):
        stdout, stderr = start().communicate(timeout=600)
        assert stdout == said, stderr


@pytest.mark.slow
def test_only_one_process_compiles_kernels_needed_by_several(start, tmp_path):
    both = [start(), start()]
    said = [process.communicate(timeout=600)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    # Each kernel is compiled once, both by one process or one by each process.
    assert compiling.NOTICE in "".join(said)
    kept = list((tmp_path / "cache").rglob("*.nbc"))
    assert len(kept) == 2


@pytest.mark.slow
def test_a_run_without_a_writable_cache_warns_and_works(start, tmp_path):
    stdout, folder = start(can_cache="lambda: False").communicate(timeout=600)
    assert stdout == f"{compiling.NO_CACHE}\n{compiling.NOTICE}\n"
    assert "NUMBA_CACHE_DIR" in compiling.NO_CACHE
    assert Path(folder.strip()).name.startswith("sdfkit-")
    assert not Path(folder.strip()).exists()
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_several_workers_report_compilation_once(tmp_path):
    for name in "abc":
        trimesh.creation.icosphere(2, 1 + 0.1 * np.random.default_rng(ord(name)).random()).export(
            tmp_path / f"{name}.ply"
        )
    program = [sys.executable, "-m", "sdfkit", "sample-sdf", str(tmp_path)]
    program += ["--points", "100", "--jobs", "2", "--overwrite", "-o", str(tmp_path / "s.zarr")]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for quiet, times in ((False, 1), (False, 0), (True, 0)):
        if quiet:  # compiles the smallest kernel again
            smallest = min((tmp_path / "cache").rglob("*.nbc"), key=lambda path: path.stat().st_size)
            smallest.unlink()
        line = [*program, *["--quiet"] * quiet]
        result = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0
        assert result.stderr.count("compiling for this machine") == times
        # On a busy machine, compilation takes so long that a line tells how many shapes are done.
        lines = [line for line in result.stderr.splitlines() if not line.startswith("sdfkit: shape ")]
        assert len(lines) == times + (not quiet)
