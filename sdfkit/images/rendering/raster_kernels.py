# mypy: allow-untyped-decorators
"""Compiled inner loops of the CPU renderer: project vertices, fill a z-buffer, shade pixels.

Coordinates in a picture are whole 256ths of a pixel, columns to the right and rows downwards, as GPUs and
Mesa have them. Edge functions of such points are exact in 64 bits, so two triangles that share an edge never
both claim a sample and never both miss one.
"""

import math

import numpy as np
from numba import njit

GRID = 256

# Heights of a pixel's samples, from left to right. Colours have four, where Mesa puts them; depth and normals
# have one, the pixel's centre. Either way n samples stand in n evenly spaced columns, and in as many rows,
# one in each.
COLOR_SAMPLES = np.array([96, 224, 32, 160])
CENTRE_SAMPLE = np.array([128])

EMPTY = -1

# Sheets without thickness have a front and a back in one place, and rounding would decide which is seen, pixel by
# pixel. So the back lies farther away by this much of one over the depth, and by what it changes over this
# share of a pixel.
SETBACK, SETBACK_SLOPE = 1e-5, 1 / 64


@njit(cache=True)
def project(points, world_to_camera, focal, size, near, seen, screen, inverse):  # type: ignore[no-untyped-def]
    """Move points (point, xyz) f4 into camera space and onto the picture.

    Fills `seen` (point, xyz) f4 in camera space, `screen` (point, 2) i4 in 256ths of a pixel and `inverse`
    (point) f4, one over the depth, or 0 where a point lies before the near plane and so has no place in the
    picture.
    """
    for index in range(len(points)):
        px, py, pz = points[index, 0], points[index, 1], points[index, 2]
        x = (
            world_to_camera[0, 0] * px
            + world_to_camera[0, 1] * py
            + world_to_camera[0, 2] * pz
            + world_to_camera[0, 3]
        )
        y = (
            world_to_camera[1, 0] * px
            + world_to_camera[1, 1] * py
            + world_to_camera[1, 2] * pz
            + world_to_camera[1, 3]
        )
        z = (
            world_to_camera[2, 0] * px
            + world_to_camera[2, 1] * py
            + world_to_camera[2, 2] * pz
            + world_to_camera[2, 3]
        )
        seen[index, 0], seen[index, 1], seen[index, 2] = x, y, z
        if -z < near:
            inverse[index] = 0.0
            continue
        scale = focal / -z
        inverse[index] = -1.0 / z
        screen[index, 0] = round(GRID * (0.5 * size + scale * x))
        screen[index, 1] = round(GRID * (0.5 * size - scale * y))


@njit(cache=True)
def _fill(x0, y0, i0, x1, y1, i1, x2, y2, i2, face, cull, heights, nearest, owner):  # type: ignore[no-untyped-def]
    """Write one projected triangle into the z-buffer. The first of two faces at the same depth stays."""
    last_sample = len(heights) - 1
    shift = 6 if last_sample == 3 else 8  # Columns of samples are 1 << shift apart.
    half = 1 << (shift - 1)
    # Columns and rows of samples inside the triangle's bounding box; most faces of a fine mesh have none.
    least_y, most_y = min(y0, y1, y2), max(y0, y1, y2)
    left = max((min(x0, x1, x2) + half - 1) >> shift, 0)
    right = min((max(x0, x1, x2) - half) >> shift, owner.shape[1] - 1)
    if left > right or (least_y + half - 1) >> shift > (most_y - half) >> shift:
        return
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    # Rows run downwards, so a face that shows its front, anticlockwise, has a negative area.
    if area == 0 or (cull and area > 0):
        return
    is_back = area > 0
    if not is_back:
        x1, y1, i1, x2, y2, i2, area = x2, y2, i2, x1, y1, i1, -area
    top = max(least_y >> 8, 0)
    bottom = min(most_y >> 8, len(owner) - 1)

    # Each edge function is a * x + b * y + c, not negative inside. A sample on an edge belongs to the
    # triangle whose left or top edge it is.
    a0, b0 = y0 - y1, x1 - x0
    a1, b1 = y1 - y2, x2 - x1
    a2, b2 = y2 - y0, x0 - x2
    c0 = -a0 * x0 - b0 * y0 - (0 if a0 > 0 or (a0 == 0 and b0 > 0) else 1)
    c1 = -a1 * x1 - b1 * y1 - (0 if a1 > 0 or (a1 == 0 and b1 > 0) else 1)
    c2 = -a2 * x2 - b2 * y2 - (0 if a2 > 0 or (a2 == 0 and b2 > 0) else 1)

    # One over the depth is linear in the picture.
    slope_x = ((i1 - i0) * (y2 - y0) - (i2 - i0) * (y1 - y0)) / area
    slope_y = ((i2 - i0) * (x1 - x0) - (i1 - i0) * (x2 - x0)) / area
    if is_back:
        i0 -= SETBACK + SETBACK_SLOPE * GRID * max(abs(slope_x), abs(slope_y))

    long = right - left > 16
    for row in range(top, bottom + 1):
        first, last = left, right
        if long:
            first, last = _narrow(a0, c0 + b0 * (row << 8) + max(b0, 0) * GRID, shift, first, last)
            first, last = _narrow(a1, c1 + b1 * (row << 8) + max(b1, 0) * GRID, shift, first, last)
            first, last = _narrow(a2, c2 + b2 * (row << 8) + max(b2, 0) * GRID, shift, first, last)
        for column in range(first, last + 1):
            x = (column << shift) + half
            y = (row << 8) + heights[column & last_sample]
            if (a0 * x + b0 * y + c0) | (a1 * x + b1 * y + c1) | (a2 * x + b2 * y + c2) >= 0:
                inverse = np.float32(i0 + slope_x * (x - x0) + slope_y * (y - y0))
                if inverse > nearest[row, column]:
                    nearest[row, column] = inverse
                    owner[row, column] = face


@njit(cache=True)
def _narrow(a, most, shift, first, last):  # type: ignore[no-untyped-def]
    """Keep the columns where an edge function, at most a * x + most in this row, can be positive."""
    if a > 0:
        first = max(first, (-most // a >> shift) - 1)
    elif a < 0:
        last = min(last, most // -a >> shift)
    elif most < 0:
        last = -1
    return first, last


@njit(cache=True)
def rasterise(seen, screen, inverse, faces, focal, near, cull, heights, nearest, owner):  # type: ignore[no-untyped-def]
    """Find the nearest face at every sample.

    Updates `nearest` (row, column of samples) f4, one over the depth, 0 where empty, and `owner` (row, column
    of samples) i4, the face's index, EMPTY where there is none. Faces that cross the near plane are cut
    there.
    """
    size = len(owner)
    cut = np.empty((4, 3))
    for face in range(len(faces)):
        v0, v1, v2 = faces[face, 0], faces[face, 1], faces[face, 2]
        i0, i1, i2 = np.float64(inverse[v0]), np.float64(inverse[v1]), np.float64(inverse[v2])
        if i0 > 0 and i1 > 0 and i2 > 0:
            x0, y0 = np.int64(screen[v0, 0]), np.int64(screen[v0, 1])
            x1, y1 = np.int64(screen[v1, 0]), np.int64(screen[v1, 1])
            x2, y2 = np.int64(screen[v2, 0]), np.int64(screen[v2, 1])
            _fill(x0, y0, i0, x1, y1, i1, x2, y2, i2, face, cull, heights, nearest, owner)
        elif i0 > 0 or i1 > 0 or i2 > 0:
            # Sutherland and Hodgman: keep the part beyond the near plane, a triangle or a quadrilateral.
            count = 0
            for corner in range(3):
                here, there = seen[faces[face, corner]], seen[faces[face, (corner + 1) % 3]]
                if -here[2] >= near:
                    for axis in range(3):
                        cut[count, axis] = here[axis]
                    count += 1
                if (-here[2] >= near) != (-there[2] >= near):
                    share = (near + here[2]) / (here[2] - there[2])
                    for axis in range(3):
                        cut[count, axis] = here[axis] + share * (there[axis] - here[axis])
                    count += 1
            for third in range(2, count):
                x0, y0, i0 = _place(cut[0], focal, size)
                x1, y1, i1 = _place(cut[third - 1], focal, size)
                x2, y2, i2 = _place(cut[third], focal, size)
                _fill(x0, y0, i0, x1, y1, i1, x2, y2, i2, face, cull, heights, nearest, owner)


@njit(cache=True)
def _place(point, focal, size):  # type: ignore[no-untyped-def]
    scale = focal / -point[2]
    x = round(GRID * (0.5 * size + scale * point[0]))
    y = round(GRID * (0.5 * size - scale * point[1]))
    return x, y, -1.0 / point[2]


@njit(cache=True, error_model="numpy")
def _meet(face, across, down, seen, faces, normals, chosen, world_to_camera):  # type: ignore[no-untyped-def]
    """Where the ray (across, down, -1) meets a face's plane.

    Gives the depth, the shares of the corners, and the unit normal in camera space.
    """
    v0, v1, v2 = faces[face, 0], faces[face, 1], faces[face, 2]
    ax, ay, az = np.float64(seen[v0, 0]), np.float64(seen[v0, 1]), np.float64(seen[v0, 2])
    bx, by, bz = np.float64(seen[v1, 0]), np.float64(seen[v1, 1]), np.float64(seen[v1, 2])
    cx, cy, cz = np.float64(seen[v2, 0]), np.float64(seen[v2, 1]), np.float64(seen[v2, 2])
    # The ray's barycentric coordinates are the volumes it spans with the sides, seen from the camera. They
    # may be negative: where a face covers a sample but not the centre, GPUs shade its plane beyond its edge,
    # and so do we.
    wa = across * (by * cz - bz * cy) + down * (bz * cx - bx * cz) - (bx * cy - by * cx)
    wb = across * (cy * az - cz * ay) + down * (cz * ax - cx * az) - (cx * ay - cy * ax)
    wc = across * (ay * bz - az * by) + down * (az * bx - ax * bz) - (ax * by - ay * bx)
    total = wa + wb + wc
    if total == 0.0:  # Seen exactly edge on.
        wa = wb = wc = total = 1.0
    scale = 1.0 / total
    wa, wb, wc = wa * scale, wb * scale, wc * scale
    depth = -(wa * az + wb * bz + wc * cz)
    nx = ny = nz = 0.0
    if len(chosen):
        v0, v1, v2 = chosen[face, 0], chosen[face, 1], chosen[face, 2]
        x = wa * normals[v0, 0] + wb * normals[v1, 0] + wc * normals[v2, 0]
        y = wa * normals[v0, 1] + wb * normals[v1, 1] + wc * normals[v2, 1]
        z = wa * normals[v0, 2] + wb * normals[v1, 2] + wc * normals[v2, 2]
        nx = world_to_camera[0, 0] * x + world_to_camera[0, 1] * y + world_to_camera[0, 2] * z
        ny = world_to_camera[1, 0] * x + world_to_camera[1, 1] * y + world_to_camera[1, 2] * z
        nz = world_to_camera[2, 0] * x + world_to_camera[2, 1] * y + world_to_camera[2, 2] * z
    length = math.sqrt(nx * nx + ny * ny + nz * nz)
    if not length > 0.0:
        nx = (by - ay) * (cz - az) - (bz - az) * (cy - ay)
        ny = (bz - az) * (cx - ax) - (bx - ax) * (cz - az)
        nz = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        length = math.sqrt(nx * nx + ny * ny + nz * nz)
    if (
        not length > 0.0
    ):  # A face without area, which rounding to the grid has opened: let it face the camera.
        nx, ny, nz, length = 0.0, 0.0, 1.0, 1.0
    scale = 1.0 / length
    return depth, wa, wb, wc, nx * scale, ny * scale, nz * scale


@njit(cache=True, error_model="numpy")
def _brightness(  # type: ignore[no-untyped-def]
    depth, across, down, nx, ny, nz, base, dielectric, metallic, roughness, lights
):
    """Give the light (red, green, blue) that a point sends to the camera: pyrender's physical shader.

    `base` is the colour of the surface, (red, green, blue); `lights` (light, 4) f8 are the unit direction
    towards the light in camera space, and its intensity.

    Reference:
        glTF 2.0, appendix B: GGX distribution, Smith's occlusion in Schlick's form with Disney's k, Schlick's
        Fresnel term. As in pyrender, cosines are kept above 0.001.
    """
    alpha2 = roughness**4
    k = (roughness + 1.0) ** 2 / 8.0
    scatter = (1.0 - dielectric) * (1.0 - metallic) / math.pi
    mirror_red = dielectric + metallic * (base[0] - dielectric)
    mirror_green = dielectric + metallic * (base[1] - dielectric)
    mirror_blue = dielectric + metallic * (base[2] - dielectric)
    scale = 1.0 / math.sqrt(across * across + down * down + 1.0)
    if depth < 0.0:  # The face's plane is met behind the camera, see `_meet`.
        scale = -scale
    vx, vy, vz = -across * scale, -down * scale, scale
    nv = min(max(abs(nx * vx + ny * vy + nz * vz), 0.001), 1.0)
    red = green = blue = 0.0
    for index in range(len(lights)):
        lx, ly, lz = lights[index, 0], lights[index, 1], lights[index, 2]
        hx, hy, hz = lx + vx, ly + vy, lz + vz
        scale = 1.0 / math.sqrt(hx * hx + hy * hy + hz * hz)
        nl = min(max(nx * lx + ny * ly + nz * lz, 0.001), 1.0)
        nh = min(max((nx * hx + ny * hy + nz * hz) * scale, 0.0), 1.0)
        vh = min(max((vx * hx + vy * hy + vz * hz) * scale, 0.0), 1.0)
        spread = nh * nh * (alpha2 - 1.0) + 1.0
        # Distribution, occlusion and the foreshortening of both directions, under one division.
        mirror = (alpha2 * nv * nl) / (
            math.pi
            * (spread * spread)
            * ((nv * (1.0 - k) + k) * (nl * (1.0 - k) + k))
            * (4.0 * nl * nv + 0.001)
        )
        grazing = (1.0 - vh) ** 5
        radiance = nl * lights[index, 3]
        fresnel = mirror_red + (1.0 - mirror_red) * grazing
        red += radiance * ((1.0 - fresnel) * scatter * base[0] + fresnel * mirror)
        fresnel = mirror_green + (1.0 - mirror_green) * grazing
        green += radiance * ((1.0 - fresnel) * scatter * base[1] + fresnel * mirror)
        fresnel = mirror_blue + (1.0 - mirror_blue) * grazing
        blue += radiance * ((1.0 - fresnel) * scatter * base[2] + fresnel * mirror)
    return red, green, blue


@njit(cache=True)
def _reflect(face, wa, wb, wc, faces, paint):  # type: ignore[no-untyped-def]
    """Give the colour (red, green, blue) of a face's material at a point, as light.

    `paint` holds the material of each face (face) i4, the colour of each material (material, 3) f8, where its
    texture begins in `texels`, its rows and its columns (material, 3) i8, no rows without one; the textures'
    bytes one after the other, `texels` (texel, 3) u1; `uv` (point, 2) f4, from the lower left, the texture
    repeating; tints of vertices (point, 3) f4; and the light that a byte means (257) f8.
    """
    materials, bases, sheets, texels, uv, _, decode = paint
    material = materials[face]
    red, green, blue = bases[material, 0], bases[material, 1], bases[material, 2]
    start, rows, columns = sheets[material, 0], sheets[material, 1], sheets[material, 2]
    if rows:
        v0, v1, v2 = faces[face, 0], faces[face, 1], faces[face, 2]
        u = wa * uv[v0, 0] + wb * uv[v1, 0] + wc * uv[v2, 0]
        v = wa * uv[v0, 1] + wb * uv[v1, 1] + wc * uv[v2, 1]
        # Texels have their colour at their centres; bytes are blended before they are decoded, as in GL.
        x, y = (u - np.floor(u)) * columns - 0.5, (np.ceil(v) - v) * rows - 0.5
        left, top = math.floor(x), math.floor(y)
        across, down = x - left, y - top
        upper, lower = start + top % rows * columns, start + (top + 1) % rows * columns
        left, right = left % columns, (left + 1) % columns
        light = np.empty(3)
        for channel in range(3):
            above = texels[upper + left, channel] * (1.0 - across) + texels[upper + right, channel] * across
            below = texels[lower + left, channel] * (1.0 - across) + texels[lower + right, channel] * across
            byte = above * (1.0 - down) + below * down
            whole = int(byte)
            light[channel] = decode[whole] + (byte - whole) * (decode[whole + 1] - decode[whole])
        red, green, blue = red * light[0], green * light[1], blue * light[2]
    return red, green, blue


@njit(cache=True)
def _encode(light, steps, guesses):  # type: ignore[no-untyped-def]
    """Find the byte whose range of light, from its step to the next, holds `light`."""
    # In this order a NaN becomes 0. Returning early for what is out of range would cost 2 ms a picture.
    code = guesses[int(min(max(0.0, light), 0.99999) * len(guesses))]
    while code < 255 and light >= steps[code + 1]:
        code += 1
    return code


@njit(cache=True)
def shade(  # type: ignore[no-untyped-def]
    seen, faces, normals, chosen, world_to_camera, focal, owner, look, paint, rgb, mask
):
    """Turn the owners of four samples a pixel into `rgb` (row, column, 3) u1 and `mask` (row, column) u1.

    A face is shaded once a pixel, at the centre, however many samples it owns there. Mask is the share of
    samples that hit anything, 255 for all. `normals` (normal, xyz) f4 are in the world, and `chosen` tells those
    of each face's corners; where it is empty, faces are flat. `look` holds material, lights and encoding, see
    `render`; `paint` the colours of faces and vertices, see `_reflect`; without any, `look`'s is used.
    """
    color, dielectric, metallic, roughness, lights, steps, guesses = look
    tints = paint[5]
    size = len(owner)
    shaded = np.empty(4, dtype=np.int32)
    colors = np.empty((4, 3), dtype=np.int64)
    for row in range(size):
        for column in range(size):
            hits = known = 0
            red = green = blue = 2
            for index in range(4):
                face = owner[row, 4 * column + index]
                if face == EMPTY:
                    continue
                hits += 1
                entry = 0
                while entry < known and shaded[entry] != face:
                    entry += 1
                if entry == known:
                    across = (column + 0.5 - 0.5 * size) / focal
                    down = (0.5 * size - row - 0.5) / focal
                    depth, wa, wb, wc, nx, ny, nz = _meet(
                        face, across, down, seen, faces, normals, chosen, world_to_camera
                    )
                    base = (color[0], color[1], color[2])
                    if len(tints):
                        base = _reflect(face, wa, wb, wc, faces, paint)
                    light = _brightness(
                        depth, across, down, nx, ny, nz, base, dielectric, metallic, roughness, lights
                    )
                    for channel in range(3):
                        seen_light = light[channel]
                        if len(tints):
                            # As in pyrender, colours of vertices filter the light, mirrored light too.
                            seen_light *= (
                                wa * tints[faces[face, 0], channel]
                                + wb * tints[faces[face, 1], channel]
                                + wc * tints[faces[face, 2], channel]
                            )
                        colors[entry, channel] = _encode(seen_light, steps, guesses)
                    shaded[entry] = face
                    known += 1
                red, green, blue = red + colors[entry, 0], green + colors[entry, 1], blue + colors[entry, 2]
            mask[row, column] = (hits * 255 + 2) // 4
            rgb[row, column, 0], rgb[row, column, 1], rgb[row, column, 2] = red // 4, green // 4, blue // 4


@njit(cache=True)
def orient(seen, faces, normals, chosen, world_to_camera, focal, owner, normal):  # type: ignore[no-untyped-def]
    """Fill `normal` (row, column, xyz) f4 with the world's normal at each owned pixel's centre."""
    size = len(owner)
    for row in range(size):
        for column in range(size):
            face = owner[row, column]
            if face == EMPTY:
                continue
            across = (column + 0.5 - 0.5 * size) / focal
            down = (0.5 * size - row - 0.5) / focal
            _, _, _, _, nx, ny, nz = _meet(face, across, down, seen, faces, normals, chosen, world_to_camera)
            for axis in range(3):
                normal[row, column, axis] = (
                    world_to_camera[0, axis] * nx
                    + world_to_camera[1, axis] * ny
                    + world_to_camera[2, axis] * nz
                )
