"""All that is asked of predictions: their neighbours, their truths, their distances, and what they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from sdfkit.analysis.ranking import Likeness, Ranking, Truth, find_truth, measure_reach, rank_by_cosine
from sdfkit.analysis.vectors import Moments, Rows
from sdfkit.analysis.verdict import Truths, Verdict, judge, pick

# Multiplications and pairs spent on the distances between training vectors, and of how many they are in any case.
# Of 100,000 codes, all pairs within the multiplications alone took minutes.
EFFORT, PAIRS, LEAST = 1e11, 1e8, 128
# Alone, vectors that differ by no more than the first share of their squared length are one; by the second, differ.
ONE, APART = 0.001, 0.25


@dataclass(frozen=True)
class Told:
    """The predictions whose truth is known."""

    rows: Int[np.ndarray, " told"]
    """Of the predictions."""
    vectors: Float[np.ndarray, "told dim"]
    own: Int[np.ndarray, " told"]
    """Their rows among the training vectors, or the number of these where they are not among them."""


@dataclass(frozen=True)
class Diagnosis:
    """Predictions beside the training vectors."""

    ranking: Ranking
    truth: Truth | None
    """Of the predictions whose truth is known."""
    reach: Float[np.ndarray, " prediction"]
    """Of the training vector nearest to each prediction, the distance from its own nearest neighbour."""
    apart: Float[np.ndarray, " sample"]
    """The same of training vectors, or where they are many, of some that are evenly spaced."""
    judged: Int[np.ndarray, " judged"]
    """The predictions that the verdict is on: those whose truth is known, or where it is of none, all."""
    verdict: Verdict


def diagnose(
    predicted: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    told: Told | None,
    known: Rows,
    moments: Moments,
    uids: Sequence[str],
    top: int,
) -> Diagnosis:
    """Rank predictions, find their truths, measure their distances and judge them.

    Args:
        predicted: One a row, none of them zero.
        shape_of: A number for the shape that each is of; samples of one shape share it.
        told: What some of them should have been.
        known: Two or more training vectors that differ, none of them zero; read in blocks, three times.
        moments: Of the training vectors.
        uids: Of the training vectors.
        top: Neighbours of each prediction to keep.
    """
    count, dim = known.shape
    mean = moments.mean
    ranking = rank_by_cosine(predicted, known, mean, top)
    size = min(count, max(LEAST, int(min(EFFORT / dim, PAIRS) / count)))
    sample = np.linspace(0, count - 1, size).astype(np.int64)
    some = known[sample]
    asked, own = [known[ranking.nearest], some], [ranking.nearest, sample]
    if told is not None:
        asked.append(told.vectors)
        own.append(told.own)
    reach = measure_reach(np.concatenate(asked), np.concatenate(own), known, mean)
    near, apart, far = np.split(reach, [len(predicted), len(predicted) + len(sample)])
    judged, truth, truths = np.arange(len(predicted)), None, None
    if told is not None:
        judged = told.rows
        truth = find_truth(predicted[judged], told.vectors, told.own, known, mean)
        truths = Truths(told.vectors, truth, far, told.own < count)
    verdict = judge(
        predicted[judged], shape_of[judged], pick(ranking, judged), near[judged], moments, some, uids, truths
    )
    return Diagnosis(ranking, truth, near, apart, judged, verdict)


def judge_alone(likeness: Likeness) -> tuple[str, str]:
    """Tell whether vectors have collapsed on each other, as far as they show it without any others."""
    share = likeness.variance_share
    if share <= ONE:
        return "collapse", f"all predictions are one vector but for {share:.2%} of their squared length"
    if share >= APART:
        return "no collapse", f"the predictions differ in {share:.0%} of their squared length"
    return "unclear", (
        f"the predictions differ in {share:.1%} of their squared length; training weights that share an anchor do "
        "so too: only --known tells"
    )
