"""Reads the mesh of a PLY: faces, triangle strips, colours and textures."""

import io
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int, Num

from sdfkit.errors import GeometryError, InputError
from sdfkit.images.rendering.appearance import Material, Part, Texture
from sdfkit.io.meshes.formats.ply.elements import Header, Rows, read_header, read_rows
from sdfkit.io.meshes.formats.source import Source
from sdfkit.io.meshes.formats.values import (
    SPACE,
    check_corners,
    cut_faces,
    decode_colours,
    find_line_ends,
    may_be_lines,
    no_faces,
    parse_numbers,
)
from sdfkit.wording import counted, omitted

CORNERS = ("vertex_indices", "vertex_index")
UVS = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))
COLOURS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
# What stands for white in properties of other types than bytes.
WHITE = {"u2": 65535.0, "f4": 1.0, "f8": 1.0}
# Properties of a vertex by which 3D Gaussian splats are recognised.
SPLATS = ("f_dc_0", "opacity")
RESTART = -1


@np.errstate(invalid="ignore")  # a signalling NaN of float32 warns when it becomes float64
def read_ply_mesh(content: bytes, source: Source) -> list[Part]:
    """Read the faces and triangle strips of a PLY: text, or binary in either byte order.

    Polygons are cut into triangles. Of several kinds of colours in a file, only one is read: those of its textures,
    else of its vertices, else of its faces. All are taken as sRGB.

    Args:
        content: The bytes of the PLY.
        source: The file.

    Returns:
        One part, or one for each texture of a mesh with several textures.

    Raises:
        InputError: The PLY is damaged, or shorter than its header says.
        GeometryError: It has no faces.
    """
    header = read_header(io.BytesIO(content), source.name)
    tables = _read_tables(content, header, source)
    coordinates = _columns(tables.get("vertex"), ("x", "y", "z"))
    if coordinates is None:
        raise InputError(
            f"{source.name}: is a PLY without x, y and z in an element vertex; sdfkit needs a mesh"
        )
    vertices = coordinates.astype(np.float64)
    sizes, corners = _read_corners(tables.get("face"), source)
    corners, triangles, face_of_triangle = cut_faces(vertices, sizes, corners, source)
    strips = _read_strips(tables.get("tristrips"), len(vertices), source)
    if not len(triangles) and not len(strips):
        raise _without_faces(tables, source)
    part = Part(vertices, np.concatenate([corners[triangles], strips]))
    if not source.colour:
        return [part]
    # Triangles of strips have neither colours nor texture coordinates of their own.
    face = None if len(strips) else tables.get("face")
    uv = _read_wedges(face, sizes, source)
    number = _columns(face, ("texnumber",))
    textured = _put_textures(
        part,
        header.textures,
        tables["vertex"],
        None if uv is None else uv[triangles],
        None if number is None else number[face_of_triangle, 0],
        source,
    )
    if textured:
        return textured
    tint = _read_colours(tables["vertex"])
    face_tint = _read_colours(face) if tint is None else None
    return [replace(part, tint=tint, face_tint=None if face_tint is None else face_tint[face_of_triangle])]


def _read_tables(content: bytes, header: Header, source: Source) -> dict[str, Rows]:
    """Read the rows of all elements, and note what is left out."""
    start, end = len(header.content), len(content)
    if header.order:
        text, body = b"", np.frombuffer(content, np.uint8, offset=start)
    else:
        following = content.find(b"\nply", start)
        end = end if following < 0 else following
        text = content[start:end].rstrip(SPACE + b"\0")
        body = parse_numbers(text, source.name).view(np.uint8)
    tables: dict[str, Rows] = {}
    at = 0
    for element in header.elements:
        if element.name in tables:
            raise InputError(f"{source.name}: is a PLY with two elements {element.name}; is it damaged?")
        tables[element.name], at = read_rows(body, at, element, header.order, source.name)
        if element.rows and element.name not in ("vertex", "face", "tristrips"):
            source.left_out.append(
                f"the element {element.name} was left out ({counted(element.rows, 'row')})"
            )
    if not header.order:
        _check_lines(text, tables, source)
    rest = (content[start + at :] if header.order else content[end:]).strip(SPACE + b"\0")
    if rest.startswith(b"ply"):
        source.left_out.append(
            "the meshes after the first were left out; to read all, pipe the file to standard input"
        )
    elif header.order and rest:
        source.left_out.append(omitted(len(rest), "byte", "after its last row"))
    elif at < len(body) and not header.order:
        source.left_out.append(omitted((len(body) - at) // 8, "number", "after its last row"))
    return tables


def _check_lines(text: bytes, tables: dict[str, Rows], source: Source) -> None:
    """Refuse a text in which a number is missing, so that all numbers after it would be read as others.

    Usually each row ends with a line. If not, all numbers must belong to rows and all faces must have 3 corners, which
    is not so if a number is missing from a mesh of triangles.
    """
    widths = np.concatenate([np.zeros(0, np.int64), *(rows.widths() // 8 for rows in tables.values())])
    rows, lines = np.cumsum(widths), find_line_ends(text)
    if np.isin(rows, lines).all():
        return
    sizes, _ = _read_corners(tables.get("face"), source)
    if not ((sizes == 3).all() or may_be_lines(rows, lines)) or lines[-1] > rows[-1] or (sizes < 3).any():
        raise InputError(
            f"{source.name}: the lines of a PLY do not match the rows that its header declares; is a number missing?"
        )


def _columns(rows: Rows | None, names: tuple[str, ...]) -> Num[np.ndarray, "row column"] | None:
    """Return several properties with one number a row; None if the element lacks one of them."""
    if rows is None or any(name not in rows or rows.property(name).count for name in names):
        return None
    return np.stack([rows.numbers(name) for name in names], axis=1)


def _read_corners(
    rows: Rows | None, source: Source
) -> tuple[Int[np.ndarray, " row"], Num[np.ndarray, " corner"]]:
    """Return the number of vertices of each face or strip, and the vertices of all of them."""
    if rows is None or not rows.element.rows:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    for name in CORNERS:
        if name in rows and rows.property(name).count:
            return rows.lists(name)
    raise InputError(
        f"{source.name}: is a PLY whose element {rows.element.name} has no list vertex_indices; is it damaged?"
    )


def _read_strips(strips: Rows | None, count: int, source: Source) -> Int[np.ndarray, "triangle 3"]:
    """Return the triangles of the strips.

    -1 starts a new strip within a row. The orientation alternates from triangle to triangle, and starts anew with each
    strip. Triangles in which a vertex occurs twice are left out: they only join parts of a strip.
    """
    sizes, items = _read_corners(strips, source)
    check_corners(items[items != RESTART], count, source.name)
    corners = np.insert(items.astype(np.int64), np.cumsum(sizes), RESTART)
    place, is_end = np.arange(len(corners)), corners == RESTART
    lengths = np.diff(np.flatnonzero(is_end), prepend=-1) - 1
    short = int(((lengths > 0) & (lengths < 3)).sum())
    if short:
        source.left_out.append(omitted(short, "triangle strip", "with fewer than 3 vertices"))
    begin = np.maximum.accumulate(np.where(is_end, place + 1, 0))
    triangles = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
    is_odd = ((place - begin) % 2 == 1)[:-2]
    triangles[is_odd] = triangles[is_odd][:, [0, 2, 1]]
    a, b, c = triangles.T
    is_kept: np.ndarray = (triangles != RESTART).all(axis=1) & (a != b) & (b != c) & (c != a)
    return np.compress(is_kept, triangles, axis=0)


def _without_faces(tables: dict[str, Rows], source: Source) -> GeometryError:
    """Return the error for a PLY without faces, which says what it holds."""
    count = tables["vertex"].element.rows
    if all(name in tables["vertex"] for name in SPLATS):
        return GeometryError(
            f"{source.name}: holds {counted(count, 'Gaussian splat')} and no faces; sdfkit needs a surface"
        )
    others = (
        f", an element {name} ({counted(rows.element.rows, 'row')})"
        for name, rows in tables.items()
        if name != "vertex" and rows.element.rows
    )
    return no_faces(source, count, "".join(others))


def _read_wedges(
    face: Rows | None, sizes: Int[np.ndarray, " face"], source: Source
) -> Float[np.ndarray, "corner 2"] | None:
    """Return texture coordinates of the corners of faces, if there are any."""
    if face is None or "texcoord" not in face or not face.property("texcoord").count:
        return None
    lengths, items = face.lists("texcoord")
    if not np.array_equal(lengths, 2 * sizes):
        source.left_out.append(
            "texture coordinates that do not match the corners of their faces were left out"
        )
        return None
    return items.astype(np.float64).reshape(-1, 2)


def _put_textures(
    part: Part,
    names: list[str],
    vertex: Rows,
    wedges: Float[np.ndarray, "face 3 2"] | None,
    number: Num[np.ndarray, " face"] | None,
    source: Source,
) -> list[Part]:
    """Divide a mesh into parts with one texture each.

    Args:
        part: The mesh.
        names: File names of the textures.
        vertex: Properties of the vertices.
        wedges: Texture coordinates of the corners of triangles; None to take those of the vertices.
        number: Place of the texture of each triangle in `names`. None if all have the first.
        source: The file.

    Returns:
        The parts; none if there are no texture coordinates, or no picture is found.
    """
    columns = (_columns(vertex, pair) for pair in UVS)
    uv = next((found for found in columns if found is not None), None)
    if wedges is not None:
        corners = part.faces.reshape(-1)
        part = Part(part.vertices[corners], np.arange(len(corners)).reshape(-1, 3))
        uv = wedges.reshape(-1, 2)
    pictures = [source.find(name) for name in names] if uv is not None else []
    if uv is None or not any(pictures):
        return []
    textures = [Texture(name, picture or b"") for name, picture in zip(names, pictures, strict=True)]
    materials = dict(enumerate(Material(texture=texture) for texture in textures))
    if number is None or len(names) == 1:
        number = np.zeros(len(part.faces))
    number = np.where(np.isin(number, list(materials)), number, -1)  # -1: none of the textures
    return [
        replace(
            part,
            uv=uv.astype(np.float64),
            faces=part.faces[number == at],
            material=materials.get(at, Material()),
        )
        for at in np.unique(number).tolist()
    ]


def _read_colours(rows: Rows | None) -> Float[np.ndarray, "row 3"] | None:
    """Return the colours of vertices or faces as linear light, if there are any."""
    for names in COLOURS:
        colours = _columns(rows, names)
        if rows is not None and colours is not None:
            white = WHITE.get(rows.property(names[0]).kind, 255.0)
            return decode_colours(colours, 255.0 if white == 1 and colours.max(initial=0) > 1 else white)
    return None
