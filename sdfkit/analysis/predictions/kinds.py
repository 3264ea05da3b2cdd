"""Whether predictions resemble their truths beyond the kind of shape: a comparison within categories.

A model that answers with the mean of a category explains much of the variance of its truths if categories differ much.
Within a category, such predictions are unrelated to their truths.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from sdfkit.analysis.predictions.classes import RankedTruths
from sdfkit.analysis.vectors import Moments, Rows, blocks, directions_of

# The least number of training vectors of a category for a mean, and of training vectors for the cosines of chance.
FEWEST_OF_KIND, FEWEST_OTHERS = 2, 8
# Share of the different shapes that must belong to such categories.
COVERED = 0.8
# A prediction is the mean of its category if its squared distance from this mean is below this share of the variance
# within the category.
AT_KIND_MEAN = 0.2


@dataclass(frozen=True)
class Labels:
    """Categories of shapes; empty where unknown."""

    predicted: Sequence[str]
    """Category of each prediction."""
    known: Sequence[str]
    """Category of each training vector."""


@dataclass(frozen=True)
class WithinKinds:
    """Predictions compared with the means of their categories. Numbers that need truths are None without them."""

    kinds: int
    """Number of categories of the predictions."""
    at_mean: float
    """Share of predictions that are the mean of the training vectors of their category."""
    centred: float | None
    """Cosine with the truths after subtracting the mean of the category from both."""
    fvu: float | None
    """Squared error over the squared error of predicting the mean of the category."""
    deviations: float | None
    """Standard deviations by which that cosine exceeds that with other training vectors."""


def compare_within_kinds(
    predicted: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    labels: Labels,
    known: Rows,
    moments: Moments,
    others: tuple[Int[np.ndarray, " other"], Float[np.ndarray, "other dim"]],
    truths: RankedTruths | None,
) -> WithinKinds | None:
    """Compare predictions with the means of the training vectors of their categories, and with their truths about them.

    Args:
        predicted: Predicted vectors, one a row.
        shape_of: A number for the shape of each prediction.
        labels: Categories of the predictions and of all training vectors.
        known: The training vectors; they are read once, in blocks.
        moments: Their moments.
        others: Rows in `known`, and vectors, of some training vectors.
        truths: True vectors of the predictions; None if they are unknown.

    Returns:
        The comparison; None if fewer than 80 % of the shapes have a category with two or more training vectors.
    """
    names = sorted({*labels.predicted} - {""})
    place = {name: index for index, name in enumerate(names)}
    kind = np.array([place.get(name, -1) for name in labels.predicted], np.int64)
    known_kind = np.array([place.get(name, -1) for name in labels.known], np.int64)
    count = np.bincount(known_kind[known_kind >= 0], minlength=len(names))
    covered = (kind >= 0) & (np.append(count, 0)[kind] >= FEWEST_OF_KIND)
    if len(np.unique(shape_of[covered])) < COVERED * len(np.unique(shape_of)):
        return None
    means, variance = _measure_kinds(known, known_kind, count, moments.mean)
    kind, shape_of = kind[covered], shape_of[covered]
    about = predicted[covered] - moments.mean - means[kind]
    at_mean = float((np.square(about).sum(axis=1) <= AT_KIND_MEAN * variance[kind]).mean())
    kinds = len(np.unique(kind))
    rows, vectors = others
    used = known_kind[rows] >= 0
    if truths is None or used.sum() < FEWEST_OTHERS:
        return WithinKinds(kinds, at_mean, None, None, None)
    right = truths.vectors[covered] - moments.mean - means[kind]
    lengths = np.linalg.norm(about, axis=1) * np.linalg.norm(right, axis=1)
    safe = np.where(lengths > 0, lengths, np.inf)
    dots = np.einsum("pd,pd->p", about, right)
    # The error of the mean of n training vectors shifts predictions and truths outside the training set alike.
    shared = ~truths.is_known[covered] * (variance / np.maximum(count, 1))[kind]
    dots -= dots.clip(0, shared)
    residuals = vectors[used] - moments.mean - means[known_kind[rows[used]]]
    chance = directions_of(about, None) @ directions_of(residuals, None).T
    deviation = chance.std(axis=1)
    scores = (dots / safe - chance.mean(axis=1)) / np.where(deviation > 0, deviation, np.inf)
    each = np.unique(shape_of, return_inverse=True)[1]
    by_shape = np.bincount(each, scores) / np.bincount(each)
    whole = float(np.linalg.norm(about) * np.linalg.norm(right))
    unexplained = float(np.square(right).sum())
    return WithinKinds(
        kinds=kinds,
        at_mean=at_mean,
        centred=float(dots.sum()) / whole if whole else 0.0,
        fvu=float(np.square(about - right).sum()) / unexplained if unexplained else None,
        deviations=float(by_shape.mean()) * len(by_shape) ** 0.5,
    )


def _measure_kinds(
    known: Rows,
    kind: Int[np.ndarray, " shape"],
    count: Int[np.ndarray, " kind"],
    mean: Float[np.ndarray, " dim"],
) -> tuple[Float[np.ndarray, "kind dim"], Float[np.ndarray, " kind"]]:
    """Return each category's mean relative to the mean of all, and its vectors' mean squared distance from it."""
    total, squared = np.zeros((len(count), known.shape[1])), np.zeros(len(count))
    for rows in blocks(*known.shape):
        own = kind[rows] >= 0
        if own.any():
            vectors = known[rows][own] - mean
            np.add.at(total, kind[rows][own], vectors)
            np.add.at(squared, kind[rows][own], np.square(vectors).sum(axis=1))
    divisor = np.maximum(count, 1)
    means = total / divisor[:, None]
    return means, np.maximum(squared / divisor - np.square(means).sum(axis=1), 0)
