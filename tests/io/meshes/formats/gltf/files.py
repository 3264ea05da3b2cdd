"""Small glTF files, and the shapes in them, for tests."""

import base64
import json
import struct

import numpy as np

from sdfkit.io.meshes.formats.gltf.reader import read_gltf
from sdfkit.io.meshes.formats.source import Source

TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
CODES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}

# The unit cube around the origin: 8 vertices, 12 faces, area 6, volume 1.
CUBE = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
CUBE_FACES = np.array(
    [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
     (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)]
)  # fmt: skip


class File:
    """A glTF that a test assembles. `tree` is its JSON, and `binary` the content of buffer 0."""

    def __init__(self, **tree):
        self.tree = {"asset": {"version": "2.0"}} | tree
        self.binary = b""

    def append(self, kind, item):
        """Add an object to a list of the JSON and return its index."""
        items = self.tree.setdefault(kind, [])
        items.append(item)
        return len(items) - 1

    def view(self, content, **more):
        self.binary += bytes(-len(self.binary) % 4)
        view = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(content)} | more
        self.binary += content
        return self.append("bufferViews", view)

    def accessor(self, array, kind="f4", **more):
        """Add an array of one row for each element; columns become components."""
        array = np.asarray(array)
        array = (array[:, None] if array.ndim == 1 else array).astype("<" + kind)
        view = self.view(array.tobytes())
        about = {"componentType": CODES[kind], "count": len(array), "type": TYPES[array.shape[1]]}
        return self.append("accessors", {"bufferView": view} | about | more)

    def mesh(self, vertices=CUBE, faces=CUBE_FACES, kind="u2", more=None, **attributes):
        """Add a mesh of one primitive and return its index. `faces` are the indices; None: there are none."""
        primitive = {"attributes": {"POSITION": self.accessor(vertices)} | attributes} | (more or {})
        if faces is not None:
            primitive["indices"] = self.accessor(np.reshape(faces, (-1, 1)), kind)
        return self.append("meshes", {"primitives": [primitive]})

    def primitive(self, mesh=0):
        return self.tree["meshes"][mesh]["primitives"][0]

    def glb(self):
        text, binary = json.dumps(self._complete()).encode(), self.binary + bytes(-len(self.binary) % 4)
        text += b" " * (-len(text) % 4)
        size = 12 + 8 + len(text) + (8 + len(binary) if binary else 0)
        whole = struct.pack("<4sII", b"glTF", 2, size) + struct.pack("<I4s", len(text), b"JSON") + text
        return whole + (struct.pack("<I4s", len(binary), b"BIN\0") + binary if binary else b"")

    def gltf(self, uri=None):
        """The JSON, with its buffer in a data URI or in a file beside it."""
        tree = json.loads(json.dumps(self._complete()))
        where = uri or "data:application/octet-stream;base64," + base64.b64encode(self.binary).decode()
        if tree.get("buffers"):
            tree["buffers"][0]["uri"] = where
        return json.dumps(tree).encode()

    def _complete(self):
        buffers = self.tree.get("buffers", [])[1:]
        first = [{"byteLength": len(self.binary)}] if self.binary else []
        return self.tree | ({"buffers": first + buffers} if first or buffers else {})


def cube(**node):
    """A file with a unit cube in one node."""
    file = File()
    file.tree["nodes"] = [{"mesh": file.mesh()} | node]
    return file


def read(file, folder=None, colour=False):
    """Read a file: its parts, and what the reader left out."""
    source = Source("file.glb", folder, colour=colour)
    content = file if isinstance(file, bytes) else file.glb()
    return read_gltf(content, source), source


def corners(parts):
    """The triangles (face, 3, 3) of all parts."""
    return np.concatenate([part.vertices[part.faces] for part in parts])


def volume(parts):
    a, b, c = np.moveaxis(corners(parts), 1, 0)
    return np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6


def bounds(parts):
    points = corners(parts).reshape(-1, 3)
    return points.min(axis=0).tolist(), points.max(axis=0).tolist()
