"""Reads STL files, binary and text."""

import re

import numpy as np
from jaxtyping import Float, Int, UInt16

from sdfkit.errors import GeometryError, InputError
from sdfkit.images.rendering.appearance import Part
from sdfkit.io.meshes.formats.source import Source
from sdfkit.io.meshes.formats.values import SPACE, cut_faces, decode_colours, no_faces, parse_numbers
from sdfkit.wording import agreeing, counted, omitted

HEADER = 84
TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("colour", "<u2")])
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# The letters by which the words of a text are recognised; no number has them: faCet, looP, Vertex; $ for solid.
LETTERS = b"cpv$"
FACETS = re.compile(rb"(?:\$|cpv{3,}pc)*")


@np.errstate(invalid="ignore")  # a signalling NaN of float32 warns when it becomes float64
def read_stl(content: bytes, source: Source) -> list[Part]:
    """Read an STL. Its triangles share no vertices.

    A file is binary if it is as long as its header says; many binary files also begin with the word solid. Bytes after
    the last triangle are left out. Loops with more than 3 vertices, which the format does not allow, are cut into
    triangles. Normals are ignored; the order of the vertices decides which side is outside.

    Args:
        content: The bytes of the file.
        source: The file.

    Returns:
        One part, of all solids.

    Raises:
        InputError: The file is damaged, or shorter than its header says.
        GeometryError: It has no faces.
    """
    count = int.from_bytes(content[80:HEADER], "little")
    if len(content) != HEADER + count * TRIANGLE.itemsize and _is_text(content):
        return [_read_text(content, source)]
    return [_read_binary(content, count, source)]


def _is_text(content: bytes) -> bool:
    start = content[:4096].rstrip(b"\0")
    return b"\0" not in start and start.removeprefix(BYTE_ORDER_MARK).lstrip()[:5].lower() == b"solid"


def _read_binary(content: bytes, count: int, source: Source) -> Part:
    held, rest = divmod(max(0, len(content) - HEADER), TRIANGLE.itemsize)
    rest += (held - count) * TRIANGLE.itemsize
    if held < count or len(content) < HEADER:
        raise InputError(
            f"{source.name}: is not a complete STL; its header declares {counted(count, 'triangle')}, but it "
            f"holds {held}"
        )
    if not count and rest:
        raise InputError(
            f"{source.name}: the header of an STL declares no triangles, but {counted(rest, 'byte')} "
            f"{agreeing(rest, 'follows', 'follow')}; is it damaged?"
        )
    if not count:
        raise no_faces(source, 0)
    if rest:
        source.left_out.append(omitted(rest, "byte", "after its last triangle"))
    rows = np.frombuffer(content, TRIANGLE, count, HEADER)
    return Part(
        rows["corners"].reshape(-1, 3).astype(np.float64),
        np.arange(3 * count).reshape(-1, 3),
        face_tint=_read_colours(content[:80], rows["colour"]) if source.colour else None,
    )


def _read_colours(header: bytes, marks: UInt16[np.ndarray, " face"]) -> Float[np.ndarray, "face 3"] | None:
    """Return the colours of triangles as linear light, if there are any.

    They have 15 bits. With COLOR= and four bytes in the header (Materialise Magics), red has the lowest bits, and
    triangles whose highest bit is set have the colour in the header; so have those whose bits are all 0, as other
    programs leave them. Otherwise (VisCAM) blue has the lowest bits, and the highest bit is set where there is a
    colour; triangles without one are white.
    """
    is_magics = b"COLOR=" in header[:-4]
    has_bit = marks >> 15 == 1
    if not is_magics and not has_bit.any():
        return None
    colours = (marks[:, None] >> np.array([0, 5, 10] if is_magics else [10, 5, 0], np.uint16) & 31) / 31
    if is_magics:
        start = header.index(b"COLOR=") + 6
        colours[has_bit | (marks == 0)] = np.frombuffer(header, np.uint8, 3, start) / 255
    else:
        colours[~has_bit] = 1
    return decode_colours(colours, 1.0)


def _read_text(content: bytes, source: Source) -> Part:
    text = content.removeprefix(BYTE_ORDER_MARK).strip(SPACE + b"\0").lower()
    if b"\n" not in text:
        text = text.replace(b"\r", b"\n")
    if not re.search(rb"(?:^|\s)end ?solid", text[text.rfind(b"\n") + 1 :]):
        raise InputError(f"{source.name}: an STL ends early; its last line is not endsolid; is it truncated?")
    text = _mark_solids(text)
    structure = text.translate(None, bytes(set(range(256)) - set(LETTERS)))
    whole = FACETS.match(structure)
    assert whole is not None  # The pattern matches every text, if only at its start.
    if whole.end() < len(structure):
        number = structure[: whole.end()].count(b"c") // 2 + 1
        raise InputError(
            f"{source.name}: facet {number} of an STL is not complete; a facet has a loop of at least 3 vertices"
        )
    count = structure.count(b"v")
    solids, empty = structure.count(b"$"), len(re.findall(rb"\$(?=\$|$)", structure))
    if not count:
        raise GeometryError(f"{source.name}: holds an empty solid and no faces; sdfkit needs a surface")
    if empty:
        source.left_out.append(f"{empty} of {counted(solids, 'solid')} {agreeing(empty, 'is', 'are')} empty")
    # What lies between a loop and the next vertex is not read: normals are often not numbers (-1.#IND).
    loops = (part.partition(b"vertex")[2] for part in text.split(b"endloop"))
    numbers = parse_numbers(b" ".join(loops).replace(b"vertex", b" "), source.name)
    if len(numbers) != 3 * count:
        raise InputError(
            f"{source.name}: an STL has {counted(len(numbers), 'coordinate')} for {counted(count, 'vertex')}; "
            "is it damaged?"
        )
    vertices = numbers.reshape(-1, 3)
    return Part(vertices, _cut_loops(vertices, structure, source))


def _mark_solids(text: bytes) -> bytes:
    """Replace the lines that begin a solid by $, and remove those that end one: their names may hold any word."""
    parts, at = [], 0
    while (found := text.find(b"solid", at)) >= 0:
        start = max(at, text.rfind(b"\n", at, found) + 1)
        before = text[start:found].rstrip()
        if before and not before.endswith(b"end"):
            parts.append(text[at : found + 5])
            at = found + 5
            continue
        parts += [text[at:start], before.removesuffix(b"end"), b"" if before else b"$"]
        end = text.find(b"\n", found)
        at = end if end >= 0 else len(text)
    return b"".join([*parts, text[at:]])


def _cut_loops(
    vertices: Float[np.ndarray, "vertex 3"], structure: bytes, source: Source
) -> Int[np.ndarray, "triangle 3"]:
    corners = np.arange(len(vertices))
    if 2 * len(corners) == 3 * structure.count(b"c"):
        return corners.reshape(-1, 3)
    sizes = np.array([len(loop) for loop in re.findall(rb"v+", structure)])
    _, triangles, _ = cut_faces(vertices, sizes, corners, source)
    return triangles
