"""The paper's particles: closed, and doubled, as its own measurements show."""

import numpy as np
import pytest
import trimesh
from trimesh.creation import icosphere

from sdfkit.errors import GeometryError
from sdfkit.geometry.pieces import label_pieces
from sdfkit.geometry.watertight.particles import RADIUS, polygonise_particles

VOXEL = 2 / 48


def wrap(mesh, points=40_000):
    return polygonise_particles(mesh, resolution=48, points=points, rng=np.random.default_rng(0))


def test_a_sphere_becomes_two_shells_at_the_radius_of_the_particles():
    mesh = wrap(icosphere(4, radius=0.8))
    assert mesh.is_volume
    assert mesh.euler_number == 4
    outer = label_pieces(mesh) == label_pieces(mesh)[np.linalg.norm(mesh.vertices, axis=1).argmax()]
    radius = np.linalg.norm(mesh.vertices, axis=1)
    assert np.allclose(radius[outer], 0.8 + RADIUS * VOXEL, atol=0.3 * VOXEL)
    assert np.allclose(radius[~outer], 0.8 - RADIUS * VOXEL, atol=0.3 * VOXEL)


def test_a_sheet_becomes_a_plate():
    sheet = trimesh.Trimesh(
        [[-0.5, 0, -0.5], [0.5, 0, -0.5], [0.5, 0, 0.5], [-0.5, 0, 0.5]], [[0, 1, 2], [0, 2, 3]]
    )
    mesh = wrap(sheet)
    assert mesh.is_volume
    assert mesh.euler_number == 2
    assert mesh.extents[1] == pytest.approx(2 * RADIUS * VOXEL, rel=0.05)


def test_no_area():
    line = trimesh.Trimesh([[0, 0, 0], [0.5, 0, 0], [1, 0, 0]], [[0, 1, 2]], process=False)
    with pytest.raises(
        GeometryError, match="has no area: there are no faces, or the corners of each lie on a line"
    ):
        wrap(line)
