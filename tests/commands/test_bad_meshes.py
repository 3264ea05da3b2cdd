"""What mesh commands say to files that are no meshes: one line, the right status, nothing half-written."""

import numpy as np
import pytest
import trimesh

from sdfkit.cli import app  # noqa: F401  the commands must be importable


def broken(kind, path):
    box = trimesh.creation.box()
    if kind == "missing":
        return path.with_name("nothing.ply")
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path = path.with_name("empty_folder")
        path.mkdir()
    elif kind == "cut glb":
        path = path.with_suffix(".glb")
        path.write_bytes(box.export(file_type="glb")[:-100])
    elif kind == "cut ply":
        path.write_bytes(box.export(file_type="ply")[:-10])
    elif kind == "cut ply header":
        path.write_bytes(box.export(file_type="ply")[:40])
    elif kind == "nan":
        box.vertices[0, 0] = np.nan
        path.write_bytes(box.export(file_type="ply"))
    elif kind == "no faces":
        path.write_bytes(
            trimesh.Trimesh(box.vertices, np.zeros((0, 3), int), process=False).export(file_type="ply")
        )
    elif kind == "no extent":
        path.write_bytes(trimesh.Trimesh(np.ones((3, 3)), [[0, 1, 2]], process=False).export(file_type="ply"))
    elif kind == "face past the end":
        text = (
            b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        )
        text += b"element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 9\n"
        path.write_bytes(text)
    elif kind == "claims a billion":
        path.write_bytes(
            box.export(file_type="ply").replace(b"element vertex 8", b"element vertex 1000000000")
        )
    elif kind == "not a mesh":
        path.write_text("hello\n")
    elif kind == "store":
        path = path.with_name("store.zarr")
        path.mkdir()
        (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    return path


CASES = [
    ("missing", 1, "nothing.ply: No such file or directory"),
    ("empty", 3, "empty; did the command that writes it fail?"),
    ("folder", 3, "a folder without meshes"),
    ("cut glb", 3, "cannot be read as GLB"),
    ("cut ply", 3, "a PLY ends in the middle"),
    ("cut ply header", 3, "ends in the header of a PLY"),
    ("nan", 4, "1 of 8 vertices are NaN or infinite"),
    ("no faces", 4, "no faces"),
    ("no extent", 4, "no extent"),
    ("face past the end", 3, "a face names a vertex past the last one"),
    ("claims a billion", 3, "a PLY ends in the middle"),
    ("not a mesh", 3, "not a PLY"),
    ("store", 3, "holds a Zarr store, but meshes are needed"),
]


@pytest.mark.parametrize("command", ["watertight", "sample-sdf", "render"])
@pytest.mark.parametrize(("kind", "status", "message"), CASES, ids=[case[0] for case in CASES])
def test_message_status_and_no_output(sdfkit, tmp_path, command, kind, status, message):
    path = broken(kind, tmp_path / "bad.ply")
    output = tmp_path / ("out.ply" if command == "watertight" else "out.zarr.zip")
    result = sdfkit(command, path, "-o", output)
    assert result.exit_code == status, result.stderr
    assert message in result.stderr
    assert result.stderr.startswith("sdfkit: ")
    assert result.stderr.count("\n") == 1
    assert not output.exists()


def test_one_bad_shape_does_not_stop_the_others(sdfkit, tmp_path, sphere):
    bad = broken("nan", tmp_path / "bad.ply")
    result = sdfkit(
        "watertight", sphere, bad, sphere, "--resolution", 32, "--jobs", 1, "-o", tmp_path / "closed/"
    )
    assert result.exit_code == 4
    assert "bad: 1 of 8 vertices are NaN" in result.stderr
    assert "1 of 3 shapes failed" in result.stderr
    assert sorted(path.name for path in (tmp_path / "closed").iterdir()) == ["sphere.ply", "sphere_2.ply"]


def test_fail_fast_stops(sdfkit, tmp_path, sphere):
    bad = broken("nan", tmp_path / "bad.ply")
    result = sdfkit("watertight", bad, sphere, "--fail-fast", "--jobs", 1, "-o", tmp_path / "closed/")
    assert result.exit_code == 4
    assert not (tmp_path / "closed" / "sphere.ply").exists()


def test_an_output_that_exists_is_refused(sdfkit, tmp_path, sphere):
    output = tmp_path / "out.ply"
    output.write_text("mine")
    result = sdfkit("watertight", sphere, "--resolution", 32, "-o", output)
    assert result.exit_code == 3
    assert "out.ply: exists; choose another name or add --overwrite" in result.stderr
    assert output.read_text() == "mine"


def test_a_folder_made_with_other_settings_is_refused(sdfkit, tmp_path, sphere):
    closed = tmp_path / "closed/"
    assert sdfkit("watertight", sphere, "--resolution", 32, "-o", f"{closed}/").exit_code == 0
    before = (closed / "sphere.ply").stat()
    assert sdfkit("watertight", sphere, "--resolution", 32, "-o", f"{closed}/").exit_code == 0
    assert (closed / "sphere.ply").stat().st_mtime_ns == before.st_mtime_ns, "kept, not made again"
    result = sdfkit("watertight", sphere, "--resolution", 33, "-o", f"{closed}/")
    assert result.exit_code == 3
    assert "made from another input or with other settings; add --overwrite" in result.stderr


def test_many_meshes_need_a_folder(sdfkit, tmp_path, sphere):
    result = sdfkit("watertight", sphere, sphere, "-o", tmp_path / "out.ply")
    assert result.exit_code == 2
    assert "one file cannot hold 2 meshes; name a folder" in result.stderr
