"""The structure of PLY files: headers, rows of elements, streams of PLY files, and sdfkit's comment in the header.

`ply_mesh` reads the mesh. To split a stream, only the length of each PLY is needed.

Reference: Turk, The PLY Polygon File Format (1994).
"""

import io
import struct
from array import array
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Int, Num, UInt8

from sdfkit.errors import InputError
from sdfkit.io.meshes.metadata import MARK, parse_info
from sdfkit.wording import counted

LONGEST_HEADER = 1 << 22
LONGEST_LIST = 1 << 40
TYPES = {
    "char": "i1", "uchar": "u1", "int8": "i1", "uint8": "u1",
    "short": "i2", "ushort": "u2", "int16": "i2", "uint16": "u2",
    "int": "i4", "uint": "u4", "int32": "i4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
ORDERS = {b"ascii": "", b"binary_little_endian": "<", b"binary_big_endian": ">"}


@dataclass(frozen=True)
class Property:
    """A column of an element.

    Attributes:
        name: Its name.
        kind: NumPy type of its numbers, without the byte order.
        count: NumPy type of the length of its lists, likewise. Empty if the rows have one number each.
    """

    name: str
    kind: str
    count: str = ""


@dataclass(frozen=True)
class Element:
    """A table of a PLY: its name, number of rows, and properties."""

    name: str
    rows: int
    properties: list[Property]


@dataclass
class Header:
    """The header of a PLY.

    Attributes:
        order: Byte order, `<` or `>`; empty for text.
        elements: The tables that follow the header.
        textures: File names of textures (MeshLab's comment TextureFile).
        info: The metadata that sdfkit wrote; empty for PLY files of other programs.
        content: The bytes of the header.
    """

    order: str = ""
    elements: list[Element] = field(default_factory=list)
    textures: list[str] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    content: bytes = b""


def read_header(stream: io.BufferedIOBase, name: str) -> Header:
    """Read the header of a PLY from a stream.

    Args:
        stream: A stream at the first byte of a PLY.
        name: Name of the file in messages.

    Raises:
        InputError: The stream does not begin with a complete header.
    """
    header = Header()
    lines: list[bytes] = []
    size, encoding = 0, b""
    while not lines or lines[-1].strip() != b"end_header":
        line = stream.readline(LONGEST_HEADER)
        if not lines and line.strip() != b"ply":
            raise InputError(f"{name}: is not a PLY; its first line is not ply")
        size += len(line)
        if not line.endswith(b"\n") or size > LONGEST_HEADER:
            raise InputError(f"{name}: ends within the header of a PLY; is it truncated?")
        lines.append(line)
        words = line.split()
        try:
            if line.startswith(b"comment " + MARK):
                header.info = parse_info(line.split(MARK, 1)[1], name)
            elif words[:1] == [b"comment"] and [word.lower() for word in words[1:2]] == [b"texturefile"]:
                header.textures.append(line.split(words[1], 1)[1].strip().decode(errors="replace"))
            elif words[:1] == [b"format"]:
                encoding = words[1]
            elif words[:1] == [b"element"]:
                header.elements.append(Element(words[1].decode(), int(words[2]), []))
                if header.elements[-1].rows < 0:
                    raise ValueError("a negative number of rows")
            elif words[:2] == [b"property", b"list"]:
                count, kind = (TYPES[word.decode()] for word in words[2:4])
                header.elements[-1].properties.append(Property(words[4].decode(), kind, count))
            elif words[:1] == [b"property"]:
                header.elements[-1].properties.append(Property(words[2].decode(), TYPES[words[1].decode()]))
        except (IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise InputError(f"{name}: the header of a PLY has an invalid line: {line[:60]!r}") from error
    if encoding not in ORDERS:
        raise InputError(f"{name}: the header of a PLY names an unknown format; use ascii or binary")
    header.order, header.content = ORDERS[encoding], b"".join(lines)
    return header


class Rows:
    """The rows of an element. Rows whose lists have equal lengths lie together in one structured array.

    Args:
        element: The element.
        groups: Row numbers, and for each group of rows an array with the fields `kN` (numbers of property N) and `nN`
            (length of its list).
    """

    def __init__(self, element: Element, groups: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.element = element
        self._places = {part.name: at for at, part in reversed(list(enumerate(element.properties)))}
        self._groups = groups

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def numbers(self, name: str) -> Num[np.ndarray, " row"]:
        """Return a property with one number a row."""
        return self._join(f"k{self._places[name]}")

    def lists(self, name: str) -> tuple[Int[np.ndarray, " row"], Num[np.ndarray, " item"]]:
        """Return the lengths of the lists of a property, and the items of all lists, one list after another."""
        at = f"k{self._places[name]}"
        if len(self._groups) == 1:
            items = self._groups[0][1][at]
            return np.full(len(items), items.shape[1]), items.reshape(-1)
        sizes = self._join(f"n{self._places[name]}").astype(np.int64)
        first = np.concatenate([[0], np.cumsum(sizes)])
        flat = np.zeros(first[-1], self._groups[0][1][at].dtype)
        for which, rows in self._groups:
            flat[first[which, None] + np.arange(rows[at].shape[1])] = rows[at]
        return sizes, flat

    def widths(self) -> Int[np.ndarray, " row"]:
        """Return the number of bytes of each row; an empty array for an element without properties."""
        widths = np.zeros(self.element.rows if self._groups else 0, np.int64)
        for which, rows in self._groups:
            widths[which] = rows.itemsize
        return widths

    def _join(self, name: str) -> Num[np.ndarray, " row"]:
        if len(self._groups) == 1:
            column: np.ndarray = self._groups[0][1][name]
            return column
        column = np.zeros(self.element.rows, self._groups[0][1][name].dtype)
        for which, rows in self._groups:
            column[which] = rows[name]
        return column

    def property(self, name: str) -> Property:
        """Return the description of a property."""
        return self.element.properties[self._places[name]]


def read_rows(
    body: UInt8[np.ndarray, " byte"], at: int, element: Element, order: str, name: str
) -> tuple[Rows, int]:
    """Read the rows of one element from the body of a PLY.

    Memory grows with the bytes that were read, not with the number of rows in the header.

    Args:
        body: The bytes after the header. The numbers of a text are given as float64 in native byte order.
        at: Where the element starts.
        element: The element.
        order: Byte order; empty for a text.
        name: Name of the file in messages.

    Returns:
        The rows, and where they end.

    Raises:
        InputError: The body ends early, or a list has an impossible length.
    """
    declared = element
    if not order:
        numbers = [replace(part, kind="f8", count=part.count and "f8") for part in element.properties]
        element, order = replace(element, properties=numbers), "="
    if not element.properties:
        return Rows(declared, []), at
    lists = [place for place, part in enumerate(element.properties) if part.count]
    _, lengths, _ = _walk(body, at, replace(element, rows=min(1, element.rows) if lists else 0), order, name)
    kind = _row_type(element, order, lengths[0].tolist() if len(lengths) else [0] * len(lists))
    end = at + element.rows * kind.itemsize
    if end <= len(body):
        rows = body[at:end].view(kind)
        if all((rows[f"n{place}"] == rows[f"n{place}"][:1]).all() for place in lists):
            return Rows(declared, [(np.arange(len(rows)), rows)]), end
    if not lists:
        raise _ends_early(element, name)
    starts, lengths, end = _walk(body, at, element, order, name)
    key = np.zeros(len(lengths), np.int64)
    for column in lengths.T:  # faster than np.unique of rows
        _, place = np.unique(column, return_inverse=True)
        _, key = np.unique(key * (place.max() + 1) + place, return_inverse=True)
    groups = np.split(np.argsort(key, kind="stable"), np.cumsum(np.bincount(key))[:-1])
    parts = []
    for which in groups:
        kind = _row_type(element, order, lengths[which[0]].tolist())
        windows = np.lib.stride_tricks.sliding_window_view(body, kind.itemsize)
        parts.append((which, windows[starts[which]].view(kind)[:, 0]))
    return Rows(declared, parts), end


def _row_type(element: Element, order: str, lengths: list[int]) -> np.dtype[Any]:
    """Return the type of the rows whose lists have the given lengths."""
    left = iter(lengths)
    fields: list[tuple[Any, ...]] = []
    for place, part in enumerate(element.properties):
        if part.count:
            fields += [
                (f"n{place}", order + part.count),
                (f"k{place}", order + part.kind, (next(left),)),
            ]
        else:
            fields.append((f"k{place}", order + part.kind))
    return np.dtype(fields)


def _walk(
    body: UInt8[np.ndarray, " byte"], at: int, element: Element, order: str, name: str
) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, "row list"], int]:
    """Find the rows of an element with lists.

    Returns:
        Where each row starts, the lengths of its lists, and where the last row ends.
    """
    steps, skip = [], 0
    for part in element.properties:
        width = np.dtype(part.kind).itemsize
        if part.count:
            reader = _count_reader(part, order)
            steps.append((skip, reader.unpack_from, reader.size, width))
            skip = 0
        else:
            skip += width
    starts, lengths, content = array("q"), array("d"), body.data
    try:
        for _ in range(element.rows):
            starts.append(at)
            for before, unpack, own, width in steps:
                at += before
                (size,) = unpack(content, at)
                if not 0 <= size < LONGEST_LIST:
                    raise _bad_length(size, element, name)
                at += own + int(size) * width
                lengths.append(size)
            at += skip
    except struct.error as error:
        raise _ends_early(element, name) from error
    sizes = np.array(lengths)
    if (sizes % 1).any():  # in a text
        raise _bad_length(sizes[sizes % 1 > 0][0], element, name)
    if at > len(body):
        raise _ends_early(element, name)
    return np.array(starts, np.int64), sizes.astype(np.int64).reshape(-1, max(1, len(steps))), at


def _count_reader(part: Property, order: str) -> struct.Struct:
    return struct.Struct(order + np.dtype(part.count).char)


def _ends_early(element: Element, name: str) -> InputError:
    return InputError(
        f"{name}: a PLY ends early; its header declares {counted(element.rows, 'row')} of the element {element.name}"
    )


def _bad_length(size: int | float, element: Element, name: str) -> InputError:
    return InputError(
        f"{name}: a list of the element {element.name} of a PLY has {size:g} items; is it damaged?"
    )


def _read_length(content: bytes, reader: struct.Struct, element: Element, name: str) -> int:
    size: int | float = reader.unpack_from(content)[0]
    if not (0 <= size < LONGEST_LIST and size == int(size)):
        raise _bad_length(size, element, name)
    return int(size)


def read_ply(stream: io.BufferedReader, name: str) -> tuple[dict[str, Any], bytes]:
    """Read exactly one PLY from a stream. Memory grows with the data that was read, not with the size in the header.

    A PLY in text format ends where the next mesh of the stream begins. Whether it is complete shows when it is read.

    Returns:
        The metadata that sdfkit wrote into the PLY (empty for PLY files of other programs), and the bytes of the PLY.

    Raises:
        InputError: The PLY is damaged or shorter than its header says.
    """
    header = read_header(stream, name)
    body = io.BytesIO()
    body.write(header.content)
    if header.order:
        for element in header.elements:
            _copy_element(stream, body, element, header.order, name)
    else:
        line = b"\n"
        # No number begins with the first letters of ply and glTF. More than one letter may not be in the buffer.
        while line and not (line.endswith(b"\n") and stream.peek(1).startswith((b"p", b"g"))):
            line = stream.readline(LONGEST_HEADER)
            body.write(line)
    return header.info, body.getvalue()


def _copy_element(
    stream: io.BufferedReader, body: io.BytesIO, element: Element, order: str, name: str
) -> None:
    """Copy the rows of one element. The lists of its rows may differ in length, so each length is read."""
    widths = [np.dtype(part.kind).itemsize for part in element.properties]
    if not any(part.count for part in element.properties):
        _copy(stream, body, element.rows * sum(widths), element, name)
        return
    readers = [_count_reader(part, order) if part.count else None for part in element.properties]
    left = element.rows
    while left:
        row, rows = _equal_rows(stream.peek(), left, element, order, name)
        if rows:
            # Most meshes have only triangles: all buffered rows of equal length are copied at once.
            _copy(stream, body, rows * row, element, name)
            left -= rows
            continue
        for reader, width in zip(readers, widths, strict=True):
            items = 1
            if reader is not None:
                items = _read_length(_copy(stream, body, reader.size, element, name), reader, element, name)
            _copy(stream, body, items * width, element, name)
        left -= 1


def _equal_rows(buffered: bytes, count: int, element: Element, order: str, name: str) -> tuple[int, int]:
    """Return the length of the first row of `buffered`, and how many complete rows have lists as long as its list.

    Elements of which a list is not the only property are left to the caller.
    """
    only = element.properties[0]
    if len(element.properties) > 1 or len(buffered) < np.dtype(only.count).itemsize:
        return 0, 0
    reader = _count_reader(only, order)
    items = _read_length(buffered, reader, element, name)
    row = reader.size + items * np.dtype(only.kind).itemsize
    whole = min(len(buffered) // row, count)
    head = np.frombuffer(buffered, np.uint8, whole * row).reshape(whole, row)[:, : reader.size]
    differs = (head != head[:1]).any(axis=1)
    return row, int(differs.argmax()) if differs.any() else whole


def _copy(stream: io.BufferedReader, body: io.BytesIO, size: int, element: Element, name: str) -> bytes:
    part = b""
    while size:
        part = stream.read(min(size, 1 << 24))
        if not part:
            raise _ends_early(element, name)
        body.write(part)
        size -= len(part)
    return part
