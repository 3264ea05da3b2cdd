"""Solids made from flat outlines: solids of revolution and plates.

An outline is one closed polygon or several (even-odd rule: a polygon inside another is a hole). Its distance in the
plane is exact on both sides, and so is that of the solids made from it.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

from sdfkit.geometry.shapes.fields.field import Columns, Distances, Field

Loop = Float[np.ndarray, "corner 2"]


def _to_edges(
    u: Distances, v: Distances, starts: Float[np.ndarray, "edge 2"], ends: Float[np.ndarray, "edge 2"]
) -> Distances:
    """Return the distance in the plane to the nearest of many segments."""
    squared = np.full(u.shape, np.inf)
    for (u0, v0), (du, dv) in zip(starts.tolist(), (ends - starts).tolist(), strict=True):
        pu, pv = u - u0, v - v0
        share = np.clip((pu * du + pv * dv) / (du * du + dv * dv), 0, 1)
        pu -= share * du
        pv -= share * dv
        np.minimum(squared, pu * pu + pv * pv, out=squared)
    return np.asarray(np.sqrt(squared))


def _within(u: Distances, v: Distances, loops: Sequence[Loop]) -> np.ndarray:
    """Return whether points lie inside, by the parity of the edges that a ray along +u crosses."""
    inside = np.zeros(u.shape, dtype=bool)
    for loop in loops:
        for (u0, v0), (u1, v1) in zip(loop.tolist(), np.roll(loop, -1, axis=0).tolist(), strict=True):
            if v0 != v1:
                inside ^= ((v0 > v) != (v1 > v)) & (u < u0 + (v - v0) * ((u1 - u0) / (v1 - v0)))
    return inside


def plate(loops: Sequence[Loop], depth: float, rounding: float) -> Field:
    """A plate parallel to the xy plane, with the loops as outline, centred on z = 0 with full thickness `depth`.

    The solid is offset by `rounding` on all sides; `depth` includes the offset, the loops do not. Values outside
    are exact. Values inside are exact if `rounding` is 0, otherwise lower bounds near concave corners.
    """
    starts = np.concatenate(loops)
    ends = np.concatenate([np.roll(loop, -1, axis=0) for loop in loops])
    half = depth / 2 - rounding

    def distance(points: Columns) -> Distances:
        x, y, z = points
        flat = _to_edges(x, y, starts, ends)
        flat = np.where(_within(x, y, loops), -flat, flat)
        above = np.abs(z) - half
        outer = np.hypot(np.maximum(flat, 0), np.maximum(above, 0))
        return np.asarray(outer + np.minimum(np.maximum(flat, above), 0) - rounding)

    low = np.array([*starts.min(axis=0), -half]) - rounding
    high = np.array([*starts.max(axis=0), half]) + rounding
    return Field(distance, low, high, True)


def lathe(outline: Loop, rounding: float) -> Field:
    """A solid of revolution about the y axis; the corners of the outline are (radius, height).

    Edges of the outline on the axis close it, but are not part of the surface, so they are ignored for the distance.
    The outline is offset outwards by `rounding`. Values are exact in the same places as those of `plate`.
    """
    starts, ends = outline, np.roll(outline, -1, axis=0)
    surface = (starts[:, 0] > 0) | (ends[:, 0] > 0)
    starts, ends = starts[surface], ends[surface]

    def distance(points: Columns) -> Distances:
        x, y, z = points
        radius = np.hypot(x, z)
        flat = _to_edges(radius, y, starts, ends)
        return np.where(_within(radius, y, [outline]), -flat, flat) - rounding

    radius = float(outline[:, 0].max()) + rounding
    bottom, top = float(outline[:, 1].min()) - rounding, float(outline[:, 1].max()) + rounding
    return Field(distance, np.array([-radius, bottom, -radius]), np.array([radius, top, radius]), True)


def shell(path: Loop, thickness: float) -> Field:
    """The wall of a vessel: an open path of (radius, height) rotated about y, of constant thickness."""
    half = thickness / 2

    def distance(points: Columns) -> Distances:
        x, y, z = points
        return _to_edges(np.hypot(x, z), y, path[:-1], path[1:]) - half

    radius = float(path[:, 0].max()) + half
    bottom, top = float(path[:, 1].min()) - half, float(path[:, 1].max()) + half
    return Field(distance, np.array([-radius, bottom, -radius]), np.array([radius, top, radius]), True)


def curve(knots: Sequence[tuple[float, float]], steps: int) -> Loop:
    """A smooth path of (radius, height) through knots of increasing height: a monotone cubic spline (PCHIP)."""
    radii, heights = np.array(knots, dtype=float).T
    fine = np.linspace(heights[0], heights[-1], steps)
    return np.asarray(np.stack([PchipInterpolator(heights, radii)(fine), fine], axis=1))


def circle(u: float, v: float, radius: float, corners: int) -> Loop:
    """A regular polygon inscribed in a circle."""
    turns = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([u + radius * np.cos(turns), v + radius * np.sin(turns)], axis=1)


def rectangle(u: float, v: float, width: float, height: float) -> Loop:
    """A rectangle centred on (u, v)."""
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return np.asarray(np.array([u, v]) + signs * np.array([width / 2, height / 2]))


def polygon(*corners: tuple[float, float]) -> Loop:
    """A loop with the given corners."""
    return np.array(corners, dtype=float)


def spline(*knots: tuple[float, float], steps: int) -> Loop:
    """A smooth closed loop through knots (periodic Catmull-Rom spline), with `steps` corners for each knot."""
    given = np.array(knots, dtype=float)
    before, after, beyond = (np.roll(given, shift, axis=0) for shift in (1, -1, -2))
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    fine = (
        2 * given[:, None]
        + (after - before)[:, None] * t
        + (2 * before - 5 * given + 4 * after - beyond)[:, None] * t**2
        + (3 * given - before - 3 * after + beyond)[:, None] * t**3
    )
    return np.asarray(fine.reshape(-1, 2) / 2)
