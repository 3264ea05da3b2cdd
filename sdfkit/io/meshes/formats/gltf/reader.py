"""Reads glTF 2.0 files (.glb and .gltf)."""

from collections import Counter
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from sdfkit.errors import GeometryError, InputError
from sdfkit.images.rendering.appearance import Material, Part
from sdfkit.io.meshes.formats.gltf.document import Document, natural, open_document
from sdfkit.io.meshes.formats.gltf.materials import Materials
from sdfkit.io.meshes.formats.gltf.nodes import place_meshes
from sdfkit.io.meshes.formats.gltf.primitives import FAN, LIST, POINTS, Primitive, pose
from sdfkit.io.meshes.formats.source import Source
from sdfkit.wording import agreeing, counted, omitted

# Errors that damaged JSON causes.
DAMAGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
# Largest number of vertices or faces that a small file may repeat its meshes to.
MOST_REPEATED = 50_000_000
DENSEST = 16  # vertices or faces per byte of a larger file


def read_gltf(content: bytes, source: Source) -> list[Part]:
    """Read the triangles of a glTF 2.0 file: one part for each primitive that the default scene shows.

    Skinned meshes have the stored pose, and morph targets their default weights. Animations are not read. Lines and
    points beside triangles are left out, as are the meshes that are not in the scene; `source.left_out` names them.

    Args:
        content: The bytes of a .glb or .gltf file.
        source: Where the file comes from.

    Returns:
        Parts with faces, in the order of the nodes, +Y up, in the unit of the file (metres).

    Raises:
        InputError: The file is damaged, not glTF 2.0, or requires an extension that is not supported.
        GeometryError: The file has no triangles.
        MissingError: The file is compressed with Draco, and DracoPy is not installed.
    """
    try:
        document = open_document(content, source)
        skipped: Counter[str] = Counter()
        with np.errstate(all="ignore"):  # Numbers that are not finite are passed on; later steps refuse them.
            parts = _read_parts(document, skipped)
        if not parts:
            raise GeometryError(f"{source.name}: {_describe(document, skipped)}; sdfkit needs a surface")
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"{source.name}: cannot be read as glTF ({reason}); is it truncated or damaged?"
        ) from error
    source.left_out.extend(omitted(count, kind) for kind, count in skipped.items())
    return parts


def _read_parts(document: Document, skipped: Counter[str]) -> list[Part]:
    """Read the parts of the scene, and count the primitives of points and lines in `skipped`."""
    source = document.source
    materials, parts, total, unweighted = Materials(document), list[Part](), 0, 0
    for placement in place_meshes(document):
        mesh = document.item("meshes", placement.mesh)
        for entry in mesh["primitives"]:
            mode = entry.get("mode", LIST)
            if type(mode) is not int or not 0 <= mode <= FAN:
                raise ValueError(f"a primitive has mode {mode!r:.40}")
            if mode < LIST or "POSITION" not in entry["attributes"]:
                _skip(document, entry, mode, skipped)
                continue
            primitive = Primitive(document, entry, placement.weights)
            total += max(len(primitive), len(primitive.faces)) * len(placement.matrices)
            if total > max(MOST_REPEATED, DENSEST * document.size):
                raise InputError(
                    f"{source.name}: repeats its meshes to {total:,} vertices or faces or more, too many for "
                    f"{document.size} bytes; it is not read"
                )
            vertices, faces, matrices = primitive.read("POSITION", 3), primitive.faces, placement.matrices
            if placement.joints is not None:
                vertices, faces, free = pose(primitive, vertices, placement.joints)
                unweighted += free
            if not len(faces) or not len(matrices):
                continue
            material, uv, tint = materials.paint(primitive, entry.get("material"))
            parts.append(_repeat(vertices, faces, matrices, material, uv, tint))
    if unweighted:
        document.leave_out(
            f"{counted(unweighted, 'vertex')} without weights "
            f"{agreeing(unweighted, 'follows its', 'follow their')} first joint"
        )
    return parts


def _skip(document: Document, entry: dict[str, Any], mode: int, skipped: Counter[str]) -> None:
    """Count a primitive without triangles."""
    position = entry["attributes"].get("POSITION")
    if position is None:
        skipped["primitive without positions"] += 1
    elif mode == POINTS:
        skipped["point"] += natural(document.item("accessors", position), "count")
    else:
        skipped["line primitive"] += 1


def _repeat(
    vertices: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    matrices: Float[np.ndarray, "instance 4 4"],
    material: Material,
    uv: Float[np.ndarray, "vertex 2"] | None,
    tint: Float[np.ndarray, "vertex 3"] | None,
) -> Part:
    """Place all instances of a primitive, and flip the faces of those that are mirrored."""
    count = len(matrices)
    if count == 1 and np.array_equal(matrices[0], np.eye(4)):
        return Part(vertices, faces, material, uv, tint)
    placed = vertices @ matrices[:, :3, :3].swapaxes(1, 2)
    placed += matrices[:, None, :3, 3]
    mirrored = np.linalg.det(matrices[:, :3, :3]) < 0
    repeated = faces + len(vertices) * np.arange(count)[:, None, None]
    repeated[mirrored] = repeated[mirrored, :, ::-1]
    uv, tint = (None if values is None else np.tile(values, (count, 1)) for values in (uv, tint))
    return Part(placed.reshape(-1, 3), repeated.reshape(-1, 3), material, uv, tint)


def _describe(document: Document, skipped: Counter[str]) -> str:
    """Say what a file without triangles holds."""
    if skipped:
        return (
            f"holds {' and '.join(counted(count, kind) for kind, count in skipped.items())}, but no triangles"
        )
    return "holds meshes, but its scene shows no triangles" if document.items("meshes") else "holds no mesh"
