"""Checks that a mesh file is as long as its header says, before memory is allocated for it.

trimesh, which reads the files, trusts some headers, and accepts some truncated files as complete.
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
# Largest number of values per byte of a file, however well it is compressed.
DENSEST = 16
# Largest compression ratio of a zip file. XML reaches 10 to 20; ratios of 1,000 mean a zip bomb.
LARGEST_RATIO = 200
# An OBJ counts vertices from 1, but trimesh takes an index of 0 for the last vertex.
ZERO_INDEX = re.compile(rb"^[ \t]*f[ \t](?:[^\n]*[ \t])?0+(?:[/ \t\r]|$)", re.MULTILINE)


def read_glb(stream: io.BufferedReader, name: str) -> tuple[dict[str, Any], bytes]:
    """Read exactly one GLB from a stream.

    Returns:
        The metadata that sdfkit wrote into the GLB (empty for GLB files of other programs), and the bytes of the GLB.

    Raises:
        InputError: The GLB is damaged or shorter than its header says.
        MissingError: The GLB is compressed, and the package that decompresses it is not installed.
    """
    head = stream.read(12)
    if not head.startswith(b"glTF") or len(head) < 12:
        raise InputError(f"{name}: is not a GLB; a GLB begins with the letters glTF")
    size = int.from_bytes(head[8:12], "little")
    parts = [head]
    left = size - len(head)
    while left > 0:
        part = stream.read(min(left, PART))
        if not part:
            raise InputError(
                f"{name}: a GLB ends early; its header declares {size} bytes, but there are only {size - left}"
            )
        parts.append(part)
        left -= len(part)
    content = b"".join(parts)
    chunks: list[bytes] = []
    at = 12
    while at < size:
        length = int.from_bytes(content[at : at + 4], "little")
        if at + 8 + length > size:
            raise InputError(
                f"{name}: a chunk extends beyond the end of the GLB; is it truncated or damaged?"
            )
        chunks.append(content[at + 8 : at + 8 + length])
        at += 8 + length
    tree = check_gltf(chunks[0] if chunks else b"", name, sum(map(len, chunks[1:])))
    return info_of(tree), content


def info_of(tree: Any) -> dict[str, Any]:
    """Return the metadata that sdfkit wrote into the JSON of a glTF; empty for files of other programs."""
    try:
        info = tree["asset"]["extras"]["sdfkit"]
    except (LookupError, TypeError):
        return {}
    return info if isinstance(info, dict) else {}


def check_gltf(text: bytes, name: str, binary_size: int = 0) -> dict[str, Any]:
    """Parse the JSON of a glTF or GLB, and refuse data that trimesh would read as zeros or allocate without need.

    Args:
        text: The JSON.
        name: Name of the file in messages.
        binary_size: Number of bytes that follow the JSON in a GLB, for the buffer without a file of its own.

    Raises:
        InputError: The file is damaged, declares more data than it holds, or uses an unsupported extension.
        MissingError: The file is compressed with Draco, and DracoPy is not installed.
    """
    try:
        tree: dict[str, Any] = json.loads(text)
        held = sum(view["byteLength"] for view in tree.get("bufferViews", []))
        if MESHOPT in tree.get("extensionsRequired", []):
            raise InputError(
                f"{name}: is compressed with {MESHOPT}, which is not supported; export it uncompressed"
            )
        if any(
            "uri" not in buffer and buffer["byteLength"] > binary_size for buffer in tree.get("buffers", [])
        ):
            raise InputError(f"{name}: its vertices or faces are incomplete; is it truncated or damaged?")
        accessors = tree.get("accessors", [])
        for accessor in accessors:
            if "bufferView" not in accessor and accessor["count"] > DENSEST * held:
                raise InputError(
                    f"{name}: declares {accessor['count']} values, but has no data for them; is it damaged?"
                )
        primitives = [primitive for mesh in tree.get("meshes", []) for primitive in mesh["primitives"]]
        for primitive in primitives:
            used = [primitive.get("indices"), primitive["attributes"].get("POSITION")]
            geometry = [accessors[index] for index in used if index is not None]
            if any("sparse" in accessor for accessor in geometry):
                raise InputError(
                    f"{name}: has sparse accessors, which are not supported; export it without them"
                )
            is_packed = DRACO in primitive.get("extensions", {})
            if is_packed and importlib.util.find_spec("DracoPy") is None:
                raise MissingError(
                    f"{name}: is compressed with Draco, which needs DracoPy; pip install DracoPy"
                )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{name}: cannot be read as glTF ({reason}); is it truncated or damaged?") from error
    return tree


def check_stl(content: bytes, name: str) -> None:
    """Raise InputError for a truncated STL."""
    count = int.from_bytes(content[80:84], "little")
    if len(content) == 84 + 50 * count:
        return
    if content[:80].lstrip()[:5].lower() == b"solid":
        if b"endsolid" not in content[-4096:].lower():
            raise InputError(f"{name}: an STL ends early; its last line is not endsolid")
    else:
        present = max(0, len(content) - 84) // 50
        raise InputError(
            f"{name}: is not a complete STL; its header declares {count} triangles, but it holds {present}"
        )


def check_off(content: bytes, name: str) -> None:
    """Raise InputError for an OFF with fewer lines than its header declares."""
    lines = [line for row in content.splitlines() if (line := row.split(b"#")[0].strip())]
    counts = re.fullmatch(rb"\w*OFF\s+(\d+)\s+(\d+).*", b" ".join(lines[:2]), re.DOTALL)
    if counts is None:
        raise InputError(
            f"{name}: is not an OFF; it must begin with OFF and the numbers of vertices and faces"
        )
    # The counts follow the word OFF on its line, or on the next line.
    rows = len(lines) - (1 if lines[0][-3:] != b"OFF" else 2)
    declared = int(counts[1]) + int(counts[2])
    if rows < declared:
        raise InputError(
            f"{name}: an OFF ends early; it declares {declared} vertices and faces, but has {rows} lines"
        )


def check_obj(content: bytes, name: str) -> None:
    """Raise InputError for an OBJ with a vertex index of 0."""
    if ZERO_INDEX.search(content):
        raise InputError(
            f"{name}: a face refers to vertex 0, but an OBJ numbers vertices from 1; is it damaged?"
        )


def check_zip(content: bytes, name: str) -> None:
    """Raise InputError for a zip file (3MF) that is damaged or a zip bomb."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise InputError(
            f"{name}: is not a complete zip file ({error}); is it truncated or damaged?"
        ) from error
    if unpacked > LARGEST_RATIO * len(content):
        raise InputError(
            f"{name}: its {len(content)} bytes would unpack to {unpacked} bytes, as in a zip bomb; it is not read"
        )
