"""What a flood from outside reaches, and where it should not have come in.

Fields are in cells: how much farther than the offset a node is from the surface, negative where it is solid.
"""

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from sdfkit.geometry.watertight import leak_kernels

# A cavity is sealed only where it is wider than its opening by this factor.
WIDER = 1.25
# Widths of openings that are looked for, as shares of the widest, in this order.
OPENINGS = (0.25, 0.5, 1.0)

# Wider openings are looked for on a grid of this many nodes along its longest side at most,
COARSE = 64
# with balls that grow from this radius, in coarse cells, by this factor.
SMALLEST, GROWTH = 2.0, 1.3
# They are sealed where they are at most this share of the boundary of their cavity. 3 % of a sphere, missing in
# one place, measure 0.028 to 0.040 here, 4 % measure 0.050; the neck of a vase is 0.044, the open side of a cube 0.17.
OPEN = 0.042
# The wall must be crossed an odd number of times by more than this share of the rays from within: a bottle
# whose wall has an inside and an outside lacks nothing.
ODD = 0.5
# Nodes this far from the seam, in coarse cells, are on their side of it for sure.
CLEAR = 1.5
# How far the seam is moved outwards, in coarse cells. Where it lies exactly between the two sides it runs along the
# inside of the wall near the rim, and leaves small handles there.
OUTWARDS = 0.25
POINTS, RAYS = 12, 12
# Sheets nearer to each other than this, in cells, are one sheet that is doubled.
DOUBLED = 0.1


def reached_from_border(free: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """The free nodes that are connected with the first one."""
    labels, _ = ndimage.label(free)
    return np.asarray(labels == labels[0, 0, 0], dtype=bool)


def seal_gaps(
    field: Float[np.ndarray, "x y z"], outside: Bool[np.ndarray, "x y z"], opening: float, offset: float
) -> bool:
    """Close openings narrower than 2 `opening` cells that lead into wider cavities, in place; were there any?

    A ball of radius `opening` rolling in from the border stays out of such a cavity, though it fits inside.
    The seam is laid where the places for balls outside and inside are equally far, which is across the hole
    and nowhere else: closing everything that the ball cannot touch would blur every concave corner.
    """
    labels, pieces = ndimage.label(outside & (field > opening - offset))
    leaks = np.zeros(pieces + 1, dtype=bool)
    leaks[labels[field > WIDER * opening - offset]] = True
    leaks[[0, labels[0, 0, 0]]] = False
    if not leaks.any():
        return False
    core, cavities = labels == labels[0, 0, 0], leaks[labels]
    del labels
    shape = np.array(field.shape)
    # Beyond this the seam has been passed; what lies farther in is cut off by it.
    reach = 2 * opening + 2
    squared = leak_kernels.spread(shape, cavities.ravel(), outside.ravel(), reach)
    near = np.isfinite(squared)
    to_cavity = np.sqrt(squared[near])
    del squared, cavities
    squared = leak_kernels.spread(shape, core.ravel() & near, near, 2 * reach)
    seam = 0.5 * (to_cavity - np.sqrt(np.minimum(squared[near], (2 * reach) ** 2)))
    near = near.reshape(field.shape)
    field[near] = np.minimum(field[near], np.maximum(seam, -offset))
    return True


def seal_missing_pieces(
    field: Float[np.ndarray, "x y z"],
    outside: Bool[np.ndarray, "x y z"],
    triangles: Float[np.ndarray, "triangle corner xyz"],
    offset: float,
) -> bool:
    """Close openings of any width that a closed wall of single sheets has by mistake, in place; were there any?

    Balls of growing radius roll in from the border. A cavity that one fits into but cannot reach is behind a
    narrower opening, as no straight vessel or tube is; it is sealed where that opening is a small share of its
    boundary, and its wall a single sheet.

    Reference: Nooruddin and Turk, Simplification and Repair of Polygonal Models Using Volumetric Techniques
        (2003), for the parity of rays.
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
            opening = np.count_nonzero(np.abs(seam) <= 0.5)
            # A layer of one cell is as large as the wall that it lines, whichever way that faces.
            wall = np.count_nonzero(cavity & (clearance > 1) & (clearance <= 2))
            if opening > OPEN * (opening + wall):
                continue
            nodes = np.argwhere(core)
            points = step * nodes[:: -(-len(nodes) // POINTS)] + 0.5 * (step - 1)
            if leak_kernels.odd_rays(points, _directions(RAYS), triangles, DOUBLED) > ODD:
                _lay(field, outside, free, seam, step, offset)
                free &= ~cavity
                clearance = ndimage.distance_transform_edt(free)
                sealed = True
        radius *= GROWTH
    return sealed


def _coarsen(free: Bool[np.ndarray, "x y z"], step: int) -> Bool[np.ndarray, "i j k"]:
    """Blocks of `step` nodes a side that are free throughout."""
    for axis in range(3):
        free = np.logical_and.reduceat(free, np.arange(0, free.shape[axis], step), axis=axis)
    return free


def _seam(
    free: Bool[np.ndarray, "i j k"], cavity: Bool[np.ndarray, "i j k"], radius: float
) -> Float[np.ndarray, "i j k"]:
    """Half of how much farther each node is from the cavity than from where balls from outside come to.

    Infinite where nothing of the cavity comes near. In coarse cells.
    """
    margin = math.ceil(radius)
    free, cavity = np.pad(free, margin, constant_values=True), np.pad(cavity, margin)
    core = reached_from_border(ndimage.distance_transform_edt(free) > radius)
    shape, reach = np.array(free.shape), 2 * radius + 2
    to_cavity = leak_kernels.spread(shape, cavity.ravel(), free.ravel(), reach)
    to_core = leak_kernels.spread(shape, core.ravel(), free.ravel(), 2 * reach)
    seam = 0.5 * (np.sqrt(to_cavity) - np.minimum(np.sqrt(to_core), 2 * reach))
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

    What is well behind the seam and well before it is known; the nodes between, and those of coarse cells that
    the wall runs through, go to the nearer of the two. So holes too small for the coarse grid are closed as well.
    """
    inside = np.argwhere(seam < 0)
    low, high = np.maximum(inside.min(axis=0) - 4, 0), inside.max(axis=0) + 5
    rough = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    fine = tuple(slice(a * step, b * step) for a, b in zip(low, high, strict=True))
    allowed = outside[fine]
    shape = np.array(allowed.shape)
    squared: list[Float[np.ndarray, " between"]] = []
    for side in (seam < -CLEAR, free & ~(seam <= CLEAR)):
        seeds = side[rough]
        for axis in range(3):
            seeds = np.repeat(seeds, step, axis=axis).take(range(shape[axis]), axis=axis)
        seeds &= allowed
        found = leak_kernels.spread(shape, seeds.ravel(), allowed.ravel(), 4.0 * step).reshape(allowed.shape)
        if not squared:
            field[fine][seeds] = -offset
            between = np.isfinite(found) & ~seeds
        squared.append(np.minimum(found[between], 16 * step * step))
        del found
    nearer = 0.5 * (np.sqrt(squared[0]) - np.sqrt(squared[1])) - OUTWARDS * step
    field[fine][between] = np.minimum(field[fine][between], np.maximum(nearer, -offset))


def _directions(count: int) -> Float[np.ndarray, "direction 3"]:
    """Unit vectors all around, from a Fibonacci sphere; along no axis."""
    index = np.arange(count) + 0.5
    z, turn = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index + 0.7
    flat = np.sqrt(1 - z * z)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)
