"""Faces of an OBJ: concave outlines keep their shape, everything else its bytes."""

import numpy as np
import pytest

from sdfkit.io.meshes.obj_polygons import cut_polygons
from sdfkit.io.meshes.reader import open_meshes

SQUARE = [(0, 0), (3, 0), (3, 3), (0, 3)]
# Its fan from corner 0 covers the notch as well.
NOTCHED = [(0, 0), (3, 0), (3, 3), (2, 3), (2, 1), (1, 1), (1, 3), (0, 3)]
# A slit leads from the outline to the hole and back.
WITH_HOLE = [*SQUARE, (0, 0), (1, 1), (1, 2), (2, 2), (2, 1), (1, 1)]
# Concave at corner 1, so that the diagonal from 0 lies outside.
DART = [(0, 0), (1, 1), (2, 0), (1, 3)]


def write_obj(outline, face=None):
    vertices = "".join(f"v {x} {y} 0\n" for x, y in outline)
    return (vertices + (face or "f " + " ".join(str(at + 1) for at in range(len(outline)))) + "\n").encode()


def load(tmp_path, text):
    path = tmp_path / "a.obj"
    path.write_bytes(text)
    with open_meshes([str(path)], manifest=None) as meshes:
        return next(iter(meshes)).load()


@pytest.mark.parametrize(("outline", "area"), [(NOTCHED, 7), (WITH_HOLE, 8), (DART, 2)])
@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("side", [1, -1])
def test_concave_faces_cover_what_they_outline(tmp_path, outline, area, start, side):
    turned = [*outline[start:], *outline[:start]][::side]
    mesh = load(tmp_path, write_obj(turned))
    assert mesh.area == pytest.approx(area)
    assert len(mesh.faces) == len(outline) - 2
    assert np.allclose(mesh.face_normals, [0, 0, side])


def test_corners_keep_texture_and_normal_and_lines_their_place():
    text = write_obj(DART, "usemtl a\nf 1/1/1 2/2/1 3/3/1 4/4/1\nusemtl b\nf 1 2 3\nf 1 2 3 4 1")
    before, after = cut_polygons(text).split(b"usemtl a\n")
    assert before == text.split(b"usemtl a\n")[0]
    first, second, *rest = after.splitlines()
    assert {frozenset(line.split()) for line in (first, second)} == {
        frozenset([b"f", b"4/4/1", b"1/1/1", b"2/2/1"]),
        frozenset([b"f", b"2/2/1", b"3/3/1", b"4/4/1"]),
    }
    assert rest[:2] == [b"usemtl b", b"f 1 2 3"]


def test_negative_indices_count_back_from_their_line(tmp_path):
    lines = write_obj(NOTCHED, "f -8 -7 -6 -5 -4 -3 -2 -1").decode() + "v 9 9 9\n"
    cut = cut_polygons(lines.encode())
    corners = [word for line in cut.splitlines() if line.startswith(b"f ") for word in line.split()[1:]]
    assert set(corners) == {b"%d" % at for at in range(-8, 0)}
    assert cut.count(b"\nf ") == 6


def test_faces_over_several_lines_are_joined(tmp_path):
    face = "f 1 2 3 4 \\\n5 6 7 8"
    assert load(tmp_path, write_obj(NOTCHED, face)).area == pytest.approx(7)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"v 0 0 0\n",
        write_obj(SQUARE),
        write_obj(SQUARE, "f 1 2 3\nf 1 3 4"),
        write_obj(SQUARE, "f 1 3 2 4"),  # crosses itself
        write_obj(DART, "f 1 2 3 9"),
        write_obj(DART, "f 1 2 three 4"),
        write_obj([(0, 0)] * 4),
        b"v 0 0 zero\n" + write_obj(DART),
    ],
)
def test_all_else_keeps_its_bytes(text):
    assert cut_polygons(text) == text


def test_materials_beside_the_file_are_found(tmp_path):
    (tmp_path / "paint.mtl").write_text("newmtl red\nKd 1 0 0\n")
    text = b"mtllib paint.mtl\n" + write_obj(NOTCHED, "usemtl red\nf 1 2 3 4 5 6 7 8")
    assert load(tmp_path, text).visual.material.name == "red"
