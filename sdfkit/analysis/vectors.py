"""Moments, pairwise cosines and per-layer statistics of sets of vectors.

Sets are read in blocks of rows. A set is an array or any object that reads rows on request (`Rows`), so a set of
100,000 weight vectors, 22 GB, needs the memory of a few blocks only.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from sdfkit.errors import InputError
from sdfkit.rows import Row

# Numbers in a block (8 MB of float64), for any number of vectors. Blocks four times as large took twice the time.
# Matrix products of fewer than 64 long rows are slower still: 16 GFLOP/s with 19 rows of 54,785 numbers, 30 GFLOP/s
# with 64 rows.
BLOCK = 1 << 20
LEAST_ROWS, LONGEST_BLOCK = 64, 1 << 23
# A vector whose distance from the mean is at most this fraction of its length equals the mean up to float32 rounding.
NEGLIGIBLE = 1e-6
# Bins of the fine histogram over [-1, 1] that is filled while the pairs are read.
BINS = 20_000
# All pairs of vectors are compared up to these limits, where the vectors take 256 MB and the comparison seconds.
PAIRED_NUMBERS, PAIRED_ROWS = 1 << 26, 20_000


@runtime_checkable
class Rows(Protocol):
    """A matrix (shape, dim) that reads rows on request."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and number of columns."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Read rows by a slice or by an array of row numbers; the result is an array of floats."""


@runtime_checkable
class VectorSet(Protocol):
    """Vectors and the shape that each belongs to, as `sdfkit.io.stores.contents.vectors` reads them."""

    @property
    def name(self) -> str:
        """Name of the set in messages."""

    @property
    def rows(self) -> Sequence[Row]:
        """The shape of each vector."""

    @property
    def vectors(self) -> Rows:
        """The vectors, one a row."""

    @property
    def dim(self) -> int:
        """Number of dimensions."""

    @property
    def has_uids(self) -> bool:
        """Whether the rows have uids. The rows of a plain array have numbers only."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes of the store that holds the vectors."""


@dataclass(frozen=True)
class Moments:
    """Mean, variance and lengths of a set of vectors, from one pass over it."""

    mean: Float[np.ndarray, " dim"]
    variance: Float[np.ndarray, " dim"]
    """Variance of each dimension."""
    norm: Float[np.ndarray, " shape"]
    """Length of each vector."""
    mean_cosine: float
    """Mean cosine of all pairs of different rows; 1 if there is only one row."""

    @property
    def total_variance(self) -> float:
        """Sum of the variances of all dimensions: the mean squared distance from the mean."""
        return float(self.variance.sum())

    @property
    def variance_share(self) -> float:
        """Total variance over the mean squared length: 0 if all vectors are equal, 1 if their mean is zero."""
        return self.total_variance / float(np.square(self.norm).mean())


@dataclass(frozen=True)
class CosineHistogram:
    """Histogram of the cosines of all pairs of some vectors."""

    rows: int
    """Number of vectors that were paired."""
    min: float
    max: float
    counts: Int[np.ndarray, " bin"]
    edges: Float[np.ndarray, " edge"]
    """Edges of the bins, ascending."""


@dataclass(frozen=True)
class PartStatistics:
    """Statistics of consecutive dimensions of the vectors, such as the weights of one layer."""

    name: str
    dims: int
    """Number of dimensions."""
    norm: float
    """Root mean square length of this part."""
    shared: float | None
    """Squared length of the part's mean over its mean squared length; None if the part is zero in all vectors."""
    variance_share: float
    """Variance of this part over the total variance of the vectors."""
    std: float
    """Square root of the mean of the variances of the part's dimensions."""


def blocks(count: int, width: int) -> Iterator[slice]:
    """Divide `count` rows of `width` numbers into consecutive blocks of about `BLOCK` numbers."""
    width = max(width, 1)
    size = max(1, BLOCK // width, min(LEAST_ROWS, LONGEST_BLOCK // width))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def measure_moments(vectors: Rows, uids: Sequence[str], name: str) -> Moments:
    """Measure the mean, the variances and the lengths of a set in one pass.

    Args:
        vectors: The vectors, one a row; read in blocks.
        uids: Name of each row in the error message.
        name: Name of the set in the error message.

    Raises:
        InputError: A row holds a number that is not finite, or only zeros.
    """
    count, dim = vectors.shape
    norm = np.empty(count)
    centre = np.zeros(dim)
    moved, squared, directions = np.zeros(dim), np.zeros(dim), np.zeros(dim)
    for rows in blocks(count, dim):
        block = np.asarray(vectors[rows], np.float64)
        with np.errstate(invalid="ignore"):
            norm[rows] = np.sqrt(np.einsum("sd,sd->s", block, block))
        _require_directions(norm[rows], uids[rows], name)
        directions += (1 / norm[rows]) @ block
        if not rows.start:
            # Subtract a first estimate of the mean before squaring. Otherwise the variance of vectors that share 96 %
            # of their length would be a small difference of large sums.
            centre = block.mean(axis=0)
        block -= centre
        moved += block.sum(axis=0)
        squared += np.einsum("sd,sd->d", block, block)
    moved /= count
    variance = np.maximum(squared / count - np.square(moved), 0)
    pairs = count * (count - 1)
    cosine = (float(directions @ directions) - count) / pairs if pairs else 1.0
    return Moments(centre + moved, variance, norm, min(max(cosine, -1.0), 1.0))


def _require_directions(norms: Float[np.ndarray, " shape"], uids: Sequence[str], name: str) -> None:
    usable = np.isfinite(norms) & (norms > 0)
    if not usable.all():
        bad = int(usable.argmin())
        fault = (
            "holds numbers that are not finite" if norms[bad] != 0 else "is all zeros, so it has no direction"
        )
        raise InputError(f"{name}: {uids[bad]}: the vector {fault}; drop it or make it again")


def directions_of(
    vectors: Float[np.ndarray, "shape dim"], mean: Float[np.ndarray, " dim"] | None
) -> Float[np.ndarray, "shape dim"]:
    """Divide vectors by their lengths, in float64, after subtracting `mean` if one is given.

    A vector that equals the mean has no direction and becomes zero.
    """
    directions = vectors.astype(np.float64)
    least = NEGLIGIBLE * np.linalg.norm(directions, axis=1, keepdims=True)
    if mean is not None:
        directions -= mean
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions /= np.where(lengths > least, lengths, np.inf)
    return directions


def measure_to_mean(vectors: Rows, mean: Float[np.ndarray, " dim"]) -> Float[np.ndarray, " shape"]:
    """Compute the cosine of each vector with the mean; 0 if the mean is zero."""
    length = float(np.linalg.norm(mean))
    unit = mean / length if length else mean
    cosines = [directions_of(vectors[rows], None) @ unit for rows in blocks(*vectors.shape)]
    cosine: np.ndarray = np.concatenate(cosines).clip(-1, 1)
    return cosine


def choose_paired(count: int, dim: int) -> Int[np.ndarray, " row"]:
    """Choose the rows of a set that are compared in pairs.

    Args:
        count: Number of vectors.
        dim: Number of dimensions.

    Returns:
        All rows in ascending order, or evenly spaced ones that take at most half of the memory limit.
    """
    if count * dim <= PAIRED_NUMBERS and count <= PAIRED_ROWS:
        return np.arange(count)
    limit = min(max(2, PAIRED_NUMBERS // 2 // dim), PAIRED_ROWS)
    return np.unique(np.linspace(0, count - 1, limit).astype(np.int64))


def pair_cosines(
    vectors: Float[np.ndarray, "shape dim"], mean: Float[np.ndarray, " dim"] | None
) -> Iterator[Float[np.ndarray, "..."]]:
    """Yield the cosines of all pairs of different rows, centred if `mean` is given, in blocks of any order."""
    count, dim = vectors.shape
    # The left blocks are large, because the directions of the right blocks are computed anew for each of them.
    height = max(1, LONGEST_BLOCK // max(dim, 1 << 12))
    for start in range(0, count, height):
        left = directions_of(vectors[start : start + height], mean)
        stop = start + len(left)
        for rows in blocks(len(left), max(dim, len(left))):
            # Each pair once: the entries above the diagonal.
            cosines = left[rows] @ left[rows.start :].T
            size = rows.stop - rows.start
            yield cosines[:, :size][np.triu_indices(size, 1)]
            yield cosines[:, size:]
        for rows in blocks(count - stop, max(dim, len(left))):
            yield left @ directions_of(vectors[stop + rows.start : stop + rows.stop], mean).T


def measure_cosines(vectors: Float[np.ndarray, "shape dim"], bins: int) -> CosineHistogram:
    """Compute the histogram of the cosines of all pairs of different rows.

    Args:
        vectors: Two or more vectors, one a row, none of them zero.
        bins: Maximum number of bins; if all cosines are nearly equal, there are fewer.
    """
    least, greatest = np.inf, -np.inf
    fine = np.zeros(BINS, np.int64)
    for cosines in pair_cosines(vectors, None):
        if cosines.size:
            least, greatest = min(least, float(cosines.min())), max(greatest, float(cosines.max()))
            places = ((cosines.ravel() + 1) * (BINS / 2)).astype(np.int64).clip(0, BINS - 1)
            fine += np.bincount(places, minlength=BINS)
    return CosineHistogram(len(vectors), max(least, -1.0), min(greatest, 1.0), *_coarsen(fine, bins))


def _coarsen(
    fine: Int[np.ndarray, " fine"], bins: int
) -> tuple[Int[np.ndarray, " bin"], Float[np.ndarray, " edge"]]:
    """Merge a fine histogram over [-1, 1] into at most `bins` equal bins that cover its non-empty bins.

    Returns:
        The counts and the edges of the bins.
    """
    filled = np.flatnonzero(fine)
    first, last = int(filled[0]), int(filled[-1]) + 1
    step = -(-(last - first) // bins)
    number = -(-(last - first) // step)
    counts = np.zeros(number * step, np.int64)
    counts[: last - first] = fine[first:last]
    edges = (first + step * np.arange(number + 1)) / (len(fine) / 2) - 1
    return counts.reshape(number, step).sum(axis=1), edges


def measure_parts(moments: Moments, parts: Sequence[tuple[str, int]]) -> list[PartStatistics]:
    """Measure the length and the variance of each part of the vectors.

    Args:
        moments: Moments of the whole vectors.
        parts: Name and number of dimensions of each part, in the order of the dimensions.
    """
    measured, start = [], 0
    for name, length in parts:
        run = slice(start, start + length)
        start += length
        common = float(np.square(moments.mean[run]).sum())
        own = float(moments.variance[run].sum())
        measured.append(
            PartStatistics(
                name=name,
                dims=length,
                norm=(common + own) ** 0.5,
                shared=common / (common + own) if common + own else None,
                variance_share=own / moments.total_variance if moments.total_variance else 0.0,
                std=(own / length) ** 0.5,
            )
        )
    return measured


def capture_by_dims(
    variance: Float[np.ndarray, " dim"], counts: Sequence[int]
) -> Float[np.ndarray, " count"]:
    """Return the share of the total variance in the `counts` dimensions of greatest variance; 0 if nothing varies."""
    captured = np.cumsum(np.sort(variance)[::-1])
    total = captured[-1]
    shares: np.ndarray = captured[np.asarray(counts) - 1] / (total if total else 1.0)
    return shares


def random_cosine_density(cosine: Float[np.ndarray, " place"], dim: int) -> Float[np.ndarray, " place"]:
    """Return the probability density of the cosine of two random directions.

    Args:
        cosine: Where to evaluate it, between -1 and 1.
        dim: Number of dimensions, 3 or more.
    """
    from scipy.special import betaln

    log_density = (dim - 3) / 2 * np.log1p(-np.square(cosine)) - betaln(0.5, (dim - 1) / 2)
    density: np.ndarray = np.exp(log_density)
    return density


def implied_std(norm: float, cosine: float, dim: int) -> float:
    """Return the standard deviation per dimension that follows from a common length r and a mean pairwise cosine c.

    If all vectors have the length r, their mean squared distance from the mean is r² (1 - c), and the mean variance of
    a dimension is this distance divided by `dim`.
    """
    return norm * math.sqrt(max(1 - cosine, 0.0) / dim)
