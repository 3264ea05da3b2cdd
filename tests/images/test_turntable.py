"""Images of a rotating shape."""

import numpy as np
import pytest
import trimesh

from sdfkit.errors import GeometryError
from sdfkit.images.turntable import cut_out, draw_turntable, turntable_cameras


def test_a_square_prism_looks_the_same_after_a_quarter_turn():
    prism = trimesh.creation.box((0.6, 1.4, 0.6))
    pictures = draw_turntable(prism, views=4, size=48)
    assert pictures.shape == (4, 48, 48, 4)
    # Samples on edges may be covered or not.
    assert np.count_nonzero((pictures != pictures[:1]).any(axis=-1)) < 4 * 12


def test_the_whole_unit_sphere_is_visible():
    sphere = trimesh.creation.icosphere(subdivisions=3)
    (picture,) = draw_turntable(sphere, views=1, size=64)
    opacity = picture[..., 3]
    radius = 32 / np.tan(np.radians(23)) / np.sqrt(2.6**2 - 1)
    assert opacity.sum() / 255 == pytest.approx(np.pi * radius**2, rel=0.01)


def test_the_camera_moves_to_the_right_at_constant_height():
    eyes = turntable_cameras(8)[:, :3, 3]
    assert np.allclose(np.linalg.norm(eyes, axis=1), 2.6)
    assert np.allclose(eyes[:, 1], eyes[0, 1])
    assert np.all(np.cross(np.roll(eyes, 1, axis=0), eyes)[:, 1] > 0)


def test_dividing_by_the_opacity_restores_the_colours():
    mask = np.array([[[0, 64, 128, 255]]], np.uint8)
    rgb = np.rint(np.array([200, 100, 40]) * (mask[..., None] / 255)).astype(np.uint8)
    assert np.abs(cut_out(rgb, mask)[0, 0, 1:, :3].astype(int) - [200, 100, 40]).max() <= 2
    assert np.array_equal(cut_out(rgb, mask)[..., 3], mask)


def test_a_mesh_without_area_is_refused():
    needle = trimesh.Trimesh([[0, -1, 0], [0, 1, 0], [0, 0, 0]], [[0, 1, 2]], process=False)
    with pytest.raises(
        GeometryError, match="^no view shows any face of the mesh; check that its faces have an area"
    ):
        draw_turntable(needle, views=1, size=16)
