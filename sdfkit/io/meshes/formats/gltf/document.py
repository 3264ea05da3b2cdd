"""The JSON of a glTF 2.0 file, and the bytes of its buffers."""

import base64
import io
import json
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from sdfkit.errors import InputError
from sdfkit.io.meshes.formats.gltf.meshopt import decode_view
from sdfkit.io.meshes.formats.source import Source
from sdfkit.io.meshes.metadata import check_info
from sdfkit.wording import counted, omitted

# Bytes that are read from a stream at once: memory grows with the data, not with the length in a header.
PIECE = 1 << 24
DRACO = "KHR_draco_mesh_compression"
MESHOPT = ("KHR_meshopt_compression", "EXT_meshopt_compression")
# Extensions that a file may require: the reader applies them, or they change neither shape nor base colour.
HONOURED = {
    DRACO, *MESHOPT, "KHR_mesh_quantization", "EXT_mesh_gpu_instancing", "KHR_node_visibility",
    "KHR_texture_transform", "KHR_texture_basisu", "EXT_texture_webp", "EXT_texture_avif", "MSFT_texture_dds",
    "KHR_lights_punctual", "EXT_lights_image_based", "KHR_animation_pointer", "KHR_xmp", "KHR_xmp_json_ld",
}  # fmt: skip
HONOURED_PREFIX = "KHR_materials_"


class Document:
    """The JSON of a glTF, and the bytes to which it refers.

    Methods raise `ValueError`, `TypeError` or `LookupError` if the JSON contradicts itself or the bytes, which
    `read_gltf` reports as a damaged file.

    Args:
        tree: The JSON.
        binary: The bytes that follow the JSON in a GLB. None for a .gltf file.
        size: Number of bytes of the file.
        source: Where the file comes from.

    Attributes:
        size: Number of bytes that were read so far, from the file and from files beside it.

    Raises:
        InputError: The file is not glTF 2.0, or requires an extension that is not supported.
    """

    def __init__(self, tree: Any, binary: memoryview | None, size: int, source: Source) -> None:
        info_of(tree, source.name)
        asset = tree.get("asset", {})
        version = str(asset.get("version", "1.0" if isinstance(tree.get("meshes"), dict) else ""))
        if not version:
            raise InputError(f"{source.name}: is not a glTF; its JSON has no asset.version")
        if version.partition(".")[0] != "2" or asset.get("minVersion", "2.0") != "2.0":
            wanted = str(asset.get("minVersion", version))[:9]
            raise InputError(f"{source.name}: is a glTF {wanted}, but only glTF 2.0 is supported; convert it")
        self.tree: dict[str, Any] = tree
        self.source = source
        self.size = size
        self.required = tree.get("extensionsRequired", [])
        unknown = [
            name for name in self.required if name not in HONOURED and not name.startswith(HONOURED_PREFIX)
        ]
        if unknown:
            raise InputError(
                f"{source.name}: requires the glTF extension {', '.join(unknown)}, which is not supported;"
                " export it without"
            )
        self._binary = binary
        self._buffers: dict[int, memoryview] = {}
        self._views: dict[int, memoryview] = {}

    def leave_out(self, phrase: str) -> None:
        """Note, once, what the reader leaves out or guesses."""
        if phrase not in self.source.left_out:
            self.source.left_out.append(phrase)

    def items(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind ("nodes", "meshes", …)."""
        items = self.tree.get(kind, [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise TypeError(f"{kind} is not a list of objects")
        return items

    def item(self, kind: str, index: Any) -> dict[str, Any]:
        """Return one object of a kind by its index."""
        items = self.tree.get(kind, [])
        if type(index) is not int or not 0 <= index < len(items) or not isinstance(items[index], dict):
            raise IndexError(f"{kind}[{index}] does not exist")
        found: dict[str, Any] = items[index]
        return found

    def view(self, index: Any) -> memoryview:
        """Return the bytes of a buffer view, decompressed."""
        view = self.item("bufferViews", index)
        if index not in self._views:
            packed = next(
                (view["extensions"][name] for name in MESHOPT if name in view.get("extensions", {})), None
            )
            if packed is None or (self._is_stored(view["buffer"]) and not set(MESHOPT) & set(self.required)):
                self._views[index] = self._slice(view)
            else:
                self._views[index] = memoryview(decode_view(self._slice(packed), packed))
        return self._views[index]

    def _is_stored(self, index: Any) -> bool:
        """Return whether a buffer has bytes of its own; the fallback of a compressed buffer need not have any."""
        buffer = self.item("buffers", index)
        if any(buffer.get("extensions", {}).get(name, {}).get("fallback") for name in MESHOPT):
            return False
        return "uri" in buffer or (index == 0 and self._binary is not None)

    def _slice(self, view: dict[str, Any]) -> memoryview:
        content = self._buffer(view["buffer"])
        first, length = natural(view, "byteOffset", 0), natural(view, "byteLength")
        if first + length > len(content):
            raise ValueError(f"a bufferView ends after byte {len(content)} of its buffer")
        return content[first : first + length]

    def _buffer(self, index: Any) -> memoryview:
        buffer = self.item("buffers", index)
        if index not in self._buffers:
            length = natural(buffer, "byteLength")
            if "uri" in buffer:
                content: bytes | memoryview | None = self.load(buffer["uri"])
                if content is None:
                    raise InputError(
                        f"{self.source.name}: refers to {buffer['uri'][:80]}, which does not exist;"
                        " copy it beside the mesh"
                    )
                self.size += 0 if buffer["uri"].startswith("data:") else len(content)
            elif index == 0 and self._binary is not None:
                content = self._binary
            else:
                raise ValueError(f"buffers[{index}] has no bytes")
            if len(content) < length:
                raise ValueError(
                    f"buffers[{index}] declares {counted(length, 'byte')}, but has {len(content)}"
                )
            self._buffers[index] = memoryview(content)[:length]
        return self._buffers[index]

    def load(self, uri: str) -> bytes | None:
        """Return the bytes of a data URI or of a file beside the mesh. None if there is no such file."""
        if not uri.startswith("data:"):
            return self.source.find(unquote(uri))
        head, _, body = uri.partition(",")
        content = unquote_to_bytes(body)
        if not head.endswith(";base64"):
            return content
        digits = b"".join(content.split()).rstrip(b"=")  # some writers leave out the padding
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)


def natural(item: dict[str, Any], key: str, default: int | None = None) -> int:
    """Return a whole number, at least 0, of a JSON object."""
    value = item.get(key, default) if default is not None else item[key]
    if type(value) is not int or value < 0:
        raise ValueError(f"{key} is {value!r:.40}")
    return value


def open_document(content: bytes, source: Source) -> Document:
    """Parse a GLB, or the JSON of a .gltf file.

    Raises:
        InputError: The file is truncated, not glTF 2.0, or requires an extension that is not supported.
    """
    if not content.startswith(b"glTF"):
        if not content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            raise InputError(f"{source.name}: is neither a GLB nor JSON; is it a glTF?")
        return Document(json.loads(content), None, len(content), source)
    text, binary = split_chunks(content, source.name)
    size = int.from_bytes(content[8:12], "little")
    if size < len(content):
        source.left_out.append(omitted(len(content) - size, "byte", "after the end of the GLB"))
    return Document(json.loads(bytes(text)), binary, len(content), source)


def split_chunks(content: bytes, name: str) -> tuple[memoryview, memoryview | None]:
    """Return the JSON of a GLB, and the binary chunk, if it has one.

    Raises:
        InputError: The GLB is damaged or shorter than its header says, or not glTF 2.0.
    """
    if not content.startswith(b"glTF") or len(content) < 12:
        raise InputError(f"{name}: is not a GLB; a GLB begins with the letters glTF")
    version, size = (int.from_bytes(content[at : at + 4], "little") for at in (4, 8))
    if version != 2:
        raise InputError(f"{name}: is a glTF {version}.0, but only glTF 2.0 is supported; convert it")
    if size > len(content):
        raise InputError(
            f"{name}: a GLB ends early; its header declares {size} bytes, but there are only {len(content)}"
        )
    chunks: list[tuple[bytes, memoryview]] = []
    whole, at = memoryview(content), 12
    while at < size:
        length = int.from_bytes(content[at : at + 4], "little")
        if at + 8 + length > size:
            raise InputError(
                f"{name}: a chunk extends beyond the end of the GLB; is it truncated or damaged?"
            )
        chunks.append((content[at + 4 : at + 8], whole[at + 8 : at + 8 + length]))
        at += 8 + length
    if not chunks or chunks[0][0] != b"JSON":
        raise InputError(f"{name}: the first chunk of the GLB is not JSON; is it damaged?")
    return chunks[0][1], next((chunk for kind, chunk in chunks[1:] if kind == b"BIN\0"), None)


def take_glb(stream: io.BufferedReader, name: str) -> tuple[dict[str, Any], bytes]:
    """Read exactly one GLB from a stream.

    Returns:
        The metadata that sdfkit wrote into the GLB (empty for GLB files of other programs), and the bytes of the GLB.

    Raises:
        InputError: The GLB is damaged or shorter than its header says.
    """
    pieces = [stream.read(12)]
    left = int.from_bytes(pieces[0][8:], "little") - 12 if pieces[0].startswith(b"glTF") else 0
    while left > 0 and (piece := stream.read(min(left, PIECE))):
        pieces.append(piece)
        left -= len(piece)
    content = b"".join(pieces)
    text, _ = split_chunks(content, name)
    try:
        return info_of(json.loads(bytes(text)), name), content
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: the JSON of a GLB is damaged ({error})") from error


def info_of(tree: Any, name: str) -> dict[str, Any]:
    """Return the metadata that sdfkit wrote into the JSON of a glTF; empty for files of other programs.

    Raises:
        InputError: The metadata are damaged; see `metadata.check_info`.
    """
    try:
        info = tree["asset"]["extras"]["sdfkit"]
    except (LookupError, TypeError):
        return {}
    return check_info(info, name)
