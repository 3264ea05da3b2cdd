"""Reads COLLADA 1.4 and 1.5 (.dae).

The standard library parses the XML. pycollada, which trimesh uses, leaves out without a word what it does not know:
holes, strips, fans, skins, morphs, skews, and the up axis.
"""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float

from sdfkit.errors import GeometryError
from sdfkit.images.rendering.appearance import Part
from sdfkit.io.meshes.formats.collada.controllers import read_controlled
from sdfkit.io.meshes.formats.collada.document import Document
from sdfkit.io.meshes.formats.collada.geometry import Mesh, Primitive
from sdfkit.io.meshes.formats.collada.materials import Materials
from sdfkit.io.meshes.formats.collada.scene import read_scene, read_up_axis
from sdfkit.io.meshes.formats.markup import check_repeats
from sdfkit.io.meshes.formats.source import Source
from sdfkit.io.meshes.formats.values import decode_colours


def read_dae(content: bytes, source: Source) -> list[Part]:
    """Read the scene of a COLLADA file.

    Transformations of nodes, skins and morphs are applied, in the pose in which the scene stores them. Lines, curves,
    and what lies in other files is left out and noted. Coordinates stay in the file's unit.

    Args:
        content: The file.
        source: Where it comes from.

    Returns:
        The parts, in a right-handed frame with +Y up, whatever the file's up axis is. Without `source.colour`, one part
        for each instance of a mesh; with it, one for each primitive of an instance.

    Raises:
        InputError: The file is damaged, or has more than this reader supports.
        GeometryError: It has no faces.

    Reference: COLLADA 1.4.1 and 1.5.0 specifications, Khronos Group (2008).
    """
    document = Document(content, source)
    with np.errstate(all="ignore"):  # Numbers that are not finite are refused later, by name.
        parts = list(_read_parts(document))
    document.note_left_out()
    if not parts:
        others = f" ({'; '.join(source.left_out)})" if source.left_out else ""
        raise GeometryError(f"{source.name}: has no faces{others}; sdfkit needs a surface")
    return parts


def _read_parts(document: Document) -> Iterator[Part]:
    turn, scene, materials = read_up_axis(document), read_scene(document), Materials(document)
    meshes: dict[tuple[Element, ...], tuple[Mesh | None, bool]] = {}
    faces = 0
    for instance, world in scene.instances:
        target = instance if instance.tag == "geometry" else document.find(
            instance.get("url"), "geometry" if instance.tag == "instance_geometry" else "controller"
        )  # fmt: skip
        if target is None:
            continue
        roots = [document.find(entry.text, "node") for entry in instance.findall("skeleton")]
        skeletons = [root for root in roots if root is not None]
        key = (target, *skeletons)
        if key not in meshes:
            meshes[key] = read_controlled(document, target, scene.worlds, skeletons)
        mesh, is_placed = meshes[key]
        if mesh is None or not mesh.face_count:
            continue
        if not is_placed and not world[:3, :3].any():
            document.left_out["mesh", "scaled to a point"] += 1
            continue
        faces += mesh.face_count
        check_repeats(faces, document.size, document.name)
        yield from _place(document, mesh, np.eye(4) if is_placed else world, turn, instance, materials)


def _place(
    document: Document,
    mesh: Mesh,
    world: Float[np.ndarray, "4 4"],
    turn: Float[np.ndarray, "3 3"],
    instance: Element,
    materials: Materials,
) -> Iterator[Part]:
    """Yield the parts of an instance of a mesh, in the frame of the file with +Y up."""
    matrix = turn @ world[:3]
    positions = mesh.positions @ matrix[:, :3].T + matrix[:, 3]
    mirrored = np.full(len(positions), bool(np.linalg.det(matrix[:, :3]) < 0))
    mesh = mesh.at(positions, mirrored)
    if document.source.colour:
        for primitive in mesh.primitives:
            if len(primitive.faces):
                yield _paint(primitive, positions, instance, materials)
        return
    faces = np.concatenate([primitive.faces for primitive in mesh.primitives])
    yield Part(positions, faces)


def _paint(
    primitive: Primitive, positions: Float[np.ndarray, "vertex 3"], instance: Element, materials: Materials
) -> Part:
    """Return a primitive with its colours. Vertices are split where corners differ in their colour or coordinates."""
    binding = materials.bind(instance, primitive.material)
    uv = None
    if binding.material.texture is not None and primitive.uvs:
        number = binding.texcoord_set if binding.texcoord_set in primitive.uvs else min(primitive.uvs)
        uv = primitive.uvs[number]
    key = primitive.faces.reshape(-1)
    for values in (uv, primitive.colours):
        if values is None:
            continue
        key = np.unique(key, return_inverse=True)[1] * len(values.values) + values.index.reshape(-1)
    _, first, faces = np.unique(key, return_index=True, return_inverse=True)
    uv_rows, tint_rows = (
        None if x is None else x.values[x.index.reshape(-1)[first]] for x in (uv, primitive.colours)
    )
    return Part(
        positions[primitive.faces.reshape(-1)[first]],
        faces.reshape(-1, 3),
        binding.material,
        uv=uv_rows,
        tint=None if tint_rows is None else decode_colours(tint_rows, 1),
    )
