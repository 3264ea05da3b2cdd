"""Compiled kernels of `TriangleTree`: building a bounding volume hierarchy, and the nearest-triangle search in it.

Kernels are single-threaded, because shapes are processed in parallel, and have explicit signatures, so that numba
compiles each of them only once on a machine. Triangles are stored in the order of the leaves, so that those of a
leaf are contiguous.

A node stores the bounding boxes of its two children in `boxes` (low corner, then high corner) and an integer for each
child in `children`: the index of the child if it is a node, or `~(first * 8 + count)` if it is a leaf that contains
the triangles `first` to `first + count - 1`.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# numba's signatures state the types.

import numpy as np
from numba import njit

from sdfkit.geometry.distance.triangle_kernels import nearest_weights, point_at

LEAF = 4
BINS = 16
# Nodes below this depth are split into two halves with equal numbers of triangles, even if another split would make
# searches faster. The depth of the tree is then at most 48 + log2(faces), which is less than STACK.
DEPTH = 48
STACK = 96
EMPTY = ~0


@njit("uint64[::1](float64[:, ::1], float64[::1], float64)", cache=True, error_model="numpy")
def morton_codes(points, low, extent):
    """Compute the Morton code of each point: points with close codes are close in space."""
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
    """Build the tree top down by the binned surface-area heuristic along the widest axis.

    Args:
        bounds: Low and high corner of each triangle's bounding box; permuted into the order of the leaves, in place.
        order: Indices of the triangles; permuted in the same way.
        boxes: Filled with the boxes of each node's children.
        children: Filled with the integers that identify each node's children.

    Returns:
        The number of nodes.
    """
    tasks = np.empty((STACK, 4), np.int64)  # first, last, parent * 2 + side, depth
    bin_count = np.empty(BINS, np.int64)
    bin_box = np.empty((BINS, 6), np.float32)
    right_cost = np.empty(BINS, np.float64)
    box = np.empty(6, np.float32)
    low = np.empty(3, np.float32)
    high = np.empty(3, np.float32)

    # The first child of the root holds all triangles; its second child is an empty leaf that no query enters.
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


# An explicit signature: without it numba compiles one version for each integer type of the arguments.
@njit("float64(float64, float64, float64, float32[:, :, ::1], int64, int64)", cache=True, error_model="numpy")
def box_distance(x, y, z, boxes, node, side):
    """Return the squared distance from a point to the box of a node's child, 0 inside."""
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
    """Return the squared distance to triangle `f`, and the weights and the feature of its nearest point.

    The weights are the barycentric coordinates for the second and the third corner. For the feature see
    `nearest_weights`.
    """
    v, w, total, feature = nearest_weights(x, y, z, corners, f)
    v, w = v / total, w / total
    px, py, pz = x - corners[f, 0], y - corners[f, 1], z - corners[f, 2]
    rx = px - v * (corners[f, 3] - corners[f, 0]) - w * (corners[f, 6] - corners[f, 0])
    ry = py - v * (corners[f, 4] - corners[f, 1]) - w * (corners[f, 7] - corners[f, 1])
    rz = pz - v * (corners[f, 5] - corners[f, 2]) - w * (corners[f, 8] - corners[f, 2])
    return rx * rx + ry * ry + rz * rz, v, w, feature


@njit(
    "Tuple((float64[::1], int32[::1], int8[::1], float64[:, ::1]))"
    "(float64[:, ::1], float64[:, ::1], float32[:, :, ::1], int32[:, ::1])",
    cache=True,
    error_model="numpy",
)
def nearest(points, corners, boxes, children):
    """Find the nearest triangle of each point.

    Points should come in an order in which consecutive ones are close in space, because the triangle found for one
    point bounds the search for the next. Boxes are float32, rounded outwards, and all arithmetic is float64, so no
    nearer triangle is skipped.

    Returns:
        Squared distances; indices of the nearest triangles, in the order of the leaves; the feature of the triangle
        that each nearest point lies on, as in `nearest_weights`; and the nearest points, (point, xyz).
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
        closest[i, 0], closest[i, 1], closest[i, 2] = point_at(corners, best_face, best_v, best_w)
    return squared, face, features, closest
