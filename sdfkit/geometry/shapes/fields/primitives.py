"""Primitive solids: balls, boxes, cylinders, cones, rings and tubes. All fields are exact unless stated otherwise.

The formulas are the usual closed forms (Quilez, "Distance functions"), derived from the geometry: symmetry reduces the
problem to a half plane or an octant, in which the nearest of a few points, segments and arcs is found.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from sdfkit.geometry.shapes.fields.field import Columns, Corner, Distances, Field, union

Vector = Sequence[float] | Float[np.ndarray, " dim"]

NEWTON_STEPS = 12  # enough for full accuracy, even if the axes have a ratio of 1 : 20


def sphere(centre: Vector, radius: float) -> Field:
    """A ball."""
    middle = _vector(centre)

    def distance(points: Columns) -> Distances:
        x, y, z = points - middle[:, None]
        return np.asarray(np.sqrt(x * x + y * y + z * z) - radius)

    return Field(distance, middle - radius, middle + radius, True)


def ellipsoid(centre: Vector, radii: Vector) -> Field:
    """An ellipsoid with axes along x, y, z.

    Reference: Eberly, Distance from a point to an ellipse, an ellipsoid, or a hyperellipsoid. The nearest point is
        r² p / (t + r²) for the largest root t of a convex decreasing function, which Newton's method finds from the
        left without overshooting.
    """
    middle, radius = _vector(centre), _vector(radii)[:, None]
    squared = radius * radius
    tiny = 1e-9 * float(radius.min())

    def distance(points: Columns) -> Distances:
        point = np.maximum(np.abs(points - middle[:, None]), tiny)
        root = np.max(radius * point - squared, axis=0)
        for _ in range(NEWTON_STEPS):
            shifted = root + squared
            term = (radius * point / shifted) ** 2
            root = root + (term.sum(axis=0) - 1) / (2 * (term / shifted).sum(axis=0))
        nearest = squared * point / (root + squared)
        inside = ((point / radius) ** 2).sum(axis=0) < 1
        gap = np.sqrt(((point - nearest) ** 2).sum(axis=0))
        return np.asarray(np.where(inside, -gap, gap))

    return Field(distance, middle - radius[:, 0], middle + radius[:, 0], True)


def box(centre: Vector, size: Vector, rounding: float) -> Field:
    """A box with full side lengths `size`, its edges rounded by a radius (0: sharp)."""
    middle, half = _vector(centre), _vector(size) / 2
    core = (half - rounding)[:, None]
    if core.min() < 0:
        raise ValueError(f"box of size {tuple(size)}: rounding {rounding} is more than half a side")

    def distance(points: Columns) -> Distances:
        beyond = np.abs(points - middle[:, None]) - core
        outer = np.sqrt((np.maximum(beyond, 0) ** 2).sum(axis=0))
        return np.asarray(outer + np.minimum(beyond.max(axis=0), 0) - rounding)

    return Field(distance, middle - half, middle + half, True)


def capsule(start: Vector, end: Vector, radius: float) -> Field:
    """All points within a radius of a segment."""
    return round_cone(start, end, radius, radius)


def round_cone(start: Vector, end: Vector, start_radius: float, end_radius: float) -> Field:
    """The convex hull of two balls."""
    a, b = _vector(start), _vector(end)
    length = float(np.linalg.norm(b - a))
    if length <= abs(start_radius - end_radius) + 1e-9:
        return sphere(start, start_radius) if start_radius >= end_radius else sphere(end, end_radius)
    axis = (b - a) / length
    slope = (start_radius - end_radius) / length
    upright = np.sqrt(1 - slope * slope)

    def distance(points: Columns) -> Distances:
        along, out = _cylindrical(points, a, axis)
        # Position along the slanted side, from 0 at its start, in the half plane (out, along).
        foot = along * upright - out * slope
        side = out * upright + along * slope - start_radius
        first = np.hypot(out, along) - start_radius
        last = np.hypot(out, along - length) - end_radius
        return np.asarray(np.where(foot < 0, first, np.where(foot > upright * length, last, side)))

    low = np.minimum(a - start_radius, b - end_radius)
    high = np.maximum(a + start_radius, b + end_radius)
    return Field(distance, low, high, True)


def rod(start: Vector, end: Vector, radius: float, rounding: float) -> Field:
    """A cylinder with flat ends between two points, its rims rounded by a radius (0: sharp)."""
    a, b = _vector(start), _vector(end)
    length = float(np.linalg.norm(b - a))
    axis = (b - a) / length

    def distance(points: Columns) -> Distances:
        along, out = _cylindrical(points, a, axis)
        across = out - (radius - rounding)
        ends = np.abs(along - length / 2) - (length / 2 - rounding)
        outer = np.hypot(np.maximum(across, 0), np.maximum(ends, 0))
        return outer + np.minimum(np.maximum(across, ends), 0) - rounding

    extent = radius * np.sqrt(np.maximum(1 - axis * axis, 0))
    return Field(distance, np.minimum(a, b) - extent, np.maximum(a, b) + extent, True)


def cone(start: Vector, end: Vector, start_radius: float, end_radius: float) -> Field:
    """A cone or frustum with flat ends between two points."""
    a, b = _vector(start), _vector(end)
    length = float(np.linalg.norm(b - a))
    axis = (b - a) / length
    lean = end_radius - start_radius
    slant = length * length + lean * lean

    def distance(points: Columns) -> Distances:
        along, out = _cylindrical(points, a, axis)
        rim = np.where(along < length / 2, start_radius, end_radius)
        cap_out = np.maximum(out - rim, 0)
        cap_along = np.abs(along - length / 2) - length / 2
        share = np.clip(((out - start_radius) * lean + along * length) / slant, 0, 1)
        side_out, side_along = out - start_radius - share * lean, along - share * length
        squared = np.minimum(cap_out**2 + cap_along**2, side_out**2 + side_along**2)
        inside = (cap_along < 0) & (out < start_radius + lean * along / length)
        return np.asarray(np.where(inside, -1, 1) * np.sqrt(squared))

    across = np.sqrt(np.maximum(1 - axis * axis, 0))
    low = np.minimum(a - start_radius * across, b - end_radius * across)
    high = np.maximum(a + start_radius * across, b + end_radius * across)
    return Field(distance, low, high, True)


def torus(centre: Vector, axis: Vector, radius: float, thickness: float) -> Field:
    """A torus: all points within `thickness` of a circle."""
    middle, normal = _vector(centre), _unit(axis)

    def distance(points: Columns) -> Distances:
        along, out = _cylindrical(points, middle, normal)
        return np.asarray(np.hypot(out - radius, along) - thickness)

    extent = radius * np.sqrt(np.maximum(1 - normal * normal, 0)) + thickness
    return Field(distance, middle - extent, middle + extent, True)


def arc(centre: Vector, axis: Vector, middle: Vector, radius: float, angle: float, thickness: float) -> Field:
    """A tube with round ends around a circular arc of `angle` radians, whose middle lies in direction `middle`."""
    origin, normal = _vector(centre), _unit(axis)
    ahead = _vector(middle) - normal * float(_vector(middle) @ normal)
    ahead /= np.linalg.norm(ahead)
    aside = np.cross(normal, ahead)
    end = radius * np.array([np.cos(angle / 2), np.sin(angle / 2)])

    def distance(points: Columns) -> Distances:
        offset = points - origin[:, None]
        x, y, z = ahead @ offset, np.abs(aside @ offset), normal @ offset
        within = np.arctan2(y, x) <= angle / 2
        ring = np.hypot(np.hypot(x, y) - radius, z)
        tip = np.sqrt((x - end[0]) ** 2 + (y - end[1]) ** 2 + z * z)
        return np.asarray(np.where(within, ring, tip) - thickness)

    turns = np.linspace(-angle / 2, angle / 2, 65)
    trace = origin + radius * (np.cos(turns)[:, None] * ahead + np.sin(turns)[:, None] * aside)
    extent = thickness + radius * (angle / 64) ** 2
    return Field(distance, trace.min(axis=0) - extent, trace.max(axis=0) + extent, True)


def smooth_path(knots: Sequence[Vector], steps: int) -> Float[np.ndarray, "knot dim"]:
    """A cubic spline through knots, parametrised by the distance between them, as a polyline of `steps` points.

    Knots may have more than three coordinates, for instance a radius as the fourth, which is interpolated likewise.
    """
    given = np.array(knots, dtype=float)
    pace = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(given[:, :3], axis=0), axis=1))])
    return np.asarray(CubicSpline(pace, given)(np.linspace(0, pace[-1], steps)))


def tube(path: Float[np.ndarray, "knot 3"], radius: float) -> Field:
    """All points within a radius of a polyline: a union of capsules, whose values are exact outside."""
    return taper(path, np.full(len(path), radius))


def taper(path: Float[np.ndarray, "knot 3"], radii: Float[np.ndarray, " knot"]) -> Field:
    """Balls of varying radius along a polyline, and the convex hulls of consecutive ones. Values outside are exact."""
    links = [round_cone(path[i], path[i + 1], radii[i], radii[i + 1]) for i in range(len(path) - 1)]
    # Groups of eight cones have a bounding box each, which speeds up long curves.
    groups = [union(*links[i : i + 8]) for i in range(0, len(links), 8)]
    return union(*groups)


def bar(start: Vector, end: Vector, width: float, height: float, up: Vector, rounding: float) -> Field:
    """A box from one point to another, `width` across and `height` along the direction nearest to `up`."""
    a, b = _vector(start), _vector(end)
    length = float(np.linalg.norm(b - a))
    ahead = (b - a) / length
    aside = np.cross(_unit(up), ahead)
    aside /= np.linalg.norm(aside)
    frame = np.stack([aside, np.cross(ahead, aside), ahead])
    core = box((0, 0, length / 2), (width, height, length), rounding)

    def distance(points: Columns) -> Distances:
        return core.distance(frame @ (points - a[:, None]))

    corners = (
        a
        + np.array(
            [
                [u, v, w]
                for u in (-width / 2, width / 2)
                for v in (-height / 2, height / 2)
                for w in (0, length)
            ]
        )
        @ frame
    )
    return Field(distance, corners.min(axis=0), corners.max(axis=0), True)


def _vector(values: Vector) -> Corner:
    return np.array(values, dtype=float)


def _unit(values: Vector) -> Corner:
    vector = _vector(values)
    return np.asarray(vector / np.linalg.norm(vector))


def _cylindrical(points: Columns, origin: Corner, axis: Corner) -> tuple[Distances, Distances]:
    """Return the position along an axis, and the distance from it."""
    offset = points - origin[:, None]
    along = axis @ offset
    out = offset - axis[:, None] * along
    return along, np.sqrt((out * out).sum(axis=0))
