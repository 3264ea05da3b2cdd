"""Cross-sections of the samples of a shape, coloured by sign."""

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from sdfkit.errors import GeometryError

# Number of cells along each side of the cube. The usual 100,000 uniform samples are 0.4 per cell.
CELLS = 64
# Distance from the surface at which the strength of colours has fallen to 1/e.
FADE = 0.2
INSIDE, OUTSIDE = (33.0, 102.0, 172.0), (230.0, 130.0, 50.0)
PAPER = 255.0


def draw_slices(
    point: Float[np.ndarray, "sample 3"], distance: Float[np.ndarray, " sample"], *, slices: int
) -> UInt8[np.ndarray, "slice 64 64 3"]:
    """Draw evenly spaced cross-sections of a shape, from the back (-Z) to the front: blue inside, orange outside.

    The colour of a cell is the mean over the samples in it; a cell without samples has the colour of the nearest cell
    with samples. A cell with
    samples of both signs, as in a wall thinner than a cell, mixes both colours. Colours fade with the distance from
    the surface.

    Args:
        point: Sample points in the query cube, from -1 to 1 along each axis; points outside the cube are ignored.
        distance: Signed distances of the points, negative inside.
        slices: Number of cross-sections. An odd number includes the middle of the cube.

    Raises:
        GeometryError: No sample lies in the cube, or samples are not finite.
    """
    if not (np.isfinite(point).all() and np.isfinite(distance).all()):
        raise GeometryError("some samples are not finite numbers; sample the shape again")
    within = (np.abs(point) <= 1).all(axis=1)
    if not within.any():
        raise GeometryError(
            "no sample lies in the cube from -1 to 1; sample the shape again, in its unit frame"
        )
    place = ((point[within] + 1) * (CELLS / 2)).astype(np.int64).clip(0, CELLS - 1)
    cell = np.ravel_multi_index((place[:, 2], CELLS - 1 - place[:, 1], place[:, 0]), (CELLS,) * 3)
    sums = [
        np.bincount(cell, values, CELLS**3).reshape((CELLS,) * 3)
        for values in (None, distance[within] < 0, np.abs(distance[within]))
    ]
    depths = np.linspace(0, CELLS, slices + 2)[1:-1].astype(np.int64)
    nearest = ndimage.distance_transform_edt(sums[0] == 0, return_distances=False, return_indices=True)
    source = tuple(axis[depths] for axis in nearest)
    count, inside, gap = (total[source] for total in sums)
    share = (inside / count)[..., None]
    strength = np.exp(-gap / count / FADE)[..., None]
    color = share * np.array(INSIDE) + (1 - share) * np.array(OUTSIDE)
    picture: np.ndarray = np.rint(PAPER + (0.15 + 0.85 * strength) * (color - PAPER)).astype(np.uint8)
    return picture
