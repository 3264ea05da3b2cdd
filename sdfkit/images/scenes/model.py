"""Models of shapes for a web page: few faces, quantised, with their colours and distances to another mesh."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, Int
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sdfkit.geometry.distance.tree import TriangleTree
from sdfkit.images.rendering.paint import WRAPS, Paint
from sdfkit.images.scenes.colours import color_corners, transfer_colors
from sdfkit.images.scenes.decimation import decimate
from sdfkit.images.scenes.packing import Packed, image_text, morton_codes, pack_arrays, quantise

# Edges between faces at a larger angle than this are drawn sharp.
CREASE = math.radians(40)
# Quality of the WebP images of textures.
QUALITY = 80


@dataclass(frozen=True)
class Distances:
    """Distances of a surface to another one.

    Attributes:
        values: For each vertex of the model; positive outside of the other mesh.
        signed: Whether the other mesh is closed. If it is not, all values are positive.
        mean: Mean of the absolute distance over the surface of the model.
        largest: Largest absolute distance of a vertex.
    """

    values: Float[np.ndarray, " vertex"]
    signed: bool
    mean: float
    largest: float


def measure_distances(mesh: trimesh.Trimesh, other: TriangleTree) -> Distances:
    """Measure the distances from the vertices of a mesh to another surface."""
    points = np.asarray(mesh.vertices, dtype=np.float64)
    signed = other.closed
    values = other.signed(points, "normal") if signed else other.closest(points)[0]
    size = np.abs(values)
    mean = float(np.average(size[mesh.faces].mean(axis=1), weights=np.maximum(mesh.area_faces, 1e-15)))
    return Distances(values, signed, mean, float(size.max()))


def make_model(
    mesh: trimesh.Trimesh, *, faces: int, paint: Paint | None = None, other: TriangleTree | None = None
) -> dict[str, Any]:
    """Make the model of a mesh.

    Args:
        mesh: A mesh in the unit frame of its shape, or, for comparison, in that of another.
        faces: Largest number of faces of the model.
        paint: Colours of the mesh, with decoded textures, which the model keeps as images. A mesh that is simplified
            has them as colours of vertices at seams.
        other: The surface to measure distances to.

    Returns:
        The content of the page: packed arrays `position`, `face` and, if there are any, `colour`, `uv`, `distance`;
        the numbers by which they are scaled; the numbers of faces `shown` and `given`; textures, if any.

    Raises:
        GeometryError: No face has an area.
    """
    model = decimate(mesh, faces)
    is_simplified = len(model.faces) < len(mesh.faces)
    content: dict[str, Any] = {"kind": "mesh", "given": len(mesh.faces), "shown": len(model.faces)}
    triangles = np.asarray(model.faces)
    keys = [_smooth_groups(model)]
    corner_colors = corner_uv = None
    material = np.zeros(len(triangles), dtype=np.int64)
    if paint is not None:
        if is_simplified:
            found = transfer_colors(mesh, paint, model)
            corner_colors, place, material = found.colors, found.uv, found.material
        else:
            corner_colors = color_corners(paint, np.asarray(mesh.faces), textured=False)
            place, material = paint.uv[mesh.faces], paint.material.astype(np.int64)
        textures = _pack_textures(paint)
        if any(textures) and (material >= 0).any():
            place = place.reshape(-1, 2)
            low, high = place.min(axis=0), place.max(axis=0)
            content["uv"] = {"low": low.tolist(), "high": high.tolist()}
            corner_uv = np.rint((place - low) / np.maximum(high - low, 1e-9) * 65535).astype(np.uint16)
            keys += list(corner_uv.T)
            # The last material is that of faces without a texture.
            material = np.where(material < 0, len(textures), material)
            content["textures"] = [*textures, None][: material.max() + 1]
        colors = corner_colors.reshape(-1, 3)
        keys.append(colors @ np.array([65536, 256, 1]))
    order = np.lexsort((morton_codes(model.triangles_center), material))
    if corner_uv is not None:
        content["groups"] = np.bincount(material).tolist()
    vertex, corner = _number_vertices(keys, order)
    points = np.asarray(model.vertices)[triangles.reshape(-1)[corner]]
    content["scale"] = float(np.abs(points).max())
    arrays = [
        Packed("position", quantise(points, content["scale"]), "differences"),
        Packed("face", vertex.astype(np.uint16 if len(points) < 65536 else np.uint32), "faces"),
    ]
    if corner_colors is not None:
        arrays.append(Packed("colour", corner_colors.reshape(-1, 3)[corner], "differences"))
    if corner_uv is not None:
        arrays.append(Packed("uv", corner_uv[corner], "differences"))
    if other is not None:
        distances = measure_distances(model, other)
        values = distances.values[triangles.reshape(-1)[corner]]
        content["distance"] = {
            "mean": distances.mean, "largest": distances.largest, "signed": distances.signed,
        }  # fmt: skip
        arrays.append(Packed("distance", quantise(values, distances.largest)[:, None], "differences"))
    return content | pack_arrays(arrays)


def _smooth_groups(mesh: trimesh.Trimesh) -> Int[np.ndarray, " corner"]:
    """Number the corners of faces so that corners of equal number share a vertex and a normal.

    At a vertex, the corners of two faces share a normal if the faces have an edge in common that is no crease.
    """
    faces = np.asarray(mesh.faces)
    smooth = mesh.face_adjacency_angles < CREASE
    pairs, edges = mesh.face_adjacency[smooth], mesh.face_adjacency_edges[smooth]
    # The corner of each face of a pair at each end of their edge.
    corners = [3 * pairs[:, [side] * 2] + (faces[pairs[:, side]][:, None] == edges[..., None]).argmax(axis=-1)
               for side in (0, 1)]  # fmt: skip
    rows, columns = (corner.reshape(-1) for corner in corners)
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(faces.size, faces.size))
    groups: Int[np.ndarray, " corner"] = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _number_vertices(
    keys: Sequence[np.ndarray], order: Int[np.ndarray, " face"]
) -> tuple[Int[np.ndarray, "face 3"], Int[np.ndarray, " vertex"]]:
    """Join the corners that are equal in all keys to vertices, numbered as faces in the given order use them.

    Returns:
        The vertices of the faces, in their new order; and for each vertex a corner to which it belongs.
    """
    joined = keys[0].astype(np.int64)
    for key in keys[1:]:
        _, joined = np.unique(joined * (int(key.max()) + 1) + key, return_inverse=True)
    corners = (3 * order[:, None] + np.arange(3)).reshape(-1)
    _, first, inverse = np.unique(joined[corners], return_index=True, return_inverse=True)
    by_use = np.argsort(first)
    number = np.empty_like(by_use)
    number[by_use] = np.arange(len(by_use))
    return number[inverse].reshape(-1, 3), corners[first[by_use]]


def _pack_textures(paint: Paint) -> list[dict[str, Any] | None]:
    """Return the textures of the materials as images in text."""
    packed: list[dict[str, Any] | None] = []
    for texture, wraps in zip(paint.textures, paint.wraps, strict=True):
        if texture is None:
            packed.append(None)
            continue
        stream = io.BytesIO()
        Image.fromarray(texture).save(stream, "webp", quality=QUALITY)
        packed.append({"image": image_text(stream.getvalue(), "webp"), "wrap": [WRAPS[how] for how in wraps]})
    return packed
