"""Read the base colours, textures and texture coordinates of a glTF."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import numpy as np
from jaxtyping import Float

from sdfkit.images.rendering.appearance import Material, Texture, Wrap
from sdfkit.io.meshes.formats.gltf.document import Document
from sdfkit.io.meshes.formats.gltf.primitives import Primitive

WRAPS: dict[int, Wrap] = {10497: "repeat", 33648: "mirror", 33071: "clamp"}
TRANSFORM, BASIS, GLOSSINESS = (
    "KHR_texture_transform",
    "KHR_texture_basisu",
    "KHR_materials_pbrSpecularGlossiness",
)


class Materials:
    """The materials of a glTF; each texture is read once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._textures: dict[int, Texture | None] = {}

    def paint(
        self, primitive: Primitive, index: int | None
    ) -> tuple[Material, Float[np.ndarray, "vertex 2"] | None, Float[np.ndarray, "vertex 3"] | None]:
        """Return the material, the texture coordinates and the vertex colours of a primitive.

        Alpha, roughness, normal maps and emission are ignored. Nothing is read unless colours are wanted.

        Args:
            primitive: The primitive.
            index: Index of its material, if it has one.
        """
        if not self._document.source.colour:
            return Material(), None, None
        tint = np.clip(primitive.read("COLOR_0", 3, 4)[:, :3], 0, 1) if "COLOR_0" in primitive.names else None
        material = self._document.item("materials", index) if index is not None else {}
        gloss = material.get("extensions", {}).get(GLOSSINESS)
        if gloss is not None:
            factor, info = gloss.get("diffuseFactor"), gloss.get("diffuseTexture")
        else:
            metal = material.get("pbrMetallicRoughness", {})
            factor, info = metal.get("baseColorFactor"), metal.get("baseColorTexture")
        if factor is None and tint is not None:
            factor = (1, 1, 1)
        base = None if factor is None else _base_colour(factor)
        if info is None:
            return Material(base), None, tint
        texture = self._texture(info["index"])
        transform = info.get("extensions", {}).get(TRANSFORM, {})
        name = f"TEXCOORD_{transform.get('texCoord', info.get('texCoord', 0))}"
        if texture is not None and name not in primitive.names:
            self._document.leave_out(f"a texture was left out because its mesh has no {name}")
            texture = None
        if texture is None:
            return Material(base), None, tint
        return (
            Material(base, texture, plain=base),
            _picture_coordinates(primitive.read(name, 2), transform),
            tint,
        )

    def _texture(self, index: Any) -> Texture | None:
        """Return a texture, still encoded. None if no reader can decode it."""
        entry = self._document.item("textures", index)
        if index not in self._textures:
            sampler = self._document.item("samplers", entry["sampler"]) if "sampler" in entry else {}
            wrap = tuple(WRAPS[sampler.get(key, 10497)] for key in ("wrapS", "wrapT"))
            image = self._find_image(entry)
            self._textures[index] = None if image is None else Texture(*self._load(image), (wrap[0], wrap[1]))
        return self._textures[index]

    def _find_image(self, entry: dict[str, Any]) -> Any:
        if "source" in entry:
            return entry["source"]
        extensions: dict[str, Any] = entry.get("extensions", {})
        for name, extension in extensions.items():
            if name != BASIS and "source" in extension:
                return extension["source"]
        reason = f"it is compressed with {BASIS}" if BASIS in extensions else "it has no picture"
        self._document.leave_out(f"a texture was left out because {reason}")
        return None

    def _load(self, index: Any) -> tuple[str, bytes]:
        """Return the name and the encoded bytes of a picture; no bytes if its file is missing."""
        image = self._document.item("images", index)
        name = str(image.get("name") or f"image {index}")
        if "bufferView" in image:
            return name, bytes(self._document.view(image["bufferView"]))
        uri: str = image["uri"]
        return name if uri.startswith("data:") else unquote(uri), self._document.load(uri) or b""


def _base_colour(factor: Sequence[Any]) -> tuple[float, float, float]:
    red, green, blue = np.clip(np.asarray(factor[:3], np.float64), 0, 1).tolist()
    return red, green, blue


def _picture_coordinates(
    uv: Float[np.ndarray, "vertex 2"], transform: dict[str, Any]
) -> Float[np.ndarray, "vertex 2"]:
    """Apply KHR_texture_transform, and move the origin from the upper left of the picture to the lower left."""
    angle = float(transform.get("rotation", 0))
    cosine, sine = np.cos(angle), np.sin(angle)
    # Positive angles are counter-clockwise as one looks at the picture, where v points down.
    turn = np.array([[cosine, sine], [-sine, cosine]])
    scale = np.array(transform.get("scale", (1, 1)), np.float64).reshape(2)
    offset = np.array(transform.get("offset", (0, 0)), np.float64).reshape(2)
    uv = (uv * scale) @ turn.T + offset
    return np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1)
