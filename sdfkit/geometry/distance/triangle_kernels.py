"""Compiled kernels for one triangle: its nearest point to a given point, and its intersection with a ray.

`corners` has one triangle in each row: x, y, z of its first, its second and its third corner.
"""
# mypy: disable-error-code="no-untyped-def"
# numba's signatures state the types. After a change here, touch the modules that import this one: numba does not notice
# that a kernel in its cache calls a kernel of another module that has changed.

from numba import njit

# (height / longest edge) squared below which a triangle has no normal in float64.
SLIVER = 1e-20


# Explicit signatures: without them numba compiles one version for each combination of argument types.
@njit(
    "Tuple((float64, float64, float64, int64))(float64, float64, float64, float64[:, ::1], int64)",
    cache=True,
    error_model="numpy",
)
def nearest_weights(x, y, z, corners, f):
    """Find the point of triangle `f` that is nearest to (x, y, z), in barycentric weights.

    The weights are returned with their divisor, because callers divide at different places of their formulas, which
    rounds differently.

    Returns:
        The weights of the second and the third corner; the divisor of both, which is 1 unless the point lies inside
        the triangle; and the feature that the point lies on: 0 for the interior; 1, 2, 3 for the corners a, b, c; 4,
        5, 6 for the edges ab, bc, ca.

    Reference: Ericson, Real-Time Collision Detection (2005), section 5.1.5. For a triangle
        without area, where the original divides 0 by 0, the nearest point is that of the longest edge, which contains
        the whole triangle.
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
    v, w, total, feature = 0.0, 0.0, 1.0, 0
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
            # The squared area by the cross product: uu * vv - uv * uv would lose all digits to cancellation.
            nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
            if nx * nx + ny * ny + nz * nz > SLIVER * longest * longest:
                v, w, total = vb, vc, va + vb + vc
            elif longest == uu:
                v, feature = min(max(d1 / uu, 0.0), 1.0), 4
            elif longest == vv:
                w, feature = min(max(d2 / vv, 0.0), 1.0), 6
            else:
                w = min(max((d4 - d3) / ww, 0.0), 1.0)
                v, feature = 1.0 - w, 5
    return v, w, total, feature


@njit("UniTuple(float64, 3)(float64[:, ::1], int64, float64, float64)", cache=True, error_model="numpy")
def point_at(corners, f, v, w):
    """Return the point of triangle `f` with barycentric weights `v` and `w` of its second and third corner."""
    ax, ay, az = corners[f, 0], corners[f, 1], corners[f, 2]
    return (
        ax + v * (corners[f, 3] - ax) + w * (corners[f, 6] - ax),
        ay + v * (corners[f, 4] - ay) + w * (corners[f, 7] - ay),
        az + v * (corners[f, 5] - az) + w * (corners[f, 8] - az),
    )


@njit(
    "float64(float64, float64, float64, float64, float64, float64, float64[:, ::1], int64)",
    cache=True,
    error_model="numpy",
)
def ray_distance(x, y, z, dx, dy, dz, corners, f):
    """Intersect the ray from (x, y, z) in direction (dx, dy, dz) with triangle `f`.

    The ray hits if three volumes have the same sign: those of the parallelepipeds spanned by the direction and the
    vectors from the origin of the ray to the ends of each edge. The volume of an edge that two triangles share is equal
    for both except for its sign, so no ray passes between them.

    Returns:
        The distance in units of the length of the direction, 0 or more, or -1 if the ray misses the triangle. A ray
        through an edge hits the triangle.
    """
    ax, ay, az = corners[f, 0] - x, corners[f, 1] - y, corners[f, 2] - z
    bx, by, bz = corners[f, 3] - x, corners[f, 4] - y, corners[f, 5] - z
    cx, cy, cz = corners[f, 6] - x, corners[f, 7] - y, corners[f, 8] - z
    nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    u = dx * nx + dy * ny + dz * nz
    v = dx * (cy * az - cz * ay) + dy * (cz * ax - cx * az) + dz * (cx * ay - cy * ax)
    if (u > 0.0 and v < 0.0) or (u < 0.0 and v > 0.0):
        return -1.0
    w = dx * (ay * bz - az * by) + dy * (az * bx - ax * bz) + dz * (ax * by - ay * bx)
    total = u + v + w
    ahead = ax * nx + ay * ny + az * nz
    if u >= 0.0 and v >= 0.0 and w >= 0.0:
        return ahead / total if total > 0.0 and ahead >= 0.0 else -1.0
    if u <= 0.0 and v <= 0.0 and w <= 0.0:
        return ahead / total if total < 0.0 and ahead <= 0.0 else -1.0
    return -1.0
