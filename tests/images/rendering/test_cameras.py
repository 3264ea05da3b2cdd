import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.errors import GeometryError
from sdfkit.images.rendering.cameras import (
    check_outside,
    fibonacci_cameras,
    intrinsics,
    look_at,
    silhouette_share,
)

UP = np.array([0.0, 1.0, 0.0])
coordinate = st.floats(-3, 3, allow_subnormal=False)
point = st.tuples(coordinate, coordinate, coordinate).map(np.array)


@given(point, point, st.floats(0.1, 10))
def test_look_at_is_a_right_handed_rotation_that_faces_the_target(eye, target, length):
    if np.linalg.norm(eye - target) < 1e-3:
        return
    camera = look_at(eye, target, length * UP)
    rotation = camera[:3, :3]
    assert np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)
    ahead = np.linalg.inv(camera) @ np.append(target, 1)
    assert np.allclose(ahead, [0, 0, -np.linalg.norm(eye - target), 1], atol=1e-6)
    assert camera[1, 1] >= -1e-9  # +Y of the world is upwards in the image
    assert abs(camera[1, 0]) < 1e-6 or abs(rotation[1, 2]) > 0.999  # the horizon is level


@pytest.mark.parametrize("pole", [1.0, -1.0])
def test_look_at_works_along_the_vertical_axis(pole):
    camera = look_at(np.array([0, 2.5 * pole, 0]), np.zeros(3), UP)
    assert np.linalg.det(camera[:3, :3]) == pytest.approx(1)
    assert np.allclose(camera[:3, 2], [0, pole, 0])


def test_look_at_refuses_a_target_at_the_camera():
    with pytest.raises(GeometryError, match="position equals the point that it looks at"):
        look_at(UP, UP, UP)


@given(st.integers(1, 100), st.floats(1.1, 10))
def test_every_camera_sees_the_origin_at_the_centre(count, distance):
    cameras = fibonacci_cameras(count, distance)
    assert cameras.shape == (count, 4, 4)
    assert cameras.dtype == np.float32
    origin = np.linalg.inv(cameras.astype(np.float64))[:, :3, 3]
    assert np.allclose(origin, [0, 0, -distance], atol=1e-5 * distance)
    column, row, depth = intrinsics(0.9, 320, 240) @ origin.T
    assert np.allclose(depth, distance, rtol=1e-5)
    assert np.allclose(column / depth, 160, atol=0.01)
    assert np.allclose(row / depth, 120, atol=0.01)


def test_row_zero_is_the_top_and_column_zero_the_left():
    yfov = 1.0
    edge = math.tan(yfov / 2)
    matrix = intrinsics(yfov, 320, 240)
    column, row, depth = matrix @ [-edge * 320 / 240 * 2, edge * 2, -2]
    assert (column, row, depth) == pytest.approx((0, 0, 2))
    column, row, depth = matrix @ [edge * 320 / 240 * 2, -edge * 2, -2]
    assert (column / depth, row / depth) == pytest.approx((320, 240))


@pytest.mark.parametrize(
    ("degrees", "kept", "whole"),
    [(47.2, 1.0, True), (47.1, 1.0, False), (53.2, 0.875, True), (53.0, 0.875, False), (45.0, 1.0, False)],
)
def test_the_share_of_the_unit_sphere_in_view_at_distance_2_5_is_correct(degrees, kept, whole):
    share = silhouette_share(2.5, math.radians(degrees), 224, 224, (kept, kept))
    assert (share == 1.0) is whole
    assert share > 0.97


@given(st.floats(1.1, 5), st.floats(0.2, 2.5), st.integers(50, 400), st.integers(50, 400), st.floats(0.3, 1))
def test_the_visible_share_agrees_with_counting_rays(distance, yfov, width, height, kept):
    edge = math.tan(yfov / 2)
    x, y = np.meshgrid(
        np.linspace(-1, 1, 401) * edge * width / height * kept, np.linspace(-1, 1, 401) * edge * kept
    )
    # A ray meets the sphere where its angle to the line of sight is at most asin(1 / distance).
    hit = np.hypot(x, y) <= math.tan(math.asin(1 / distance))
    box = 4 * edge**2 * width / height * kept**2
    disc = math.pi / (distance**2 - 1)
    share = silhouette_share(distance, yfov, width, height, (kept, kept))
    assert share * disc / box == pytest.approx(hit.mean(), abs=0.01)


def test_cameras_inside_the_unit_sphere_are_refused():
    check_outside(fibonacci_cameras(5, 1.06))
    cameras = fibonacci_cameras(5, 2.5)
    cameras[3, :3, 3] /= 5
    with pytest.raises(
        GeometryError,
        match=r"view 3: the camera at distance 0\.5 from the origin is inside .* of 1\.05 or more",
    ):
        check_outside(cameras)
