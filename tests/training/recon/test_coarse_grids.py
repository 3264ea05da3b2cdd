import numpy as np
import pytest

from sdfkit.training.recon.coarse_grids import NODES, interpolate_samples, make_grids
from tests.training.balls import CENTRES, RADII, ball_grid, samples_of, training_samples


@pytest.mark.parametrize(("count", "largest", "mean"), [(2_000, 0.45, 0.07), (30_000, 0.2, 0.03)])
def test_the_distances_of_a_ball_are_interpolated_with_a_small_error(count, largest, mean):
    points, distances, _ = samples_of(CENTRES[1], RADII[1], count)
    error = np.abs(interpolate_samples(points, distances, 17) - ball_grid(CENTRES[1], RADII[1], 17))
    assert error.max() < largest and error.mean() < mean


def test_a_sample_at_a_node_gives_its_value():
    points = np.stack(np.meshgrid(*[np.linspace(-1, 1, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    distances = np.random.default_rng(0).normal(size=27)
    found = interpolate_samples(points, distances, 3)
    assert np.allclose(found, distances.reshape(3, 3, 3), atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_samples_suffice(count):
    found = interpolate_samples(np.zeros((count, 3)), np.full(count, 0.25), 3)
    assert np.array_equal(found, np.full((3, 3, 3), 0.25, np.float32))


def test_grids_of_training_shapes_use_their_windows():
    # With one window of 20 samples, the grid would be much coarser.
    reader = training_samples(2, count=2000, window=20)
    assert reader.windows == 100
    for grid, centre, radius in zip(make_grids(reader, 2), CENTRES, RADII, strict=False):
        assert grid.dtype == np.float16
        assert np.abs(grid - ball_grid(centre, radius, NODES)).mean() < 0.07
