"""Compiled kernels of `leaks`. Grids are passed flat, in C order, with their shape."""
# mypy: disable-error-code="no-untyped-def"
# numba infers the types; tests cannot check them here.

import math

import numpy as np
from numba import njit

from sdfkit.geometry.distance.triangle_kernels import ray_distance


@njit(cache=True, error_model="numpy")
def _length(node, other, strides, shape):
    """Return the distance between two nodes in a straight line."""
    dx = node // strides[0] - other // strides[0]
    dy = node // strides[1] % shape[1] - other // strides[1] % shape[1]
    dz = node % shape[2] - other % shape[2]
    return math.sqrt(dx * dx + dy * dy + dz * dz)


@njit(cache=True, error_model="numpy")
def _visible(node, other, length, strides, shape, allowed):
    """Return whether the straight line between two nodes, of a known length, passes only by allowed nodes."""
    x, y, z = node // strides[0], node // strides[1] % shape[1], node % shape[2]
    steps = math.ceil(2 * length)
    dx = (other // strides[0] - x) / steps
    dy = (other // strides[1] % shape[1] - y) / steps
    dz = (other % shape[2] - z) / steps
    for step in range(1, steps):
        i, j, k = round(x + step * dx), round(y + step * dy), round(z + step * dz)
        if not allowed[i * strides[0] + j * strides[1] + k]:
            return False
    return True


@njit(cache=True, error_model="numpy")
def path_lengths(shape, seeds, allowed, reach):
    """Compute the length of the shortest path of allowed nodes from each node to a seed.

    Paths are straight lines that turn only at nodes from which the last turn is not visible. Level sets around a seed
    are therefore round, as those of an unrestricted distance.

    Args:
        shape: Nodes along each axis of the grid.
        seeds: Which nodes are seeds.
        allowed: Which nodes a path may pass.
        reach: Longest path; nodes with longer paths get an infinite length.

    Returns:
        Lengths in cells, float32.

    Reference: Nash, Daniel, Koenig and Felner, Theta*: Any-Angle Path Planning on Grids (2007), here from all seeds at
        once.
    """
    turn = np.full(seeds.size, -1, dtype=np.int32)
    before = np.zeros(seeds.size, dtype=np.float32)
    lengths = np.full(seeds.size, np.inf, dtype=np.float32)
    strides = (shape[1] * shape[2], shape[2], 1)
    frontier = [np.int32(0) for _ in range(0)]
    for start in range(seeds.size):
        if seeds[start]:
            turn[start] = start
            lengths[start] = 0.0
            for stride in strides:
                if not (seeds[max(start - stride, 0)] and seeds[min(start + stride, seeds.size - 1)]):
                    frontier.append(np.int32(start))
                    break
    while len(frontier):
        reached = [np.int32(0) for _ in range(0)]
        for node in frontier:
            for side in range(6):
                axis, step = side // 2, 2 * (side % 2) - 1
                place = node // strides[axis] % shape[axis] + step
                neighbour = node + step * strides[axis]
                if place < 0 or place >= shape[axis] or not allowed[neighbour]:
                    continue
                last, passed = turn[node], before[node]
                straight = _length(neighbour, last, strides, shape)
                # The margin covers float32 rounding.
                if passed + straight > min(reach, lengths[neighbour] - 1e-4):
                    continue
                if not _visible(neighbour, last, straight, strides, shape, allowed):
                    last, passed, straight = node, lengths[node], 1.0
                    if passed + straight > min(reach, lengths[neighbour] - 1e-4):
                        continue
                turn[neighbour] = last
                before[neighbour] = passed
                lengths[neighbour] = passed + straight
                reached.append(np.int32(neighbour))
        frontier = reached
    return lengths


@njit(cache=True, error_model="numpy")
def odd_rays(points, directions, triangles, thinnest):
    """Return the share of rays that cross the triangles an odd number of times.

    Args:
        points: Origins of the rays, (point, xyz). From each, a ray is cast along each direction.
        directions: Unit vectors, (ray, xyz).
        triangles: (triangle, corner, xyz) float64.
        thinnest: Crossings of a ray that are less than this apart count as one, because faces are often doubled.
    """
    corners = triangles.reshape((len(triangles), 9))
    odd = 0
    for point in points:
        for direction in directions:
            crossings = [0.0 for _ in range(0)]
            for face in range(len(triangles)):
                distance = ray_distance(
                    point[0], point[1], point[2], direction[0], direction[1], direction[2], corners, face
                )
                if distance >= 0.0:
                    crossings.append(distance)
            crossings.sort()
            count, last = 0, -np.inf
            for distance in crossings:
                if distance - last > thinnest:
                    count += 1
                last = distance
            odd += count % 2
    return odd / (len(points) * len(directions))
