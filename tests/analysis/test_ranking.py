"""Ranking by cosine: agreement with direct computations, invariances, examples of collapse, and memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.analysis import ranking, vectors
from sdfkit.analysis.ranking import leave_one_out_distances
from sdfkit.analysis.vectors import measure_moments


def draw(seed, count, dim=8, centre=0.0):
    vectors = np.random.default_rng(seed).normal(centre, 1, (count, dim))
    return vectors.astype(np.float32)


def moments_of(known):
    return measure_moments(known, [str(row) for row in range(len(known))], "known")


def rank_by_cosine(predicted, known, top):
    return ranking.rank_by_cosine(predicted, known, moments_of(known).mean, top)


def rank_truths(predicted, known, truth):
    return ranking.rank_truths(predicted, known[truth], truth, known, moments_of(known).mean)


def measure_similarity(own):
    return ranking.measure_similarity(own, moments_of(own))


def cosines_of(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return a @ b.T / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)


@pytest.fixture(params=[1 << 20, 40])
def block(request, monkeypatch):
    """Run a test with all rows in one block, and with blocks of five rows and two predictions."""
    monkeypatch.setattr(vectors, "BLOCK", request.param)
    if request.param == 40:
        monkeypatch.setattr(vectors, "LEAST_ROWS", 1)
        monkeypatch.setattr(vectors, "LONGEST_BLOCK", 1 << 14)
        monkeypatch.setattr(ranking, "GROUP_NUMBERS", 16)


def test_ranking_agrees_with_a_direct_computation(block):
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


def test_rank_of_the_truth_agrees_with_a_direct_computation(block):
    predicted, known = draw(0, 7, centre=1), draw(1, 43, centre=1)
    truth = np.array([0, 42, 7, 7, 20, 4, 5])
    every = np.arange(7)
    mean = known.astype(np.float64).mean(axis=0)
    plain, centred = cosines_of(predicted, known), cosines_of(predicted - mean, known - mean)
    others = plain.copy()
    others[every, truth] = -np.inf
    result = rank_truths(predicted, known, truth)
    assert np.array_equal(result.rank, 1 + (plain > plain[every, truth, None]).sum(axis=1))
    assert np.array_equal(result.centred_rank, 1 + (centred > centred[every, truth, None]).sum(axis=1))
    assert np.allclose(result.cosine, plain[every, truth], atol=1e-7)
    assert np.allclose(result.centred, centred[every, truth], atol=1e-7)
    assert np.allclose(result.margin, plain[every, truth] - others.max(axis=1), atol=1e-6)
    assert np.allclose(result.mean_cosine, cosines_of(known, mean[None])[truth, 0], atol=1e-7)


def test_every_known_vector_ranks_itself_first(block):
    known = draw(2, 30)
    result = rank_by_cosine(known, known, 1)
    truth = rank_truths(known, known, np.arange(30))
    assert np.array_equal(result.order[:, 0], np.arange(30))
    assert np.all(result.cosine == 1)
    assert np.all(truth.rank == 1)
    assert np.all(truth.centred_rank == 1)
    assert np.allclose(truth.margin, result.margin, atol=1e-7)


@given(st.integers(0, 99), st.floats(1e-6, 1e6))
def test_ranking_does_not_depend_on_the_length_of_vectors(seed, scale):
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


def test_equal_vectors_are_ranked_in_row_order(block):
    known = np.repeat(draw(5, 3), 20, axis=0)[np.random.default_rng(0).permutation(60)]
    predicted = known[[0]]
    same = np.flatnonzero((known == predicted).all(axis=1))
    assert np.array_equal(rank_by_cosine(predicted, known, 20).order[0], same)
    assert [int(rank_truths(predicted, known, np.array([row])).rank[0]) for row in same] == list(range(1, 21))


def test_all_shapes_are_ranked_if_there_are_fewer_than_requested():
    result = rank_by_cosine(draw(6, 2), draw(7, 3), 10)
    assert np.array_equal(np.sort(result.order, axis=1), [[0, 1, 2]] * 2)


def test_a_prediction_equal_to_the_mean_has_a_centred_cosine_of_0():
    known = draw(8, 50, centre=3)
    mean = known.mean(axis=0, keepdims=True)
    result = rank_by_cosine(mean, known, 50)
    assert np.all(result.centred == 0)
    assert result.to_mean == pytest.approx(1, abs=1e-6)
    truth = rank_truths(mean, known, np.array([3]))
    assert truth.cosine == pytest.approx(truth.mean_cosine, abs=1e-6)


def test_in_anchored_weight_spaces_raw_cosine_is_high_for_collapsed_predictions():
    # Vectors that share nearly everything, as anchored weights do: answering with the mean and noise scores
    # 0.97 against any truth, and still loses to the mean alone.
    rng = np.random.default_rng(9)
    known = (1 + 0.2 * rng.normal(size=(200, 500))).astype(np.float32)
    predicted = (1 + 0.15 * rng.normal(size=(4, 500))).astype(np.float32)
    truth = rank_truths(predicted, known, np.array([0, 50, 100, 119]))
    assert truth.cosine.min() > 0.96
    assert np.all(truth.cosine < truth.mean_cosine)
    assert np.abs(truth.centred).max() < 0.15


def test_similarity_statistics_agree_with_a_direct_computation(block):
    vectors = draw(10, 23, centre=0.5)
    mean = vectors.astype(np.float64).mean(axis=0)
    pairs = np.triu_indices(23, 1)
    similarity = measure_similarity(vectors)
    for summary, expected in (
        (similarity.cosine, cosines_of(vectors, vectors)[pairs]),
        (similarity.centred, cosines_of(vectors - mean, vectors - mean)[pairs]),
        (similarity.to_mean, cosines_of(vectors, mean[None])[:, 0]),
    ):
        assert summary.mean == pytest.approx(expected.mean(), abs=1e-12)
        assert summary.min == pytest.approx(expected.min(), abs=1e-12)
        assert summary.max == pytest.approx(expected.max(), abs=1e-12)
    share = np.square(vectors - mean).sum() / np.square(vectors.astype(np.float64)).sum()
    assert similarity.variance_share == pytest.approx(share, rel=1e-9)


def test_of_many_vectors_only_some_are_paired_but_the_means_stay_exact(monkeypatch):
    vectors = draw(12, 203, centre=0.5)
    whole = measure_similarity(vectors)
    monkeypatch.setattr("sdfkit.analysis.vectors.PAIRED_ROWS", 30)
    some = measure_similarity(vectors)
    assert (whole.paired, some.paired) == (203, 30)
    for name in ("cosine", "centred"):
        exact, sampled = getattr(whole, name), getattr(some, name)
        assert sampled.mean == pytest.approx(exact.mean, abs=1e-12)
        assert exact.min <= sampled.min < sampled.mean < sampled.max <= exact.max
    assert some.to_mean == whole.to_mean


def test_identical_vectors_are_measured_as_full_collapse():
    similarity = measure_similarity(np.tile(draw(11, 1), (9, 1)))
    assert similarity.cosine.min == pytest.approx(1, abs=1e-12)
    assert similarity.cosine.max <= 1
    assert (similarity.centred.min, similarity.centred.max) == (0, 0)
    assert similarity.variance_share == pytest.approx(0, abs=1e-12)


def test_opposite_vectors_have_cosine_minus_1_and_variance_share_1():
    similarity = measure_similarity(np.array([[1, 2], [-1, -2]], np.float32))
    assert similarity.cosine.mean == pytest.approx(-1)
    assert similarity.variance_share == pytest.approx(1)


def test_distances_and_typical_cosines_agree_with_a_direct_computation(block):
    predicted, known = draw(0, 7, centre=1), draw(1, 43, centre=1)
    result = rank_by_cosine(predicted, known, 5)
    distance = np.linalg.norm(predicted[:, None].astype(np.float64) - known, axis=2)
    assert np.array_equal(result.nearest, distance.argmin(axis=1))
    assert np.allclose(result.distance, distance.min(axis=1), rtol=1e-6)
    mean = known.astype(np.float64).mean(axis=0)
    centred = cosines_of(predicted - mean, known - mean)
    assert np.allclose(
        result.centred_moments, np.stack([centred.mean(axis=1), centred.std(axis=1)], axis=1), atol=1e-6
    )
    truth = rank_truths(predicted, known, np.arange(7))
    assert np.allclose(truth.distance, distance[np.arange(7), np.arange(7)], rtol=1e-6)
    assert np.allclose(truth.mean_distance, np.linalg.norm(known[:7] - mean, axis=1), rtol=1e-6)


def test_leave_one_out_distance_ignores_exact_duplicates(block):
    known = draw(2, 30)
    known[20] = known[4]
    distance = np.linalg.norm(known[:, None].astype(np.float64) - known, axis=2)
    distance[distance == 0] = np.inf
    rows = np.arange(30)
    reach = leave_one_out_distances(known, rows, known, moments_of(known).mean)
    assert np.allclose(reach, distance.min(axis=1), rtol=1e-6)
    new = draw(3, 3)
    reach = leave_one_out_distances(new, np.full(3, 30), known, moments_of(known).mean)
    assert np.allclose(reach, np.linalg.norm(new[:, None] - known, axis=2).min(axis=1), rtol=1e-6)


def test_an_untrained_truth_ranks_after_training_vectors_of_equal_cosine(block):
    known, unseen = draw(2, 30), draw(3, 4)
    mean = moments_of(known).mean
    truth = ranking.rank_truths(unseen, unseen, np.full(4, 30), known, mean)
    assert truth.rank.tolist() == [1] * 4
    truth = ranking.rank_truths(known[:4], known[:4], np.full(4, 30), known, mean)
    assert truth.rank.tolist() == [2] * 4


@pytest.mark.slow
def test_memory_does_not_grow_from_20000_to_60000_shapes():
    predicted = draw(14, 100, 64)
    peaks = []
    for count in (20_000, 60_000):
        known = draw(15, count, 64)
        tracemalloc.start()
        rank_by_cosine(predicted, known, 5)
        rank_truths(predicted, known, np.arange(100))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
