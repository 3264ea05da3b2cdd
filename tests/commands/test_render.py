"""`sdfkit render`: contents of the store, and errors."""

import json
import math

import numpy as np
import pytest
import trimesh
import zarr
from PIL import Image

from sdfkit.runtime.opengl import choose_renderer


def test_views_of_a_sphere(sdfkit, tmp_path, sphere):
    output = tmp_path / "views.zarr"
    line = ("render", sphere, "--views", 3, "--size", 64, "--depth", "--normal", "-o", output)
    assert sdfkit(*line).exit_code == 0
    store = zarr.open_group(output, mode="r")
    assert store["rgb"].shape == (1, 3, 64, 64, 3)
    assert store["mask"].metadata.dimension_names == ("shape", "view", "row", "column")
    np.testing.assert_allclose(np.linalg.norm(store["camera_to_world"][0, :, :3, 3], axis=1), 2.5, rtol=1e-6)
    assert np.allclose(store["yfov"][:], math.radians(60))
    # A sphere of radius 1 at distance 2.5 covers a disc whose radius is tan(asin(1 / 2.5)).
    radius = 32 * math.tan(math.asin(1 / 2.5)) / math.tan(math.radians(30))
    covered = store["mask"][0].mean(axis=(1, 2)) / 255 * 64**2
    np.testing.assert_allclose(covered, math.pi * radius**2, rtol=0.03)
    assert np.allclose(store["depth"][0, :, 32, 32], 1.5, atol=0.03)
    towards = store["camera_to_world"][0, :, :3, 2]
    assert ((store["normal"][0, :, 32, 32] * towards).sum(axis=1) > 0.95).all()
    assert (store["rgb"][0][store["mask"][0] == 0] == 0).all(), "black background"


def test_a_mesh_without_colours_is_rendered_in_greyish_blue(sdfkit, tmp_path, sphere):
    sdfkit("render", sphere, "--views", 1, "--size", 32, "-o", tmp_path / "views.zarr")
    red, green, blue = zarr.open_group(tmp_path / "views.zarr")["rgb"][0, 0, 16, 16].astype(int)
    assert red < green < blue < 255


def test_a_camera_inside_the_shape_is_refused(sdfkit, tmp_path, sphere):
    result = sdfkit("render", sphere, "--distance", 0.9, "-o", tmp_path / "views.zarr")
    assert result.exit_code == 4
    assert "the camera at distance 0.9 from the origin is inside the shape's bounding sphere" in result.stderr
    assert not (tmp_path / "views.zarr").exists()


def test_zero_views_are_a_usage_error(sdfkit, sphere):
    result = sdfkit("render", sphere, "--views", 0)
    assert result.exit_code == 2
    assert "--views" in result.stderr


@pytest.mark.slow
def test_a_field_of_view_that_cuts_the_unit_sphere_is_warned_of_once(sdfkit, tmp_path, sphere):
    box = tmp_path / "box.ply"
    trimesh.creation.box().export(box)
    line = ("render", sphere, box, "--views", 2, "--size", 16)
    assert "cuts off up to" not in sdfkit(*line, "--yfov", 47.2, "-o", tmp_path / "whole.zarr").stderr
    told = sdfkit(*line, "--yfov", 30, "-o", tmp_path / "cut.zarr").stderr
    # The disc of the sphere has radius 1 / sqrt(2.5² - 1), all of the square lies within it.
    share = 1 - (2 * math.tan(math.radians(15))) ** 2 * (2.5**2 - 1) / math.pi
    assert told.count(f"cuts off up to {100 * share:.1f} %") == 1
    assert "use --yfov 47.2 or more" in told


def test_the_colours_of_the_file_are_rendered_on_request(sdfkit, tmp_path):
    ball = trimesh.creation.icosphere(2)
    ball.visual.vertex_colors = np.tile([255, 40, 0, 255], (len(ball.vertices), 1))
    ball.export(tmp_path / "ball.ply")
    line = ("render", tmp_path / "ball.ply", "--views", 2, "--size", 32)
    sdfkit(*line, "-o", tmp_path / "gray.zarr")
    sdfkit(*line, "--colour", "-o", tmp_path / "red.zarr")
    gray, red = (zarr.open_group(tmp_path / f"{name}.zarr") for name in ("gray", "red"))
    assert np.array_equal(gray["mask"][:], red["mask"][:])
    assert gray["rgb"][0, 0, 16, 16].argmax() == 2
    assert red["rgb"][0, 0, 16, 16].argmax() == 0
    assert red.attrs["settings"]["colour"] is True
    assert red.attrs["settings"]["renderer"] == "cpu"
    look = red.attrs["settings"]["look"]
    assert [light["intensity"] for light in look["lights"]] == [3.5, 6.0]


def test_a_missing_texture_is_reported_and_replaced_by_the_material_colour(sdfkit, tmp_path):
    (tmp_path / "leaf.mtl").write_text("newmtl green\nmap_Kd C:\\art\\leaf.png\nKd 0.1 0.9 0.1\n")
    (tmp_path / "leaf.obj").write_text(
        "mtllib leaf.mtl\nv -1 -1 0\nv 1 -1 0\nv 0 1 0.2\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl green\nf 1/1 2/2 3/3\n"
    )
    line = ("render", tmp_path / "leaf.obj", "--colour", "--views", 4, "--size", 32)
    told = sdfkit(*line, "-o", tmp_path / "plain.zarr").stderr
    assert (
        "sdfkit: leaf: these textures cannot be read, and plain colours are used instead: C:\\art\\leaf.png\n"
        in told
    )
    seen = zarr.open_group(tmp_path / "plain.zarr")["rgb"][0]
    assert seen[..., 1].max() > 2 * seen[..., 0].max()
    # An image beside the mesh is found, whatever its path on the author's machine.
    Image.new("RGB", (4, 4), (0, 0, 255)).save(tmp_path / "leaf.png")
    assert "cannot be read" not in sdfkit(*line, "-o", tmp_path / "blue.zarr").stderr
    assert zarr.open_group(tmp_path / "blue.zarr")["rgb"][0].reshape(-1, 3).max(axis=0).argmax() == 2


def test_a_shape_visible_in_no_view_is_marked_as_failed(sdfkit, tmp_path):
    line = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0.5, 0, 0]], [[0, 1, 2]], process=False)
    line.export(tmp_path / "line.ply")
    result = sdfkit(
        "render", tmp_path / "line.ply", "--views", 3, "--size", 32, "-o", tmp_path / "views.zarr"
    )
    assert result.exit_code == 4
    assert "line: no view shows any face of the mesh; check that its faces have an area" in result.stderr


def test_missing_opengl_ends_the_command_before_rendering(sdfkit, tmp_path, sphere, monkeypatch):
    monkeypatch.setattr("sdfkit.runtime.opengl.find_library", lambda name: None)
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    line = ("render", sphere, "--views", 1, "--size", 16, "-o", tmp_path / "views.zarr")
    result = sdfkit(*line, "--renderer", "gl")
    assert result.exit_code == 5
    assert "no EGL driver is installed: install libegl1" in result.stderr
    assert not (tmp_path / "views.zarr").exists()
    monkeypatch.setattr("pathlib.Path.exists", lambda self: True)
    assert choose_renderer("auto") == "cpu", "a GPU without EGL"


@pytest.mark.slow
def test_the_number_of_jobs_and_an_interruption_do_not_change_the_bytes(sdfkit, tmp_path, sphere):
    paths = [sphere]
    for index in range(3):
        paths.append(tmp_path / f"box{index}.ply")
        trimesh.creation.box([1, 0.5, 0.2 + index]).export(paths[-1])
    options = ("--views", 2, "--size", 24, "-o")
    assert sdfkit("render", *paths, *options, tmp_path / "one.zarr", "--jobs", 1).exit_code == 0
    assert sdfkit("render", *paths, *options, tmp_path / "two.zarr", "--jobs", 2).exit_code == 0
    cut = tmp_path / "two.zarr"
    # As if it had been killed at the third shape: its last chunk and the mark of completeness are missing.
    (cut / "valid/c/2").unlink()
    root = json.loads((cut / "zarr.json").read_text())
    root["attributes"]["complete"] = False
    (cut / "zarr.json").write_text(json.dumps(root))
    kept = (cut / "rgb/c/0/0/0/0/0").stat().st_mtime_ns
    result = sdfkit("render", *paths, *options, cut, "--jobs", 1, "--crease", 10)
    assert result.exit_code == 3
    assert "crease: 40.0 then, 10.0 now" in result.stderr
    assert sdfkit("render", *paths, *options, cut, "--jobs", 1).exit_code == 0
    assert (cut / "rgb/c/0/0/0/0/0").stat().st_mtime_ns == kept
    files = [path.relative_to(cut) for path in cut.rglob("*") if path.is_file() and path.name != "zarr.json"]
    assert len(files) > 20
    for path in files:
        assert (cut / path).read_bytes() == (tmp_path / "one.zarr" / path).read_bytes(), path


@pytest.mark.parametrize("colour", [(), ("--colour",)], ids=["grey", "colour"])
def test_a_dropped_speck_changes_no_image(sdfkit, tmp_path, colour):
    ring, speck = trimesh.creation.torus(1, 0.3), trimesh.creation.icosphere(1, 0.01)
    speck.apply_translation((0, 26, 0))
    ring.visual.vertex_colors = [250, 40, 10, 255]
    speck.visual.vertex_colors = [0, 255, 0, 255]
    ring.export(tmp_path / "ring.ply")
    trimesh.util.concatenate([speck, ring]).export(tmp_path / "both.ply")
    words = ("--views", 2, "--size", 48, "--renderer", "cpu", *colour, "--jobs", 1)
    assert sdfkit("render", tmp_path / "ring.ply", *words, "-o", tmp_path / "alone.zarr").exit_code == 0
    result = sdfkit("render", tmp_path / "both.ply", *words, "-o", tmp_path / "both.zarr")
    assert "and the whole shape over 27.4, so that most of the resolution is lost" in result.stderr
    result = sdfkit("render", tmp_path / "both.ply", *words, "--drop-specks", "-o", tmp_path / "rest.zarr")
    assert "both: dropped 1 speck, at most 0.034" in result.stderr
    alone, both, rest = (
        zarr.open_group(tmp_path / f"{name}.zarr")["rgb"][:].astype(int) for name in ("alone", "both", "rest")
    )
    assert np.abs(alone - rest).max() <= 1
    assert np.count_nonzero(both) < 0.05 * np.count_nonzero(alone)
