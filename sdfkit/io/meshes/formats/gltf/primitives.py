"""Read the triangles of glTF meshes: topology, attributes, morph targets and skins."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from sdfkit.io.meshes.formats.gltf.accessors import COMPONENTS, normalise, read_accessor, read_numbers
from sdfkit.io.meshes.formats.gltf.document import Document
from sdfkit.io.meshes.formats.gltf.draco import unpack_draco
from sdfkit.wording import counted

POINTS, LIST, FAN = 0, 4, 6  # and 5 for strips


class Primitive:
    """The triangles of one primitive, and its attributes at the vertices that these triangles use.

    Args:
        document: The glTF.
        primitive: The JSON of the primitive.
        weights: Weights of the morph targets.

    Attributes:
        names: The names of the attributes.
        faces: The vertices of each triangle.

    Raises:
        ValueError: The data is not there, or contradicts itself.
    """

    def __init__(self, document: Document, primitive: dict[str, Any], weights: Sequence[float]) -> None:
        self._document = document
        self._accessors: dict[str, Any] = primitive["attributes"]
        self.names = frozenset(self._accessors)
        self._targets: list[dict[str, Any]] = primitive.get("targets", [])
        self._weights = weights
        self._packed = unpack_draco(document, primitive)
        self._used: Int[np.ndarray, " vertex"] | slice = slice(None)
        # Accessors without data are zeros. As positions or indices, they stem from an undeclared compression.
        for name in () if self._packed else ("POSITION", "indices"):
            index = self._accessors.get(name, primitive.get(name))
            if index is not None and not {"bufferView", "sparse"} & document.item("accessors", index).keys():
                raise ValueError(f"{name} has no data")
        self._count = len(self._read("POSITION", 3))
        if self._packed is not None:
            faces = self._packed.faces
        elif "indices" in primitive:
            indices = read_accessor(document, primitive["indices"], 1)[:, 0]
            if indices.dtype.kind != "u":
                raise ValueError(f"indices of type {indices.dtype}")
            faces = self._triangles(primitive.get("mode", LIST), indices.astype(np.int64))
        else:
            faces = self._triangles(primitive.get("mode", LIST), np.arange(self._count))
        if len(faces) and int(faces.max()) >= self._count:
            raise ValueError(f"a face refers to vertex {faces.max()} of {self._count}")
        # Primitives with different materials often share one array of vertices.
        if faces.size < self._count:
            self._used, corners = np.unique(faces, return_inverse=True)
            faces = corners.reshape(-1, 3)
        self.faces: Int[np.ndarray, "face 3"] = faces

    def __len__(self) -> int:
        return self._count if isinstance(self._used, slice) else len(self._used)

    def read(self, name: str, *columns: int) -> Float[np.ndarray, "vertex column"]:
        """Read an attribute, with the morph targets applied.

        Args:
            name: "POSITION", "COLOR_0", …
            columns: Accepted numbers of components.

        Raises:
            ValueError: The attribute has other components, or not one value for each vertex.
        """
        values = self._read(name, *columns)
        if len(values) != self._count:
            raise ValueError(
                f"{name} has {counted(len(values), 'value')} for {counted(self._count, 'vertex')}"
            )
        numbers = values[self._used].astype(np.float64)
        for weight, target in zip(self._weights, self._targets, strict=True):
            if weight and name in target:
                change = read_numbers(self._document, target[name], numbers.shape[1])
                if len(change) != self._count:
                    raise ValueError(
                        f"a morph target has {counted(len(change), 'value')} for {counted(self._count, 'vertex')}"
                    )
                numbers += weight * change[self._used]
        return numbers

    def _read(self, name: str, *columns: int) -> Float[np.ndarray, "vertex column"]:
        index = self._accessors[name]
        if self._packed is None or name not in self._packed.attributes:
            return read_numbers(self._document, index, *columns)
        values = self._packed.attributes[name]
        if values.shape[1] not in columns:
            raise ValueError(f"{name} has {counted(values.shape[1], 'component')}")
        accessor = self._document.item("accessors", index)
        # DracoPy returns the integers of most attributes as float32.
        return normalise(values.astype(COMPONENTS[accessor["componentType"]]), accessor)

    def _triangles(self, mode: int, corners: Int[np.ndarray, " corner"]) -> Int[np.ndarray, "face 3"]:
        """Return the triangles of a sequence of corners, all with the orientation of the first one.

        Reference: glTF 2.0, section 3.7.2.1.
        """
        if mode == LIST:
            rest = len(corners) % 3
            if rest:
                self._document.leave_out("an incomplete triangle at the end of a list was left out")
            return corners[: len(corners) - rest].reshape(-1, 3)
        if len(corners) < 3:
            return np.zeros((0, 3), np.int64)
        if mode == FAN:
            return np.stack([corners[1:-1], corners[2:], np.full(len(corners) - 2, corners[0])], axis=1)
        start = np.arange(len(corners) - 2)
        odd = start % 2
        faces = corners[np.stack([start, start + 1 + odd, start + 2 - odd], axis=1)]
        # Triangles with a repeated vertex join strips.
        is_joint = (faces == np.roll(faces, 1, axis=1)).any(axis=1)
        kept: Int[np.ndarray, "face 3"] = faces[~is_joint]
        return kept


def pose(
    primitive: Primitive,
    vertices: Float[np.ndarray, "vertex 3"],
    joints: Float[np.ndarray, "joint 3 4"],
) -> tuple[Float[np.ndarray, "vertex 3"], Int[np.ndarray, "face 3"], int]:
    """Place the vertices of a skinned primitive by its joints.

    Args:
        primitive: The primitive, with attributes JOINTS_n and WEIGHTS_n.
        vertices: Its positions at rest.
        joints: Transformations of the joints.

    Returns:
        The positions; the faces, flipped where the joints mirror them; and the number of vertices without weights,
        which follow their first joint.

    Reference: glTF 2.0, section 3.7.3.3. Weights are divided by their sum, which need not be exactly 1.
    """
    sets = [k for k in range(len(primitive.names)) if k == 0 or f"JOINTS_{k}" in primitive.names]
    rows = np.concatenate([primitive.read(f"JOINTS_{k}", 4) for k in sets], axis=1).astype(np.int64)
    weights = np.concatenate([primitive.read(f"WEIGHTS_{k}", 4) for k in sets], axis=1)
    total = weights.sum(axis=1)
    free = total == 0
    weights[free, 0], total[free] = 1, 1
    weights /= total[:, None]
    rows[weights == 0] = 0
    if len(rows) and rows.max() >= len(joints):
        raise ValueError(f"a vertex refers to joint {rows.max()} of {len(joints)}")
    blended = np.zeros((len(rows), 3, 4))
    for k in range(rows.shape[1]):
        blended += weights[:, k, None, None] * joints[rows[:, k]]
    positions = np.einsum("nij,nj->ni", blended[:, :, :3], vertices) + blended[:, :, 3]
    faces = primitive.faces.copy()
    mirrored = np.linalg.det(blended[:, :, :3])[faces].sum(axis=1) < 0
    faces[mirrored] = faces[mirrored, ::-1]
    return positions, faces, int(free.sum())
