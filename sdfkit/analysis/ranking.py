"""Predicted vectors, ranked against every training vector and compared with each other.

Ranking is the paper's diagnosis of a collapsed model: one that always answers with the centre of its training
set has a high cosine to every truth, so the cosine alone says little. Four things are therefore measured
beside it: the place of the truth among all training vectors, the cosine that the mean of the training vectors
would have reached, *centred* cosines, for which that mean is taken off both sides, and distances.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from sdfkit.analysis.vectors import NEGLIGIBLE, Moments, Rows, blocks, directions_of, pair_cosines

# Predictions compared at once: 128 MB of float64, and cosines of as many with a block of training vectors.
TOGETHER, MOST_TOGETHER = 1 << 24, 4096


@dataclass(frozen=True)
class Summary:
    """Mean, least and greatest of a set of cosines."""

    mean: float
    min: float
    max: float


@dataclass(frozen=True)
class Likeness:
    """How alike the vectors of one set are."""

    cosine: Summary
    """Of all pairs."""
    centred: Summary
    """Of all pairs about the set's own mean; -1 / (n - 1) on average where the vectors have no structure."""
    to_mean: Summary
    """Of each vector with the set's mean."""
    variance_share: float
    """Mean squared distance from the set's mean over mean squared length: 0 where all are one vector."""


@dataclass(frozen=True)
class Ranking:
    """What stands nearest to each prediction among the training vectors."""

    order: Int[np.ndarray, "prediction top"]
    """Rows of the training vectors, the most similar by cosine first."""
    cosine: Float32[np.ndarray, "prediction top"]
    centred: Float32[np.ndarray, "prediction top"]
    """The same neighbours' cosines about the mean of the training vectors."""
    margin: Float32[np.ndarray, " prediction"]
    """Cosine of the first less that of the second."""
    to_mean: Float32[np.ndarray, " prediction"]
    """Cosine of each prediction with the mean of the training vectors."""
    nearest: Int[np.ndarray, " prediction"]
    """The row at the least distance."""
    distance: Float[np.ndarray, " prediction"]
    """From it."""
    usual: Float[np.ndarray, "prediction 2"]
    """Mean and standard deviation of the centred cosines with all training vectors."""


@dataclass(frozen=True)
class Truth:
    """Where the true vector of each prediction stands among the training vectors."""

    rank: Int[np.ndarray, " prediction"]
    """1 where no other training vector is more similar."""
    centred_rank: Int[np.ndarray, " prediction"]
    cosine: Float32[np.ndarray, " prediction"]
    centred: Float32[np.ndarray, " prediction"]
    margin: Float32[np.ndarray, " prediction"]
    """Cosine of the truth less that of the best other; negative where another is nearer."""
    mean_cosine: Float32[np.ndarray, " prediction"]
    """What answering with the mean of the training vectors would have reached."""
    distance: Float[np.ndarray, " prediction"]
    mean_distance: Float[np.ndarray, " prediction"]
    """Of the truth from the mean of the training vectors."""


def measure_likeness(vectors: Float[np.ndarray, "shape dim"], moments: Moments) -> Likeness:
    """Compare vectors with each other.

    Args:
        vectors: Two or more, one a row, none of them zero.
        moments: Theirs.

    Returns:
        Cosines of all pairs. A vector that equals the mean has no direction about it: here, as below, its
        centred cosines are 0.
    """
    to_mean = _cosines(vectors, moments.mean, None)
    return Likeness(
        cosine=_summarise_pairs(vectors, None),
        centred=_summarise_pairs(vectors, moments.mean),
        to_mean=Summary(float(to_mean.mean()), float(to_mean.min()), float(to_mean.max())),
        variance_share=moments.own_share,
    )


def _summarise_pairs(
    vectors: Float[np.ndarray, "shape dim"], mean: Float[np.ndarray, " dim"] | None
) -> Summary:
    total, least, greatest = 0.0, np.inf, -np.inf
    for cosines in pair_cosines(vectors, mean):
        if cosines.size:
            total += float(cosines.sum())
            least, greatest = min(least, float(cosines.min())), max(greatest, float(cosines.max()))
    pairs = len(vectors) * (len(vectors) - 1) / 2
    # Rounding may carry a cosine of equal vectors past 1.
    return Summary(*(min(max(value, -1.0), 1.0) for value in (total / pairs, least, greatest)))


def rank_by_cosine(
    predicted: Float[np.ndarray, "prediction dim"], known: Rows, mean: Float[np.ndarray, " dim"], top: int
) -> Ranking:
    """Order training vectors by cosine similarity to each prediction.

    Args:
        predicted: Vectors to explain, one a row, none of them zero.
        known: Two or more training vectors, one a row, none of them zero; read in blocks.
        mean: Of the training vectors.
        top: Neighbours to keep; all of them where there are fewer.

    Returns:
        The nearest training vectors. Cosines are float32 in [-1, 1]; equal ones keep the order of `known`.

    Reference:
        "Small-data image-to-3-D", the diagnosis of its phase 7, ranks by the plain cosine, and so does this;
        centred cosines and distances are ours.
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
    for rows, block_cosine, block_centred, distance in _compare(predicted, known, mean):
        places = np.broadcast_to(np.arange(rows.start, rows.stop), block_cosine.shape)
        # The best so far stand before the block, whose rows come later in `known`.
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
    usual = total / known.shape[0]
    deviation = np.sqrt(np.maximum(squared / known.shape[0] - usual**2, 0))
    return (
        order[:, :top], cosine[:, :top], centred[:, :top], cosine[:, 0] - cosine[:, 1],
        _cosines(predicted, mean, None).astype(np.float32), nearest, least,
        np.stack([usual, deviation], axis=1),
    )  # fmt: skip


def find_truth(
    predicted: Float[np.ndarray, "prediction dim"],
    truth: Float[np.ndarray, "prediction dim"],
    own: Int[np.ndarray, " prediction"],
    known: Rows,
    mean: Float[np.ndarray, " dim"],
) -> Truth:
    """Find the place of each prediction's true vector among all training vectors.

    Args:
        predicted: One a row, none of them zero.
        truth: For each prediction the vector that it should have been.
        own: For each the row of `known` that is its truth, or the number of rows where none is.
        known: Two or more training vectors, one a row, none of them zero; read in blocks.
        mean: Of the training vectors.

    Returns:
        Places from 1, by cosine and by centred cosine; of equal ones the earlier row of `known` comes first, and
        the truth last that is not among them.
    """
    mine = [_cosines(predicted, truth, about).astype(np.float32) for about in (None, mean)]
    ranks = np.ones((2, len(predicted)), np.int64)
    rival = np.full(len(predicted), -np.inf, np.float32)
    for group in _groups(*predicted.shape):
        for rows, cosine, centred, _ in _compare(predicted[group], known, mean):
            place = np.arange(rows.start, rows.stop)
            is_truth = place == own[group, None]
            is_earlier = place < own[group, None]
            for which, values in enumerate((cosine, centred)):
                this = mine[which][group, None]
                is_before = (values > this) | ((values == this) & is_earlier)
                ranks[which, group] += (is_before & ~is_truth).sum(axis=1)
            best = np.where(is_truth, -np.inf, cosine).max(axis=1)
            rival[group] = np.maximum(rival[group], best)
    return Truth(
        rank=ranks[0],
        centred_rank=ranks[1],
        cosine=mine[0],
        centred=mine[1],
        margin=mine[0] - rival,
        mean_cosine=_cosines(truth, mean, None).astype(np.float32),
        distance=_lengths(predicted, truth),
        mean_distance=_lengths(truth, mean),
    )


def measure_reach(
    vectors: Float[np.ndarray, "vector dim"],
    own: Int[np.ndarray, " vector"],
    known: Rows,
    mean: Float[np.ndarray, " dim"],
) -> Float[np.ndarray, " vector"]:
    """Distance of each vector from the nearest other training vector: leave-one-out distances.

    Args:
        vectors: One a row, some of them training vectors.
        own: For each its own row in `known`, or the number of rows where it has none.
        known: Two or more training vectors, one a row; read in blocks.
        mean: Of the training vectors.

    Returns:
        Distances from what is not the vector itself again; infinite where all of `known` is.
    """
    reach = np.full(len(vectors), np.inf)
    same = NEGLIGIBLE * np.linalg.norm(vectors, axis=1)
    for group in _groups(*vectors.shape):
        for rows, _, _, distance in _compare(vectors[group], known, mean):
            is_other = np.arange(rows.start, rows.stop) != own[group, None]
            others = np.where(is_other & (distance > same[group, None]), distance, np.inf)
            reach[group] = np.minimum(reach[group], others.min(axis=1))
    return reach


def _groups(count: int, dim: int) -> Iterator[slice]:
    size = max(1, min(TOGETHER // max(dim, 1), MOST_TOGETHER))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _cosines(
    vectors: Float[np.ndarray, "shape dim"],
    others: Float[np.ndarray, "shape dim"] | Float[np.ndarray, " dim"],
    mean: Float[np.ndarray, " dim"] | None,
) -> Float[np.ndarray, " shape"]:
    """Cosine of each vector with the other of its row, or with the one other."""
    if others.ndim == 1:
        others = np.broadcast_to(others, vectors.shape)
    cosines = [
        np.einsum("sd,sd->s", directions_of(vectors[rows], mean), directions_of(others[rows], mean))
        for rows in blocks(*vectors.shape)
    ]
    cosine: np.ndarray = np.concatenate(cosines).clip(-1, 1)
    return cosine


def _lengths(
    vectors: Float[np.ndarray, "shape dim"],
    others: Float[np.ndarray, "shape dim"] | Float[np.ndarray, " dim"],
) -> Float[np.ndarray, " shape"]:
    """Distance of each vector from the other of its row, or from the one other."""
    if others.ndim == 1:
        others = np.broadcast_to(others, vectors.shape)
    return np.concatenate(
        [
            np.linalg.norm(vectors[rows] - others[rows].astype(np.float64), axis=1)
            for rows in blocks(*vectors.shape)
        ]
    )


def _compare(
    predicted: Float[np.ndarray, "prediction dim"], known: Rows, mean: Float[np.ndarray, " dim"]
) -> Iterator[
    tuple[
        slice,
        Float32[np.ndarray, "prediction block"],
        Float32[np.ndarray, "prediction block"],
        Float[np.ndarray, "prediction block"],
    ]
]:
    """Rows of `known`, and every prediction's cosine, centred cosine and distance with them.

    All three come from one product, that of the centred vectors: p·k = p'·k' + p'·m + m·k' + m·m.
    """
    about, length, from_mean, along, is_mean = _centre(predicted, mean)
    squared_mean = float(mean @ mean)
    for rows in blocks(known.shape[0], max(known.shape[1], len(predicted))):
        others, other_length, other_from_mean, other_along, other_is_mean = _centre(known[rows], mean)
        # Summed in float64 and then rounded: equal vectors get equal cosines wherever they stand in a block.
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


def _centre(
    vectors: Float[np.ndarray, "shape dim"], mean: Float[np.ndarray, " dim"]
) -> tuple[
    Float[np.ndarray, "shape dim"],
    Float[np.ndarray, " shape"],
    Float[np.ndarray, " shape"],
    Float[np.ndarray, " shape"],
    Bool[np.ndarray, " shape"],
]:
    """Vectors about the mean; lengths before and after; products with the mean; which of them are the mean."""
    about = vectors.astype(np.float64)
    length = np.sqrt(np.einsum("sd,sd->s", about, about))
    about -= mean
    from_mean = np.sqrt(np.einsum("sd,sd->s", about, about))
    return about, length, from_mean, about @ mean, from_mean <= NEGLIGIBLE * length


def _greatest(values: Float[np.ndarray, " value"], count: int) -> Int[np.ndarray, " greatest"]:
    """Places of the greatest values, greatest first, equal ones in their order."""
    least = np.partition(values, -count)[-count] if count < len(values) else -np.inf
    places = np.flatnonzero(values >= least)
    return places[np.argsort(-values[places], kind="stable")][:count]
