"""The inner loops of `watertight`: distances to triangles on a grid, compiled by numba.

All lengths here are in cells: grid node (i, j, k) lies at the point (i, j, k). Grids are passed flat, in C
order, with their shape. Squared distances of nodes that nothing has reached are infinite, and their nearest
face is -1.
"""
# mypy: disable-error-code="no-untyped-def"
# numba finds the types; tests cannot check them here.

import math

import numpy as np
from numba import njit

# Triangles lower than this, in cells, have no normal worth the name; they count as missing.
SLIVER = 1e-6


@njit(cache=True, error_model="numpy")
def _closest(corners, px, py, pz):
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
def _columns(corners, shape, band, plane, columns):
    """Runs of nodes that may lie within `band` of a triangle.

    The columns run along the normal's largest axis. Columns farther than `band` from the triangle's shadow
    are left out, and so are nodes farther than that from its plane: a large slanted triangle costs its area,
    not its bounding box.

    Args:
        plane: Is given the unit normal and the level of the triangle's plane.
        columns: Is given, a row a run, its first node, its length, and where the first node lies.

    Returns:
        The number of runs and the axis along which they go.
    """
    for axis in range(3):
        y, z = (axis + 1) % 3, (axis + 2) % 3
        plane[axis] = (corners[1, y] - corners[0, y]) * (corners[2, z] - corners[0, z]) - (
            corners[1, z] - corners[0, z]
        ) * (corners[2, y] - corners[0, y])
    length = math.sqrt(plane[0] ** 2 + plane[1] ** 2 + plane[2] ** 2)
    size = 0.0
    for axis in range(3):
        size = max(size, abs(corners[1, axis] - corners[0, axis]), abs(corners[2, axis] - corners[0, axis]))
    if length <= SLIVER * size:
        return 0, 0
    for axis in range(3):
        plane[axis] /= length
    plane[3] = plane[0] * corners[0, 0] + plane[1] * corners[0, 1] + plane[2] * corners[0, 2]
    w = 0
    for axis in range(1, 3):
        if abs(plane[axis]) > abs(plane[w]):
            w = axis
    u, v = (w + 1) % 3, (w + 2) % 3
    strides = (shape[1] * shape[2], shape[2], 1)
    reach = band / abs(plane[w])
    turn = 1.0 if plane[w] > 0 else -1.0
    lowest = min(corners[0, w], corners[1, w], corners[2, w]) - band
    highest = max(corners[0, w], corners[1, w], corners[2, w]) + band
    first_u = max(0, math.ceil(min(corners[0, u], corners[1, u], corners[2, u]) - band))
    last_u = min(shape[u] - 1, math.floor(max(corners[0, u], corners[1, u], corners[2, u]) + band))
    first_v = max(0.0, math.ceil(min(corners[0, v], corners[1, v], corners[2, v]) - band))
    last_v = min(shape[v] - 1.0, math.floor(max(corners[0, v], corners[1, v], corners[2, v]) + band))
    count = 0
    for i in range(first_u, last_u + 1):
        begin, end = first_v, last_v
        for edge in range(3):
            au, av = corners[edge, u], corners[edge, v]
            eu, ev = corners[(edge + 1) % 3, u] - au, corners[(edge + 1) % 3, v] - av
            slack = turn * (-eu * av - ev * (i - au)) + band * math.sqrt(eu * eu + ev * ev)
            slope = turn * eu
            if slope > 1e-9:
                begin = max(begin, -slack / slope)
            elif slope < -1e-9:
                end = min(end, -slack / slope)
        for j in range(math.ceil(begin), math.floor(end) + 1):
            height = (plane[3] - plane[u] * i - plane[v] * j) / plane[w]
            first = max(0, math.ceil(max(lowest, height - reach)))
            last = min(shape[w] - 1, math.floor(min(highest, height + reach)))
            if first <= last:
                columns[count, 0] = i * strides[u] + j * strides[v] + first * strides[w]
                columns[count, 1] = last - first + 1
                columns[count, 2 + u] = i
                columns[count, 2 + v] = j
                columns[count, 2 + w] = first
                count += 1
    return count, w


@njit(cache=True, error_model="numpy")
def splat(triangles, shape, band):
    """Exact squared distance and nearest triangle of every node closer than `band` to one.

    Args:
        triangles: (triangle, corner, xyz) float64 in cells.
        shape: Nodes along each axis, int64.
        band: Distance up to which nodes are written.

    Returns:
        Squared distances (float32) and nearest triangles (int32) of the flat grid. Of equally near triangles
        the first one is kept.
    """
    squared = np.full(shape[0] * shape[1] * shape[2], np.inf, dtype=np.float32)
    nearest = np.full(squared.size, -1, dtype=np.int32)
    columns = np.empty((shape.max() ** 2, 5), dtype=np.int64)
    strides = (shape[1] * shape[2], shape[2], 1)
    plane = np.empty(4)
    for face in range(len(triangles)):
        count, axis = _columns(triangles[face], shape, band, plane, columns)
        for column in range(count):
            node = columns[column, 0]
            x, y, z = float(columns[column, 2]), float(columns[column, 3]), float(columns[column, 4])
            for _ in range(columns[column, 1]):
                best = min(squared[node], band * band)
                if (plane[0] * x + plane[1] * y + plane[2] * z - plane[3]) ** 2 < best:
                    found = _closest(triangles[face], x, y, z)[0]
                    if found < best:
                        squared[node] = found
                        nearest[node] = face
                node += strides[axis]
                if axis == 0:
                    x += 1.0
                elif axis == 1:
                    y += 1.0
                else:
                    z += 1.0
    return squared, nearest


@njit(cache=True, error_model="numpy")
def project(points, triangles, shape, band):
    """Closest point of all triangles to each point, for points on edges of the grid.

    Returns:
        The closest points, (point, xyz) float64, and their triangles, int32. A point with no triangle within
        `band` is returned as it is, with triangle -1.
    """
    # A point on an edge of the grid is at most half a cell away from the node that it is filed under.
    head = np.full(shape[0] * shape[1] * shape[2], -1, dtype=np.int32)
    following = np.empty(len(points), dtype=np.int32)
    for row in range(len(points)):
        i, j, k = round(points[row, 0]), round(points[row, 1]), round(points[row, 2])
        node = (i * shape[1] + j) * shape[2] + k
        following[row] = head[node]
        head[node] = row
    closest = points.copy()
    source = np.full(len(points), -1, dtype=np.int32)
    squared = np.full(len(points), band * band)
    columns = np.empty((shape.max() ** 2, 5), dtype=np.int64)
    strides = (shape[1] * shape[2], shape[2], 1)
    plane = np.empty(4)
    for face in range(len(triangles)):
        count, axis = _columns(triangles[face], shape, band + 0.5, plane, columns)
        for column in range(count):
            node = columns[column, 0]
            for _ in range(columns[column, 1]):
                row = head[node]
                while row >= 0:
                    x, y, z = points[row, 0], points[row, 1], points[row, 2]
                    if (plane[0] * x + plane[1] * y + plane[2] * z - plane[3]) ** 2 < squared[row]:
                        found, qx, qy, qz = _closest(triangles[face], x, y, z)
                        if found < squared[row]:
                            squared[row] = found
                            source[row] = face
                            closest[row, 0], closest[row, 1], closest[row, 2] = qx, qy, qz
                    row = following[row]
                node += strides[axis]
    return closest, source


@njit(cache=True, error_model="numpy")
def extend(triangles, shape, squared, nearest, reach):
    """Carry distances outwards from node to node, up to `reach`, in place.

    A node's triangle is offered to its six neighbours, and the exact distance to it is taken where it is
    smaller: what follows is never too small, and too large only where the nearest triangle was no neighbour's
    nearest.
    """
    strides = (shape[1] * shape[2], shape[2], 1)
    frontier = [np.int32(node) for node in range(nearest.size) if nearest[node] >= 0]
    while len(frontier):
        reached = [np.int32(0) for _ in range(0)]
        for node in frontier:
            x, y, z = node // strides[0], node // strides[1] % shape[1], node % shape[2]
            face = nearest[node]
            for side in range(6):
                axis, step = side // 2, 2 * (side % 2) - 1
                place = x if axis == 0 else (y if axis == 1 else z)
                neighbour = node + step * strides[axis]
                if place + step < 0 or place + step >= shape[axis] or nearest[neighbour] == face:
                    continue
                px = float(x + step if axis == 0 else x)
                py = float(y + step if axis == 1 else y)
                pz = float(z + step if axis == 2 else z)
                found = _closest(triangles[face], px, py, pz)[0]
                # float32 rounds: without a margin two equally near triangles would be offered for ever.
                if found < squared[neighbour] * (1 - 1e-6) and found < reach * reach:
                    squared[neighbour] = found
                    nearest[neighbour] = face
                    reached.append(np.int32(neighbour))
        frontier = reached


@njit(cache=True, error_model="numpy")
def mark_folded(positions, faces, outward, flattest, folded):
    """Mark the corners of faces whose area, seen along the outward directions, is under `flattest`."""
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, ay, az = positions[a, 0], positions[a, 1], positions[a, 2]
        ux, uy, uz = positions[b, 0] - ax, positions[b, 1] - ay, positions[b, 2] - az
        vx, vy, vz = positions[c, 0] - ax, positions[c, 1] - ay, positions[c, 2] - az
        seen = (
            (uy * vz - uz * vy) * (outward[a, 0] + outward[b, 0] + outward[c, 0])
            + (uz * vx - ux * vz) * (outward[a, 1] + outward[b, 1] + outward[c, 1])
            + (ux * vy - uy * vx) * (outward[a, 2] + outward[b, 2] + outward[c, 2])
        )
        if seen < flattest:
            folded[a] = folded[b] = folded[c] = True


@njit(cache=True, error_model="numpy")
def draw_into_creases(positions, faces, triangles, source, kept, bevel, sums, counts):
    """For the corners of faces that span a crease, sum up and count places on their own triangles, in place.

    A face spans a crease if its middle is more than `bevel` away from its corners' triangles. The place is where
    the corner's own triangle is closest to that middle.
    """
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        if source[a] < 0 or source[b] < 0 or source[c] < 0:
            continue
        if source[a] == source[b] and source[a] == source[c]:
            continue
        x = (positions[a, 0] + positions[b, 0] + positions[c, 0]) / 3
        y = (positions[a, 1] + positions[b, 1] + positions[c, 1]) / 3
        z = (positions[a, 2] + positions[b, 2] + positions[c, 2]) / 3
        nearest = np.inf
        for corner in range(3):
            nearest = min(nearest, _closest(triangles[source[faces[face, corner]]], x, y, z)[0])
        if math.sqrt(nearest) < bevel + (kept[a] + kept[b] + kept[c]) / 3:
            continue
        for corner in range(3):
            row = faces[face, corner]
            _, qx, qy, qz = _closest(triangles[source[row]], x, y, z)
            sums[row, 0] += qx
            sums[row, 1] += qy
            sums[row, 2] += qz
            counts[row] += 1.0


@njit(cache=True, error_model="numpy")
def depth(points, inward, field, shape, reach):
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
