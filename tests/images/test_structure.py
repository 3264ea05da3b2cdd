import numpy as np

from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.structure import draw_depth, draw_normals


def test_depth_is_scaled_from_the_front_to_the_back_of_the_unit_sphere():
    cameras = fibonacci_cameras(1, 2.5)
    depth = np.array([[[0, 1.5, 2.5, 3.5]]], np.float32)
    drawn = draw_depth(depth, cameras)
    assert drawn.dtype == np.uint8
    assert drawn[0, 0, :, 0].tolist() == [0, 255, 153, 51]
    assert (drawn == drawn[..., :1]).all()
    assert np.array_equal(draw_depth(depth + (depth > 0), fibonacci_cameras(1, 3.5)), drawn)


def test_normals_are_encoded_as_colours_on_black():
    normal = np.array([[[[0, 0, 0], [1, 0, 0], [0, -1, 0], [0, 0.6, -0.8]]]], np.float32)
    expected = [[0, 0, 0], [255, 128, 128], [128, 0, 128], [128, 204, 25]]
    assert np.abs(draw_normals(normal)[0, 0].astype(int) - expected).max() <= 1, "rounding of halves"
