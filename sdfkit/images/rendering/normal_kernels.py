# mypy: allow-untyped-decorators
"""Compiled loops that compute the shading normals of a mesh, which is smooth except at creases."""

import math

import numpy as np
from numba import njit


@njit(cache=True)
def measure_faces(points, faces):  # type: ignore[no-untyped-def]
    """Compute the unit normals and the corner angles of faces.

    Args:
        points: (point, xyz) f4.
        faces: (face, 3) i4.

    Returns:
        Unit normals (face, xyz) f8 and angles (face, 3) f8, both zero for faces without area.
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
            # atan2 is accurate in slivers, where acos loses half of its digits.
            angles[index, corner] = math.atan2(area, cosine)
    return directions, angles


@njit(cache=True)
def list_corners(positions, count):  # type: ignore[no-untyped-def]
    """List the corners of faces at each position.

    Args:
        positions: For each corner, the index of its position, below `count`, (face, 3) i4.
        count: Number of positions.

    Returns:
        first: Where the corners of each position begin in `around`, (count + 1) i8.
        around: Corners as 3 * face + corner, sorted by position, i4.
    """
    first = np.zeros(count + 1, dtype=np.int64)
    for face in range(len(positions)):
        for corner in range(3):
            first[positions[face, corner] + 1] += 1
    first = np.cumsum(first)
    around = np.empty(3 * len(positions), dtype=np.int32)
    free = first[:-1].copy()
    for face in range(len(positions)):
        for corner in range(3):
            around[free[positions[face, corner]]] = 3 * face + corner
            free[positions[face, corner]] += 1
    return first, around


@njit(cache=True)
def blend_normals(directions, angles, first, around, cosine):  # type: ignore[no-untyped-def]
    """Compute the normal at every corner of a face, averaged over the faces at its position.

    A face takes part in the average if the angle between its normal and that of the corner's own face is at most the
    crease angle.

    Args:
        directions: Unit normals of faces (face, xyz) f8, from `measure_faces`.
        angles: Corner angles of the faces (face, 3) f8, the weights of the average.
        first: From `list_corners`.
        around: From `list_corners`.
        cosine: Cosine of the crease angle; below -1 averages all faces at a position.

    Returns:
        normals: (normal, xyz) f4, of unit length, or zero where no face has an area. Row i is the mean over
            all faces at position i; the rows after these are the normals at creases.
        normal_rows: The row in `normals` of each corner, (face, 3) i4.

    Reference:
        Weights are the angles of the faces: Thürmer and Wüthrich, Computing vertex normals from polygonal
        facets (1998).
    """
    count = len(first) - 1
    normals = np.zeros((count, 3), dtype=np.float32)
    normal_rows = np.empty(angles.shape, dtype=np.int32)
    # If two normals are within half the crease angle of their mean, they are within the crease angle of each other.
    half = math.sqrt(max(0.5 * (1.0 + cosine), 0.0))
    total, filled = np.zeros(3), count
    one = np.int64(1)  # a literal 1 has another type, for which numba would compile _blend again
    for position in range(count):
        corners = around[first[position] : first[position + 1]]
        _blend(directions, angles, corners, one, total, total, -2.0)
        for axis in range(3):
            normals[position, axis] = total[axis]
        is_smooth = True
        for corner in corners:
            normal_rows[corner // 3, corner % 3] = position
            cosine_to_mean = 0.0
            for axis in range(3):
                cosine_to_mean += total[axis] * directions[corner // 3, axis]
            is_smooth = is_smooth and (cosine_to_mean >= half or angles[corner // 3, corner % 3] == 0.0)
        if is_smooth or cosine < -1.0:
            continue
        # Any number of faces may meet at the tip of a cone. Their normals are similar, so about a thousand of them are
        # enough.
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
            normal_rows[corner // 3, corner % 3] = entry
    return normals[:filled], normal_rows


@njit(cache=True)
def _blend(directions, angles, corners, stride, towards, total, cosine):  # type: ignore[no-untyped-def]
    """Write into `total` the mean normal of the faces at some corners, scaled to unit length, or zero.

    Only every `stride`-th corner is used, and only if the normal of its face and `towards` have at least this cosine.
    """
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
