"""The axis that points up: files that say it, and --up for those that do not."""

import numpy as np
import pytest
import trimesh

from sdfkit.io.meshes.reader import open_meshes
from sdfkit.io.stores.reader import open_store

# A mast: its foot at the origin, its top at 5 along the axis that points up, and a flag to the right (+X).
VERTICES = np.array([[0, 0, 0], [0.5, 0.5, 0], [0, 0, 5.0], [2, 0, 4.0]])
FACES = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]


def mast(path, kind):
    trimesh.Trimesh(VERTICES, FACES, process=False).export(path, file_type=kind)
    return path


@pytest.mark.parametrize("kind", ["obj", "off", "ply", "stl"])
def test_z_is_turned_up_in_files_that_do_not_say_what_is(tmp_path, kind):
    path = mast(tmp_path / f"mast.{kind}", kind)
    loaded = {}
    for up in ("y", "z"):
        with open_meshes([str(path)], manifest=None, up=up) as meshes:
            [row] = meshes
            loaded[up] = row.load(), row.identity
    assert np.allclose(loaded["y"][0].vertices[:, 2].max(), 5)
    turned = loaded["z"][0].vertices
    # The top is up, the flag is still to the right, and nothing is mirrored.
    assert np.allclose(turned.max(axis=0), [2, 5, 0])
    assert np.allclose(turned, loaded["y"][0].vertices[:, [0, 2, 1]] * [1, 1, -1])
    assert loaded["z"][0].volume == pytest.approx(loaded["y"][0].volume)
    assert loaded["y"][1] != loaded["z"][1], "a row of the other frame is not kept"


def test_a_glb_says_what_is_up(tmp_path):
    path = mast(tmp_path / "mast.glb", "glb")
    with open_meshes([str(path)], manifest=None, up="z") as meshes:
        [row] = meshes
        assert np.allclose(row.load().vertices.max(axis=0), [2, 0.5, 5])


@pytest.mark.slow
def test_commands_turn_meshes_and_record_it(sdfkit, tmp_path):
    path = mast(tmp_path / "mast.stl", "stl")
    tall = {}
    for up in ("y", "z"):
        views = tmp_path / f"{up}.zarr"
        assert sdfkit("render", path, "--views", 5, "--size", 48, "--up", up, "-o", views).exit_code == 0
        with open_store(str(views), "views", manifest=None) as store:
            assert store.attributes["settings"]["up"] == up
            mask = store.array("mask")[0, 2] > 127  # seen from the side
            tall[up] = np.ptp(np.nonzero(mask)[0]) / np.ptp(np.nonzero(mask)[1])
    assert tall["z"] > 2 > tall["y"]
    closed = tmp_path / "closed.ply"
    words = ("--resolution", 32, "--frame", "original", "--up", "z", "-o", closed)
    assert sdfkit("watertight", path, *words).exit_code == 0
    assert np.ptp(trimesh.load(closed).vertices, axis=0)[1] == pytest.approx(5, abs=0.4)
    samples = tmp_path / "samples.zarr"
    words = ("--points", 200, "--agreement", 0, "--up", "z", "-o", samples)
    assert sdfkit("sample-sdf", path, *words).exit_code == 0
    with open_store(str(samples), "samples", manifest=None) as store:
        assert np.ptp(store.array("surface_point")[0], axis=0).argmax() == 1
