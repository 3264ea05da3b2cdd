"""Meshes in PLY files: every encoding, polygons, strips and colours."""

import numpy as np
import pytest

from sdfkit.errors import GeometryError, InputError
from sdfkit.io.meshes.formats.ply.reader import read_ply_mesh
from sdfkit.io.meshes.formats.source import Source
from tests.io.meshes.formats.ply.ply_files import CODES, CORNERS, ENCODINGS, SQUARE, XYZ, mesh_ply, write_ply
from tests.io.meshes.formats.prism import AREA, POLYGONS, TRIANGLES, VERTICES, VOLUME, measure


def read(content, *, colour=False, folder=None):
    source = Source("a.ply", folder, colour)
    return read_ply_mesh(content, source), source


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_concave_polygons_of_mixed_sizes_keep_their_shape(encoding):
    for polygons in (POLYGONS, POLYGONS[::-1], POLYGONS[2:] + POLYGONS[:2]):
        (part,), source = read(mesh_ply(encoding, polygons=polygons))
        assert len(part.faces) == TRIANGLES
        assert measure(part) == pytest.approx((VOLUME, AREA))
        assert np.array_equal(part.vertices, VERTICES)
        assert source.left_out == []


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", CODES)
def test_coordinates_may_have_any_type(encoding, kind):
    properties = [f"{kind} {axis}" for axis in "zyx"]
    content = write_ply(
        encoding, ("vertex", properties, [v[::-1] for v in SQUARE]), ("face", CORNERS, [[[0, 1, 2]]])
    )
    (part,), _ = read(content)
    assert part.vertices.dtype == np.float64
    assert np.array_equal(part.vertices, SQUARE)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_double_coordinates_keep_all_digits(encoding):
    vertices = [(1 / 3, 1e300, -1e-300), (1 + 2**-52, 0, 0), (0, 1, 0)]
    content = write_ply(
        encoding, ("vertex", [f"double {axis}" for axis in "xyz"], vertices), ("face", CORNERS, [[[0, 1, 2]]])
    )
    (part,), _ = read(content)
    assert np.array_equal(part.vertices, vertices)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("count", ["char", "uchar", "short", "ushort", "int", "uint"])
@pytest.mark.parametrize("kind", ["char", "uchar", "short", "ushort", "int", "uint", "float", "double"])
def test_lists_of_faces_may_have_any_type(encoding, count, kind):
    properties = [f"list {count} {kind} vertex_index"]
    content = write_ply(
        encoding, ("vertex", XYZ, SQUARE), ("face", properties, [[[0, 1, 2, 3]], [[0, 2, 3]]])
    )
    (part,), _ = read(content)
    assert part.faces.dtype == np.int64
    assert part.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 2, 3]]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_other_properties_and_elements_are_skipped(encoding):
    content = write_ply(
        encoding,
        ("before", ["short a", "list uchar double b", "uchar c"], [(1, [0.5], 2), (1, [], 2)]),
        ("face", ["uchar flags", "list int float weights", *CORNERS, "list uchar uchar more", "double d"],
         [(1, [0.5, 2], [0, 1, 2], [7], 1e9), (2, [], [0, 1, 2, 3], [], 0), (0, [1], [0, 2, 3], [1, 2], 4)]),
        ("between", [], [[], []]),
        ("vertex", ["list uchar int rings", "float y", "float nx", "float z", "uchar q", "double x"],
         [([1] * k, y, 9, z, 9, x) for k, (x, y, z) in enumerate(SQUARE)]),
        ("after", ["int v"], [[3]]),
    )  # fmt: skip
    (part,), source = read(content)
    assert np.array_equal(part.vertices, SQUARE)
    assert part.faces.tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3], [0, 2, 3]]
    assert source.left_out == [
        "the element before was left out (2 rows)",
        "the element between was left out (2 rows)",
        "the element after was left out (1 row)",
    ]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_strips_alternate_and_start_anew_after_minus_one(encoding):
    strips = [[[0, 1, 3, 2, -1, 4, 5, 6, -1, -1, 0, 2, 3]], [[3, 4, 5, 6]]]
    content = write_ply(
        encoding, ("vertex", XYZ, VERTICES), ("tristrips", ["list int int vertex_indices"], strips)
    )
    (part,), source = read(content)
    assert part.faces.tolist() == [[0, 1, 3], [1, 2, 3], [4, 5, 6], [0, 2, 3], [3, 4, 5], [4, 6, 5]]
    assert source.left_out == []


def test_strips_of_a_box_are_closed_and_face_outwards():
    # A strip around the sides, in which repeated vertices join the top and the bottom to it.
    corners = [(x, y, z) for z in (0, 1) for x, y in ((0, 0), (2, 0), (2, 3), (0, 3))]
    strip = [4, 0, 5, 1, 6, 2, 7, 3, 4, 0, 0, 0, 3, 1, 2, -1, 4, 5, 7, 6]
    content = write_ply(
        "binary_big_endian",
        ("vertex", XYZ, corners),
        ("tristrips", ["list int int vertex_indices"], [[strip]]),
    )
    (part,), _ = read(content)
    assert len(part.faces) == 12
    assert measure(part) == pytest.approx((6, 22))


def test_faces_and_strips_are_joined():
    content = write_ply(
        "ascii",
        ("vertex", XYZ, SQUARE),
        ("tristrips", ["list int int vertex_indices"], [[[0, 2, 3]]]),
        ("face", CORNERS, [[[0, 1, 2]]]),
    )
    (part,), _ = read(content)
    assert part.faces.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_what_has_no_area_by_its_number_of_corners_is_noted():
    content = write_ply(
        "ascii",
        ("vertex", XYZ, SQUARE),
        ("face", CORNERS, [[[0, 1]], [[0, 1, 2]], [[]], [[2]]]),
        ("tristrips", ["list int int vertex_indices"], [[[0, 1, -1, 3, -1, 0, 2, 3]]]),
    )
    (part,), source = read(content)
    assert part.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert source.left_out == [
        "3 faces with fewer than 3 corners were left out",
        "2 triangle strips with fewer than 3 vertices were left out",
    ]


@pytest.mark.parametrize("width", range(1, 29))
def test_lines_of_any_number_of_numbers(width):
    corners, faces = (
        [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)],
        [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]],
    )
    header, body = mesh_ply(vertices=corners, polygons=faces).split(b"end_header\n")
    words = body.split()
    lines = [b" ".join(words[at : at + width]) for at in range(0, len(words), width)]
    (part,), _ = read(b"\n".join([header + b"end_header", *lines]))
    assert measure(part) == pytest.approx((1 / 6, 1.5 + 3**0.5 / 2))


def test_text_may_be_distributed_over_lines_in_any_way():
    content = mesh_ply()
    header, body = content.split(b"end_header\n")
    for layout in (body.replace(b"\n", b" "), body.replace(b" ", b"\n"), body.replace(b"\n", b"\r\n\n\t")):
        (part,), source = read(header + b"end_header\n" + layout)
        assert measure(part) == pytest.approx((VOLUME, AREA))
        assert source.left_out == []


@pytest.mark.parametrize("polygons", [POLYGONS, [[0, 1, 2]] * 3, [[0, 1, 2], [0, 1], [1]]])
def test_a_text_in_which_a_number_or_a_line_is_missing_is_refused(polygons):
    header, body = mesh_ply(polygons=polygons).split(b"end_header\n")
    lines = body.splitlines(keepends=True)
    for at, line in enumerate(lines):
        for less in (line[: line.rindex(b" ")] + b"\n", b""):
            with pytest.raises((InputError, GeometryError)):
                read(header + b"end_header\n" + b"".join([*lines[:at], less, *lines[at + 1 :]]))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_headers_may_have_windows_line_ends_and_remarks(encoding):
    header = "comment made by hand\nobj_info num_cols 3\n\ncomment  end_header"
    (part,), _ = read(mesh_ply(encoding, header=header, line_end="\r\n"))
    assert measure(part) == pytest.approx((VOLUME, AREA))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_numbers_that_are_not_finite_are_passed_on(encoding):
    vertices = [(np.nan, 0, np.inf), (1, 0, -np.inf), (0, 1, 0)]
    (part,), _ = read(mesh_ply(encoding, vertices, [[0, 1, 2]]))
    assert np.array_equal(part.vertices, vertices, equal_nan=True)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_follows_the_last_row_is_noted(encoding):
    content = mesh_ply(encoding)
    unit = "numbers" if encoding == "ascii" else "bytes"
    more = b"1 2 3" if encoding == "ascii" else b"123"
    assert read(content + b"\n\0\r\n")[1].left_out == []
    assert read(content + more)[1].left_out == [f"3 {unit} after its last row were left out"]
    assert read(content + content)[1].left_out == [
        "the meshes after the first were left out; to read all, pipe the file to standard input"
    ]


SPLATS = [
    *XYZ,
    "float f_dc_0",
    "float f_dc_1",
    "float f_dc_2",
    "float opacity",
    "float scale_0",
    "float rot_0",
]


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ([("vertex", XYZ, SQUARE)], "holds a point cloud of 4 points and no faces; sdfkit needs a surface"),
        ([("vertex", XYZ, []), ("face", CORNERS, [])], "holds no vertices and no faces"),
        (
            [("vertex", XYZ, SQUARE), ("face", CORNERS, [[[0, 1]]])],
            r"4 points, an element face \(1 row\) and no faces",
        ),
        (
            [("vertex", XYZ, SQUARE), ("edge", ["int vertex1", "int vertex2"], [(0, 1), (1, 2)])],
            r"holds a point cloud of 4 points, an element edge \(2 rows\) and no faces",
        ),
        (
            [("vertex", XYZ, SQUARE), ("range_grid", CORNERS, [[[0]], [[]], [[3]]])],
            r"holds a point cloud of 4 points, an element range_grid \(3 rows\) and no faces",
        ),
        ([("vertex", SPLATS, [[0] * 9] * 5)], "holds 5 Gaussian splats and no faces; sdfkit needs a surface"),
    ],
)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_without_faces_are_named(encoding, elements, message):
    with pytest.raises(GeometryError, match=rf"^a\.ply: .*{message}"):
        read(write_ply(encoding, *elements))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("element", "corner"),
    [
        ("face", -1),
        *((element, corner) for element in ("face", "tristrips") for corner in (4, -2, 2**31 - 1, -(2**31))),
    ],
)
def test_vertices_that_do_not_exist_are_refused(encoding, corner, element):
    content = write_ply(
        encoding,
        ("vertex", XYZ, SQUARE),
        (element, ["list int int vertex_index"], [[[0, 1, 2]], [[1, corner, 3, 2]]]),
    )
    with pytest.raises(
        InputError, match=rf"a face refers to a vertex that does not exist \(vertex {corner} of 4,"
    ):
        read(content)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["vertex", "face"])
def test_rows_that_do_not_arrive_are_refused(encoding, name):
    content = mesh_ply(encoding)
    count = 12 if name == "vertex" else 8
    for rows in (count + 20, 1_000_000_000, 10**30):
        claim = content.replace(f"{name} {count}".encode(), f"{name} {rows}".encode())
        with pytest.raises(
            InputError, match=r"a PLY ends early; its header declares \d+ rows of the element"
        ):
            read(claim)
    last = 2 if encoding == "ascii" else 1
    with pytest.raises(InputError, match="a PLY ends early; its header declares 8 rows of the element face"):
        read(content.rstrip(b"\n")[:-last] if encoding == "ascii" else content[:-last])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rows_without_properties_take_no_memory(encoding):
    content = write_ply(
        encoding, ("nothing", [], []), ("vertex", XYZ, SQUARE), ("face", CORNERS, [[[0, 1, 2]]])
    )
    (part,), source = read(content.replace(b"nothing 0", b"nothing 1000000000000000"))
    assert part.faces.tolist() == [[0, 1, 2]]
    assert source.left_out == ["the element nothing was left out (1000000000000000 rows)"]


def test_a_list_longer_than_the_file_is_refused():
    for kind in ("int", "uint"):
        content = write_ply(
            "binary_little_endian", ("vertex", XYZ, SQUARE), ("face", [f"list {kind} int vertex_index"], [])
        )
        content = content.replace(b"face 0", b"face 1") + b"\xff\xff\xff\x7f"
        with pytest.raises(InputError, match="a PLY ends early"):
            read(content)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("more", [b"", b"0 0 0\n"])
def test_files_without_vertices_are_refused(encoding, more):
    for elements in ([], [("face", CORNERS, [])], [("vertex", [], [])]):
        with pytest.raises(InputError, match="is a PLY without x, y and z in an element vertex"):
            read(write_ply(encoding, *elements) + more)
    with pytest.raises(GeometryError, match="holds no vertices and no faces"):
        read(write_ply(encoding, ("vertex", XYZ, [])) + more)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (mesh_ply().replace(b"\n6 ", b"\n-6 "), "a list of the element face of a PLY has -6 items; is it damaged"),
        (mesh_ply().replace(b"\n6 ", b"\n6.5 "), "a list of the element face of a PLY has 6.5 items"),
        (mesh_ply().replace(b"\n6 ", b"\nnan "), "a list of the element face of a PLY has nan items"),
        (mesh_ply(polygons=[[0, 1, 0.5]]), r"\(vertex 0.5 of 12, counted from 0\)"),
        (mesh_ply(polygons=[[0, 1, np.nan]]), r"\(vertex nan of 12, counted from 0\)"),
        (mesh_ply().replace(b"\n0 0 0", b"\n0 0,5 0"), "has '0,5' in place of a number; .* decimals .* commas"),
        (mesh_ply().replace(b"\n0 0 0", b"\n0 zero 0"), "has 'zero' in place of a number"),
        (mesh_ply().replace(b"float y", b"float w"), "is a PLY without x, y and z in an element vertex"),
        (mesh_ply().replace(b"element vertex", b"element point"), "is a PLY without x, y and z"),
        (mesh_ply().replace(b"vertex_indices", b"corners"), "element face has no list vertex_indices"),
        (mesh_ply().replace(b"element face", b"element vertex"), "is a PLY with two elements vertex"),
    ],
)  # fmt: skip
def test_damaged_files_are_refused_in_one_line(content, message):
    with pytest.raises(InputError, match=message) as caught:
        read(content)
    assert str(caught.value).startswith("a.ply: ")
    assert "\n" not in str(caught.value)
