"""A short form of the runs that mutations.py describes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# 3,000 take about two minutes on one core.
COUNT = int(os.environ.get("SDFKIT_FUZZ_COUNT", "150"))


@pytest.mark.slow
def test_damaged_inputs_end_in_one_line():
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    result = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.mutations", "--count", str(COUNT)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
