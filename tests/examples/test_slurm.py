"""The example of a job array: its parts are run one after another, with a small job, and joined."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import trimesh
import zarr
from typer.testing import CliRunner

from sdfkit.cli import app

SCRIPT = Path(__file__).parents[2] / "examples/slurm.sh"
# Stands for the program. It sends its words to the test, which runs the command in its own process, within a second.
SHIM = """#!/bin/sh
printf '%s\\n' "$@" >request
read -r status <reply
exit "$status"
"""
SMALL = {
    "watertight": ["--resolution", "16", "--jobs", "1"],
    "sample-sdf": ["--points", "100", "--surface-points", "10", "--jobs", "1"],
    "render": ["--views", "2", "--size", "16", "--renderer", "cpu", "--jobs", "1"],
}


def run(*words):
    return CliRunner().invoke(app, [*words, *SMALL.get(words[0], [])], catch_exceptions=False)


@pytest.fixture
def run_script(tmp_path, monkeypatch):
    """Run the script as the task of an array, or to join the parts; return its exit status."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sdfkit").write_text(SHIM)
    (tmp_path / "sdfkit").chmod(0o755)
    os.mkfifo("request")
    os.mkfifo("reply")

    def run_script(task):
        environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": task}
        script = subprocess.Popen(
            ["sh", "-c", f'sh "{SCRIPT}" manifest.json work 2; status=$?; echo end >request; exit $status'],
            env=environment,
        )
        while (words := Path("request").read_text().splitlines()) != ["end"]:
            Path("reply").write_text(f"{run(*words).exit_code}\n")
        return script.wait()

    return run_script


@pytest.mark.slow
def test_the_parts_of_an_array_are_joined_to_what_one_run_makes(run_script):
    Path("raw").mkdir()
    for index in range(5):
        trimesh.creation.box((1, 1, 1 + index)).export(f"raw/{index}.ply")
    Path("raw/broken.ply").write_bytes(b"ply\n")
    run("manifest", "raw", "-o", "manifest.json")
    assert [run_script(task) for task in ("1", "2", "2", "")] == [0, 0, 0, 0]

    assert run("watertight", "manifest.json", "-o", "closed/").exit_code == 4
    for command, name in (("sample-sdf", "samples.zarr"), ("render", "views.zarr")):
        run(command, "closed/", "-o", name)
        whole, joined = zarr.open_group(name, mode="r"), zarr.open_group(f"work/{name}", mode="r")
        assert whole["uid"][:].tolist() == ["0", "1", "2", "3", "4"]
        for array, values in whole.arrays():
            if array != "input":
                assert np.array_equal(values[...], joined[array][...]), array
    assert {file.name for file in Path("work/closed").glob("*.ply")} == {f"{index}.ply" for index in range(5)}
