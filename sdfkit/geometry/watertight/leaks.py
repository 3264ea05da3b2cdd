"""Flood fill from outside, and the openings through which it should not pass.

Fields hold the distance of each node to the surface minus the offset, in cells, and are negative where it is solid.
"""

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from sdfkit.geometry.sphere import fibonacci_sphere
from sdfkit.geometry.watertight import leak_kernels
from sdfkit.geometry.watertight.caps import Caps
from sdfkit.geometry.watertight.flood import reached_from_border

# A cavity is sealed only where it is wider than its opening by this factor.
WIDER = 1.25
# Widths of openings that are searched, relative to the widest, in this order.
OPENINGS = (0.25, 0.5, 1.0)

# Wider openings are searched on a coarse grid with at most this many nodes along its longest side,
COARSE = 64
# with balls whose radius grows from this, in coarse cells, by this factor.
SMALLEST, GROWTH = 2.0, 1.3
# They are sealed if they are at most this share of the boundary of their cavity. A hole of 3 % of a sphere measures
# 0.027 to 0.036 here, one of 4 % 0.039 to 0.049, the neck of a vase 0.042 to 0.050, the open side of a cube 0.17.
OPEN = 0.04
# More than this share of the rays from within must cross the wall an odd number of times: a bottle whose wall has an
# inner and an outer surface is complete.
ODD = 0.5
# Nodes this far from the seam, in coarse cells, are certainly on their side of it.
CLEAR = 1.5
# Distance by which the seam is moved outwards, in coarse cells. A seam exactly in the middle runs along the inside of
# the wall near the rim, and leaves small handles there.
OUTWARDS = 0.25
POINTS, RAYS = 12, 12
# Sheets nearer to each other than this, in cells, count as one doubled sheet.
DOUBLED = 0.1


def seal_gaps(
    field: Float[np.ndarray, "x y z"],
    outside: Bool[np.ndarray, "x y z"],
    caps: Caps,
    opening: float,
    offset: float,
) -> bool:
    """Close openings narrower than 2 `opening` cells that lead into wider cavities, in place.

    A ball of radius `opening` that rolls in from the border cannot enter such a cavity, although it fits inside. The
    opening is closed by the caps of the mesh if these fit, and by a seam otherwise. The seam consists of the points at
    equal distance from the ball's possible positions outside and inside, so it lies across the hole and nowhere else. A
    morphological closing would instead fill every concave corner.

    Args:
        field: Distance minus offset; made negative behind the seam.
        outside: Nodes that are connected with the border.
        caps: The caps of the mesh that `field` was computed from.
        opening: Half the width of the widest opening to close, in cells.
        offset: The offset, in cells.

    Returns:
        Whether there were any.
    """
    balls = outside & (field > opening - offset)
    labels, pieces = ndimage.label(balls)
    leaks = np.zeros(pieces + 1, dtype=bool)
    leaks[labels[field > WIDER * opening - offset]] = True
    leaks[[0, labels[0, 0, 0]]] = False
    if not leaks.any():
        return False
    core, cavities = labels == labels[0, 0, 0], leaks[labels]
    del labels
    cavities &= ~caps.close(outside, balls, cavities, 1, opening)
    if not cavities.any():
        return True
    shape = np.array(field.shape)
    # The seam is nearer than this; nodes farther away are cut off by it.
    reach = 2 * opening + 2
    to_cavity = leak_kernels.path_lengths(shape, cavities.ravel(), outside.ravel(), reach)
    near = np.isfinite(to_cavity)
    to_core = leak_kernels.path_lengths(shape, core.ravel() & near, near, 2 * reach)
    seam = 0.5 * (to_cavity[near] - np.minimum(to_core[near], 2 * reach))
    near = near.reshape(field.shape)
    field[near] = np.minimum(field[near], np.maximum(seam, -offset))
    return True


def seal_missing_pieces(
    field: Float[np.ndarray, "x y z"],
    outside: Bool[np.ndarray, "x y z"],
    triangles: Float[np.ndarray, "triangle corner xyz"],
    caps: Caps,
    offset: float,
) -> bool:
    """Close openings of any width that look like missing pieces of a wall of single sheets, in place.

    Balls of growing radius roll in from the border. A cavity that a ball fits into but cannot reach lies behind an
    opening narrower than itself, which no straight vessel or tube does. It is sealed, by caps or by a seam as in
    `seal_gaps`, if the opening is a small share of the boundary of the cavity, and if the wall of the cavity is a
    single sheet.

    Args:
        field: Distance minus offset; made negative behind the seam.
        outside: Nodes that are connected with the border.
        triangles: The triangles, in grid coordinates.
        caps: The caps of the mesh that `field` was computed from.
        offset: The offset, in cells.

    Returns:
        Whether there were any.

    Reference: Nooruddin and Turk, Simplification and Repair of Polygonal Models Using Volumetric Techniques (2003), for
        the parity of rays.
    """
    step = -(-max(field.shape) // COARSE)
    free = _coarsen(outside, step)
    inner = np.zeros(free.shape, dtype=bool)
    inner[1:-1, 1:-1, 1:-1] = True
    clearance = ndimage.distance_transform_edt(free)
    radius, sealed = SMALLEST, False
    while WIDER * radius < clearance[inner].max(initial=0.0):
        labels, _ = ndimage.label((clearance > radius) | ~inner)
        wide = np.unique(labels[inner & (clearance > WIDER * radius)])
        for label in wide[wide != labels[0, 0, 0]]:
            core = labels == label
            seam = _seam(free, core, radius)
            cavity = seam < 0
            # Weights that fall linearly sum to 1 across the seam, wherever it lies between the nodes of the grid.
            opening = np.maximum(1 - np.abs(seam), 0).sum()
            # The layer of cells next to the wall measures the area of the wall.
            wall = np.count_nonzero(cavity & (clearance > 1) & (clearance <= 2))
            if opening > OPEN * (opening + wall):
                continue
            nodes = np.argwhere(core)
            points = step * nodes[:: -(-len(nodes) // POINTS)] + 0.5 * (step - 1)
            if leak_kernels.odd_rays(points, _directions(RAYS), triangles, DOUBLED) > ODD:
                capped = caps.close(outside, (clearance > radius) & inner, core, step, step * radius)
                if capped.any():
                    cavity = capped
                else:
                    _lay(field, outside, free, seam, step, offset)
                free &= ~cavity
                clearance = ndimage.distance_transform_edt(free)
                sealed = True
        radius *= GROWTH
    return sealed


def _coarsen(free: Bool[np.ndarray, "x y z"], step: int) -> Bool[np.ndarray, "i j k"]:
    """Return which blocks of `step` nodes a side consist of free nodes only."""
    for axis in range(3):
        free = np.logical_and.reduceat(free, np.arange(0, free.shape[axis], step), axis=axis)
    return free


def _seam(
    free: Bool[np.ndarray, "i j k"], cavity: Bool[np.ndarray, "i j k"], radius: float
) -> Float[np.ndarray, "i j k"]:
    """Compute half the difference of each node's distances to the cavity and to positions of balls from outside.

    It is in coarse cells, negative on the side of the cavity, and infinite far from the cavity.
    """
    margin = math.ceil(radius)
    free, cavity = np.pad(free, margin, constant_values=True), np.pad(cavity, margin)
    core = reached_from_border(ndimage.distance_transform_edt(free) > radius)
    shape, reach = np.array(free.shape), 2 * radius + 2
    to_cavity = leak_kernels.path_lengths(shape, cavity.ravel(), free.ravel(), reach)
    to_core = leak_kernels.path_lengths(shape, core.ravel(), free.ravel(), 2 * reach)
    seam = 0.5 * (to_cavity - np.minimum(to_core, 2 * reach))
    return np.asarray(seam.reshape(shape)[(slice(margin, -margin),) * 3])


def _lay(
    field: Float[np.ndarray, "x y z"],
    outside: Bool[np.ndarray, "x y z"],
    free: Bool[np.ndarray, "i j k"],
    seam: Float[np.ndarray, "i j k"],
    step: int,
    offset: float,
) -> None:
    """Make the field negative on the cavity's side of the seam, in place.

    Nodes well behind or before the seam are known. The nodes between, and those in coarse cells that contain a part of
    the wall, are assigned to the nearer side, so that holes too small for the coarse grid are closed as well.
    """
    inside = np.argwhere(seam < 0)
    low, high = np.maximum(inside.min(axis=0) - 4, 0), inside.max(axis=0) + 5
    rough = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    fine = tuple(slice(a * step, b * step) for a, b in zip(low, high, strict=True))
    allowed = outside[fine]
    shape = np.array(allowed.shape)
    lengths: list[Float[np.ndarray, " between"]] = []
    for side in (seam < -CLEAR, free & ~(seam <= CLEAR)):
        seeds = side[rough]
        for axis in range(3):
            seeds = np.repeat(seeds, step, axis=axis).take(range(shape[axis]), axis=axis)
        seeds &= allowed
        found = leak_kernels.path_lengths(shape, seeds.ravel(), allowed.ravel(), 4.0 * step)
        found = found.reshape(allowed.shape)
        if not lengths:
            field[fine][seeds] = -offset
            between = np.isfinite(found) & ~seeds
        lengths.append(np.minimum(found[between], 4 * step))
        del found
    nearer = 0.5 * (lengths[0] - lengths[1]) - OUTWARDS * step
    field[fine][between] = np.minimum(field[fine][between], np.maximum(nearer, -offset))


def _directions(count: int) -> Float[np.ndarray, "direction 3"]:
    """Return unit vectors in all directions, none along an axis."""
    points = fibonacci_sphere(count, step=np.pi * (1 + 5**0.5), start=0.5, offset=0.7)
    return np.ascontiguousarray(points[:, [0, 2, 1]])
