from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from sdfkit.options import STANDARD, FailFast, Jobs, Json, Manifest, Overwrite, Seed, Timeout
from sdfkit.runtime.cores import CORES

if TYPE_CHECKING:
    import trimesh

    from sdfkit.geometry.baselines import NearestShapes
    from sdfkit.geometry.metrics import Surface
    from sdfkit.io.meshes.pairs import Pair
    from sdfkit.io.meshes.reader import MeshRow
    from sdfkit.rows import Row
    from sdfkit.runtime.pool import Workers

R = TypeVar("R", bound="Row")
Scores = dict[str, Any]


def compare(
    predicted: Annotated[str, typer.Argument(metavar="PREDICTED", help="A mesh, a folder of meshes, or -.")],
    truth: Annotated[str, typer.Argument(metavar="TRUTH", help="The meshes they should be; or -.")],
    *,
    pair: Annotated[
        Literal["auto", "uid", "order"],
        typer.Option(
            help="What pairs them; auto: uid, or order where no uid is shared and the numbers agree."
        ),
    ] = "auto",
    points: Annotated[int, typer.Option(min=1000, help="Points on each surface, and in space.")] = 100_000,
    align: Annotated[
        Literal["none", "icp"],
        typer.Option(help="icp turns and moves each prediction onto its truth first, from four headings."),
    ] = "none",
    training: Annotated[
        str | None,
        typer.Option(metavar="MESHES", help="Training shapes: adds the mean shape and the nearest of them."),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Features of what was shown to the model: adds retrieval."),
    ] = None,
    training_features: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Features of the training shapes, if not in the same store."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Print every shape, not only the ten worst.")] = False,
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
    the mean with its 95 % interval (bootstrap over shapes). Meshes are paired by uid; one mesh is paired with one
    mesh whatever their names. Of several, or of a folder, a true shape without a prediction scores as badly as can
    be: all of them where the folder has no mesh. Several samples of one shape (predict --samples) count with their
    mean; the best of them is shown apart, and how far they are from each other is told.

    With --training the same table tells what needs no model: the mean of the training shapes, and the training
    shape nearest to the truth by Chamfer distance (the oracle), which no choice of a training shape can beat.
    With --features too, the training shape whose pictures look most alike (retrieval): each picture given counts
    with its cosine to the most alike picture of a training shape. A method is worth its name where it beats
    retrieval. True shapes that are training shapes are counted: of those it is recall that is measured, and
    retrieval may find the shape itself.

    \b
    Examples:
      sdfkit compare predicted.ply closed/obj_0003.ply
      sdfkit compare predicted/ closed/ -o table.csv
      sdfkit mesh codes.zarr --decoder deepsdf.zarr | sdfkit compare - closed/
      sdfkit compare predicted/ test/ --training train/ --features test.zarr --training-features train.zarr
    """
    from sdfkit.errors import UsageError
    from sdfkit.io.meshes.pairs import Pairs, open_predictions
    from sdfkit.io.meshes.reader import open_meshes
    from sdfkit.io.streams import open_output, refuse_existing
    from sdfkit.report.scorecard import ScoreCard, Tally
    from sdfkit.runtime.pool import Workers, conclude, fill

    if [predicted, truth, training].count(STANDARD) > 1 or training == STANDARD:
        raise UsageError("standard input is read once, as PREDICTED or TRUTH; name files for the others")
    if features is not None and training is None:
        raise UsageError("--features chooses among training shapes; add --training MESHES")
    if training_features is not None and features is None:
        raise UsageError(
            "--training-features is searched with --features; add the features of what was shown"
        )
    if output is not None:
        refuse_existing(output, overwrite)
    workers = Workers(jobs, timeout, None, fail_fast)
    with ExitStack() as stack:
        guesses = stack.enter_context(open_predictions(predicted, manifest=manifest))
        truths = stack.enter_context(open_meshes([truth], manifest=manifest))
        pairs = Pairs(guesses, truths, pair, all_due=Path(predicted).is_dir())
        known, chosen = None, None
        if training is not None:
            rows = stack.enter_context(open_meshes([training], manifest=manifest)).rows or ()
            if features is not None:
                chosen = _retrieve(features, training_features or features, rows)
                list(_require_features(truths.rows or (), chosen, features))  # before work that takes minutes
            known = _study(rows, chosen, stack, replace(workers, fail_fast=True), seed)
        judge = partial(_judge, points=points, seed=seed, align=align == "icp", known=known)
        tally = Tally()
        fill(tally, _require_features(pairs, chosen, features), pairs.count, judge, workers)
    card = ScoreCard(
        tally.shapes, pairing=pairs.by, align=align, points=points, seed=seed,
        level=None if known is None else known.level,
    )  # fmt: skip
    typer.echo(card.as_json() if json else card.as_text(every))
    if output is not None:
        with open_output(str(output), overwrite=overwrite) as stream:
            stream.write(card.as_csv().encode())
    if tally.failed:
        conclude("the table", "scores", tally.judged + len(tally.failed), tally.failed)


@dataclass(frozen=True)
class _Known:
    """The training shapes: what a worker needs to find the baselines' answers among them."""

    folder: str  # with their clouds and the mean shape
    rows: "Sequence[MeshRow]"
    digests: frozenset[str]
    chosen: Mapping[str, int] | None  # by uid of a true shape, the training shape that retrieval answers with
    level: float


def _retrieve(query: str, known: str, rows: "Sequence[MeshRow]") -> dict[str, int]:
    from sdfkit.errors import InputError
    from sdfkit.geometry.baselines import retrieve
    from sdfkit.io.stores.reader import open_store

    with (
        open_store(query, "features", manifest=None) as ours,
        open_store(known, "features", manifest=None) as theirs,
    ):
        made = [
            {
                **store.attributes.get("encoder", {}),
                "precision": None,  # whichever it was, the vectors mean the same
                "numbers": store.array("feature").shape[2],
            }
            for store in (ours, theirs)
        ]
        if made[0] != made[1]:
            how = [f"{one['numbers']} numbers by {one.get('model')}" for one in made]
            raise InputError(
                f"{query}: features of {how[0]}, but {known} has {how[1]}; embed both with the same model and options"
            )
        asked, ours_read = ours.read_rows("feature")
        there, theirs_read = theirs.read_rows("feature")
    place = {row.uid: row.index for row in there}
    missing = [row.uid for row in rows if row.uid not in place]
    if missing:
        raise InputError(
            f"{known}: no features of {missing[0]}, one of {len(missing)} such training shapes; embed them all"
        )
    nearest = retrieve(ours_read["feature"], theirs_read["feature"][[place[row.uid] for row in rows]])
    return {row.uid: int(choice) for row, choice in zip(asked, nearest, strict=True)}


def _require_features(
    rows: Iterable[R], chosen: Mapping[str, int] | None, features: str | None
) -> Iterator[R]:
    """The same rows, each of which must have features where there are any."""
    from sdfkit.errors import InputError

    for row in rows:
        if chosen is not None and row.uid not in chosen:
            raise InputError(f"{features}: no features of {row.uid}; embed the pictures of every true shape")
        yield row


class _Study:
    """Takes what is learned of each training shape."""

    def __init__(self, count: int) -> None:
        import numpy as np

        from sdfkit.geometry.baselines import CLOUD, MeanShape

        self.failed: set[int] = set()
        self.digests: list[str] = []
        self.clouds = np.empty((count, CLOUD, 3), np.float32)
        self.mean = MeanShape()

    def has(self, row: Any) -> bool:
        return False

    def write(self, row: Any, **values: Any) -> None:
        self.clouds[row.index] = values["cloud"]
        self.digests.append(values["digest"])
        self.mean.add(values["distances"])


def _study(
    rows: "Sequence[MeshRow]",
    chosen: Mapping[str, int] | None,
    stack: ExitStack,
    workers: "Workers",
    seed: int,
) -> _Known:
    """Learn of the training shapes what the baselines need, once for all pairs."""
    import logging
    import tempfile

    import numpy as np

    from sdfkit.runtime.pool import fill

    logging.getLogger(__name__).info("looking at %d training shapes for the baselines", len(rows))
    study = _Study(len(rows))
    fill(study, rows, len(rows), partial(_learn, seed=seed), workers)
    mean, level = study.mean.extract()
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sdfkit-"))
    np.save(Path(folder, "clouds.npy"), study.clouds)
    mean.export(Path(folder, "mean.ply"))
    # Only what loading needs travels to the workers.
    light = [replace(row, info={}) for row in rows]
    return _Known(folder, light, frozenset(study.digests), chosen, level)


def _learn(row: "MeshRow", *, seed: int) -> dict[str, Any]:
    import numpy as np

    from sdfkit.geometry.baselines import CLOUD, digest_geometry, measure_grid
    from sdfkit.geometry.sampling import sample_surface

    mesh = row.load()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(row.index, 3)))
    return {
        "cloud": sample_surface(mesh, CLOUD, rng)[0].astype(np.float32),
        "distances": measure_grid(mesh),
        "digest": digest_geometry(mesh),
    }


@lru_cache(maxsize=1)
def _nearest_shapes(folder: str) -> "NearestShapes":
    import numpy as np

    from sdfkit.geometry.baselines import NearestShapes

    return NearestShapes(np.load(Path(folder, "clouds.npy"), mmap_mode="r"))


def _judge(pair: "Pair", *, points: int, seed: int, align: bool, known: _Known | None) -> dict[str, Any]:
    """Scores of the predictions and of the baselines, and facts about the truth."""
    import numpy as np

    from sdfkit.geometry.baselines import CLOUD, digest_geometry
    from sdfkit.geometry.metrics import Surface, describe_topology, measure_apart
    from sdfkit.geometry.sampling import sample_surface
    from sdfkit.io.meshes.reader import MeshRow

    def draw(*key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(pair.truth.index, *key)))

    mesh = pair.truth.load()
    surface = Surface(mesh, points=points, rng=draw(0))
    judge = partial(_score, truth=surface, points=points, align=align)
    predictions = []
    for sample, guess in enumerate(pair.guesses or (None,)):
        # A prediction that failed upstream comes as a row with an error: it counts as empty.
        loaded = None if guess is None or guess.error else guess.load()
        state = "missing" if guess is None else "failed" if guess.error else "predicted"
        score, found = judge(loaded, rng=draw(1, sample), shape=guess.uid if guess else "")
        predictions.append(({**score, "state": state}, found))
    apart = measure_apart([found for _, found in predictions if found is not None])
    pieces, euler = describe_topology(mesh)
    facts = {"pieces": pieces, "euler": euler, "reach": float(np.linalg.norm(mesh.vertices, axis=1).max())}
    if known is not None:
        facts["trained"] = (
            pair.uid in {row.uid for row in known.rows} or digest_geometry(mesh) in known.digests
        )
    scores = {}
    if known is not None:
        nearest = _nearest_shapes(known.folder).find(sample_surface(mesh, CLOUD, draw(2))[0])
        mean = MeshRow(0, "", path=str(Path(known.folder, "mean.ply")))
        scores["mean shape"] = judge(mean.load(), rng=draw(4), shape="")[0]
        trained = {
            row: judge(known.rows[row].load(), rng=draw(5), shape=known.rows[row].uid)[0]
            for row in {nearest, *([] if known.chosen is None else [known.chosen[pair.uid]])}
        }
        if known.chosen is not None:
            scores["retrieval"] = trained[known.chosen[pair.uid]]
        # By all points retrieval's answer may be the nearer one of two that are equally near.
        scores["oracle"] = min(trained.values(), key=lambda one: one["chamfer"])
    return {
        "predictions": [score for score, _ in predictions],
        "baselines": scores,
        "truth": facts,
        "apart": apart,
    }


def _score(
    mesh: "trimesh.Trimesh | None", *, shape: str, truth: "Surface", points: int, align: bool, rng: Any
) -> "tuple[Scores, Surface | None]":
    from sdfkit.geometry.alignment import find_alignment
    from sdfkit.geometry.metrics import Surface, compare_surfaces, describe_topology, has_area

    surface, pieces, euler = None, 0, 0
    if has_area(mesh):
        if align:
            mesh.apply_transform(find_alignment(mesh, truth.mesh, rng=rng))
        surface = Surface(mesh, points=points, rng=rng)
        pieces, euler = describe_topology(mesh)
    scores = asdict(compare_surfaces(surface, truth, rng))
    return {"shape": shape, **scores, "pieces": pieces, "euler": euler}, surface
