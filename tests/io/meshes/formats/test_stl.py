"""STL files, binary and text, as programs write them."""

import struct

import numpy as np
import pytest

from sdfkit.errors import GeometryError, InputError
from sdfkit.io.meshes.formats.source import Source
from sdfkit.io.meshes.formats.stl import read_stl
from tests.io.meshes.formats.prism import AREA, POLYGONS, VERTICES, VOLUME, measure

# Corners of a tetrahedron of volume 1/6, and its faces.
CORNERS = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], dtype=float)
TRIANGLES = CORNERS[[(0, 2, 1), (0, 1, 3), (1, 2, 3), (2, 0, 3)]]
AREA_OF_TETRAHEDRON = 1.5 + 3**0.5 / 2


def write_binary(header=b"part", marks=(0, 0, 0, 0), count=4):
    rows = (
        struct.pack("<12fH", 0, 0, 0, *triangle.reshape(-1), mark)
        for triangle, mark in zip(TRIANGLES, marks, strict=True)
    )
    return header.ljust(80) + struct.pack("<I", count) + b"".join(rows)


def write_facet(points, normal="0 0 0"):
    vertices = "".join(f"      vertex {x:.17g} {y:.17g} {z:.17g}\n" for x, y, z in points)
    return f"  facet normal {normal}\n    outer loop\n{vertices}    endloop\n  endfacet\n"


def write_text(facets=TRIANGLES, name="part", normal="0 0 0"):
    body = "".join(write_facet(points, normal) for points in facets)
    return f"solid {name}\n{body}endsolid {name}\n".encode()


def read(content, *, colour=False):
    source = Source("a.stl", None, colour)
    (part,) = read_stl(content, source)
    return part, source


def is_tetrahedron(part):
    return np.array_equal(part.vertices[part.faces], TRIANGLES)


@pytest.mark.parametrize(
    "header", [b"part", b"solid part", b"SOLID", b"", b"solid\nfacet normal", b"\0" * 80]
)
def test_binary_files_may_begin_with_any_word(header):
    part, source = read(write_binary(header))
    assert is_tetrahedron(part)
    assert measure(part) == pytest.approx((1 / 6, AREA_OF_TETRAHEDRON))
    assert (part.vertices.dtype, part.faces.dtype) == (np.float64, np.int64)
    assert len(part.vertices) == 12, "equal vertices are not merged"
    assert source.left_out == []


@pytest.mark.parametrize("header", [b"part", b"solid part"])
@pytest.mark.parametrize("more", [b"\r\n", bytes(128), b"x" * 50, b"endsolid"])
def test_bytes_behind_the_last_triangle_are_noted(header, more):
    part, source = read(write_binary(header) + more)
    assert is_tetrahedron(part)
    assert source.left_out == [f"{len(more)} bytes after its last triangle were left out"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a complete STL; its header declares 0 triangles, but it holds 0"),
        (b"hello, this is a text\n", "is not a complete STL"),
        (bytes(83), "is not a complete STL"),
        (write_binary()[:-1], "its header declares 4 triangles, but it holds 3"),
        (write_binary(count=5), "its header declares 5 triangles, but it holds 4"),
        (write_binary(b"solid a", count=4_000_000_000), "declares 4000000000 triangles, but it holds 4"),
        (
            write_binary(count=0),
            "the header of an STL declares no triangles, but 200 bytes follow; is it damaged?",
        ),
        (write_text()[:-20], "an STL ends early; its last line is not endsolid; is it truncated?"),
        (write_text()[: len(write_text()) // 2], "an STL ends early; its last line is not endsolid"),
        (write_text(TRIANGLES[:, :2]), "facet 1 of an STL is not complete"),
        (write_text([TRIANGLES[0], TRIANGLES[1][:2], TRIANGLES[2]]), "facet 2 of an STL is not complete"),
        (write_text().replace(b"endloop", b"", 1), "facet 1 of an STL is not complete"),
        (
            write_text().replace(b"vertex 1 0 0", b"vertex 1 0", 1),
            "an STL has 35 coordinates for 12 vertices",
        ),
        (write_text().replace(b"vertex 1 0 0", b"vertex 1 0 0 0", 1), "has 37 coordinates for 12 vertices"),
        (
            write_text().replace(b"vertex 1 0 0", b"vertex 1,5 0 0", 1),
            "has '1,5' in place of a number; .* commas",
        ),
        (write_text().replace(b"vertex 1 0 0", b"vertex one 0 0", 1), "has 'one' in place of a number"),
    ],
)
def test_damaged_files_are_refused_in_one_line(content, message):
    with pytest.raises(InputError, match=message) as caught:
        read(content)
    assert str(caught.value).startswith("a.stl: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"part".ljust(84, b"\0"), "holds no vertices and no faces; sdfkit needs a surface"),
        (b"solid part\nendsolid part\n", "holds an empty solid and no faces; sdfkit needs a surface"),
        (b"solid\nendsolid", "holds an empty solid and no faces"),
    ],
)
def test_files_without_faces_are_named(content, message):
    with pytest.raises(GeometryError, match=rf"^a\.stl: {message}"):
        read(content)


def upper(text):
    return text.upper()


def windows(text):
    return text.replace(b"\n", b"\r\n")


def macintosh(text):
    return text.replace(b"\n", b"\r")


def unindented(text):
    return b"\n".join(line.strip() for line in text.splitlines())


def indented(text):
    return b"\n\n \t" + text.replace(b"\n", b"\n\t  ") + b"\n\n"


def on_few_lines(text):
    first, *rest, last = text.splitlines()
    return first + b"\n" + b" ".join(rest) + b"\n" + last


def joined_with_the_end(text):
    return text.replace(b"endfacet\nendsolid", b"endfacet endsolid")


def padded(text):
    return b"\xef\xbb\xbf" + text + bytes(100)


@pytest.mark.parametrize(
    "change",
    [upper, windows, macintosh, unindented, indented, on_few_lines, joined_with_the_end, padded],
)
def test_layouts_of_text(change):
    part, source = read(change(write_text()))
    assert is_tetrahedron(part)
    assert source.left_out == []


@pytest.mark.parametrize(
    "name",
    ["", "a b c", "vertex of a loop", "endsolid facet", "solid", "1 2 3", "Größe", "$", "c:\\parts\\a.stl"],
)
def test_the_name_of_a_solid_may_hold_any_word(name):
    part, source = read(write_text(name=name))
    assert is_tetrahedron(part)
    assert source.left_out == []


def test_endsolid_may_be_two_words():
    assert is_tetrahedron(read(write_text().replace(b"endsolid", b"end solid"))[0])


@pytest.mark.parametrize("normal", ["nan nan nan", "-1.#IND 0 -1.#QNAN", "-nan(ind) 0 0", "1e-5 0,5 x"])
def test_normals_are_not_read(normal):
    assert is_tetrahedron(read(write_text(normal=normal))[0])


def test_facets_without_normals():
    assert is_tetrahedron(read(write_text().replace(b" normal 0 0 0", b""))[0])


def test_all_solids_of_a_text_are_read():
    content = (
        write_text(TRIANGLES[:1], "a")
        + b"\n"
        + write_text(TRIANGLES[1:3], "b")
        + write_text(TRIANGLES[3:], "a")
    )
    part, source = read(content)
    assert is_tetrahedron(part)
    assert source.left_out == []


def test_empty_solids_are_noted():
    part, source = read(write_text([], "a") + write_text() + write_text([], "b"))
    assert is_tetrahedron(part)
    assert source.left_out == ["2 of 3 solids are empty"]


def test_loops_of_more_than_three_vertices_are_cut():
    part, _ = read(write_text(np.array(VERTICES, float)[face] for face in POLYGONS))
    assert measure(part) == pytest.approx((VOLUME, AREA))
    mixed, _ = read(write_text([TRIANGLES[0], CORNERS[[0, 1, 2, 3]], TRIANGLES[1]]))
    assert mixed.faces.tolist() == [[0, 1, 2], [3, 4, 5], [3, 5, 6], [7, 8, 9]]


def test_coordinates_of_a_text_keep_all_digits():
    points = [(1 / 3, 1e300, -1e-300), (1 + 2**-52, 0, 0), (np.nan, np.inf, -np.inf)]
    part, _ = read(write_text([points]))
    assert np.array_equal(part.vertices, points, equal_nan=True)


def test_numbers_of_binary_files_that_are_not_finite_are_passed_on():
    content = bytearray(write_binary())
    content[96:108] = struct.pack("<2f", np.nan, np.inf) + b"\1\0\x80\x7f"  # the last is a signalling NaN
    part, _ = read(bytes(content))
    assert np.array_equal(part.vertices[0], [np.nan, np.inf, np.nan], equal_nan=True)


RED, GREEN, BLUE = (1, 0, 0), (0, 1, 0), (0, 0, 1)


def test_colours_of_viscam():
    marks = (0x8000 | 31 << 10, 0x8000 | 31 << 5, 0x8000 | 31, 31 << 10)
    part, _ = read(write_binary(marks=marks), colour=True)
    assert np.array_equal(part.face_tint, [RED, GREEN, BLUE, (1, 1, 1)])
    assert read(write_binary(marks=marks))[0].face_tint is None


def test_colours_of_magics():
    marks = (31, 31 << 5, 0x8000, 0)
    part, _ = read(write_binary(b"COLOR=\0\0\xff\xff,MATERIAL=", marks=marks), colour=True)
    assert np.array_equal(part.face_tint, [RED, GREEN, BLUE, BLUE])


def test_other_attributes_are_not_colours():
    part, _ = read(write_binary(marks=(1, 2, 3, 4)), colour=True)
    assert part.face_tint is None
