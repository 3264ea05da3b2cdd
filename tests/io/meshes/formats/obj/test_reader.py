"""OBJ files: all spellings of the format give the same triangles, and damaged files are refused in one line."""

import random

import numpy as np
import pytest

from sdfkit.errors import GeometryError, InputError, SdfkitError
from sdfkit.io.meshes.formats.obj.reader import read_obj
from sdfkit.io.meshes.formats.source import Source

CORNERS = "v 0 0 0\nv 3 0 0\nv 0 3 0\nv 0 0 3\n"
TRIANGLE = [[[0, 0, 0], [3, 0, 0], [0, 3, 0]]]
HALF = ((128 / 255 + 0.055) / 1.055) ** 2.4  # linear light of the sRGB byte 128
SQUARE = [(0, 0), (3, 0), (3, 3), (0, 3)]
# Its fan from corner 0 covers the notch as well.
NOTCHED = [(0, 0), (3, 0), (3, 3), (2, 3), (2, 1), (1, 1), (1, 3), (0, 3)]
# A slit leads from the outline to the hole and back.
WITH_HOLE = [*SQUARE, (0, 0), (1, 1), (1, 2), (2, 2), (2, 1), (1, 1)]
# Concave at corner 1, so that the diagonal from 0 lies outside.
DART = [(0, 0), (1, 1), (2, 0), (1, 3)]


def read(text, folder=None, colour=False):
    source = Source("a.obj", folder, colour)
    return read_obj(text if isinstance(text, bytes) else text.encode(), source), source


def triangles(text, **options):
    (part,), source = read(text, **options)
    assert part.vertices.dtype == np.float64
    assert part.faces.dtype == np.int64
    assert source.left_out == []
    return part.vertices[part.faces].tolist()


def outline(points):
    face = " ".join(str(number + 1) for number in range(len(points)))
    return "".join(f"v {x} {y} 0\n" for x, y in points) + f"f {face}\n"


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        CORNERS + "f 1 2 3\n",
        CORNERS + "f 1 2 3",
        "f 1 2 3\n" + CORNERS,
        CORNERS + "f +1 +2 +3\n",
        CORNERS + "f 001 2 3\n",
        CORNERS + "f -4 -3 -2\n",
        CORNERS + "f -4 2 -2\n",
        CORNERS.replace("v 0 0 3\n", "") + "f -3 -2 -1\nv 0 0 3\n",
        CORNERS.replace(" ", "\t") + "f\t1\t2\t3\n",
        "  \t" + CORNERS.replace("\n", "\n\t  ") + "f 1 2 3\n",
        CORNERS.replace(" ", "   ").replace("\n", "  \n\n") + "f  1   2  3   \n",
        (CORNERS + "f 1 2 3\n").replace("\n", "\r\n"),
        (CORNERS + "f 1 2 3\n").replace("\n", "\r"),
        CORNERS + "f 1 \\\n2 \\\n3\n",
        CORNERS + "f 1 2\\\r\n 3\r\n",
        CORNERS.replace("v 3", "v\\\n3") + "f 1 2 3\n",
        "# C:\\meshes\\\n" + CORNERS + "\t# C:\\\nf 1 2 3\n",
        CORNERS.replace("0\n", "0 # metres\n") + "f 1 2 3# first\n#f 1 2 4\n",
        "\ufeff" + CORNERS + "f 1 2 3\n",
        ("\ufeff" + CORNERS + "# Maße\nf 1 2 3\n").encode("utf-16-le"),
        ("\ufeff" + CORNERS + "f 1 2 3\n").encode("utf-16-be"),
        ("# Maße\no Größe\n" + CORNERS + "f 1 2 3\n").encode("latin-1"),
        CORNERS.replace("0 0", "-.0 0E5").replace("3", "3.0e+0") + "f 1 2 3\n",
        CORNERS.replace("3", "+30.e-1") + "f 1 2 3\n",
        CORNERS + "vn 0 0 1\nf 1//1 2//1 3//1\n",
        CORNERS + "vt 0 0\nf 1/1 2/1 3/1\n",
        CORNERS + "vt 0 0\nvn 0 0 1\nf 1/1/1 2/1/1 3/1/1\n",
        CORNERS + "vt 0 0\nvn 0 0 1\nf 1/1/1 2/1 3//1\n",
        CORNERS + "vt 0 0\nvn 0 0 1\nf -4/-1/-1 2//-1 3\n",
        CORNERS + "f 1/ 2// 3/\n",
        "o a\ng b c\ns off\n" + CORNERS + "s 1\ng\no\nlod 1\nf 1 2 3\n",
        "v 0 0 0 1\nv 3 0 0 1.0\nv 0 3 0\nf 1 2 3\n",
        "vp 0 0\nvn\nvt\n" + CORNERS + "f 1 2 3\n",
    ],
)
def test_all_spellings_give_the_same_triangle(text, colour):
    assert triangles(text, colour=colour) == TRIANGLE


def test_relative_numbers_count_back_from_the_line_of_the_face(tmp_path):
    """v, vt and vn are counted apart, and blocks have different numbers of each."""
    (tmp_path / "a.mtl").write_text("newmtl a\nmap_Kd a.png\n")
    (tmp_path / "a.png").write_bytes(b"picture")
    text, expected, uvs = "mtllib a.mtl\nusemtl a\n", [], []
    for block in range(5):
        text += f"v {block} 9 9\nv {block} 0 0\nv {block} 1 0\nv {block} 0 1\n" + "vt 7 7\n" * block
        text += f"vt {block} 0\nvt {block} 1\nvn 0 0 1\nf -3/-2/-1 -2/-1/-1 -1/-1/-1\n"
        expected.append([[block, 0, 0], [block, 1, 0], [block, 0, 1]])
        uvs.append([[block, 0], [block, 1], [block, 1]])
    (part,), _ = read(text, tmp_path, colour=True)
    assert part.vertices[part.faces].tolist() == expected
    assert part.uv[part.faces].tolist() == uvs


def test_vertices_keep_their_order_and_unused_ones_are_left_out():
    (part,), _ = read("v 9 9 9\nv 0 0 1\nv 0 0 1\nv 8 8 8\nv 5 0 0\nv 4 0 0\nf 6 3 2\nf 5 6 2\n")
    assert part.vertices.tolist() == [[0, 0, 1], [0, 0, 1], [5, 0, 0], [4, 0, 0]]
    assert part.faces.tolist() == [[3, 1, 0], [2, 3, 0]]


@pytest.mark.parametrize("seed", range(4))
def test_relative_and_absolute_numbers_mean_the_same(seed):
    rng = random.Random(seed)
    absolute, relative, count = "", "", 0
    for _ in range(60):
        if count < 3 or rng.random() < 0.5:
            line = f"v {rng.random()} {rng.random()} {rng.random()}\n"
            absolute, relative, count = absolute + line, relative + line, count + 1
        else:
            corners = rng.sample(range(1, count + 1), 3)
            absolute += "f {} {} {}\n".format(*corners)
            relative += "f {} {} {}\n".format(
                *(rng.choice([number, number - count - 1]) for number in corners)
            )
    assert triangles(absolute) == triangles(relative)


@pytest.mark.parametrize(("points", "area"), [(NOTCHED, 7), (WITH_HOLE, 8), (DART, 2)])
@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("side", [1, -1])
def test_concave_faces_cover_what_they_outline(points, area, start, side):
    corners = np.array(triangles(outline([*points[start:], *points[:start]][::side])))
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    assert len(corners) == len(points) - 2
    assert normals[:, 2].sum() == pytest.approx(side * area)
    assert np.abs(normals).sum() == pytest.approx(area)


def test_triangles_with_texture_and_hexagons_without_have_six_numbers_each():
    hexagon = "".join(f"v {x} {y} 1\n" for x, y in [(2, 0), (1, 2), (-1, 2), (-2, 0), (-1, -2), (1, -2)])
    found = np.array(triangles(CORNERS + hexagon + "vt 0 0\nf 1/1 2/1 3/1\nf 5 6 7 8 9 10\nf 1/1 3/1 4/1\n"))
    areas = np.linalg.norm(np.cross(found[:, 1] - found[:, 0], found[:, 2] - found[:, 0]), axis=1) / 2
    assert areas[[0, -1]].tolist() == [4.5, 4.5]
    assert areas[1:-1].sum() == pytest.approx(12)


@pytest.mark.parametrize(
    "word", ["nan", "-NaN", "1.#IND", "-1.#QNAN0", "1.#INF00", "nan(ind)", "inf", "-inf"]
)
def test_numbers_that_are_not_finite_are_kept(word):
    (part,), _ = read(CORNERS + f"v 1 {word} 2\nf 1 2 5\n")
    assert np.isfinite(part.vertices).tolist() == [[True] * 3, [True] * 3, [True, False, True]]


def test_many_small_faces_are_kept_apart():
    count = 20000
    text = "".join(f"v {i} 0 0\nv {i} 1 0\nv {i} 0 1\nusemtl m{i % 7}\nf -3 -2 -1\n" for i in range(count))
    (part,), _ = read(text)
    assert part.faces.tolist() == np.arange(3 * count).reshape(-1, 3).tolist()
    assert part.vertices[::3, 0].tolist() == list(range(count))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is an empty file"),
        ("\n \r\n\t\n", "is an empty file"),
        (CORNERS, "holds a point cloud of 4 points and no faces"),
        (CORNERS + "f\nf 1 2\n", "4 points, 2 faces with fewer than 3 corners and no faces"),
        (CORNERS + "l 1 2 3\nl 1 2\np 1\n", "4 points, 2 polylines, 1 point statement and no faces"),
        (
            CORNERS + "cstype bspline\ndeg 1 1\nsurf 0 1 0 1 1 2 3 4\nparm u 0 1\nend\n",
            "4 points, 1 surface and no",
        ),
        ("# made by hand\no empty\n", "holds no vertices and no faces"),
        (
            "<!DOCTYPE html>\n<html>\n",
            "is not an OBJ; it has no vertices and no faces, but '<!DOCTYPE html>'",
        ),
        (b"\x7fELF\x02\x01\x01\0\0\0v 1 2 3", "is not an OBJ; it holds bytes of value 0"),
        ((CORNERS + "f 1 2 3\n").encode("utf-16-le"), "is not an OBJ; it holds bytes of value 0"),
        (b"\x1f\x8b\x08\xff\xfe\xfd", "is not an OBJ"),
        (CORNERS + "f 1 2 0\n", "refers to vertex 0, but an OBJ numbers vertices from 1"),
        (CORNERS + "f 0//1 1//1 2//1\n", "refers to vertex 0,"),
        (CORNERS + "f 1 2 5\n", "refers to vertex 5, but the file holds 4 vertices"),
        (CORNERS + "f 1 2 -5\nv 1 1 1\n", "refers to vertex -5, but the file holds 5 vertices"),
        (CORNERS + "f 1 2 999999999999999999\n", "refers to vertex 999999999999999999"),
        (CORNERS + "f 1 2 9999999999999999999\n", "has '9999999999999999999' in place of a vertex number"),
        (CORNERS + "f 1 2 3.0\n", "has '3.0' in place of a vertex number"),
        (CORNERS + "f 1,2,3\n", "has '1,2,3' in place of a vertex number"),
        (CORNERS + "f 1 2 --3\n", "has '--3' in place of a vertex number"),
        (CORNERS + "f 1 2 -\n", "has '-' in place of a vertex number"),
        (CORNERS + "f 1 2 /3\n", "has a corner of a face without a vertex"),
        (CORNERS + "f 1 / 2 3\n", "has a corner of a face without a vertex"),
        (CORNERS + "f 1 2 3\nv 1 2", "has fewer than 3 numbers in line 6, 'v 1 2'; is it truncated"),
        (CORNERS + "v\nf 1 2 3\n", "has fewer than 3 numbers in line 5, 'v'"),
        (CORNERS + "v 1 2 x\nf 1 2 3\n", "has 'x' in place of a number"),
        (CORNERS + "v 1,5 2 3\nf 1 2 3\n", "has '1,5' in place of a number"),
        (CORNERS + "v 1-2 3\nf 1 2 3\n", "has '1-2' in place of a number"),
    ],
)
def test_files_without_a_surface_and_damaged_files_are_refused(text, message):
    with pytest.raises((InputError, GeometryError)) as caught:
        read(text, colour=True)
    assert message in str(caught.value)
    assert str(caught.value).startswith("a.obj: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("f 1 2\nf 3\nf\n", "3 faces with fewer than 3 corners were left out"),
        ("l 1 2\nl 2 3 4\np 1 2\n", "left out 2 polylines, 1 point statement"),
        ("curv 0 1 1 2 3\nsurf 0 1 0 1 1 2 3 4\nsurf 0 1 0 1 1 2 3 4\nend\n", "left out 1 curve, 2 surfaces"),
        ("call other.obj\n", "left out 1 called file"),
        ("0.5 0.2\nversion 3\n", "left out 2 unknown statements, such as '0.5 0.2'"),
        (
            "v 1 2 3 0.5\nv 1 2 3 4 5\nv 1 2 3 4 5 6 7 8\nv 1 2 3 1\n",
            "after the positions of 3 of 8 vertices",
        ),
        ("# Faces: 5\n", "a comment announces 5 faces, but the file holds 1"),
    ],
)
def test_what_is_left_out_is_noted(text, phrase):
    (part,), source = read(text + CORNERS + "f -4 -3 -2\n")
    assert part.vertices[part.faces].tolist() == TRIANGLE
    assert len(source.left_out) == 1
    assert phrase in source.left_out[0]


@pytest.mark.parametrize(
    "header", ["# Faces: 1\n", "# Faces: 1\n# Faces: 9\n", "# faces: many\n", "# 12 faces\n"]
)
def test_comments_that_announce_no_more_faces_are_not_noted(header):
    assert triangles(header + CORNERS + "f 1 2 3\n") == TRIANGLE


@pytest.mark.parametrize("colour", [False, True])
def test_every_beginning_of_a_file_is_read_or_refused(colour):
    text = b"mtllib a.mtl\nv 0 0 0 1 0 0\nv 1 0 0 1 1 1\nv 1 1 0\nvt 0 0\nusemtl a\nf 1/1 2/1 3/1\nf -1 -2 -3\\\n -1\n"
    for size in range(len(text)):
        try:
            parts, _ = read(text[:size], colour=colour)
        except SdfkitError as error:
            assert "\n" not in str(error)
        else:
            assert all(part.faces.max() < len(part.vertices) for part in parts)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_bytes_are_read_or_refused(seed):
    rng = random.Random(seed)
    text = bytearray(
        ("mtllib a.mtl\n" + CORNERS + "vt 0 0\nvt 1 0 # uv\nusemtl a\nf 1/1 2/2 3/1 4/-1\n").encode()
    )
    for _ in range(40):
        damaged = bytearray(text)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.choice(b"\x00\x0b\x1a \n\r\\/#-+.e0129vft\x85\xa0\xff")
        try:
            parts, _ = read(bytes(damaged), colour=True)
        except SdfkitError as error:
            assert "\n" not in str(error)
        else:
            assert all(part.faces.max() < len(part.vertices) for part in parts)
