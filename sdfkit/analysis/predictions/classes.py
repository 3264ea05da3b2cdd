"""Classification of single predictions, for example as recalled, as noise or as the mean; see `CLASSES`.

Vectors are compared after subtracting the mean of the training vectors. Squared lengths are given in units of the total
variance of the training vectors, the mean squared distance from that mean. Weight vectors that have 96 % of their
length in common are thus compared by the part in which they differ. The thresholds are not from a paper.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from sdfkit.analysis.ranking import TruthRanking
from sdfkit.analysis.vectors import blocks, directions_of
from sdfkit.wording import agreeing

# The leave-one-out distance of a training vector is its distance from the nearest other training vector. A prediction
# within half of this distance of a training vector is nearer to this training vector than to any other, by the triangle
# inequality: the prediction is an inexact copy of it.
COPY = 0.5
# Thresholds on the squared distance of a prediction from the training mean, over the total variance of the training
# vectors: below AT_MEAN the prediction counts as the mean, from OFF_MEAN on it is clearly not the mean, and above FAR
# it is far outside the training set.
AT_MEAN, OFF_MEAN, FAR = 0.1, 0.3, 4.0
# Two vectors of different shapes are alike if their centred cosine is at least ALIKE. A prediction is crowded if the
# share of predictions like it exceeds the same share among true or training vectors by at least CROWD.
ALIKE, CROWD = 0.6, 0.15
# A prediction follows its truth if their centred cosine is at least FOLLOWING, and if the squared error of the
# prediction is at most ERROR times the squared error of the training mean.
FOLLOWING, ERROR = 0.4, 0.85
# Number of predictions that each prediction is compared with.
COMPARED = 512

# Classes in order of precedence, each as the complement of "are" in a sentence.
CLASSES = {
    "recalled": "recalled",
    "following": "similar to the truth",
    "copy": "copied from the training set",
    "mean": "close to the mean of the training vectors",
    "crowded": "nearly the same as those of other shapes",
    "far": "far outside the training set",
    "noise": "unrelated to the truth",
    "new": "in no other class",
}


@dataclass(frozen=True)
class RankedTruths:
    """The true vector of each classified prediction, with ranks and distances."""

    vectors: Float[np.ndarray, "prediction dim"]
    ranking: TruthRanking
    """Ranks of the truths among all training vectors by similarity to the prediction, and distances from it."""
    leave_one_out: Float[np.ndarray, " prediction"]
    """Distance of each truth from the nearest other training vector."""
    is_known: Bool[np.ndarray, " prediction"]
    """Whether the truth is a training vector."""


def classify(
    size: Float[np.ndarray, " prediction"],
    is_copy: Bool[np.ndarray, " prediction"],
    crowding: Float[np.ndarray, " prediction"],
    truths: RankedTruths | None,
) -> np.ndarray:
    """Return the class of each prediction, the first key of `CLASSES` whose condition holds.

    Args:
        size: Squared distance of each prediction from the training mean, over the total variance of the training
            vectors.
        is_copy: Whether the prediction is an inexact copy of a training vector.
        crowding: Share of predictions of other shapes that are similar to each prediction, minus the expected share;
            see `measure_crowding`.
        truths: True vectors of the predictions; None if they are unknown.
    """
    fits = {"copy": is_copy, "mean": size < AT_MEAN, "crowded": crowding >= CROWD, "far": size > FAR}
    if truths is not None:
        ranking = truths.ranking
        error = np.square(ranking.distance / ranking.mean_distance)
        recalled = truths.is_known & (ranking.distance <= COPY * truths.leave_one_out)
        following = (ranking.centred >= FOLLOWING) & (error <= ERROR)
        fits = {"recalled": recalled, "following": following & ~is_copy, **fits}
        fits["noise"] = (error >= ERROR) & (size >= OFF_MEAN)
    order = [kind for kind in CLASSES if kind in fits]
    return np.select([fits[kind] for kind in order], order, "new")


def count_classes(classes: np.ndarray) -> dict[str, int]:
    """Return the number of predictions of each class that occurs."""
    counts = {kind: int((classes == kind).sum()) for kind in CLASSES}
    return {kind: count for kind, count in counts.items() if count}


def describe_classes(classes: np.ndarray, has_truths: bool) -> str:
    """Return a sentence, without a full stop, that gives the number of predictions of each class."""
    total, counts = len(classes), count_classes(classes)
    if len(counts) == 1:
        kind = next(iter(counts))
        if kind == "new" and not has_truths:
            several = f"none of the {total} predictions matches a known vector"
            return agreeing(total, "the prediction matches no known vector", several)
        return f"{agreeing(total, 'the prediction is', f'all {total} predictions are')} {CLASSES[kind]}"
    *others, last = (
        f"{count} {agreeing(count, 'is', 'are')} {CLASSES[kind]}" for kind, count in counts.items()
    )
    return f"of the {total} predictions, {', '.join(others)} and {last}"


def measure_crowding(
    predicted: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    mean: Float[np.ndarray, " dim"],
    truths: RankedTruths | None,
    others: Float[np.ndarray, "other dim"],
) -> tuple[Float[np.ndarray, " prediction"], float | None]:
    """Measure how much more the predictions of different shapes resemble each other than their truths do.

    If the truths are unknown, the similarity of training vectors takes the place of that of the truths.

    Returns:
        For each prediction, the share of predictions of other shapes that are similar to it, minus the mean of this
        share among the truths or training vectors; and the mean centred cosine of two predictions of different shapes,
        None if there is only one shape.
    """
    share, cosine = _compare_shapes(predicted, shape_of, mean)
    if cosine is None:
        return np.zeros(len(predicted)), None
    right, each = (truths.vectors, shape_of) if truths is not None else (others, np.arange(len(others)))
    return share - _compare_shapes(right, each, mean)[0].mean(), cosine


def _compare_shapes(
    vectors: Float[np.ndarray, "shape dim"],
    shape_of: Int[np.ndarray, " shape"],
    mean: Float[np.ndarray, " dim"],
) -> tuple[Float[np.ndarray, " shape"], float | None]:
    """Return for each vector the share of the other shapes' vectors that are similar to it, and the mean cosine of all.

    Vectors are similar if their cosine, after `mean` is subtracted from both, is at least the threshold.
    """
    columns = np.unique(np.linspace(0, len(vectors) - 1, COMPARED).astype(np.int64))
    right = directions_of(vectors[columns], mean)
    share = np.zeros(len(vectors))
    total, count = 0.0, 0
    for rows in blocks(*vectors.shape):
        cosine = directions_of(vectors[rows], mean) @ right.T
        differ = shape_of[rows, None] != shape_of[columns]
        share[rows] = ((cosine >= ALIKE) & differ).sum(axis=1) / np.maximum(differ.sum(axis=1), 1)
        total += float(cosine[differ].sum())
        count += int(differ.sum())
    return share, total / count if count else None
