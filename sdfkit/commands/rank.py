from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import STANDARD, Json, Manifest, Overwrite

if TYPE_CHECKING:
    from sdfkit.analysis.ranking import Likeness, Ranking, Truth
    from sdfkit.store import Vectors

KINDS = ("codes", "deepsdf", "denoiser", "weights")


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
    top: Annotated[int, typer.Option(min=1, help="Neighbours of each prediction to show.")] = 5,
    as_json: Json = False,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="STORE", help="Keep the ranking in this store.")
    ] = None,
    overwrite: Overwrite = False,
    manifest: Manifest = None,
) -> None:
    """Tell whether predictions have collapsed, and which training shapes they are near.

    Alone, predictions are compared with each other: where all pairs have a cosine near 1 and hardly any of
    their squared length differs between them, the model answers the same whatever it is shown.

    With --known, or the training codes that a store of sdfkit predict names, the training shapes are ordered by
    their cosine to each prediction. Rows that all name the same few neighbours mean that the model has collapsed
    to the centre of its training set; rows that differ, with the truth not first, mean noise. Where a uid is
    known on both sides, the rank of the truth is given, and its margin over the best other shape. Read its cosine
    beside the mean's, which is what answering with the mean of the training shapes would have reached. Centred
    cosines have that mean taken off both sides.

    \b
    Examples:
      sdfkit rank predicted.npy
      sdfkit rank predicted.zarr --known deepsdf.zarr
      sdfkit predict dit.zarr features.zarr | sdfkit rank --top 3
      sdfkit rank predicted.zarr --known deepsdf.zarr --json | jq '.predictions[].truth.rank'
    """
    from contextlib import nullcontext

    from sdfkit.analysis.ranking import compare_spread, find_truth, measure_likeness, rank_by_cosine
    from sdfkit.errors import InputError, UsageError
    from sdfkit.report import format_json
    from sdfkit.storewriter import create_store
    from sdfkit.stream import name_of

    name = name_of(predicted)
    if predicted == known == STANDARD:
        raise UsageError("standard input can be read once; name a file for --known")
    guesses = _read(predicted, manifest)
    training = _read(known, manifest) if known is not None else _read_named(name, guesses)
    if training is None:
        if output is not None:
            raise UsageError("-o keeps a ranking; add --known STORE, against which to rank")
        if len(guesses.rows) < 2:
            raise InputError(f"{name}: one row, nothing to compare it with; add --known STORE")
        facts = _describe(name, guesses, measure_likeness(guesses.vectors))
        typer.echo(format_json(facts) if as_json else _tell_likeness(facts))
        return
    known = known or str(guesses.attributes["denoiser"])
    _refuse_unlike(name, guesses, name_of(known), training)
    top = min(top, len(training.rows))
    rows = [replace(row, index=index) for index, row in enumerate(guesses.rows)]
    keep = (
        create_store(
            output, "ranks", rows=rows, history=[*guesses.history, *training.history],
            settings={"known": known, "top": top}, overwrite=overwrite,
        )
        if output is not None else nullcontext()
    )  # fmt: skip
    with keep as ranks:
        likeness = measure_likeness(guesses.vectors) if len(rows) > 1 else None
        ranking = rank_by_cosine(guesses.vectors, training.vectors, top)
        told, truth_rows = _match(guesses, training)
        truth = find_truth(guesses.vectors[told], training.vectors, truth_rows) if told else None
        facts = _describe(name, guesses, likeness) | {
            "known": {"name": name_of(known), "rows": len(training.rows)},
            "spread": compare_spread(guesses.vectors, training.vectors) if len(rows) > 1 else None,
            "predictions": _describe_rows(guesses, training, ranking, told, truth),
        }
        typer.echo(format_json(facts) if as_json else _tell_ranking(facts))
        if ranks is not None:
            _keep(ranks, rows, training, ranking)


def _read(path: str, manifest: Path | None) -> "Vectors":
    from sdfkit.analysis.ranking import require_directions
    from sdfkit.errors import InputError
    from sdfkit.store import read_vectors
    from sdfkit.stream import name_of

    vectors = read_vectors(path, *KINDS, manifest=manifest)
    if not len(vectors.rows):
        raise InputError(f"{name_of(path)}: no rows that did not fail; at least one is needed")
    require_directions(vectors.vectors, [row.uid for row in vectors.rows], name_of(path))
    return vectors


def _read_named(name: str, guesses: "Vectors") -> "Vectors | None":
    """The training codes that predictions name, if they do and these are here."""
    import hashlib
    import logging

    from sdfkit.errors import InputError

    denoiser = guesses.attributes.get("denoiser")
    if denoiser is None:
        return None
    if not Path(denoiser).exists():
        logging.getLogger(__name__).warning(
            "%s, which %s was predicted with, is not here; name its training codes with --known",
            denoiser,
            name,
        )
        return None
    training = _read(denoiser, None)
    if hashlib.sha256(training.vectors.tobytes()).hexdigest() != guesses.attributes["known"]:
        raise InputError(
            f"{name}: predicted with other training codes than {denoiser} has now; name them with --known"
        )
    return training


def _refuse_unlike(name: str, guesses: "Vectors", known: str, training: "Vectors") -> None:
    from sdfkit.errors import InputError

    dim, needed = guesses.vectors.shape[1], training.vectors.shape[1]
    if dim != needed:
        raise InputError(f"{name}: rows of {dim} numbers, but {known} has {needed}; rank like with like")
    if len(training.rows) < 2:
        raise InputError(f"{known}: one row, so nothing to rank; name the vectors of all training shapes")


def _match(guesses: "Vectors", training: "Vectors") -> tuple[list[int], Any]:
    """The predictions whose uid the training shapes have too, and where there."""
    import numpy as np

    if not (guesses.has_uids and training.has_uids):
        return [], None
    place = {row.uid: index for index, row in enumerate(training.rows)}
    samples = guesses.attributes.get("settings", {}).get("samples", 1)
    # Of several samples of one shape, predict calls the second one uid_s1.
    truths = [
        row.uid.removesuffix(f"_s{row.index % samples}") if samples > 1 else row.uid for row in guesses.rows
    ]
    told = [index for index, uid in enumerate(truths) if uid in place]
    return told, np.array([place[truths[index]] for index in told], np.int64)


def _describe(name: str, guesses: "Vectors", likeness: "Likeness | None") -> dict[str, Any]:
    rows, dim = guesses.vectors.shape
    return {"name": name, "rows": rows, "dim": dim, "likeness": asdict(likeness) if likeness else None}


def _describe_rows(
    guesses: "Vectors", training: "Vectors", ranking: "Ranking", told: list[int], truth: "Truth | None"
) -> list[dict[str, Any]]:
    place = {row: index for index, row in enumerate(told)}
    return [
        {
            "uid": row.uid,
            "to_mean": ranking.to_mean[index],
            "margin": ranking.margin[index],
            "truth": {name: values[place[index]] for name, values in vars(truth).items()}
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
    from sdfkit.report import format_table

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
    from sdfkit.report import format_table

    parts = [_tell_likeness(facts)]
    known = f"{facts['known']['name']}: {facts['known']['rows']} known"
    if facts["spread"] is not None:
        known += f"; the predictions have {facts['spread']:.2%} of their variance"
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
    return "\n\n".join(parts)


def _keep(ranks: Any, rows: Any, training: "Vectors", ranking: "Ranking") -> None:
    import numpy as np

    axes = ("prediction", "neighbour")
    places = np.array([row.index for row in training.rows])
    uids = np.array([row.uid for row in training.rows], np.dtypes.StringDType())
    ranks.create_array("order", data=places[ranking.order], axes=axes)
    ranks.create_array("uid_of_neighbour", data=uids[ranking.order], axes=axes)
    ranks.create_array("cosine", data=ranking.cosine, axes=axes)
    ranks.create_array("centred_cosine", data=ranking.centred, axes=axes)
    for row in rows:
        ranks.write(row)
