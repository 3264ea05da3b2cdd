"""Moments, pairs, layers and spectra against direct computations, and the figures of the paper."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.analysis import spectrum, vectors
from sdfkit.analysis.spectrum import measure_spectrum
from sdfkit.analysis.statistics import explain, measure_statistics, scale_counts
from sdfkit.analysis.vectors import (
    Rows,
    capture_by_dims,
    choose_paired,
    implied_std,
    measure_cosines,
    measure_moments,
    measure_parts,
    measure_to_mean,
    random_cosine_density,
)
from sdfkit.errors import InputError


def draw(seed, count, dim=8, centre=0.0):
    return np.random.default_rng(seed).normal(centre, 1, (count, dim)).astype(np.float32)


def uids(count):
    return [f"chair_{row}" for row in range(count)]


def statistics_of(set_of_vectors, parts=()):
    rng = np.random.default_rng(0)
    return measure_statistics(set_of_vectors, uids(len(set_of_vectors)), "x", parts, 1e-4, 50, rng)


def shell(seed, count, dim, norm=13.39, cosine=0.9606):
    """Vectors with nearly equal norms and pairwise cosines, like weights trained from a common anchor."""
    rng = np.random.default_rng(seed)
    anchor = rng.normal(size=dim)
    anchor *= norm * cosine**0.5 / np.linalg.norm(anchor)
    own = rng.normal(size=(count, dim)) * norm * ((1 - cosine) / dim) ** 0.5
    return (anchor + own).astype(np.float32)


@pytest.fixture(params=[1 << 20, 40])
def block(request, monkeypatch):
    """Run a test with all rows in one block, and with blocks of five rows."""
    monkeypatch.setattr(vectors, "BLOCK", request.param)
    if request.param == 40:
        monkeypatch.setattr(vectors, "LEAST_ROWS", 1)
        monkeypatch.setattr(vectors, "LONGEST_BLOCK", 1 << 15)


class Elsewhere:
    """Rows that are generated on request; counts the most rows requested at once."""

    def __init__(self, rows):
        self.shape = rows.shape
        self.rows, self.most = rows, 0

    def __getitem__(self, rows):
        part = self.rows[rows]
        self.most = max(self.most, len(part))
        return part


def test_moments_agree_with_a_direct_computation(block):
    own = draw(0, 43, centre=3)
    moments = measure_moments(own, uids(43), "x")
    exact = own.astype(np.float64)
    unit = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    assert np.allclose(moments.mean, exact.mean(axis=0), atol=1e-12)
    assert np.allclose(moments.variance, exact.var(axis=0), atol=1e-12)
    assert np.allclose(moments.norm, np.linalg.norm(exact, axis=1))
    assert moments.mean_cosine == pytest.approx((unit @ unit.T)[np.triu_indices(43, 1)].mean(), abs=1e-12)
    assert moments.variance_share == pytest.approx(
        exact.var(axis=0).sum() / np.square(exact).sum(axis=1).mean()
    )
    cosine = unit @ exact.mean(axis=0) / np.linalg.norm(exact.mean(axis=0))
    assert np.allclose(measure_to_mean(own, moments.mean), cosine)


@given(st.floats(0.1, 1000), st.integers(0, 50))
def test_moments_stay_accurate_for_vectors_far_from_the_origin(far, seed):
    own = draw(seed, 40)
    moved = (own.astype(np.float64) + far).astype(np.float32)
    found = measure_moments(moved, uids(40), "x").variance
    assert np.allclose(found, moved.astype(np.float64).var(axis=0), rtol=1e-9)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.nan,
            "codes.zarr: chair_7: the vector holds numbers that are not finite; drop it or make it again",
        ),
        (
            np.inf,
            "codes.zarr: chair_7: the vector holds numbers that are not finite; drop it or make it again",
        ),
        (
            0.0,
            "codes.zarr: chair_7: the vector is all zeros, so it has no direction; drop it or make it again",
        ),
    ],
)
def test_zero_vectors_are_named_in_the_error(block, value, message):
    own = draw(13, 9)
    own[7] = value
    with pytest.raises(InputError, match=f"^{message}$"):
        measure_moments(own, uids(9), "codes.zarr")


def test_every_pair_is_counted_exactly_once(block):
    own = draw(1, 33, centre=0.5)
    unit = own.astype(np.float64) / np.linalg.norm(own.astype(np.float64), axis=1, keepdims=True)
    cosines = (unit @ unit.T)[np.triu_indices(33, 1)]
    pairs = measure_cosines(own, 10)
    assert (pairs.rows, pairs.counts.sum(), len(pairs.edges)) == (33, 33 * 16, len(pairs.counts) + 1)
    assert len(pairs.counts) <= 10
    assert (pairs.min, pairs.max) == (pytest.approx(cosines.min()), pytest.approx(cosines.max()))
    expected = np.histogram(cosines, pairs.edges)[0]
    # A cosine on the edge of a bin may belong to either bin.
    assert np.abs(expected - pairs.counts).sum() <= 2


def test_the_number_of_rows_per_block_is_limited():
    elsewhere = Elsewhere(draw(2, 5000, 512))
    assert isinstance(elsewhere, Rows)
    moments = measure_moments(elsewhere, uids(5000), "x")
    measure_to_mean(elsewhere, moments.mean)
    assert elsewhere.most <= vectors.BLOCK // 512


def test_pairing_is_limited_by_memory_but_allows_the_size_of_the_papers_set():
    assert choose_paired(976, 54_785).tolist() == list(range(976))
    assert len(choose_paired(100_000, 54_785)) * 54_785 <= 1 << 25
    assert len(choose_paired(20_000, 64)) == len(choose_paired(100_000, 64)) == 20_000
    assert choose_paired(100_000, 64)[[0, -1]].tolist() == [0, 99_999]


def test_squared_norms_and_variance_shares_of_parts_add_up_to_the_total():
    own = draw(3, 50, 10, centre=2)
    own[:, 7:] = 0
    moments = measure_moments(own, uids(50), "x")
    first, second, third = measure_parts(moments, [("a", 4), ("b", 3), ("c", 3)])
    assert first.variance_share + second.variance_share == pytest.approx(1)
    assert first.norm**2 + second.norm**2 == pytest.approx(np.square(moments.norm).mean())
    exact = own[:, :4].astype(np.float64)
    assert first.std == pytest.approx(exact.var(axis=0).mean() ** 0.5)
    assert first.shared == pytest.approx(
        np.square(exact.mean(axis=0)).sum() / np.square(exact).sum(axis=1).mean()
    )
    assert (third.norm, third.shared, third.variance_share, third.std) == (0, None, 0, 0)


@pytest.mark.parametrize("shape", [(30, 12), (12, 30)])
def test_the_spectrum_agrees_with_a_singular_value_decomposition(block, shape):
    own = draw(4, *shape, centre=1)
    mean = own.mean(axis=0, dtype=np.float64)
    found = measure_spectrum(own, mean, 5, np.random.default_rng(0))
    expected = np.square(np.linalg.svd(own - mean, compute_uv=False)) / shape[0]
    assert found.is_exact
    assert np.allclose(found.variance[: len(expected)], expected, atol=1e-10)
    assert found.effective_rank == pytest.approx(expected.sum() ** 2 / np.square(expected).sum())
    assert found.capture(3) == pytest.approx(expected[:3].sum() / expected.sum())
    assert found.total == pytest.approx(own.astype(np.float64).var(axis=0).sum())


def test_the_randomised_spectrum_approximates_the_exact_one_from_below(monkeypatch):
    rng = np.random.default_rng(5)
    scale = np.concatenate([np.geomspace(10, 2, 12), np.full(188, 0.3)])
    own = (rng.normal(size=(300, 200)) * scale + 1).astype(np.float32)
    mean = own.mean(axis=0, dtype=np.float64)
    exact = measure_spectrum(own, mean, 10, rng)
    monkeypatch.setattr(spectrum, "EXACT", 100)
    found = measure_spectrum(own, mean, 10, rng)
    assert (exact.is_exact, found.is_exact, len(found.variance)) == (True, False, 10)
    assert np.allclose(found.variance, exact.variance[:10], rtol=1e-3)
    assert np.all(found.variance <= exact.variance[:10] * (1 + 1e-5))
    assert found.total == pytest.approx(exact.total, rel=1e-5)
    # Hutchinson's estimate, by 24 directions.
    assert found.effective_rank == pytest.approx(exact.effective_rank, rel=0.5)
    assert (found.capture(10), found.capture(11)) == (pytest.approx(exact.capture(10), rel=1e-3), None)


def test_variance_share_counts_the_dimensions_with_the_largest_variance():
    shares = capture_by_dims(np.array([1.0, 5.0, 0.0, 4.0]), [1, 2, 4])
    assert shares.tolist() == [0.5, 0.9, 1.0]
    assert scale_counts(54_785).tolist() == [10, 1_000, 10_000, 25_000]
    assert scale_counts(64).tolist() == [1, 12, 29]


def test_the_papers_cosine_and_norm_imply_a_standard_deviation_of_0_0114():
    assert implied_std(13.39, 0.9606, 54_785) == pytest.approx(0.0114, abs=5e-5)
    found = statistics_of(shell(6, 60, 54_785))
    assert found.moments.norm.mean() == pytest.approx(13.39, rel=1e-3)
    assert found.moments.mean_cosine == pytest.approx(0.9606, abs=2e-4)
    assert found.implied_std == pytest.approx(0.0114, abs=1e-4)
    assert found.std.mean() == pytest.approx(0.0114, rel=0.02)
    assert found.to_mean.mean() == pytest.approx(0.9606**0.5, abs=1e-3)
    assert found.floored == 0


@pytest.mark.parametrize(
    ("own", "start", "end"),
    [
        (
            shell(7, 50, 3000),
            "Thin shell: 96% of the squared length is common to all vectors, and ",
            "of at most 49.",
        ),
        (shell(8, 50, 300, cosine=0.0), "Centred on the origin: ", "of at most 49."),
        (shell(9, 50, 3000, cosine=0.3), "Partly shared: 3", "of at most 49."),
        (
            shell(10, 50, 3000) * np.linspace(0.5, 1.5, 50, dtype=np.float32)[:, None],
            "Cluster: ",
            "of at most 49.",
        ),
        (np.ones((4, 3), np.float32), "All vectors are equal.", "equal."),
    ],
)
def test_explain_names_the_geometry_of_the_vectors(own, start, end):
    text = explain(statistics_of(own))
    assert text.startswith(start)
    assert text.endswith(end)
    few = "few directions" in text
    assert few == text.startswith("Cluster")


def test_constant_dimensions_are_counted():
    own = draw(11, 40)
    own[:, [2, 5]] = 0.25
    assert statistics_of(own).floored == 2


@pytest.mark.parametrize("dim", [3, 4, 64, 50_000])
def test_cosines_of_random_directions_have_the_variance_of_one_dimension(dim):
    cosine = np.linspace(-1, 1, 400_001)[1:-1]
    density = random_cosine_density(cosine, dim)
    assert np.trapezoid(density, cosine) == pytest.approx(1, abs=1e-4)
    assert np.trapezoid(density * cosine**2, cosine) == pytest.approx(1 / dim, rel=1e-3)
