"""Colours of vertices, faces, materials and textures, in one form for both renderers."""

import io
import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from sdfkit.images.rendering.appearance import Material, Part, Texture

# A grey-blue plastic. It stays below white where the headlight meets it perpendicularly; only the rim light may clip.
BASE_COLOR = (0.40, 0.46, 0.56)
WRAPS = ("repeat", "mirror", "clamp")

# Exceptions that PIL raises for truncated or damaged images, and for images too large to decode.
PICTURE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class Colors(NamedTuple):
    """The colours of a mesh whose textures are still encoded."""

    material: Int[np.ndarray, " face"]
    """The material of each face, as an index into `materials`."""
    materials: list[Material]
    uv: Float[np.ndarray, "point 2"]
    """Texture coordinates of vertices, from (0, 0) at the lower left to (1, 1) at the upper right."""
    tint: Float[np.ndarray, "point 3"] | None
    """Colours of vertices, linear light from 0 to 1. None if no part has any."""


class Paint(NamedTuple):
    """The colours of a mesh: base colour times texture times tint, each linear light from 0 to 1."""

    material: Int[np.ndarray, " face"]
    """The material of each face, as a row in `base`, `textures` and `wraps`."""
    base: Float[np.ndarray, "material 3"]
    """Colours of materials."""
    textures: list[UInt8[np.ndarray, "row column 3"] | None]
    """Textures of materials: sRGB bytes, row 0 at the top. None for a material without texture."""
    wraps: Int[np.ndarray, "material 2"]
    """How the texture of a material continues at coordinates outside 0 to 1, along u and v, as indices into `WRAPS`."""
    uv: Float[np.ndarray, "point 2"]
    """Texture coordinates of vertices, from (0, 0) at the lower left to (1, 1) at the upper right."""
    tint: Float[np.ndarray, "point 3"]
    """Colours of vertices."""


def decode_srgb(colors: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Convert sRGB bytes to linear light from 0 to 1 (IEC 61966-2-1)."""
    share = colors / 255
    light: np.ndarray = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return light


def join_parts(parts: Sequence[Part]) -> tuple[trimesh.Trimesh, Colors]:
    """Concatenate the parts of a mesh and keep their colours.

    Opacity, roughness, normal maps and emission are ignored: all surfaces are rendered as the same plastic.

    Args:
        parts: The parts of a mesh file. Parts with equal materials share one material in the result.

    Returns:
        mesh: All parts as one mesh, without the vertices that no face uses.
        colors: Colours of this mesh.
    """
    has_tint = any(part.tint is not None or part.face_tint is not None for part in parts)
    points, faces, rows = [np.zeros((0, 3))], [np.zeros((0, 3), int)], [np.zeros(0, int)]
    uvs, tints = [np.zeros((0, 2))], [np.zeros((0, 3))]
    table: dict[Material, int] = {}
    count = 0
    for part in parts:
        corners = part.faces.reshape(-1)
        if part.face_tint is not None:  # Faces of different colours cannot share vertices.
            used, index = corners, np.arange(len(corners))
        else:
            used, index = np.unique(corners, return_inverse=True)
        uv = np.zeros((len(used), 2)) if part.uv is None else part.uv[used]
        tint = np.ones((len(used), 3)) if part.tint is None else part.tint[used]
        if part.face_tint is not None:
            tint = tint * np.repeat(part.face_tint, 3, axis=0)
        material = part.material
        if part.uv is None and material.texture is not None:
            material = Material(material.plain if material.plain is not None else material.base)
        if (
            material.base is None
            and material.texture is None
            and (part.tint is None and part.face_tint is None)
        ):
            material = Material(BASE_COLOR)
        points.append(part.vertices[used])
        faces.append((index + count).reshape(-1, 3))
        rows.append(np.full(len(part.faces), table.setdefault(material, len(table))))
        uvs.append(np.nan_to_num(uv, posinf=0, neginf=0))
        tints.append(np.clip(np.nan_to_num(tint), 0, 1))
        count += len(used)
    mesh = trimesh.Trimesh(np.concatenate(points), np.concatenate(faces), process=False)
    tint = np.concatenate(tints).astype(np.float32) if has_tint else None
    colors = Colors(
        np.concatenate(rows).astype(np.int32), list(table), np.concatenate(uvs).astype(np.float32), tint
    )
    return mesh, colors


def keep_faces(colors: Colors, faces: Int[np.ndarray, "face 3"], kept: Bool[np.ndarray, " face"]) -> Colors:
    """Return the colours of a mesh without some of its faces, and without the vertices that only these use.

    Args:
        colors: Colours of the mesh.
        faces: All faces of the mesh.
        kept: Which of them the result has.
    """
    used = np.zeros(len(colors.uv), dtype=bool)
    used[faces[kept]] = True
    tint = None if colors.tint is None else colors.tint[used]
    return Colors(colors.material[kept], colors.materials, colors.uv[used], tint)


def load_textures(
    colors: Colors,
    points: Float[np.ndarray, "point 3"],
    faces: Int[np.ndarray, "face 3"],
    scale: float,
) -> tuple[Paint, list[str]]:
    """Decode the textures of a mesh, and shrink those that are finer than the pixels of the images.

    The renderers take one texture sample per pixel, so finer textures would flicker from view to view. Texels are
    averaged. All views are at the same distance, so one size per texture is enough, and both renderers show the same.
    One picture is decoded at a time, so memory is that of the largest picture and of the shrunken textures.

    Args:
        colors: Colours of a mesh.
        points: Vertices of the mesh.
        faces: Faces of the mesh.
        scale: Number of pixels per unit of length on a surface that faces the camera.

    Returns:
        paint: The colours for the renderers.
        missing: Names of the textures that are missing or cannot be read. Their materials have their plain colour, or
            are grey-blue if they have none.
    """
    first, second = points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]]
    pixels = scale**2 / 2 * np.linalg.norm(np.cross(first, second), axis=-1)
    (a, b), (c, d) = (
        np.moveaxis(colors.uv[faces[:, corner]] - colors.uv[faces[:, 0]], 1, 0) for corner in (1, 2)
    )
    shares = np.abs(a * d - b * c) / 2
    count = len(colors.materials)
    areas, pixel_areas = (np.bincount(colors.material, values, count) for values in (shares, pixels))
    bases, textures, missing = [], list[UInt8[np.ndarray, "row column 3"] | None](), []
    for material, area, pixel in zip(colors.materials, areas, pixel_areas, strict=True):
        base, texture = material.base, None
        if material.texture is not None:
            try:
                texture = _decode(material.texture, area, pixel)
            except PICTURE_ERRORS:
                missing.append(material.texture.name)
                base = BASE_COLOR if material.plain is None else material.plain
        textures.append(texture)
        bases.append((1.0, 1.0, 1.0) if base is None else base)
    wraps = [material.texture.wrap if material.texture else WRAPS[:1] * 2 for material in colors.materials]
    codes = np.array([[WRAPS.index(wrap) for wrap in pair] for pair in wraps], dtype=np.int32).reshape(-1, 2)
    tint = np.ones((len(points), 3), np.float32) if colors.tint is None else colors.tint
    return Paint(colors.material, np.reshape(bases, (-1, 3)), textures, codes, colors.uv, tint), missing


def _decode(texture: Texture, area: float, pixels: float) -> UInt8[np.ndarray, "row column 3"]:
    """Decode a picture that covers `pixels` pixels with `area` times its own area, at about one texel per pixel."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", Image.DecompressionBombWarning
        )  # below twice that size PIL decodes it
        with Image.open(io.BytesIO(texture.content)) as picture:
            factor = 1
            if pixels > 0:
                texels = math.sqrt(area * picture.width * picture.height / pixels)
                factor = max(1, min(int(texels), picture.width, picture.height))
            if picture.mode.startswith("I;16"):
                converted = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
            else:
                converted = picture.convert("RGB")
    return np.array(converted.reduce(factor) if factor > 1 else converted)
