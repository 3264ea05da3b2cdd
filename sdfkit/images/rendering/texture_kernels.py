# mypy: allow-untyped-decorators
"""Compiled inner loops of the CPU renderer: the colour of a point on a textured surface."""

import math

import numpy as np
from numba import njit


@njit(cache=True)
def _find_texels(coordinate, count, wrap):  # type: ignore[no-untyped-def]
    """Return the two of `count` texels between which a texture coordinate lies, and its place from 0 to 1 between them.

    Texels have their colour at their centres. `wrap` is an index into `paint.WRAPS`.
    """
    if wrap == 0:  # repeat
        place = (coordinate - np.floor(coordinate)) * count - 0.5
        first = math.floor(place)
        return first % count, (first + 1) % count, place - first
    if wrap == 1:  # mirror
        coordinate = 1.0 - abs(coordinate - 2.0 * np.floor(coordinate / 2.0) - 1.0)
    place = min(max(coordinate, 0.0), 1.0) * count - 0.5
    first = math.floor(place)
    return max(first, 0), min(first + 1, count - 1), place - first


@njit(cache=True)
def surface_color(face, wa, wb, wc, faces, paint):  # type: ignore[no-untyped-def]
    """Return the colour (red, green, blue) of a face's material at a point, as linear light.

    `paint` holds, in this order:
        materials: The material of each face, (face) i4.
        bases: The base colour of each material, (material, 3) f8.
        sheets: For each material the first texel of its texture, its rows and columns, and how it continues along u and
            v (an index into `paint.WRAPS`), (material, 5) i8. Rows are 0 without a texture.
        texels: The sRGB bytes of all textures, concatenated, (texel, 3) u1.
        uv: Texture coordinates of vertices, from the lower left, (point, 2) f4.
        tints: Colours of vertices, (point, 3) f4.
        decode: The light of each byte, (257) f8.
    """
    materials, bases, sheets, texels, uv, _, decode = paint
    material = materials[face]
    red, green, blue = bases[material, 0], bases[material, 1], bases[material, 2]
    start, rows, columns = sheets[material, 0], sheets[material, 1], sheets[material, 2]
    if rows:
        v0, v1, v2 = faces[face, 0], faces[face, 1], faces[face, 2]
        u = wa * uv[v0, 0] + wb * uv[v1, 0] + wc * uv[v2, 0]
        v = wa * uv[v0, 1] + wb * uv[v1, 1] + wc * uv[v2, 1]
        left, right, across = _find_texels(u, columns, sheets[material, 3])
        lower, upper, up = _find_texels(v, rows, sheets[material, 4])
        lower, upper, down = (
            start + (rows - 1 - lower) * columns,
            start + (rows - 1 - upper) * columns,
            1.0 - up,
        )
        light = np.empty(3)
        # Bytes are interpolated before they are decoded, as in OpenGL.
        for channel in range(3):
            above = texels[upper + left, channel] * (1.0 - across) + texels[upper + right, channel] * across
            below = texels[lower + left, channel] * (1.0 - across) + texels[lower + right, channel] * across
            byte = above * (1.0 - down) + below * down
            whole = int(byte)
            light[channel] = decode[whole] + (byte - whole) * (decode[whole + 1] - decode[whole])
        red, green, blue = red * light[0], green * light[1], blue * light[2]
    return red, green, blue
