"""Compiled kernels of `make_watertight`: distances to triangles on a grid.

All lengths are in cells: grid node (i, j, k) lies at the point (i, j, k). Grids are passed flat, in C order, with
their shape. Nodes that no triangle has reached have an infinite squared distance and -1 as their nearest face.
"""
# mypy: disable-error-code="no-untyped-def"
# numba infers the types; tests cannot check them here.

import math

import numpy as np
from numba import njit

from sdfkit.geometry.distance.triangle_kernels import nearest_weights, point_at

# Triangles with a height below this, in cells, have no reliable normal; they are skipped.
SLIVER = 1e-6


@njit(cache=True, error_model="numpy")
def _nearest_point(x, y, z, corners, f):
    """Return the squared distance to triangle `f`, and the point of it that is nearest."""
    v, w, total, feature = nearest_weights(x, y, z, corners, f)
    if feature == 0:
        # Clamped: on slivers the divisor is mostly rounding error, and the point must stay on the triangle.
        scale = 1.0 / total
        v = min(max(v * scale, 0.0), 1.0)
        w = min(max(w * scale, 0.0), 1.0 - v)
    qx, qy, qz = point_at(corners, f, v, w)
    return (x - qx) ** 2 + (y - qy) ** 2 + (z - qz) ** 2, qx, qy, qz


@njit(cache=True, error_model="numpy")
def _columns(corners, shape, band, plane, columns):
    """List the columns of nodes that may lie within `band` of a triangle.

    Columns run along the axis of the normal's largest component. Columns farther than `band` from the triangle's
    projection along this axis are left out, and so are nodes farther than `band` from its plane: the cost of a large
    slanted triangle is proportional to its area, not to its bounding box.

    Args:
        corners: Corners of the triangle, (3, xyz).
        shape: Nodes along each axis of the grid.
        band: Distance in cells.
        plane: Filled with the unit normal and the offset of the triangle's plane.
        columns: Filled with one column a row: index of its first node, number of nodes, and x, y, z of the first node.

    Returns:
        The number of columns and the axis along which they run.
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
    """Compute the exact squared distance and the nearest triangle of every node within `band` of a triangle.

    Args:
        triangles: (triangle, corner, xyz) float64 in cells.
        shape: Nodes along each axis of the grid, int64.
        band: Distance up to which nodes are written.

    Returns:
        Squared distances (float32) and nearest triangles (int32) of the flat grid. If several triangles are equally
        near, the first of them.
    """
    corners = triangles.reshape((len(triangles), 9))
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
                    found = _nearest_point(x, y, z, corners, face)[0]
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
    """Project points that lie on edges of the grid onto their nearest triangles.

    Args:
        points: Points to project, (point, xyz) float64 in cells.
        triangles: (triangle, corner, xyz) float64 in cells.
        shape: Nodes along each axis of the grid, int64.
        band: Distance up to which triangles are searched.

    Returns:
        The nearest points on the triangles, (point, xyz) float64, and the triangles that these lie on, int32. A
        point that is farther than `band` from all triangles is returned as it is, with triangle -1.
    """
    corners = triangles.reshape((len(triangles), 9))
    # Points are listed by their nearest node, which is at most half a cell away because they lie on grid edges.
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
                        found, qx, qy, qz = _nearest_point(x, y, z, corners, face)
                        if found < squared[row]:
                            squared[row] = found
                            source[row] = face
                            closest[row, 0], closest[row, 1], closest[row, 2] = qx, qy, qz
                    row = following[row]
                node += strides[axis]
    return closest, source


@njit(cache=True, error_model="numpy")
def extend(triangles, shape, squared, nearest, reach):
    """Propagate distances from node to node, up to `reach`, in place.

    Each node passes its nearest triangle on to its six neighbours, which take it if the exact distance to it is smaller
    than theirs. The resulting distances are never too small; they are too large only at nodes whose nearest triangle
    is not the nearest one of any neighbour.
    """
    corners = triangles.reshape((len(triangles), 9))
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
                found = _nearest_point(px, py, pz, corners, face)[0]
                # The margin covers float32 rounding: without it two equally near triangles replace each other for ever.
                if found < squared[neighbour] * (1 - 1e-6) and found < reach * reach:
                    squared[neighbour] = found
                    nearest[neighbour] = face
                    reached.append(np.int32(neighbour))
        frontier = reached


@njit(cache=True, error_model="numpy")
def mark_folded(positions, faces, outward, flattest, folded):
    """Mark the corners of faces whose area, projected along the outward directions, is below `flattest`."""
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, ay, az = positions[a, 0], positions[a, 1], positions[a, 2]
        ux, uy, uz = positions[b, 0] - ax, positions[b, 1] - ay, positions[b, 2] - az
        vx, vy, vz = positions[c, 0] - ax, positions[c, 1] - ay, positions[c, 2] - az
        area = (
            (uy * vz - uz * vy) * (outward[a, 0] + outward[b, 0] + outward[c, 0])
            + (uz * vx - ux * vz) * (outward[a, 1] + outward[b, 1] + outward[c, 1])
            + (ux * vy - uy * vx) * (outward[a, 2] + outward[b, 2] + outward[c, 2])
        )
        if area < flattest:
            folded[a] = folded[b] = folded[c] = True


@njit(cache=True, error_model="numpy")
def draw_into_creases(positions, faces, triangles, source, kept, bevel, sums, counts):
    """Sum up target points for the corners of faces that cut off a crease, and count them, in place.

    A face cuts off a crease if its centroid is more than `bevel` away from its corners' source triangles. The target
    of a corner is the point of its own source triangle that is nearest to this centroid.
    """
    corners = triangles.reshape((len(triangles), 9))
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
            nearest = min(nearest, _nearest_point(x, y, z, corners, source[faces[face, corner]])[0])
        if math.sqrt(nearest) < bevel + (kept[a] + kept[b] + kept[c]) / 3:
            continue
        for corner in range(3):
            row = faces[face, corner]
            _, qx, qy, qz = _nearest_point(x, y, z, corners, source[row])
            sums[row, 0] += qx
            sums[row, 1] += qy
            sums[row, 2] += qz
            counts[row] += 1.0


@njit(cache=True, error_model="numpy")
def depth(points, inward, field, shape, reach):
    """Measure the distance from each point along `inward` to where the field becomes positive, at most `reach`.

    The field is interpolated trilinearly every quarter of a cell.
    """
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
