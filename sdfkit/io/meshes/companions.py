"""Finds the files to which a mesh file refers (buffers, materials, textures), without reading the mesh.

They are a part of the input: a .gltf whose .bin has changed is another mesh.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from sdfkit.io.meshes.formats.source import Source

# By suffix, how a file names another one.
REFERENCES = {
    ".gltf": re.compile(rb'"uri"\s*:\s*"([^"]+)"'),
    ".glb": re.compile(rb'"uri"\s*:\s*"([^"]+)"'),
    ".obj": re.compile(rb"^[ \t]*mtllib[ \t]+([^\r\n]+)", re.MULTILINE),
    ".mtl": re.compile(rb"^[ \t]*(?:map_\w+|bump|disp|decal|refl|norm)[ \t]+([^\r\n]+)", re.MULTILINE),
    ".dae": re.compile(rb"<(?:\w+:)?(?:init_from|ref)[^>]*>([^<]+)<"),
    ".ply": re.compile(rb"^comment TextureFile ([^\r\n]+)", re.MULTILINE),
}


def digest_mesh(path: Path) -> str:
    """Return the first 16 digits of the SHA-256 of a mesh file, or of this and all files to which it refers."""
    content = path.read_bytes()
    digest = hashlib.sha256(content)
    others = [other for _, other in read_companions(content, path)]
    if others:
        digest = hashlib.sha256(digest.digest())
        for other in others:
            digest.update(hashlib.sha256(other).digest())
    return digest.hexdigest()[:16]


def read_companions(content: bytes, path: Path) -> list[tuple[str, bytes]]:
    """Return the files to which a mesh file refers: each name by which it does so, and the content.

    Args:
        content: The bytes of the mesh file.
        path: Its path.
    """
    return list(_read_companions(content, path.suffix.lower(), Source(str(path), path.parent)))


def _read_companions(content: bytes, suffix: str, source: Source) -> Iterator[tuple[str, bytes]]:
    pattern = REFERENCES.get(suffix)
    if pattern is None:
        return
    for name in dict.fromkeys(pattern.findall(content)):
        if name.startswith(b"data:"):
            continue
        text = name.decode("utf-8", "surrogateescape").strip().removeprefix("file://")
        # A map of a material may have options before its name.
        for candidate in dict.fromkeys((text, unquote(text), text.rpartition(" ")[2])):
            found = source.find(candidate)
            if found is not None:
                yield candidate, found
                if suffix == ".obj":
                    yield from _read_companions(found, ".mtl", source)
                break
