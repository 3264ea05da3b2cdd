"""The plane of the first two principal components of a set of vectors, for drawing the set as a map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sdfkit.analysis.spectrum import (
    EXACT,
    OVERSAMPLING,
    POWER_ITERATIONS,
    gram_matrix,
    multiply_scatter,
    scatter_matrix,
)
from sdfkit.analysis.vectors import NEGLIGIBLE, Rows, blocks
from sdfkit.errors import InputError


@dataclass(frozen=True)
class Plane:
    """Vectors projected onto their first two principal components."""

    coordinates: Float[np.ndarray, "shape 2"]
    """Coordinates relative to the mean, in the unit of the vectors. Projection lengthens no distance."""
    shares: tuple[float, float]
    """Share of the variance along each component; 0 if all vectors are equal."""


def fit_plane(vectors: Rows, uids: Sequence[str], name: str, rng: np.random.Generator) -> Plane:
    """Project vectors onto the plane of their first two principal components.

    The sign of each component is chosen so that its largest entry is positive, so that equal vectors give equal
    coordinates in every run. The result is exact up to 2,048 vectors or dimensions, as in `measure_spectrum`.

    Args:
        vectors: The vectors, one a row; read in blocks.
        uids: Name of each row in the error message.
        name: Name of the set in the error message.
        rng: Draws the directions of the randomised method; unused if the result is exact.

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
            raise InputError(
                f"{name}: {uids[bad]}: the vector holds numbers that are not finite; drop it or make it again"
            )
        mean += block.sum(axis=0) / count
    axes, total = _find_axes(vectors, mean, rng)
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.where(axes[largest, np.arange(axes.shape[1])] < 0, -1, 1)
    coordinates = np.zeros((count, 2))
    for rows in blocks(count, dim):
        coordinates[rows, : axes.shape[1]] = (vectors[rows] - mean) @ axes
    shares = np.square(coordinates).sum(axis=0) / total if total else np.zeros(2)
    return Plane(coordinates, (float(shares[0]), float(shares[1])))


def _find_axes(
    vectors: Rows, mean: Float[np.ndarray, " dim"], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "dim axis"], float]:
    """Find up to two unit directions of greatest variance.

    Returns:
        The directions, that of greatest variance first, and the sum of the squared lengths of the centred vectors.
    """
    count, dim = vectors.shape
    if min(count, dim) > EXACT:
        directions = rng.standard_normal((dim, 2 + OVERSAMPLING))
        for _ in range(POWER_ITERATIONS):
            directions = np.linalg.qr(multiply_scatter(vectors, mean, directions)[1])[0]
        total, product = multiply_scatter(vectors, mean, directions)
        return directions @ np.linalg.eigh(directions.T @ product)[1][:, :-3:-1], total
    if count > dim:
        matrix = scatter_matrix(vectors, mean)
        return np.linalg.eigh(matrix)[1][:, :-3:-1], float(np.trace(matrix))
    matrix = gram_matrix(vectors, mean)
    weights = np.linalg.eigh(matrix)[1][:, :-3:-1]
    axes = np.zeros((dim, weights.shape[1]))
    for rows in blocks(count, dim):
        axes += (vectors[rows] - mean).T @ weights[rows]
    lengths, total = np.linalg.norm(axes, axis=0), float(np.trace(matrix))
    # A direction of no variance consists of rounding errors only; set it to zero.
    return axes / np.where(lengths > NEGLIGIBLE * total**0.5, lengths, np.inf), total
