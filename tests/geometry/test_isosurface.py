"""Surfaces of distance functions: exact shapes, random networks, and equality with the dense grid."""

from itertools import pairwise

import numpy as np
import pytest
from skimage.measure import marching_cubes

from sdfkit.errors import GeometryError
from sdfkit.geometry.isosurface import extract_surface

MARGIN, BATCH = 1.5, 1 << 16


def sphere(radius, centre=(0.0, 0.0, 0.0)):
    return lambda points: np.linalg.norm(points - np.float32(centre), axis=1) - np.float32(radius)


def torus(points):
    ring = np.hypot(points[:, 0], points[:, 2]) - 0.6
    return np.hypot(ring, points[:, 1]) - 0.25


def spoked_wheel(points):
    distances = torus_of(points, 0.8, 0.05)
    for angle in np.pi * np.arange(7) / 7:
        along = np.array([np.cos(angle), np.sin(angle), 0.0])
        reach = np.clip(points @ along, -0.8, 0.8)
        distances = np.minimum(distances, np.linalg.norm(points - reach[:, None] * along, axis=1) - 0.02)
    return distances


def torus_of(points, ring, tube):
    return np.hypot(np.hypot(points[:, 0], points[:, 1]) - ring, points[:, 2]) - tube


def two_balls(points):
    return np.minimum(sphere(0.5, (-0.3, 0, 0))(points), sphere(0.04, (0.7, 0.7, 0.7))(points))


def steep(points):
    """A torus whose field bends up to a slope of 1.9 around the surface."""
    distances = torus(points)
    return distances * (1.4 + 0.5 * np.sin(7 * points[:, 0]) * np.cos(5 * points[:, 1]))


def network(seed):
    """A random ReLU network, added to a sphere so that its surface lies in the cube."""
    rng = np.random.default_rng(seed)
    widths = [3, 8, 8, 1]
    layers = [
        (rng.normal(size=(a, b)) * np.sqrt(2 / a), 0.3 * rng.normal(size=b)) for a, b in pairwise(widths)
    ]

    def distance(points):
        # In float64: the last bit of a float32 product depends on the size of the batch.
        hidden = points.astype(np.float64)
        for weight, bias in layers[:-1]:
            hidden = np.maximum(hidden @ weight + bias, 0)
        return sphere(0.6)(points) + 0.4 * (hidden @ layers[-1][0])[:, 0]

    return distance


FIELDS = {
    "sphere": sphere(0.7),
    "torus": torus,
    "wheel": spoked_wheel,
    "two balls": two_balls,
    "steep": steep,
    "outside the cube": sphere(1.2),
    "network 0": network(0),
    "network 1": network(1),
}


def dense_surface(distance, resolution):
    axis = np.linspace(-1, 1, resolution + 1, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    values = np.concatenate([distance(part) for part in np.array_split(points, 16)]).astype(np.float32)
    smallest = np.float32(2e-3 / resolution)
    values = np.where(np.abs(values) < smallest, np.copysign(smallest, values), values)
    values = values.reshape((resolution + 1,) * 3)
    first = 0
    if min(values[[0, -1]].min(), values[:, [0, -1]].min(), values[:, :, [0, -1]].min()) < 0:
        values, first = np.pad(values, 1, constant_values=1.0), 1
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="descent")
    return np.clip((vertices.astype(np.float64) - first) * (2.0 / resolution) - 1.0, -1.0, 1.0), faces


def extract(distance, resolution):
    return extract_surface(distance, resolution=resolution, margin=MARGIN, batch=BATCH)


@pytest.mark.parametrize("resolution", [20, 50, 96])
@pytest.mark.parametrize("name", FIELDS)
def test_the_sparse_surface_is_the_dense_one(name, resolution):
    mesh, evaluated = extract(FIELDS[name], resolution)
    vertices, faces = dense_surface(FIELDS[name], resolution)
    assert np.array_equal(mesh.faces, faces)
    assert np.array_equal(mesh.vertices, vertices)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0
    assert evaluated <= (resolution + 1) ** 3


def test_few_points_are_evaluated():
    _, evaluated = extract(spoked_wheel, 256)
    assert evaluated * 35 < 257**3


def test_a_finer_grid_needs_points_like_a_surface_not_like_a_solid():
    counts = [extract(torus, resolution)[1] for resolution in (96, 192)]
    assert counts[1] < 4.2 * counts[0]


def test_vertices_lie_on_the_surface_in_the_frame():
    mesh, _ = extract(torus, 64)
    assert mesh.euler_number == 0
    assert np.abs(torus(mesh.vertices)).max() < 0.1 * 2 / 64
    assert np.allclose(mesh.bounds, [[-0.85, -0.25, -0.85], [0.85, 0.25, 0.85]], atol=2 / 64)


def test_a_shape_that_leaves_the_cube_ends_at_its_sides():
    mesh, _ = extract(lambda points: points[:, 0] + points[:, 1] - np.float32(0.51), 40)
    assert mesh.is_watertight
    assert mesh.euler_number == 2
    assert np.allclose(mesh.bounds, [[-1, -1, -1], [1, 1, 1]], atol=1e-4)
    assert mesh.volume == pytest.approx(2 * (4 - 1.49**2 / 2), rel=1e-4)


def test_the_function_sees_batches_of_bounded_size_inside_the_cube():
    def distance(points):
        assert 0 < len(points) <= 1000
        assert points.dtype == np.float32
        assert np.abs(points).max() <= 1
        return torus(points)

    mesh, evaluated = extract_surface(distance, resolution=50, margin=MARGIN, batch=1000)
    again, _ = extract(torus, 50)
    assert np.array_equal(mesh.vertices, again.vertices)
    assert evaluated > 1000


def test_distances_of_zero_at_nodes_leave_no_coinciding_vertices():
    mesh, _ = extract(lambda points: np.abs(points).max(axis=1) - np.float32(0.5), 64)
    assert mesh.is_watertight
    assert mesh.euler_number == 2
    assert len(np.unique(mesh.vertices.astype(np.float32), axis=0)) == len(mesh.vertices)


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (-3.0, "no surface: distances run from -3 to -1.27 and never cross 0"),
        (1.0, "no surface: distances run from 1 to 2.73 and never cross 0"),
        (np.nan, "no surface: some distances are not finite numbers"),
    ],
)
def test_no_surface(offset, message):
    with pytest.raises(GeometryError, match=message):
        extract(sphere(-offset), 48)


@pytest.mark.parametrize("field", [torus, spoked_wheel], ids=["torus", "wheel"])
def test_a_surface_that_leaves_the_refined_cells_is_followed(field):
    mesh, evaluated = extract_surface(field, resolution=96, margin=0.3, batch=BATCH)
    assert evaluated < extract(field, 96)[1]
    assert np.array_equal(mesh.faces, dense_surface(field, 96)[1])


@pytest.mark.parametrize("margin", [0.02, 0.3])
def test_a_function_much_steeper_outside_than_allowed_keeps_its_surface(margin):
    def skewed(points):
        return spoked_wheel(points) * np.where(spoked_wheel(points) > 0, 10, 0.05)

    mesh, _ = extract_surface(skewed, resolution=96, margin=margin, batch=BATCH)
    assert np.array_equal(mesh.faces, dense_surface(skewed, 96)[1])
