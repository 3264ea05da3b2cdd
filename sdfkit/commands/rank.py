from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import STANDARD, Json, Manifest, Overwrite

if TYPE_CHECKING:
    from sdfkit.analysis.diagnosis import Diagnosis, Told
    from sdfkit.io.stores.vectors import Vectors

KINDS = ("codes", "deepsdf", "denoiser", "weights", "autoencoder", "flow")


def rank(
    predicted: Annotated[
        str,
        typer.Argument(metavar="STORE", help="Predicted codes or weights, or .npy; - reads a pipe."),
    ] = STANDARD,
    *,
    known: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Codes or weights of all training shapes, or .npy."),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="True codes or weights of shapes not trained on, or .npy."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Neighbours of each prediction to show.")] = 5,
    as_json: Json = False,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="STORE", help="Keep the ranking in this store.")
    ] = None,
    overwrite: Overwrite = False,
    manifest: Manifest = None,
) -> None:
    """Tell whether predictions are recall, generalisation, noise or collapsed, and which training shapes are near.

    Alone, predictions are compared with each other: where hardly any of their squared length differs between them,
    the model answers the same whatever it is shown.

    With --known, or the training codes that a store of sdfkit predict names, the training shapes are ordered by
    their cosine to each prediction. Where a uid is known on both sides, or in --truth, the rank of the truth is
    given, and its margin over the best other shape. Read its cosine beside the mean's, which is what answering with
    the mean of the training shapes would have reached. Centred cosines have that mean taken off both sides.

    The verdict is on the predictions whose truth is known, else on all. Recall: they are their training vectors, nearer
    than half the way to any other. Generalisation: they follow their truths without being copies. Noise: they
    differ, but not as their truths do. Collapse: they are the training mean, or a few vectors whatever is shown.
    Mixtures of these are called unclear. The known vectors are read three or four times, in blocks.

    \b
    Examples:
      sdfkit rank predicted.npy
      sdfkit rank predicted.zarr --known deepsdf.zarr
      sdfkit predict dit.zarr features.zarr | sdfkit rank --top 3
      sdfkit predict dit.zarr unseen.zarr | sdfkit rank --truth fitted.zarr
      sdfkit rank predicted.zarr --known deepsdf.zarr --json | jq '.verdict'
    """
    from sdfkit.analysis.diagnosis import diagnose, judge_alone
    from sdfkit.analysis.ranking import measure_likeness
    from sdfkit.analysis.vectors import measure_moments
    from sdfkit.errors import InputError, UsageError
    from sdfkit.io.stores.vectors import open_vectors
    from sdfkit.io.streams import name_of
    from sdfkit.report.tables import format_json

    name = name_of(predicted)
    if [predicted, known, truth].count(STANDARD) > 1:
        raise UsageError("standard input can be read once; name files for --known and --truth")
    with ExitStack() as inputs:
        guesses = inputs.enter_context(open_vectors(predicted, *KINDS, manifest=manifest))
        vectors = guesses.vectors[:]
        own = measure_moments(vectors, [row.uid for row in guesses.rows], name)
        likeness = measure_likeness(vectors, own) if len(vectors) > 1 else None
        facts: dict[str, Any] = {
            "name": name, "rows": len(vectors), "dim": guesses.dim,
            "likeness": asdict(likeness) if likeness else None,
        }  # fmt: skip
        path = known if known is not None else _find_named(name, guesses)
        if path is None:
            if output is not None or truth is not None:
                raise UsageError("without training vectors there is no ranking; add --known STORE")
            if likeness is None:
                raise InputError(f"{name}: one row, nothing to compare it with; add --known STORE")
            facts["verdict"] = dict(zip(("name", "evidence"), judge_alone(likeness), strict=True))
            typer.echo(format_json(facts) if as_json else _tell_likeness(facts) + _tell_verdict(facts))
            return
        training = inputs.enter_context(open_vectors(path, *KINDS, manifest=manifest))
        _refuse_unlike(guesses, training)
        if known is None and training.digest() != guesses.attributes["known"]:
            raise InputError(
                f"{name}: predicted with other training codes than {path} has now; name them with --known"
            )
        right = (
            inputs.enter_context(open_vectors(truth, *KINDS, manifest=None)) if truth is not None else None
        )
        names, told = _match(guesses, training, right)
        rows = [replace(row, index=index) for index, row in enumerate(guesses.rows)]
        top = min(top, len(training.rows))
        with _create(output, rows, guesses, training, {"known": path, "top": top}, overwrite) as ranks:
            uids = [row.uid for row in training.rows]
            moments = measure_moments(training.vectors, uids, training.name)
            if not moments.spread:
                raise InputError(f"{training.name}: all rows are one vector, so nothing can be told apart")
            diagnosis = diagnose(vectors, names, told, training.vectors, moments, uids, top)
            facts |= {
                "known": {"name": training.name, "rows": len(uids), **_describe_distances(diagnosis)},
                "spread": own.spread / moments.spread if likeness else None,
                "predictions": _describe_rows(guesses, training, diagnosis, told),
                "verdict": {key: fact for key, fact in asdict(diagnosis.verdict).items() if key != "each"},
            }
            typer.echo(format_json(facts) if as_json else _tell_ranking(facts))
            if ranks is not None:
                _keep(ranks, rows, training, diagnosis)


def _find_named(name: str, guesses: "Vectors") -> str | None:
    """The store of the training codes that predictions name, if they do and it is here."""
    import logging

    denoiser = guesses.attributes.get("denoiser")
    if denoiser is not None and not Path(denoiser).exists():
        logging.getLogger(__name__).warning(
            "%s, which %s was predicted with, is not here; name its training codes with --known",
            denoiser,
            name,
        )
        return None
    return denoiser


def _refuse_unlike(guesses: "Vectors", training: "Vectors") -> None:
    from sdfkit.errors import InputError

    if guesses.dim != training.dim:
        raise InputError(
            f"{guesses.name}: rows of {guesses.dim} numbers, but {training.name} has {training.dim}; "
            "rank like with like"
        )
    if len(training.rows) < 2:
        raise InputError(
            f"{training.name}: one row, so nothing to rank; name the vectors of all training shapes"
        )


def _shapes_of(guesses: "Vectors") -> list[str]:
    """The uid of the shape that each prediction is of."""
    samples = guesses.attributes.get("settings", {}).get("samples", 1)
    # Before samples told whose they are, predict called the second one of a shape uid_s1.
    return [
        row.sample_of or (row.uid.removesuffix(f"_s{row.index % samples}") if samples > 1 else row.uid)
        for row in guesses.rows
    ]


def _match(guesses: "Vectors", training: "Vectors", right: "Vectors | None") -> tuple[Any, "Told | None"]:
    """Numbers for the predictions' shapes; those of which the truth is known, in --truth or among the training."""
    import numpy as np

    from sdfkit.analysis.diagnosis import Told
    from sdfkit.analysis.vectors import measure_moments
    from sdfkit.errors import InputError

    shapes = _shapes_of(guesses)
    numbers = np.unique(shapes, return_inverse=True)[1]
    has_uids = guesses.has_uids and training.has_uids
    place = {row.uid: index for index, row in enumerate(training.rows)} if has_uids else {}
    own = np.array([place.get(shape, len(training.rows)) for shape in shapes], np.int64)
    told = np.flatnonzero(own < len(training.rows))
    if right is None:
        return numbers, Told(told, training.vectors[own[told]], own[told]) if len(told) else None
    _refuse_unlike(right, training)
    measure_moments(right.vectors, [row.uid for row in right.rows], right.name)
    # Rows of plain arrays have no names: two of one length are meant row by row.
    rows = {row.uid: index for index, row in enumerate(right.rows)}
    if not (guesses.has_uids and right.has_uids):
        if len(right.rows) != len(guesses.rows):
            raise InputError(
                f"{right.name}: {len(right.rows)} rows, but {len(guesses.rows)} predictions, and no uids to match; "
                "give a truth for each row"
            )
        rows = dict(zip(shapes, range(len(shapes)), strict=True))
    if not any(shape in rows for shape in shapes):
        raise InputError(
            f"{right.name}: has no shape of {guesses.name}; their uids must be the same "
            f"({right.rows[0].uid}, {shapes[0]})"
        )
    told = np.flatnonzero([shape in rows or shape in place for shape in shapes])
    truths = [
        right.vectors[rows[shape] : rows[shape] + 1][0]
        if shape in rows
        else training.vectors[place[shape] : place[shape] + 1][0]
        for shape in (shapes[index] for index in told)
    ]
    return numbers, Told(told, np.stack(truths), own[told])


def _create(
    output: str | None,
    rows: Sequence[Any],
    guesses: "Vectors",
    training: "Vectors",
    settings: dict[str, Any],
    overwrite: bool,
) -> Any:
    if output is None:
        return nullcontext()
    from sdfkit.io.stores.writer import create_store

    history = [*guesses.history, *training.history]
    return create_store(output, "ranks", rows=rows, history=history, settings=settings, overwrite=overwrite)


def _describe_distances(diagnosis: "Diagnosis") -> dict[str, Any]:
    import numpy as np

    apart = diagnosis.apart
    low, middle = np.quantile(apart, (0.05, 0.5), method="lower").tolist()
    return {"leave_one_out": {"rows": len(apart), "low": low, "median": middle}}


def _describe_rows(
    guesses: "Vectors", training: "Vectors", diagnosis: "Diagnosis", told: "Told | None"
) -> list[dict[str, Any]]:
    ranking = diagnosis.ranking
    place = {int(row): index for index, row in enumerate(told.rows)} if told else {}
    judged = {int(row): kind for row, kind in zip(diagnosis.judged, diagnosis.verdict.each, strict=True)}
    return [
        {
            "uid": row.uid,
            "class": judged.get(index),
            "to_mean": ranking.to_mean[index],
            "margin": ranking.margin[index],
            "nearest": {
                "uid": training.rows[ranking.nearest[index]].uid,
                "distance": ranking.distance[index],
                "leave_one_out": diagnosis.reach[index],
            },
            "truth": {name: values[place[index]] for name, values in vars(diagnosis.truth).items()}
            if index in place
            else None,
            "neighbours": [
                {
                    "uid": training.rows[known].uid,
                    "category": training.rows[known].category,
                    "cosine": cosine,
                    "centred": centred,
                }
                for known, cosine, centred in zip(
                    ranking.order[index], ranking.cosine[index], ranking.centred[index], strict=True
                )
            ],
        }
        for index, row in enumerate(guesses.rows)
    ]


def _tell_likeness(facts: dict[str, Any]) -> str:
    from sdfkit.report.tables import format_table

    plural = "s" if facts["rows"] > 1 else ""
    title = f"{facts['name']}: {facts['rows']} prediction{plural} of {facts['dim']} numbers"
    likeness = facts["likeness"]
    if likeness is None:
        return title
    names = {"cosine": "cosine of pairs", "centred": "about their mean", "to_mean": "cosine to their mean"}
    table = format_table(
        ("", "mean", "min", "max"), [(text, *likeness[name].values()) for name, text in names.items()]
    )
    share = f"{likeness['variance_share']:.2%} of their squared length differs between them"
    return f"{title}\n\n{table}\n\n{share}"


def _tell_ranking(facts: dict[str, Any]) -> str:
    from sdfkit.report.tables import format_table

    parts = [_tell_likeness(facts)]
    known = f"{facts['known']['name']}: {facts['known']['rows']} known"
    if facts["spread"] is not None:
        known += f"; the predictions have {facts['spread']:.2%} of their variance"
    apart = facts["known"]["leave_one_out"]
    sampled = f" (of {apart['rows']} of them)" if apart["rows"] < facts["known"]["rows"] else ""
    known += (
        f"\nfrom each to its nearest other: {apart['median']:.4g} in the median, "
        f"5 % are below {apart['low']:.4g}{sampled}"
    )
    parts.append(known)
    rows = facts["predictions"]
    truths = [(row["uid"], row["truth"]) for row in rows if row["truth"]]
    parts.append(
        format_table(
            ("prediction", "place", "neighbour", "category", "cosine", "centred", "margin", "to mean"),
            [
                (row["uid"], place, near["uid"], near["category"], near["cosine"], near["centred"],
                 *((row["margin"], row["to_mean"]) if place == 1 else ("", "")))
                for row in rows
                for place, near in enumerate(row["neighbours"], 1)
            ],
        )
    )  # fmt: skip
    parts.append(
        format_table(
            ("prediction", "nearest", "distance", "its own nearest", "class"),
            [(row["uid"], *row["nearest"].values(), row["class"]) for row in rows],
        )
    )
    if truths:
        parts.append(
            format_table(
                ("truth of", "rank", "cosine", "the mean's", "margin", "centred rank", "centred"),
                [
                    (uid, truth["rank"], truth["cosine"], truth["mean_cosine"], truth["margin"],
                     truth["centred_rank"], truth["centred"])
                    for uid, truth in truths
                ],
            )
        )  # fmt: skip
        first = sum(truth["rank"] == 1 for _, truth in truths)
        better = sum(truth["cosine"] > truth["mean_cosine"] for _, truth in truths)
        parts.append(f"{first} of {len(truths)} truths rank first; {better} predictions beat the mean")
    return "\n\n".join(parts) + _tell_verdict(facts)


def _tell_verdict(facts: dict[str, Any]) -> str:
    return f"\n\nverdict: {facts['verdict']['name']}: {facts['verdict']['evidence']}"


def _keep(ranks: Any, rows: Any, training: "Vectors", diagnosis: "Diagnosis") -> None:
    import numpy as np

    ranking = diagnosis.ranking
    axes = ("prediction", "neighbour")
    places = np.array([row.index for row in training.rows])
    uids = np.array([row.uid for row in training.rows], np.dtypes.StringDType())
    ranks.create_array("order", data=places[ranking.order], axes=axes)
    ranks.create_array("uid_of_neighbour", data=uids[ranking.order], axes=axes)
    ranks.create_array("cosine", data=ranking.cosine, axes=axes)
    ranks.create_array("centred_cosine", data=ranking.centred, axes=axes)
    for row in rows:
        ranks.write(row)
