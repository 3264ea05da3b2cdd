"""Extraction of surfaces of exact shapes and random networks, compared with the dense grid."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from skimage.measure import marching_cubes

from sdfkit.errors import GeometryError
from sdfkit.geometry.isosurface.extraction import extract_surface
from sdfkit.models import mlp
from sdfkit.models.deepsdf import PRESETS, DeepSDF, DeepSDFConfig

MARGIN, BATCH = 1.0, 1 << 16


def sphere(radius, centre=(0.0, 0.0, 0.0)):
    return lambda points: np.linalg.norm(points - np.float32(centre), axis=1) - np.float32(radius)


def torus(points):
    ring = np.hypot(points[:, 0], points[:, 2]) - 0.6
    return np.hypot(ring, points[:, 1]) - 0.25


def spoked_wheel(points, rim=0.05, spoke=0.02):
    distances = torus_of(points, 0.8, rim)
    for angle in np.pi * np.arange(7) / 7:
        along = np.array([np.cos(angle), np.sin(angle), 0.0])
        reach = np.clip(points @ along, -0.8, 0.8)
        distances = np.minimum(distances, np.linalg.norm(points - reach[:, None] * along, axis=1) - spoke)
    return distances


def torus_of(points, ring, tube):
    return np.hypot(np.hypot(points[:, 0], points[:, 1]) - ring, points[:, 2]) - tube


def two_balls(points):
    return np.minimum(sphere(0.5, (-0.3, 0, 0))(points), sphere(0.04, (0.7, 0.7, 0.7))(points))


def thin_wheel(points):
    """A wheel whose spokes are a fifth as thick as a cell of the coarsest grid."""
    return spoked_wheel(points, rim=0.02, spoke=0.008)


def clamped(points):
    """A clamped field, as of networks trained with clamped distances: constant far from the surface."""
    return np.clip(thin_wheel(points), -0.1, 0.1)


def tiny_balls(points):
    return np.minimum(sphere(0.03, (-0.7, -0.6, 0.8))(points), sphere(0.03, (0.71, 0.7, 0.7))(points))


def steep(points):
    """A torus whose field has slopes up to 1.9 around the surface."""
    distances = torus(points)
    return distances * (1.4 + 0.5 * np.sin(7 * points[:, 0]) * np.cos(5 * points[:, 1]))


def network(seed):
    """A random ReLU network, added to the field of a sphere so that its surface lies in the cube."""
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


def of_module(forward, seed, slope=None):
    """A random network of sdfkit, shifted so that a fifth of the cube is inside, and scaled to the given slope."""

    def distance(points):
        with torch.inference_mode():
            return forward(torch.from_numpy(points.astype(np.float64))[None])[0].numpy()

    points = np.random.default_rng(seed).uniform(-1, 1, (2000, 3))
    values = distance(points)
    rises = np.abs(distance(points + [1e-4, 0, 0]) - values) / 1e-4
    level, scale = np.quantile(values, 0.2), 1.0 if slope is None else slope / np.quantile(rises, 0.99)
    return lambda points: scale * (distance(points) - level)


SMALL = DeepSDFConfig(code=8, bands=6, hidden=48, layers=4, skip=2, activation="relu")


def deepsdf(config, seed, slope=None):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        decoder = DeepSDF(config).double()
        code = torch.randn(1, config.code).double()
    return of_module(lambda points: decoder(code, points), seed, slope)


def shape_mlp(preset, seed):
    weights = mlp.draw_weights(mlp.PRESETS[preset], 1, torch.Generator().manual_seed(seed))
    return of_module(mlp.MLPs(mlp.PRESETS[preset], weights.double()), seed)


FIELDS = {
    "sphere": sphere(0.7),
    "torus": torus,
    "wheel": spoked_wheel,
    "thin wheel": thin_wheel,
    "clamped": clamped,
    "two balls": two_balls,
    "tiny balls": tiny_balls,
    "clamped tiny balls": lambda points: np.clip(tiny_balls(points), -0.1, 0.1),
    "box": lambda points: np.abs(points).max(axis=1) - np.float32(0.57),
    "steep": steep,
    "ten times a distance": lambda points: 10 * spoked_wheel(points),
    "outside the cube": sphere(1.2),
    "network 0": network(0),
    "network 1": network(1),
}
NETWORKS = {
    "256x4": lambda: deepsdf(PRESETS["256x4"], 0),
    "slope 1.5": lambda: deepsdf(SMALL, 2, 1.5),
    "slope 3": lambda: deepsdf(SMALL, 3, 3.0),
    "slope 10": lambda: deepsdf(SMALL, 4, 10.0),
    "relu-pe": lambda: shape_mlp("relu-pe", 0),
    "siren": lambda: shape_mlp("siren", 0),
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


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [20, 50, 96])
@pytest.mark.parametrize("name", FIELDS)
def test_sparse_extraction_equals_dense_marching_cubes(name, resolution):
    mesh, evaluated = extract(FIELDS[name], resolution)
    vertices, faces = dense_surface(FIELDS[name], resolution)
    assert np.array_equal(mesh.faces, faces)
    assert np.array_equal(mesh.vertices, vertices)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0
    assert evaluated <= (resolution + 1) ** 3


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("256x4", marks=pytest.mark.slow), *list(NETWORKS)[1:]])
def test_sparse_extraction_equals_dense_marching_cubes_for_random_networks(name):
    distance = NETWORKS[name]()
    mesh, evaluated = extract(distance, 48)
    vertices, faces = dense_surface(distance, 48)
    assert np.array_equal(mesh.faces, faces)
    # Matrix products differ in the last bit with the size of the batch.
    assert np.allclose(mesh.vertices, vertices, rtol=0, atol=1e-6)
    assert evaluated < 49**3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wheel", "steep"])
def test_few_points_are_evaluated(name):
    _, evaluated = extract(FIELDS[name], 256)
    assert evaluated * 35 < 257**3


@pytest.mark.slow
def test_few_points_are_evaluated_for_a_ball_of_radius_1():
    # The ends of crossed edges alone are a fiftieth of the grid.
    _, evaluated = extract(sphere(1.0), 256)
    assert evaluated * 35 < 257**3


def test_marching_cubes_in_slabs_equals_one_run_on_the_whole_grid():
    """Random values produce every case of marching cubes, also where slabs meet; this grid has two slabs."""
    noise = np.random.default_rng(0).normal(size=(47, 47, 47)).astype(np.float32)

    def look_up(points):
        return noise[tuple(np.rint((points.astype(np.float64) + 1) * 23).astype(int).T)]

    mesh, evaluated = extract(look_up, 46)
    vertices, faces = dense_surface(look_up, 46)
    assert evaluated == 47**3
    assert np.array_equal(mesh.faces, faces)
    assert np.array_equal(mesh.vertices, vertices)


@pytest.mark.slow
def test_all_corners_of_ambiguous_cells_are_evaluated():
    def lattice(points):
        return np.sin(9.3 * points[:, 0]) + np.sin(8.1 * points[:, 1]) * np.sin(7.7 * points[:, 2])

    mesh, _ = extract(lattice, 100)
    vertices, faces = dense_surface(lattice, 100)
    assert np.array_equal(mesh.faces, faces)
    assert np.array_equal(mesh.vertices, vertices)


@pytest.mark.slow
def test_the_number_of_evaluations_grows_with_the_square_of_the_resolution():
    counts = [extract(torus, resolution)[1] for resolution in (96, 192)]
    assert counts[1] < 4.2 * counts[0]


def test_vertices_lie_on_the_surface_in_the_unit_frame():
    mesh, _ = extract(torus, 64)
    assert mesh.euler_number == 0
    assert np.abs(torus(mesh.vertices)).max() < 0.1 * 2 / 64
    assert np.allclose(mesh.bounds, [[-0.85, -0.25, -0.85], [0.85, 0.25, 0.85]], atol=2 / 64)


def test_a_shape_beyond_the_cube_is_closed_by_the_sides_of_the_cube():
    mesh, _ = extract(lambda points: points[:, 0] + points[:, 1] - np.float32(0.51), 40)
    assert mesh.is_watertight
    assert mesh.euler_number == 2
    assert np.allclose(mesh.bounds, [[-1, -1, -1], [1, 1, 1]], atol=1e-4)
    assert mesh.volume == pytest.approx(2 * (4 - 1.49**2 / 2), rel=1e-4)


def test_the_function_is_called_with_limited_batches_inside_the_cube():
    def distance(points):
        assert 0 < len(points) <= 1000
        assert points.dtype == np.float32
        assert np.abs(points).max() <= 1
        return torus(points)

    mesh, evaluated = extract_surface(distance, resolution=50, margin=MARGIN, batch=1000)
    again, _ = extract(torus, 50)
    assert np.array_equal(mesh.vertices, again.vertices)
    assert evaluated > 1000


def test_distances_of_zero_at_nodes_do_not_create_coinciding_vertices():
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
def test_a_function_without_zero_crossing_is_an_error(offset, message):
    with pytest.raises(GeometryError, match=message):
        extract(sphere(-offset), 48)


@pytest.mark.slow
@pytest.mark.parametrize("margin", [0.05, 0.3])
@pytest.mark.parametrize("field", [torus, spoked_wheel, steep], ids=["torus", "wheel", "steep"])
def test_the_surface_is_complete_even_with_a_margin_that_is_too_small(field, margin):
    mesh, evaluated = extract_surface(field, resolution=96, margin=margin, batch=BATCH)
    assert evaluated < extract(field, 96)[1]
    assert np.array_equal(mesh.faces, dense_surface(field, 96)[1])


@pytest.mark.parametrize("margin", [0.05, 1.0])
def test_a_function_that_is_much_steeper_outside_is_extracted_completely(margin):
    def skewed(points):
        return spoked_wheel(points) * np.where(spoked_wheel(points) > 0, 10, 0.05)

    mesh, _ = extract_surface(skewed, resolution=96, margin=margin, batch=BATCH)
    assert np.array_equal(mesh.faces, dense_surface(skewed, 96)[1])
