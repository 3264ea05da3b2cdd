"""What predictions are: recall, generalisation, noise, collapse to the mean or to attractors; or unclear.

Everything is measured about the mean of the training vectors and in units of their spread, the mean squared
distance from that mean, so that vectors which share 96 % of their length are judged by the rest.

Each prediction is first put into a class of its own. A verdict names what most of them are; a set of which half is
recalled and half is noise is called unclear, and the counts are told. The bounds below are ours. They were set so that
each kind of synthetic set, of 20 to 976 vectors of 8 to 54,785 numbers, gets its name, and mixtures do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from sdfkit.analysis.ranking import Ranking, Truth
from sdfkit.analysis.vectors import Moments, blocks, directions_of

# A vector nearer to one than half the distance from that one to its nearest neighbour is nearer to it than to any
# other, by the triangle inequality: it is that one, but for what it is off.
COPY = 0.5
# Of the training spread: below the first a prediction is the mean; above the second it is not; beyond the third it
# is none of the training set's kind.
AT_MEAN, OFF_MEAN, FAR = 0.1, 0.3, 4.0
# Two predictions about the mean with this cosine are one answer; a crowd is such a share of the predictions beyond
# what the true or training vectors have among each other.
ALIKE, CROWD = 0.6, 0.15
# What a prediction that follows its truth has at least and at most: centred cosine, and squared error over the mean's.
FOLLOWING, ERROR = 0.4, 0.85
# Of the centred cosine with the truth: standard deviations above that with the training vectors.
CHANCE, SURE = 3.0, 4.0
MOST, NEARLY_ALL = 0.8, 0.9
FEWEST = 3
# Predictions that each prediction is compared with.
COMPARED = 512

Name = Literal["recall", "generalisation", "noise", "collapse to mean", "collapse to attractors", "unclear"]
Facts = TypeVar("Facts")


@dataclass(frozen=True)
class Truths:
    """The true vectors of predictions, and how they lie."""

    vectors: Float[np.ndarray, "prediction dim"]
    place: Truth
    reach: Float[np.ndarray, " prediction"]
    """Distance of each truth from the nearest other training vector."""
    is_known: Bool[np.ndarray, " prediction"]
    """Whether it is a training vector."""


@dataclass(frozen=True)
class Verdict:
    """The name of what predictions are, why, and the numbers behind it; None where they are not known."""

    name: Name
    evidence: str
    predictions: int
    shapes: int
    """Different shapes among them."""
    classes: dict[str, int]
    """How many predictions are of each class."""
    each: list[str]
    """The class of each."""
    size: float
    """Median squared distance from the mean, in spreads of the training vectors."""
    spread: float | None
    """Mean squared distance from the predictions' own mean, likewise."""
    common: float | None
    """Mean centred cosine between predictions of different shapes."""
    within: float | None
    """Share of the predictions' spread that lies between samples of one shape."""
    fvu: float | None
    """Squared error over that of answering with the mean: fraction of variance unexplained."""
    centred: float | None
    """Centred cosine of all predictions with their truths, taken as one vector."""
    own: float | None
    """The same about the means of these predictions and of these truths."""
    deviations: float | None
    """Standard deviations by which it is more than with other training vectors."""


def pick(facts: Facts, rows: Any) -> Facts:
    """Some rows of facts that hold one array entry a prediction."""
    return type(facts)(*(values[rows] for values in vars(facts).values()))


def judge(
    predicted: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    ranking: Ranking,
    reach: Float[np.ndarray, " prediction"],
    known: Moments,
    others: Float[np.ndarray, "other dim"],
    uids: Sequence[str],
    truths: Truths | None,
) -> Verdict:
    """Tell what predictions are.

    Args:
        predicted: One a row.
        shape_of: A number for the shape that each is of; samples of one shape share it.
        ranking: Their ranking among the training vectors.
        reach: Of the training vector nearest to each, the distance from its own nearest neighbour.
        known: Moments of the training vectors, which must differ.
        others: Some training vectors, to know how alike they are.
        uids: Of all training vectors.
        truths: What the predictions should have been, where that is known of all.
    """
    about = predicted - known.mean
    size = np.square(about).sum(axis=1) / known.spread
    facts = _Facts(
        truths=truths,
        size=size,
        is_copy=ranking.distance <= COPY * reach,
        nearest=ranking.nearest,
        shapes=len(np.unique(shape_of)),
        crowding=_measure_crowding(predicted, shape_of, known.mean, truths, others),
    )
    classes = _classify(facts)
    numbers = _measure(about, shape_of, ranking, known, truths)
    name, evidence = _decide(facts, classes, numbers, [uids[row] for row in ranking.nearest])
    if name in ("noise", "collapse to mean") and facts.shapes >= FEWEST:
        evidence += _explain_hubs(ranking, uids)
    return Verdict(
        name=name,
        evidence=evidence,
        predictions=len(predicted),
        shapes=facts.shapes,
        classes={kind: int((classes == kind).sum()) for kind in CLASSES if (classes == kind).any()},
        each=classes.tolist(),
        size=float(np.median(size)),
        common=facts.crowding[1],
        **vars(numbers),
    )


@dataclass(frozen=True)
class _Facts:
    truths: Truths | None
    size: Float[np.ndarray, " prediction"]
    is_copy: Bool[np.ndarray, " prediction"]
    nearest: Int[np.ndarray, " prediction"]
    shapes: int
    crowding: tuple[Float[np.ndarray, " prediction"], float | None]


@dataclass(frozen=True)
class _Numbers:
    spread: float | None
    within: float | None
    fvu: float | None
    centred: float | None
    own: float | None
    deviations: float | None


CLASSES = {
    "recalled": "recalled",
    "following": "following their truths",
    "copy": "copies of other training shapes",
    "mean": "at the mean",
    "crowded": "one answer to several shapes",
    "far": "far outside the training set",
    "noise": "unrelated to their truths",
    "new": "none of these",
}


def _classify(facts: _Facts) -> np.ndarray:
    """The class of each prediction, a key of `CLASSES`; of several that fit, the first."""
    truths, size = facts.truths, facts.size
    fits = {
        "copy": facts.is_copy,
        "mean": size < AT_MEAN,
        "crowded": facts.crowding[0] >= CROWD,
        "far": size > FAR,
    }
    if truths is not None:
        place = truths.place
        error = np.square(place.distance / place.mean_distance)
        recalled = truths.is_known & (place.distance <= COPY * truths.reach)
        following = (place.centred >= FOLLOWING) & (error <= ERROR)
        fits = {"recalled": recalled, "following": following & ~facts.is_copy, **fits}
        fits["noise"] = (error >= ERROR) & (size >= OFF_MEAN)
    order = [kind for kind in CLASSES if kind in fits]
    return np.select([fits[kind] for kind in order], order, "new")


def _measure_crowding(
    predicted: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    mean: Float[np.ndarray, " dim"],
    truths: Truths | None,
    others: Float[np.ndarray, "other dim"],
) -> tuple[Float[np.ndarray, " prediction"], float | None]:
    """Which share of the predictions of other shapes each is like, beyond what they should be; the mean cosine."""
    share, cosine = _compare(predicted, shape_of, mean)
    if cosine is None:
        return np.zeros(len(predicted)), None
    right, each = (truths.vectors, shape_of) if truths is not None else (others, np.arange(len(others)))
    return share - _compare(right, each, mean)[0].mean(), cosine


def _compare(
    vectors: Float[np.ndarray, "shape dim"],
    shape_of: Int[np.ndarray, " shape"],
    mean: Float[np.ndarray, " dim"],
) -> tuple[Float[np.ndarray, " shape"], float | None]:
    columns = np.unique(np.linspace(0, len(vectors) - 1, COMPARED).astype(np.int64))
    right = directions_of(vectors[columns], mean)
    share = np.zeros(len(vectors))
    total, count = 0.0, 0
    for rows in blocks(*vectors.shape):
        cosine = directions_of(vectors[rows], mean) @ right.T
        differ = shape_of[rows, None] != shape_of[columns]
        share[rows] = ((cosine >= ALIKE) & differ).sum(axis=1) / np.maximum(differ.sum(axis=1), 1)
        total += float(cosine[differ].sum())
        count += int(differ.sum())
    return share, total / count if count else None


def _measure(
    about: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    ranking: Ranking,
    known: Moments,
    truths: Truths | None,
) -> _Numbers:
    count = len(about)
    moved = about - about.mean(axis=0)
    scatter = float(np.square(moved).sum())
    spread = scatter / (count - 1) / known.spread if count > 1 else None
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
    usual, deviation = ranking.usual.T
    above = truths.place.centred - usual
    # The mean of n vectors is off by an nth of their spread. Vectors it was not made of share that, truth or not.
    lengths = np.linalg.norm(about, axis=1) * truths.place.mean_distance
    shared = ~truths.is_known * known.spread / len(known.norm) / np.where(lengths > 0, lengths, np.inf)
    above -= above.clip(0, shared)
    scores = above / np.where(deviation > 0, deviation, np.inf)
    # Samples of one shape are not independent: each shape counts once.
    by_shape = np.bincount(place, scores) / np.bincount(place)
    return _Numbers(
        spread=spread,
        within=within,
        fvu=float(np.square(truths.place.distance).sum() / np.square(truths.place.mean_distance).sum()),
        centred=_cosine(about, right),
        own=_cosine(moved, right - right.mean(axis=0)) if len(names) > FEWEST else None,
        deviations=float(by_shape.mean()) * len(names) ** 0.5,
    )


def _cosine(left: Float[np.ndarray, "row dim"], right: Float[np.ndarray, "row dim"]) -> float:
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(np.einsum("rd,rd->", left, right)) / lengths if lengths else 0.0


def _decide(
    facts: _Facts, classes: np.ndarray, numbers: _Numbers, nearest: Sequence[str]
) -> tuple[Name, str]:
    count = len(classes)
    share = {kind: float((classes == kind).mean()) for kind in CLASSES}
    truths = facts.truths
    what = _describe(facts, numbers)
    if share["recalled"] >= NEARLY_ALL:
        return "recall", (
            f"{(classes == 'recalled').sum()} of {count} predictions are their own training vectors, nearer than "
            f"half the way to any other; {what}."
        )
    is_informed = (
        truths is not None
        and numbers.deviations is not None and numbers.deviations >= SURE
        and numbers.centred is not None and numbers.centred >= FOLLOWING
    )  # fmt: skip
    if share["recalled"] + share["following"] >= MOST and is_informed:
        assert truths is not None
        return _decide_following(facts, numbers, truths, what)
    if share["mean"] >= MOST:
        if is_informed:
            return "unclear", f"shrunk to the mean, but towards their truths; {what}."
        return "collapse to mean", f"whatever is shown, the answer is nearly the training mean; {what}."
    if share["copy"] + share["crowded"] >= MOST and facts.shapes >= FEWEST:
        return _decide_copies(facts, classes, nearest, what)
    if share["far"] >= MOST and (truths is None or (numbers.deviations or 0) < CHANCE):
        return "noise", f"far outside the training set (still standardised, or of another model?); {what}."
    if truths is None:
        if numbers.within is not None and numbers.within >= NEARLY_ALL and share["new"] >= MOST:
            return "noise", f"samples of one shape differ as much as those of different shapes; {what}."
        return "unclear", f"{_count(classes)}; whether they fit their shapes, only truths tell; {what}."
    is_chance = abs(numbers.deviations or 0) < CHANCE and abs(numbers.centred or 0) < FOLLOWING / 2
    is_apart = facts.crowding[1] is not None and facts.crowding[1] < FOLLOWING / 2
    if share["noise"] + share["far"] >= MOST and is_chance and is_apart and facts.shapes >= FEWEST:
        mixture = "the mean plus noise" if float(np.median(facts.size)) < 1 else "noise about the mean"
        return "noise", f"{mixture}: the predictions differ, but not as their truths do; {what}."
    return "unclear", f"{_count(classes)}; {what}."


def _decide_following(facts: _Facts, numbers: _Numbers, truths: Truths, what: str) -> tuple[Name, str]:
    first = float((truths.place.centred_rank == 1).mean())
    is_all_known = bool(truths.is_known.all())
    if numbers.own is not None and numbers.own < FOLLOWING / 2:
        return "unclear", f"the predictions find the group of their truths, but not the shapes in it; {what}."
    if facts.shapes < FEWEST:
        return "unclear", f"near the truth, but of {facts.shapes} shape(s) only; {what}."
    if is_all_known and first >= NEARLY_ALL:
        if (numbers.fvu or 0) <= COPY:
            return "recall", f"the truth ranks first for {first:.0%} of the predictions, though off; {what}."
        return "unclear", f"the truth ranks first for {first:.0%} of the predictions, but far off; {what}."
    unseen = "shapes not among the training vectors" if not is_all_known else "training shapes"
    return "generalisation", (
        f"predictions of {unseen} follow their truths without being copies "
        f"({facts.is_copy.sum()} of {len(facts.size)} are one); {what}."
    )


def _decide_copies(facts: _Facts, classes: np.ndarray, nearest: Sequence[str], what: str) -> tuple[Name, str]:
    copies = [uid for uid, is_copy in zip(nearest, facts.is_copy, strict=True) if is_copy]
    uids, counts = np.unique(copies, return_counts=True)
    different = float(counts.sum() ** 2 / np.square(counts).sum()) if len(uids) else 0.0
    few = max(1.5, facts.shapes / 4)
    if (classes == "crowded").mean() >= MOST or different <= few:
        if not copies:
            return "collapse to attractors", f"one answer, no training shape, whatever is shown; {what}."
        names = [str(uids[place]) for place in np.argsort(-counts, kind="stable")[:4]]
        where = f"{', '.join(names)}{' …' if len(uids) > 4 else ''}"
        return "collapse to attractors", (
            f"{len(copies)} of {len(classes)} predictions, of {facts.shapes} shapes, are at {where}; {what}."
        )
    if (classes == "copy").mean() < MOST or different < facts.shapes / 2:
        return "unclear", f"{_count(classes)}; {what}."
    if facts.truths is None or not facts.truths.is_known.any():
        return "recall", (
            f"{len(copies)} of {len(classes)} predictions are copies of {len(uids)} training shapes; {what}."
        )
    return "unclear", (
        f"{len(copies)} of {len(classes)} predictions are copies of training shapes, but not of their own: "
        f"do both sides mean the same by their uids? {what}."
    )


def _describe(facts: _Facts, numbers: _Numbers) -> str:
    """The numbers, as half a sentence."""
    parts = []
    if numbers.fvu is not None:
        parts.append(
            f"centred cosine with the truth {numbers.centred:.2f} ({numbers.deviations:+.1f} standard deviations "
            f"from chance), squared error {numbers.fvu:.3g} of the mean predictor's"
        )
    middle = float(np.median(facts.size))
    parts.append(f"squared distance from the mean {middle:.2g} of the training set's")
    if numbers.within is not None:
        parts.append(f"samples of one shape have {numbers.within:.0%} of the spread")
    return ", ".join(parts)


def _count(classes: np.ndarray) -> str:
    counts = [(int((classes == kind).sum()), text) for kind, text in CLASSES.items()]
    told = ", ".join(f"{count} {text}" for count, text in counts if count)
    return f"of {len(classes)} predictions, {told}"


def _explain_hubs(ranking: Ranking, uids: Sequence[str]) -> str:
    """Why the same few shapes come first for all, where they do: near the mean the most central are nearest."""
    first = ranking.order[:, :3]
    rows, counts = np.unique(first, return_counts=True)
    if len(rows) > 1.5 * first.shape[1]:
        return ""
    names = ", ".join(uids[row] for row in rows[np.argsort(-counts, kind="stable")])
    return (
        f" {names} come first for all because they are central, not because the predictions resemble them "
        f"(centred cosine {np.median(ranking.centred[:, 0]):.2f})."
    )
