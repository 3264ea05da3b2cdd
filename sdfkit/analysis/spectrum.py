"""Principal components of sets of vectors, exactly where that is cheap, else by a randomised method in few passes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sdfkit.analysis.vectors import Rows, blocks

# Matrices of this side are decomposed in seconds.
EXACT = 2048
# Of the randomised method: directions followed, beyond those that are wanted, and passes that sharpen them.
SPARE, SHARPENINGS = 14, 2


@dataclass(frozen=True)
class Spectrum:
    """Variances along the principal components."""

    variance: Float[np.ndarray, " component"]
    """Greatest first: of all components, or where `is_exact` is false, of the first ones, at least these."""
    total: float
    """Of all dimensions."""
    effective_rank: float
    """How many components of equal variance would spread as much: (Σ λ)² / Σ λ²."""
    is_exact: bool

    def capture(self, components: int) -> float | None:
        """Share of the variance in so many components; None where they were not followed."""
        if components > len(self.variance) and not self.is_exact:
            return None
        return float(self.variance[:components].sum() / self.total) if self.total else 1.0


def measure_spectrum(
    vectors: Rows, mean: Float[np.ndarray, " dim"], components: int, rng: np.random.Generator
) -> Spectrum:
    """Variances along the principal components of a set.

    Args:
        vectors: Two or more, one a row; read in blocks.
        mean: Of them.
        components: How many to follow where not all can be.
        rng: Draws the directions of the randomised method; unused where the result is exact.

    Reference:
        Halko, Martinsson and Tropp, Finding Structure with Randomness (2011), algorithm 4.4; the sum of squared
        variances is Hutchinson's estimate from the same products.
    """
    count, dim = vectors.shape
    if min(count, dim) > EXACT:
        return _estimate(vectors, mean, components, rng)
    matrix = gram(vectors, mean) if count <= dim else covariance(vectors, mean)
    variance = np.linalg.eigvalsh(matrix)[::-1].clip(0) / count
    total, squared = float(variance.sum()), float(np.square(variance).sum())
    return Spectrum(variance, total, total**2 / squared if squared else 0.0, True)


def gram(vectors: Rows, mean: Float[np.ndarray, " dim"]) -> Float[np.ndarray, "shape shape"]:
    """The products of all pairs of centred vectors."""
    count, dim = vectors.shape
    matrix = np.empty((count, count))
    for rows in blocks(count, dim):
        left = vectors[rows] - mean
        for others in blocks(rows.stop, dim):
            matrix[rows, others] = left @ (vectors[others] - mean).T
    return np.tril(matrix) + np.tril(matrix, -1).T


def covariance(vectors: Rows, mean: Float[np.ndarray, " dim"]) -> Float[np.ndarray, "dim dim"]:
    """The scatter matrix of the centred vectors: their covariance times their number."""
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
    followed = rng.standard_normal((dim, min(components + SPARE, dim)))
    total, product = multiply(vectors, mean, followed)
    # E |C ω|² is the sum of squared variances, for ω of unit normal numbers.
    squared = float(np.square(product / count).sum()) / followed.shape[1]
    for _ in range(SHARPENINGS):
        followed = np.linalg.qr(product)[0]
        _, product = multiply(vectors, mean, followed)
    variance = np.linalg.eigvalsh(followed.T @ product)[::-1].clip(0) / count
    return Spectrum(variance[:components], total / count, (total / count) ** 2 / squared, False)


def multiply(
    vectors: Rows, mean: Float[np.ndarray, " dim"], directions: Float[np.ndarray, "dim direction"]
) -> tuple[float, Float[np.ndarray, "dim direction"]]:
    """The squared length of the centred vectors, and their scatter matrix times some directions, in one pass."""
    # Products in float32 take half the time, and are off by less than the method itself.
    total, product, single = 0.0, np.zeros(directions.shape), directions.astype(np.float32)
    for rows in blocks(*vectors.shape):
        block = (vectors[rows] - mean).astype(np.float32)
        total += float(np.einsum("sd,sd->s", block, block).sum(dtype=np.float64))
        product += block.T @ (block @ single)
    return total, product
