"""Colours and texture coordinates of PLY files."""

import numpy as np
import pytest

from sdfkit.io.meshes.formats.ply.reader import read_ply_mesh
from sdfkit.io.meshes.formats.source import Source
from tests.io.meshes.formats.ply.ply_files import CORNERS, ENCODINGS, SQUARE, XYZ, write_ply
from tests.io.meshes.formats.prism import POLYGONS, VERTICES


def read(content, *, colour=False, folder=None):
    source = Source("a.ply", folder, colour)
    return read_ply_mesh(content, source), source


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("kind", "largest", "rows"),
    [
        ("uchar", 255, [(255, 0, 0), (0, 188, 0), (0, 0, 0)]),
        ("ushort", 65535, [(65535, 0, 0), (0, 48316, 0), (0, 0, 0)]),
        ("float", 1, [(1, 0, 0), (0, 188 / 255, 0), (0, 0, 0)]),
        ("double", 255, [(255, 0, 0), (0, 188, 0), (0, 0, 0)]),
    ],
)
@pytest.mark.parametrize("prefix", ["", "diffuse_"])
def test_colours_of_vertices_are_decoded_from_srgb(encoding, kind, largest, rows, prefix):
    properties = XYZ + [f"{kind} {prefix}{name}" for name in ("red", "green", "blue")] + ["uchar alpha"]
    content = write_ply(
        encoding,
        ("vertex", properties, [(*v, *c, 9) for v, c in zip(SQUARE[:3], rows, strict=True)]),
        ("face", CORNERS, [[[0, 1, 2]]]),
    )
    (part,), _ = read(content, colour=True)
    light = ((188 / 255 + 0.055) / 1.055) ** 2.4  # IEC 61966-2-1
    assert np.allclose(part.tint, [(1, 0, 0), (0, light, 0), (0, 0, 0)], atol=1e-12)
    assert part.face_tint is None
    assert read(content)[0][0].tint is None


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_colours_of_faces_follow_their_triangles(encoding):
    properties = ["uchar red", *CORNERS, "uchar green", "uchar blue"]
    rows = [(255, face, 0, 0) if len(face) == 6 else (0, face, 0, 255) for face in POLYGONS]
    (part,), _ = read(write_ply(encoding, ("vertex", XYZ, VERTICES), ("face", properties, rows)), colour=True)
    is_cap = np.ptp(part.vertices[part.faces][:, :, 2], axis=1) == 0
    assert is_cap.sum() == 8
    assert np.array_equal(part.face_tint, np.where(is_cap[:, None], [1, 0, 0], [0, 0, 1]))


@pytest.mark.parametrize("names", [("s", "t"), ("u", "v"), ("texture_u", "texture_v")])
def test_texture_coordinates_of_vertices(tmp_path, names):
    (tmp_path / "a picture.png").write_bytes(b"PNG")
    content = write_ply(
        "binary_little_endian",
        ("vertex", XYZ + [f"float {name}" for name in names], [(*v, v[0], 1 - v[1]) for v in SQUARE]),
        ("face", CORNERS, [[[0, 1, 2, 3]]]),
        header="comment TextureFile a picture.png",
    )
    (part,), source = read(content, colour=True, folder=tmp_path)
    assert (part.material.texture.name, part.material.texture.content) == ("a picture.png", b"PNG")
    assert np.array_equal(part.uv, [(x, 1 - y) for x, y, _ in SQUARE])
    assert source.missing == []


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texture_coordinates_of_corners_and_several_textures(tmp_path, encoding):
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes(name.encode())
    wedges = [[0, 0, 1, 0, 1, 1, 0, 1], [0.5, 0, 0.75, 0, 0.5, 0.25]]
    properties = [*CORNERS, "list uchar float texcoord", "int texnumber"]
    content = write_ply(
        encoding,
        ("vertex", XYZ, SQUARE),
        ("face", properties, [([0, 1, 2, 3], wedges[0], 1), ([2, 1, 0], wedges[1], 0)]),
        header="comment TextureFile 0.png\ncomment TextureFile 1.png",
    )
    parts, _ = read(content, colour=True, folder=tmp_path)
    seen = {
        part.material.texture.content: (part.vertices[part.faces].tolist(), part.uv[part.faces].tolist())
        for part in parts
    }
    corner = [[float(x) for x in v] for v in SQUARE]
    first = [corner[k] for k in (0, 1, 2)], [corner[k] for k in (0, 2, 3)]
    assert seen == {
        b"0.png": ([[corner[2], corner[1], corner[0]]], [[[0.5, 0], [0.75, 0], [0.5, 0.25]]]),
        b"1.png": ([*first], [[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]]),
    }


def test_faces_whose_texture_does_not_exist_are_kept(tmp_path):
    (tmp_path / "0.png").write_bytes(b"PNG")
    content = write_ply(
        "ascii",
        ("vertex", [*XYZ, "float s", "float t"], [(*v, 0, 0) for v in SQUARE]),
        (
            "face",
            [*CORNERS, "float texnumber"],
            [([0, 1, 2], 0), ([0, 2, 3], np.nan), ([1, 2, 3], 7), ([0, 1, 3], 1)],
        ),
        header="comment TextureFile 0.png\ncomment TextureFile gone.png",
    )
    parts, source = read(content, colour=True, folder=tmp_path)
    assert source.missing == ["gone.png"]
    textures = [part.material.texture and part.material.texture.content for part in parts]
    assert dict(zip(textures, (part.faces.tolist() for part in parts), strict=True)) == {
        None: [[0, 2, 3], [1, 2, 3]],
        b"PNG": [[0, 1, 2]],
        b"": [[0, 1, 3]],
    }


def test_a_missing_texture_leaves_the_colours_of_vertices():
    content = write_ply(
        "ascii",
        ("vertex", [*XYZ, "float s", "float t", "uchar red", "uchar green", "uchar blue"],
         [(*v, 0, 0, 255, 0, 0) for v in SQUARE]),
        ("face", CORNERS, [[[0, 1, 2, 3]]]),
        header="comment TextureFile gone.png",
    )  # fmt: skip
    (part,), source = read(content, colour=True)
    assert source.missing == ["gone.png"]
    assert part.material.texture is None
    assert np.array_equal(part.tint, [[1, 0, 0]] * 4)
    assert read(content)[1].missing == []


def test_texture_coordinates_that_do_not_match_their_faces_are_noted():
    content = write_ply(
        "ascii",
        ("vertex", XYZ, SQUARE),
        ("face", [*CORNERS, "list uchar float texcoord"], [([0, 1, 2, 3], [0, 0, 1, 1])]),
        header="comment TextureFile gone.png",
    )
    (part,), source = read(content, colour=True)
    assert part.uv is None
    assert source.left_out == [
        "texture coordinates that do not match the corners of their faces were left out"
    ]
