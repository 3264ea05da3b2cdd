"""Statistics of a set of vectors, and their meaning for a model that learns to predict the vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from sdfkit.analysis.spectrum import Spectrum, measure_spectrum
from sdfkit.analysis.vectors import (
    CosineHistogram,
    Moments,
    PartStatistics,
    Rows,
    capture_by_dims,
    choose_paired,
    implied_std,
    measure_cosines,
    measure_moments,
    measure_parts,
    measure_to_mean,
)

# Numbers of dimensions in the table of variance of the paper "Small-data image-to-3-D", and the length of its vectors.
PAPERS_COUNTS, PAPERS_DIM = (10, 1_000, 10_000, 25_000), 54_785
COMPONENTS = (1, 10, 50)
# Share of the mean squared length that lies in the mean vector: from SHARED on the set is called a shell or a cluster,
# up to UNSHARED it is called centred on the origin. A set is called a shell, not a cluster, if the coefficient of
# variation of the lengths of its vectors is at most SHELL.
SHARED, UNSHARED, SHELL = 0.5, 0.1, 0.05
# The vectors are said to differ along few directions if their effective rank is at most this share of the greatest
# possible rank.
FEW = 0.25


@dataclass(frozen=True)
class Statistics:
    """Statistics of a set of vectors."""

    moments: Moments
    cosines: CosineHistogram
    to_mean: Float[np.ndarray, " shape"]
    """Cosine of each vector with the mean of the set."""
    spectrum: Spectrum
    counts: Int[np.ndarray, " count"]
    """Numbers of dimensions for which `captured` is given, as in the table of "Small-data image-to-3-D"."""
    captured: Float[np.ndarray, " count"]
    """Share of the total variance that lies in the dimensions of greatest variance, for each number of dimensions."""
    floored: int
    """Number of dimensions whose standard deviation is below a floor; standardising divides by the floor instead."""
    implied_std: float
    """Standard deviation per dimension that follows from the mean length and the mean cosine of pairs."""
    parts: list[PartStatistics]

    @property
    def std(self) -> Float[np.ndarray, " dim"]:
        """Standard deviation of each dimension."""
        deviations: np.ndarray = np.sqrt(self.moments.variance)
        return deviations


def measure_statistics(
    vectors: Rows,
    uids: Sequence[str],
    name: str,
    parts: Sequence[tuple[str, int]],
    floor: float,
    bins: int,
    rng: np.random.Generator,
) -> Statistics:
    """Measure a set of vectors in constant memory.

    A set with many rows and many dimensions is read five times, and the rows that are compared in pairs once more.

    Args:
        vectors: Two or more vectors, one a row; read in blocks.
        uids: Name of each row in the error message.
        name: Name of the set in the error message.
        parts: Name and number of dimensions of each part of the vectors to measure separately; may be empty.
        floor: Standard deviation below which a dimension counts in `Statistics.floored`.
        bins: Maximum number of bins of the histogram of cosines.
        rng: Draws the directions of the randomised spectrum; unused if the spectrum is exact.

    Raises:
        InputError: A row holds a number that is not finite, or only zeros.

    Reference:
        The table of the geometry of weight vectors in "Small-data image-to-3-D". Its standard deviation of 0.0008 per
        dimension does not follow from its norms and cosines, so the measured and the implied one are both returned.
    """
    count, dim = vectors.shape
    moments = measure_moments(vectors, uids, name)
    counts = scale_counts(dim)
    # If there are too many pairs, only evenly spaced rows are paired. The mean cosine, from the moments, stays exact.
    rows = choose_paired(count, dim)
    paired = vectors[:] if len(rows) == count else vectors[rows]
    return Statistics(
        moments=moments,
        cosines=measure_cosines(paired, bins),
        to_mean=measure_to_mean(vectors, moments.mean),
        spectrum=measure_spectrum(vectors, moments.mean, COMPONENTS[-1], rng),
        counts=counts,
        captured=capture_by_dims(moments.variance, counts.tolist()),
        floored=int((np.sqrt(moments.variance) < floor).sum()),
        implied_std=implied_std(float(moments.norm.mean()), moments.mean_cosine, dim),
        parts=measure_parts(moments, parts),
    )


def scale_counts(dim: int) -> Int[np.ndarray, " count"]:
    """Return the numbers of dimensions in the paper's table; for shorter vectors, the same shares of all dimensions."""
    scaled = [max(1, round(count * min(1, dim / PAPERS_DIM))) for count in PAPERS_COUNTS]
    return np.unique(np.array(scaled, np.int64))


def explain(statistics: Statistics) -> str:
    """Explain in one or two sentences what the statistics mean."""
    moments, spectrum = statistics.moments, statistics.spectrum
    shared = 1 - moments.variance_share
    if not moments.total_variance:
        return "All vectors are equal."
    variation = float(moments.norm.std() / moments.norm.mean())
    if shared >= SHARED:
        shape = "Thin shell" if variation <= SHELL else "Cluster"
        first = (
            f"{shape}: {shared:.0%} of the squared length is common to all vectors, and {1 - shared:.1%} distinguishes "
            "them. A model that only predicts the mean reaches a cosine of "
            f"{statistics.to_mean.mean():.3f} with the truth"
        )
    elif shared <= UNSHARED:
        first = (
            f"Centred on the origin: only {shared:.1%} of the squared length is common to all vectors, so plain "
            "cosines are informative"
        )
    else:
        first = f"Partly shared: {shared:.0%} of the squared length is common to all vectors"
    possible = min(len(moments.norm) - 1, len(moments.mean))
    rank = spectrum.effective_rank
    directions = "few directions" if rank <= FEW * possible else "many directions"
    return f"{first}; the vectors differ along {directions}: their effective rank is {rank:.3g} of at most {possible}."
