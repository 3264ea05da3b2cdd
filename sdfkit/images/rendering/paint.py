"""Colours of vertices, faces, materials and textures, in one form for both renderers."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import trimesh
from jaxtyping import Float, Int, UInt8
from PIL import Image

# A grey-blue plastic. It stays below white where the headlight meets it perpendicularly; only the rim light may clip.
BASE_COLOR = (0.40, 0.46, 0.56)

# Exceptions that PIL raises for truncated or damaged images.
PICTURE_ERRORS = (OSError, SyntaxError, ValueError)


class Paint(NamedTuple):
    """The colours of a mesh: base colour times texture times tint, each linear light from 0 to 1."""

    material: Int[np.ndarray, " face"]
    """The material of each face, as a row in `base` and `textures`."""
    base: Float[np.ndarray, "material 3"]
    """Colours of materials."""
    textures: list[UInt8[np.ndarray, "row column 3"] | None]
    """Textures of materials: sRGB bytes, row 0 at the top. They repeat. None for a material without texture."""
    uv: Float[np.ndarray, "point 2"]
    """Texture coordinates of vertices, from (0, 0) at the lower left to (1, 1) at the upper right."""
    tint: Float[np.ndarray, "point 3"]
    """Colours of vertices."""


def decode_srgb(colors: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Convert sRGB bytes to linear light from 0 to 1 (IEC 61966-2-1)."""
    share = colors / 255
    light: np.ndarray = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return light


def join_painted(parts: Sequence[trimesh.Trimesh]) -> tuple[trimesh.Trimesh, Paint, list[str]]:
    """Concatenate the parts of a mesh and keep their colours.

    Opacity, roughness, normal maps and emission are ignored: all surfaces are rendered as the same plastic.

    Args:
        parts: Meshes as trimesh reads them.

    Returns:
        mesh: All parts as one mesh, without the vertices that no face uses.
        paint: Colours of this mesh.
        missing: Names of the materials whose texture is missing or cannot be read. They keep their base colour, or
            are grey-blue if they have none.
    """
    points, faces, materials, uvs, tints = [np.zeros((0, 3))], [], [], [], []
    table: dict[tuple[Any, ...], int] = {}
    bases: list[np.ndarray] = []
    textures: list[np.ndarray | None] = []
    missing = []
    count = 0
    for part in parts:
        visual: Any = part.visual
        corners = np.asarray(part.faces).reshape(-1)
        if visual.kind == "face":  # Faces of different colours cannot share vertices.
            used, index = corners, np.arange(len(corners))
        else:
            used, index = np.unique(corners, return_inverse=True)
        uv = getattr(visual, "uv", None)
        is_mapped = uv is not None and len(uv) == len(part.vertices)
        base, texture, lacks = _read_material(visual, is_mapped)
        missing += lacks
        # trimesh gives each part that shares a texture its own copy.
        key = (
            (base.tobytes(), texture.shape, hash(texture.tobytes()))
            if texture is not None
            else (base.tobytes(),)
        )
        if key not in table:
            table[key] = len(bases)
            bases.append(base)
            textures.append(texture)
        points.append(np.asarray(part.vertices)[used])
        faces.append((index + count).reshape(-1, 3))
        materials.append(np.full(len(corners) // 3, table[key]))
        uvs.append(np.nan_to_num(np.asarray(uv, float)[used, :2], posinf=0, neginf=0) if is_mapped
                   else np.zeros((len(used), 2)))  # fmt: skip
        tints.append(_read_tints(visual, used))
        count += len(used)
    if not faces:
        faces, materials, uvs, tints = [np.zeros((0, 3), int)], [np.zeros(0, int)], [np.zeros((0, 2))], points
    mesh = trimesh.Trimesh(np.concatenate(points), np.concatenate(faces), process=False)
    paint = Paint(
        np.concatenate(materials).astype(np.int32),
        np.reshape(bases, (-1, 3)),
        textures,
        np.concatenate(uvs).astype(np.float32),
        np.concatenate(tints).astype(np.float32),
    )
    return mesh, paint, missing


def _read_tints(visual: Any, used: np.ndarray) -> np.ndarray:
    """Return the colours (point, 3) of the used vertices as light, white where they have none."""
    if visual.kind == "vertex":
        return decode_srgb(visual.vertex_colors[used, :3])
    if visual.kind == "face":
        return decode_srgb(np.repeat(visual.face_colors[:, :3], 3, axis=0))
    colors = getattr(visual, "vertex_attributes", {}).get("color")
    if colors is None or len(colors) <= used.max(initial=-1):
        return np.ones((len(used), 3))
    # Vertex colours beside a material occur in glTF only, where they are linear already.
    whole = np.iinfo(colors.dtype).max if colors.dtype.kind == "u" else 1
    light: np.ndarray = np.clip(np.nan_to_num(colors[used, :3] / whole), 0, 1)
    return light


def _read_material(visual: Any, is_mapped: bool) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Return the base colour and the texture of a part, and the names of textures that cannot be read."""
    material = getattr(visual, "material", None)
    if material is None:
        return np.array(BASE_COLOR if visual.kind is None else (1.0, 1.0, 1.0)), None, []
    if isinstance(material, trimesh.visual.material.PBRMaterial):
        factor, picture = material.baseColorFactor, material.baseColorTexture
        is_plain = factor is None and "color" not in visual.vertex_attributes
        base = np.ones(3) if factor is None else factor[:3] / 255
    else:
        picture = getattr(material, "image", None)
        # If a material has no colour, trimesh fills in a grey of its own.
        is_plain = "kd" not in material.kwargs
        # The texture of an OBJ material replaces its base colour.
        base = np.ones(3) if picture is not None else decode_srgb(material.main_color[:3])
    missing = []
    if picture is not None and is_mapped:
        try:
            return base, np.array(picture.convert("RGB")), []
        except PICTURE_ERRORS:
            missing.append(str(picture.info.get("file_path") or material.name))
    return np.array(BASE_COLOR) if is_plain else base, None, missing


def fit_textures(
    paint: Paint, points: Float[np.ndarray, "point 3"], faces: Int[np.ndarray, "face 3"], scale: float
) -> Paint:
    """Shrink textures that are finer than the pixels of the images, by averaging texels.

    The renderers take one texture sample per pixel, so finer textures would flicker from view to view. All views are
    at the same distance, so one size per texture is enough, and both renderers show the same.

    Args:
        paint: Colours of a mesh.
        points: Vertices of the mesh.
        faces: Faces of the mesh.
        scale: Number of pixels per unit of length on a surface that faces the camera.
    """
    sides = (points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    pixels = scale**2 / 2 * np.linalg.norm(np.cross(*sides), axis=-1)
    (a, b), (c, d) = (
        np.moveaxis(paint.uv[faces[:, corner]] - paint.uv[faces[:, 0]], 1, 0) for corner in (1, 2)
    )
    shares = np.abs(a * d - b * c) / 2
    areas, pixel_areas = (np.bincount(paint.material, values, len(paint.base)) for values in (shares, pixels))
    textures = []
    for texture, area, pixel in zip(paint.textures, areas, pixel_areas, strict=True):
        if texture is not None and pixel > 0:
            texels = math.sqrt(area * texture.shape[0] * texture.shape[1] / pixel)
            factor = min(int(texels), *texture.shape[:2])
            texture = np.array(Image.fromarray(texture).reduce(factor)) if factor > 1 else texture
        textures.append(texture)
    return paint._replace(textures=textures)
