"""Compiled kernels of `leaks`. Grids are passed flat, in C order, with their shape."""
# mypy: disable-error-code="no-untyped-def"
# numba infers the types; tests cannot check them here.

import numpy as np
from numba import njit

from sdfkit.geometry.distance.triangle_kernels import ray_distance


@njit(cache=True, error_model="numpy")
def _squared_distance(node, other, strides, shape):
    """Return the squared distance between two nodes; infinite if `other` is negative."""
    if other < 0:
        return np.inf
    dx = node // strides[0] - other // strides[0]
    dy = node // strides[1] % shape[1] - other // strides[1] % shape[1]
    dz = node % shape[2] - other % shape[2]
    return float(dx * dx + dy * dy + dz * dz)


@njit(cache=True, error_model="numpy")
def seed_distances(shape, seeds, allowed, reach):
    """Compute the squared distance of each node to the nearest seed that is connected with it by allowed nodes.

    Distances are straight lines, and the connection only decides which seeds count. Level sets are therefore round,
    as with an unrestricted distance, but do not pass through walls.

    Args:
        shape: Nodes along each axis of the grid.
        seeds: Which nodes are seeds.
        allowed: Which nodes the connection may pass through.
        reach: Largest distance; farther nodes get an infinite one.

    Returns:
        Squared distances in cells, float32.
    """
    origin = np.full(seeds.size, -1, dtype=np.int32)
    strides = (shape[1] * shape[2], shape[2], 1)
    frontier = [np.int32(0) for _ in range(0)]
    for start in range(seeds.size):
        if seeds[start]:
            origin[start] = start
            for stride in strides:
                if not (seeds[max(start - stride, 0)] and seeds[min(start + stride, seeds.size - 1)]):
                    frontier.append(np.int32(start))
                    break
    while len(frontier):
        reached = [np.int32(0) for _ in range(0)]
        for node in frontier:
            x, y, z = node // strides[0], node // strides[1] % shape[1], node % shape[2]
            seed = origin[node]
            dx, dy, dz = x - seed // strides[0], y - seed // strides[1] % shape[1], z - seed % shape[2]
            here = dx * dx + dy * dy + dz * dz
            for side in range(6):
                axis, step = side // 2, 2 * (side % 2) - 1
                place = x if axis == 0 else (y if axis == 1 else z)
                neighbour = node + step * strides[axis]
                if place + step < 0 or place + step >= shape[axis] or not allowed[neighbour]:
                    continue
                away = dx if axis == 0 else (dy if axis == 1 else dz)
                found = here + 2 * step * away + 1
                if found <= reach * reach and found < _squared_distance(
                    neighbour, origin[neighbour], strides, shape
                ):
                    origin[neighbour] = seed
                    reached.append(np.int32(neighbour))
        frontier = reached
    # Reuse the memory of `origin`, because grids are large.
    squared = origin.view(np.float32)
    for start in range(seeds.size):
        squared[start] = _squared_distance(start, origin[start], strides, shape)
    return squared


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
