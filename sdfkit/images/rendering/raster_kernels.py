# mypy: allow-untyped-decorators
"""Compiled inner loops of the CPU renderer: project vertices, fill a z-buffer, shade pixels.

Image coordinates are fixed-point numbers in 256ths of a pixel, columns to the right and rows downwards, as on GPUs and
in Mesa. Edge functions of such points are exact in 64 bits, so of two triangles that share an edge exactly one covers
each sample on it.
"""

import math

import numpy as np
from numba import njit

from sdfkit.images.rendering.texture_kernels import surface_color

GRID = 256

# Vertical positions of a pixel's samples, from left to right. Colours have four samples, at the positions of Mesa;
# depth and normals have one, at the centre. n samples lie in n evenly spaced columns and n rows, one in each.
COLOR_SAMPLES = np.array([96, 224, 32, 160])
CENTRE_SAMPLE = np.array([128])

EMPTY = -1

# The front and the back of a sheet without thickness have equal depth, and rounding would decide in every pixel which
# of them is visible. So the inverse depth of back faces is reduced by SETBACK, and by its change over SETBACK_SLOPE
# of a pixel.
SETBACK, SETBACK_SLOPE = 1e-5, 1 / 64


@njit(cache=True)
def project(points, world_to_camera, focal, size, near, in_camera, screen, inverse):  # type: ignore[no-untyped-def]
    """Project points (point, xyz) f4 into camera space and onto the image.

    Fills `in_camera` (point, xyz) f4, positions in camera space; `screen` (point, 2) i4, column and row in 256ths of
    a pixel; and `inverse` (point) f4, the inverse depth, 0 for points in front of the near plane, which have no
    position in the image.
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
        in_camera[index, 0], in_camera[index, 1], in_camera[index, 2] = x, y, z
        if -z < near:
            inverse[index] = 0.0
            continue
        scale = focal / -z
        inverse[index] = -1.0 / z
        screen[index, 0] = round(GRID * (0.5 * size + scale * x))
        screen[index, 1] = round(GRID * (0.5 * size - scale * y))


@njit(cache=True)
def _fill(x0, y0, i0, x1, y1, i1, x2, y2, i2, face, cull, heights, nearest, owner):  # type: ignore[no-untyped-def]
    """Write one projected triangle into the z-buffer. Of two faces at equal depth the first is kept."""
    last_sample = len(heights) - 1
    shift = 6 if last_sample == 3 else 8  # The distance between columns of samples is 1 << shift.
    half = 1 << (shift - 1)
    # Columns and rows of samples in the bounding box of the triangle. Most faces of a fine mesh contain none.
    least_y, most_y = min(y0, y1, y2), max(y0, y1, y2)
    left = max((min(x0, x1, x2) + half - 1) >> shift, 0)
    right = min((max(x0, x1, x2) - half) >> shift, owner.shape[1] - 1)
    if left > right or (least_y + half - 1) >> shift > (most_y - half) >> shift:
        return
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    # Rows run downwards, so the area of a front face, which is anticlockwise, is negative.
    if area == 0 or (cull and area > 0):
        return
    is_back = area > 0
    if not is_back:
        x1, y1, i1, x2, y2, i2, area = x2, y2, i2, x1, y1, i1, -area
    top = max(least_y >> 8, 0)
    bottom = min(most_y >> 8, len(owner) - 1)

    # Each edge function is a * x + b * y + c, not negative inside. A sample on an edge belongs to the triangle
    # of which it is a left or top edge.
    a0, b0 = y0 - y1, x1 - x0
    a1, b1 = y1 - y2, x2 - x1
    a2, b2 = y2 - y0, x0 - x2
    c0 = -a0 * x0 - b0 * y0 - (0 if a0 > 0 or (a0 == 0 and b0 > 0) else 1)
    c1 = -a1 * x1 - b1 * y1 - (0 if a1 > 0 or (a1 == 0 and b1 > 0) else 1)
    c2 = -a2 * x2 - b2 * y2 - (0 if a2 > 0 or (a2 == 0 and b2 > 0) else 1)

    # The inverse depth is linear in image coordinates.
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
    """Return the first and last column where an edge function, at most a * x + most in this row, can be positive."""
    if a > 0:
        first = max(first, (-most // a >> shift) - 1)
    elif a < 0:
        last = min(last, most // -a >> shift)
    elif most < 0:
        last = -1
    return first, last


@njit(cache=True)
def rasterise(in_camera, screen, inverse, faces, focal, near, cull, heights, nearest, owner):  # type: ignore[no-untyped-def]
    """Find the nearest face at every sample.

    Updates `nearest` (row, column of samples) f4, the inverse depth, 0 where empty, and `owner` (row, column of
    samples) i4, the index of the face, EMPTY where there is none. Faces are clipped at the near plane.
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
            # Clip by Sutherland and Hodgman: what remains is a triangle or a quadrilateral.
            count = 0
            for corner in range(3):
                here, there = in_camera[faces[face, corner]], in_camera[faces[face, (corner + 1) % 3]]
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
                x0, y0, i0 = _project_one(cut[0], focal, size)
                x1, y1, i1 = _project_one(cut[third - 1], focal, size)
                x2, y2, i2 = _project_one(cut[third], focal, size)
                _fill(x0, y0, i0, x1, y1, i1, x2, y2, i2, face, cull, heights, nearest, owner)


@njit(cache=True)
def _project_one(point, focal, size):  # type: ignore[no-untyped-def]
    scale = focal / -point[2]
    x = round(GRID * (0.5 * size + scale * point[0]))
    y = round(GRID * (0.5 * size - scale * point[1]))
    return x, y, -1.0 / point[2]


@njit(cache=True, error_model="numpy")
def _intersect(face, across, down, in_camera, faces, normals, normal_rows, world_to_camera):  # type: ignore[no-untyped-def]
    """Intersect the ray (across, down, -1) in camera space with the plane of a face.

    Returns the depth, the three barycentric coordinates, and the unit normal in camera space.
    """
    v0, v1, v2 = faces[face, 0], faces[face, 1], faces[face, 2]
    ax, ay, az = np.float64(in_camera[v0, 0]), np.float64(in_camera[v0, 1]), np.float64(in_camera[v0, 2])
    bx, by, bz = np.float64(in_camera[v1, 0]), np.float64(in_camera[v1, 1]), np.float64(in_camera[v1, 2])
    cx, cy, cz = np.float64(in_camera[v2, 0]), np.float64(in_camera[v2, 1]), np.float64(in_camera[v2, 2])
    # The barycentric coordinates are proportional to the volumes that the ray spans with the edges and the camera. They
    # may be negative: where a face covers a sample but not the pixel's centre, its plane is shaded beyond its
    # edge, as on GPUs.
    wa = across * (by * cz - bz * cy) + down * (bz * cx - bx * cz) - (bx * cy - by * cx)
    wb = across * (cy * az - cz * ay) + down * (cz * ax - cx * az) - (cx * ay - cy * ax)
    wc = across * (ay * bz - az * by) + down * (az * bx - ax * bz) - (ax * by - ay * bx)
    total = wa + wb + wc
    if total == 0.0:  # The plane contains the ray.
        wa = wb = wc = total = 1.0
    scale = 1.0 / total
    wa, wb, wc = wa * scale, wb * scale, wc * scale
    depth = -(wa * az + wb * bz + wc * cz)
    nx = ny = nz = 0.0
    if len(normal_rows):
        v0, v1, v2 = normal_rows[face, 0], normal_rows[face, 1], normal_rows[face, 2]
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
    if not length > 0.0:  # A face without area, which rounding has enlarged: let it face the camera.
        nx, ny, nz, length = 0.0, 0.0, 1.0, 1.0
    scale = 1.0 / length
    return depth, wa, wb, wc, nx * scale, ny * scale, nz * scale


@njit(cache=True, error_model="numpy")
def _brightness(  # type: ignore[no-untyped-def]
    depth, across, down, nx, ny, nz, base, dielectric, metallic, roughness, lights
):
    """Return the light (red, green, blue) that a point reflects to the camera, as pyrender computes it.

    `base` is the colour of the surface (red, green, blue). `lights` (light, 4) f8 holds the unit direction towards
    each light in camera space, and its intensity.

    Reference:
        glTF 2.0, appendix B: GGX distribution, Smith's occlusion in Schlick's form with Disney's k, Schlick's
        Fresnel term. As in pyrender, cosines are at least 0.001.
    """
    alpha2 = roughness**4
    k = (roughness + 1.0) ** 2 / 8.0
    scatter = (1.0 - dielectric) * (1.0 - metallic) / math.pi
    mirror_red = dielectric + metallic * (base[0] - dielectric)
    mirror_green = dielectric + metallic * (base[1] - dielectric)
    mirror_blue = dielectric + metallic * (base[2] - dielectric)
    scale = 1.0 / math.sqrt(across * across + down * down + 1.0)
    if depth < 0.0:  # The plane is intersected behind the camera, see `_intersect`.
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
        lobe = nh * nh * (alpha2 - 1.0) + 1.0
        # Distribution, occlusion and foreshortening of both directions, in one division.
        mirror = (alpha2 * nv * nl) / (
            math.pi * (lobe * lobe) * ((nv * (1.0 - k) + k) * (nl * (1.0 - k) + k)) * (4.0 * nl * nv + 0.001)
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
def _encode(light, steps, guesses):  # type: ignore[no-untyped-def]
    """Return the byte whose range of light, from its step to the next one, contains `light`."""
    # With the arguments in this order a NaN becomes 0. An early return for values out of range costs 2 ms per image.
    code = guesses[int(min(max(0.0, light), 0.99999) * len(guesses))]
    while code < 255 and light >= steps[code + 1]:
        code += 1
    return code


@njit(cache=True)
def shade(  # type: ignore[no-untyped-def]
    in_camera, faces, normals, normal_rows, world_to_camera, focal, owner, shading, paint, rgb, mask
):
    """Shade the faces that own four samples per pixel: fill `rgb` (row, column, 3) u1 and `mask` (row, column) u1.

    Each face is shaded once per pixel, at the pixel's centre, however many samples it owns there. `mask` is the share
    of samples that a face owns, 255 for all. `normals` (normal, xyz) f4 are in world space, and `normal_rows` (face, 3)
    i4 holds the row of each corner; if it is empty, faces are flat. `shading` holds material, lights and encoding, see
    `rasteriser._shading_tables`. `paint` holds colours, see `texture_kernels.surface_color`; if it is empty, the base
    colour in `shading` is used.
    """
    color, dielectric, metallic, roughness, lights, steps, guesses = shading
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
                    depth, wa, wb, wc, nx, ny, nz = _intersect(
                        face, across, down, in_camera, faces, normals, normal_rows, world_to_camera
                    )
                    base = (color[0], color[1], color[2])
                    if len(tints):
                        base = surface_color(face, wa, wb, wc, faces, paint)
                    light = _brightness(
                        depth, across, down, nx, ny, nz, base, dielectric, metallic, roughness, lights
                    )
                    for channel in range(3):
                        reflected = light[channel]
                        if len(tints):
                            # As in pyrender, vertex colours also multiply the specular light.
                            reflected *= (
                                wa * tints[faces[face, 0], channel]
                                + wb * tints[faces[face, 1], channel]
                                + wc * tints[faces[face, 2], channel]
                            )
                        colors[entry, channel] = _encode(reflected, steps, guesses)
                    shaded[entry] = face
                    known += 1
                red, green, blue = red + colors[entry, 0], green + colors[entry, 1], blue + colors[entry, 2]
            mask[row, column] = (hits * 255 + 2) // 4
            rgb[row, column, 0], rgb[row, column, 1], rgb[row, column, 2] = red // 4, green // 4, blue // 4


@njit(cache=True)
def orient(in_camera, faces, normals, normal_rows, world_to_camera, focal, owner, normal):  # type: ignore[no-untyped-def]
    """Fill `normal` (row, column, xyz) f4 with the normal in world space at the centre of each owned pixel."""
    size = len(owner)
    for row in range(size):
        for column in range(size):
            face = owner[row, column]
            if face == EMPTY:
                continue
            across = (column + 0.5 - 0.5 * size) / focal
            down = (0.5 * size - row - 0.5) / focal
            _, _, _, _, nx, ny, nz = _intersect(
                face, across, down, in_camera, faces, normals, normal_rows, world_to_camera
            )
            for axis in range(3):
                normal[row, column, axis] = (
                    world_to_camera[0, axis] * nx
                    + world_to_camera[1, axis] * ny
                    + world_to_camera[2, axis] * nz
                )
