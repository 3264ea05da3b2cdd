# mypy: allow-untyped-decorators
"""Compiled loops that find the normals a mesh is shaded with: rounded, but for its sharp edges."""

import math

import numpy as np
from numba import njit


@njit(cache=True)
def measure_faces(points, faces):  # type: ignore[no-untyped-def]
    """Give each face's unit normal (face, xyz) f8, zero without area, and the angles at its corners (face, 3) f8.

    points (point, xyz) f4, faces (face, 3) i4.
    """
    directions = np.zeros((len(faces), 3))
    angles = np.zeros((len(faces), 3))
    edges = np.empty((3, 3))
    for index in range(len(faces)):
        for corner in range(3):
            for axis in range(3):
                here, there = points[faces[index, corner], axis], points[faces[index, (corner + 1) % 3], axis]
                edges[corner, axis] = np.float64(there) - np.float64(here)
        x = edges[0, 1] * edges[1, 2] - edges[0, 2] * edges[1, 1]
        y = edges[0, 2] * edges[1, 0] - edges[0, 0] * edges[1, 2]
        z = edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0]
        area = math.sqrt(x * x + y * y + z * z)
        if area == 0.0:
            continue
        directions[index, 0], directions[index, 1], directions[index, 2] = x / area, y / area, z / area
        for corner in range(3):
            before = (corner + 2) % 3
            cosine = 0.0
            for axis in range(3):
                cosine -= edges[corner, axis] * edges[before, axis]
            # atan2 keeps its precision in slivers, where acos loses half its digits.
            angles[index, corner] = math.atan2(area, cosine)
    return directions, angles


@njit(cache=True)
def list_corners(places, count):  # type: ignore[no-untyped-def]
    """List the corners around each place: where each place's begin (count + 1) i8, and 3 * face + corner i4.

    places (face, 3) i4, below `count`.
    """
    first = np.zeros(count + 1, dtype=np.int64)
    for face in range(len(places)):
        for corner in range(3):
            first[places[face, corner] + 1] += 1
    first = np.cumsum(first)
    around = np.empty(3 * len(places), dtype=np.int32)
    free = first[:-1].copy()
    for face in range(len(places)):
        for corner in range(3):
            around[free[places[face, corner]]] = 3 * face + corner
            free[places[face, corner]] += 1
    return first, around


@njit(cache=True)
def blend_normals(directions, angles, first, around, cosine):  # type: ignore[no-untyped-def]
    """Blend at every corner the normals of those faces around its place that turn by no more than the crease.

    directions (face, xyz) f8 and angles (face, 3) f8 as `measure_faces` gives them, first and around as
    `list_corners` does; `cosine` of the crease -> normals (normal, xyz) f4, unit length, or zero where no face gives a
    direction, and the one of each corner (face, 3) i4. Each place has at least one, the first of them in
    the order of the places; without a crease they are those of the places.

    Reference:
        Weights are the angles of the faces: Thürmer and Wüthrich, Computing vertex normals from polygonal
        facets (1998).
    """
    count = len(first) - 1
    normals = np.zeros((count, 3), dtype=np.float32)
    chosen = np.empty(angles.shape, dtype=np.int32)
    # Two directions within half of the crease of a third are within the crease of each other.
    half = math.sqrt(max(0.5 * (1.0 + cosine), 0.0))
    total, filled = np.zeros(3), count
    every = np.int64(1)  # a plain 1 would have _blend compiled twice
    for place in range(count):
        corners = around[first[place] : first[place + 1]]
        _blend(directions, angles, corners, every, total, total, -2.0)
        for axis in range(3):
            normals[place, axis] = total[axis]
        gentle = True
        for corner in corners:
            chosen[corner // 3, corner % 3] = place
            turn = 0.0
            for axis in range(3):
                turn += total[axis] * directions[corner // 3, axis]
            gentle = gentle and (turn >= half or angles[corner // 3, corner % 3] == 0.0)
        if gentle or cosine < -1.0:
            continue
        # The tip of a cone may have any number of faces; neighbours are alike, so a thousand of them do.
        stride, known = 1 + len(corners) // 1024, filled
        for corner in corners:
            if angles[corner // 3, corner % 3] == 0.0:
                continue
            _blend(directions, angles, corners, stride, directions[corner // 3], total, cosine)
            x, y, z = np.float32(total[0]), np.float32(total[1]), np.float32(total[2])
            entry = known
            while entry < filled and not (
                normals[entry, 0] == x and normals[entry, 1] == y and normals[entry, 2] == z
            ):
                entry += 1
            if entry == filled:
                if filled == len(normals):
                    normals = np.concatenate((normals, np.zeros_like(normals)))
                normals[entry, 0], normals[entry, 1], normals[entry, 2] = x, y, z
                filled += 1
            chosen[corner // 3, corner % 3] = entry
    return normals[:filled], chosen


@njit(cache=True)
def _blend(directions, angles, corners, stride, towards, total, cosine):  # type: ignore[no-untyped-def]
    """Put into `total` the mean direction of corners' faces within `cosine` of `towards`, of every stride-th."""
    x = y = z = 0.0
    for index in range(0, len(corners), stride):
        face = corners[index] // 3
        dx, dy, dz = directions[face, 0], directions[face, 1], directions[face, 2]
        if cosine < -1.0 or dx * towards[0] + dy * towards[1] + dz * towards[2] >= cosine:
            weight = angles[face, corners[index] % 3]
            x, y, z = x + weight * dx, y + weight * dy, z + weight * dz
    length = math.sqrt(x * x + y * y + z * z)
    scale = 1.0 / length if length > 0.0 else 0.0
    total[0], total[1], total[2] = x * scale, y * scale, z * scale
