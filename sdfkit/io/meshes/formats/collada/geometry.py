"""Meshes of a COLLADA document: sources of numbers, and primitives as triangles."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from mapbox_earcut import triangulate_float64

from sdfkit.errors import InputError
from sdfkit.io.meshes.formats.collada.document import Document
from sdfkit.io.meshes.formats.values import cut_faces, parse_numbers
from sdfkit.wording import counted

AXES, COLOURS, TEXTURE = ("X", "Y", "Z"), ("R", "G", "B"), ("S", "T")
LINES = ("lines", "linestrips")
FACES = ("triangles", "polylist", "polygons", "trifans", "tristrips")


@dataclass(frozen=True)
class Values:
    """Values of the corners of triangles, such as texture coordinates."""

    values: Float[np.ndarray, "value channel"]
    index: Int[np.ndarray, "face 3"]


@dataclass(frozen=True)
class Primitive:
    """Triangles with one material.

    Attributes:
        faces: Rows in the positions of the mesh.
        material: The symbol of the material, which each instance binds to a material. Empty if there is none.
        colours: Colours of the corners, sRGB from 0 to 1.
        uvs: For each set of texture coordinates, the coordinates of the corners.
    """

    faces: Int[np.ndarray, "face 3"]
    material: str
    colours: Values | None = None
    uvs: dict[int, Values] = field(default_factory=dict)

    def turn(self, mirrored: Bool[np.ndarray, " vertex"]) -> "Primitive":
        """Turn round the faces that have at least two mirrored vertices."""
        turned = (mirrored[self.faces].sum(axis=1) >= 2)[:, None]

        def turn(index: Int[np.ndarray, "face 3"]) -> Int[np.ndarray, "face 3"]:
            return np.where(turned, index[:, ::-1], index)

        colours = self.colours and Values(self.colours.values, turn(self.colours.index))
        uvs = {number: Values(uv.values, turn(uv.index)) for number, uv in self.uvs.items()}
        return Primitive(turn(self.faces), self.material, colours, uvs)


@dataclass(frozen=True)
class Mesh:
    """A mesh in its own frame."""

    positions: Float[np.ndarray, "vertex 3"]
    primitives: Sequence[Primitive]

    @property
    def face_count(self) -> int:
        """Number of triangles."""
        return sum(len(primitive.faces) for primitive in self.primitives)

    def at(self, positions: Float[np.ndarray, "vertex 3"], mirrored: Bool[np.ndarray, " vertex"]) -> "Mesh":
        """Return the mesh with other positions of its vertices.

        Args:
            positions: The positions.
            mirrored: Where they are a mirror image. The faces there are turned round, so that they still face out.
        """
        if not mirrored.any():
            return replace(self, positions=positions)
        return Mesh(positions, [primitive.turn(mirrored) for primitive in self.primitives])


@dataclass(frozen=True)
class Input:
    """One column of the indices of a primitive."""

    semantic: str
    source: Element
    offset: int
    set: int


def read_mesh(document: Document, geometry: Element) -> Mesh | None:
    """Read a geometry, once. None if it is not a mesh, which the document notes.

    Raises:
        InputError: The mesh is damaged: numbers are missing, or an index is out of range.
    """
    if geometry not in document.geometries:
        document.geometries[geometry] = _read_geometry(document, geometry)
    mesh: Mesh | None = document.geometries[geometry]
    return mesh


def _read_geometry(document: Document, geometry: Element) -> Mesh | None:
    mesh = geometry.find("mesh")
    if mesh is None:
        mesh = geometry.find("convex_mesh")
    if mesh is None or mesh.get("convex_hull_of"):
        kinds = [("geometry", f"of kind {child.tag}") for child in geometry] or [("empty geometry", "")]
        document.left_out[kinds[0] if mesh is None else ("convex hull", "")] += 1
        return None
    vertices = mesh.find("vertices")
    shared = [] if vertices is None else read_inputs(document, mesh, vertices)
    position = next((entry.source for entry in shared if entry.semantic == "POSITION"), None)
    if position is None:
        if mesh.find("source") is None:
            document.left_out["empty geometry", ""] += 1
            return None
        raise InputError(f"{document.name}: geometry {geometry.get('id')} has no positions; is it damaged?")
    positions = read_source(document, position, AXES)
    primitives = []
    for element in mesh:
        if element.tag in LINES and document.integer(element, "count", 1):
            document.left_out["primitive", f"of kind {element.tag}"] += 1
        elif element.tag in FACES:
            primitives.append(_read_primitive(document, mesh, element, shared, positions))
    return Mesh(positions, primitives)


def read_inputs(document: Document, parent: Element, element: Element) -> list[Input]:
    """Return the inputs of an element of a mesh or controller, whose sources lie in this document."""
    inputs = []
    for entry in element.findall("input"):
        source = document.find(entry.get("source"), "source", "vertices", inside=parent)
        if source is not None:
            semantic = entry.get("semantic", "")
            offset, number = (document.integer(entry, key, 0) for key in ("offset", "set"))
            inputs.append(Input(semantic, source, offset, number))
    return inputs


def read_source(
    document: Document, source: Element, names: Sequence[str]
) -> Float[np.ndarray, "row channel"]:
    """Read the numbers of a source.

    Args:
        document: The document.
        source: The source.
        names: Names of the numbers in each row. If the parameters of the accessor have other names, the first ones that
            have a name are taken. A single parameter stands for all numbers of a row.

    Raises:
        InputError: The accessor is missing, or asks for more numbers than there are.
    """
    accessor = source.find("technique_common/accessor")
    if accessor is None:
        raise InputError(f"{document.name}: source {source.get('id')} has no accessor; is it damaged?")
    array = document.find(accessor.get("source"), "float_array", "int_array", inside=source)
    if array is None:
        raise InputError(f"{document.name}: has vertices in another file, {accessor.get('source')}")
    numbers = document.numbers(array)
    declared = document.integer(array, "count", len(numbers))
    count, stride, offset = (document.integer(accessor, key, k) for key, k in
                             (("count", 0), ("stride", 1), ("offset", 0)))  # fmt: skip
    parameters = [parameter.get("name", "") for parameter in accessor.findall("param")]
    if set(names) <= set(parameters):
        columns = [parameters.index(name) for name in names]
    elif len(parameters) < 2:
        columns = list(range(min(stride, len(names))))
    else:
        columns = [k for k, name in enumerate(parameters) if name][: len(names)]
    if len(columns) < len(names) or max(columns) >= stride:
        raise InputError(
            f"{document.name}: source {source.get('id')} has rows of "
            f"{counted(min(len(columns), stride), 'number')} in place of {len(names)}; is it damaged?"
        )
    needed = offset + (count - 1) * stride + max(columns) + 1 if count else 0
    if len(numbers) < max(declared, needed):
        raise InputError(
            f"{document.name}: source {source.get('id')} declares {counted(max(declared, needed), 'number')}, but has "
            f"{len(numbers)}; is it truncated or damaged?"
        )
    if len(numbers) > declared:
        document.left_out["number", f"that source {source.get('id')} does not declare"] += (
            len(numbers) - declared
        )
    rows: np.ndarray = numbers[offset + stride * np.arange(count)[:, None] + columns]
    return rows


def _read_primitive(
    document: Document,
    mesh: Element,
    element: Element,
    shared: list[Input],
    positions: Float[np.ndarray, "vertex 3"],
) -> Primitive:
    """Read a primitive with faces.

    Args:
        document: The document.
        mesh: The mesh to which the primitive belongs.
        element: The primitive.
        shared: The inputs of the vertices of the mesh, which are indexed like the positions.
        positions: The positions.
    """
    inputs = read_inputs(document, mesh, element)
    vertex = next((entry.offset for entry in inputs if entry.semantic == "VERTEX"), None)
    if vertex is None:
        raise InputError(f"{document.name}: an element {element.tag} has no input VERTEX; is it damaged?")
    rows, sizes = _read_corners(
        document, element, 1 + max(entry.offset for entry in inputs), vertex, positions
    )
    index, triangles, _ = cut_faces(positions, sizes, rows[:, vertex], document.source)
    primitive = Primitive(index[triangles], element.get("material", ""))
    if not document.source.colour:
        return primitive
    columns = [(entry, rows[:, entry.offset][triangles]) for entry in inputs]
    columns += [(entry, primitive.faces) for entry in shared]
    colours = [_values(document, *column, COLOURS) for column in columns if column[0].semantic == "COLOR"]
    uvs = dict[int, Values]()
    for entry, corners in columns:
        if entry.semantic == "TEXCOORD":
            uvs.setdefault(entry.set, _values(document, entry, corners, TEXTURE))
    return replace(primitive, colours=colours[0] if colours else None, uvs=uvs)


def _values(
    document: Document, entry: Input, corners: Num[np.ndarray, "face 3"], names: Sequence[str]
) -> Values:
    """Read the values of an input, and check the indices of the corners."""
    values = read_source(document, entry.source, names)
    index = corners.astype(np.int64)
    if len(index) and ((index != corners).any() or index.min() < 0 or index.max() >= len(values)):
        raise InputError(
            f"{document.name}: a face refers to a {entry.semantic} that does not exist; is the file damaged?"
        )
    return Values(values, index)


def _read_corners(
    document: Document,
    element: Element,
    width: int,
    vertex: int,
    positions: Float[np.ndarray, "vertex 3"],
) -> tuple[Float[np.ndarray, "corner input"], Int[np.ndarray, " face"]]:
    """Read the indices of a primitive with faces.

    Args:
        document: The document.
        element: The primitive.
        width: Number of indices of a corner.
        vertex: Which of them is the vertex.
        positions: Positions of the vertices.

    Returns:
        The indices of all corners of all faces, and the number of corners of each face.
    """
    texts = [part.text or "" for part in element.findall("p")]
    numbers = parse_numbers(" ".join(texts).encode(), document.name)
    words = (
        [len(text.split()) for text in texts]
        if element.tag not in ("triangles", "polylist")
        else [len(numbers)]
    )
    if any(count % width for count in words):
        raise InputError(
            f"{document.name}: the indices of an element {element.tag} are not a multiple of {width}; is it damaged?"
        )
    rows, sizes = numbers.reshape(-1, width), np.array(words, dtype=np.int64) // width
    found = len(sizes)
    if element.tag == "triangles":
        found, left = divmod(len(rows), 3)
        if left:
            raise InputError(
                f"{document.name}: an element triangles has {counted(len(rows), 'corner')}, which is not a "
                "multiple of 3"
            )
        sizes = np.full(found, 3)
    elif element.tag == "polylist":
        counts = document.numbers(element.find("vcount"))
        found, sizes = len(counts), counts.astype(np.int64)
        if (sizes != counts).any() or (sizes < 0).any() or counts.sum() != len(rows):
            raise InputError(
                f"{document.name}: the polygons of a polylist have {counts.sum():g} corners, but there are indices "
                f"for {len(rows)}; is it damaged?"
            )
    elif element.tag == "polygons":
        holes = element.findall("ph")
        found += len(holes)
        cuts = [_cut_with_holes(document, hole, width, vertex, positions) for hole in holes]
        sizes = np.concatenate([sizes, *(np.full(len(cut) // 3, 3) for cut in cuts)])
        rows = np.concatenate([rows, *cuts])
    else:
        corners = [_list_triangles(element.tag, int(size)) for size in sizes]
        first = np.cumsum(sizes) - sizes
        order = [start + triangles for start, triangles in zip(first, corners, strict=True)]
        triangles = rows[np.concatenate([np.zeros((0, 3), np.int64), *order])]
        # Strips are joined by repeating vertices; the triangles between them are none.
        is_joint = (triangles == np.roll(triangles, 1, axis=1))[..., vertex].any(axis=1)
        rows = triangles[~is_joint].reshape(-1, width)
        sizes = np.full(len(rows) // 3, 3)
    declared = document.integer(element, "count", found)
    if declared != found:
        raise InputError(
            f"{document.name}: an element {element.tag} declares {counted(declared, 'primitive')}, but has "
            f"{found}; is it damaged?"
        )
    return rows, sizes


def _list_triangles(kind: str, count: int) -> Int[np.ndarray, "triangle 3"]:
    """Return the triangles of a strip or a fan of `count` corners."""
    k = np.arange(max(count - 2, 0))
    if kind == "trifans":
        return np.stack([np.zeros_like(k), k + 1, k + 2], axis=1)
    return np.stack([k, k + 1 + k % 2, k + 2 - k % 2], axis=1)


def _cut_with_holes(
    document: Document,
    element: Element,
    width: int,
    vertex: int,
    positions: Float[np.ndarray, "vertex 3"],
) -> Float[np.ndarray, "corner input"]:
    """Cut a polygon with holes into triangles, and return the indices of their corners."""
    rings = [document.numbers(ring) for ring in (*element.findall("p"), *element.findall("h"))]
    if not rings or any(len(ring) % width or len(ring) < 3 * width for ring in rings):
        raise InputError(f"{document.name}: a polygon with holes has an incomplete outline; is it damaged?")
    rows = np.concatenate(rings).reshape(-1, width)
    ends = np.cumsum([len(ring) // width for ring in rings])
    index, _, _ = cut_faces(positions, np.diff(ends, prepend=0), rows[:, vertex], document.source)
    points = positions[index] - positions[index[0]]
    normals = [np.cross(ring, np.roll(ring, -1, axis=0)).sum(axis=0) for ring in np.split(points, ends[:-1])]
    axis = int(np.abs(normals[0]).argmax())
    flat = np.ascontiguousarray(points[:, [(axis + 1) % 3, (axis + 2) % 3]])
    flat[:, 0] *= np.sign(normals[0][axis])
    triangles = triangulate_float64(flat, ends.astype(np.uint32)).astype(np.int64).reshape(-1, 3)
    a, b, c = np.moveaxis(flat[triangles], 1, 0)
    areas = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    sizes = np.abs([normal[axis] for normal in normals])
    if not np.isclose(areas.sum(), 2 * sizes[0] - sizes.sum(), rtol=1e-6):
        raise InputError(f"{document.name}: a polygon with holes crosses itself; triangulate it")
    return rows[triangles.reshape(-1)]
