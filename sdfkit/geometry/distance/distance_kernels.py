"""Compiled loops of `distance`: a tree of boxes over triangles, and the search through it.

Plain, single-threaded, with explicit signatures: they compile once a machine, and shapes run side by side.
Everything about a triangle is stored in the order of the tree's leaves, so a leaf is read in one go.

A node holds the boxes of its two children (`boxes`: low and high corner of each) and a number for each
(`children`): a node's index when it is 0 or more, else `~(first * 8 + count)` for a leaf of `count` triangles
from `first`.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# The types stand in numba's signatures.

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


# Signatures spare the compiler a version of each for every width of integer that calls it.
@njit("float64(float64, float64, float64, float32[:, :, ::1], int64, int64)", cache=True, error_model="numpy")
def box_distance(x, y, z, boxes, node, side):
    """Squared distance from a point to a box."""
    dx = max(boxes[node, side, 0] - x, 0.0, x - boxes[node, side, 3])
    dy = max(boxes[node, side, 1] - y, 0.0, y - boxes[node, side, 4])
    dz = max(boxes[node, side, 2] - z, 0.0, z - boxes[node, side, 5])
    return dx * dx + dy * dy + dz * dz


@njit(
    "Tuple((float64, float64, float64, int64))(float64, float64, float64, float64[:, ::1], int64)",
    cache=True,
    error_model="numpy",
)
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
    "(float64[:, ::1], float64[:, ::1], float32[:, :, ::1], int32[:, ::1])",
    cache=True,
    error_model="numpy",
)
def nearest(points, corners, boxes, children):
    """Find each point's squared distance, triangle (in leaf order), feature of it and nearest place.

    Points come in an order in which neighbours follow each other: the triangle found for one bounds the search
    of the next. Boxes are float32, rounded outwards, but all arithmetic is float64: nothing closer is
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
    for i in range(count):
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
