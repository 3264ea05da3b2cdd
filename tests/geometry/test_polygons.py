"""Triangulation of polygons with known areas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sdfkit.geometry.polygons import fan_covers, make_fan, triangulate
from tests.properties import examples

SQUARE = [(0, 0), (3, 0), (3, 3), (0, 3)]
# The fan around its corner 0 also covers the notch.
NOTCHED = [(0, 0), (3, 0), (3, 3), (2, 3), (2, 1), (1, 1), (1, 3), (0, 3)]
# A slit leads from the outline to the hole and back.
WITH_HOLE = [*SQUARE, (0, 0), (1, 1), (1, 2), (2, 2), (2, 1), (1, 1)]
# Concave at corner 1, so that the diagonal from corner 0 lies outside.
DART = [(0, 0), (1, 1), (2, 0), (1, 3)]
TOUCHING = [(0, 0), (4, 0), (4, 2), (3, 2), (2, 0), (1, 2), (0, 2)]
PINCHED = [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (1, 2), (1, 1), (0, 1)]

seeds = st.integers(0, 2**32 - 1)


def in_space(outline, rng=None):
    """Return the polygon in the plane z = 0 or, given a generator, in a random plane; and the normal of the plane."""
    points = np.column_stack([np.array(outline, dtype=float), np.zeros(len(outline))])
    if rng is None:
        return points, np.array([0, 0, 1])
    turn = Rotation.random(random_state=rng.integers(2**31)).as_matrix()
    return points @ turn.T + rng.normal(size=3), turn[:, 2]


def signed_areas(points, triangles, normal):
    a, b, c = np.moveaxis(points[triangles], 1, 0)
    return np.cross(b - a, c - a) @ normal / 2


def shoelace(outline):
    x, y = np.array(outline, dtype=float).T
    return (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2


def crossing(p, q, r, s):
    def side(a, b, c):
        return np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    return side(p, q, r) != side(p, q, s) and side(r, s, p) != side(r, s, q)


def simple_polygon(rng, count):
    """A polygon through random points without self-intersections: crossing edges are exchanged until there are none."""
    points = rng.random((count, 2))
    edges = [(i, j) for i in range(count) for j in range(i + 2, count - (i == 0))]
    while True:
        crosses = (
            (i, j) for i, j in edges if crossing(points[i], points[i + 1], points[j], points[(j + 1) % count])
        )
        found = next(crosses, None)
        if found is None:
            return points if shoelace(points) > 0 else points[::-1]
        i, j = found
        points[i + 1 : j + 1] = points[i + 1 : j + 1][::-1].copy()


def ring_edges(count):
    return sorted((corner, (corner + 1) % count) for corner in range(count))


def outer_edges(triangles):
    edges = {(int(t[k]), int(t[(k + 1) % 3])) for t in triangles for k in range(3)}
    assert len(edges) == 3 * len(triangles), "no edge is used twice in one direction"
    return sorted(edge for edge in edges if edge[::-1] not in edges)


@examples(60)
@given(seeds, st.integers(3, 20), st.booleans())
def test_simple_polygons_are_covered_once_in_their_orientation(seed, count, reverse):
    rng = np.random.default_rng(seed)
    outline = simple_polygon(rng, count)
    points, normal = in_space(outline, rng)
    if reverse:
        points, normal = points[::-1], -normal
    triangles = triangulate(points)
    areas = signed_areas(points, triangles, normal)
    assert triangles.shape == (count - 2, 3)
    assert areas.min() > -1e-12
    assert areas.sum() == pytest.approx(shoelace(outline), rel=1e-9)
    assert outer_edges(triangles) == ring_edges(count), "a closed mesh stays closed"


@examples(30)
@given(seeds, st.integers(4, 12))
def test_the_first_corner_of_a_polygon_does_not_change_the_covered_area(seed, count):
    outline = simple_polygon(np.random.default_rng(seed), count)
    for start in range(count):
        points, normal = in_space(np.roll(outline, start, axis=0))
        triangles = triangulate(points)
        assert triangles.shape == (count - 2, 3)
        areas = signed_areas(points, triangles, normal)
        assert np.abs(areas).sum() == pytest.approx(areas.sum()) == pytest.approx(shoelace(outline))


@examples(50)
@given(seeds, st.integers(3, 12), st.integers(1, 3))
def test_convex_polygons_become_fans(seed, count, parts):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # Each edge in several parts: corners on a line are not concave.
    outline = np.concatenate(
        [
            np.linspace(a, b, parts, endpoint=False)
            for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)
        ]
    )
    points, _ = in_space(outline, rng)
    assert fan_covers(points[None])[0]
    assert np.array_equal(triangulate(points), make_fan(len(points)))


@pytest.mark.parametrize(
    ("outline", "area"),
    [(NOTCHED, 7), (WITH_HOLE, 8), (DART, 2), (TOUCHING, 6), (PINCHED, 2)],
    ids=["notched", "with hole", "dart", "touching", "pinched"],
)
@pytest.mark.parametrize("start", range(7))
def test_concave_polygons_are_covered_once(outline, area, start):
    points, normal = in_space([*outline[start:], *outline[:start]])
    areas = signed_areas(points, triangulate(points), normal)
    assert np.abs(areas).sum() == pytest.approx(areas.sum()) == pytest.approx(area)


def test_a_warped_polygon_is_cut_as_its_projection():
    points, normal = in_space(NOTCHED)
    points[:, 2] = 0.1 * np.random.default_rng(0).normal(size=len(points))
    triangles = triangulate(points)
    assert outer_edges(triangles) == ring_edges(len(points))
    assert signed_areas(points, triangles, normal).sum() == pytest.approx(7)


def test_spikes_and_repeated_corners_get_no_triangles():
    spiked = [(0, 0), (3, 0), (3, 3), (2, 1), (2, 5), (2, 1), (0, 3)]
    repeated = [(0, 0), (1, 1), (1, 1), (2, 0), (1, 3)]
    for outline, used in ((spiked, 5), (repeated, 4)):
        points, normal = in_space(outline)
        triangles = triangulate(points)
        areas = signed_areas(points, triangles, normal)
        assert areas.min() > 0 and areas.sum() == pytest.approx(shoelace(outline))
        assert len(triangles) == used - 2


@pytest.mark.parametrize(
    "outline",
    [
        [(0, 0), (2, 2), (2, 0), (0, 2)],  # crosses itself; both halves have the same area
        [(0, 0), (2, 2), (2, 0), (0, 1)],
        [(0, 0), (1, 0), (2, 0), (3, 0)],
        [(0, 0)] * 5,
        [(0, 0), (1, 1), (2, 0), (np.nan, 3)],
        [(0, 0), (1, 1), (2, 0), (np.inf, 3)],
        [(0, 0), (1e200, 1e200), (2e200, 0), (1e200, 3e200)],
        [(0, 0), (1, 0), (0, 1)],
    ],
)
def test_polygons_that_cannot_be_cut_become_fans(outline):
    points, _ = in_space(outline)
    assert np.array_equal(triangulate(points), make_fan(len(points)))
