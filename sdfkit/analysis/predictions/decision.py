"""Decides on a verdict from the measurements of predictions; see `sdfkit.analysis.predictions.verdict`."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from sdfkit.analysis.predictions.classes import ALIKE, COPY, FOLLOWING, RankedTruths, describe_classes
from sdfkit.analysis.predictions.faults import explain_distance, explain_order, explain_scale
from sdfkit.analysis.predictions.kinds import WithinKinds
from sdfkit.analysis.vectors import Moments
from sdfkit.wording import agreeing, counted

# The centred cosine of predictions with their truths exceeds that with the training vectors by some number of standard
# deviations. Below CHANCE this may be chance, from SURE on it is not.
CHANCE, SURE = 3.0, 4.0
# Shares of the predictions that must be of one class for a verdict, and the least number of different shapes.
MOST, NEARLY_ALL = 0.8, 0.9
FEWEST = 3
# The least number of shapes for a collapse to several vectors: of fewer, some are often similar by chance.
FEWEST_CROWDED = 10
# The least number of training vectors for a verdict, and of dimensions: the squared total variance over the sum of the
# squared variances.
FEWEST_KNOWN, FEWEST_DIMENSIONS = 8, 4.0

Name = Literal[
    "recall", "generalisation", "kinds only", "noise", "collapse to mean", "collapse to attractors", "wrong scale",
    "unclear",
]  # fmt: skip


@dataclass(frozen=True)
class Numbers:
    """The numbers of a verdict; see `sdfkit.analysis.predictions.verdict.Verdict`."""

    spread: float | None
    within: float | None
    fvu: float | None
    centred: float | None
    own: float | None
    deviations: float | None


@dataclass(frozen=True)
class Evidence:
    """The measurements that decide the verdict."""

    classes: np.ndarray
    share: dict[str, float]
    """Share of the predictions of each class that occurs."""
    shapes: int
    size: float
    common: float | None
    copied: list[str]
    """For each prediction that is a copy, the uid of the training vector that it is a copy of."""
    truths: RankedTruths | None
    numbers: Numbers
    kinds: WithinKinds | None

    def sum_shares(self, *classes: str) -> float:
        """Return the share of the predictions that belong to any of the given classes."""
        return sum(self.share.get(kind, 0.0) for kind in classes)

    @property
    def is_informed(self) -> bool:
        """Whether the predictions resemble their truths more than chance explains."""
        deviations, centred = self.numbers.deviations, self.numbers.centred
        return deviations is not None and deviations >= SURE and centred is not None and centred >= FOLLOWING

    @property
    def is_kinds_only(self) -> bool:
        """Whether the predictions are unrelated to their truths within categories."""
        kinds = self.kinds
        if kinds is None or kinds.centred is None or kinds.deviations is None:
            return False
        return kinds.centred < FOLLOWING / 2 and kinds.deviations < CHANCE

    @property
    def is_chance(self) -> bool:
        """Whether the predictions are unrelated to their truths and to each other."""
        return (
            abs(self.numbers.deviations or 0) < CHANCE
            and abs(self.numbers.centred or 0) < FOLLOWING / 2
            and self.common is not None
            and self.common < FOLLOWING / 2
        )


def decide(
    facts: Evidence,
    predicted: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    known: Moments,
) -> tuple[Name, str]:
    """Return the verdict and the reason for it, a sentence without a full stop.

    Args:
        facts: The measurements.
        predicted: Predicted vectors, one a row.
        shape_of: A number for the shape of each prediction, equal for samples of one shape.
        known: Moments of the training vectors.
    """
    return (
        _withhold(facts, known)
        or _find_fault(predicted, facts, known)
        or _decide(facts, predicted, shape_of, known)
    )


def _withhold(facts: Evidence, known: Moments) -> tuple[Name, str] | None:
    """Return the reason why these vectors support no verdict; None if they may."""
    dimensions = known.total_variance**2 / float(np.square(known.variance).sum())
    reason = None
    if facts.shapes < FEWEST:
        reason = f"a verdict needs at least {FEWEST} different shapes"
    elif len(known.norm) < FEWEST_KNOWN:
        reason = f"a verdict needs at least {FEWEST_KNOWN} training vectors, but there are {len(known.norm)}"
    elif dimensions < FEWEST_DIMENSIONS:
        reason = (
            f"a verdict needs vectors that vary in at least {FEWEST_DIMENSIONS:g} dimensions, but these vary in about "
            f"{dimensions:.2g}, where vectors at random are often similar"
        )
    if reason is None:
        return None
    return "unclear", f"{describe_classes(facts.classes, facts.truths is not None)}; {reason}"


def _find_fault(
    predicted: Float[np.ndarray, "prediction dim"], facts: Evidence, known: Moments
) -> tuple[Name, str] | None:
    """Return the verdict on predictions that are wrong by a factor or opposite to their truths; None if neither."""
    truths, numbers = facts.truths, facts.numbers
    if truths is None:
        return None
    fault = explain_scale(predicted, truths.vectors, known)
    if fault is not None:
        return "wrong scale", f"the predictions have another scale than the training vectors: {fault}"
    if (numbers.deviations or 0) <= -SURE and (numbers.centred or 0) <= -FOLLOWING:
        return (
            "wrong scale",
            "the predictions lie opposite to their truths about the training mean; check their sign",
        )
    return None


def _decide(
    facts: Evidence,
    predicted: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    known: Moments,
) -> tuple[Name, str]:
    """Return the verdict and the reason for it, a sentence without a full stop."""
    total, truths = len(facts.classes), facts.truths
    if facts.sum_shares("recalled") >= NEARLY_ALL:
        recalled = (facts.classes == "recalled").sum()
        return "recall", (
            f"{recalled} of {counted(total, 'prediction')} {agreeing(recalled, 'is', 'are')} recalled: the distance of "
            "each from its own training vector is at most half that vector's distance from any other"
        )
    similar = facts.sum_shares("recalled", "following")
    if facts.is_kinds_only:
        similar += facts.sum_shares("crowded")
    if truths is not None and similar >= MOST and facts.is_informed:
        return _decide_following(facts, truths)
    if facts.sum_shares("mean") >= MOST:
        if facts.is_informed:
            return (
                "unclear",
                "the predictions are close to the mean of the training vectors, but displaced towards their truths",
            )
        return (
            "collapse to mean",
            "the predictions are close to the mean of the training vectors, whatever the input",
        )
    if facts.kinds is not None and facts.kinds.at_mean >= MOST and not facts.sum_shares("copy"):
        return "kinds only", "the predictions are the means of their categories, whatever the shape"
    if facts.sum_shares("copy", "crowded") >= MOST:
        return _decide_copies(facts)
    if facts.sum_shares("far") >= MOST and truths is None:
        return (
            "unclear",
            f"the predictions lie far outside the training set; {explain_distance(predicted, known)}",
        )
    if facts.sum_shares("far") >= MOST and abs(facts.numbers.deviations or 0) < CHANCE:
        return "noise", "the predictions lie far outside the training set, and are unrelated to their truths"
    if truths is None:
        within = facts.numbers.within
        if within is not None and within >= NEARLY_ALL and facts.sum_shares("new") >= MOST:
            return "noise", "samples of one shape differ as much as samples of different shapes"
        counts, pronoun = describe_classes(facts.classes, has_truths=False), agreeing(total, "it", "them")
        return "unclear", f"{counts}; give --truth to compare {pronoun} with the true vectors"
    order = explain_order(predicted, truths.vectors, shape_of, known.mean)
    if order is not None:
        return "unclear", order
    if facts.sum_shares("noise", "far") >= MOST and facts.is_chance:
        mixture = "the training mean plus noise" if facts.size < 1 else "noise about the training mean"
        return (
            "noise",
            f"the predictions are {mixture}: they differ from each other, but not as their truths do",
        )
    return "unclear", describe_classes(facts.classes, has_truths=True)


def _decide_following(facts: Evidence, truths: RankedTruths) -> tuple[Name, str]:
    """Decide on predictions that resemble their truths."""
    numbers = facts.numbers
    first = float((truths.ranking.centred_rank == 1).mean())
    is_all_known = bool(truths.is_known.all())
    kinds = facts.kinds
    if (
        kinds is not None
        and kinds.centred is not None
        and kinds.deviations is not None
        and not (kinds.centred >= FOLLOWING / 2 and kinds.deviations >= SURE)
    ):
        within = f"(cosine with the truth about the mean of its category {kinds.centred:.2f}, {kinds.deviations:+.1f} "
        within += "standard deviations from chance)"
        if facts.is_kinds_only:
            return "kinds only", (
                f"the predictions match the categories of their truths, but within a category they are unrelated to "
                f"them {within}"
            )
        return "unclear", (
            f"the predictions match the categories of their truths; whether they match more is unclear {within}"
        )
    if numbers.own is not None and numbers.own < FOLLOWING / 2:
        return "unclear", "the predictions match their truths as a group, but not each its own truth"
    if is_all_known and first >= NEARLY_ALL:
        if (numbers.fvu or 0) <= COPY:
            return (
                "recall",
                f"the truth is the most similar training vector for {first:.0%} of the predictions, though these are "
                "not exact",
            )
        return (
            "unclear",
            f"the truth is the most similar training vector for {first:.0%} of the predictions, but their error is "
            "large",
        )
    shapes = "training shapes" if is_all_known else "shapes that are not in the training set"
    within = "whether they match more than its category is not known, because categories are missing"
    if kinds is not None and kinds.centred is not None:
        within = f"also about the mean of their category, with a cosine of {kinds.centred:.2f}"
    return "generalisation", (
        f"the predictions of {shapes} are similar to their truths without being copies of training vectors "
        f"({len(facts.copied)} of {len(facts.classes)} {agreeing(len(facts.copied), 'is', 'are')} copies); {within}"
    )


def _decide_copies(facts: Evidence) -> tuple[Name, str]:
    """Decide on predictions that are copies of training vectors, or the same for several shapes."""
    total, copied = len(facts.classes), facts.copied
    uids, counts = np.unique(copied, return_counts=True)
    # The number of different training vectors, by the participation ratio of their counts.
    different = float(counts.sum() ** 2 / np.square(counts).sum()) if len(uids) else 0.0
    few = max(1.5, facts.shapes / 4)
    if facts.sum_shares("crowded") >= MOST or different <= few:
        if not copied and (facts.common or 0) >= ALIKE:
            return (
                "collapse to attractors",
                "all inputs give nearly the same vector, which is not a training vector",
            )
        if not copied and facts.shapes < FEWEST_CROWDED:
            return "unclear", describe_classes(facts.classes, facts.truths is not None)
        if not copied:
            return "collapse to attractors", (
                "many different inputs give nearly the same vectors, which are not training vectors; they may be those "
                "of their categories"
            )
        names = [str(uids[place]) for place in np.argsort(-counts, kind="stable")[:4]]
        return "collapse to attractors", (
            f"{len(copied)} of {total} predictions, of {counted(facts.shapes, 'shape')}, are copies of the same "
            f"training vectors: {', '.join(names)}{', ...' if len(uids) > 4 else ''}"
        )
    if facts.sum_shares("copy") < MOST:
        return "unclear", describe_classes(facts.classes, facts.truths is not None)
    if different < facts.shapes / 2:
        return "unclear", (
            f"{len(copied)} of {total} predictions are copies of training vectors, of only {len(uids)} different ones"
        )
    if facts.truths is None or not facts.truths.is_known.any():
        return (
            "recall",
            f"{len(copied)} of {total} predictions are copies of {counted(len(uids), 'training vector')}",
        )
    return "unclear", (
        f"{len(copied)} of {total} predictions are copies of training vectors of other shapes; check that predictions "
        "and training vectors use the same uids"
    )
