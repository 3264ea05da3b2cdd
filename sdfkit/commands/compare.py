from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import CORES, FailFast, Jobs, Json, Manifest, Overwrite, Seed, Timeout

if TYPE_CHECKING:
    from sdfkit.meshfile import MeshRow


def compare(
    predicted: Annotated[str, typer.Argument(metavar="PREDICTED", help="A mesh, a folder of meshes, or -.")],
    truth: Annotated[str, typer.Argument(metavar="TRUTH", help="The meshes they should be.")],
    *,
    points: Annotated[int, typer.Option(min=1000, help="Points on each surface, and in space.")] = 100_000,
    seed: Seed = 0,
    json: Json = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.csv", help="Also write the scores as CSV.")
    ] = None,
    overwrite: Overwrite = False,
    manifest: Manifest = None,
    jobs: Jobs = CORES,
    timeout: Timeout = 600,
    fail_fast: FailFast = False,
) -> None:
    """Judge predicted meshes against the true ones.

    Chamfer distance, F-score, volume IoU and normal consistency; the definitions are printed with every table, and
    the mean with its 95 % interval (bootstrap). Meshes are paired by uid; one mesh is paired with one mesh
    whatever their names. Of several, a true shape without a prediction scores as badly as can be.

    \b
    Examples:
      sdfkit compare predicted.ply closed/obj_0003.ply
      sdfkit compare predicted/ closed/ -o table.csv
    """
    import json as jsons

    import numpy as np

    from sdfkit.geometry.metrics import DEFINITIONS, summarise
    from sdfkit.meshfile import open_meshes
    from sdfkit.parallel import Results, Workers, conclude, fill
    from sdfkit.stream import open_output, refuse_existing

    if output is not None:
        refuse_existing(output, overwrite)
    with (
        open_meshes([predicted], manifest=manifest) as guesses,
        open_meshes([truth], manifest=manifest) as truths,
    ):
        pairs = _pair(list(guesses), list(truths))
    results = Results()
    judge = partial(_judge, predictions={row.uid: guess for row, guess in pairs}, points=points, seed=seed)
    fill(results, [row for row, _ in pairs], len(pairs), judge, Workers(jobs, timeout, None, fail_fast))
    shapes = {row.uid: scores for row, scores in results.rows}
    missing = sum(guess is None for _, guess in pairs)
    summary = summarise(list(shapes.values()), np.random.default_rng(seed))
    if json:
        facts = {
            "shapes": shapes,
            "summary": summary,
            "not_predicted": missing,
            "points": points,
            "seed": seed,
        }
        typer.echo(jsons.dumps({**facts, "definitions": DEFINITIONS}, indent=1))
    else:
        typer.echo(_table(shapes, summary))
        typer.echo(
            f"\n{len(shapes)} shapes, {missing} of them not predicted; {points} points, seed {seed}\n\n{DEFINITIONS}"
        )
    if output is not None:
        lines = [",".join(["uid", *summary])]
        lines += [
            ",".join([uid, *(f"{value:.6g}" for value in scores.values())]) for uid, scores in shapes.items()
        ]
        with open_output(str(output), overwrite=overwrite) as stream:
            stream.write(("\n".join(lines) + "\n").encode())
    if results.failed:
        conclude("the table", "scores", len(pairs), results.failed)


def _pair(guesses: "list[MeshRow]", truths: "list[MeshRow]") -> "list[tuple[MeshRow, MeshRow | None]]":
    """Each true shape with its prediction. One prediction is judged alone."""
    from sdfkit.errors import InputError

    if len(guesses) == len(truths) == 1:
        return [(truths[0], guesses[0])]
    by_uid = {row.uid: row for row in guesses}
    shared = [row for row in truths if row.uid in by_uid]
    if not shared:
        raise InputError(
            f"no uid in common: predicted {guesses[0].uid} …, true {truths[0].uid} …; name the files alike"
        )
    return [(row, by_uid.get(row.uid)) for row in (shared if len(guesses) == 1 else truths)]


def _judge(
    row: "MeshRow", *, predictions: "Mapping[str, MeshRow | None]", points: int, seed: int
) -> dict[str, float]:
    from dataclasses import asdict

    import numpy as np

    from sdfkit.geometry.metrics import compare_meshes

    guess = predictions[row.uid]
    # A prediction that failed upstream comes as a row with an error: it counts as empty.
    mesh = None if guess is None or guess.error else guess.load()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(row.index,)))
    return asdict(compare_meshes(mesh, row.load(), points=points, rng=rng))


def _table(shapes: Mapping[str, Mapping[str, float]], summary: Mapping[str, Mapping[str, Any]]) -> str:
    from sdfkit.report import format_table

    rows: list[list[Any]] = [[uid, *scores.values()] for uid, scores in shapes.items()]
    if len(shapes) > 1:
        rows.append(["", *[""] * len(summary)])
        rows += [[key, *(line[key] for line in summary.values())] for key in ("mean", "median", "worst")]
        # The mean's 95 % interval, from a bootstrap over shapes.
        rows += [
            [name, *(line[key] for line in summary.values())]
            for name, key in (("from", "low"), ("to", "high"))
        ]
    return format_table(["uid", *summary], rows)
