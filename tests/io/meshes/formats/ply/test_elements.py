"""Streams of PLY files are split where each one ends, whatever it holds."""

import io
import time

import pytest

from sdfkit.errors import InputError
from sdfkit.io.meshes.formats.ply.elements import read_ply
from sdfkit.io.meshes.formats.ply.writer import write_comment
from tests.io.meshes.formats.ply.ply_files import CORNERS, ENCODINGS, SQUARE, XYZ, mesh_ply, write_ply

STRIPS = [
    ("vertex", XYZ, SQUARE),
    ("tristrips", ["list int int vertex_indices"], [[[0, 1, 2, -1, 0, 2, 3]], [[]]]),
]
MORE = [
    (
        "face",
        ["uchar flags", *CORNERS, "list ushort double w", "short d"],
        [(1, [0, 1, 2], [0.5], 7), (1, [0], [], 9)],
    ),
    (
        "vertex",
        ["list int char names", "double x", "float y", "char z"],
        [([112, 108, 121], *v) for v in SQUARE],
    ),
    ("nothing", [], [[], []]),
]
HEADER, BODY = mesh_ply().split(b"end_header\n")
FILES = [
    *(mesh_ply(encoding) for encoding in ENCODINGS),
    *(write_ply(encoding, *STRIPS) for encoding in ENCODINGS),
    *(write_ply(encoding, *MORE) for encoding in ENCODINGS),
    *(mesh_ply(encoding, polygons=[[0, 1, 2]] * 300 + [[0, 1, 2, 3]] * 300) for encoding in ENCODINGS),
    mesh_ply(line_end="\r\n"),
    HEADER + b"end_header\n" + BODY.replace(b" ", b"\n"),
    HEADER + b"end_header\n" + BODY.replace(b"\n", b" ") + b"\n",
]


@pytest.mark.parametrize("buffer", [1, 2, 3, 17, 1 << 16])
def test_streams_are_split_where_each_ply_ends(buffer):
    stream = io.BufferedReader(io.BytesIO(b"".join(FILES)), buffer)
    assert [read_ply(stream, "stream")[1] for _ in FILES] == FILES
    assert stream.read() == b""


def test_a_text_ends_where_a_glb_begins():
    stream = io.BufferedReader(io.BytesIO(mesh_ply() + b"glTF\2\0\0\0"))
    assert read_ply(stream, "stream")[1] == mesh_ply()
    assert stream.read(4) == b"glTF"


def test_the_comment_is_read_back():
    info = {"uid": "a", "history": [], "name": "é\n"}
    for encoding in ENCODINGS:
        content = write_comment(mesh_ply(encoding), info)
        assert read_ply(io.BufferedReader(io.BytesIO(content)), "stream") == (info, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"plyy\n", "is not a PLY; its first line is not ply"),
        (b"ply", "ends within the header of a PLY; is it truncated?"),
        (b"ply\nformat ascii 1.0\n", "ends within the header of a PLY; is it truncated?"),
        (b"ply\nformat ascii 1.0\nend_header", "ends within the header of a PLY; is it truncated?"),
        (b"ply\nend_header\n", "names an unknown format; use ascii or binary"),
        (b"ply\nformat binary_middle_endian 1.0\nend_header\n", "names an unknown format"),
        (b"ply\nformat\nend_header\n", r"has an invalid line: b'format\\n'"),
        (b"ply\nelement vertex\n", r"has an invalid line: b'element vertex\\n'"),
        (b"ply\nelement vertex many\n", "has an invalid line"),
        (b"ply\nelement vertex -1\n", "has an invalid line"),
        (b"ply\nelement vertex \xff\xff\n", "has an invalid line"),
        (b"ply\nproperty float x\n", "has an invalid line"),
        (b"ply\nelement a 1\nproperty half x\n", "has an invalid line"),
        (b"ply\nelement a 1\nproperty float\n", "has an invalid line"),
        (b"ply\nelement a 1\nproperty list uchar int\n", "has an invalid line"),
        (b"ply\ncomment sdfkit {\n", "its metadata are not JSON"),
        (b"ply\ncomment sdfkit 5\n", "its metadata are 5, but a JSON object {…} is needed"),
        (b"ply\ncomment sdfkit " + b"[" * 100_000 + b"\n", "it has more than 64 levels"),
        (
            mesh_ply("binary_little_endian")[:-1],
            "a PLY ends early; its header declares 8 rows of the element face",
        ),
        (
            mesh_ply("binary_big_endian")[:-120],
            "a PLY ends early; its header declares 8 rows of the element face",
        ),
        (
            mesh_ply("binary_big_endian")[:-200],
            "a PLY ends early; its header declares 12 rows of the element vertex",
        ),
    ],
)
def test_damaged_files_are_refused(content, message):
    with pytest.raises(InputError, match=f"^stream: .*{message}"):
        read_ply(io.BufferedReader(io.BytesIO(content)), "stream")


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("more", [[], ["uchar flags"]])
def test_lists_of_negative_length_are_refused(order, more):
    content = write_ply(f"binary_{order}_endian", ("face", ["list int int vertex_indices", *more], []))
    content = content.replace(b"face 0", b"face 1") + b"\xff\xff\xff\xff" + bytes(100)
    with pytest.raises(InputError, match="a list of the element face of a PLY has -1 items; is it damaged?"):
        read_ply(io.BufferedReader(io.BytesIO(content)), "stream")


def test_long_headers_take_no_longer_than_their_length():
    content = mesh_ply(header="comment\n" * 20_000)
    start = time.process_time()
    assert read_ply(io.BufferedReader(io.BytesIO(content)), "stream")[1] == content
    assert time.process_time() - start < 1
