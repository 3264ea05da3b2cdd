"""Ranks of the training vectors by their similarity to each predicted vector, and similarity within one set.

The ranking is the test for a collapsed model in the paper "Small-data image-to-3-D". The cosine of a prediction with
its truth does not suffice for this test: a model that always predicts the mean of its training vectors has a high
cosine with every truth. Four more measures are therefore given: the rank of the truth among all training vectors; the
cosine of the truth with the mean of the training vectors; *centred* cosines, which are computed after subtracting this
mean from both vectors; and distances.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from sdfkit.analysis.vectors import (
    NEGLIGIBLE,
    Moments,
    Rows,
    blocks,
    choose_paired,
    directions_of,
    pair_cosines,
)

# Largest group of predictions that is compared at once: total count of numbers (128 MB of float64), and of rows.
GROUP_NUMBERS, GROUP_ROWS = 1 << 24, 4096


@dataclass(frozen=True)
class CosineSummary:
    """Mean, minimum and maximum of a set of cosines."""

    mean: float
    min: float
    max: float


@dataclass(frozen=True)
class Similarity:
    """Similarity of the vectors of one set to each other."""

    cosine: CosineSummary
    """Cosines of all pairs."""
    centred: CosineSummary
    """Centred cosines of all pairs. Their mean is -1 / (n - 1) for n vectors in independent directions."""
    to_mean: CosineSummary
    """Cosine of each vector with the mean of the set."""
    variance_share: float
    """Total variance over the mean squared length: 0 if all vectors are equal."""
    paired: int
    """Number of evenly spaced vectors whose pairs gave the least and the greatest cosine; the means are exact."""


@dataclass(frozen=True)
class Ranking:
    """The training vectors most similar to each prediction."""

    order: Int[np.ndarray, "prediction top"]
    """Rows of the training vectors, that of the highest cosine first."""
    cosine: Float32[np.ndarray, "prediction top"]
    """Cosines of these training vectors with the prediction."""
    centred: Float32[np.ndarray, "prediction top"]
    """Centred cosines of the same training vectors with the prediction."""
    margin: Float32[np.ndarray, " prediction"]
    """Cosine of the most similar training vector minus that of the second."""
    to_mean: Float32[np.ndarray, " prediction"]
    """Cosine of the prediction with the mean of the training vectors."""
    nearest: Int[np.ndarray, " prediction"]
    """Row of the training vector at the least Euclidean distance from the prediction."""
    distance: Float[np.ndarray, " prediction"]
    """Distance of this training vector from the prediction."""
    centred_moments: Float[np.ndarray, "prediction 2"]
    """Mean and standard deviation of the prediction's centred cosines with all training vectors."""


@dataclass(frozen=True)
class TruthRanking:
    """Rank of each prediction's true vector among the training vectors."""

    rank: Int[np.ndarray, " prediction"]
    """Rank of the truth by cosine: 1 if no other training vector is more similar to the prediction."""
    centred_rank: Int[np.ndarray, " prediction"]
    """Rank of the truth by centred cosine."""
    cosine: Float32[np.ndarray, " prediction"]
    """Cosine of the prediction with the truth."""
    centred: Float32[np.ndarray, " prediction"]
    """Centred cosine of the prediction with the truth."""
    margin: Float32[np.ndarray, " prediction"]
    """Cosine of the truth minus that of the best other training vector; negative if another is more similar."""
    mean_cosine: Float32[np.ndarray, " prediction"]
    """Cosine of the truth with the mean of the training vectors: the score of predicting that mean."""
    distance: Float[np.ndarray, " prediction"]
    """Distance of the prediction from the truth."""
    mean_distance: Float[np.ndarray, " prediction"]
    """Distance of the truth from the mean of the training vectors."""


def measure_similarity(vectors: Float[np.ndarray, "shape dim"], moments: Moments) -> Similarity:
    """Compare the vectors of a set with each other.

    Args:
        vectors: Two or more vectors, one a row, none of them zero.
        moments: Their moments.

    Returns:
        Summaries of the cosines. If a vector equals the mean, its centred cosines are undefined; they count as 0.
    """
    to_mean = _cosines(vectors, moments.mean, None)
    rows = choose_paired(*vectors.shape)
    paired = vectors if len(rows) == len(vectors) else vectors[rows]
    return Similarity(
        cosine=_summarise_pairs(paired, None, moments.mean_cosine),
        centred=_summarise_pairs(paired, moments.mean, _mean_of_pairs(vectors, moments.mean)),
        to_mean=CosineSummary(float(to_mean.mean()), float(to_mean.min()), float(to_mean.max())),
        variance_share=moments.variance_share,
        paired=len(rows),
    )


def _mean_of_pairs(vectors: Float[np.ndarray, "shape dim"], mean: Float[np.ndarray, " dim"]) -> float:
    """Compute the mean centred cosine of all pairs of different rows, from the sum of their directions."""
    total, units = np.zeros(vectors.shape[1]), 0
    for rows in blocks(*vectors.shape):
        directions = directions_of(vectors[rows], mean)
        total += directions.sum(axis=0)
        units += int(directions.any(axis=1).sum())
    return (float(total @ total) - units) / (len(vectors) * (len(vectors) - 1))


def _summarise_pairs(
    vectors: Float[np.ndarray, "shape dim"], about: Float[np.ndarray, " dim"] | None, mean: float
) -> CosineSummary:
    """Find the least and the greatest cosine of all pairs of different rows, and put their known mean beside them."""
    least, greatest = np.inf, -np.inf
    for cosines in pair_cosines(vectors, about):
        if cosines.size:
            least, greatest = min(least, float(cosines.min())), max(greatest, float(cosines.max()))
    # Rounding can make the cosine of equal vectors exceed 1.
    return CosineSummary(*(min(max(value, -1.0), 1.0) for value in (mean, least, greatest)))


def rank_by_cosine(
    predicted: Float[np.ndarray, "prediction dim"], known: Rows, mean: Float[np.ndarray, " dim"], top: int
) -> Ranking:
    """Order training vectors by cosine similarity to each prediction.

    Args:
        predicted: Predicted vectors, one a row, none of them zero.
        known: Two or more training vectors, one a row, none of them zero; read in blocks.
        mean: Mean of the training vectors; it is subtracted for the centred cosines, and does not change the order.
        top: Number of training vectors to keep for each prediction; if there are fewer, all are kept.

    Returns:
        The most similar training vectors with their plain cosines, centred cosines and distances. Cosines are float32
        in [-1, 1]; ties keep the order of `known`.

    Reference:
        The order by plain cosine is that of the diagnosis of phase 7 in the paper "image to 3-D from small data".
        Centred cosines and distances are additions.
    """
    parts = [_rank(predicted[group], known, mean, top) for group in _groups(*predicted.shape)]
    return Ranking(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _rank(
    predicted: Float[np.ndarray, "prediction dim"], known: Rows, mean: Float[np.ndarray, " dim"], top: int
) -> tuple[np.ndarray, ...]:
    keep, count = max(top, 2), len(predicted)
    order = np.empty((count, 0), np.int64)
    cosine = centred = np.empty((count, 0), np.float32)
    nearest, least = np.zeros(count, np.int64), np.full(count, np.inf)
    total, squared = np.zeros(count), np.zeros(count)
    for rows, block_cosine, block_centred, distance in _compare_blocks(predicted, known, mean):
        places = np.broadcast_to(np.arange(rows.start, rows.stop), block_cosine.shape)
        # The best of the previous blocks come first, because ties keep the order of `known`.
        candidates = np.concatenate([cosine, block_cosine], axis=1)
        best = np.stack([_greatest(row, keep) for row in candidates])
        order = np.take_along_axis(np.concatenate([order, places], axis=1), best, axis=1)
        centred = np.take_along_axis(np.concatenate([centred, block_centred], axis=1), best, axis=1)
        cosine = np.take_along_axis(candidates, best, axis=1)
        here = distance.min(axis=1)
        nearest = np.where(here < least, rows.start + distance.argmin(axis=1), nearest)
        least = np.minimum(here, least)
        total += block_centred.sum(axis=1, dtype=np.float64)
        squared += np.square(block_centred, dtype=np.float64).sum(axis=1)
    mean_centred = total / known.shape[0]
    deviation = np.sqrt(np.maximum(squared / known.shape[0] - mean_centred**2, 0))
    return (
        order[:, :top], cosine[:, :top], centred[:, :top], cosine[:, 0] - cosine[:, 1],
        _cosines(predicted, mean, None).astype(np.float32), nearest, least,
        np.stack([mean_centred, deviation], axis=1),
    )  # fmt: skip


def rank_truths(
    predicted: Float[np.ndarray, "prediction dim"],
    truth: Float[np.ndarray, "prediction dim"],
    own: Int[np.ndarray, " prediction"],
    known: Rows,
    mean: Float[np.ndarray, " dim"],
) -> TruthRanking:
    """Rank each prediction's true vector among all training vectors.

    Args:
        predicted: Predicted vectors, one a row, none of them zero.
        truth: True vector of each prediction.
        own: Row of `known` that is the truth of each prediction; the number of rows if the truth is not in `known`.
        known: Two or more training vectors, one a row, none of them zero; read in blocks.
        mean: Mean of the training vectors.

    Returns:
        Ranks from 1, by cosine and by centred cosine. Of vectors with equal cosine, the one that comes first in `known`
        ranks first; a truth that is not in `known` ranks last.
    """
    mine = [_cosines(predicted, truth, about).astype(np.float32) for about in (None, mean)]
    ranks = np.ones((2, len(predicted)), np.int64)
    rival = np.full(len(predicted), -np.inf, np.float32)
    for group in _groups(*predicted.shape):
        for rows, cosine, centred, _ in _compare_blocks(predicted[group], known, mean):
            place = np.arange(rows.start, rows.stop)
            is_truth = place == own[group, None]
            is_earlier = place < own[group, None]
            for which, values in enumerate((cosine, centred)):
                this = mine[which][group, None]
                is_before = (values > this) | ((values == this) & is_earlier)
                ranks[which, group] += (is_before & ~is_truth).sum(axis=1)
            best = np.where(is_truth, -np.inf, cosine).max(axis=1)
            rival[group] = np.maximum(rival[group], best)
    return TruthRanking(
        rank=ranks[0],
        centred_rank=ranks[1],
        cosine=mine[0],
        centred=mine[1],
        margin=mine[0] - rival,
        mean_cosine=_cosines(truth, mean, None).astype(np.float32),
        distance=_distances(predicted, truth),
        mean_distance=_distances(truth, mean),
    )


def leave_one_out_distances(
    vectors: Float[np.ndarray, "vector dim"],
    own: Int[np.ndarray, " vector"],
    known: Rows,
    mean: Float[np.ndarray, " dim"],
) -> Float[np.ndarray, " vector"]:
    """Measure the distance of each vector from the nearest training vector other than itself.

    Args:
        vectors: Vectors, one a row; some of them may be training vectors.
        own: Row of each vector in `known`, or the number of rows if it is not a training vector.
        known: Two or more training vectors, one a row; read in blocks.
        mean: Mean of the training vectors.

    Returns:
        The distances. Duplicates of the vector are left out too. The distance is infinite if no training vector is
        left.
    """
    nearest = np.full(len(vectors), np.inf)
    same = NEGLIGIBLE * np.linalg.norm(vectors, axis=1)
    for group in _groups(*vectors.shape):
        for rows, _, _, distance in _compare_blocks(vectors[group], known, mean):
            is_other = np.arange(rows.start, rows.stop) != own[group, None]
            others = np.where(is_other & (distance > same[group, None]), distance, np.inf)
            nearest[group] = np.minimum(nearest[group], others.min(axis=1))
    return nearest


def _groups(count: int, dim: int) -> Iterator[slice]:
    size = max(1, min(GROUP_NUMBERS // max(dim, 1), GROUP_ROWS))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _cosines(
    vectors: Float[np.ndarray, "shape dim"],
    others: Float[np.ndarray, "shape dim"] | Float[np.ndarray, " dim"],
    mean: Float[np.ndarray, " dim"] | None,
) -> Float[np.ndarray, " shape"]:
    """Compute the cosine of each vector with the same row of `others`, or with `others` if this is a single vector."""
    if others.ndim == 1:
        others = np.broadcast_to(others, vectors.shape)
    cosines = [
        np.einsum("sd,sd->s", directions_of(vectors[rows], mean), directions_of(others[rows], mean))
        for rows in blocks(*vectors.shape)
    ]
    cosine: np.ndarray = np.concatenate(cosines).clip(-1, 1)
    return cosine


def _distances(
    vectors: Float[np.ndarray, "shape dim"],
    others: Float[np.ndarray, "shape dim"] | Float[np.ndarray, " dim"],
) -> Float[np.ndarray, " shape"]:
    """Compute the distance of each vector from the same row of `others`, or from `others` if this is one vector."""
    if others.ndim == 1:
        others = np.broadcast_to(others, vectors.shape)
    return np.concatenate(
        [
            np.linalg.norm(vectors[rows] - others[rows].astype(np.float64), axis=1)
            for rows in blocks(*vectors.shape)
        ]
    )


def _compare_blocks(
    predicted: Float[np.ndarray, "prediction dim"], known: Rows, mean: Float[np.ndarray, " dim"]
) -> Iterator[
    tuple[
        slice,
        Float32[np.ndarray, "prediction block"],
        Float32[np.ndarray, "prediction block"],
        Float[np.ndarray, "prediction block"],
    ]
]:
    """Compare every prediction with every training vector, one block of training vectors after the other.

    Let p be a prediction, k a training vector, m the mean of the training vectors, p' = p - m and k' = k - m. One
    matrix product gives p'·k' for all pairs, and all three results follow from it: the centred cosine, the distance, by
    |p - k|² = |p'|² + |k'|² - 2 p'·k', and the cosine, by p·k = p'·k' + p'·m + m·k' + m·m.

    Yields:
        The rows of a block in `known`, and the cosine, the centred cosine and the distance of each prediction and each
        row.
    """
    about, length, from_mean, along, is_mean = _centre_vectors(predicted, mean)
    squared_mean = float(mean @ mean)
    for rows in blocks(known.shape[0], max(known.shape[1], len(predicted))):
        others, other_length, other_from_mean, other_along, other_is_mean = _centre_vectors(known[rows], mean)
        # Summed in float64 and then rounded, so that equal vectors get equal cosines in any row of a block.
        product = about @ others.T
        plain = (product + along[:, None] + other_along + squared_mean) / (length[:, None] * other_length)
        scale = from_mean[:, None] * other_from_mean
        usable = ~(is_mean[:, None] | other_is_mean)
        centred = np.divide(product, scale, out=np.zeros_like(product), where=usable)
        squared = np.square(from_mean)[:, None] + np.square(other_from_mean) - 2 * product
        yield (
            rows,
            np.clip(plain, -1, 1).astype(np.float32),
            np.clip(centred, -1, 1).astype(np.float32),
            np.sqrt(np.maximum(squared, 0)),
        )


def _centre_vectors(
    vectors: Float[np.ndarray, "shape dim"], mean: Float[np.ndarray, " dim"]
) -> tuple[
    Float[np.ndarray, "shape dim"],
    Float[np.ndarray, " shape"],
    Float[np.ndarray, " shape"],
    Float[np.ndarray, " shape"],
    Bool[np.ndarray, " shape"],
]:
    """Subtract the mean from vectors.

    Returns:
        The centred vectors, the lengths of the vectors before and after centring, the scalar products of the centred
        vectors with the mean, and a mask of the vectors that equal the mean.
    """
    about = vectors.astype(np.float64)
    length = np.sqrt(np.einsum("sd,sd->s", about, about))
    about -= mean
    from_mean = np.sqrt(np.einsum("sd,sd->s", about, about))
    return about, length, from_mean, about @ mean, from_mean <= NEGLIGIBLE * length


def _greatest(values: Float[np.ndarray, " value"], count: int) -> Int[np.ndarray, " greatest"]:
    """Return the places of the `count` greatest values, greatest first; ties keep their order."""
    least = np.partition(values, -count)[-count] if count < len(values) else -np.inf
    places = np.flatnonzero(values >= least)
    return places[np.argsort(-values[places], kind="stable")][:count]
