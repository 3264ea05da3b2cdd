"""Reads OFF files in text format.

Reference: The Geometry Center, Geomview manual, section OFF Files.
"""

import re
from array import array
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sdfkit.errors import InputError
from sdfkit.images.rendering.appearance import Part
from sdfkit.io.meshes.formats.source import Source
from sdfkit.io.meshes.formats.values import (
    cut_faces,
    decode_colours,
    find_line_ends,
    may_be_lines,
    no_faces,
    parse_numbers,
)
from sdfkit.wording import counted, omitted

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LOWER_CASE = re.compile(rb"\s*(?:st|c|n)*off")
KEYWORD = re.compile(rb"\s*((?:ST|C|N)*)(4?n?)OFF(\s+BINARY)?")
COUNTS = re.compile(rb"\s*\d+[ \t]+\d+(?:[ \t]+\d+)?[ \t]*(?:\n|$)")
# How many numbers the colour of a face may have.
COLOUR_SIZES = (1, 3, 4)
# The colour (sRGB) of faces without one, if others have one.
GREY = 0.666


class Faces(NamedTuple):
    """Where faces lie in the numbers of an OFF."""

    starts: Int[np.ndarray, " face"]
    """Where the number of corners of each face stands."""
    sizes: Int[np.ndarray, " face"]
    """The number of corners of each face."""
    extras: Int[np.ndarray, " face"]
    """How many numbers follow its corners, for its colour."""
    end: int
    """Where the last face ends."""


def read_off(content: bytes, source: Source) -> list[Part]:
    """Read an OFF: vertices, polygons, and the colours of either.

    The word OFF may be missing. Numbers may be distributed over lines in any way, except that the colour of a face
    ends with its line. If all vertices have one line each, what follows the coordinates of a vertex is ignored,
    except for the colours of a COFF. Colours are taken as sRGB: from 0 to 255 if any of them exceeds 1.

    Args:
        content: The bytes of the file.
        source: The file.

    Raises:
        InputError: The file is damaged, shorter than its header says, binary, or its points are not in 3 dimensions.
        GeometryError: It has no faces.
    """
    prefix, text = _read_keyword(content, source.name)
    numbers, ends = parse_numbers(text, source.name), find_line_ends(text)
    counts = numbers[:2]
    if len(counts) < 2 or not ((counts >= 0) & (counts < 1 << 40) & (counts == np.floor(counts))).all():
        raise _not_an_off(source.name)
    vertex_count, face_count = map(int, counts)
    begin = 2 if ends[0] == 2 else 3
    found = _find_rows(numbers, ends, begin, vertex_count, face_count, prefix)
    if found is None:
        declared, lines = vertex_count + face_count, len(ends) - 1
        raise InputError(
            f"{source.name}: an OFF ends early; it declares {declared} vertices and faces, but has "
            f"{counted(lines, 'line')}"
            if lines < declared
            else f"{source.name}: the faces of an OFF are not lists of vertices; is it damaged?"
        )
    width, faces = found
    rows = numbers[begin : begin + width * vertex_count].reshape(-1, width)
    first = np.cumsum(faces.sizes) - faces.sizes
    at = np.arange(faces.sizes.sum()) + np.repeat(faces.starts + 1 - first, faces.sizes)
    corners, triangles, face_of_triangle = cut_faces(rows[:, :3].copy(), faces.sizes, numbers[at], source)
    if not len(triangles):
        raise no_faces(source, vertex_count)
    if faces.end < len(numbers):
        source.left_out.append(omitted(len(numbers) - faces.end, "number", "after its last face"))
    part = Part(rows[:, :3].copy(), corners[triangles])
    if not source.colour:
        return [part]
    colour = 6 if "N" in prefix else 3
    if "C" in prefix and width >= colour + 3:
        return [replace(part, tint=_decode(rows[:, colour : colour + 3]))]
    face_tint = _read_face_colours(numbers, faces)
    return [part if face_tint is None else replace(part, face_tint=face_tint[face_of_triangle])]


def _read_keyword(content: bytes, name: str) -> tuple[str, bytes]:
    """Return the letters before OFF (ST, C and N), and the text after it, without comments."""
    text = content.removeprefix(BYTE_ORDER_MARK).rstrip(b"\0")
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"#" in text:
        text = re.sub(rb"#[^\n]*", b"", text)
    if lower := LOWER_CASE.match(text):
        text = lower[0].upper() + text[lower.end() :]
    keyword = KEYWORD.match(text)
    if keyword is None:
        if COUNTS.match(text) is None:
            raise _not_an_off(name)
        return "", text
    if keyword[2]:
        raise InputError(
            f"{name}: is an OFF of the kind {keyword[2].decode()}OFF, whose points may have other than 3 dimensions; "
            "save it as OFF"
        )
    if keyword[3]:
        raise InputError(f"{name}: is a binary OFF, which is not supported; save it as text")
    return keyword[1].decode(), text[keyword.end() :]


def _not_an_off(name: str) -> InputError:
    return InputError(f"{name}: is not an OFF; it must begin with OFF and the numbers of vertices and faces")


def _find_rows(
    numbers: Float[np.ndarray, " number"],
    ends: Int[np.ndarray, " line"],
    begin: int,
    vertex_count: int,
    face_count: int,
    prefix: str,
) -> tuple[int, Faces] | None:
    """Return how many numbers each vertex has, and the faces. None if the numbers do not suffice.

    Neither is written in the file: colours have 3 or 4 numbers, or none. The first choice that leaves no number over is
    taken, otherwise the first choice.
    """
    if begin + 3 * vertex_count + face_count > len(numbers):
        return None
    plain = 3 + 3 * ("N" in prefix) + 2 * ("ST" in prefix)
    widths = [plain + 4, plain + 3] if "C" in prefix else [plain]
    line = int(np.searchsorted(ends, begin))
    lengths = np.diff(ends[line : line + vertex_count + 1])
    if ends[line] == begin and len(lengths) == vertex_count > 0 and (lengths == max(3, lengths[0])).all():
        widths.insert(0, int(lengths[0]))
    choices = (
        (width, faces)
        for width in dict.fromkeys(widths)
        for faces in _find_faces(numbers, ends, begin + width * vertex_count, face_count)
    )
    first = None
    for width, faces in choices:
        if faces.end == len(numbers):
            vertices = begin + width * np.arange(1, vertex_count + 1)
            rows = np.concatenate([vertices, faces.starts + 1 + faces.sizes + faces.extras])
            if (faces.sizes == 3).all() or may_be_lines(rows, ends[ends > begin]):
                return width, faces
        else:
            first = first or (width, faces)
    return first


def _find_faces(
    numbers: Float[np.ndarray, " number"], ends: Int[np.ndarray, " line"], at: int, count: int
) -> Iterator[Faces]:
    """Yield the ways in which the numbers from `at` on can be faces: one a line, or distributed over lines."""
    if at + count > len(numbers):
        return
    line = int(np.searchsorted(ends, at))
    if line + count < len(ends) and ends[line] == at:
        starts, stops = ends[line : line + count], ends[line + 1 : line + count + 1]
        sizes = numbers[starts]
        extras = stops - starts - 1 - sizes
        if ((sizes == np.floor(sizes)) & (sizes >= 1) & np.isin(extras, (0, *COLOUR_SIZES))).all():
            end = int(stops[-1]) if count else at
            yield Faces(starts, sizes.astype(np.int64), extras.astype(np.int64), end)
    values, line_ends = numbers.tolist(), np.repeat(ends, np.diff(ends, prepend=0)).tolist()
    for has_colours in (True, False) if ends[line] == at else (False,):
        faces = _walk(values, line_ends, at, count, has_colours)
        if faces is not None:
            yield faces


def _walk(values: list[float], line_ends: list[int], at: int, count: int, has_colours: bool) -> Faces | None:
    """Find faces that are distributed over lines; what follows a face on its line is its colour, or the next face.

    All numbers must belong to faces, and all faces must have 3 corners: otherwise, a file in which a number is missing
    could be read as other faces.
    """
    starts, sizes, extras = array("q"), array("q"), array("q")
    for _ in range(count):
        if at >= len(values) or not 3 <= values[at] < len(values) - at or values[at] % 1:
            return None
        size = int(values[at])
        stop = at + 1 + size
        extra = line_ends[stop - 1] - stop
        extra = extra if has_colours and extra in COLOUR_SIZES else 0
        starts.append(at)
        sizes.append(size)
        extras.append(extra)
        at = stop + extra
    if at < len(values):
        return None
    return Faces(np.array(starts, np.int64), np.array(sizes, np.int64), np.array(extras, np.int64), at)


def _read_face_colours(
    numbers: Float[np.ndarray, " number"], faces: Faces
) -> Float[np.ndarray, "face 3"] | None:
    """Return the colours of faces as linear light, if there are any. Indices into a colour map are ignored."""
    is_coloured = faces.extras >= 3
    if not is_coloured.any():
        return None
    at = (faces.starts + 1 + faces.sizes)[is_coloured]
    colours = numbers[at[:, None] + np.arange(3)]
    light = np.repeat(decode_colours(np.full((1, 3), GREY), 1.0), len(is_coloured), axis=0)
    light[is_coloured] = _decode(colours)
    return light


def _decode(colours: Float[np.ndarray, "row 3"]) -> Float[np.ndarray, "row 3"]:
    return decode_colours(colours, 255.0 if colours.max(initial=0) > 1 else 1.0)
