"""Splits a stream of PLY files, and writes and reads the comment that sdfkit puts into their headers.

trimesh encodes and decodes the meshes. To split a stream, only the length of each PLY is needed.
"""

import io
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from sdfkit.errors import InputError

MARK = b"sdfkit "
LONGEST_HEADER = 1 << 22
SIZES = {
    "char": 1, "uchar": 1, "int8": 1, "uint8": 1,
    "short": 2, "ushort": 2, "int16": 2, "uint16": 2,
    "int": 4, "uint": 4, "int32": 4, "uint32": 4, "float": 4, "float32": 4,
    "double": 8, "float64": 8,
}  # fmt: skip
COUNTS = {1: "B", 2: "H", 4: "I"}


def write_comment(ply: bytes, info: Mapping[str, Any]) -> bytes:
    """Insert a comment with `info` as JSON into a PLY's header, after its format line."""
    end = ply.index(b"\n", ply.index(b"format")) + 1
    line = b"comment " + MARK + json.dumps(info, ensure_ascii=True).encode() + b"\n"
    return ply[:end] + line + ply[end:]


def write_double(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    """Encode a PLY with float64 coordinates, for meshes some of whose vertices would become equal in float32."""
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
    header += "".join(f"property double {axis}\n" for axis in "xyz")
    header += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    rows = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    rows["count"], rows["corners"] = 3, faces
    return header.encode() + vertices.astype("<f8").tobytes() + rows.tobytes()


def read_ply(stream: io.BufferedReader, name: str) -> tuple[dict[str, Any], bytes]:
    """Read exactly one PLY from a stream. Memory grows with the data that was read, not with the size in the header.

    Returns:
        The metadata that sdfkit wrote into the PLY (empty for PLY files of other programs), and the bytes of the PLY.

    Raises:
        InputError: The PLY is damaged or shorter than its header says.
    """
    header: list[bytes] = []
    info: dict[str, Any] = {}
    elements: list[tuple[int, list[tuple[int, int]]]] = []  # count; (bytes of a count or 0, bytes of an item)
    encoding = b""
    while not header or header[-1].strip() != b"end_header":
        line = stream.readline(LONGEST_HEADER)
        if not header and line.strip() != b"ply":
            raise InputError(f"{name}: is not a PLY; its first line is not ply")
        if not line.endswith(b"\n") or sum(map(len, header)) > LONGEST_HEADER:
            raise InputError(f"{name}: ends within the header of a PLY; is it truncated?")
        header.append(line)
        words = line.split()
        try:
            if line.startswith(b"comment " + MARK):
                info = dict(json.loads(line.split(MARK, 1)[1]))
            elif words[:1] == [b"format"]:
                encoding = words[1]
            elif words[:1] == [b"element"]:
                elements.append((int(words[2]), []))
                if elements[-1][0] < 0:
                    raise ValueError("a negative number of rows")
            elif words[:2] == [b"property", b"list"]:
                elements[-1][1].append((SIZES[words[2].decode()], SIZES[words[3].decode()]))
            elif words[:1] == [b"property"]:
                elements[-1][1].append((0, SIZES[words[1].decode()]))
        except (IndexError, KeyError, ValueError) as error:
            raise InputError(f"{name}: the header of a PLY has an invalid line: {line[:60]!r}") from error
    if encoding not in (b"ascii", b"binary_little_endian", b"binary_big_endian"):
        raise InputError(f"{name}: the header of a PLY names an unknown format; use ascii or binary")
    body = io.BytesIO()
    for count, properties in elements:
        if encoding == b"ascii":
            for _ in range(count):
                body.write(_whole_line(stream, name))
        else:
            _copy_element(stream, body, count, properties, "<" if b"little" in encoding else ">", name)
    return info, b"".join(header) + body.getvalue()


def _whole_line(stream: io.BufferedReader, name: str) -> bytes:
    line = stream.readline(LONGEST_HEADER)
    if not line.strip():
        raise InputError(f"{name}: a PLY ends early; it has fewer lines than its header declares")
    return line


def _copy_element(
    stream: io.BufferedReader,
    body: io.BytesIO,
    count: int,
    properties: list[tuple[int, int]],
    order: str,
    name: str,
) -> None:
    """Copy the rows of one element. The lists of its rows may differ in length, so each length is read."""
    if not any(length for length, _ in properties):
        _copy(stream, body, count * sum(size for _, size in properties), name)
        return
    while count:
        rows = _equal_rows(stream.peek(), count, properties, order) if len(properties) == 1 else 0
        if rows:
            # Most meshes have only triangles: all buffered rows of equal length are copied at once.
            length, size = properties[0]
            items = struct.unpack_from(order + COUNTS[length], stream.peek())[0]
            _copy(stream, body, rows * (length + items * size), name)
            count -= rows
            continue
        for length, size in properties:
            items = 1
            if length:
                items = struct.unpack(order + COUNTS[length], _copy(stream, body, length, name))[0]
            _copy(stream, body, items * size, name)
        count -= 1


def _equal_rows(buffered: bytes, count: int, properties: list[tuple[int, int]], order: str) -> int:
    """Count the complete rows at the start of `buffered` whose lists have the same length."""
    length, size = properties[0]
    if len(buffered) < length:
        return 0
    row = length + struct.unpack_from(order + COUNTS[length], buffered)[0] * size
    whole = min(len(buffered) // row, count)
    head = np.frombuffer(buffered, np.uint8, whole * row).reshape(whole, row)[:, :length]
    differs = (head != head[:1]).any(axis=1)
    return int(differs.argmax()) if differs.any() else whole


def _copy(stream: io.BufferedReader, body: io.BytesIO, size: int, name: str) -> bytes:
    part = b""
    while size:
        part = stream.read(min(size, 1 << 24))
        if not part:
            raise InputError(f"{name}: a PLY ends early; it has fewer bytes than its header declares")
        body.write(part)
        size -= len(part)
    return part
