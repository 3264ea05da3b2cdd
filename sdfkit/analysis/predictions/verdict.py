"""The verdict on predictions: recall, generalisation, kinds only, noise, collapse, wrong scale, or unclear.

Each prediction is first assigned to a class (see `sdfkit.analysis.predictions.classes`). The verdict follows from the
class that most predictions belong to. If no class has a large majority (say, half of the predictions are recalled and
half are noise), the verdict is "unclear" and gives the counts. It is withheld from few shapes, few training vectors and
few dimensions, where predictions at random have similar numbers. The thresholds are not from a paper. They were chosen
so that synthetic sets of each kind (20 to 976 vectors of 8 to 54,785 numbers) get the verdict of their kind, and
mixtures of kinds are unclear.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int

from sdfkit.analysis.predictions.classes import (
    COPY,
    RankedTruths,
    classify,
    count_classes,
    measure_crowding,
)
from sdfkit.analysis.predictions.decision import FEWEST, Evidence, Name, Numbers, decide
from sdfkit.analysis.predictions.kinds import WithinKinds
from sdfkit.analysis.ranking import Ranking
from sdfkit.analysis.vectors import Moments

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
    within_kinds: WithinKinds | None
    """The comparison within categories; None if categories are unknown."""


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
    kinds: WithinKinds | None,
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
        kinds: The comparison of predictions with their categories; None if these are unknown.
    """
    about = predicted - known.mean
    size = np.square(about).sum(axis=1) / known.total_variance
    crowding, common = measure_crowding(predicted, shape_of, known.mean, truths, others)
    is_copy = ranking.distance <= COPY * leave_one_out
    classes = classify(size, is_copy, crowding, truths)
    numbers = _measure_numbers(about, shape_of, ranking, known, truths)
    facts = Evidence(
        classes=classes,
        share={kind: count / len(classes) for kind, count in count_classes(classes).items()},
        shapes=len(np.unique(shape_of)),
        size=float(np.median(size)),
        common=common,
        copied=[uids[row] for row in ranking.nearest[is_copy]],
        truths=truths,
        numbers=numbers,
        kinds=kinds,
    )
    name, evidence = decide(facts, predicted, shape_of, known)
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
        within_kinds=kinds,
        **vars(numbers),
    )


def _measure_numbers(
    about: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    ranking: Ranking,
    known: Moments,
    truths: RankedTruths | None,
) -> Numbers:
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
        return Numbers(spread, within, None, None, None, None)
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
    return Numbers(
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


def _describe_numbers(facts: Evidence) -> str:
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
