import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.geometry.sphere import GOLDEN_ANGLE, fibonacci_sphere


@given(st.integers(1, 500))
def test_points_lie_on_the_sphere_in_order_of_decreasing_height(count):
    points = fibonacci_sphere(count)
    assert points.shape == (count, 3)
    assert np.allclose(np.linalg.norm(points, axis=-1), 1)
    assert np.all(np.diff(points[:, 1]) < 0)


def test_points_are_evenly_spread():
    points = fibonacci_sphere(64)
    assert np.linalg.norm(points.mean(axis=0)) < 0.01
    # The integral of x x^T over the sphere is a third of the identity.
    assert np.allclose(points.T @ points / 64, np.eye(3) / 3, atol=0.01)
    cosine = points @ points.T - 2 * np.eye(64)
    nearest = np.arccos(cosine.max(axis=1))
    # 64 points can be at most about 0.476 apart; a random draw has pairs at less than 0.1.
    assert nearest.min() > 0.3
    assert nearest.max() < 0.5


def test_step_start_and_offset_rotate_the_points_about_the_axis():
    plain = fibonacci_sphere(50)
    turned = fibonacci_sphere(50, step=GOLDEN_ANGLE, start=0.5, offset=0.7)
    assert np.array_equal(turned[:, 1], plain[:, 1])
    azimuth = [np.arctan2(points[:, 2], points[:, 0]) for points in (plain, turned)]
    angle = (azimuth[1] - azimuth[0]) % (2 * math.pi)
    assert angle == pytest.approx(GOLDEN_ANGLE / 2 + 0.7)
    mirrored = fibonacci_sphere(50, step=2 * math.pi - GOLDEN_ANGLE)
    assert np.allclose(mirrored, plain * [1, 1, -1])
