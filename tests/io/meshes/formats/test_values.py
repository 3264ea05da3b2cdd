"""Numbers, faces and colours of mesh files."""

import numpy as np
import pytest

from sdfkit.errors import InputError
from sdfkit.io.meshes.formats.source import Source
from sdfkit.io.meshes.formats.values import (
    check_corners,
    cut_faces,
    decode_colours,
    find_line_ends,
    may_be_lines,
    no_faces,
    parse_numbers,
)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (b"", []),
        (b" \n\t", []),
        (b"1", [1]),
        (b"\r\n 1\t2\v3\f4\n", [1, 2, 3, 4]),
        (b"-1.5e-3 +2E+2 .5 5.", [-0.0015, 200, 0.5, 5]),
        (b"nan -inf Infinity NaN", [np.nan, -np.inf, np.inf, np.nan]),
        (b"1e400 1e-400", [np.inf, 0]),
        (b"0.1 9007199254740991", [0.1, 2**53 - 1]),
    ],
)
def test_numbers_of_a_text(text, numbers):
    assert np.array_equal(parse_numbers(text, "a.off"), np.array(numbers, float), equal_nan=True)


@pytest.mark.parametrize("word", ["x", "1,5", "1-2", "1.2.3", "0x10", "1f", "-1.#IND", "#", "\0"])
def test_words_that_are_not_numbers_are_named(word):
    with pytest.raises(InputError) as caught:
        parse_numbers(f"1 2\n{word} 3".encode(), "a.off")
    assert str(caught.value) == (
        f"a.off: has {word!r} in place of a number; is it damaged, or are its decimals written with commas?"
    )


@pytest.mark.parametrize(
    ("text", "ends"),
    [(b"", []), (b"1 2\n3", [2, 3]), (b"\n 1\t2 \r\n\n \n3\n\n", [2, 3]), (b"1", [1]), (b" 1 2 3 ", [3])],
)
def test_lines_without_words_do_not_count(text, ends):
    assert find_line_ends(text).tolist() == ends


@pytest.mark.parametrize(
    ("rows", "lines", "expected"),
    [
        ([3, 6, 10], [3, 6, 10], True),
        ([3, 6, 10], [10], True),
        ([3, 6, 10], [1, 3, 4, 6, 8, 10], True),
        ([3, 6, 10], [2, 4, 6, 8, 10, 12, 14], True),
        ([3, 6, 10], [2, 5, 9], False),
        ([3, 6, 10], [3, 5, 9, 10], False),
        ([3, 6, 10], [3, 5, 9, 11], False),
    ],
)
def test_rows_that_end_within_lines_are_suspicious(rows, lines, expected):
    assert may_be_lines(np.array(rows), np.array(lines)) is expected


@pytest.mark.parametrize("kind", ["i1", ">i4", "u4", "f4", "f8"])
def test_indices_of_any_type_become_int64(kind):
    corners = check_corners(np.array([0, 1, 2, 99], kind), 100, "a.off")
    assert corners.dtype == np.int64
    assert corners.tolist() == [0, 1, 2, 99]


@pytest.mark.parametrize("wrong", [-1, 3, 0.5, np.nan, np.inf, 2**32 - 1])
def test_indices_that_do_not_exist_are_named(wrong):
    with pytest.raises(InputError, match=rf"\(vertex {wrong} of 3, counted from 0\); is the file damaged\?$"):
        check_corners(np.array([0, wrong, 2]), 3, "a.off")


def test_small_faces_are_noted_and_others_keep_their_number():
    source = Source("a.off")
    vertices = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], float)
    corners, triangles, faces = cut_faces(
        vertices, np.array([2, 4, 1, 3]), np.array([0, 1, 0, 1, 2, 3, 3, 0, 1, 2]), source
    )
    assert corners[triangles].tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert faces.tolist() == [1, 1, 3]
    assert source.left_out == ["2 faces with fewer than 3 corners were left out"]


def test_what_a_file_without_faces_holds():
    source = Source("a.off")
    assert str(no_faces(source, 0)) == "a.off: holds no vertices and no faces; sdfkit needs a surface"
    assert str(no_faces(source, 7, ", 3 lines")) == (
        "a.off: holds a point cloud of 7 points, 3 lines and no faces; sdfkit needs a surface"
    )


def test_colours_become_linear_light():
    # IEC 61966-2-1: linear below 0.04045, a power above.
    colours = decode_colours(np.array([[0, 5, 255], [np.nan, 300, -3], [np.inf, 188, 10]]), 255)
    bright, dark = ((188 / 255 + 0.055) / 1.055) ** 2.4, [k / 255 / 12.92 for k in (5, 10)]
    assert np.allclose(colours, [[0, dark[0], 1], [0, 1, 0], [0, bright, dark[1]]], atol=1e-12)
