"""The geometry of a set of vectors, and what it means for a model that shall learn them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from sdfkit.analysis.spectrum import Spectrum, measure_spectrum
from sdfkit.analysis.vectors import (
    Moments,
    Pairs,
    Part,
    Rows,
    capture_by_dims,
    implied_std,
    measure_moments,
    measure_pairs,
    measure_parts,
    measure_to_mean,
    pairable,
)

# The paper's rows of its table of variance, and the number of dimensions that it has them for.
PAPERS_COUNTS, PAPERS_DIM = (10, 1_000, 10_000, 25_000), 54_785
COMPONENTS = (1, 10, 50)
# Of the squared length, what vectors of one direction share, and what those of any direction may. Of the norms, how
# much they differ at most in a shell.
SHARED, UNSHARED, SHELL = 0.5, 0.1, 0.05
# The largest share of the dimensions, or rows, that an effective rank of few directions is.
FEW = 0.25


@dataclass(frozen=True)
class Statistics:
    """How the vectors of a set lie."""

    moments: Moments
    pairs: Pairs
    to_mean: Float[np.ndarray, " shape"]
    """Cosine of each vector with their mean."""
    spectrum: Spectrum
    counts: Int[np.ndarray, " count"]
    """Numbers of dimensions, as the paper's table has them."""
    captured: Float[np.ndarray, " count"]
    """Share of the variance in so many dimensions, those that vary most."""
    floored: int
    """Dimensions whose standard deviation is below a floor: standardising divides by that instead."""
    implied_std: float
    """Of a dimension, as mean norm and mean cosine imply it."""
    parts: list[Part]

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
    """Measure a set, in flat memory: in five passes where it is large both ways.

    Args:
        vectors: Two or more, one a row; read in blocks.
        uids: What messages call a row.
        name: What messages call the set.
        parts: Names and lengths of the runs of dimensions to tell apart, or none.
        floor: Standard deviation below which a dimension counts as floored.
        bins: For the cosines of pairs, at most.
        rng: Draws directions where the spectrum is too large to be exact.

    Raises:
        InputError: A row holds a number that is not finite, or nothing but zeros.

    Reference:
        "Small-data image-to-3-D", the table of the weight vectors' geometry; that table's std of 0.0008 a dimension
        does not follow from its norms and cosines, so both are given.
    """
    count, dim = vectors.shape
    moments = measure_moments(vectors, uids, name)
    counts = scale_counts(dim)
    # Evenly spaced, where not all pairs can be looked at; the mean cosine is exact in any case.
    rows = np.unique(np.linspace(0, count - 1, pairable(count, dim)).astype(np.int64))
    paired = vectors[:] if len(rows) == count else vectors[rows]
    return Statistics(
        moments=moments,
        pairs=measure_pairs(paired, bins),
        to_mean=measure_to_mean(vectors, moments.mean),
        spectrum=measure_spectrum(vectors, moments.mean, COMPONENTS[-1], rng),
        counts=counts,
        captured=capture_by_dims(moments.variance, counts.tolist()),
        floored=int((np.sqrt(moments.variance) < floor).sum()),
        implied_std=implied_std(float(moments.norm.mean()), moments.mean_cosine, dim),
        parts=measure_parts(moments, parts),
    )


def scale_counts(dim: int) -> Int[np.ndarray, " count"]:
    """The paper's numbers of dimensions, or for shorter vectors the same shares of them."""
    scaled = [max(1, round(count * min(1, dim / PAPERS_DIM))) for count in PAPERS_COUNTS]
    return np.unique(np.array(scaled, np.int64))


def explain(statistics: Statistics) -> str:
    """What the numbers mean, in a sentence or two."""
    moments, spectrum = statistics.moments, statistics.spectrum
    shared = 1 - moments.own_share
    if not moments.spread:
        return "One vector again and again: nothing differs."
    variation = float(moments.norm.std() / moments.norm.mean())
    if shared >= SHARED:
        shape = "Thin shell" if variation <= SHELL else "Cluster"
        first = (
            f"{shape}: {shared:.0%} of the squared length is shared, and {1 - shared:.1%} tells shapes apart. "
            f"A prediction of nothing but the mean has a cosine of {statistics.to_mean.mean():.3f} to the truth"
        )
    elif shared <= UNSHARED:
        first = (
            f"Spread about the origin: {shared:.1%} of the squared length is shared, so plain cosines tell"
        )
    else:
        first = f"Partly shared: {shared:.0%} of the squared length is common to all vectors"
    possible = min(len(moments.norm) - 1, len(moments.mean))
    rank = spectrum.effective_rank
    if rank <= FEW * possible:
        second = f"they differ along few directions: effective rank {rank:.3g} of {possible} possible"
    else:
        second = (
            f"what differs is spread over many directions: effective rank {rank:.3g} of {possible} possible"
        )
    return f"{first}; {second}."
