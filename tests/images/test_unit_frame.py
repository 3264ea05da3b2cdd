"""The unit frame from silhouettes: of balls and boxes, whose silhouettes are known."""

import math

import numpy as np
import pytest
import trimesh

from sdfkit.errors import GeometryError
from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.rendering.rasteriser import render_views
from sdfkit.images.unit_frame import find_unit_frame

YFOV = math.radians(60)
FIELDS = np.full(12, YFOV)
CAMERAS = fibonacci_cameras(12, 2.5)
# A wedge in the unit frame: not symmetrical, and its farthest vertex at distance 1 from the centre of its box.
WEDGE = trimesh.convex.convex_hull(
    [(0.8, 0, 0.6), (0.8, 0, -0.6), (-0.8, 0.5, 0), (-0.8, -0.5, 0.4), (0.2, -0.5, 0)]
)
WEDGE.apply_translation(-WEDGE.bounds.mean(axis=0))
WEDGE.apply_scale(1 / np.linalg.norm(WEDGE.vertices, axis=1).max())


def draw(mesh, cameras):
    return render_views(
        mesh, cameras, yfov=YFOV, size=96, crease=0.7, cull=False, depth=False, normal=False, paint=None
    ).mask


MASKS = draw(WEDGE, CAMERAS)


def moved(cameras, scale, offset):
    """Return cameras of a world that is a scaled and moved unit frame."""
    world = cameras.astype(np.float64)
    world[:, :3, 3] = scale * world[:, :3, 3] + offset
    return world


@pytest.mark.parametrize(("scale", "offset"), [(3, (20, 0, -5)), (0.01, (0, 0, 0)), (1.5, (0.3, 0.2, 0))])
def test_a_moved_world(scale, offset):
    frame = find_unit_frame(MASKS, moved(CAMERAS, scale, offset), FIELDS)
    assert np.array_equal(frame[:3, :3], frame[0, 0] * np.eye(3))
    assert frame[0, 0] == pytest.approx(scale, rel=0.03)
    assert np.abs(frame[:3, 3] - offset).max() < 0.05 * scale


def test_cameras_in_the_unit_frame_are_kept():
    for count in (1, 2, 5, 12):
        assert np.array_equal(
            find_unit_frame(MASKS[:count], moved(CAMERAS[:count], 1, 0), FIELDS[:count]), np.eye(4)
        )


def test_a_small_object_in_the_unit_ball_is_enlarged():
    small = WEDGE.copy().apply_scale(0.5)
    frame = find_unit_frame(draw(small, CAMERAS), moved(CAMERAS, 1, 0), FIELDS)
    assert frame[0, 0] == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_pictures_to_know_the_size(count):
    near = moved(fibonacci_cameras(200, 2.5)[100 : 100 + count], 3, (5, 0, 0))
    masks = draw(WEDGE, fibonacci_cameras(200, 2.5)[100 : 100 + count])
    if count == 2:  # two cameras side by side
        near[1] = near[0]
        near[1, :3, 3] += 0.01 * near[1, :3, 0]
        masks[1] = masks[0]
    with pytest.raises(
        GeometryError, match="do not tell how far away and how large it is; give pictures from more"
    ):
        find_unit_frame(masks, near, FIELDS[:count])


def test_an_empty_mask():
    with pytest.raises(GeometryError, match="a mask is empty; remove its picture"):
        find_unit_frame(np.zeros((1, 8, 8), np.uint8), CAMERAS[:1].astype(float), FIELDS[:1])
