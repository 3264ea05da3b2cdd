"""Predicted vectors, ranked against every training vector and compared with each other.

Ranking is the paper's diagnosis of a collapsed model: one that always answers with the centre of its training
set has a high cosine to every truth, so the cosine alone says little. Three things are therefore measured
beside it: the place of the truth among all training vectors, the cosine that the mean of the training vectors
would have reached, and *centred* cosines, for which that mean is taken off both sides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from sdfkit.errors import InputError

# Numbers held at once: 8 MB of float64, whatever the number of vectors. Four times as much was half as fast.
BLOCK = 1 << 20
# Closer to the mean than this, relative to its length, a vector is the mean but for float32's rounding.
NEGLIGIBLE = 1e-6


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
    """The training vectors nearest to each prediction, most similar first."""

    order: Int[np.ndarray, "prediction top"]
    """Rows of the training vectors."""
    cosine: Float32[np.ndarray, "prediction top"]
    centred: Float32[np.ndarray, "prediction top"]
    """The same neighbours' cosines about the mean of the training vectors."""
    margin: Float32[np.ndarray, " prediction"]
    """Cosine of the first less that of the second."""
    to_mean: Float32[np.ndarray, " prediction"]
    """Cosine of each prediction with the mean of the training vectors."""


@dataclass(frozen=True)
class Truth:
    """Where the true training vector of each prediction stands."""

    rank: Int[np.ndarray, " prediction"]
    """1 where no other training vector is nearer."""
    centred_rank: Int[np.ndarray, " prediction"]
    cosine: Float32[np.ndarray, " prediction"]
    centred: Float32[np.ndarray, " prediction"]
    margin: Float32[np.ndarray, " prediction"]
    """Cosine of the truth less that of the best other; negative where another is nearer."""
    mean_cosine: Float32[np.ndarray, " prediction"]
    """What answering with the mean of the training vectors would have reached."""


def require_directions(vectors: Float[np.ndarray, "shape dim"], uids: Sequence[str], name: str) -> None:
    """Refuse vectors that have no direction.

    Args:
        vectors: One a row.
        uids: What the message calls a row.
        name: What the message calls the set.

    Raises:
        InputError: A row holds a number that is not finite, or nothing but zeros.
    """
    for rows in _blocks(len(vectors), vectors.shape[1]):
        block = vectors[rows]
        finite = np.isfinite(block).all(axis=1)
        usable = finite & block.any(axis=1)
        if not usable.all():
            bad = int(usable.argmin())
            fault = "all zeros, so it has no direction" if finite[bad] else "numbers that are not finite"
            raise InputError(f"{name}: {uids[rows.start + bad]}: {fault}; drop it or make it again")


def measure_likeness(vectors: Float[np.ndarray, "shape dim"]) -> Likeness:
    """Compare vectors with each other.

    Args:
        vectors: Two or more, one a row, none of them zero.

    Returns:
        Cosines of all pairs. A vector that equals the mean has no direction about it: here, as below, its
        centred cosines are 0.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    lengths = sum(float(np.square(vectors[rows], dtype=np.float64).sum()) for rows in _blocks(*vectors.shape))
    to_mean = _cosines(vectors, mean, None)
    return Likeness(
        cosine=_summarise_pairs(vectors, None),
        centred=_summarise_pairs(vectors, mean),
        to_mean=Summary(float(to_mean.mean()), float(to_mean.min()), float(to_mean.max())),
        variance_share=_squared_spread(vectors, mean) / lengths,
    )


def compare_spread(
    predicted: Float[np.ndarray, "prediction dim"], known: Float[np.ndarray, "shape dim"]
) -> float:
    """Variance of the predictions over that of the training vectors; near 0 where the model has collapsed."""
    spread, full = (
        _squared_spread(vectors, vectors.mean(axis=0, dtype=np.float64)) / len(vectors)
        for vectors in (predicted, known)
    )
    return spread / full if full else 0.0


def rank_by_cosine(
    predicted: Float[np.ndarray, "prediction dim"], known: Float[np.ndarray, "shape dim"], top: int
) -> Ranking:
    """Order training vectors by cosine similarity to each prediction.

    Args:
        predicted: Vectors to explain, one a row, none of them zero.
        known: Two or more training vectors, one a row, none of them zero; read in blocks, so a memory map of
            any length will do.
        top: Neighbours to keep; all of them where there are fewer.

    Returns:
        The nearest training vectors. Cosines are float32 in [-1, 1]; equal ones keep the order of `known`.

    Reference:
        "Small-data image-to-3-D", the diagnosis of its phase 7, ranks by the plain cosine, and so does this;
        centred cosines are ours.
    """
    keep = max(top, 2)
    mean = known.mean(axis=0, dtype=np.float64)
    order = np.empty((len(predicted), 0), np.int64)
    cosine = centred = np.empty((len(predicted), 0), np.float32)
    for rows, block_cosine, block_centred in _cosine_blocks(predicted, known, mean):
        places = np.broadcast_to(np.arange(rows.start, rows.stop), block_cosine.shape)
        # The best so far stand before the block, whose rows come later in `known`.
        candidates = np.concatenate([cosine, block_cosine], axis=1)
        best = np.stack([_greatest(row, keep) for row in candidates])
        order = np.take_along_axis(np.concatenate([order, places], axis=1), best, axis=1)
        centred = np.take_along_axis(np.concatenate([centred, block_centred], axis=1), best, axis=1)
        cosine = np.take_along_axis(candidates, best, axis=1)
    return Ranking(
        order=order[:, :top],
        cosine=cosine[:, :top],
        centred=centred[:, :top],
        margin=cosine[:, 0] - cosine[:, 1],
        to_mean=_cosines(predicted, mean, None).astype(np.float32),
    )


def find_truth(
    predicted: Float[np.ndarray, "prediction dim"],
    known: Float[np.ndarray, "shape dim"],
    truth: Int[np.ndarray, " prediction"],
) -> Truth:
    """Find the place of each prediction's true vector among all training vectors.

    Args:
        predicted: One a row, none of them zero.
        known: Two or more training vectors, one a row, none of them zero; read in blocks.
        truth: For each prediction the row of `known` that it should have been.

    Returns:
        Places from 1, by cosine and by centred cosine; of equal ones the earlier row of `known` comes first.
    """
    mean = known.mean(axis=0, dtype=np.float64)
    own = _cosines(predicted, known[truth], None).astype(np.float32)
    own_centred = _cosines(predicted, known[truth], mean).astype(np.float32)
    rank = np.ones(len(predicted), np.int64)
    centred_rank = np.ones(len(predicted), np.int64)
    rival = np.full(len(predicted), -np.inf, np.float32)
    for rows, cosine, centred in _cosine_blocks(predicted, known, mean):
        place = np.arange(rows.start, rows.stop)
        is_truth = place == truth[:, None]
        is_earlier = place < truth[:, None]
        for values, mine, ranks in ((cosine, own, rank), (centred, own_centred, centred_rank)):
            is_before = (values > mine[:, None]) | ((values == mine[:, None]) & is_earlier)
            ranks += (is_before & ~is_truth).sum(axis=1)
        rival = np.maximum(rival, np.where(is_truth, -np.inf, cosine).max(axis=1))
    return Truth(
        rank=rank,
        centred_rank=centred_rank,
        cosine=own,
        centred=own_centred,
        margin=own - rival,
        mean_cosine=_cosines(known[truth], mean, None).astype(np.float32),
    )


def _blocks(count: int, width: int) -> Iterator[slice]:
    """Rows in blocks of at most `BLOCK` numbers."""
    size = max(1, BLOCK // max(width, 1))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _directions(
    vectors: Float[np.ndarray, "shape dim"], mean: Float[np.ndarray, " dim"] | None
) -> Float[np.ndarray, "shape dim"]:
    """Unit vectors in float64, about `mean` where one is given; zero for a vector that is the mean."""
    directions = vectors.astype(np.float64)
    least = NEGLIGIBLE * np.linalg.norm(directions, axis=1, keepdims=True)
    if mean is not None:
        directions -= mean
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions /= np.where(lengths > least, lengths, np.inf)
    return directions


def _cosines(
    vectors: Float[np.ndarray, "shape dim"],
    others: Float[np.ndarray, "shape dim"] | Float[np.ndarray, " dim"],
    mean: Float[np.ndarray, " dim"] | None,
) -> Float[np.ndarray, " shape"]:
    """Cosine of each vector with the other of its row, or with the one other."""
    if others.ndim == 1:
        others = np.broadcast_to(others, vectors.shape)
    cosines = [
        np.einsum("sd,sd->s", _directions(vectors[rows], mean), _directions(others[rows], mean))
        for rows in _blocks(*vectors.shape)
    ]
    cosine: np.ndarray = np.concatenate(cosines).clip(-1, 1)
    return cosine


def _cosine_blocks(
    predicted: Float[np.ndarray, "prediction dim"],
    known: Float[np.ndarray, "shape dim"],
    mean: Float[np.ndarray, " dim"],
) -> Iterator[tuple[slice, Float32[np.ndarray, "prediction block"], Float32[np.ndarray, "prediction block"]]]:
    """Rows of `known`, and every prediction's cosine and centred cosine with them."""
    plain, centred = _directions(predicted, None), _directions(predicted, mean)
    for rows in _blocks(len(known), max(known.shape[1], len(predicted))):
        # Summed in float64 and then rounded: equal vectors get equal cosines wherever they stand in a block.
        yield (
            rows,
            np.clip(plain @ _directions(known[rows], None).T, -1, 1).astype(np.float32),
            np.clip(centred @ _directions(known[rows], mean).T, -1, 1).astype(np.float32),
        )


def _greatest(values: Float[np.ndarray, " value"], count: int) -> Int[np.ndarray, " greatest"]:
    """Places of the greatest values, greatest first, equal ones in their order."""
    least = np.partition(values, -count)[-count] if count < len(values) else -np.inf
    places = np.flatnonzero(values >= least)
    return places[np.argsort(-values[places], kind="stable")][:count]


def _summarise_pairs(
    vectors: Float[np.ndarray, "shape dim"], mean: Float[np.ndarray, " dim"] | None
) -> Summary:
    """Cosines of all pairs of different vectors, about `mean` where one is given."""
    directions = _directions(vectors, mean)
    count = len(vectors)
    total, least, greatest = 0.0, np.inf, -np.inf
    for rows in _blocks(count, count):
        cosines = directions[rows] @ directions[rows.start :].T
        # Each pair once: what stands right of the diagonal.
        height = rows.stop - rows.start
        corner = cosines[:, :height][np.triu_indices(height, 1)]
        for part in (corner, cosines[:, height:]):
            if part.size:
                total += float(part.sum())
                least, greatest = min(least, float(part.min())), max(greatest, float(part.max()))
    # Rounding may carry a cosine of equal vectors past 1.
    mean_of_pairs = total / (count * (count - 1) / 2)
    return Summary(*(min(max(value, -1.0), 1.0) for value in (mean_of_pairs, least, greatest)))


def _squared_spread(vectors: Float[np.ndarray, "shape dim"], mean: Float[np.ndarray, " dim"]) -> float:
    """Sum of squared distances from `mean`."""
    return sum(float(np.square(vectors[rows] - mean).sum()) for rows in _blocks(*vectors.shape))
