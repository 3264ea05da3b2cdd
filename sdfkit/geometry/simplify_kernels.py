"""Compiled kernels of `simplify`: edge collapses, the cheapest first.

The corners of a face are numbered 3 * face + (0, 1, 2). The corners at a vertex form a linked list: `first`
contains the first corner of each vertex, and `following` the next corner after each corner; -1 ends the list.
"""
# mypy: disable-error-code="no-untyped-def,arg-type,assignment"
# numba infers the types; tests cannot check them here.

import heapq
import math

import numpy as np
from numba import njit

# Weight of the squared distance from a vertex to its original position, relative to the squared distances to the planes
# of its faces. It makes the optimal position unique on flat and straight parts of the surface, and prevents long, thin
# faces.
ANCHOR = 1e-8
# Cosine of the largest angle by which one collapse may rotate the normal of a face.
TURN = 0.2
# Smallest accepted ratio of twice the area of a face to the sum of its squared edges. A face below it is accepted only
# if it replaces a face with a smaller ratio. With 0.02 a table top could not be reduced to a few long faces, and its
# legs were collapsed instead.
FLATNESS = 0.001


@njit(cache=True, error_model="numpy")
def _normal(a, b, c):
    """Return the normal of a triangle, with twice its area as length, and the sum of its squared edges."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    wx, wy, wz = vx - ux, vy - uy, vz - uz
    squares = ux * ux + uy * uy + uz * uz + vx * vx + vy * vy + vz * vz + wx * wx + wy * wy + wz * wz
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx, squares


@njit(cache=True, error_model="numpy")
def _target(u, v, points, quadrics, target):
    """Find the position to which collapsing an edge costs least, and this cost, a sum of squared distances.

    A quadric has the coefficients of xx, xy, xz, yy, yz, zz, x, y, z, 1. It is evaluated relative to the middle of the
    edge, which is close to the solution, to avoid cancellation.

    Args:
        u, v: Vertices of the edge.
        points: Positions of the vertices.
        quadrics: Quadrics of the vertices.
        target: Filled with the position.

    Returns:
        The cost.
    """
    q = quadrics[u] + quadrics[v]
    mx, my, mz = 0.5 * (points[u] + points[v])
    gx = q[0] * mx + q[1] * my + q[2] * mz + q[6]
    gy = q[1] * mx + q[3] * my + q[4] * mz + q[7]
    gz = q[2] * mx + q[4] * my + q[5] * mz + q[8]
    # The terms with ANCHOR make the matrix positive definite, so the divisor in Cramer's rule is not 0.
    cxx, cxy, cxz = q[3] * q[5] - q[4] * q[4], q[2] * q[4] - q[1] * q[5], q[1] * q[4] - q[2] * q[3]
    cyy, cyz, czz = q[0] * q[5] - q[2] * q[2], q[1] * q[2] - q[0] * q[4], q[0] * q[3] - q[1] * q[1]
    scale = -1.0 / (q[0] * cxx + q[1] * cxy + q[2] * cxz)
    dx = scale * (cxx * gx + cxy * gy + cxz * gz)
    dy = scale * (cxy * gx + cyy * gy + cyz * gz)
    dz = scale * (cxz * gx + cyz * gy + czz * gz)
    half_squared = (points[u, 0] - mx) ** 2 + (points[u, 1] - my) ** 2 + (points[u, 2] - mz) ** 2
    if not dx * dx + dy * dy + dz * dz <= 16.0 * half_squared:
        dx, dy, dz = 0.0, 0.0, 0.0
    target[0], target[1], target[2] = mx + dx, my + dy, mz + dz
    constant = mx * (gx + q[6]) + my * (gy + q[7]) + mz * (gz + q[8]) + q[9]
    curved = q[0] * dx * dx + q[3] * dy * dy + q[5] * dz * dz
    curved += 2.0 * (q[1] * dx * dy + q[2] * dx * dz + q[4] * dy * dz)
    return max(constant + 2.0 * (gx * dx + gy * dy + gz * dz) + curved, 0.0)


@njit(cache=True, error_model="numpy")
def _folds(vertex, other, target, points, faces, first, following):
    """Return whether moving `vertex` to `target` would flip a face without the vertex `other`, or make it too thin."""
    corner = first[vertex]
    while corner >= 0:
        face, at = corner // 3, corner % 3
        b, c = faces[face, (at + 1) % 3], faces[face, (at + 2) % 3]
        if faces[face, 0] >= 0 and b != other and c != other:
            ox, oy, oz, before = _normal(points[vertex], points[b], points[c])
            nx, ny, nz, after = _normal(target, points[b], points[c])
            old = math.sqrt(ox * ox + oy * oy + oz * oz)
            new = math.sqrt(nx * nx + ny * ny + nz * nz)
            if not ox * nx + oy * ny + oz * nz > TURN * old * new:
                return True
            if new < FLATNESS * after and new * before < old * after:
                return True
        corner = following[corner]
    return False


@njit(cache=True, error_model="numpy")
def _is_pinched(u, v, faces, first, following, marks, mark):
    """Return whether collapsing an edge would make the surface non-manifold.

    It would if the ends of the edge have more than two common neighbours, or if a common neighbour belongs to only
    three faces.

    Reference: Dey, Edelsbrunner, Guha and Nekhayev, Topology preserving edge contraction (1999).
    """
    corner = first[u]
    while corner >= 0:
        face = corner // 3
        if faces[face, 0] >= 0:
            for k in range(3):
                marks[faces[face, k]] = mark
        corner = following[corner]
    common = 0
    corner = first[v]
    while corner >= 0:
        face, at = corner // 3, corner % 3
        if faces[face, 0] >= 0:
            b, c = faces[face, (at + 1) % 3], faces[face, (at + 2) % 3]
            # Each neighbour of v comes directly after v in exactly one face, so each is counted once.
            if b != u and marks[b] == mark:
                common += 1
            if b == u or c == u:
                apex = c if b == u else b
                valence, around = 0, first[apex]
                while around >= 0:
                    valence += faces[around // 3, 0] >= 0
                    around = following[around]
                if valence <= 3:
                    return True
        corner = following[corner]
    return common != 2


@njit(cache=True, error_model="numpy")
def _push(queue, u, v, points, quadrics, stamps, target):
    """Add the collapse of an edge to the queue."""
    low, high = min(u, v), max(u, v)
    cost = _target(low, high, points, quadrics, target)
    heapq.heappush(queue, (cost, low, high, stamps[low], stamps[high]))


@njit("int64(float64[:, ::1], int32[:, ::1], int64)", cache=True, error_model="numpy")
def collapse(points, faces, wanted):
    """Collapse edges until at most `wanted` faces are left, in place.

    The vertices of removed faces are set to -1. Vertices that no face uses any more stay in `points`.

    Returns:
        The number of faces left, which exceeds `wanted` if no further edge can be collapsed.

    Reference:
        Garland and Heckbert, Surface simplification using quadric error metrics (1997).
    """
    count = len(points)
    first, following = np.full(count, -1, np.int64), np.full(3 * len(faces), -1, np.int64)
    quadrics = np.zeros((count, 10))
    for face in range(len(faces)):
        a = points[faces[face, 0]]
        x, y, z, _ = _normal(a, points[faces[face, 1]], points[faces[face, 2]])
        area = math.sqrt(x * x + y * y + z * z)
        if area > 0.0:
            x, y, z = x / area, y / area, z / area
        level = -(x * a[0] + y * a[1] + z * a[2])
        for k in range(3):
            vertex = faces[face, k]
            following[3 * face + k] = first[vertex]
            first[vertex] = 3 * face + k
            q, p, anchor = quadrics[vertex], points[vertex], ANCHOR * area
            q[0] += area * x * x + anchor
            q[1] += area * x * y
            q[2] += area * x * z
            q[3] += area * y * y + anchor
            q[4] += area * y * z
            q[5] += area * z * z + anchor
            q[6] += area * x * level - anchor * p[0]
            q[7] += area * y * level - anchor * p[1]
            q[8] += area * z * level - anchor * p[2]
            q[9] += area * level * level + anchor * (p[0] * p[0] + p[1] * p[1] + p[2] * p[2])
    target = np.empty(3)
    stamps = np.zeros(count, np.int64)
    marks = np.zeros(count, np.int64)
    rejected = np.zeros(count, np.bool_)
    mark, left = 0, len(faces)
    queue = [(0.0, u, u, u, u) for u in range(0)]
    for face in range(len(faces)):
        for k in range(3):
            u, v = np.int64(faces[face, k]), np.int64(faces[face, (k + 1) % 3])
            if u < v:
                queue.append((_target(u, v, points, quadrics, target), u, v, stamps[u], stamps[v]))
    heapq.heapify(queue)
    while left > wanted and len(queue):
        _, u, v, stamp_u, stamp_v = heapq.heappop(queue)
        if stamps[u] != stamp_u or stamps[v] != stamp_v:
            continue
        mark += 1
        _target(u, v, points, quadrics, target)
        if (
            _is_pinched(u, v, faces, first, following, marks, mark)
            or _folds(u, v, target, points, faces, first, following)
            or _folds(v, u, target, points, faces, first, following)
        ):
            rejected[u] = rejected[v] = True
            continue
        points[u] = target
        quadrics[u] += quadrics[v]
        stamps[u] += 1
        stamps[v] += 1
        # Move the corners of both vertices to the list of u, except those of removed faces.
        kept = -1
        for vertex in (u, v):
            corner = first[vertex]
            while corner >= 0:
                after, face = following[corner], corner // 3
                if faces[face, 0] >= 0:
                    b, c = faces[face, (corner + 1) % 3], faces[face, (corner + 2) % 3]
                    if vertex == u and (b == v or c == v):
                        faces[face] = -1
                        left -= 1
                    else:
                        faces[face, corner % 3] = u
                        following[corner] = kept
                        kept = corner
                corner = after
        first[u] = kept
        first[v] = -1
        rejected[u] = False
        corner = kept
        while corner >= 0:
            b = np.int64(faces[corner // 3, (corner + 1) % 3])
            _push(queue, u, b, points, quadrics, stamps, target)
            if rejected[b]:
                # Collapses at this neighbour that were rejected before may be possible now.
                rejected[b] = False
                around = first[b]
                while around >= 0:
                    if faces[around // 3, 0] >= 0:
                        c = np.int64(faces[around // 3, (around + 1) % 3])
                        _push(queue, b, c, points, quadrics, stamps, target)
                    around = following[around]
            corner = following[corner]
    return left
