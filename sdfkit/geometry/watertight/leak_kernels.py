"""The inner loops of `leaks`, compiled by numba. Grids are flat, in C order, with their shape."""
# mypy: disable-error-code="no-untyped-def"
# numba finds the types; tests cannot check them here.

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def _apart(node, other, strides, shape):
    """Squared distance of two nodes; infinite where there is no other one."""
    if other < 0:
        return np.inf
    dx = node // strides[0] - other // strides[0]
    dy = node // strides[1] % shape[1] - other // strides[1] % shape[1]
    dz = node % shape[2] - other % shape[2]
    return float(dx * dx + dy * dy + dz * dz)


@njit(cache=True, error_model="numpy")
def spread(shape, seeds, allowed, reach):
    """Squared distance to the nearest seed that allowed nodes lead to, infinite beyond `reach`.

    The distance is the straight one, the way only decides whether a seed counts: so fronts stay round, yet do
    not pass through walls.
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
                if found <= reach * reach and found < _apart(neighbour, origin[neighbour], strides, shape):
                    origin[neighbour] = seed
                    reached.append(np.int32(neighbour))
        frontier = reached
    # In the memory of the seeds: grids are large.
    squared = origin.view(np.float32)
    for start in range(seeds.size):
        squared[start] = _apart(start, origin[start], strides, shape)
    return squared


@njit(cache=True, error_model="numpy")
def odd_rays(points, directions, triangles, thinnest):
    """Share of the rays from the points that cross the triangles an odd number of times.

    Crossings less than `thinnest` apart count once: faces are often doubled.

    Reference: Möller and Trumbore, Fast, Minimum Storage Ray/Triangle Intersection (1997).
    """
    odd = 0
    for point in points:
        for direction in directions:
            dx, dy, dz = direction
            crossings = [0.0 for _ in range(0)]
            for face in range(len(triangles)):
                ax, ay, az = triangles[face, 0]
                ux, uy, uz = (
                    triangles[face, 1, 0] - ax,
                    triangles[face, 1, 1] - ay,
                    triangles[face, 1, 2] - az,
                )
                vx, vy, vz = (
                    triangles[face, 2, 0] - ax,
                    triangles[face, 2, 1] - ay,
                    triangles[face, 2, 2] - az,
                )
                px, py, pz = dy * vz - dz * vy, dz * vx - dx * vz, dx * vy - dy * vx
                scale = 1.0 / (ux * px + uy * py + uz * pz)
                sx, sy, sz = point[0] - ax, point[1] - ay, point[2] - az
                first = (sx * px + sy * py + sz * pz) * scale
                if not 0.0 <= first <= 1.0:
                    continue
                qx, qy, qz = sy * uz - sz * uy, sz * ux - sx * uz, sx * uy - sy * ux
                second = (dx * qx + dy * qy + dz * qz) * scale
                distance = (vx * qx + vy * qy + vz * qz) * scale
                if second >= 0.0 and first + second <= 1.0 and distance > 0.0:
                    crossings.append(distance)
            crossings.sort()
            count, last = 0, -np.inf
            for distance in crossings:
                if distance - last > thinnest:
                    count += 1
                last = distance
            odd += count % 2
    return odd / (len(points) * len(directions))
