"""Exact distances from points to a mesh, and which side of it they are on."""

from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from sdfkit.errors import GeometryError
from sdfkit.geometry.distance import distance_kernels, sign_kernels

Sign = Literal["normal", "winding", "scan"]

# A part of the mesh is taken as one dipole from this many of its radii away.
ACCURACY = 3.0
# By "scan" a point is outside when it sees the outside along this many of so many directions. On 30 raw furniture
# models, judged by their closed versions, 0.24 % of the points were wrong for 1 in 100, 0.12 % for 2 in 100 and
# 0.11 % for 5 in 256 (by winding number 5.4 %, by normal 8.5 %). At 1 in 32 bottoms of bins begin to count as inside.
DIRECTIONS = 100
ENOUGH = 2


class _Topology(NamedTuple):
    faces: Int[np.ndarray, "face 3"]
    start: Int[np.ndarray, " start"]
    incident: Int[np.ndarray, " incident"]
    normals: Float[np.ndarray, "place 3"]
    regular: Bool[np.ndarray, " place"]


class _Nearest(NamedTuple):
    distance: Float[np.ndarray, " point"]
    face: Int[np.ndarray, " point"]  # in the order of the leaves
    feature: Int[np.ndarray, " point"]  # which corner or edge of it
    closest: Float[np.ndarray, "point 3"]


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
        corners = np.asarray(vertices, dtype=np.float64)[faces]
        if not np.isfinite(corners).all():
            raise GeometryError("vertices are NaN or infinite: export the shape again")
        bounds = np.empty((len(faces), 6), dtype=np.float32)
        # Outwards, so that a box in float32 holds its triangle in float64.
        np.nextafter(corners.min(axis=1).astype(np.float32), np.float32(-np.inf), out=bounds[:, :3])
        np.nextafter(corners.max(axis=1).astype(np.float32), np.float32(np.inf), out=bounds[:, 3:])
        self._order = np.arange(len(faces), dtype=np.int32)
        boxes = np.empty((len(faces), 2, 6), dtype=np.float32)
        children = np.empty((len(faces), 2), dtype=np.int32)
        nodes = distance_kernels.build(bounds, self._order, boxes, children)
        self._boxes, self._children = boxes[:nodes].copy(), children[:nodes].copy()
        self._corners = corners[self._order].reshape(-1, 9)
        self._vertices, self._faces = vertices, faces

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
        points, order = _along_curve(points)
        nearest = self._nearest(points)
        return (
            _restore(nearest.distance, order),
            _restore(self._order[nearest.face], order),
            _restore(nearest.closest, order),
        )

    @cached_property
    def closed(self) -> bool:
        """Whether the faces enclose volume without holes: each edge is run as often one way as the other."""
        faces, _, _, _, regular = self._topology
        if regular.all():
            return True
        suspect = faces[~regular[faces].all(axis=1)].astype(np.int64)
        ends = np.concatenate([suspect[:, [0, 1]], suspect[:, [1, 2]], suspect[:, [2, 0]]])
        ends = ends[~regular[ends].any(axis=1)]  # an edge at a regular vertex is shared by two
        low, high = ends.min(axis=1), ends.max(axis=1)
        _, edge = np.unique(low * len(regular) + high, return_inverse=True)
        runs = np.bincount(edge, weights=np.sign(ends[:, 1] - ends[:, 0]))
        return not runs.any()

    def signed(self, points: Float[np.ndarray, "point 3"], sign: Sign) -> Float[np.ndarray, " point"]:
        """Measure the distance of each point, negative inside.

        Args:
            points: Positions anywhere.
            sign: "normal" looks at which side of the nearest feature a point is on: exact on a closed surface
                that does not cut itself, and wrong behind a hole or inside overlapping parts. "winding" asks
                how often the surface winds around a point, more than half being inside: right for
                overlapping closed parts (whose hidden faces still count as near), and a good guess for a
                surface with holes whose faces all look outwards. "scan" looks around from the point, and what
                sees the outside is outside: the best guess where faces look either way or hide within, at
                ten times the cost. It takes for inside what few see, as the bottom of a deep crevice or a
                closed cavity, and for outside what large holes lay open.

        Returns:
            Signed distances, float64.

        Reference: for "scan" the depth sign of mesh-to-sdf (Kleineberg, 2020), which draws what is seen from
            outside; here rays look back from each point, so that no picture's resolution blurs the surface.
        """
        distance, inside = self.sides(points, (sign,))
        return np.where(inside[0], -distance, distance)

    def sides(
        self, points: Float[np.ndarray, "point 3"], signs: tuple[Sign, ...]
    ) -> tuple[Float[np.ndarray, " point"], Bool[np.ndarray, "sign point"]]:
        """Measure distances once and tell the sides in several ways, so that they can be compared.

        Args:
            points: Positions anywhere.
            signs: Ways to tell the inside, as in `signed`.

        Returns:
            The distance (0 or more, float64), and which points are inside by each of the ways.
        """
        points, order = _along_curve(points)
        nearest = self._nearest(points)
        inside = {
            "normal": lambda: self._by_normal(points, nearest),
            "winding": lambda: self._by_winding(points, nearest),
            "scan": lambda: self._by_scan(points),
        }
        return _restore(nearest.distance, order), np.array(
            [_restore(inside[sign](), order) for sign in signs]
        )

    def _by_scan(self, points: Float[np.ndarray, "point 3"]) -> Bool[np.ndarray, " point"]:
        seen: Bool[np.ndarray, " point"] = sign_kernels.seen(
            points, _directions(DIRECTIONS), ENOUGH, self._corners, self._boxes, self._children
        )
        return ~seen

    def _by_winding(
        self, points: Float[np.ndarray, "point 3"], nearest: _Nearest
    ) -> Bool[np.ndarray, " point"]:
        # Between closed surfaces the number is constant, so one point answers for all in its empty ball.
        clear = nearest.distance if self.closed else np.zeros_like(nearest.distance)
        return self._winding(points, clear) > 0.5

    def _by_normal(
        self, points: Float[np.ndarray, "point 3"], nearest: _Nearest
    ) -> Bool[np.ndarray, " point"]:
        faces, start, incident, normals, regular = self._topology
        # The theorem needs a plain surface around the nearest feature. Where a closed mesh has none (parts
        # that touch, faces without area) the winding number decides.
        trusted = regular if self.closed else np.ones_like(regular)
        side = sign_kernels.pseudonormal_sign(
            points,
            nearest.closest,
            nearest.face,
            nearest.feature,
            self._corners,
            faces,
            start,
            incident,
            normals,
            trusted,
        )
        inside: Bool[np.ndarray, " point"] = side < 0
        doubtful = np.flatnonzero(side == 0)
        inside[doubtful] = self.winding(points[doubtful]) > 0.5
        return inside

    def winding(self, points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, " point"]:
        """Count how often the surface winds around each point: 1 inside, 0 outside, between them near holes.

        Parts that are far from a point, measured in their own size, are summed up: this is off by 0.01 in the
        mean and 0.04 at worst.

        Args:
            points: Positions anywhere.

        Returns:
            Generalised winding numbers, float64.

        Reference: Jacobson et al., Robust Inside-Outside Segmentation using Generalized Winding Numbers
            (2013); Barill et al., Fast Winding Numbers for Soups and Clouds (2018).
        """
        points, order = _along_curve(points)
        return _restore(self._winding(points, np.zeros(len(points))), order)

    def _winding(
        self, points: Float[np.ndarray, "point 3"], clear: Float[np.ndarray, " point"]
    ) -> Float[np.ndarray, " point"]:
        numbers: Float[np.ndarray, " point"] = sign_kernels.winding(
            points, clear, self._corners, self._dipoles, self._children, ACCURACY
        )
        return numbers

    @cached_property
    def _dipoles(self) -> Float[np.ndarray, "node 2 8"]:
        far: Float[np.ndarray, "node 2 8"] = sign_kernels.dipoles(self._corners, self._boxes, self._children)
        return far

    @cached_property
    def _topology(self) -> _Topology:
        """Which faces meet where, with vertices at the same place made one."""
        place, count = _merge(self._vertices)
        faces = place[self._faces[self._order]]
        degree = np.bincount(faces.ravel(), minlength=count)
        start = np.concatenate([[0], np.cumsum(degree)]).astype(np.int32)
        incident = np.empty(faces.size, dtype=np.int32)
        normals, regular = np.zeros((count, 3)), np.ones(count, dtype=bool)
        scratch = np.empty((3, count), dtype=np.int32)
        sign_kernels.topology(self._corners, faces, start, incident, normals, regular, scratch)
        return _Topology(faces, start, incident, normals, regular)

    def _nearest(self, points: Float[np.ndarray, "point 3"]) -> _Nearest:
        squared, face, feature, closest = distance_kernels.nearest(
            points, self._corners, self._boxes, self._children
        )
        return _Nearest(np.sqrt(squared), face, feature, closest)


def _directions(count: int) -> Float[np.ndarray, "direction 3"]:
    """Directions all around, evenly on a Fibonacci spiral, each run of them spread over the whole sphere."""
    turn = (np.sqrt(5) - 1) / 2
    index = np.argsort(np.arange(count) * turn % 1)
    height = 1 - (2 * index + 1) / count
    angle = 2 * np.pi * turn * (index + 0.25)  # none lies along an axis
    across = np.sqrt(1 - height * height)
    return np.stack([across * np.cos(angle), height, across * np.sin(angle)], axis=1)


def _along_curve(
    points: Float[np.ndarray, "point 3"],
) -> tuple[Float[np.ndarray, "point 3"], Int[np.ndarray, " point"]]:
    """The points in an order in which neighbours follow each other, in float64, and their rows.

    What was found for one is then a good guess for the next, and what it touched still lies in the cache.
    """
    points = np.require(points, dtype=np.float64, requirements="C")
    low = points.min(axis=0, initial=np.inf)
    extent = float((points.max(axis=0, initial=-np.inf) - low).max())
    order = np.argsort(distance_kernels.morton_codes(points, low, extent or 1.0))
    return points[order], order


def _restore(found: np.ndarray, order: Int[np.ndarray, " point"]) -> np.ndarray:
    """Put what was found along the curve back into the order that was asked for."""
    restored = np.empty_like(found)
    restored[order] = found
    return restored


def _merge(vertices: Float[np.ndarray, "vertex 3"]) -> tuple[Int[np.ndarray, " vertex"], int]:
    """Number the places that vertices stand in, and count them."""
    order = np.lexsort(vertices.T)
    ranked = vertices[order]
    moved = (ranked[1:] != ranked[:-1]).any(axis=1)
    place = np.empty(len(vertices), dtype=np.int32)
    place[order] = np.concatenate([[0], np.cumsum(moved)])
    return place, int(place.max()) + 1
