"""The verdict on predictions: recall, generalisation, noise, collapse to the mean or to attractors, or unclear.

Each prediction is first assigned to a class (see `sdfkit.analysis.classes`). The verdict follows from the class that
most predictions belong to. If no class has a large majority (say, half of the predictions are recalled and half are
noise), the verdict is "unclear" and gives the counts. The thresholds are not from a paper. They were chosen so that
synthetic sets of each kind (20 to 976 vectors of 8 to 54,785 numbers) get the verdict of their kind, and mixtures of
kinds are unclear.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Float, Int

from sdfkit.analysis.classes import (
    COPY,
    FOLLOWING,
    RankedTruths,
    classify,
    count_classes,
    describe_classes,
    measure_crowding,
)
from sdfkit.analysis.ranking import Ranking
from sdfkit.analysis.vectors import Moments
from sdfkit.wording import agreeing, counted

# The centred cosine of predictions with their truths exceeds that with the training vectors by some number of standard
# deviations. Below CHANCE this may be chance, from SURE on it is not.
CHANCE, SURE = 3.0, 4.0
# Shares of the predictions that must be of one class for a verdict, and the least number of different shapes.
MOST, NEARLY_ALL = 0.8, 0.9
FEWEST = 3

Name = Literal["recall", "generalisation", "noise", "collapse to mean", "collapse to attractors", "unclear"]
Columns = TypeVar("Columns")


@dataclass(frozen=True)
class Verdict:
    """A verdict, the evidence for it in words, and the numbers that it follows from; None where not computable."""

    name: Name
    evidence: str
    predictions: int
    """Number of predictions that the verdict covers."""
    shapes: int
    """Number of different shapes that these predictions are of."""
    classes: dict[str, int]
    """Number of predictions of each class."""
    each: list[str]
    """Class of each prediction."""
    size: float
    """Median squared distance of the predictions from the training mean, over the training vectors' total variance."""
    spread: float | None
    """Total variance of the predictions over that of the training vectors."""
    common: float | None
    """Mean centred cosine of two predictions of different shapes."""
    within: float | None
    """Variance between predictions of the same shape, over the variance of all predictions."""
    fvu: float | None
    """Fraction of variance unexplained: the squared error over the squared error of predicting the training mean."""
    centred: float | None
    """Centred cosine of the concatenated predictions with their concatenated truths."""
    own: float | None
    """The same cosine after subtracting the mean of these predictions and the mean of these truths instead."""
    deviations: float | None
    """Standard deviations by which the centred cosine with the truth exceeds that with other training vectors."""


def select_rows(columns: Columns, rows: Any) -> Columns:
    """Select rows of a dataclass whose fields are arrays with one entry a prediction."""
    return type(columns)(*(values[rows] for values in vars(columns).values()))


def judge(
    predicted: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    ranking: Ranking,
    leave_one_out: Float[np.ndarray, " prediction"],
    known: Moments,
    others: Float[np.ndarray, "other dim"],
    uids: Sequence[str],
    truths: RankedTruths | None,
) -> Verdict:
    """Decide what the predictions of a model show: recall, generalisation, noise or collapse.

    Args:
        predicted: Predicted vectors, one a row.
        shape_of: A number for the shape of each prediction, equal for samples of one shape.
        ranking: Ranking of the training vectors for each prediction.
        leave_one_out: Leave-one-out distance of the training vector nearest to each prediction.
        known: Moments of the training vectors, which must differ.
        others: Some training vectors. Predictions are crowded if they are more similar to each other than these.
        uids: Uids of all training vectors.
        truths: True vectors of the predictions; None unless the truths of all predictions are known.
    """
    about = predicted - known.mean
    size = np.square(about).sum(axis=1) / known.total_variance
    crowding, common = measure_crowding(predicted, shape_of, known.mean, truths, others)
    is_copy = ranking.distance <= COPY * leave_one_out
    classes = classify(size, is_copy, crowding, truths)
    numbers = _measure_numbers(about, shape_of, ranking, known, truths)
    facts = _Evidence(
        classes=classes,
        share={kind: count / len(classes) for kind, count in count_classes(classes).items()},
        shapes=len(np.unique(shape_of)),
        size=float(np.median(size)),
        common=common,
        copied=[uids[row] for row in ranking.nearest[is_copy]],
        truths=truths,
        numbers=numbers,
    )
    name, evidence = _decide(facts)
    evidence = f"{evidence}. {_describe_numbers(facts)}."
    if name in ("noise", "collapse to mean") and facts.shapes >= FEWEST:
        evidence += _explain_hubs(ranking, uids)
    return Verdict(
        name=name,
        evidence=evidence,
        predictions=len(predicted),
        shapes=facts.shapes,
        classes=count_classes(classes),
        each=classes.tolist(),
        size=facts.size,
        common=common,
        **vars(numbers),
    )


@dataclass(frozen=True)
class _Numbers:
    spread: float | None
    within: float | None
    fvu: float | None
    centred: float | None
    own: float | None
    deviations: float | None


@dataclass(frozen=True)
class _Evidence:
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
    numbers: _Numbers

    def sum_shares(self, *classes: str) -> float:
        """Return the share of the predictions that belong to any of the given classes."""
        return sum(self.share.get(kind, 0.0) for kind in classes)

    @property
    def is_informed(self) -> bool:
        """Whether the predictions resemble their truths more than chance explains."""
        deviations, centred = self.numbers.deviations, self.numbers.centred
        return deviations is not None and deviations >= SURE and centred is not None and centred >= FOLLOWING

    @property
    def is_chance(self) -> bool:
        """Whether the predictions are unrelated to their truths and to each other."""
        return (
            abs(self.numbers.deviations or 0) < CHANCE
            and abs(self.numbers.centred or 0) < FOLLOWING / 2
            and self.common is not None
            and self.common < FOLLOWING / 2
        )


def _measure_numbers(
    about: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    ranking: Ranking,
    known: Moments,
    truths: RankedTruths | None,
) -> _Numbers:
    count = len(about)
    moved = about - about.mean(axis=0)
    scatter = float(np.square(moved).sum())
    spread = scatter / (count - 1) / known.total_variance if count > 1 else None
    names, place = np.unique(shape_of, return_inverse=True)
    within = None
    if 1 < len(names) < count and scatter:
        middle = np.zeros((len(names), about.shape[1]))
        np.add.at(middle, place, moved)
        middle /= np.bincount(place)[:, None]
        within = (
            float(np.square(moved - middle[place]).sum()) / (count - len(names)) / (scatter / (count - 1))
        )
    if truths is None:
        return _Numbers(spread, within, None, None, None, None)
    right = truths.vectors - known.mean
    usual, deviation = ranking.centred_moments.T
    above = truths.ranking.centred - usual
    # The mean of n training vectors has an error, whose variance is 1/n of theirs. Subtracting the mean shifts all
    # vectors outside the training set by this same error, so that a prediction and a truth outside the set have a
    # positive centred cosine without being related. Subtract this part of the cosine.
    lengths = np.linalg.norm(about, axis=1) * truths.ranking.mean_distance
    shared = (
        ~truths.is_known * known.total_variance / len(known.norm) / np.where(lengths > 0, lengths, np.inf)
    )
    above -= above.clip(0, shared)
    scores = above / np.where(deviation > 0, deviation, np.inf)
    # Samples of one shape are not independent, so each shape counts once.
    by_shape = np.bincount(place, scores) / np.bincount(place)
    return _Numbers(
        spread=spread,
        within=within,
        fvu=float(np.square(truths.ranking.distance).sum() / np.square(truths.ranking.mean_distance).sum()),
        centred=_cosine(about, right),
        own=_cosine(moved, right - right.mean(axis=0)) if len(names) > FEWEST else None,
        deviations=float(by_shape.mean()) * len(names) ** 0.5,
    )


def _cosine(left: Float[np.ndarray, "row dim"], right: Float[np.ndarray, "row dim"]) -> float:
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(np.einsum("rd,rd->", left, right)) / lengths if lengths else 0.0


def _decide(facts: _Evidence) -> tuple[Name, str]:
    """Return the verdict and the reason for it, a sentence without a full stop."""
    total, truths = len(facts.classes), facts.truths
    if facts.sum_shares("recalled") >= NEARLY_ALL:
        recalled = (facts.classes == "recalled").sum()
        return "recall", (
            f"{recalled} of {counted(total, 'prediction')} {agreeing(recalled, 'is', 'are')} recalled: the distance of "
            "each from its own training vector is at most half that vector's distance from any other"
        )
    if truths is not None and facts.sum_shares("recalled", "following") >= MOST and facts.is_informed:
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
    if facts.sum_shares("copy", "crowded") >= MOST and facts.shapes >= FEWEST:
        return _decide_copies(facts)
    if facts.sum_shares("far") >= MOST and (truths is None or (facts.numbers.deviations or 0) < CHANCE):
        return "noise", (
            "the predictions lie far outside the training set; they may still be standardised, or come from another "
            "model"
        )
    if truths is None:
        within = facts.numbers.within
        if within is not None and within >= NEARLY_ALL and facts.sum_shares("new") >= MOST:
            return "noise", "samples of one shape differ as much as samples of different shapes"
        counts, pronoun = describe_classes(facts.classes, has_truths=False), agreeing(total, "it", "them")
        return "unclear", f"{counts}; give --truth to compare {pronoun} with the true vectors"
    if facts.sum_shares("noise", "far") >= MOST and facts.is_chance and facts.shapes >= FEWEST:
        mixture = "the training mean plus noise" if facts.size < 1 else "noise about the training mean"
        return (
            "noise",
            f"the predictions are {mixture}: they differ from each other, but not as their truths do",
        )
    return "unclear", describe_classes(facts.classes, has_truths=True)


def _decide_following(facts: _Evidence, truths: RankedTruths) -> tuple[Name, str]:
    """Decide on predictions that resemble their truths."""
    numbers = facts.numbers
    first = float((truths.ranking.centred_rank == 1).mean())
    is_all_known = bool(truths.is_known.all())
    if numbers.own is not None and numbers.own < FOLLOWING / 2:
        return "unclear", "the predictions match their truths as a group, but not each its own truth"
    if facts.shapes < FEWEST:
        return (
            "unclear",
            f"the predictions are similar to their truths, but a verdict needs at least {FEWEST} different shapes",
        )
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
    return "generalisation", (
        f"the predictions of {shapes} are similar to their truths without being copies of training vectors "
        f"({len(facts.copied)} of {len(facts.classes)} {agreeing(len(facts.copied), 'is', 'are')} copies)"
    )


def _decide_copies(facts: _Evidence) -> tuple[Name, str]:
    """Decide on predictions that are copies of training vectors, or the same for several shapes."""
    total, copied = len(facts.classes), facts.copied
    uids, counts = np.unique(copied, return_counts=True)
    # The number of different training vectors, by the participation ratio of their counts.
    different = float(counts.sum() ** 2 / np.square(counts).sum()) if len(uids) else 0.0
    few = max(1.5, facts.shapes / 4)
    if facts.sum_shares("crowded") >= MOST or different <= few:
        if not copied:
            return (
                "collapse to attractors",
                "all inputs give nearly the same vector, which is not a training vector",
            )
        names = [str(uids[place]) for place in np.argsort(-counts, kind="stable")[:4]]
        return "collapse to attractors", (
            f"{len(copied)} of {total} predictions, of {counted(facts.shapes, 'shape')}, are copies of the same "
            f"training vectors: {', '.join(names)}{', ...' if len(uids) > 4 else ''}"
        )
    if facts.sum_shares("copy") < MOST or different < facts.shapes / 2:
        return "unclear", describe_classes(facts.classes, facts.truths is not None)
    if facts.truths is None or not facts.truths.is_known.any():
        return (
            "recall",
            f"{len(copied)} of {total} predictions are copies of {counted(len(uids), 'training vector')}",
        )
    return "unclear", (
        f"{len(copied)} of {total} predictions are copies of training vectors of other shapes; check that predictions "
        "and training vectors use the same uids"
    )


def _describe_numbers(facts: _Evidence) -> str:
    """List the measured numbers."""
    numbers, parts = facts.numbers, []
    if numbers.fvu is not None:
        parts.append(
            f"the centred cosine with the truth is {numbers.centred:.2f}, {numbers.deviations:+.1f} standard "
            f"deviations from chance; the squared error is {numbers.fvu:.3g} times that of predicting the mean"
        )
    parts.append(
        f"the squared distance from the training mean is {facts.size:.2g} times that of the training vectors"
    )
    if numbers.within is not None:
        parts.append(f"the variance between samples of one shape is {numbers.within:.0%} of the total")
    return f"Measured: {'; '.join(parts)}"


def _explain_hubs(ranking: Ranking, uids: Sequence[str]) -> str:
    """Explain why the same few training vectors rank first for all predictions, if they do: they are near the mean."""
    first = ranking.order[:, :3]
    rows, counts = np.unique(first, return_counts=True)
    if len(rows) > 1.5 * first.shape[1]:
        return ""
    names = ", ".join(uids[row] for row in rows[np.argsort(-counts, kind="stable")])
    return (
        f" {names} rank first for all predictions because they are close to the training mean, not because the "
        f"predictions resemble them (their median centred cosine with the predictions is "
        f"{np.median(ranking.centred[:, 0]):.2f})."
    )
