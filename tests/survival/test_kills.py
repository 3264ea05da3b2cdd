"""A short form of the sweeps that README.md describes: some writes of some commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python(*words):
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_the_same_command_after_a_kill_ends_as_if_undisturbed():
    names = ("watertight", "sample-sdf", "sample-sdf, one more", "sample-sdf, zip")
    result = python("-m", "tests.survival.kills", "--most", "3", "--input", "samples.zarr", *names)
    assert result.returncode == 0, result.stdout + result.stderr
    rows = [line.strip("| ").split(" | ") for line in result.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == list(names)
    assert all(int(row[2]) >= 1 and row[3:] == ["0", "0", "0"] for row in rows)
