"""OFF files: headers as programs write them, polygons, colours, and rows in any layout."""

import numpy as np
import pytest

from sdfkit.errors import GeometryError, InputError
from sdfkit.io.meshes.formats.off import read_off
from sdfkit.io.meshes.formats.source import Source
from tests.io.meshes.formats.prism import AREA, POLYGONS, TRIANGLES, VERTICES, VOLUME, measure

SQUARE = ["0 0 0", "1 0 0", "1 1 0", "0 1 0"]
FACES = ["3 0 1 2", "3 0 2 3"]


def decode(share):
    """sRGB to linear light, IEC 61966-2-1."""
    return ((share + 0.055) / 1.055) ** 2.4


def write_off(vertices=SQUARE, faces=FACES, head="OFF"):
    return "\n".join([head, f"{len(vertices)} {len(faces)} 0", *vertices, *faces, ""]).encode()


def prism(polygons=POLYGONS):
    return write_off(
        [f"{x} {y} {z}" for x, y, z in VERTICES],
        [f"{len(face)} " + " ".join(map(str, face)) for face in polygons],
    )


def read(content, *, colour=False):
    source = Source("a.off", None, colour)
    return read_off(content, source), source


def words_of(content):
    return content.split(b"\n", 1)[1].split()


@pytest.mark.parametrize("start", range(8))
def test_concave_polygons_of_mixed_sizes_keep_their_shape(start):
    (part,), source = read(prism(POLYGONS[start:] + POLYGONS[:start]))
    assert len(part.faces) == TRIANGLES
    assert measure(part) == pytest.approx((VOLUME, AREA))
    assert np.array_equal(part.vertices, VERTICES)
    assert part.faces.dtype == np.int64
    assert source.left_out == []


@pytest.mark.parametrize(
    "header",
    [
        b"OFF\n12 8 0\n",
        b"OFF\n12 8\n",
        b"OFF 12 8 0\n",
        b"OFF12 8 0\n",  # ModelNet
        b"off\r\n12 8 18\r\n",
        b"\xef\xbb\xbfOFF\n12 8 18\n",
        b"12 8 0\n",
        b"\n 12 8\n",
        b"# made by hand\n\nOFF # the word\n# counts\n\n12 8 0 # V F E\n\n# rows\n",
        b"OFF\n12\n8\n0\n",
    ],
)
def test_headers_as_programs_write_them(header):
    content = header + prism().split(b"0\n", 1)[1]
    for text in (content, content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")):
        (part,), source = read(text)
        assert measure(part) == pytest.approx((VOLUME, AREA))
        assert source.left_out == []


def test_old_line_ends_of_the_macintosh():
    (part,), _ = read(b"# a remark\n".replace(b"\n", b"\r") + prism().replace(b"\n", b"\r"))
    assert measure(part) == pytest.approx((VOLUME, AREA))


@pytest.mark.parametrize("separator", [b" ", b"\n", b" \n\t", b"\r\n"])
def test_numbers_may_be_distributed_over_lines_in_any_way(separator):
    (part,), source = read(b"OFF\n" + separator.join(words_of(prism())))
    assert measure(part) == pytest.approx((VOLUME, AREA))
    assert source.left_out == []


@pytest.mark.parametrize("polygons", [POLYGONS, [[0, 1, 2]] * 3, [[0, 1, 2], [0, 1], [1]]])
def test_a_file_in_which_a_number_or_a_line_is_missing_is_refused(polygons):
    first, second, *lines = prism(polygons).splitlines(keepends=True)
    for at, line in enumerate(lines):
        for less in (line[: line.rindex(b" ")] + b"\n", b""):
            with pytest.raises((InputError, GeometryError)):
                read(first + second + b"".join([*lines[:at], less, *lines[at + 1 :]]))


@pytest.mark.parametrize("width", range(1, 29))
def test_lines_of_any_number_of_numbers(width):
    faces = ["3 0 2 1", "3 0 1 3", "3 1 2 3", "3 2 0 3"]
    words = words_of(write_off(["0 0 0", "1 0 0", "0 1 0", "0 0 1"], faces))
    lines = [b" ".join(words[at : at + width]) for at in range(3, len(words), width)]
    (part,), _ = read(b"\n".join([b"OFF 4 4 0", *lines]))
    assert measure(part) == pytest.approx((1 / 6, 1.5 + 3**0.5 / 2))


def test_several_rows_on_a_line():
    vertices, faces = SQUARE, ["3 0 1 2 3 0 2 3", "4 0 1 2 3 3 1 2 3"]
    content = "\n".join(["OFF", "4 4 0", " ".join(vertices[:2]), " ".join(vertices[2:]), *faces]).encode()
    (part,), _ = read(content)
    assert np.array_equal(part.vertices, [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)])
    assert part.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2], [0, 2, 3], [1, 2, 3]]


def test_a_face_broken_over_lines_keeps_its_colour():
    (part,), _ = read(
        b"OFF\n4 2 0\n" + "\n".join(SQUARE).encode() + b"\n3 0\n1 2 255 0 0\n3\n0 2 3\n", colour=True
    )
    assert part.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert np.array_equal(part.face_tint[0], [1, 0, 0])


@pytest.mark.parametrize(
    ("head", "more", "at"),
    [
        ("COFF", "255 0 102 255", True),
        ("COFF", "255 0 102", True),
        ("COFF", "1 0 0.4 1", True),
        ("coff", "1.0 0.0 0.4", True),
        ("NOFF", "0 0 1", False),
        ("noff", "0 0 1", False),
        ("CNOFF", "0 0 1 255 0 102 9", True),
        ("NCOFF", "0 0 1 255 0 102 9", True),
        ("STOFF", "0.5 0.5", False),
        ("STCNOFF", "0 0 1 255 0 102 9 0.5 0.5", True),
        ("OFF", "7 7 7 7", False),  # not in the specification
    ],
)
def test_what_vertices_have_beside_coordinates(head, more, at):
    content = write_off([f"{v} {more}" for v in SQUARE], head=head)
    (part,), source = read(content, colour=True)
    assert np.array_equal(part.vertices, [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)])
    assert part.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert source.left_out == []
    if at:
        assert np.allclose(part.tint, [[1, 0, decode(0.4)]] * 4)
    else:
        assert part.tint is None
    assert read(content)[0][0].tint is None


@pytest.mark.parametrize("colour", ["1 0 0 1", "1 0 0"])
def test_colours_of_vertices_without_line_ends(colour):
    content = b"COFF\n" + b" ".join(words_of(write_off([f"{v} {colour}" for v in SQUARE])))
    (part,), _ = read(content, colour=True)
    assert np.array_equal(part.tint, [[1, 0, 0]] * 4)
    assert part.faces.tolist() == [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize(
    ("colours", "expected"),
    [
        (["255 0 102", "0 255 0"], [(1, 0, decode(0.4)), (0, 1, 0)]),
        (["255 0 102 128", "0 255 0 255"], [(1, 0, decode(0.4)), (0, 1, 0)]),
        (["1.0 0.0 0.4", "0 1 0"], [(1, 0, decode(0.4)), (0, 1, 0)]),
        (["1 0 0.4 0.5", ""], [(1, 0, decode(0.4)), (decode(170 / 255),) * 3]),  # 0.666 of 255
        (["7", ""], None),
        (["", ""], None),
    ],
)
def test_colours_of_faces(colours, expected):
    content = write_off(faces=[f"{face} {c} # a face" for face, c in zip(FACES, colours, strict=True)])
    (part,), source = read(content, colour=True)
    assert part.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert source.left_out == []
    if expected is None:
        assert part.face_tint is None
    else:
        assert np.allclose(part.face_tint, expected)
    assert read(content)[0][0].face_tint is None


def test_triangles_of_a_polygon_have_its_colour():
    (part,), _ = read(write_off(faces=["4 0 1 2 3 255 0 0", "3 0 1 2 0 0 255"]), colour=True)
    assert np.array_equal(part.face_tint, [[1, 0, 0], [1, 0, 0], [0, 0, 1]])


def test_numbers_that_are_not_finite_are_passed_on():
    (part,), _ = read(write_off(["nan 0 inf", "1 -inf 0", "0 1 0", "0 0 1"]))
    assert np.array_equal(part.vertices[:2], [(np.nan, 0, np.inf), (1, -np.inf, 0)], equal_nan=True)


def test_what_is_left_out_is_noted():
    (part,), source = read(write_off(faces=["2 0 1", "3 0 1 2", "1 0"]) + b"3 0 2 3\n")
    assert part.faces.tolist() == [[0, 1, 2]]
    assert source.left_out == [
        "2 faces with fewer than 3 corners were left out",
        "4 numbers after its last face were left out",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an OFF; it must begin with OFF and the numbers of vertices and faces"),
        (b"hello, this is a text\n", "is not an OFF"),
        (b"OFF\n", "is not an OFF"),
        (b"OFF\n8\n", "is not an OFF"),
        (b"OFF\n-8 2 0\n0 0 0\n", "is not an OFF"),
        (b"OFF\n8.5 2 0\n0 0 0\n", "is not an OFF"),
        (b"OFF\nnan inf 0\n0 0 0\n", "is not an OFF"),
        (b"1 2 3 4\n", "is not an OFF"),
        (b"4OFF\n4 2 0\n", "is an OFF of the kind 4OFF, whose points may have other than 3 dimensions"),
        (b"nOFF\n5\n4 2 0\n", "is an OFF of the kind nOFF, "),
        (b"STCN4nOFF 5\n4 2 0\n", "is an OFF of the kind 4nOFF, "),
        (b"OFF BINARY\n\0\0\0\x08", "is a binary OFF, which is not supported; save it as text"),
        (b"OFF\n1000000000 1000000000 0\n0 0 0\n", "it declares 2000000000 vertices and faces, but has 1 line"),
        (write_off()[:-8], "an OFF ends early; it declares 6 vertices and faces, but has 5 lines"),
        (write_off()[:-9], "an OFF ends early; it declares 6 vertices and faces, but has 5 lines"),
        *((write_off(SQUARE[:at] + ["0 1"] + SQUARE[at + 1 :]), "the faces of an OFF are not lists of vertices; is it")
          for at in range(4)),
        (write_off(SQUARE[:2] + ["1 1 0 7"] + SQUARE[3:]), "the faces of an OFF are not lists of vertices"),
        (write_off(SQUARE[:3] + ["0 1"], ["4 0 1 2 3"]), "the faces of an OFF are not lists of vertices"),
        (write_off(faces=["3 0 1 2", "-3 0 2 3"]), "the faces of an OFF are not lists of vertices"),
        (write_off(faces=["3 0 1 2", "3.5 0 2 3"]), "the faces of an OFF are not lists of vertices"),
        (write_off(faces=["3 0 1 2", "9 0 2 3"]), "the faces of an OFF are not lists of vertices"),
        (write_off(faces=["3 0 1 4"]), r"refers to a vertex that does not exist \(vertex 4 of 4, counted from 0"),
        (write_off(faces=["3 0 1 -1"]), r"\(vertex -1 of 4, counted from 0\); is the file damaged\?"),
        (write_off(faces=["3 0 1 1.5"]), r"\(vertex 1.5 of 4, counted from 0\)"),
        (write_off(["0,5 0 0", *SQUARE[1:]]), "has '0,5' in place of a number; is it damaged, or are its"),
    ],
)  # fmt: skip
def test_damaged_files_are_refused_in_one_line(content, message):
    with pytest.raises(InputError, match=message) as caught:
        read(content)
    assert str(caught.value).startswith("a.off: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (write_off(faces=[]), "holds a point cloud of 4 points and no faces; sdfkit needs a surface"),
        (write_off(faces=["2 0 1"]), "holds a point cloud of 4 points and no faces"),
        (b"OFF\n0 0 0\n", "holds no vertices and no faces"),
    ],
)
def test_files_without_faces_are_named(content, message):
    with pytest.raises(GeometryError, match=rf"^a\.off: {message}"):
        read(content)
