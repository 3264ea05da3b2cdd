"""Encodes what trimesh does not write into a PLY: sdfkit's metadata, and float64 coordinates."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from sdfkit.io.meshes.metadata import MARK


def write_comment(ply: bytes, info: Mapping[str, Any]) -> bytes:
    """Insert a comment with `info` as JSON into a PLY's header, in place of one that is there."""
    header, mark, body = ply.partition(b"end_header")
    start = b"comment " + MARK
    lines = [line for line in header.splitlines(keepends=True) if not line.startswith(start)]
    place = 1 + next(index for index, line in enumerate(lines) if line.startswith(b"format"))
    lines.insert(place, start + json.dumps(info, ensure_ascii=True).encode() + b"\n")
    return b"".join(lines) + mark + body


def write_double(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    """Encode a PLY with float64 coordinates, for meshes some of whose vertices would become equal in float32."""
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
    header += "".join(f"property double {axis}\n" for axis in "xyz")
    header += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    rows = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    rows["count"], rows["corners"] = 3, faces
    return header.encode() + vertices.astype("<f8").tobytes() + rows.tobytes()
