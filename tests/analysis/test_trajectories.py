"""Lengths, steps and silhouette overlaps of trajectories with known values."""

import numpy as np
import pytest

from sdfkit.analysis.trajectories import measure_trajectories
from sdfkit.errors import InputError


def straight(shapes=3, steps=5, dim=6):
    rng = np.random.default_rng(0)
    start, end = rng.standard_normal((2, shapes, 1, dim)).astype(np.float32)
    share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return (1 - share) * start + share * end


def squares(sides, size=8):
    pictures = np.zeros((len(sides), size, size), np.uint8)
    for picture, side in zip(pictures, sides, strict=True):
        picture[:side, :side] = 255
    return pictures


def measure(trajectory, silhouette, truth):
    uids = [f"obj_{row}" for row in range(len(trajectory))]
    return measure_trajectories(trajectory, silhouette, truth, uids, "steps.zarr")


def test_a_straight_trajectory_is_projected_to_equal_collinear_steps():
    trajectory = straight()
    found = measure(trajectory, np.zeros((3, 5, 8, 8), np.uint8), None)
    assert np.allclose(np.diff(found.coordinates, n=2, axis=1), 0, atol=1e-5)
    assert np.allclose(found.norm, np.linalg.norm(trajectory, axis=-1))
    length = np.linalg.norm(trajectory[:, -1] - trajectory[:, 0], axis=-1)
    assert np.allclose(found.moved, length[:, None] * [0, 0.25, 0.25, 0.25, 0.25], atol=1e-5)
    assert found.iou is None


def test_silhouette_overlap_is_the_iou_of_the_areas():
    silhouette = squares([0, 2, 4, 8])[None]
    found = measure(straight(1, 4), silhouette, squares([4]))
    assert np.array_equal(found.iou, [[0, 4 / 16, 1, 16 / 64]])
    # Two empty silhouettes have an overlap of 1; a coverage of one half counts as covered.
    found = measure(straight(1, 4), silhouette // 255 * np.uint8(127), squares([0]))
    assert np.array_equal(found.iou, [[1, 1, 1, 1]])


def test_a_non_finite_step_is_named_in_the_error():
    trajectory = straight()
    trajectory[1, 3, 0] = np.inf
    with pytest.raises(
        InputError, match="^steps.zarr: obj_1, step 3: the vector holds numbers that are not finite"
    ):
        measure(trajectory, np.zeros((3, 5, 8, 8), np.uint8), None)
