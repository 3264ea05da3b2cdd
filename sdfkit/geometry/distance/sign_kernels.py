"""Compiled kernels of `TriangleTree` that determine whether points are inside or outside a surface.

Triangles are in the order of the tree's leaves; `distance_kernels` describes the tree.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# numba's signatures state the types.

import math

import numpy as np
from numba import njit

from sdfkit.geometry.distance.distance_kernels import STACK
from sdfkit.geometry.distance.triangle_kernels import SLIVER, ray_distance


@njit("UniTuple(float64, 3)(float64[:, ::1], int64)", cache=True, error_model="numpy")
def unit_normal(corners, f):
    """Return the unit normal of triangle `f`, or zeros if it has no area."""
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
    """List the faces around each vertex, compute its angle-weighted normal, and test whether it is regular.

    A vertex is regular if the faces around it all have an area and form one ring, in which each edge is shared by
    two faces that run along it in opposite directions. If all vertices of a mesh are regular, the signs of
    `pseudonormal_sign` are proven to be correct.

    Args:
        corners: Corners of the faces, (face, 9).
        faces: Vertices of the faces, (face, 3).
        start: Where the faces of each vertex begin in `incident`, (vertex + 1).
        incident: Filled with the faces of vertex v from `start[v]` on.
        normals: Zeros, to which the angle-weighted normals are added, (vertex, xyz); their length is not 1.
        regular: All true; set to false for vertices that are not regular.
        scratch: Working memory, three integers per vertex, (3, vertex).

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

    # Around a regular vertex each face leads from one neighbour to the next, and all of them form one cycle.
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
    """Determine the side of each point from the normal of the nearest face, edge or vertex.

    Returns:
        -1 inside, 1 outside, 0 if the nearest feature touches a vertex that is not `trusted`.
    """
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
def compute_dipoles(corners, boxes, children):
    """Approximate the triangles of each child of each node by one dipole, which is accurate at large distances.

    Returns:
        For each node and child: the centre, weighted by area (3 numbers), the squared radius, the sum of the
        area-weighted normals (3), and the area.

    Reference: Barill et al., Fast Winding Numbers for Soups and Clouds (2018), first order of section 3.
    """
    dipoles = np.zeros((len(children), 2, 8), np.float64)
    for node in range(len(children) - 1, -1, -1):  # children have higher numbers than their parents
        for side in range(2):
            child = children[node, side]
            if child >= 0:
                for part in range(2):
                    area = dipoles[child, part, 7]
                    for k in range(3):
                        dipoles[node, side, k] += area * dipoles[child, part, k]
                        dipoles[node, side, 4 + k] += dipoles[child, part, 4 + k]
                    dipoles[node, side, 7] += area
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
                        dipoles[node, side, k] += area * third
                    dipoles[node, side, 4] += nx
                    dipoles[node, side, 5] += ny
                    dipoles[node, side, 6] += nz
                    dipoles[node, side, 7] += area
            area = dipoles[node, side, 7]
            for k in range(3):
                low, high = float(boxes[node, side, k]), float(boxes[node, side, 3 + k])
                centre = dipoles[node, side, k] / area if area > 0.0 else (low + high) / 2
                dipoles[node, side, k] = centre
                radius = max(high - centre, centre - low)
                dipoles[node, side, 3] += radius * radius
    return dipoles


@njit(
    "float64[::1](float64[:, ::1], float64[::1], float64[:, ::1], float64[:, :, ::1],"
    " int32[:, ::1], float64)",
    cache=True,
    error_model="numpy",
)
def winding(points, clearance, corners, dipoles, children, accuracy):
    """Compute the generalised winding number of each point: about 1 inside, about 0 outside.

    Args:
        points: Positions, (point, xyz).
        clearance: Radius around each point within which the number is constant; 0 if none is known. A point within
            this radius of the previous point gets the same number without computation.
        corners: Corners of the triangles, (triangle, 9).
        dipoles: As returned by `compute_dipoles`.
        children: Children of the nodes.
        accuracy: A child is replaced by its dipole if the distance is at least this many times its radius.

    Reference: van Oosterom and Strackee, The Solid Angle of a Plane Triangle (1983), equation 8; for the
        dipoles, Barill et al. (2018).
    """
    numbers = np.empty(len(points), np.float64)
    stack = np.empty(STACK, np.int32)
    last = -1
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        if last >= 0:
            dx, dy, dz = x - points[last, 0], y - points[last, 1], z - points[last, 2]
            radius = max(clearance[i], clearance[last])
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
                cx, cy, cz = (
                    dipoles[node, side, 0] - x,
                    dipoles[node, side, 1] - y,
                    dipoles[node, side, 2] - z,
                )
                d2 = cx * cx + cy * cy + cz * cz
                if d2 > accuracy * accuracy * dipoles[node, side, 3]:
                    flux = (
                        cx * dipoles[node, side, 4]
                        + cy * dipoles[node, side, 5]
                        + cz * dipoles[node, side, 6]
                    )
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


# Without a signature, numba compiles this kernel only when it is called, and few commands call it.
@njit(cache=True, error_model="numpy")
def reaches_outside(points, directions, enough, corners, boxes, children):
    """Return whether at least `enough` rays from each point hit no triangle.

    Points should come in an order in which consecutive ones are close in space, because the triangle that blocked a
    ray is tested first for the next point.

    Args:
        points: Positions, (point, xyz).
        directions: Directions of the rays, (ray, xyz). No component may be 0.
        enough: Number of rays without a hit after which the remaining rays are skipped.
        corners: Corners of the triangles, (triangle, 9).
        boxes: Boxes of the nodes' children.
        children: Children of the nodes.
    """
    result = np.zeros(len(points), np.bool_)
    inverse = 1.0 / directions
    last = np.zeros(len(directions), np.int64)
    stack = np.empty(STACK, np.int32)
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        misses = 0
        for k in range(len(directions)):
            dx, dy, dz = directions[k, 0], directions[k, 1], directions[k, 2]
            if ray_distance(x, y, z, dx, dy, dz, corners, last[k]) >= 0.0:
                continue
            ix, iy, iz = inverse[k, 0], inverse[k, 1], inverse[k, 2]
            blocked = False
            stack[0] = 0
            top = 1
            while top > 0 and not blocked:
                top -= 1
                node = stack[top]
                for side in range(2):
                    ax, bx = (boxes[node, side, 0] - x) * ix, (boxes[node, side, 3] - x) * ix
                    ay, by = (boxes[node, side, 1] - y) * iy, (boxes[node, side, 4] - y) * iy
                    az, bz = (boxes[node, side, 2] - z) * iz, (boxes[node, side, 5] - z) * iz
                    enter = max(max(min(ax, bx), min(ay, by)), max(min(az, bz), 0.0))
                    if enter > min(min(max(ax, bx), max(ay, by)), max(az, bz)):
                        continue
                    child = children[node, side]
                    if child >= 0:
                        stack[top] = child
                        top += 1
                        continue
                    first = ~child >> 3
                    for f in range(first, first + (~child & 7)):
                        if not blocked and ray_distance(x, y, z, dx, dy, dz, corners, f) >= 0.0:
                            blocked = True
                            last[k] = f
            if not blocked:
                misses += 1
                if misses >= enough:
                    break
        result[i] = misses >= enough
    return result
