"""Projection of vectors to the plane in which they vary most."""

import numpy as np
import pytest

from sdfkit.analysis import plane
from sdfkit.analysis.plane import fit_plane
from sdfkit.errors import InputError


def fit(vectors):
    uids = [f"row_{row}" for row in range(len(vectors))]
    return fit_plane(vectors.astype(np.float32), uids, "codes.zarr", np.random.default_rng(1))


def rectangle(count, dim, seed=0):
    """Points in a 3:1 rectangle, rotated randomly in space, and their coordinates in the plane."""
    rng = np.random.default_rng(seed)
    flat = rng.standard_normal((count, 2)) * (3.0, 1.0)
    axes = np.linalg.qr(rng.standard_normal((dim, 2)))[0]
    return flat @ axes.T + rng.standard_normal(dim), flat - flat.mean(axis=0)


@pytest.mark.parametrize(("count", "dim"), [(9, 40), (200, 7), (2, 2)])
def test_points_in_a_plane_keep_their_distances(count, dim):
    vectors, flat = rectangle(count, dim)
    found = fit(vectors)
    apart = np.linalg.norm(flat[:, None] - flat, axis=-1)
    assert np.allclose(
        np.linalg.norm(found.coordinates[:, None] - found.coordinates, axis=-1), apart, atol=1e-4
    )
    assert sum(found.shares) == pytest.approx(1, abs=1e-6)
    assert found.shares[0] >= found.shares[1]
    assert np.allclose(found.coordinates.mean(axis=0), 0, atol=1e-6)


def test_randomised_and_exact_projection_agree(monkeypatch):
    vectors, _ = rectangle(60, 50)
    vectors += np.random.default_rng(2).standard_normal(vectors.shape) * 0.05
    exact = fit(vectors)
    monkeypatch.setattr(plane, "EXACT", 10)
    assert np.allclose(fit(vectors).coordinates, exact.coordinates, atol=0.01)
    assert fit(vectors).shares == pytest.approx(exact.shares, abs=1e-3)


def test_equal_vectors_and_one_dimensional_vectors_are_projected():
    assert np.array_equal(fit(np.ones((3, 4))).coordinates, np.zeros((3, 2)))
    assert fit(np.ones((1, 4))).shares == (0.0, 0.0)
    line = fit(np.arange(5.0)[:, None])
    assert np.allclose(line.coordinates, [[-2, 0], [-1, 0], [0, 0], [1, 0], [2, 0]])


def test_a_non_finite_vector_is_named_in_the_error():
    vectors = np.ones((4, 3))
    vectors[2, 1] = np.nan
    with pytest.raises(
        InputError,
        match=r"^codes.zarr: row_2: the vector holds numbers that are not finite; drop it or make it again$",
    ):
        fit(vectors)
