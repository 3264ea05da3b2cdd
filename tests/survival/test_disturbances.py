"""Full disks, changed inputs, signals and vanished parents: one line, nothing stale, and no process that stays."""

import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import trimesh
import zarr

from tests.survival.processes import contents, processes_of, wait_until_gone

SAMPLE = ("sample-sdf", "in/", "--points", "100", "--surface-points", "10", "--jobs", "1", "-o", "s.zarr")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with three meshes in the folder `in`."""
    (tmp_path / "in").mkdir()
    for number in range(3):
        shape(tmp_path / f"in/s{number}.ply", 0.4 + 0.1 * number)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shape(path, height):
    mesh = trimesh.creation.icosphere(subdivisions=1)
    mesh.apply_scale([1, height, 0.8])
    mesh.export(path)


def sdfkit(*words):
    from typer.testing import CliRunner

    from sdfkit.cli import app

    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def samples(name="s.zarr"):
    return zarr.open_group(name, mode="r")["distance"][:]


def test_the_row_of_a_changed_mesh_is_made_again_and_that_is_said(folder):
    assert sdfkit(*SAMPLE).exit_code == 0
    before = samples()
    shape("in/s1.ply", 0.9)
    again = sdfkit(*SAMPLE)
    assert again.exit_code == 0
    assert "s1: its input has changed since the earlier run, so it is made again" in again.stderr
    fresh = (*SAMPLE[:-1], "t.zarr")
    assert sdfkit(*fresh).exit_code == 0
    assert np.array_equal(samples(), samples("t.zarr"))
    assert [np.array_equal(old, new) for old, new in zip(before, samples(), strict=True)] == [
        True,
        False,
        True,
    ]
    last = sdfkit(*SAMPLE)
    assert (last.exit_code, last.stderr) == (0, "sdfkit: s.zarr: is complete, and nothing was to be done\n")


def test_other_options_are_refused_and_replace_only_with_overwrite(folder):
    assert sdfkit(*SAMPLE).exit_code == 0
    refused = sdfkit(*SAMPLE, "--seed", 3)
    assert refused.exit_code == 3
    assert "s.zarr: exists; choose another name or add --overwrite" in refused.stderr
    assert "seed: 0 then, 3 now" in refused.stderr
    before = samples()
    assert sdfkit(*SAMPLE, "--seed", 3, "--overwrite").exit_code == 0
    assert not np.array_equal(samples(), before)
    assert sorted(path.name for path in folder.iterdir()) == ["in", "s.zarr"]


def test_a_folder_of_meshes_is_compared_by_content(folder):
    line = ("watertight", "in/", "--resolution", 32, "--jobs", 1, "-o", "out/")
    assert sdfkit(*line).exit_code == 0
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    shape("in/s1.ply", 0.9)
    again = sdfkit(*line)
    assert again.exit_code == 0
    assert "s1: its input has changed" in again.stderr
    changed = [path.name for path in (folder / "out").iterdir() if path.read_bytes() != before[path.name]]
    assert changed == ["s1.ply"]
    assert "nothing was to be done" in sdfkit(*line).stderr
    inside = sdfkit("watertight", "in/", "--resolution", 32, "--jobs", 1, "-o", "in/", "--overwrite")
    assert (inside.exit_code, inside.stderr) == (
        3,
        f"sdfkit: {folder}/in: is also an input; choose another name for the output\n",
    )


def test_one_mesh_file_is_kept_or_refused(folder):
    line = ("watertight", "in/s0.ply", "--resolution", 32, "--jobs", 1, "-o", "out.ply")
    assert sdfkit(*line).exit_code == 0
    again = sdfkit(*line)
    assert (again.exit_code, again.stderr) == (
        0,
        "sdfkit: out.ply: is complete, and nothing was to be done\n",
    )
    assert sdfkit(*line, "--gap", 0).exit_code == 3
    shape("in/s0.ply", 0.9)
    assert sdfkit(*line).exit_code == 3


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
from sdfkit.cli import main
main()
"""


@pytest.mark.slow
def test_a_full_disk_gives_one_line_and_the_same_command_continues(folder):
    limited = subprocess.run(
        [sys.executable, "-c", LIMITED, *SAMPLE], capture_output=True, text=True, env=dict(os.environ)
    )
    assert limited.returncode == 1
    assert limited.stderr.count("\n") == 1
    assert "File too large" in limited.stderr
    assert sdfkit(*SAMPLE).exit_code == 0
    first = samples()
    assert sdfkit(*SAMPLE[:-1], "t.zarr").exit_code == 0
    assert np.array_equal(first, samples("t.zarr"))
    assert sorted(path.name for path in folder.iterdir()) == ["in", "s.zarr", "t.zarr"]


def test_rows_that_find_no_memory_fail_and_are_made_again(folder, monkeypatch):
    from sdfkit.geometry import sampling

    def too_large(*_, **__):
        raise MemoryError("Unable to allocate 19.1 MiB for an array")

    with monkeypatch.context() as patch:
        patch.setattr(sampling, "sample_sdf", too_large)
        failed = sdfkit(*SAMPLE)
    assert failed.exit_code == 4
    assert "sdfkit: s0: MemoryError: Unable to allocate 19.1 MiB for an array\n" in failed.stderr
    assert sdfkit(*SAMPLE).exit_code == 0
    assert sdfkit(*SAMPLE[:-1], "t.zarr").exit_code == 0
    assert contents(folder / "s.zarr") == contents(folder / "t.zarr")


def test_a_clock_that_jumps_changes_nothing(folder, monkeypatch):
    assert sdfkit(*SAMPLE).exit_code == 0
    jumps = (1.8e9 + day * 86_400 * (-1) ** day for day in itertools.count())
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    assert sdfkit(*SAMPLE[:-1], "t.zarr").exit_code == 0
    assert (
        sdfkit(*SAMPLE[:-1], "t.zarr").stderr == "sdfkit: t.zarr: is complete, and nothing was to be done\n"
    )
    assert contents(folder / "s.zarr") == contents(folder / "t.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_stays_when_the_command_is_stopped(folder, number):
    words = ("watertight", "in/", "--resolution", "200", "--jobs", "2", "-o", "out/")
    command = subprocess.Popen(
        [sys.executable, "-m", "sdfkit", *words], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while len(processes_of(command.pid)) < 4 and command.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)  # until the server of the workers and two workers run
    command.send_signal(number)
    messages = command.communicate()[1]
    assert command.returncode in {-number, 128 + number, 0}
    assert "Traceback" not in messages
    assert wait_until_gone(command.pid, 30) == []


def test_a_missing_file_among_others_fails_as_one_shape(folder):
    line = ("sample-sdf", "in/s0.ply", "in/gone.ply", *SAMPLE[2:])
    done = sdfkit(*line)
    assert done.exit_code == 4
    assert "sdfkit: gone: in/gone.ply: no such file\n" in done.stderr
    assert zarr.open_group("s.zarr", mode="r")["valid"][:].tolist() == [True, False]
    shape("in/gone.ply", 0.5)
    assert sdfkit(*line).exit_code == 0
    assert sdfkit("sample-sdf", "in/never.ply", *SAMPLE[2:-1], "t.zarr").exit_code == 3
