"""Writes PLY files of every kind."""

import struct

from tests.io.meshes.formats.prism import POLYGONS, VERTICES

CODES = {
    "char": "b",
    "uchar": "B",
    "short": "h",
    "ushort": "H",
    "int": "i",
    "uint": "I",
    "float": "f",
    "double": "d",
}
ENCODINGS = ["ascii", "binary_little_endian", "binary_big_endian"]
SQUARE = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
XYZ = ["float x", "float y", "float z"]
CORNERS = ["list uchar int vertex_indices"]


def write_ply(encoding, *elements, header="", line_end="\n"):
    """Write a PLY from elements (name, properties, rows); a list in a row is a list property."""
    lines = ["ply", f"format {encoding} 1.0", *header.splitlines()]
    body = b""
    for name, properties, rows in elements:
        lines += [f"element {name} {len(rows)}", *(f"property {words}" for words in properties)]
        for row in rows:
            if encoding == "ascii":
                words = [[len(item), *item] if isinstance(item, (list, tuple)) else [item] for item in row]
                body += " ".join(f"{number:.17g}" for word in words for number in word).encode() + b"\n"
                continue
            order = ">" if "big" in encoding else "<"
            for item, words in zip(row, properties, strict=True):
                if words.startswith("list"):
                    _, count, kind, _ = words.split()
                    body += struct.pack(f"{order}{CODES[count]}{len(item)}{CODES[kind]}", len(item), *item)
                else:
                    body += struct.pack(order + CODES[words.split()[0]], item)
    return line_end.join([*lines, "end_header", ""]).encode() + body


def mesh_ply(encoding="ascii", vertices=VERTICES, polygons=POLYGONS, **more):
    return write_ply(
        encoding, ("vertex", XYZ, vertices), ("face", CORNERS, [[face] for face in polygons]), **more
    )
