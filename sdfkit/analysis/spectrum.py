"""Variances along the principal components of a set of vectors: exact for small sets, otherwise randomised."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sdfkit.analysis.vectors import Rows, blocks

# Up to this many rows or dimensions the result is exact: the eigenvalues of a matrix of this size take seconds.
EXACT = 2048
# Parameters of the randomised method: number of directions beyond the components asked for, and power iterations.
OVERSAMPLING, POWER_ITERATIONS = 14, 2


@dataclass(frozen=True)
class Spectrum:
    """Variances along the principal components."""

    variance: Float[np.ndarray, " component"]
    """Variances of all components, greatest first; if `is_exact` is false, lower bounds for the first components."""
    total: float
    """Total variance of all dimensions."""
    effective_rank: float
    """Participation ratio (Σ λ)² / Σ λ² of the variances λ: n for n components of equal variance."""
    is_exact: bool

    def capture(self, components: int) -> float | None:
        """Return the share of the variance in the first components; None if fewer were computed."""
        if components > len(self.variance) and not self.is_exact:
            return None
        return float(self.variance[:components].sum() / self.total) if self.total else 1.0


def measure_spectrum(
    vectors: Rows, mean: Float[np.ndarray, " dim"], components: int, rng: np.random.Generator
) -> Spectrum:
    """Compute the variances along the principal components of a set.

    The effective rank also needs the sum of the squares of all variances. If the set is too large for an exact result,
    this sum is estimated by Hutchinson's method from the same matrix products.

    Args:
        vectors: Two or more vectors, one a row; read in blocks.
        mean: Their mean.
        components: Number of components to compute if the set is too large for an exact result.
        rng: Draws the directions of the randomised method; unused if the result is exact.

    Reference:
        Halko, Martinsson and Tropp, Finding Structure with Randomness (2011), algorithm 4.4.
    """
    count, dim = vectors.shape
    if min(count, dim) > EXACT:
        return _estimate(vectors, mean, components, rng)
    matrix = gram_matrix(vectors, mean) if count <= dim else scatter_matrix(vectors, mean)
    variance = np.linalg.eigvalsh(matrix)[::-1].clip(0) / count
    total, squared = float(variance.sum()), float(np.square(variance).sum())
    return Spectrum(variance, total, total**2 / squared if squared else 0.0, True)


def gram_matrix(vectors: Rows, mean: Float[np.ndarray, " dim"]) -> Float[np.ndarray, "shape shape"]:
    """Compute the scalar products of all pairs of centred vectors."""
    count, dim = vectors.shape
    matrix = np.empty((count, count))
    for rows in blocks(count, dim):
        left = vectors[rows] - mean
        for others in blocks(rows.stop, dim):
            matrix[rows, others] = left @ (vectors[others] - mean).T
    return np.tril(matrix) + np.tril(matrix, -1).T


def scatter_matrix(vectors: Rows, mean: Float[np.ndarray, " dim"]) -> Float[np.ndarray, "dim dim"]:
    """Compute the scatter matrix of the vectors: their covariance times their number."""
    count, dim = vectors.shape
    matrix = np.zeros((dim, dim))
    for rows in blocks(count, dim):
        block = vectors[rows] - mean
        matrix += block.T @ block
    return matrix


def _estimate(
    vectors: Rows, mean: Float[np.ndarray, " dim"], components: int, rng: np.random.Generator
) -> Spectrum:
    count, dim = vectors.shape
    directions = rng.standard_normal((dim, min(components + OVERSAMPLING, dim)))
    total, product = multiply_scatter(vectors, mean, directions)
    # E |C ω|² is the sum of squared variances if ω is drawn from the unit normal distribution.
    squared = float(np.square(product / count).sum()) / directions.shape[1]
    for _ in range(POWER_ITERATIONS):
        directions = np.linalg.qr(product)[0]
        _, product = multiply_scatter(vectors, mean, directions)
    variance = np.linalg.eigvalsh(directions.T @ product)[::-1].clip(0) / count
    return Spectrum(variance[:components], total / count, (total / count) ** 2 / squared, False)


def multiply_scatter(
    vectors: Rows, mean: Float[np.ndarray, " dim"], directions: Float[np.ndarray, "dim direction"]
) -> tuple[float, Float[np.ndarray, "dim direction"]]:
    """Multiply the scatter matrix of the vectors by some directions, in one pass and without forming the matrix.

    Returns:
        The squared length of the centred vectors, summed, and the product.
    """
    # Products in float32 take half the time, and their error is smaller than that of the method.
    total, product, single = 0.0, np.zeros(directions.shape), directions.astype(np.float32)
    for rows in blocks(*vectors.shape):
        block = (vectors[rows] - mean).astype(np.float32)
        total += float(np.einsum("sd,sd->s", block, block).sum(dtype=np.float64))
        product += block.T @ (block @ single)
    return total, product
