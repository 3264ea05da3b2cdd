"""The parts of a mesh file with their materials, as all readers of mesh files return them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Wrap = Literal["repeat", "mirror", "clamp"]


@dataclass(frozen=True)
class Texture:
    """A picture on a surface. It stays encoded until a renderer needs it.

    Attributes:
        name: File name of the picture, for messages.
        content: The encoded picture (PNG, JPEG, …), sRGB, row 0 at the top. Empty if its file is missing.
        wrap: How it continues at texture coordinates outside 0 to 1, along u and along v.
    """

    name: str
    content: bytes
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")


@dataclass(frozen=True)
class Material:
    """The colour of a part: base colour times texture.

    Attributes:
        base: Linear light from 0 to 1. None if the file gives no colour.
        texture: The picture on the part, if any.
        plain: The colour if the texture cannot be read, likewise. None for the grey-blue of meshes without colours.
    """

    base: tuple[float, float, float] | None = None
    texture: Texture | None = None
    plain: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Part:
    """Triangles with one material.

    Attributes:
        vertices: Positions in the frame of the whole file. Equal vertices are not merged.
        faces: The three vertices of each triangle, counter-clockwise as seen from outside.
        material: The material.
        uv: Texture coordinates of the vertices, from (0, 0) at the lower left of the picture to (1, 1) at its upper
            right. None without a texture.
        tint: Colours of the vertices, linear light from 0 to 1, which are multiplied with the material.
        face_tint: Colours of the faces, likewise.
    """

    vertices: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    material: Material = Material()
    uv: Float[np.ndarray, "vertex 2"] | None = None
    tint: Float[np.ndarray, "vertex 3"] | None = None
    face_tint: Float[np.ndarray, "face 3"] | None = None
