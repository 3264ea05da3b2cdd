"""Pieces of a mesh that its closed surface lacks."""

from typing import NamedTuple

import numpy as np
import trimesh

from sdfkit.geometry.distance.tree import TriangleTree
from sdfkit.geometry.pieces import measure_pieces

# In cells. Pieces with a longer diagonal are never lost, and pieces nearer than the distance are merged with others.
SMALL, NEAR = 3.0, 1.5


class Losses(NamedTuple):
    """Connected pieces of a mesh that are outside its closed surface."""

    lost: int
    """Number of lost pieces."""
    pieces: int
    """Number of all pieces."""
    share: float
    """Share of the area that the lost pieces have."""


def measure_losses(mesh: trimesh.Trimesh, closed: trimesh.Trimesh, cell: float) -> Losses:
    """Count the pieces that are lost because they are about as small as a grid cell.

    Pieces inside the closed surface are hidden and not lost.

    Args:
        mesh: Any mesh with at least one face.
        closed: The closed surface of `mesh`, in the same frame.
        cell: Distance between the nodes of the grid on which it was computed.
    """
    pieces = measure_pieces(mesh)
    small = (np.linalg.norm(pieces.high - pieces.low, axis=1) < SMALL * cell) & (pieces.area > 0)
    lost = np.flatnonzero(small)
    if len(lost):
        tree = TriangleTree(np.asarray(closed.vertices), np.asarray(closed.faces))
        distance = tree.signed(0.5 * (pieces.low + pieces.high)[small], "winding")
        lost = lost[distance > NEAR * cell]
    area = pieces.area
    return Losses(len(lost), int(np.count_nonzero(area > 0)), float(area[lost].sum() / area.sum()))
