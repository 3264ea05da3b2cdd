"""The plane in which a set of vectors varies most, to draw it as a map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sdfkit.analysis.spectrum import EXACT, SHARPENINGS, SPARE, covariance, gram, multiply
from sdfkit.analysis.vectors import NEGLIGIBLE, Rows, blocks
from sdfkit.errors import InputError


@dataclass(frozen=True)
class Plane:
    """Vectors by their first two principal components."""

    place: Float[np.ndarray, "shape 2"]
    """Coordinates about the mean, in the unit of the vectors: distances in the plane are never longer than theirs."""
    shares: tuple[float, float]
    """Of the variance, along each of the two; 0 where vectors do not differ."""


def fit_plane(vectors: Rows, uids: Sequence[str], name: str, rng: np.random.Generator) -> Plane:
    """Lay vectors into the plane of their first two principal components.

    A component points to where its largest entry is positive, so that equal vectors give an equal map. Exact up to
    2,048 vectors or dimensions, as `measure_spectrum` is.

    Args:
        vectors: One a row; read in blocks.
        uids: What the message calls a row.
        name: What the message calls the set.
        rng: Draws the directions of the randomised method; unused where the result is exact.

    Raises:
        InputError: A row holds a number that is not finite.
    """
    count, dim = vectors.shape
    mean = np.zeros(dim)
    for rows in blocks(count, dim):
        block = np.asarray(vectors[rows], np.float64)
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            bad = rows.start + int(finite.argmin())
            raise InputError(f"{name}: {uids[bad]}: numbers that are not finite; drop it or make it again")
        mean += block.sum(axis=0) / count
    axes, total = _find_axes(vectors, mean, rng)
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.where(axes[largest, np.arange(axes.shape[1])] < 0, -1, 1)
    place = np.zeros((count, 2))
    for rows in blocks(count, dim):
        place[rows, : axes.shape[1]] = (vectors[rows] - mean) @ axes
    spread = np.square(place).sum(axis=0) / total if total else np.zeros(2)
    return Plane(place, (float(spread[0]), float(spread[1])))


def _find_axes(
    vectors: Rows, mean: Float[np.ndarray, " dim"], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "dim axis"], float]:
    """Up to two unit directions, the one of most variance first, and the vectors' squared length about the mean."""
    count, dim = vectors.shape
    if min(count, dim) > EXACT:
        followed = rng.standard_normal((dim, 2 + SPARE))
        for _ in range(SHARPENINGS):
            followed = np.linalg.qr(multiply(vectors, mean, followed)[1])[0]
        total, product = multiply(vectors, mean, followed)
        return followed @ np.linalg.eigh(followed.T @ product)[1][:, :-3:-1], total
    if count > dim:
        matrix = covariance(vectors, mean)
        return np.linalg.eigh(matrix)[1][:, :-3:-1], float(np.trace(matrix))
    matrix = gram(vectors, mean)
    weights = np.linalg.eigh(matrix)[1][:, :-3:-1]
    axes = np.zeros((dim, weights.shape[1]))
    for rows in blocks(count, dim):
        axes += (vectors[rows] - mean).T @ weights[rows]
    lengths, total = np.linalg.norm(axes, axis=0), float(np.trace(matrix))
    # A direction in which nothing varies is found from rounding errors alone, and is none.
    return axes / np.where(lengths > NEGLIGIBLE * total**0.5, lengths, np.inf), total
