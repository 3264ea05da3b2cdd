"""Colours of the corners of faces, for meshes whose faces are no longer those that carry the colours."""

from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Float, Int, UInt8

from sdfkit.geometry.distance.tree import TriangleTree
from sdfkit.images.rendering.paint import BASE_COLOR, Colors, Paint, decode_srgb

# A corner takes its colour from a point this share of the way from the corner to the middle of the face, so that at
# the border between two colours both faces keep their own.
INWARD = 0.2
# Largest difference, as a share of a face's extent in a texture, between the coordinates in the middle of the face and
# the mean of those of its corners. Faces of a simplified mesh are bent parts of the original one.
BEND = 0.15


def has_colors(colors: Colors) -> bool:
    """Return whether any face has a colour of its own, and not the grey-blue of meshes without colours."""
    return colors.tint is not None or any(
        material.texture is not None or material.base not in (None, BASE_COLOR)
        for material in colors.materials
    )


def color_corners(
    paint: Paint, faces: Int[np.ndarray, "face 3"], *, textured: bool
) -> UInt8[np.ndarray, "face 3 3"]:
    """Return the colours of the corners of a mesh as sRGB bytes.

    Args:
        paint: The colours of the mesh.
        faces: Its faces.
        textured: Multiply by the texture; otherwise the page does.
    """
    light = paint.base[paint.material][:, None] * paint.tint[faces]
    if textured:
        weights = np.broadcast_to(np.eye(3), (len(faces), 3, 3))
        for corner in range(3):
            light[:, corner] *= _sample(paint, faces, np.arange(len(faces)), weights[:, corner])
    return encode_srgb(light)


@dataclass(frozen=True)
class Transferred:
    """Colours of a simplified mesh.

    Attributes:
        colors: Of corners, sRGB bytes; of faces with a texture, those by which it is multiplied.
        uv: Texture coordinates of corners; zeros in faces without a texture.
        material: For each face the material whose texture it has, or -1 for none.
    """

    colors: UInt8[np.ndarray, "face 3 3"]
    uv: Float[np.ndarray, "face 3 2"]
    material: Int[np.ndarray, " face"]


def transfer_colors(mesh: trimesh.Trimesh, paint: Paint, simplified: trimesh.Trimesh) -> Transferred:
    """Return the colours of a simplified mesh, each from the nearest point of the original mesh.

    A face keeps the texture if one piece of it covers the face: if the coordinates in its middle are about the mean of
    those of its corners. The others, at seams, have the texture as colours of their corners.

    Args:
        mesh: The original mesh.
        paint: Its colours.
        simplified: A mesh of nearly the same surface.
    """
    corners, original = simplified.triangles, np.asarray(mesh.faces)
    middle = corners.mean(axis=1, keepdims=True)
    inner = np.concatenate([corners + INWARD * (middle - corners), middle], axis=1)
    tree = TriangleTree(np.asarray(mesh.vertices), original)

    def find(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        _, face, closest = tree.closest(points)
        weights = np.nan_to_num(
            trimesh.triangles.points_to_barycentric(mesh.triangles[face], closest), nan=1 / 3
        )
        return (
            face,
            weights,
            (paint.uv[original[face]] * weights[..., None]).sum(axis=1),
            paint.material[face],
        )

    face, weights, uv, material = find(inner.reshape(-1, 3))
    tint = (paint.tint[original[face]] * weights[..., None]).sum(axis=1)
    plain = (paint.base[material] * tint).reshape(-1, 4, 3)[:, :3]
    textured = plain * _sample(paint, original, face, weights).reshape(-1, 4, 3)[:, :3]

    uv, material = uv.reshape(-1, 4, 2), material.reshape(-1, 4)
    mean = uv[:, :3].mean(axis=1)
    bend = BEND * np.ptp(uv[:, :3], axis=1).max(axis=1) + 1e-6
    has_image = np.array([texture is not None for texture in paint.textures])
    is_kept = (material == material[:, :1]).all(axis=1) & has_image[material[:, 0]]
    is_kept &= np.abs(mean - uv[:, 3]).max(axis=1) <= bend
    own = (uv[:, :3] - INWARD * mean[:, None]) / (1 - INWARD)
    # Faces share the coordinates of their vertex, unless it lies on a seam and belongs to the piece of another face.
    _, _, of_vertex, material_of_vertex = find(np.asarray(simplified.vertices))
    shared = of_vertex[simplified.faces]
    fits = (np.abs(shared - own).max(axis=2) <= bend[:, None] + np.abs(own).max() / 65535) & (
        material_of_vertex[simplified.faces] == material[:, :1]
    )
    own = np.where(fits[..., None], shared, own)
    return Transferred(
        encode_srgb(np.where(is_kept[:, None, None], plain, textured)),
        np.where(is_kept[:, None, None], own, 0.0),
        np.where(is_kept, material[:, 0], -1),
    )


def _sample(
    paint: Paint,
    faces: Int[np.ndarray, "face 3"],
    face: Int[np.ndarray, " point"],
    weights: Float[np.ndarray, "point 3"],
) -> Float[np.ndarray, "point 3"]:
    """Return the nearest texels of points on faces, as linear light; ones without a texture."""
    light = np.ones((len(face), 3))
    place = (paint.uv[faces[face]] * weights[..., None]).sum(axis=1)
    for material, texture in enumerate(paint.textures):
        if texture is None:
            continue
        own = np.flatnonzero(paint.material[face] == material)
        size = np.array(texture.shape[1::-1])
        wrapped = [_wrap(place[own, axis], int(paint.wraps[material, axis])) for axis in (0, 1)]
        column, row = np.clip((np.stack(wrapped) * size[:, None]).astype(int), 0, size[:, None] - 1)
        light[own] = decode_srgb(texture[size[1] - 1 - row, column])
    return light


def _wrap(share: Float[np.ndarray, " point"], how: int) -> Float[np.ndarray, " point"]:
    """Map texture coordinates to 0 to 1; `how` is an index into `paint.WRAPS`: repeat, mirror, clamp."""
    wrapped: np.ndarray = (share % 1, 1 - np.abs(share % 2 - 1), np.clip(share, 0, 1))[how]
    return wrapped


def encode_srgb(light: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Convert linear light from 0 to 1 to sRGB bytes (IEC 61966-2-1), the inverse of `decode_srgb`."""
    light = np.clip(light, 0, 1)
    share = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    encoded: np.ndarray = np.rint(255 * share).astype(np.uint8)
    return encoded
