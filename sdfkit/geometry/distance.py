"""Exact distances from points to a mesh, and which side of it they are on."""

import numpy as np
from jaxtyping import Float, Int

from sdfkit.errors import GeometryError
from sdfkit.geometry import distance_kernels as kernels


class TriangleTree:
    """A tree of boxes over triangles, built once and asked many times.

    The triangles are taken as they are. Corners at exactly the same place count as one vertex wherever it
    matters which triangles touch, so a soup that is closed in space is closed here.

    Args:
        vertices: Positions; all must be finite.
        faces: Three vertices each, counter-clockwise seen from outside. Faces without area are allowed.

    Raises:
        GeometryError: No faces, or a vertex that is NaN or infinite.
    """

    def __init__(self, vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]) -> None:
        if len(faces) == 0:
            raise GeometryError("no faces: there is nothing to measure a distance to")
        corners = vertices.astype(np.float64)[faces]
        if not np.isfinite(corners).all():
            raise GeometryError("vertices are NaN or infinite: export the shape again")
        bounds = np.empty((len(faces), 6), dtype=np.float32)
        # Outwards, so that a box in float32 holds its triangle in float64.
        np.nextafter(corners.min(axis=1).astype(np.float32), np.float32(-np.inf), out=bounds[:, :3])
        np.nextafter(corners.max(axis=1).astype(np.float32), np.float32(np.inf), out=bounds[:, 3:])
        self._order, self._boxes, self._children = kernels.build(bounds)
        self._corners = corners[self._order].reshape(-1, 9)

    def closest(
        self, points: Float[np.ndarray, "point 3"]
    ) -> tuple[Float[np.ndarray, " point"], Int[np.ndarray, " point"], Float[np.ndarray, "point 3"]]:
        """Find the nearest place of the mesh for each point.

        Args:
            points: Positions anywhere.

        Returns:
            The distance (0 or more, float64), the face it is measured to (a row of `faces`; where several are
            equally near, one of them), and the nearest place on that face (float64).
        """
        distance, face, _, closest = self._nearest(_own(points))
        return distance, self._order[face], closest

    def _nearest(
        self, points: Float[np.ndarray, "point 3"]
    ) -> tuple[
        Float[np.ndarray, " point"],
        Int[np.ndarray, " point"],
        Int[np.ndarray, " point"],
        Float[np.ndarray, "point 3"],
    ]:
        """As `closest`, with faces in the order of the leaves, and which feature of the face is nearest."""
        squared, face, feature, closest = kernels.nearest(
            points, _visit(points), self._corners, self._boxes, self._children
        )
        return np.sqrt(squared), face, feature, closest


def _own(points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "point 3"]:
    """The layout that the kernels are compiled for."""
    return np.require(points, dtype=np.float64, requirements=["C", "W"])


def _visit(points: Float[np.ndarray, "point 3"]) -> Int[np.ndarray, " point"]:
    """An order in which points that are near each other follow each other."""
    low = points.min(axis=0, initial=np.inf)
    extent = float((points.max(axis=0, initial=-np.inf) - low).max())
    return np.argsort(kernels.morton_codes(points, low, extent or 1.0), kind="stable")
