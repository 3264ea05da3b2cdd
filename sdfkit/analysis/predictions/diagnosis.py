"""The whole diagnosis of predicted vectors: nearest training vectors, ranks of the truths, and a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from sdfkit.analysis.predictions.classes import RankedTruths
from sdfkit.analysis.predictions.kinds import Labels, compare_within_kinds
from sdfkit.analysis.predictions.truths import GroundTruth
from sdfkit.analysis.predictions.verdict import Verdict, judge, select_rows
from sdfkit.analysis.ranking import (
    Ranking,
    Similarity,
    TruthRanking,
    leave_one_out_distances,
    rank_by_cosine,
    rank_truths,
)
from sdfkit.analysis.vectors import Moments, Rows

# Limits on the work of measuring leave-one-out distances of training vectors: the greatest number of multiplications
# and of pairs, and the least number of vectors that are measured all the same. With the limit on multiplications alone,
# all pairs of 100,000 latent codes took minutes.
MULTIPLICATIONS, PAIRS, LEAST = 1e11, 1e8, 128
# The variance share of predictions is their total variance over their mean squared length. Predictions count as
# collapsed up to COLLAPSED, and as not collapsed from DIFFERENT on.
COLLAPSED, DIFFERENT = 0.001, 0.25


@dataclass(frozen=True)
class Diagnosis:
    """Predictions compared with the training vectors."""

    ranking: Ranking
    truth: TruthRanking | None
    """Ranks of the truths among the training vectors, for the predictions in `judged`; None if no truth is known."""
    leave_one_out: Float[np.ndarray, " prediction"]
    """For the training vector nearest to each prediction, its distance from the nearest other training vector."""
    known_leave_one_out: Float[np.ndarray, " sample"]
    """The same distance for all training vectors or, if these are many, for evenly spaced ones."""
    judged: Int[np.ndarray, " judged"]
    """Rows of the predictions that the verdict covers: those whose truth is known, or all if no truth is known."""
    verdict: Verdict


def diagnose(
    predicted: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    truths: GroundTruth | None,
    known: Rows,
    moments: Moments,
    uids: Sequence[str],
    top: int,
    labels: Labels | None = None,
) -> Diagnosis:
    """Rank the training vectors and the truths for each prediction, measure distances, and decide on a verdict.

    Args:
        predicted: Predicted vectors, one a row, none of them zero.
        shape_of: A number for the shape of each prediction, equal for samples of one shape.
        truths: True vectors of the predictions, as far as they are known.
        known: Two or more training vectors, not all equal, none of them zero; they are read in blocks, four times.
        moments: Moments of the training vectors.
        uids: Uids of the training vectors.
        top: Number of most similar training vectors to keep for each prediction.
        labels: Categories of the predictions and of the training vectors; None if they are unknown.
    """
    count, dim = known.shape
    mean = moments.mean
    ranking = rank_by_cosine(predicted, known, mean, top)
    size = min(count, max(LEAST, int(min(MULTIPLICATIONS / dim, PAIRS) / count)))
    sample = np.linspace(0, count - 1, size).astype(np.int64)
    sampled = known[sample]
    # One pass over the training vectors measures the distances of all three sets.
    vectors, own = [known[ranking.nearest], sampled], [ranking.nearest, sample]
    if truths is not None:
        vectors.append(truths.vectors)
        own.append(truths.own)
    distances = leave_one_out_distances(np.concatenate(vectors), np.concatenate(own), known, mean)
    of_nearest, of_sample, of_truths = np.split(distances, [len(predicted), len(predicted) + len(sample)])
    judged, ranked, evidence = np.arange(len(predicted)), None, None
    if truths is not None:
        judged = truths.rows
        ranked = rank_truths(predicted[judged], truths.vectors, truths.own, known, mean)
        evidence = RankedTruths(truths.vectors, ranked, of_truths, truths.own < count)
    kinds = None
    if labels is not None:
        labels = Labels([labels.predicted[int(row)] for row in judged], labels.known)
        kinds = compare_within_kinds(
            predicted[judged], shape_of[judged], labels, known, moments, (sample, sampled), evidence
        )
    verdict = judge(
        predicted[judged], shape_of[judged], select_rows(ranking, judged), of_nearest[judged], moments, sampled, uids,
        evidence, kinds,
    )  # fmt: skip
    return Diagnosis(ranking, ranked, of_nearest, of_sample, judged, verdict)


def judge_alone(similarity: Similarity) -> tuple[str, str]:
    """Decide whether predictions have collapsed, from their similarity to each other alone.

    Returns:
        The verdict (collapse, no collapse or unclear) and its evidence, a sentence.
    """
    share = similarity.variance_share
    if share <= COLLAPSED:
        return "collapse", f"the predictions share all but {share:.2%} of their squared length"
    if share >= DIFFERENT:
        return "no collapse", f"the predictions differ in {share:.0%} of their squared length"
    return "unclear", (
        f"the predictions differ in {share:.1%} of their squared length, as training weights that were fitted from "
        "one common anchor do; compare them with the training vectors (--known) to decide"
    )
