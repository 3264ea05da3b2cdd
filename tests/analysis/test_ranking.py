"""Ranking by cosine: against a plain computation, its laws, collapse as it looks, memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.analysis import ranking
from sdfkit.analysis.ranking import (
    compare_spread,
    find_truth,
    measure_likeness,
    rank_by_cosine,
    require_directions,
)
from sdfkit.errors import InputError


def draw(seed, count, dim=8, centre=0.0):
    vectors = np.random.default_rng(seed).normal(centre, 1, (count, dim))
    return vectors.astype(np.float32)


def cosines_of(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return a @ b.T / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)


@pytest.fixture(params=[1 << 20, 40])
def block(request, monkeypatch):
    """Everything in one block, and in blocks of five rows."""
    monkeypatch.setattr(ranking, "BLOCK", request.param)


def test_the_order_is_that_of_a_plain_computation(block):
    predicted, known = draw(0, 7, centre=1), draw(1, 43, centre=1)
    expected = cosines_of(predicted, known)
    order = np.argsort(-expected, axis=1)
    mean = known.astype(np.float64).mean(axis=0)
    centred = cosines_of(predicted - mean, known - mean)
    result = rank_by_cosine(predicted, known, 5)
    assert np.array_equal(result.order, order[:, :5])
    assert np.allclose(result.cosine, np.take_along_axis(expected, order[:, :5], axis=1), atol=1e-7)
    assert np.allclose(result.centred, np.take_along_axis(centred, order[:, :5], axis=1), atol=1e-7)
    ascending = np.sort(expected, axis=1)
    assert np.allclose(result.margin, ascending[:, -1] - ascending[:, -2], atol=1e-6)
    assert np.allclose(result.to_mean, cosines_of(predicted, mean[None])[:, 0], atol=1e-7)


def test_the_truth_stands_where_a_plain_computation_puts_it(block):
    predicted, known = draw(0, 7, centre=1), draw(1, 43, centre=1)
    truth = np.array([0, 42, 7, 7, 20, 4, 5])
    every = np.arange(7)
    mean = known.astype(np.float64).mean(axis=0)
    plain, centred = cosines_of(predicted, known), cosines_of(predicted - mean, known - mean)
    others = plain.copy()
    others[every, truth] = -np.inf
    result = find_truth(predicted, known, truth)
    assert np.array_equal(result.rank, 1 + (plain > plain[every, truth, None]).sum(axis=1))
    assert np.array_equal(result.centred_rank, 1 + (centred > centred[every, truth, None]).sum(axis=1))
    assert np.allclose(result.cosine, plain[every, truth], atol=1e-7)
    assert np.allclose(result.centred, centred[every, truth], atol=1e-7)
    assert np.allclose(result.margin, plain[every, truth] - others.max(axis=1), atol=1e-6)
    assert np.allclose(result.mean_cosine, cosines_of(known, mean[None])[truth, 0], atol=1e-7)


def test_every_vector_is_its_own_nearest(block):
    known = draw(2, 30)
    result = rank_by_cosine(known, known, 1)
    truth = find_truth(known, known, np.arange(30))
    assert np.array_equal(result.order[:, 0], np.arange(30))
    assert np.all(result.cosine == 1)
    assert np.all(truth.rank == 1)
    assert np.all(truth.centred_rank == 1)
    assert np.allclose(truth.margin, result.margin, atol=1e-7)


@given(st.integers(0, 99), st.floats(1e-6, 1e6))
def test_length_does_not_matter(seed, scale):
    predicted, known = draw(seed, 4), draw(seed + 1, 12)
    result, scaled = (
        rank_by_cosine(predicted, known, 12),
        rank_by_cosine(np.float32(scale) * predicted, known, 12),
    )
    assert np.array_equal(result.order, scaled.order)
    assert np.allclose(result.cosine, scaled.cosine, atol=1e-6)


@given(st.permutations(range(12)))
def test_permuting_shapes_permutes_results(permutation):
    predicted, known = draw(3, 4), draw(4, 12)
    result, permuted = rank_by_cosine(predicted, known, 12), rank_by_cosine(predicted, known[permutation], 12)
    assert np.array_equal(np.array(permutation)[permuted.order], result.order)
    assert np.allclose(result.cosine, permuted.cosine, atol=1e-6)


def test_equal_vectors_keep_their_order(block):
    known = np.repeat(draw(5, 3), 20, axis=0)[np.random.default_rng(0).permutation(60)]
    predicted = known[[0]]
    same = np.flatnonzero((known == predicted).all(axis=1))
    assert np.array_equal(rank_by_cosine(predicted, known, 20).order[0], same)
    assert [int(find_truth(predicted, known, np.array([row])).rank[0]) for row in same] == list(range(1, 21))


def test_fewer_shapes_than_asked_for_are_all_ranked():
    result = rank_by_cosine(draw(6, 2), draw(7, 3), 10)
    assert np.array_equal(np.sort(result.order, axis=1), [[0, 1, 2]] * 2)


def test_a_prediction_of_the_mean_has_no_centred_direction():
    known = draw(8, 50, centre=3)
    mean = known.mean(axis=0, keepdims=True)
    result = rank_by_cosine(mean, known, 50)
    assert np.all(result.centred == 0)
    assert result.to_mean == pytest.approx(1, abs=1e-6)
    truth = find_truth(mean, known, np.array([3]))
    assert truth.cosine == pytest.approx(truth.mean_cosine, abs=1e-6)


def test_a_weight_space_like_the_paper_s_hides_collapse_from_the_plain_cosine():
    # Vectors that share nearly everything, as anchored weights do: answering with the mean and noise scores
    # 0.97 against any truth, and still loses to the mean alone.
    rng = np.random.default_rng(9)
    known = (1 + 0.2 * rng.normal(size=(200, 500))).astype(np.float32)
    predicted = (1 + 0.15 * rng.normal(size=(4, 500))).astype(np.float32)
    truth = find_truth(predicted, known, np.array([0, 50, 100, 119]))
    assert truth.cosine.min() > 0.96
    assert np.all(truth.cosine < truth.mean_cosine)
    assert np.abs(truth.centred).max() < 0.15


def test_likeness_is_that_of_a_plain_computation(block):
    vectors = draw(10, 23, centre=0.5)
    mean = vectors.astype(np.float64).mean(axis=0)
    pairs = np.triu_indices(23, 1)
    likeness = measure_likeness(vectors)
    for summary, expected in (
        (likeness.cosine, cosines_of(vectors, vectors)[pairs]),
        (likeness.centred, cosines_of(vectors - mean, vectors - mean)[pairs]),
        (likeness.to_mean, cosines_of(vectors, mean[None])[:, 0]),
    ):
        assert summary.mean == pytest.approx(expected.mean(), abs=1e-12)
        assert summary.min == pytest.approx(expected.min(), abs=1e-12)
        assert summary.max == pytest.approx(expected.max(), abs=1e-12)
    share = np.square(vectors - mean).sum() / np.square(vectors.astype(np.float64)).sum()
    assert likeness.variance_share == pytest.approx(share, rel=1e-9)


def test_one_vector_again_and_again_is_full_collapse():
    likeness = measure_likeness(np.tile(draw(11, 1), (9, 1)))
    assert likeness.cosine.min == pytest.approx(1, abs=1e-12)
    assert likeness.cosine.max <= 1
    assert (likeness.centred.min, likeness.centred.max) == (0, 0)
    assert likeness.variance_share == pytest.approx(0, abs=1e-12)


def test_opposite_vectors_have_nothing_in_common():
    likeness = measure_likeness(np.array([[1, 2], [-1, -2]], np.float32))
    assert likeness.cosine.mean == pytest.approx(-1)
    assert likeness.variance_share == 1


def test_spread_is_a_ratio_of_variances():
    known = draw(12, 40, centre=2)
    assert compare_spread(known, known) == pytest.approx(1)
    assert compare_spread(np.float32(0.1) * known, known) == pytest.approx(0.01, rel=1e-5)
    assert compare_spread(known, np.tile(known[:1], (5, 1))) == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "codes.zarr: chair_7: numbers that are not finite; drop it or make it again"),
        (np.inf, "codes.zarr: chair_7: numbers that are not finite; drop it or make it again"),
        (0.0, "codes.zarr: chair_7: all zeros, so it has no direction; drop it or make it again"),
    ],
)
def test_vectors_without_direction_are_named(block, value, message):
    vectors = draw(13, 9)
    vectors[7] = value
    with pytest.raises(InputError, match=f"^{message}$"):
        require_directions(vectors, [f"chair_{row}" for row in range(9)], "codes.zarr")


def test_sixty_thousand_shapes_need_no_more_memory_than_twenty_thousand():
    predicted = draw(14, 100, 64)
    peaks = []
    for count in (20_000, 60_000):
        known = draw(15, count, 64)
        tracemalloc.start()
        rank_by_cosine(predicted, known, 5)
        find_truth(predicted, known, np.arange(100))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
