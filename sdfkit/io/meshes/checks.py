"""Whether a mesh file holds what it announces, looked at before anything is allocated on its word.

trimesh reads the files; it believes some of their headers, and takes some that end early for whole.
"""

import importlib.util
import io
import json
import re
import zipfile
from typing import Any

from sdfkit.errors import InputError, MissingError

PART = 1 << 24
DRACO, MESHOPT = "KHR_draco_mesh_compression", "EXT_meshopt_compression"
# No mesh has more vertices than this in a byte of file, however it is compressed.
DENSEST = 16
# XML shrinks ten or twenty times, nothing but a bomb shrinks a thousand times.
SHRUNK = 200
# An index of 0 means no vertex, and is taken for the last one.
NAMES_ZERO = re.compile(rb"^[ \t]*f[ \t](?:[^\n]*[ \t])?0+(?:[/ \t\r]|$)", re.MULTILINE)


def read_glb(stream: io.BufferedReader, name: str) -> tuple[dict[str, Any], bytes]:
    """Take exactly one GLB from a stream.

    Returns:
        What sdfkit wrote about it, empty for a GLB of others; and its bytes.

    Raises:
        InputError: Cut, damaged, or announcing more than comes.
        MissingError: Compressed in a way that needs another package.
    """
    head = stream.read(12)
    if not head.startswith(b"glTF") or len(head) < 12:
        raise InputError(f"{name}: not a GLB; it does not begin with glTF")
    size = int.from_bytes(head[8:12], "little")
    parts = [head]
    left = size - len(head)
    while left > 0:
        part = stream.read(min(left, PART))
        if not part:
            raise InputError(f"{name}: a GLB ends in the middle: {size} bytes announced, {size - left} there")
        parts.append(part)
        left -= len(part)
    content = b"".join(parts)
    chunks: list[bytes] = []
    at = 12
    while at < size:
        length = int.from_bytes(content[at : at + 4], "little")
        if at + 8 + length > size:
            raise InputError(f"{name}: a part of the GLB goes past its end; is it cut or damaged?")
        chunks.append(content[at + 8 : at + 8 + length])
        at += 8 + length
    tree = check_gltf(chunks[0] if chunks else b"", name, sum(map(len, chunks[1:])))
    return info_of(tree), content


def info_of(tree: Any) -> dict[str, Any]:
    """What sdfkit wrote into the JSON of a glTF; empty for one of others."""
    try:
        info = tree["asset"]["extras"]["sdfkit"]
    except (LookupError, TypeError):
        return {}
    return info if isinstance(info, dict) else {}


def check_gltf(text: bytes, name: str, behind: int = 0) -> dict[str, Any]:
    """Parse the JSON of a glTF or GLB, and refuse what would be read as zeros, or as more than there is.

    A GLB has so many bytes `behind` it, which hold the buffer that has no file of its own.
    """
    try:
        tree: dict[str, Any] = json.loads(text)
        held = sum(view["byteLength"] for view in tree.get("bufferViews", []))
        if MESHOPT in tree.get("extensionsRequired", []):
            raise InputError(f"{name}: compressed with {MESHOPT}, which is not read; export it without")
        if any("uri" not in buffer and buffer["byteLength"] > behind for buffer in tree.get("buffers", [])):
            raise InputError(f"{name}: its vertices and faces are not all there; is it cut or damaged?")
        accessors = tree.get("accessors", [])
        for accessor in accessors:
            if "bufferView" not in accessor and accessor["count"] > DENSEST * held:
                raise InputError(
                    f"{name}: announces {accessor['count']} values, but does not hold them; is it damaged?"
                )
        primitives = [primitive for mesh in tree.get("meshes", []) for primitive in mesh["primitives"]]
        for primitive in primitives:
            used = [primitive.get("indices"), primitive["attributes"].get("POSITION")]
            geometry = [accessors[index] for index in used if index is not None]
            if any("sparse" in accessor for accessor in geometry):
                raise InputError(f"{name}: has sparse accessors, which are not read; export it without them")
            is_packed = DRACO in primitive.get("extensions", {})
            if is_packed and importlib.util.find_spec("DracoPy") is None:
                raise MissingError(f"{name}: compressed with Draco; pip install DracoPy")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{name}: cannot be read as glTF ({reason}); is it cut or damaged?") from error
    return tree


def check_stl(content: bytes, name: str) -> None:
    """Refuse an STL that is cut."""
    count = int.from_bytes(content[80:84], "little")
    if len(content) == 84 + 50 * count:
        return
    if content[:80].lstrip()[:5].lower() == b"solid":
        if b"endsolid" not in content[-4096:].lower():
            raise InputError(f"{name}: an STL ends in the middle, without endsolid")
    else:
        there = max(0, len(content) - 84) // 50
        raise InputError(f"{name}: not a whole STL: {count} faces announced, {there} there")


def check_off(content: bytes, name: str) -> None:
    """Refuse an OFF with fewer lines than it announces."""
    lines = [line for row in content.splitlines() if (line := row.split(b"#")[0].strip())]
    counts = re.fullmatch(rb"\w*OFF\s+(\d+)\s+(\d+).*", b" ".join(lines[:2]), re.DOTALL)
    if counts is None:
        raise InputError(f"{name}: not an OFF; its first lines are not OFF and two counts")
    # The counts stand behind the word OFF, or on a line of their own.
    rows = len(lines) - (1 if lines[0][-3:] != b"OFF" else 2)
    announced = int(counts[1]) + int(counts[2])
    if rows < announced:
        raise InputError(f"{name}: an OFF ends in the middle: {announced} lines announced, {rows} there")


def check_obj(content: bytes, name: str) -> None:
    """Refuse an OBJ with an index of 0."""
    if NAMES_ZERO.search(content):
        raise InputError(f"{name}: a face names vertex 0, but an OBJ counts from 1; is it damaged?")


def check_zip(content: bytes, name: str) -> None:
    """Refuse a zip (3MF) that would grow beyond all measure."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            grown = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise InputError(f"{name}: not a whole zip ({error}); is it cut or damaged?") from error
    if grown > SHRUNK * len(content):
        raise InputError(f"{name}: {len(content)} bytes that would unpack to {grown}; it is no mesh")
