"""Outputs are put in their place at once, by one process at a time, and what killed runs left is removed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdfkit.commands.watertight import watertight
from sdfkit.errors import InputError
from sdfkit.io import outputs
from sdfkit.io.outputs import beside, claim, open_output, put, refuse_input, replaced
from sdfkit.options import running


def make(path, text, *, folder):
    if folder:
        path.mkdir()
        path = path / "zarr.json"
    path.write_text(text)


def read(path):
    return (path / "zarr.json" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("was", ["file", "folder", "absent"])
@pytest.mark.parametrize("becomes", ["file", "folder"])
def test_a_whole_output_replaces_the_old_one(tmp_path, monkeypatch, was, becomes, exchanges):
    if not exchanges:
        monkeypatch.setattr(outputs, "_exchange", lambda one, other: False)
    path = tmp_path / "x"
    if was != "absent":
        make(path, "old", folder=was == "folder")
    with replaced(path) as part:
        make(part, "new", folder=becomes == "folder")
        assert was == "absent" or read(path) == "old"
    assert read(path) == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_output(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), open_output(str(path), overwrite=True) as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_between_two_renames_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x.zarr"
    make(path, "old", folder=True)
    make(beside(path, "part"), "new", folder=True)
    monkeypatch.setattr(outputs, "_exchange", lambda one, other: False)
    rename, done = type(path).rename, []

    def rename_once(self, target):
        if done:
            raise KeyboardInterrupt
        done.append(rename(self, target))

    monkeypatch.setattr(type(path), "rename", rename_once)
    with pytest.raises(KeyboardInterrupt):
        put(beside(path, "part"), path)
    monkeypatch.undo()
    assert not path.exists()
    with claim(path):
        assert read(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_runs_left_is_removed_and_the_rest_kept(tmp_path):
    path = tmp_path / "x.zarr"
    for name in (
        ".x.zarr.part",
        ".x.zarr.part-123",
        ".x.zarr.old-7",
        ".x.zarr.new",
        ".x.zarr.part.txt",
        "y.part",
    ):
        make(tmp_path / name, "", folder=True)
    with claim(path):
        left = sorted(entry.name for entry in tmp_path.iterdir())
    assert left == [".x.zarr.lock", ".x.zarr.new", ".x.zarr.part.txt", "y.part"]
    assert not beside(path, "lock").exists()


def test_an_output_that_was_renamed_but_not_replaced_is_restored(tmp_path):
    path = tmp_path / "x.zarr"
    make(beside(path, "old"), "old", folder=True)
    with claim(path):
        assert read(path) == "old"


HOLD = """
import sys
from pathlib import Path
from sdfkit.io.outputs import claim
with claim(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_refused_until_the_first_is_killed(tmp_path):
    path = tmp_path / "x.zarr"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert first.stdout.readline() == b"held\n"
    with (
        pytest.raises(InputError, match="is being written by another process; wait until it has ended, or"),
        claim(path),
    ):
        pass
    first.kill()
    first.communicate()
    assert beside(path, "lock").exists()
    with claim(path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "output", "refused"),
    [
        ("in", "in", True),
        ("in", "in/a.ply", True),
        ("in/a.ply", "in/a.ply", True),
        ("in/a.ply", "link.ply", True),
        ("in/a.ply", "hard.ply", True),
        ("in/a.ply", "in", False),
        ("in", "in/sheet.png", False),
        ("s.zarr", "s.zarr", True),
        ("s.zarr/inner.zarr", "s.zarr", True),
        ("in", "out", False),
        ("in", "s.zarr", False),
    ],
)
def test_an_output_that_is_an_input_is_refused(tmp_path, given, output, refused):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.ply").write_text("ply")
    (tmp_path / "in/sheet.png").write_text("")
    (tmp_path / "link.ply").symlink_to(tmp_path / "in/a.ply")
    (tmp_path / "hard.ply").hardlink_to(tmp_path / "in/a.ply")
    make(tmp_path / "s.zarr", "", folder=True)
    make(tmp_path / "s.zarr/inner.zarr", "", folder=True)
    make(tmp_path / "out", "", folder=True)
    with running(watertight, {"inputs": [str(tmp_path / given)]}):
        if refused:
            with pytest.raises(InputError, match="is also an input"):
                refuse_input(tmp_path / output)
        else:
            refuse_input(tmp_path / output)


def test_folders_that_cannot_be_locked_beside_are_locked_inside(tmp_path, monkeypatch):
    folder = tmp_path / "shut/meshes"
    folder.mkdir(parents=True)
    # Root may write into every folder, whatever its mode.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder.parent)
    with claim(folder):
        assert (folder / ".lock").exists()
        assert [path.name for path in folder.parent.iterdir()] == ["meshes"]
    assert not (folder / ".lock").exists()
