"""The inner loops of `watertight`: distances to triangles on a grid, compiled by numba.

All lengths here are in cells: grid node (i, j, k) lies at the point (i, j, k). Grids are passed flat, in C
order, with their shape. Squared distances of nodes that nothing has reached are infinite, and their nearest
face is -1.
"""

import math

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def _closest(corners, px, py, pz):  # type: ignore[no-untyped-def]
    """Closest point of one triangle, and its squared distance.

    Reference: Ericson, Real-Time Collision Detection (2005), section 5.1.5.
    """
    ax, ay, az = corners[0, 0], corners[0, 1], corners[0, 2]
    abx, aby, abz = corners[1, 0] - ax, corners[1, 1] - ay, corners[1, 2] - az
    acx, acy, acz = corners[2, 0] - ax, corners[2, 1] - ay, corners[2, 2] - az
    apx, apy, apz = px - ax, py - ay, pz - az
    abab = abx * abx + aby * aby + abz * abz
    abac = abx * acx + aby * acy + abz * acz
    acac = acx * acx + acy * acy + acz * acz
    d1 = abx * apx + aby * apy + abz * apz
    d2 = acx * apx + acy * apy + acz * apz
    d3, d4 = d1 - abab, d2 - abac
    d5, d6 = d1 - abac, d2 - acac
    vc = d1 * d4 - d3 * d2
    vb = d5 * d2 - d1 * d6
    va = d3 * d6 - d5 * d4
    if d1 <= 0.0 and d2 <= 0.0:
        v, w = 0.0, 0.0
    elif d3 >= 0.0 and d4 <= d3:
        v, w = 1.0, 0.0
    elif d6 >= 0.0 and d5 <= d6:
        v, w = 0.0, 1.0
    elif vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        v, w = d1 / (d1 - d3), 0.0
    elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        v, w = 0.0, d2 / (d2 - d6)
    elif va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        v = 1.0 - w
    else:
        # Clamped: on slivers the sum is mostly rounding error, and the point must stay on the triangle.
        scale = 1.0 / (va + vb + vc)
        v = min(max(vb * scale, 0.0), 1.0)
        w = min(max(vc * scale, 0.0), 1.0 - v)
    qx, qy, qz = ax + abx * v + acx * w, ay + aby * v + acy * w, az + abz * v + acz * w
    return (px - qx) ** 2 + (py - qy) ** 2 + (pz - qz) ** 2, qx, qy, qz


@njit(cache=True, error_model="numpy")
def splat(triangles, shape, band):  # type: ignore[no-untyped-def]
    """Exact squared distance and nearest triangle of every node closer than `band` to one.

    Each triangle visits the columns along its normal's largest axis, and in each only the nodes that lie
    within `band` of its plane: a large slanted triangle then costs its area, not its bounding box.

    Args:
        triangles: (triangle, corner, xyz) float64 in cells, none of them without area.
        shape: Nodes along each axis, int64.
        band: Distance up to which nodes are written.

    Returns:
        Squared distances (float32) and nearest triangles (int32) of the flat grid. Of equally near triangles
        the first one is kept.
    """
    squared = np.full(shape[0] * shape[1] * shape[2], np.inf, dtype=np.float32)
    nearest = np.full(squared.size, -1, dtype=np.int32)
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    normal = np.empty(3)
    for face in range(len(triangles)):
        corners = triangles[face]
        for axis in range(3):
            y, z = (axis + 1) % 3, (axis + 2) % 3
            normal[axis] = (corners[1, y] - corners[0, y]) * (corners[2, z] - corners[0, z]) - (
                corners[1, z] - corners[0, z]
            ) * (corners[2, y] - corners[0, y])
        length = math.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
        w = 0
        for axis in range(1, 3):
            if abs(normal[axis]) > abs(normal[w]):
                w = axis
        u, v = (w + 1) % 3, (w + 2) % 3
        nu, nv, nw = normal[u] / length, normal[v] / length, normal[w] / length
        level = nu * corners[0, u] + nv * corners[0, v] + nw * corners[0, w]
        reach = band / abs(nw)
        lowest = min(corners[0, w], corners[1, w], corners[2, w]) - band
        highest = max(corners[0, w], corners[1, w], corners[2, w]) + band
        first_u = max(0, math.ceil(min(corners[0, u], corners[1, u], corners[2, u]) - band))
        last_u = min(shape[u] - 1, math.floor(max(corners[0, u], corners[1, u], corners[2, u]) + band))
        first_v = max(0, math.ceil(min(corners[0, v], corners[1, v], corners[2, v]) - band))
        last_v = min(shape[v] - 1, math.floor(max(corners[0, v], corners[1, v], corners[2, v]) + band))
        turn = 1.0 if nw > 0 else -1.0
        for i in range(first_u, last_u + 1):
            # Columns farther than `band` from the triangle's shadow, judged by its three edges, are passed
            # over.
            begin, end = float(first_v), float(last_v)
            for edge in range(3):
                a, b = corners[edge], corners[(edge + 1) % 3]
                eu, ev = b[u] - a[u], b[v] - a[v]
                slack = turn * (eu * -a[v] - ev * (i - a[u])) + band * math.sqrt(eu * eu + ev * ev)
                slope = turn * eu
                if slope > 1e-12:
                    begin = max(begin, -slack / slope)
                elif slope < -1e-12:
                    end = min(end, -slack / slope)
            for j in range(math.ceil(begin), math.floor(end) + 1):
                height = (level - nu * i - nv * j) / nw
                first_w = max(0, math.ceil(max(lowest, height - reach)))
                last_w = min(shape[w] - 1, math.floor(min(highest, height + reach)))
                node = i * strides[u] + j * strides[v] + first_w * strides[w]
                for k in range(first_w, last_w + 1):
                    best = min(squared[node], band * band)
                    if ((k - height) * nw) ** 2 < best:
                        if w == 0:
                            found = _closest(corners, float(k), float(i), float(j))[0]
                        elif w == 1:
                            found = _closest(corners, float(j), float(k), float(i))[0]
                        else:
                            found = _closest(corners, float(i), float(j), float(k))[0]
                        if found < best:
                            squared[node] = found
                            nearest[node] = face
                    node += strides[w]
    return squared, nearest


@njit(cache=True, error_model="numpy")
def extend(triangles, shape, squared, nearest, reach):  # type: ignore[no-untyped-def]
    """Carry distances outwards from node to node, up to `reach`, in place.

    A node's triangle is offered to its six neighbours, and the exact distance to it is taken where it is
    smaller: what follows is never too small, and too large only where the nearest triangle was no neighbour's
        nearest.
    """
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    frontier = np.flatnonzero(nearest >= 0).astype(np.int32)
    place = np.empty(3, dtype=np.int64)
    while len(frontier):
        reached = []
        for node in frontier:
            place[0] = node // strides[0]
            place[1] = node // strides[1] % shape[1]
            place[2] = node % shape[2]
            face = nearest[node]
            for side in range(6):
                axis, step = side // 2, 2 * (side % 2) - 1
                moved = place[axis] + step
                if moved < 0 or moved >= shape[axis]:
                    continue
                neighbour = node + step * strides[axis]
                if nearest[neighbour] == face:
                    continue
                place[axis] += step
                found = _closest(triangles[face], float(place[0]), float(place[1]), float(place[2]))[0]
                place[axis] -= step
                if found < squared[neighbour] * (1 - 1e-6) and found < reach * reach:
                    squared[neighbour] = found
                    nearest[neighbour] = face
                    reached.append(np.int32(neighbour))
        frontier = np.array(reached, dtype=np.int32)


@njit(cache=True, error_model="numpy")
def spread(shape, seeds, allowed, reach):  # type: ignore[no-untyped-def]
    """Squared distance to the nearest seed node that can be reached through allowed nodes, infinite beyond `reach`.

    The distance is the straight one, the way only decides whether a seed counts: so fronts stay round, yet do
    not pass through walls.
    """
    squared = np.full(seeds.size, np.inf, dtype=np.float32)
    origin = np.full(seeds.size, -1, dtype=np.int32)
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    frontier = np.flatnonzero(seeds).astype(np.int32)
    squared[frontier] = 0.0
    origin[frontier] = frontier
    while len(frontier):
        reached = []
        for node in frontier:
            x, y, z = node // strides[0], node // strides[1] % shape[1], node % shape[2]
            seed = origin[node]
            sx, sy, sz = seed // strides[0], seed // strides[1] % shape[1], seed % shape[2]
            for side in range(6):
                axis, step = side // 2, 2 * (side % 2) - 1
                nx = x + step if axis == 0 else x
                ny = y + step if axis == 1 else y
                nz = z + step if axis == 2 else z
                if nx < 0 or ny < 0 or nz < 0 or nx >= shape[0] or ny >= shape[1] or nz >= shape[2]:
                    continue
                neighbour = node + step * strides[axis]
                found = (nx - sx) ** 2 + (ny - sy) ** 2 + (nz - sz) ** 2
                if allowed[neighbour] and found < squared[neighbour] and found <= reach * reach:
                    squared[neighbour] = found
                    origin[neighbour] = seed
                    reached.append(np.int32(neighbour))
        frontier = np.array(reached, dtype=np.int32)
    return squared


@njit(cache=True, error_model="numpy")
def project(points, triangles, shape, nearest):  # type: ignore[no-untyped-def]
    """Closest point of the triangles that the nodes around each point hold nearest.

    Returns:
        (point, xyz) float64. A point with no triangle around it is returned as it is.
    """
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    closest = points.copy()
    tried = np.empty(32, dtype=np.int32)
    for row in range(len(points)):
        x, y, z = points[row, 0], points[row, 1], points[row, 2]
        best, count = np.inf, 0
        # The point lies on an edge of the grid: its cell's corners, one step farther on every side of that
        # edge.
        for i in range(max(0, math.ceil(x - 1)), min(shape[0] - 1, math.floor(x + 1)) + 1):
            for j in range(max(0, math.ceil(y - 1)), min(shape[1] - 1, math.floor(y + 1)) + 1):
                for k in range(max(0, math.ceil(z - 1)), min(shape[2] - 1, math.floor(z + 1)) + 1):
                    face = nearest[i * strides[0] + j * strides[1] + k]
                    if face < 0:
                        continue
                    seen = False
                    for other in range(count):
                        if tried[other] == face:
                            seen = True
                            break
                    if seen:
                        continue
                    tried[count] = face
                    count += 1
                    found, qx, qy, qz = _closest(triangles[face], x, y, z)
                    if found < best:
                        best = found
                        closest[row, 0], closest[row, 1], closest[row, 2] = qx, qy, qz
    return closest


@njit(cache=True, error_model="numpy")
def depth(points, inward, field, shape, reach):  # type: ignore[no-untyped-def]
    """How far each point can walk along `inward` until the field turns positive again, at most `reach`."""
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    depths = np.full(len(points), reach)
    stride = 0.25
    for row in range(len(points)):
        before = -1.0
        for step in range(math.ceil(reach / stride) + 1):
            value = 0.0
            x = min(max(points[row, 0] + step * stride * inward[row, 0], 0.0), shape[0] - 1.001)
            y = min(max(points[row, 1] + step * stride * inward[row, 1], 0.0), shape[1] - 1.001)
            z = min(max(points[row, 2] + step * stride * inward[row, 2], 0.0), shape[2] - 1.001)
            i, j, k = int(x), int(y), int(z)
            for corner in range(8):
                a, b, c = corner & 1, corner >> 1 & 1, corner >> 2
                weight = (
                    (x - i if a else 1 - x + i) * (y - j if b else 1 - y + j) * (z - k if c else 1 - z + k)
                )
                value += weight * field[(i + a) * strides[0] + (j + b) * strides[1] + k + c]
            if value > 0.0:
                if step > 0:
                    depths[row] = min(reach, (step - value / (value - before)) * stride)
                else:
                    depths[row] = 0.0
                break
            before = value
    return depths
