"""Reads OBJ files (Wavefront).

All statements of one kind are parsed at once, as one array: 200,000 triangles take 0.19 s of CPU time, and 0.32 s with
trimesh 5. tinyobjloader (2.0.0rc13 of January 2024, the latest) takes 0.10 s, but has no wheels for Python 3.13, does
not join lines that end in a backslash, and reads damaged files without an error: a word in place of a number becomes 0,
and the first vertex after a byte order mark and faces with a missing vertex are dropped.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int, UInt8

from sdfkit.errors import InputError
from sdfkit.images.rendering.appearance import Material, Part, Texture
from sdfkit.io.meshes.formats.obj.lines import SPACE, Lines, to_lines
from sdfkit.io.meshes.formats.obj.mtl import Definition, read_mtl
from sdfkit.io.meshes.formats.source import Source
from sdfkit.io.meshes.formats.values import cut_faces, decode_colours, no_faces, parse_numbers
from sdfkit.wording import counted

# Statements whose geometry is left out.
ELEMENTS = {
    "l": "polyline", "p": "point statement", "curv": "curve", "surf": "surface", "fo": "face outline",
    "bzp": "Bezier patch statement", "bsp": "B-spline patch statement", "cdc": "Cardinal curve",
    "cdp": "Cardinal patch statement", "call": "called file",
}  # fmt: skip
# Statements without geometry, or that belong to a curve or surface.
ATTRIBUTES = frozenset([
    "g", "s", "o", "mg", "mtllib", "usemtl", "usemap", "maplib", "bevel", "c_interp", "d_interp", "lod", "shadow_obj",
    "trace_obj", "ctech", "stech", "vp", "cstype", "deg", "bmat", "step", "parm", "trim", "hole", "scrv", "sp", "curv2",
    "end", "con", "res", "csh",
])  # fmt: skip
# MeshLab and others announce the number of faces in a comment within the first bytes of the file.
ANNOUNCED = re.compile(rb"(?mi)^#[ \t]*faces[ \t]*:[ \t]*(\d{1,18})[ \t]*$")
HEADER = 4096
DIGITS = 18  # of the largest integers that fit into an int64
SLASH, PLUS, MINUS, ZERO = b"/+-0"


@dataclass(frozen=True)
class Faces:
    """The faces of an OBJ, one after another.

    Attributes:
        line: The line of each face.
        sizes: Number of corners of each face.
        vertex: For each corner, the index of its vertex. The vertices exist.
        uv: For each corner, the index of its texture coordinates, which need not exist. -1 if the file gives none.
    """

    line: Int[np.ndarray, " face"]
    sizes: Int[np.ndarray, " face"]
    vertex: Int[np.ndarray, " corner"]
    uv: Int[np.ndarray, " corner"]


def read_obj(content: bytes, source: Source) -> list[Part]:
    """Read an OBJ.

    Points, lines, curves and surfaces are left out. The weight w of `v x y z w` is ignored, as in Blender: it applies
    to rational curves and surfaces only.

    Colours of vertices (`v x y z r g b`) are sRGB, from 0 to 1, or from 0 to 255 if any exceeds 1.5. Of seven numbers,
    the last is the opacity; but if the fourth is 1 in all lines and the last is not, the fourth is the weight. A
    texture replaces the colours of vertices; the colour of a material is multiplied with them.

    Args:
        content: Content of the file.
        source: The file. Materials and colours are read if `source.colour` is true.

    Returns:
        One part for each material, or two if only some of its faces have texture coordinates. Without `source.colour`,
        one part. Vertices keep their order, and those that no face uses are left out.

    Raises:
        InputError: The file is not an OBJ, or is truncated or damaged.
        GeometryError: The file has no faces.

    Reference: Alias|Wavefront, Advanced Visualizer Manual, appendix B1, Object Files (version 3.0).
    """
    text = to_lines(content)
    if not text.strip():
        raise InputError(f"{source.name}: is an empty file; was it copied completely?")
    if b"\0" in text:
        raise InputError(f"{source.name}: is not an OBJ; it holds bytes of value 0, and an OBJ is a text")
    lines = Lines(text)
    others = _describe_others(lines, source)
    vertices, colours = _read_vertices(lines, source)
    faces = _read_faces(lines, len(vertices), source)
    announced = [int(number) for number in ANNOUNCED.findall(text[:HEADER])]
    if len(announced) == 1 and announced[0] > len(faces.line):
        source.left_out.append(
            f"a comment announces {counted(announced[0], 'face')}, but the file holds {len(faces.line)}"
        )
    _, triangles, face = cut_faces(vertices, faces.sizes, faces.vertex, source)
    if not len(triangles):
        small = (
            f", {counted(len(faces.line), 'face', 'with fewer than 3 corners')}" if len(faces.line) else ""
        )
        raise no_faces(source, len(vertices), small + others)
    if source.colour:
        return _split_by_material(lines, vertices, colours, faces, triangles, face, source)
    used, index = _renumber(faces.vertex[triangles].reshape(-1), len(vertices))
    return [Part(vertices[used], index.reshape(-1, 3))]


def _describe_others(lines: Lines, source: Source) -> str:
    """Note in `source` which statements are left out, and describe them for the message of a file without faces."""
    is_other = (lines.starts < lines.ends) & (lines.initials != ord("#"))
    for keyword in (b"v", b"vt", b"vn", b"f", b"g", b"s"):
        is_other[lines.find(keyword)] = False
    words = [(lines.read(line)[0], line) for line in np.flatnonzero(is_other).tolist()]
    unknown = [line for word, line in words if word not in ELEMENTS and word not in ATTRIBUTES]
    counts = Counter(word for word, _ in words if word in ELEMENTS)
    held = "".join(f", {counted(count, ELEMENTS[word])}" for word, count in counts.items())
    if held:
        source.left_out.append(f"left out{held[1:]}")
    if unknown:
        first = " ".join(lines.read(unknown[0])).strip()[:40]
        if len(unknown) == len(words) and not len(lines.find(b"v")) and not len(lines.find(b"f")):
            raise InputError(f"{source.name}: is not an OBJ; it has no vertices and no faces, but {first!r}")
        source.left_out.append(f"left out {counted(len(unknown), 'unknown statement')}, such as {first!r}")
    return held


def _read_numbers(
    lines: Lines, at: Int[np.ndarray, " line"], keyword: bytes, least: int, source: Source
) -> tuple[Float[np.ndarray, " number"], Int[np.ndarray, " line"]]:
    """Return the numbers in lines, and how many each line has, at least `least`."""
    letters, ends = lines.join(at, keyword)
    is_space = letters <= SPACE
    words = np.flatnonzero(is_space[:-1] & ~is_space[1:])
    counts = np.diff(np.searchsorted(words, ends), prepend=0)
    numbers = parse_numbers(letters.tobytes(), source.name)
    if (counts < least).any():
        line = at[(counts < least).argmax()]
        raise InputError(
            f"{source.name}: has fewer than {least} numbers in line {line + 1}, "
            f"{' '.join(lines.read(line)).strip()[:40]!r}; is it truncated or damaged?"
        )
    return numbers, counts


def _read_vertices(
    lines: Lines, source: Source
) -> tuple[Float[np.ndarray, "vertex 3"], Float[np.ndarray, "vertex 3"] | None]:
    """Return the vertices and, if they are wanted and the file has any, their colours (linear light)."""
    numbers, counts = _read_numbers(lines, lines.find(b"v"), b"v", 3, source)
    if (counts == 3).all():
        return numbers.reshape(-1, 3), None
    first = np.cumsum(counts) - counts
    more = first[counts > 3] + 3  # the fourth number
    is_ignored = (counts == 5) | (counts > 7)
    is_ignored[counts > 3] |= (counts[counts > 3] == 4) & (numbers[more] != 1)
    if is_ignored.any():
        ignored = f"{is_ignored.sum()} of {counted(len(counts), 'vertex')}"
        source.left_out.append(f"ignored weights or other numbers after the positions of {ignored}")
    colours = None
    has_colour = (counts == 6) | (counts == 7)
    if source.colour and has_colour.any():
        start = first + 3
        seven = first[counts == 7]
        if len(seven) and (numbers[seven + 3] == 1).all() and (numbers[seven + 6] != 1).any():
            start[counts == 7] += 1
        srgb = numbers[start[has_colour, None] + np.arange(3)]
        colours = np.ones((len(counts), 3))
        colours[has_colour] = decode_colours(srgb, 255 if (srgb > 1.5).any() else 1)
    return numbers[first[:, None] + np.arange(3)], colours


def _read_faces(lines: Lines, count: int, source: Source) -> Faces:
    """Read the faces of a file with `count` vertices."""
    at = lines.find(b"f")
    letters, ends = lines.join(at, b"f")
    is_space = letters <= SPACE
    is_cut = is_space | (letters == SLASH)
    words = np.flatnonzero(is_space[:-1] & ~is_space[1:]) + 1
    starts, stops = (
        np.flatnonzero(is_cut[:-1] & ~is_cut[1:]) + 1,
        np.flatnonzero(~is_cut[:-1] & is_cut[1:]) + 1,
    )
    is_first = is_space[starts - 1]
    if is_first.sum() != len(words):
        raise InputError(f"{source.name}: has a corner of a face without a vertex; is it damaged?")
    numbers = _parse_integers(letters, starts[is_first], stops[is_first], source.name)
    sizes = np.diff(np.searchsorted(words, ends), prepend=0)

    def resolve(numbers: Int[np.ndarray, " corner"], keyword: bytes) -> Int[np.ndarray, " corner"]:
        # A negative number counts back from the line of the face.
        before = np.repeat(np.searchsorted(lines.find(keyword), at), sizes)
        return np.where(numbers < 0, np.where(-numbers <= before, before + numbers, -1), numbers - 1)

    vertex = resolve(numbers, b"v")
    is_absent = (vertex < 0) | (vertex >= count)
    if is_absent.any():
        number = numbers[is_absent.argmax()]
        reason = (
            "an OBJ numbers vertices from 1" if number == 0 else f"the file holds {counted(count, 'vertex')}"
        )
        raise InputError(
            f"{source.name}: a face refers to vertex {number}, but {reason}; is it truncated or damaged?"
        )
    uv = np.full(len(numbers), -1)
    if source.colour:  # In v/vt, there is one slash after the first number of a corner.
        uv_numbers = np.zeros_like(numbers)
        is_uv = is_first[:-1] & ~is_first[1:] & (starts[1:] == stops[:-1] + 1)
        corner = np.cumsum(is_first)[:-1][is_uv] - 1
        uv_numbers[corner] = _parse_integers(letters, starts[1:][is_uv], stops[1:][is_uv], source.name)
        uv = resolve(uv_numbers, b"vt")
    return Faces(at, sizes, vertex, uv)


def _parse_integers(
    letters: UInt8[np.ndarray, " letter"],
    starts: Int[np.ndarray, " number"],
    stops: Int[np.ndarray, " number"],
    name: str,
) -> Int[np.ndarray, " number"]:
    """Parse integers digit by digit, all at once: faster than `np.fromstring`, and for a choice of words."""
    first = letters[starts]
    digit_starts = starts + ((first == MINUS) | (first == PLUS))
    digits = stops - digit_starts
    is_integer = (digits > 0) & (digits <= DIGITS)
    values = np.zeros(len(starts), dtype=np.int64)
    for place in range(min(DIGITS, digits.max(initial=0))):
        inside = place < digits
        digit = letters[np.where(inside, digit_starts + place, 0)] - ZERO  # below 0 wraps to above 9
        is_integer &= (digit <= 9) | ~inside
        values = np.where(inside, 10 * values + digit, values)
    if not is_integer.all():
        wrong = is_integer.argmin()
        word = letters[starts[wrong] : stops[wrong]][:40].tobytes()
        raise InputError(
            f"{name}: has {word.decode(errors='replace')!r} in place of a vertex number; is it damaged?"
        )
    return np.where(first == MINUS, -values, values)


def _renumber(
    index: Int[np.ndarray, " corner"], count: int
) -> tuple[Int[np.ndarray, " vertex"], Int[np.ndarray, " corner"]]:
    """Return which of `count` vertices are used, in order, and for each corner its position among them."""
    if 16 * len(index) < count:  # Time must not grow with the number of materials times that of all vertices.
        return np.unique(index, return_inverse=True)
    is_used = np.zeros(count, dtype=bool)
    is_used[index] = True
    return np.flatnonzero(is_used), (np.cumsum(is_used) - 1)[index]


def _split_by_material(
    lines: Lines,
    vertices: Float[np.ndarray, "vertex 3"],
    colours: Float[np.ndarray, "vertex 3"] | None,
    faces: Faces,
    triangles: Int[np.ndarray, "triangle 3"],
    face: Int[np.ndarray, " triangle"],
    source: Source,
) -> list[Part]:
    """Return one part for each material, or two if only some of its faces have texture coordinates.

    Args:
        lines: The file.
        vertices: Its vertices.
        colours: Colours of the vertices.
        faces: Its faces.
        triangles: For each triangle, three indices of corners of `faces`.
        face: The face of each triangle.
        source: The file.
    """
    definition_of_face, definitions = _read_definitions(lines, faces.line, source)
    materials = _load_materials(definitions, source)
    uvs = np.zeros((0, 2))
    if any(material.texture for material in materials):
        uvs = _read_uvs(lines, source)
        absent = int((faces.uv >= len(uvs)).sum())
        if absent:
            source.left_out.append(
                f"texture coordinates of {absent} of {counted(len(faces.uv), 'corner')} do not exist"
            )
    has_uv = (faces.uv >= 0) & (faces.uv < len(uvs))
    row_of_triangle = definition_of_face[face]
    is_textured = np.array([material.texture is not None for material in materials])
    group = 2 * row_of_triangle + (has_uv[triangles].all(axis=1) & is_textured[row_of_triangle])
    order = np.argsort(group, kind="stable")
    parts = []
    for chosen in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        row, is_mapped = divmod(int(group[chosen[0]]), 2)
        corners = triangles[chosen].reshape(-1)
        if is_mapped:
            pairs = faces.vertex[corners] * len(uvs) + faces.uv[corners]
            used, index = np.unique(pairs, return_inverse=True)
            used, uv_used = np.divmod(used, len(uvs))
            uv, tint = uvs[uv_used] * definitions[row].scale + definitions[row].offset, None
        else:
            used, index = _renumber(faces.vertex[corners], len(vertices))
            uv, tint = None, None if colours is None else colours[used]
        parts.append(Part(vertices[used], index.reshape(-1, 3), materials[row], uv, tint))
    return parts


def _read_definitions(
    lines: Lines, at: Int[np.ndarray, " face"], source: Source
) -> tuple[Int[np.ndarray, " face"], list[Definition]]:
    """Read the materials that faces use.

    Returns:
        The material of each face, and the different materials in the order of their first face.
    """
    table: dict[str, Definition] = {}
    listed = len(source.missing)
    for line in lines.find(b"mtllib").tolist():
        # A name may contain spaces, and several names may be in one line.
        for name in re.split(r"(?i)(?<=\.mtl)[\"']?\s+", lines.read(line)[1].partition(" #")[0]):
            content = source.find(name.strip("\"'")) if name else None
            table = {**read_mtl(content), **table} if content is not None else table
    switches = lines.find(b"usemtl")
    names = ["", *(" ".join(lines.read(line)[1].split()) for line in switches.tolist())]
    row, row_of_face = np.unique(np.searchsorted(switches, at), return_inverse=True)
    used = [names[number] for number in row.tolist()]
    # Of "red # comment", all may be the name.
    used = [name if name in table else name.partition(" #")[0] for name in used]
    unknown = list(dict.fromkeys(name for name in used if name and name not in table))
    if unknown and len(source.missing) == listed:
        others = f" and {counted(len(unknown) - 1, 'other')}" if len(unknown) > 1 else ""
        source.left_out.append(f"no MTL file defines the material {unknown[0][:40]!r}{others}")
    different: dict[Definition, int] = {}
    numbers = [different.setdefault(table.get(name, Definition()), len(different)) for name in used]
    return np.array(numbers)[row_of_face], list(different)


def _load_materials(definitions: Sequence[Definition], source: Source) -> list[Material]:
    """Return materials with their pictures. A missing picture leaves the plain colour."""
    find = cache(source.find)
    materials = []
    for definition in definitions:
        picture = find(definition.picture) if definition.picture else None
        if picture is None:
            materials.append(Material(definition.base))
        else:  # The texture replaces the colour, as in Blender, although the reference multiplies them.
            texture = Texture(definition.picture, picture, (definition.wrap, definition.wrap))
            materials.append(Material(None, texture, plain=definition.base))
    return materials


def _read_uvs(lines: Lines, source: Source) -> Float[np.ndarray, "uv 2"]:
    """Return the texture coordinates. If v is left out, it is 0."""
    numbers, counts = _read_numbers(lines, lines.find(b"vt"), b"vt", 1, source)
    first = np.cumsum(counts) - counts
    uvs = np.zeros((len(counts), 2))
    uvs[:, 0] = numbers[first]
    uvs[counts > 1, 1] = numbers[first[counts > 1] + 1]
    return uvs
