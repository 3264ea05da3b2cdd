"""Sets of vectors, read in blocks of rows: their moments, the cosines of their pairs, their layers.

A set may be an array or anything that reads its rows when they are asked for, so that 100,000 vectors of weights,
22 GB, pass in the memory of a few blocks.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from sdfkit.errors import InputError

# Numbers held at once: 8 MB of float64, whatever the number of vectors. Four times as much was half as fast, but
# matrix products of fewer than 64 long rows are slower still: 16 GF/s at 19 rows of 54,785, 30 at 64.
BLOCK = 1 << 20
LEAST_ROWS, LONGEST_BLOCK = 64, 1 << 23
# Closer to the mean than this, relative to its length, a vector is the mean but for float32's rounding.
NEGLIGIBLE = 1e-6
# Intervals of cosines that are counted while pairs pass.
BINS = 20_000
# Rows of which all pairs are looked at: as many as fit into 256 MB, and no more than cost seconds.
PAIRED_NUMBERS, PAIRED_ROWS = 1 << 26, 20_000


@runtime_checkable
class Rows(Protocol):
    """A matrix (shape, dim) whose rows are read when they are asked for, by a slice or by their numbers."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and numbers in each."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Those rows, an array of floats."""


@dataclass(frozen=True)
class Moments:
    """What one pass over a set tells of it."""

    mean: Float[np.ndarray, " dim"]
    variance: Float[np.ndarray, " dim"]
    """Mean squared distance from the mean, of each dimension."""
    norm: Float[np.ndarray, " shape"]
    """Length of each vector."""
    mean_cosine: float
    """Of all pairs of different vectors; of a single vector, 1."""

    @property
    def spread(self) -> float:
        """Mean squared distance from the mean."""
        return float(self.variance.sum())

    @property
    def own_share(self) -> float:
        """Share of the squared length that is not common to all vectors: 0 where all are one vector."""
        return self.spread / float(np.square(self.norm).mean())


@dataclass(frozen=True)
class Pairs:
    """Cosines of all pairs of some vectors."""

    rows: int
    """How many vectors were paired."""
    min: float
    max: float
    counts: Int[np.ndarray, " bin"]
    edges: Float[np.ndarray, " edge"]
    """Of the bins, from the least cosine to the greatest."""


@dataclass(frozen=True)
class Part:
    """A run of dimensions, such as one layer's weights."""

    name: str
    dims: int
    norm: float
    """Root of the mean squared length of this part."""
    shared: float | None
    """Share of its squared length that is common to all vectors; None of a part that is zero in all of them."""
    variance_share: float
    """Of the whole vectors' spread, what lies in this part."""
    std: float
    """Root mean square over the part's dimensions."""


def blocks(count: int, width: int) -> Iterator[slice]:
    """Rows in blocks of about `BLOCK` numbers."""
    width = max(width, 1)
    size = max(1, BLOCK // width, min(LEAST_ROWS, LONGEST_BLOCK // width))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def measure_moments(vectors: Rows, uids: Sequence[str], name: str) -> Moments:
    """Mean, variances and lengths of a set, in one pass.

    Args:
        vectors: One a row; read in blocks.
        uids: What the message calls a row.
        name: What the message calls the set.

    Raises:
        InputError: A row holds a number that is not finite, or nothing but zeros.
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
            # Taken off before anything is squared: of vectors that share 96 % little else would cancel well.
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
        fault = "numbers that are not finite" if norms[bad] != 0 else "all zeros, so it has no direction"
        raise InputError(f"{name}: {uids[bad]}: {fault}; drop it or make it again")


def directions_of(
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


def measure_to_mean(vectors: Rows, mean: Float[np.ndarray, " dim"]) -> Float[np.ndarray, " shape"]:
    """Cosine of each vector with the mean; 0 where the mean has no direction."""
    length = float(np.linalg.norm(mean))
    unit = mean / length if length else mean
    cosines = [directions_of(vectors[rows], None) @ unit for rows in blocks(*vectors.shape)]
    cosine: np.ndarray = np.concatenate(cosines).clip(-1, 1)
    return cosine


def pairable(count: int, dim: int) -> int:
    """Of how many vectors all pairs are looked at: of all, or where that takes too much, in half of that memory."""
    if count * dim <= PAIRED_NUMBERS and count <= PAIRED_ROWS:
        return count
    return min(max(2, PAIRED_NUMBERS // 2 // dim), PAIRED_ROWS)


def pair_cosines(
    vectors: Float[np.ndarray, "shape dim"], mean: Float[np.ndarray, " dim"] | None
) -> Iterator[Float[np.ndarray, "..."]]:
    """Cosines of all pairs of different vectors, in blocks and no order, about `mean` where one is given."""
    count, dim = vectors.shape
    # Long on one side: every block of the other is made into directions once for each.
    height = max(1, LONGEST_BLOCK // max(dim, 1 << 12))
    for start in range(0, count, height):
        left = directions_of(vectors[start : start + height], mean)
        stop = start + len(left)
        for rows in blocks(len(left), max(dim, len(left))):
            # Each pair once: what stands right of the diagonal.
            cosines = left[rows] @ left[rows.start :].T
            size = rows.stop - rows.start
            yield cosines[:, :size][np.triu_indices(size, 1)]
            yield cosines[:, size:]
        for rows in blocks(count - stop, max(dim, len(left))):
            yield left @ directions_of(vectors[stop + rows.start : stop + rows.stop], mean).T


def measure_pairs(vectors: Float[np.ndarray, "shape dim"], bins: int) -> Pairs:
    """Cosines of all pairs of different vectors.

    Args:
        vectors: Two or more, one a row, none of them zero.
        bins: How many to count the cosines in, at most; fewer where they hardly differ.
    """
    least, greatest = np.inf, -np.inf
    fine = np.zeros(BINS, np.int64)
    for cosines in pair_cosines(vectors, None):
        if cosines.size:
            least, greatest = min(least, float(cosines.min())), max(greatest, float(cosines.max()))
            places = ((cosines.ravel() + 1) * (BINS / 2)).astype(np.int64).clip(0, BINS - 1)
            fine += np.bincount(places, minlength=BINS)
    return Pairs(len(vectors), max(least, -1.0), min(greatest, 1.0), *_coarsen(fine, bins))


def _coarsen(
    fine: Int[np.ndarray, " fine"], bins: int
) -> tuple[Int[np.ndarray, " bin"], Float[np.ndarray, " edge"]]:
    """Counts over [-1, 1] as those of at most `bins` equal bins around what is counted, and their edges."""
    filled = np.flatnonzero(fine)
    first, last = int(filled[0]), int(filled[-1]) + 1
    step = -(-(last - first) // bins)
    number = -(-(last - first) // step)
    counts = np.zeros(number * step, np.int64)
    counts[: last - first] = fine[first:last]
    edges = (first + step * np.arange(number + 1)) / (len(fine) / 2) - 1
    return counts.reshape(number, step).sum(axis=1), edges


def name_layers(bands: int, hidden: int, layers: int) -> list[tuple[str, int]]:
    """The parts of a per-shape network's vector and their lengths: of each layer first the weight, then the bias.

    Args:
        bands: Octaves of the positional encoding of points, as in the store's description of the network.
        hidden: Width of the hidden layers.
        layers: How many of these there are.
    """
    widths = [3 + 2 * 3 * bands, *[hidden] * layers, 1]
    return [
        part
        for layer, (inputs, outputs) in enumerate(pairwise(widths), 1)
        for part in ((f"layer {layer} weight", outputs * inputs), (f"layer {layer} bias", outputs))
    ]


def measure_parts(moments: Moments, parts: Sequence[tuple[str, int]]) -> list[Part]:
    """How the length and the spread of vectors are shared between runs of their dimensions."""
    measured, start = [], 0
    for name, length in parts:
        run = slice(start, start + length)
        start += length
        common = float(np.square(moments.mean[run]).sum())
        own = float(moments.variance[run].sum())
        measured.append(
            Part(
                name=name,
                dims=length,
                norm=(common + own) ** 0.5,
                shared=common / (common + own) if common + own else None,
                variance_share=own / moments.spread if moments.spread else 0.0,
                std=(own / length) ** 0.5,
            )
        )
    return measured


def capture_by_dims(
    variance: Float[np.ndarray, " dim"], counts: Sequence[int]
) -> Float[np.ndarray, " count"]:
    """Share of the variance in as many dimensions, those that vary most."""
    captured = np.cumsum(np.sort(variance)[::-1])
    total = captured[-1]
    shares: np.ndarray = captured[np.asarray(counts) - 1] / (total if total else 1.0)
    return shares


def implied_std(norm: float, cosine: float, dim: int) -> float:
    """Standard deviation of a dimension that vectors of one length and a mean pairwise cosine must have.

    Where |v| = r for all, the mean squared distance from their mean is r² (1 - c), which `dim` dimensions share.
    """
    return norm * math.sqrt(max(1 - cosine, 0.0) / dim)
