"""Distances and signs against closed forms and against a search through every triangle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdfkit.errors import GeometryError
from sdfkit.geometry.distance import TriangleTree


def soup(triangles: np.ndarray) -> TriangleTree:
    return TriangleTree(triangles.reshape(-1, 3), np.arange(3 * len(triangles)).reshape(-1, 3))


def to_segment(a: np.ndarray, b: np.ndarray, points: np.ndarray) -> np.ndarray:
    along, length = (points - a) @ (b - a), (b - a) @ (b - a)
    share = np.clip(along / length, 0, 1) if length > 0 else np.zeros(len(points))
    return np.linalg.norm(points - a - share[:, None] * (b - a), axis=1)


def by_search(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance through every triangle: to its three edges, and to its plane where the foot falls inside."""
    best = np.full(len(points), np.inf)
    for corners in triangles:
        sides = list(zip(corners, np.roll(corners, -1, axis=0), strict=True))
        best = np.min([best, *(to_segment(a, b, points) for a, b in sides)], axis=0)
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        if np.linalg.norm(normal) > 1e-9:
            normal /= np.linalg.norm(normal)
            height = (points - corners[0]) @ normal
            foot = points - height[:, None] * normal
            inside = np.all([np.cross(b - a, foot - a) @ normal >= 0 for a, b in sides], axis=0)
            best = np.where(inside, np.minimum(best, np.abs(height)), best)
    return best


def with_degenerate(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random triangles, among them a point, two segments, and one with corners in line up to rounding."""
    triangles = rng.normal(size=(count + 4, 3, 3))
    triangles[0] = triangles[0, 0]
    triangles[1, 2] = triangles[1, 0]
    triangles[2, 2] = (triangles[2, 0] + triangles[2, 1]) / 2
    triangles[3] = np.outer([0, 1, 3], [1 / 3, 1 / 7, 1 / 9])
    return triangles


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_closest_agrees_with_a_search_through_every_triangle(count, seed):
    rng = np.random.default_rng(seed)
    triangles = with_degenerate(rng, count)
    points = 2 * rng.normal(size=(50, 3))
    distance, face, place = soup(triangles).closest(points)
    assert np.allclose(distance, by_search(triangles, points), rtol=0, atol=1e-12)
    assert np.allclose(np.linalg.norm(points - place, axis=1), distance, rtol=0, atol=1e-12)
    onto = [by_search(triangles[f : f + 1], p[None])[0] for f, p in zip(face, place, strict=True)]
    assert np.max(onto) < 1e-12


def test_many_coinciding_triangles_still_make_a_tree():
    triangles = np.repeat(np.random.default_rng(0).normal(size=(1, 3, 3)), 1000, axis=0)
    points = np.random.default_rng(1).normal(size=(20, 3))
    assert np.allclose(
        soup(triangles).closest(points)[0], by_search(triangles[:1], points), rtol=0, atol=1e-12
    )


def test_no_points_give_no_distances():
    distance, face, place = soup(np.eye(3)[None]).closest(np.zeros((0, 3)))
    assert distance.shape == (0,) and face.shape == (0,) and place.shape == (0, 3)


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (np.eye(3), np.zeros((0, 3), dtype=int), "no faces: there is nothing to measure"),
        (np.diag([1, 1, np.nan]), np.arange(3)[None], "vertices are NaN or infinite"),
    ],
)
def test_what_has_no_distance_is_refused(vertices, faces, message):
    with pytest.raises(GeometryError, match=message):
        TriangleTree(vertices, faces)
