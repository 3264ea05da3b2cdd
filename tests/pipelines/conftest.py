"""Fixtures for real pipes: bash with pipefail and the installed program in separate processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def bash(tmp_path):
    """Run a line of bash in an empty folder; the result has returncode, stdout (bytes) and stderr (text)."""

    def run(line: str, **options) -> subprocess.CompletedProcess:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        result = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            timeout=600,
            **options,
        )
        result.stderr = result.stderr.decode()
        return result

    return run
