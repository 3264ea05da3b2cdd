"""The report of `rank`, as facts and as text: how similar predicted vectors are to the training vectors."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from sdfkit.analysis.predictions.classes import COPY
from sdfkit.analysis.predictions.diagnosis import Diagnosis, diagnose, judge_alone
from sdfkit.analysis.predictions.kinds import Labels
from sdfkit.analysis.predictions.truths import GroundTruth, find_truths, require_comparable
from sdfkit.analysis.ranking import Ranking, measure_similarity
from sdfkit.analysis.vectors import Moments, measure_moments
from sdfkit.errors import InputError
from sdfkit.report.plots import Curve, Panel
from sdfkit.report.tables import Facts, format_table
from sdfkit.wording import agreeing, counted

if TYPE_CHECKING:
    from sdfkit.io.stores.contents.vectors import Vectors


# With more predictions than this, the text lists only the first ones.
LISTED = 10


def assess(
    predicted: "Vectors", known: "Vectors | None", truth: "Vectors | None" = None, *, top: int
) -> tuple[Facts, Ranking | None]:
    """Compare predicted vectors with each other, with training vectors and with their true vectors.

    Args:
        predicted: The predicted vectors.
        known: The training vectors; None to compare the predictions with each other only.
        truth: True vectors of shapes that are not among the training shapes; None if there are none.
        top: Number of nearest training vectors to list for each prediction.

    Returns:
        The facts of the report, as `format_ranking` takes them, and the ranking of the training vectors for each
        prediction; None instead of the ranking without training vectors.

    Raises:
        InputError: There is nothing to compare the predictions with, the vectors are of different kinds or lengths, or
            all training vectors are equal.
    """
    vectors = predicted.vectors[:]
    own = measure_moments(vectors, [row.uid for row in predicted.rows], predicted.name)
    similarity = measure_similarity(vectors, own) if len(vectors) > 1 else None
    facts = {
        "name": predicted.name,
        "rows": len(predicted.rows),
        "dim": predicted.dim,
        "likeness": asdict(similarity) if similarity else None,
    }
    if known is None:
        if similarity is None:
            raise InputError(
                f"{predicted.name}: has one row and nothing to compare it with; add --known STORE"
            )
        name, evidence = judge_alone(similarity)
        return facts | {"verdict": {"name": name, "evidence": evidence}}, None
    require_comparable(predicted, known)
    shapes, truths = find_truths(predicted, known, truth)
    uids = [row.uid for row in known.rows]
    moments = measure_moments(known.vectors, uids, known.name)
    if not moments.total_variance:
        raise InputError(
            f"{known.name}: all training vectors are equal; give the vectors of different shapes"
        )
    labels = Labels(*([row.category for row in one.rows] for one in (predicted, known)))
    top = min(top, len(uids))
    diagnosis = diagnose(vectors, shapes, truths, known.vectors, moments, uids, top, labels)
    return facts | _describe_diagnosis(predicted, known, diagnosis, truths, own, moments), diagnosis.ranking


def _describe_diagnosis(
    predicted: "Vectors",
    known: "Vectors",
    diagnosis: Diagnosis,
    truths: GroundTruth | None,
    predicted_moments: Moments,
    known_moments: Moments,
) -> Facts:
    """Collect the facts of the whole diagnosis, which compares predictions with training vectors.

    Args:
        predicted: The predicted vectors.
        known: The training vectors.
        diagnosis: The ranking of the training vectors for each prediction, and the verdict.
        truths: The true vectors of the predictions; None if they are unknown.
        predicted_moments: Mean and variance of the predicted vectors.
        known_moments: Mean and variance of the training vectors.
    """
    distances = diagnosis.known_leave_one_out
    low, median = np.quantile(distances, (0.05, 0.5), method="lower").tolist()
    verdict = asdict(diagnosis.verdict)
    del verdict["each"]
    return {
        "known": {
            "name": known.name,
            "rows": len(known.rows),
            "leave_one_out": {"rows": len(distances), "low": low, "median": median},
        },
        "spread": predicted_moments.total_variance / known_moments.total_variance
        if len(predicted.rows) > 1
        else None,
        "predictions": _describe_rows(predicted, known, diagnosis, truths),
        "verdict": verdict,
    }


def _describe_rows(
    predicted: "Vectors", known: "Vectors", diagnosis: Diagnosis, truths: GroundTruth | None
) -> list[Facts]:
    """Collect the facts about each prediction."""
    ranking = diagnosis.ranking
    truth_rows = {int(row): index for index, row in enumerate(truths.rows)} if truths else {}
    classes = {int(row): kind for row, kind in zip(diagnosis.judged, diagnosis.verdict.each, strict=True)}
    return [
        {
            "uid": row.uid,
            "class": classes.get(index),
            "to_mean": ranking.to_mean[index],
            "margin": ranking.margin[index],
            "nearest": {
                "uid": known.rows[ranking.nearest[index]].uid,
                "distance": ranking.distance[index],
                "leave_one_out": diagnosis.leave_one_out[index],
            },
            "truth": {name: values[truth_rows[index]] for name, values in vars(diagnosis.truth).items()}
            if index in truth_rows
            else None,
            "neighbours": [
                {
                    "uid": known.rows[neighbour].uid,
                    "category": known.rows[neighbour].category,
                    "cosine": cosine,
                    "centred": centred,
                }
                for neighbour, cosine, centred in zip(
                    ranking.order[index], ranking.cosine[index], ranking.centred[index], strict=True
                )
            ],
        }
        for index, row in enumerate(predicted.rows)
    ]


def collect_arrays(known: "Vectors", ranking: Ranking) -> dict[str, np.ndarray]:
    """Collect the arrays of a ranks store, each of shape (prediction, neighbour).

    `order` lists, for each prediction, the rows of the training vectors in their store, the most similar one first.
    """
    store_rows = np.array([row.index for row in known.rows])
    uids = np.array([row.uid for row in known.rows], np.dtypes.StringDType())
    return {
        "order": store_rows[ranking.order],
        "uid_of_neighbour": uids[ranking.order],
        "cosine": ranking.cosine,
        "centred_cosine": ranking.centred,
    }


def format_ranking(facts: Facts, *, every: bool) -> str:
    """Lay out the facts as text.

    The parts are: verdict; similarity of the predictions to each other; training vectors; nearest training vectors of
    each prediction, and their distances; rank of the true vector among the training vectors.

    Args:
        facts: Return value of `assess`.
        every: List all predictions, each with all its neighbours. Otherwise, if there are more than `LISTED`, the first
            ones are listed, each with its nearest neighbour.
    """
    verdict = facts["verdict"]
    parts = [
        f"{facts['name']}: {counted(facts['rows'], 'prediction')} of {counted(facts['dim'], 'number')}",
        f"verdict: {verdict['name']}: {verdict['evidence']}",
    ]
    if facts["likeness"] is not None:
        parts += _format_similarity(facts["likeness"], facts["rows"])
    if "known" in facts:
        parts += [_format_known(facts), *_format_predictions(facts["predictions"], every)]
    return "\n\n".join(parts)


def _format_similarity(similarity: Facts, rows: int) -> list[str]:
    labels = {"cosine": "pairwise cosine", "centred": "  about their mean", "to_mean": "cosine to their mean"}
    lines = [(label, *similarity[name].values()) for name, label in labels.items()]
    share = f"deviations from their mean are {similarity['variance_share']:.2%} of the predictions' squared length"
    if (paired := similarity["paired"]) < rows:
        share += f"\nthe range of pairwise cosines was measured on {paired} evenly spaced predictions"
    return [format_table(("", "mean", "min", "max"), lines), share]


def _format_known(facts: Facts) -> str:
    known, distances = facts["known"], facts["known"]["leave_one_out"]
    text = f"{known['name']}: {counted(known['rows'], 'training vector')}"
    if facts["spread"] is not None:
        text += f"; the variance of the predictions is {facts['spread']:.2%} of that of the training vectors"
    sampled = f" (of {distances['rows']} of them)" if distances["rows"] < known["rows"] else ""
    return (
        f"{text}\ndistance of a training vector to the nearest other one{sampled}: median {distances['median']:.4g}, "
        f"5th percentile {distances['low']:.4g}"
    )


def _format_predictions(rows: Sequence[Facts], every: bool) -> list[str]:
    is_short = len(rows) > LISTED and not every
    listed = rows[:LISTED] if is_short else rows
    neighbours = [
        (row["uid"], rank, near["uid"], near["category"], near["cosine"], near["centred"],
         *((row["margin"], row["to_mean"]) if rank == 1 else ("", "")))
        for row in listed
        for rank, near in enumerate(row["neighbours"][: 1 if is_short else None], 1)
    ]  # fmt: skip
    header = ("prediction", "rank", "neighbour", "category", "cosine", "centred", "margin", "to mean")
    title = (
        f"the first {LISTED} of {len(rows)} predictions (--all lists all, with all neighbours)\n" * is_short
    )
    parts = [
        title + format_table(header, neighbours),
        format_table(
            ("prediction", "nearest", "distance", "leave-one-out", "class"),
            [(row["uid"], *row["nearest"].values(), row["class"]) for row in listed],
        ),
    ]
    truths = [(row["uid"], row["truth"]) for row in rows if row["truth"]]
    if not truths:
        return parts
    columns = ("rank", "cosine", "mean_cosine", "margin", "centred_rank", "centred")
    truth_header = ("truth of", "rank", "cosine", "mean's cosine", "margin", "centred rank", "centred")
    shown = truths[:LISTED] if is_short else truths
    table = format_table(truth_header, [(uid, *(truth[name] for name in columns)) for uid, truth in shown])
    first = sum(truth["rank"] == 1 for _, truth in truths)
    better = sum(truth["cosine"] > truth["mean_cosine"] for _, truth in truths)
    count = f"the true vector ranks first for {first} of {counted(len(truths), 'prediction')}; "
    more = f"{counted(better, 'prediction')} {agreeing(better, 'is', 'are')} more similar to the true vector"
    return [*parts, table, f"{count}{more} than the training mean is"]


def plot_ranking(facts: Facts) -> list[Panel]:
    """Plot how far predictions are from training vectors, and their cosines, each in falling order.

    Args:
        facts: Return value of `assess` with training vectors.
    """
    rows = facts["predictions"]
    nearest = [row["nearest"] for row in rows]
    truths = [row["truth"] for row in rows if row["truth"]]
    ratios = [
        one["distance"] / one["leave_one_out"] if one["leave_one_out"] else np.inf if one["distance"] else 0.0
        for one in nearest
    ]
    cosines = {
        "nearest training vector": [row["neighbours"][0]["cosine"] for row in rows],
        "mean of the training vectors": [row["to_mean"] for row in rows],
        "the true vector": [truth["cosine"] for truth in truths],
    }
    baselines: dict[str, Curve | float] = {}
    if truths:
        baselines["mean of the training vectors with the true vector"] = _sort_curve(
            [truth["mean_cosine"] for truth in truths]
        )
    x = "share of the predictions, in falling order, in %"
    return [
        Panel(
            f"{facts['name']}: {facts['verdict']['name']}", x,
            "distance to the nearest training vector, over that of this vector to its nearest other one",
            {"predictions": _sort_curve(ratios)}, "y", {f"recall up to {COPY:g}": COPY},
        ),
        Panel(
            "Cosines of predictions", x, "cosine, from -1 to 1",
            {name: _sort_curve(values) for name, values in cosines.items() if values}, "", baselines,
        ),
    ]  # fmt: skip


def _sort_curve(values: Sequence[float]) -> Curve:
    shares = 100 * (np.arange(len(values)) + 0.5) / len(values)
    return Curve(shares.tolist(), np.sort(np.array(values, float))[::-1].tolist())
