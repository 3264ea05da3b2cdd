import numpy as np
import pytest

from sdfkit.errors import GeometryError
from sdfkit.geometry.isosurface.extraction import mesh_grid
from sdfkit.geometry.isosurface.grid import interpolate_grid
from tests.training.balls import ball_grid


def test_a_linear_function_is_interpolated_exactly():
    u, v, w = np.meshgrid(*[np.linspace(-1, 1, 5, dtype=np.float32)] * 3, indexing="ij")
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, 9, dtype=np.float32)] * 3, indexing="ij")
    assert np.allclose(interpolate_grid(u - 2 * v + 3 * w), x - 2 * y + 3 * z, atol=1e-6)


def test_the_nodes_of_the_coarse_grid_keep_their_values():
    values = np.random.default_rng(0).normal(size=(4, 4, 4)).astype(np.float32)
    fine = interpolate_grid(values)
    assert fine.shape == (7, 7, 7) and np.array_equal(fine[::2, ::2, ::2], values)


@pytest.mark.parametrize("nodes", [16, 33])
def test_the_mesh_of_the_grid_of_a_ball_is_a_closed_sphere(nodes):
    centre = np.array([0.2, -0.1, 0.1])
    mesh = mesh_grid(ball_grid(centre, 0.6, nodes))
    assert mesh.is_watertight and mesh.euler_number == 2 and mesh.volume > 0
    assert np.allclose(np.linalg.norm(mesh.vertices - centre, axis=1), 0.6, atol=0.02)


@pytest.mark.parametrize(("value", "message"), [(1.0, "never cross 0"), (np.nan, "not finite")])
def test_a_grid_without_a_surface_is_refused(value, message):
    with pytest.raises(GeometryError, match=f"no surface: .*{message}"):
        mesh_grid(np.full((9, 9, 9), value, np.float32))
