"""Materials, textures and colours of OBJ files."""

import numpy as np
import pytest

from sdfkit.io.meshes.formats.obj.reader import read_obj
from sdfkit.io.meshes.formats.source import Source

CORNERS = "v 0 0 0\nv 3 0 0\nv 0 3 0\nv 0 0 3\n"
TRIANGLE = [[[0, 0, 0], [3, 0, 0], [0, 3, 0]]]
HALF = ((128 / 255 + 0.055) / 1.055) ** 2.4  # linear light of the sRGB byte 128


def read(text, folder=None, colour=False):
    source = Source("a.obj", folder, colour)
    return read_obj(text if isinstance(text, bytes) else text.encode(), source), source


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.mtl").write_text(
        "newmtl red\nKd 1 0 0\nnewmtl plain\nnewmtl wood\nKd 0 1 0\nmap_Kd -clamp on -s 2 3 -o 10 20 wood.png\n"
        "newmtl lost\nKd 0 0 1\nmap_Kd lost.png\nnewmtl very  light oak\nKd 0 0 1\n"
    )
    (tmp_path / "two words.mtl").write_text("newmtl blue\nKd 0 0 1\nnewmtl red\nKd 0 1 1\n")
    (tmp_path / "wood.png").write_bytes(b"picture")
    return tmp_path


FACES = "f 1 2 3\n"


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("usemtl red\n", (1, 0, 0)),
        ("usemtl  red \n", (1, 0, 0)),
        ("usemtl red # not blue\n", (1, 0, 0)),
        ("usemtl plain\nusemtl red\n", (1, 0, 0)),
        ("usemtl very light oak\n", (0, 0, 1)),
        ("usemtl blue\n", (0, 0, 1)),
        ("usemtl plain\n", None),
        ("", None),
    ],
)
@pytest.mark.parametrize(
    "library",
    [
        "mtllib a.mtl\nmtllib two words.mtl\n",
        "mtllib a.mtl two words.mtl # materials\n",
        'mtllib "C:\\models\\a.mtl" "two words.mtl"\n',
        "mtllib ./a.mtl\nmtllib\nmtllib two words.mtl\n",
    ],
)
def test_materials_of_all_libraries_are_found(folder, text, base, library):
    for content in (library + CORNERS + text + FACES, CORNERS + text + FACES + library):
        (part,), source = read(content, folder, colour=True)
        assert part.material.base == base
        assert (source.missing, source.left_out) == ([], [])


def test_each_material_is_one_part_in_the_order_of_the_file(folder):
    text = (
        "mtllib a.mtl\n"
        + CORNERS
        + "f 1 2 3\nusemtl red\nf 1 2 4\nusemtl lost\nf 1 3 4\nusemtl red\nf 2 3 4\n"
    )
    parts, source = read(text, folder, colour=True)
    assert [part.material.base for part in parts] == [None, (1, 0, 0), (0, 0, 1)]
    assert [part.faces.tolist() for part in parts] == [[[0, 1, 2]], [[0, 1, 3], [1, 2, 3]], [[0, 1, 2]]]
    assert parts[2].vertices.tolist() == [[0, 0, 0], [0, 3, 0], [0, 0, 3]]
    assert source.missing == ["lost.png"]


def test_without_colour_there_is_one_part_and_no_file_is_opened(folder):
    text = "mtllib lost.mtl\n" + CORNERS + "vt 0\nf 1 2 3\nusemtl wood\nf 1/9 2/x 4/1\n"
    (part,), source = read(text, folder)
    assert part.faces.tolist() == [[0, 1, 2], [0, 1, 3]]
    assert part.uv is None
    assert (source.missing, source.left_out) == ([], [])


def test_textures_are_scaled_shifted_and_clamped_and_replace_the_colour(folder):
    text = CORNERS.replace("\n", " 1 0 0\n") + "vt 0 1\nvt 0.5\nvt 1 0 9\nmtllib a.mtl\nusemtl wood\n"
    parts, _ = read(text + "f 1/1 2/2 3/3\nf 1/2 4/1 2/2\n", folder, colour=True)
    (part,) = parts
    assert part.uv[part.faces].tolist() == [[[10, 23], [11, 20], [12, 20]], [[11, 20], [10, 23], [11, 20]]]
    assert part.vertices[part.faces].tolist() == [*TRIANGLE, [[0, 0, 0], [0, 0, 3], [3, 0, 0]]]
    assert len(part.vertices) == 5  # vertex 1 has two pairs of texture coordinates
    assert part.material.texture.content == b"picture"
    assert part.material.texture.name == "wood.png"
    assert part.material.texture.wrap == ("clamp", "clamp")
    assert (part.material.base, part.material.plain, part.tint) == (None, (0, 1, 0), None)


def test_faces_without_texture_coordinates_have_a_part_of_their_own(folder):
    text = (
        CORNERS
        + "vt 0 0\nmtllib a.mtl\nusemtl wood\nf 1/1 2/1 3/1\nf 1 2/1 4/1\nf 1/1 3/1 4/2\nf 2/1 3/1 4/1\n"
    )
    parts, source = read(text, folder, colour=True)
    assert [part.uv is None for part in parts] == [True, False]
    assert [len(part.faces) for part in parts] == [2, 2]
    assert source.left_out == ["texture coordinates of 1 of 12 corners do not exist"]


def test_a_texture_without_any_texture_coordinates_gives_the_plain_colour(folder):
    text = CORNERS + "mtllib a.mtl\nusemtl wood\nf 1/1 2/2 3\n"
    (part,), source = read(text, folder, colour=True)
    assert (part.uv, part.material.plain) == (None, (0, 1, 0))
    assert source.left_out == ["texture coordinates of 2 of 3 corners do not exist"]


def test_unknown_materials_are_noted(folder):
    text = "mtllib a.mtl\n" + CORNERS + "usemtl gold\nf 1 2 3\nusemtl silver\nf 1 2 4\nusemtl red\n"
    (part,), source = read(text, folder, colour=True)
    assert part.material.base is None
    assert source.left_out == ["no MTL file defines the material 'gold' and 1 other"]


def test_missing_libraries_are_listed(folder):
    (part,), source = read(
        "mtllib lost.mtl a.mtl\n" + CORNERS + "usemtl gold\nf 1 2 3\n", folder, colour=True
    )
    assert part.material.base is None
    assert (source.missing, source.left_out) == (["lost.mtl"], [])


@pytest.mark.parametrize(
    ("numbers", "colour"),
    [
        ("1 0.50196 0", (1, HALF, 0)),
        ("255 128 0", (1, HALF, 0)),
        ("0.50196 1 0 0.25", (HALF, 1, 0)),
        ("1 1 0.50196 0", (1, HALF, 0)),
        ("255 128 0 200", (1, HALF, 0)),
        ("1.0001 -0.1 nan", (1, 0, 0)),
    ],
)
def test_colours_of_vertices_are_srgb(numbers, colour):
    text = "".join(f"v {xyz} {numbers}\n" for xyz in ("0 0 0", "3 0 0", "0 3 0")) + "f 1 2 3\n"
    (part,), _ = read(text, colour=True)
    assert part.vertices[part.faces].tolist() == TRIANGLE
    assert np.allclose(part.tint, [colour] * 3)
    assert read(text)[0][0].tint is None


def test_vertices_without_colour_are_white():
    (part,), _ = read("v 0 0 0 255 0 0\nv 3 0 0\nv 0 3 0 0 0 255\nv 1 1 1 9 9 9\nf 1 2 3\n", colour=True)
    assert part.tint.tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 1]]
    assert part.vertices[part.faces].tolist() == TRIANGLE


def test_colours_of_vertices_stay_beside_a_plain_material(folder):
    text = "mtllib a.mtl\nv 0 0 0 0 1 0\nv 3 0 0 0 1 0\nv 0 3 0 0 1 0\nusemtl red\nf 1 2 3\n"
    (part,), _ = read(text, folder, colour=True)
    assert part.material.base == (1, 0, 0)
    assert part.tint.tolist() == [[0, 1, 0]] * 3
