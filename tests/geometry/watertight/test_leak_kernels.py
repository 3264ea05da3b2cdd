"""Lengths of shortest paths on a grid."""

import numpy as np
import pytest

from sdfkit.geometry.watertight.leak_kernels import path_lengths

SHAPE = np.array([21, 21, 5])


def lengths_from(seed, allowed, reach=100.0):
    seeds = np.zeros(SHAPE, dtype=bool)
    seeds[seed] = True
    return path_lengths(SHAPE, seeds.ravel(), allowed.ravel(), reach).reshape(SHAPE)


def test_lengths_in_free_space_are_distances():
    free = np.ones(SHAPE, dtype=bool)
    nodes = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    exact = np.linalg.norm(nodes - [4, 7, 2], axis=-1)
    assert np.allclose(lengths_from((4, 7, 2), free), exact, atol=1e-5)
    assert np.array_equal(np.isinf(lengths_from((4, 7, 2), free, reach=6.0)), exact > 6.0)


def test_paths_go_around_the_end_of_a_wall():
    """A straight line through the wall would be 4 long. It sealed creases on the outer side of thin walls."""
    allowed = np.ones(SHAPE, dtype=bool)
    allowed[10, :15] = False
    lengths = lengths_from((8, 5, 2), allowed)
    # Over nodes (9, 15), (10, 15) and (11, 15).
    assert lengths[12, 5, 2] == pytest.approx(np.hypot(1, 10) + 2 + np.hypot(1, 10), rel=1e-6)
    assert np.isinf(lengths[10, 5, 2])


def test_nodes_that_no_path_reaches_are_infinitely_far():
    allowed = np.ones(SHAPE, dtype=bool)
    allowed[10] = False
    lengths = lengths_from((8, 5, 2), allowed)
    assert np.isfinite(lengths[:10]).all() and np.isinf(lengths[10:]).all()
