"""Compiled loops of `distance`: a tree of boxes over triangles, and what is asked of it.

Plain, single-threaded, with explicit signatures: they compile once a machine, and shapes run side by side.
Everything about a triangle is stored in the order of the tree's leaves, so a leaf is read in one go.

A node holds the boxes of its two children (`boxes`: low and high corner of each) and a number for each
(`children`): a node's index when it is 0 or more, else `~(first * 8 + count)` for a leaf of `count` triangles
from `first`.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# The types stand in numba's signatures.

import math

import numpy as np
from numba import njit

LEAF = 4
BINS = 16
# Deeper than this the split is by halves, whatever it costs in quality: 48 + log2(faces) bounds every stack.
DEPTH = 48
STACK = 96
EMPTY = ~0
# (height / longest edge) squared below which a triangle has no direction of its own in float64.
SLIVER = 1e-20


@njit("uint64[::1](float64[:, ::1], float64[::1], float64)", cache=True, error_model="numpy")
def morton_codes(points, low, extent):
    """Number points along a space-filling curve, so that neighbours in the order are neighbours in space."""
    codes = np.empty(len(points), np.uint64)
    for i in range(len(points)):
        code = np.uint64(0)
        for axis in range(3):
            cell = (points[i, axis] - low[axis]) / extent * 2097152.0
            x = np.uint64(min(max(cell, 0.0), 2097151.0))
            x = (x | (x << np.uint64(32))) & np.uint64(0x1F00000000FFFF)
            x = (x | (x << np.uint64(16))) & np.uint64(0x1F0000FF0000FF)
            x = (x | (x << np.uint64(8))) & np.uint64(0x100F00F00F00F00F)
            x = (x | (x << np.uint64(4))) & np.uint64(0x10C30C30C30C30C3)
            x = (x | (x << np.uint64(2))) & np.uint64(0x1249249249249249)
            code |= x << np.uint64(axis)
        codes[i] = code
    return codes


@njit(
    "int64(float32[:, ::1], int32[::1], float32[:, :, ::1], int32[:, ::1])", cache=True, error_model="numpy"
)
def build(bounds, order, boxes, children):
    """Build the tree top down with the surface-area heuristic in bins along the widest axis.

    `bounds` holds each triangle's low and high corner and `order` their numbers; both are permuted into the
    order of the leaves. Fills `boxes` and `children` and returns the number of nodes.
    """
    tasks = np.empty((STACK, 4), np.int64)  # first, last, parent * 2 + side, depth
    bin_count = np.empty(BINS, np.int64)
    bin_box = np.empty((BINS, 6), np.float32)
    right_cost = np.empty(BINS, np.float64)
    box = np.empty(6, np.float32)
    low = np.empty(3, np.float32)
    high = np.empty(3, np.float32)

    # The root node stands above the whole range: its second child is an empty leaf that no query enters.
    nodes = 1
    children[0, 1] = EMPTY
    for k in range(3):
        boxes[0, 1, k] = np.inf
        boxes[0, 1, 3 + k] = np.inf
    tasks[0, 0] = 0
    tasks[0, 1] = len(bounds)
    tasks[0, 2] = 0
    tasks[0, 3] = 0
    top = 1
    while top > 0:
        top -= 1
        first, last, slot, depth = tasks[top, 0], tasks[top, 1], tasks[top, 2], tasks[top, 3]
        for k in range(3):
            box[k] = np.inf
            box[3 + k] = -np.inf
            low[k] = np.inf
            high[k] = -np.inf
        for i in range(first, last):
            for k in range(3):
                a, b = bounds[i, k], bounds[i, 3 + k]
                box[k] = min(box[k], a)
                box[3 + k] = max(box[3 + k], b)
                low[k] = min(low[k], a + b)
                high[k] = max(high[k], a + b)
        for k in range(6):
            boxes[slot >> 1, slot & 1, k] = box[k]
        if last - first <= LEAF:
            children[slot >> 1, slot & 1] = ~(first * 8 + last - first)
            continue
        node = nodes
        nodes += 1
        children[slot >> 1, slot & 1] = node

        axis = 0
        for k in range(1, 3):
            if high[k] - low[k] > high[axis] - low[axis]:
                axis = k
        middle = first
        if high[axis] > low[axis] and depth < DEPTH:
            scale = np.float32(BINS) / (high[axis] - low[axis])
            for b in range(BINS):
                bin_count[b] = 0
                for k in range(3):
                    bin_box[b, k] = np.inf
                    bin_box[b, 3 + k] = -np.inf
            for i in range(first, last):
                b = min(int((bounds[i, axis] + bounds[i, 3 + axis] - low[axis]) * scale), BINS - 1)
                bin_count[b] += 1
                for k in range(3):
                    bin_box[b, k] = min(bin_box[b, k], bounds[i, k])
                    bin_box[b, 3 + k] = max(bin_box[b, 3 + k], bounds[i, 3 + k])
            for direction in range(2):
                for k in range(3):
                    box[k] = np.inf
                    box[3 + k] = -np.inf
                inside = 0
                best = np.inf
                best_bin = 0
                for step in range(BINS - 1):
                    b = BINS - 1 - step if direction == 0 else step
                    inside += bin_count[b]
                    for k in range(3):
                        box[k] = min(box[k], bin_box[b, k])
                        box[3 + k] = max(box[3 + k], bin_box[b, 3 + k])
                    cost = np.inf
                    if inside > 0:
                        x, y, z = box[3] - box[0], box[4] - box[1], box[5] - box[2]
                        cost = inside * float(x * y + y * z + z * x)
                    if direction == 0:
                        right_cost[b] = cost
                    elif cost + right_cost[b + 1] < best:
                        best = cost + right_cost[b + 1]
                        best_bin = b
            if best < np.inf:
                i, j = first, last - 1
                while i <= j:
                    b = min(int((bounds[i, axis] + bounds[i, 3 + axis] - low[axis]) * scale), BINS - 1)
                    if b <= best_bin:
                        i += 1
                    else:
                        for k in range(6):
                            swap = bounds[i, k]
                            bounds[i, k] = bounds[j, k]
                            bounds[j, k] = swap
                        number = order[i]
                        order[i] = order[j]
                        order[j] = number
                        j -= 1
                middle = i
        if middle in (first, last):
            middle = (first + last) // 2
        for side in range(2):
            tasks[top, 0] = first if side == 0 else middle
            tasks[top, 1] = middle if side == 0 else last
            tasks[top, 2] = node * 2 + side
            tasks[top, 3] = depth + 1
            top += 1
    return nodes


@njit(cache=True, error_model="numpy")
def box_distance(x, y, z, boxes, node, side):
    """Squared distance from a point to a box."""
    dx = max(boxes[node, side, 0] - x, 0.0, x - boxes[node, side, 3])
    dy = max(boxes[node, side, 1] - y, 0.0, y - boxes[node, side, 4])
    dz = max(boxes[node, side, 2] - z, 0.0, z - boxes[node, side, 5])
    return dx * dx + dy * dy + dz * dz


@njit(cache=True, error_model="numpy")
def triangle_distance(x, y, z, corners, f):
    """Squared distance to triangle `f`, the closest point's weights of corners b and c, and its feature.

    Features: 0 the inside; 1, 2, 3 corners a, b, c; 4, 5, 6 edges ab, bc, ca.

    Reference: Ericson, Real-Time Collision Detection (2005), section 5.1.5. Departure: a triangle without
    area is measured as its longest edge, which covers it, where the original divides 0 by 0.
    """
    ax, ay, az = corners[f, 0], corners[f, 1], corners[f, 2]
    ux, uy, uz = corners[f, 3] - ax, corners[f, 4] - ay, corners[f, 5] - az
    vx, vy, vz = corners[f, 6] - ax, corners[f, 7] - ay, corners[f, 8] - az
    px, py, pz = x - ax, y - ay, z - az
    d1 = ux * px + uy * py + uz * pz
    d2 = vx * px + vy * py + vz * pz
    uu = ux * ux + uy * uy + uz * uz
    uv = ux * vx + uy * vy + uz * vz
    vv = vx * vx + vy * vy + vz * vz
    d3, d4, d5, d6 = d1 - uu, d2 - uv, d1 - uv, d2 - vv
    v, w, feature = 0.0, 0.0, 0
    if d1 <= 0.0 and d2 <= 0.0:
        feature = 1
    elif d3 >= 0.0 and d4 <= d3:
        v, feature = 1.0, 2
    elif d6 >= 0.0 and d5 <= d6:
        w, feature = 1.0, 3
    else:
        vc = d1 * d4 - d3 * d2
        vb = d5 * d2 - d1 * d6
        va = d3 * d6 - d5 * d4
        if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0 and d1 > d3:
            v, feature = d1 / (d1 - d3), 4
        elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0 and d2 > d6:
            w, feature = d2 / (d2 - d6), 6
        elif va <= 0.0 and d4 >= d3 and d5 >= d6 and (d4 - d3) + (d5 - d6) > 0.0:
            w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
            v, feature = 1.0 - w, 5
        else:
            ww = uu - 2.0 * uv + vv
            longest = max(uu, vv, ww)
            total = va + vb + vc
            # By the cross product: uu * vv - uv * uv would cancel to noise.
            nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
            if nx * nx + ny * ny + nz * nz > SLIVER * longest * longest:
                v, w = vb / total, vc / total
            elif longest == uu:
                v, feature = min(max(d1 / uu, 0.0), 1.0), 4
            elif longest == vv:
                w, feature = min(max(d2 / vv, 0.0), 1.0), 6
            else:
                w = min(max((d4 - d3) / ww, 0.0), 1.0)
                v, feature = 1.0 - w, 5
    rx, ry, rz = px - v * ux - w * vx, py - v * uy - w * vy, pz - v * uz - w * vz
    return rx * rx + ry * ry + rz * rz, v, w, feature


@njit(
    "Tuple((float64[::1], int32[::1], int8[::1], float64[:, ::1]))"
    "(float64[:, ::1], int64[::1], float64[:, ::1], float32[:, :, ::1], int32[:, ::1])",
    cache=True,
    error_model="numpy",
)
def nearest(points, visit, corners, boxes, children):
    """Find each point's squared distance, triangle (in leaf order), feature of it and nearest place.

    `visit` is an order in which neighbours follow each other: the triangle found for one point bounds the
    search of the next. Boxes are float32, rounded outwards, but all arithmetic is float64: nothing closer is
    skipped.
    """
    count = len(points)
    squared = np.empty(count, np.float64)
    face = np.empty(count, np.int32)
    features = np.empty(count, np.int8)
    closest = np.empty((count, 3), np.float64)
    stack = np.empty(STACK, np.int32)
    stack_distance = np.empty(STACK, np.float64)
    best_face = 0
    for step in range(count):
        i = visit[step]
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        best, best_v, best_w, best_feature = triangle_distance(x, y, z, corners, best_face)
        top = 1
        stack[0] = 0
        stack_distance[0] = 0.0
        while top > 0:
            top -= 1
            if stack_distance[top] >= best:
                continue
            child = stack[top]
            while child >= 0:
                d0 = box_distance(x, y, z, boxes, child, 0)
                d1 = box_distance(x, y, z, boxes, child, 1)
                near, far, dn, df = children[child, 0], children[child, 1], d0, d1
                if d1 < d0:
                    near, far, dn, df = far, near, d1, d0
                if df < best:
                    stack[top] = far
                    stack_distance[top] = df
                    top += 1
                child = near if dn < best else EMPTY
            first = ~child >> 3
            for f in range(first, first + (~child & 7)):
                d, v, w, feature = triangle_distance(x, y, z, corners, f)
                if d < best:
                    best, best_v, best_w, best_feature, best_face = d, v, w, feature, f
        squared[i] = best
        face[i] = best_face
        features[i] = best_feature
        for k in range(3):
            a, b, c = corners[best_face, k], corners[best_face, 3 + k], corners[best_face, 6 + k]
            closest[i, k] = a + best_v * (b - a) + best_w * (c - a)
    return squared, face, features, closest


@njit(cache=True, error_model="numpy")
def unit_normal(corners, f):
    """The normal of triangle `f` at length 1, or zeros where it has no area."""
    ux, uy, uz = corners[f, 3] - corners[f, 0], corners[f, 4] - corners[f, 1], corners[f, 5] - corners[f, 2]
    vx, vy, vz = corners[f, 6] - corners[f, 0], corners[f, 7] - corners[f, 1], corners[f, 8] - corners[f, 2]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    uu, vv = ux * ux + uy * uy + uz * uz, vx * vx + vy * vy + vz * vz
    longest = max(uu, vv, uu + vv - 2.0 * (ux * vx + uy * vy + uz * vz))
    nn = nx * nx + ny * ny + nz * nz
    if not nn > SLIVER * longest * longest:
        return 0.0, 0.0, 0.0
    length = math.sqrt(nn)
    return nx / length, ny / length, nz / length


@njit(
    "void(float64[:, ::1], int32[:, ::1], int32[::1], int32[::1], float64[:, ::1], boolean[::1],"
    " int32[:, ::1])",
    cache=True,
    error_model="numpy",
)
def topology(corners, faces, start, incident, normals, regular, scratch):
    """List the faces of each vertex, its angle-weighted normal, and whether they close around it.

    Fills `incident` with the faces of vertex v from `start[v]` on, and adds up their `normals` (not of length
    1). `regular` (all true before) stays so where the faces all have an area and form one ring, each edge
    shared by two that run it in opposite directions: on a mesh that is regular everywhere the signs of
    `pseudonormal_sign` are proven right. `scratch` has three rows of one number a vertex.

    Reference: Baerentzen and Aanaes, Signed Distance Computation Using the Angle Weighted Pseudonormal
        (2005).
    """
    count, vertices = len(faces), len(normals)
    fill, follows, owner = scratch[0], scratch[1], scratch[2]
    for v in range(vertices):
        fill[v] = start[v]
        owner[v] = -1
    for f in range(count):
        nx, ny, nz = unit_normal(corners, f)
        flat = nx == 0.0 and ny == 0.0 and nz == 0.0
        for k in range(3):
            v = faces[f, k]
            incident[fill[v]] = f
            fill[v] += 1
            if flat:
                regular[v] = False
                continue
            i, j = 3 * ((k + 1) % 3), 3 * ((k + 2) % 3)
            ax = corners[f, i] - corners[f, 3 * k]
            ay = corners[f, i + 1] - corners[f, 3 * k + 1]
            az = corners[f, i + 2] - corners[f, 3 * k + 2]
            bx = corners[f, j] - corners[f, 3 * k]
            by = corners[f, j + 1] - corners[f, 3 * k + 1]
            bz = corners[f, j + 2] - corners[f, 3 * k + 2]
            cx, cy, cz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
            angle = math.atan2(math.sqrt(cx * cx + cy * cy + cz * cz), ax * bx + ay * by + az * bz)
            normals[v, 0] += angle * nx
            normals[v, 1] += angle * ny
            normals[v, 2] += angle * nz

    # Around a regular vertex each face leads from one neighbour to the next, and the walk comes back once.
    follows = np.empty(vertices, np.int32)
    owner = np.full(vertices, -1, np.int32)
    for v in range(vertices):
        degree = start[v + 1] - start[v]
        first = -1
        for e in range(start[v], start[v + 1]):
            f = incident[e]
            k = 0 if faces[f, 0] == v else (1 if faces[f, 1] == v else 2)
            first, second = faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
            if owner[first] == v:
                regular[v] = False
            owner[first] = v
            follows[first] = second
        if degree == 0 or not regular[v]:
            continue
        at, steps = first, 0
        while steps < degree and owner[at] == v:
            at = follows[at]
            steps += 1
            if at == first:
                break
        regular[v] = steps == degree and at == first


@njit(
    "int8[::1](float64[:, ::1], float64[:, ::1], int32[::1], int8[::1], float64[:, ::1], int32[:, ::1],"
    " int32[::1], int32[::1], float64[:, ::1], boolean[::1])",
    cache=True,
    error_model="numpy",
)
def pseudonormal_sign(points, closest, face, features, corners, faces, start, incident, normals, trusted):
    """-1 inside, 1 outside, 0 where the nearest feature touches a vertex that is not `trusted`."""
    signs = np.empty(len(points), np.int8)
    for i in range(len(points)):
        f, feature = face[i], features[i]
        nx, ny, nz = 0.0, 0.0, 0.0
        if feature == 0:
            nx, ny, nz = unit_normal(corners, f)
        elif feature < 4:
            v = faces[f, feature - 1]
            if not trusted[v]:
                signs[i] = 0
                continue
            nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        else:
            a, b = faces[f, feature - 4], faces[f, (feature - 3) % 3]
            if not (trusted[a] and trusted[b]):
                signs[i] = 0
                continue
            if start[b + 1] - start[b] < start[a + 1] - start[a]:
                a, b = b, a
            for e in range(start[a], start[a + 1]):
                g = incident[e]
                if faces[g, 0] == b or faces[g, 1] == b or faces[g, 2] == b:
                    mx, my, mz = unit_normal(corners, g)
                    nx, ny, nz = nx + mx, ny + my, nz + mz
        side = (
            (points[i, 0] - closest[i, 0]) * nx
            + (points[i, 1] - closest[i, 1]) * ny
            + (points[i, 2] - closest[i, 2]) * nz
        )
        signs[i] = -1 if side < 0.0 else 1
    return signs


@njit(
    "float64[:, :, ::1](float64[:, ::1], float32[:, :, ::1], int32[:, ::1])", cache=True, error_model="numpy"
)
def dipoles(corners, boxes, children):
    """Sum up each child of each node as one dipole, seen from afar.

    Columns: centre (3, weighted by area), squared radius, sum of area-weighted normals (3), area.

    Reference: Barill et al., Fast Winding Numbers for Soups and Clouds (2018), first order of section 3.
    """
    far = np.zeros((len(children), 2, 8), np.float64)
    for node in range(len(children) - 1, -1, -1):  # children have higher numbers than their parents
        for side in range(2):
            child = children[node, side]
            if child >= 0:
                for part in range(2):
                    area = far[child, part, 7]
                    for k in range(3):
                        far[node, side, k] += area * far[child, part, k]
                        far[node, side, 4 + k] += far[child, part, 4 + k]
                    far[node, side, 7] += area
            else:
                first = ~child >> 3
                for f in range(first, first + (~child & 7)):
                    ux, uy, uz = (
                        corners[f, 3] - corners[f, 0],
                        corners[f, 4] - corners[f, 1],
                        corners[f, 5] - corners[f, 2],
                    )
                    vx, vy, vz = (
                        corners[f, 6] - corners[f, 0],
                        corners[f, 7] - corners[f, 1],
                        corners[f, 8] - corners[f, 2],
                    )
                    nx, ny, nz = (uy * vz - uz * vy) / 2, (uz * vx - ux * vz) / 2, (ux * vy - uy * vx) / 2
                    area = math.sqrt(nx * nx + ny * ny + nz * nz)
                    for k in range(3):
                        third = (corners[f, k] + corners[f, 3 + k] + corners[f, 6 + k]) / 3
                        far[node, side, k] += area * third
                    far[node, side, 4] += nx
                    far[node, side, 5] += ny
                    far[node, side, 6] += nz
                    far[node, side, 7] += area
            area = far[node, side, 7]
            for k in range(3):
                low, high = float(boxes[node, side, k]), float(boxes[node, side, 3 + k])
                centre = far[node, side, k] / area if area > 0.0 else (low + high) / 2
                far[node, side, k] = centre
                reach = max(high - centre, centre - low)
                far[node, side, 3] += reach * reach
    return far


@njit(
    "float64[::1](float64[:, ::1], int64[::1], float64[::1], float64[:, ::1], float64[:, :, ::1],"
    " int32[:, ::1], float64)",
    cache=True,
    error_model="numpy",
)
def winding(points, visit, clear, corners, far, children, accuracy):
    """Generalised winding number of each point: about 1 inside, 0 outside.

    `clear` is a radius around each point within which the number does not change (0 where that is not known):
    a point within it of the last one computed takes over its number.

    A child is taken as a dipole when it is farther than `accuracy` times its radius.
    """
    numbers = np.empty(len(points), np.float64)
    stack = np.empty(STACK, np.int32)
    last = -1
    for step in range(len(points)):
        i = visit[step]
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        if last >= 0:
            dx, dy, dz = x - points[last, 0], y - points[last, 1], z - points[last, 2]
            radius = max(clear[i], clear[last])
            if dx * dx + dy * dy + dz * dz < radius * radius:
                numbers[i] = numbers[last]
                continue
        half = 0.0
        dipole = 0.0
        stack[0] = 0
        top = 1
        while top > 0:
            top -= 1
            node = stack[top]
            for side in range(2):
                child = children[node, side]
                cx, cy, cz = far[node, side, 0] - x, far[node, side, 1] - y, far[node, side, 2] - z
                d2 = cx * cx + cy * cy + cz * cz
                if d2 > accuracy * accuracy * far[node, side, 3]:
                    flux = cx * far[node, side, 4] + cy * far[node, side, 5] + cz * far[node, side, 6]
                    dipole += flux / (d2 * math.sqrt(d2))
                elif child >= 0:
                    stack[top] = child
                    top += 1
                else:
                    first = ~child >> 3
                    for f in range(first, first + (~child & 7)):
                        ax, ay, az = corners[f, 0] - x, corners[f, 1] - y, corners[f, 2] - z
                        bx, by, bz = corners[f, 3] - x, corners[f, 4] - y, corners[f, 5] - z
                        ex, ey, ez = corners[f, 6] - x, corners[f, 7] - y, corners[f, 8] - z
                        a = math.sqrt(ax * ax + ay * ay + az * az)
                        b = math.sqrt(bx * bx + by * by + bz * bz)
                        e = math.sqrt(ex * ex + ey * ey + ez * ez)
                        volume = (
                            ax * (by * ez - bz * ey) + ay * (bz * ex - bx * ez) + az * (bx * ey - by * ex)
                        )
                        cosine = (
                            a * b * e
                            + (ax * bx + ay * by + az * bz) * e
                            + (bx * ex + by * ey + bz * ez) * a
                            + (ex * ax + ey * ay + ez * az) * b
                        )
                        half += math.atan2(volume, cosine)
        numbers[i] = half / (2.0 * math.pi) + dipole / (4.0 * math.pi)
        last = i
    return numbers
