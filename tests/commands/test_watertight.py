"""`sdfkit watertight`: methods, number of faces, and frames of the result."""

import json

import numpy as np
import pytest
import trimesh

from sdfkit.geometry.pieces import label_pieces
from sdfkit.io.meshes.reader import MeshRow, read_info

SMALL = ("--resolution", 48, "--jobs", 1)
RING = trimesh.creation.torus(0.7, 0.25)


def put(path, size=1.0, offset=0.0):
    """Write a torus of the given size and offset from the origin, in float64."""
    vertices = RING.vertices * size + offset
    faces = "\n".join("f " + " ".join(map(str, face + 1)) for face in RING.faces)
    path.write_text(
        "\n".join("v " + " ".join(map(repr, map(float, vertex))) for vertex in vertices) + "\n" + faces
    )
    return path


def load(path):
    return MeshRow(0, path.stem, path=str(path)).load()


def test_simplify_gives_a_closed_mesh_with_the_requested_number_of_faces(sdfkit, tmp_path):
    ring, out = put(tmp_path / "ring.obj"), tmp_path / "out.ply"
    assert sdfkit("watertight", ring, *SMALL, "--simplify", 600, "-o", out).exit_code == 0
    mesh = load(out)
    assert len(mesh.faces) == 600
    assert mesh.is_volume
    assert mesh.euler_number == 0
    assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(1), "in the unit frame again"
    assert read_info(out)["settings"]["simplify"] == 600


def test_simplify_warns_if_it_cannot_reach_the_number_of_faces(sdfkit, tmp_path):
    ring, out = put(tmp_path / "ring.obj"), tmp_path / "out.ply"
    result = sdfkit("watertight", ring, *SMALL, "--simplify", 4, "-o", out)
    assert result.exit_code == 0
    mesh = load(out)
    assert mesh.is_volume
    assert mesh.euler_number == 0
    assert f"{len(mesh.faces)} faces, not 4: fewer faces would lose a handle or a piece" in result.stderr


def test_the_particle_method_makes_two_shells_of_each_wall(sdfkit, tmp_path):
    ring, out = put(tmp_path / "ring.obj"), tmp_path / "out.ply"
    words = ("watertight", ring, *SMALL, "--method", "particles", "--points", 60_000)
    assert sdfkit(*words, "-o", out).exit_code == 0
    mesh = load(out)
    assert mesh.is_watertight
    assert label_pieces(mesh).max() + 1 == 2, "an outer and an inner wall"
    assert sdfkit(*words, "-o", tmp_path / "again.ply").exit_code == 0
    again = load(tmp_path / "again.ply")
    assert np.array_equal(mesh.vertices, again.vertices)
    assert sdfkit(*words, "--seed", 1, "-o", tmp_path / "other.ply").exit_code == 0
    assert not np.array_equal(mesh.bounds, load(tmp_path / "other.ply").bounds)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "particles", "--gap", 0.06), "--gap: applies only to --method offset"),
        (("--method", "particles", "--thickness", 0.1), "--thickness: applies only to --method offset"),
        (("--method", "particles", "--keep-parts"), "--keep-parts: applies only to --method offset"),
        (("--points", 5000), "--points: applies only to --method particles"),
        (("--seed", 1), "--seed: applies only to --method particles"),
    ],
)
def test_options_of_the_other_method_are_usage_errors(sdfkit, tmp_path, words, message):
    result = sdfkit("watertight", put(tmp_path / "ring.obj"), *words, "-o", tmp_path / "out.ply")
    assert result.exit_code == 2
    assert result.stderr == f"sdfkit: {message}\n"
    assert not (tmp_path / "out.ply").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "offset"), [(1, 0), (1e-30, 0), (1e30, 1e6), (1, 1e6), (1e-3, 5), (1e-60, 0)]
)
@pytest.mark.parametrize("kind", ["ply", "glb", "obj"])
def test_frame_original_restores_any_size_and_position(sdfkit, tmp_path, size, offset, kind):
    ring, out = put(tmp_path / "ring.obj", size, offset), tmp_path / f"out.{kind}"
    assert sdfkit("watertight", ring, *SMALL, "--frame", "original", "-o", out).exit_code == 0
    back = (load(out).vertices - offset) / size
    unit = tmp_path / "unit.ply"
    assert sdfkit("watertight", put(ring), *SMALL, "--frame", "original", "-o", unit).exit_code == 0
    assert np.allclose(np.ptp(back, axis=0), RING.extents, rtol=1e-2)
    assert np.abs(np.linalg.norm(back[:, :2], axis=1) - 0.7).max() < 0.26
    assert len(np.unique(back, axis=0)) == len(load(unit).vertices), "no two vertices rounded into one"


@pytest.mark.parametrize("kind", ["ply", "obj"])
def test_the_matrix_in_the_file_maps_to_the_original_frame(sdfkit, tmp_path, kind):
    ring, out = put(tmp_path / "ring.obj", 1e-3, 1e3), tmp_path / f"out.{kind}"
    assert sdfkit("watertight", ring, *SMALL, "-o", out).exit_code == 0
    matrix = np.array(read_info(out)["to_original"])
    original = load(out).vertices @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.allclose(original.mean(axis=0), 1e3, atol=1e-4)
    assert np.allclose(np.ptp(original, axis=0), 1e-3 * RING.extents, rtol=1e-2)


def test_an_stl_too_far_from_the_origin_is_refused(sdfkit, tmp_path):
    ring, out = put(tmp_path / "ring.obj", 1, 1e6), tmp_path / "out.stl"
    result = sdfkit("watertight", ring, *SMALL, "--frame", "original", "-o", out)
    assert result.exit_code == 4
    assert "too far from the origin for the float32 of an STL; write a PLY" in result.stderr
    assert not out.exists()


def test_a_flat_mesh_becomes_a_plate(sdfkit, tmp_path):
    disc, out = tmp_path / "disc.ply", tmp_path / "out.ply"
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    rim = np.stack([np.cos(angles), 0 * angles, np.sin(angles)], axis=1)
    faces = [[0, 1 + k, 1 + (k + 1) % 40] for k in range(40)]
    trimesh.Trimesh(np.vstack([np.zeros(3), rim]), faces, process=False).export(disc)
    assert sdfkit("watertight", disc, *SMALL, "--thickness", 0.05, "-o", out).exit_code == 0
    mesh = load(out)
    assert mesh.is_volume
    assert mesh.euler_number == 2
    assert mesh.extents[1] == pytest.approx(0.05, rel=0.2)


@pytest.mark.slow
def test_a_mesh_with_a_million_duplicate_vertices_is_closed(sdfkit, tmp_path):
    path, out = tmp_path / "soup.stl", tmp_path / "out.ply"
    corners = np.tile(trimesh.creation.icosphere(5).triangles, (17, 1, 1))
    trimesh.Trimesh(corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3), process=False).export(
        path
    )
    assert sdfkit("watertight", path, *SMALL, "-o", out).exit_code == 0
    mesh = load(out)
    assert mesh.is_volume
    assert mesh.euler_number == 2
    assert np.allclose(np.linalg.norm(mesh.vertices, axis=1), 1, atol=1e-2)


def test_settings_in_the_file_name_the_method(sdfkit, tmp_path):
    ring, out = put(tmp_path / "ring.obj"), tmp_path / "out.ply"
    assert sdfkit("watertight", ring, *SMALL, "-o", out).exit_code == 0
    report = json.loads(sdfkit("info", out, "--json").stdout)
    assert report["settings"]["method"] == "offset"
    assert "seed" not in report["settings"]


def put_specks(path):
    """A torus and two specks 30 of its diameters away."""
    specks = [trimesh.creation.icosphere(1, 0.01).apply_translation((0, 57, 20 * k)) for k in range(2)]
    trimesh.util.concatenate([RING, *specks]).export(path)
    return path


def test_a_speck_far_away_is_reported_and_kept(sdfkit, tmp_path):
    result = sdfkit("watertight", put_specks(tmp_path / "ring.ply"), *SMALL, "-o", tmp_path / "out.ply")
    assert result.exit_code == 0
    assert (
        "ring: 99.97 % of the area extends over 2.73 and the whole shape over 61.4, so that" in result.stderr
    )
    assert "ring: 2 of 3 pieces, with 0.034 % of the area, are about as small as a grid cell" in result.stderr
    info = read_info(tmp_path / "out.ply")
    assert info["settings"]["drop_specks"] is False
    assert "dropped_specks" not in info


def test_dropped_specks_are_counted_and_the_hole_is_kept(sdfkit, tmp_path):
    ring, out = put_specks(tmp_path / "ring.ply"), tmp_path / "out.ply"
    result = sdfkit("watertight", ring, *SMALL, "--drop-specks", "--frame", "original", "-o", out)
    assert result.exit_code == 0
    assert "ring: dropped 2 specks, at most 0.0346 wide" in result.stderr
    assert "resolution" not in result.stderr
    mesh, info = load(out), read_info(out)
    assert mesh.euler_number == 0
    assert mesh.volume == pytest.approx(RING.volume, rel=0.01)
    assert info["settings"]["drop_specks"] is True
    assert info["dropped_specks"] == {"count": 2, "largest": pytest.approx(0.0346, rel=1e-2)}
