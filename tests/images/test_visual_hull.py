"""The visual hull of posed masks, against shapes whose hull is known."""

import math

import numpy as np
import pytest
import trimesh

from sdfkit.errors import GeometryError
from sdfkit.images.rendering.cameras import fibonacci_cameras, look_at
from sdfkit.images.rendering.rasteriser import render_masks
from sdfkit.images.visual_hull import VisualHull

YFOV = math.radians(55)


def hull_of(mesh, cameras, size=224):
    masks = render_masks(mesh, cameras, yfov=YFOV, size=size)
    return VisualHull(masks, cameras, np.full(len(cameras), YFOV, np.float32))


def test_the_hull_of_a_ball_is_the_ball():
    hull = hull_of(trimesh.creation.icosphere(4, 0.6), fibonacci_cameras(48, 2.5))
    points = np.random.default_rng(0).uniform(-1, 1, (4000, 3))
    distance, exact = hull.distance(points), np.linalg.norm(points, axis=1) - 0.6
    clear = np.abs(exact) > 0.03  # 48 cones leave a little more than the ball
    assert np.array_equal(distance[clear] < 0, exact[clear] < 0)
    near = np.abs(exact) < 0.2
    assert np.abs(distance[near] - exact[near]).max() < 0.05


def test_one_view_bounds_a_cone_and_says_nothing_about_depth():
    camera = look_at(np.array([0, 0, 2.5]), np.zeros(3), np.array([0.0, 1, 0]))[None].astype(np.float32)
    hull = hull_of(trimesh.creation.icosphere(4, 0.5), camera)
    # The cone that touches the ball has the half angle asin(0.5 / 2.5).
    slope = math.tan(math.asin(0.2))
    for depth in (1.6, 2.5, 3.4):
        radii = np.array([0.97, 1.03]) * slope * depth
        points = np.array([[radius, 0, 2.5 - depth] for radius in radii])
        assert (hull.distance(points) < 0).tolist() == [True, False]
        assert np.allclose(hull.distance(points), radii - slope * depth, atol=0.01)


def test_the_hollow_of_a_cup_is_in_the_hull_but_a_hole_is_not():
    torus = trimesh.creation.torus(0.7, 0.2)
    hull = hull_of(torus, fibonacci_cameras(64, 2.5))
    assert hull.distance(np.zeros((1, 3)))[0] > 0.1, "views along the axis show the hole"
    cup = trimesh.creation.annulus(0.35, 0.45, 1.0)
    floor = trimesh.creation.cylinder(
        0.45, 0.1, transform=trimesh.transformations.translation_matrix([0, 0, -0.5])
    )
    side = [look_at(np.array([2.5 * math.cos(a), 2.5 * math.sin(a), 0]), np.zeros(3), np.array([0, 0, 1.0]))
            for a in np.linspace(0, 2 * math.pi, 12, endpoint=False)]  # fmt: skip
    hull = hull_of(trimesh.util.concatenate([cup, floor]), np.array(side, dtype=np.float32))
    assert hull.distance(np.zeros((1, 3)))[0] < -0.2


def test_a_shape_that_leaves_the_image_is_not_cut_at_its_edge():
    camera = look_at(np.array([0, 0, 2.5]), np.zeros(3), np.array([0.0, 1, 0]))[None].astype(np.float32)
    bar = trimesh.creation.box([8, 0.2, 0.2])
    assert hull_of(bar, camera).distance(np.array([[3.0, 0, 0]]))[0] < 0


def test_masks_without_an_outline_and_points_behind_a_camera_are_refused():
    cameras = fibonacci_cameras(2, 2.5)
    yfov = np.full(2, YFOV)
    with pytest.raises(GeometryError, match="view 0: the mask is empty"):
        VisualHull(np.zeros((2, 8, 8), np.uint8), cameras, yfov)
    with pytest.raises(GeometryError, match="too close to the shape; move it away"):
        hull_of(trimesh.creation.icosphere(), cameras).distance(cameras[:1, :3, 3] * 1.1)
