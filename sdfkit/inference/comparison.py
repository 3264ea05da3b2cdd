"""Scores predicted meshes against the true meshes, and in the same way the answers of baselines that need no model."""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from sdfkit.errors import InputError
from sdfkit.geometry.baselines import (
    CLOUD,
    MeanShape,
    NearestShapes,
    digest_geometry,
    measure_grid,
    retrieve,
)
from sdfkit.geometry.metrics import SampledSurface, compare_surfaces, has_area, pairwise_chamfer
from sdfkit.geometry.sampling import sample_surface
from sdfkit.geometry.topology import describe_topology
from sdfkit.inference.defaults import COMPARE_POINTS, COMPARE_TIMEOUT
from sdfkit.io.meshes.pairs import MeshPairs, Pair, Pairing
from sdfkit.io.meshes.reader import Meshes, MeshRow
from sdfkit.rows import Row
from sdfkit.runtime.cores import CORES
from sdfkit.runtime.pool import PoolOptions, compute_rows

if TYPE_CHECKING:
    import trimesh

    from sdfkit.io.stores.reader import StoreReader

R = TypeVar("R", bound=Row)
Scores = dict[str, Any]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retrieval:
    """The training shape that the baseline retrieval returns for each true shape.

    Attributes:
        name: Name of the store with the features of the true shapes' images, for messages.
        choices: Index of the chosen training shape, by the uid of the true shape.
    """

    name: str
    choices: Mapping[str, int]

    def require(self, rows: Iterable[R]) -> Iterator[R]:
        """Yield the rows unchanged.

        Raises:
            InputError: Retrieval has chosen nothing for a row, because the store has no features of that shape.
        """
        for row in rows:
            if row.uid not in self.choices:
                raise InputError(
                    f"{self.name}: has no features of {row.uid}; embed the images of every true shape"
                )
            yield row


@dataclass(frozen=True)
class ComparisonResult:
    """The scores of the predictions and baselines for every true shape.

    Attributes:
        shapes: A mapping from the uid of each true shape, in order, to a mapping with `predictions` (for each predicted
            sample of the shape, its scores against the true mesh), `baselines` (for each baseline by name, the scores
            of its mesh against the true mesh), `truth` (facts about the true mesh) and `apart` (the Chamfer distance
            between the two samples of each pair of predicted samples).
        pairing: Whether predictions were paired with true shapes by "uid" or by "order".
        level: Value of the mean signed distance at which the surface of the mean shape is extracted; None without
            baselines.
        scored: Number of predictions that were scored.
        failed: Indices of the pairs (a true shape and its predictions) that could not be scored.
    """

    shapes: dict[str, dict[str, Any]]
    pairing: Literal["uid", "order"]
    level: float | None
    scored: int
    failed: set[int]


def retrieve_by_features(query: "StoreReader", known: "StoreReader", rows: Sequence[MeshRow]) -> Retrieval:
    """Choose for each true shape the training shape whose images have the most similar features.

    Args:
        query: Features of the images of the true shapes, from which the model predicted.
        known: Features of the images of the training shapes.
        rows: The training shapes to choose from.

    Raises:
        InputError: The two stores were embedded by different encoders, or `known` lacks the features of a training
            shape.
    """
    encoders = [
        {
            **store.attributes.get("encoder", {}),
            "precision": None,  # features of all precisions can be compared
            "numbers": store.array("feature").shape[2],
        }
        for store in (query, known)
    ]
    if encoders[0] != encoders[1]:
        first, second = (f"{one['numbers']} numbers from {one.get('model')}" for one in encoders)
        raise InputError(
            f"{query.name}: each feature has {first}, but in {known.name} {second}; "
            "embed both with the same model and options"
        )
    query_rows, query_arrays = query.read_rows("feature")
    known_rows, known_arrays = known.read_rows("feature")
    index_of = {row.uid: row.index for row in known_rows}
    missing = [row.uid for row in rows if row.uid not in index_of]
    if missing:
        raise InputError(
            f"{known.name}: has no features of {len(missing)} training shapes ({missing[0]} …); embed all of them"
        )
    training = known_arrays["feature"][[index_of[row.uid] for row in rows]]
    nearest = retrieve(query_arrays["feature"], training)
    return Retrieval(
        query.name, {row.uid: int(choice) for row, choice in zip(query_rows, nearest, strict=True)}
    )


def compare(
    predicted: Meshes,
    truths: Meshes,
    *,
    pair: Pairing = "auto",
    all_due: bool = False,
    points: int = COMPARE_POINTS,
    align: Literal["none", "icp"] = "none",
    training: Meshes | None = None,
    retrieval: Retrieval | None = None,
    seed: int = 0,
    pool: PoolOptions = PoolOptions(CORES, COMPARE_TIMEOUT, None, fail_fast=False),
) -> ComparisonResult:
    """Score predicted meshes, and the answers of baselines, against the true meshes.

    Args:
        predicted: The predicted meshes, in the unit frame (centred on the bounding box, farthest vertex at distance 1).
        truths: The true meshes, also in the unit frame.
        pair: How to pair predicted and true meshes; see `MeshPairs`.
        all_due: Score a true shape without a prediction as an empty mesh, instead of leaving it out. With several
            predictions, such shapes are always scored.
        points: Number of points on each surface, and of points in space for the volume IoU.
        align: "icp" first rotates and translates each prediction onto its true mesh, without scaling; "none" does not.
        training: The training shapes, for two baselines: the mean shape (a level set of the mean of the training
            shapes' signed distances), and the training shape nearest to the true shape (the oracle). None for no
            baselines.
        retrieval: The training shapes that retrieval chooses, for a third baseline; None to leave it out.
        seed: Seed of all random numbers.
        pool: Number of processes and time limits.

    Returns:
        The scores, by true shape.

    Raises:
        InputError: No prediction belongs to a true shape, or `retrieval` has no choice for a true shape.
        GeometryError: A training shape has no surface, or cannot be read.
    """
    pairs = MeshPairs(predicted, truths, pair, all_due=all_due)
    collected, baselines = _ScoreCollector(), None
    with ExitStack() as stack:
        if retrieval is not None:
            list(retrieval.require(truths.rows or ()))  # before the baselines, which take minutes
        if training is not None:
            strict = replace(pool, fail_fast=True)
            baselines = stack.enter_context(_prepare_baselines(training.rows or (), retrieval, strict, seed))
        score = partial(_score_pair, points=points, seed=seed, align=align == "icp", baselines=baselines)
        rows = pairs if retrieval is None else retrieval.require(pairs)
        compute_rows(collected, rows, pairs.count, score, pool)
    return ComparisonResult(
        shapes=collected.shapes,
        pairing=pairs.by,
        level=None if baselines is None else baselines.level,
        scored=collected.scored,
        failed=collected.failed,
    )


class _ScoreCollector:
    """A writer that collects the scores of all pairs by true shape, but not the meshes."""

    def __init__(self) -> None:
        self.failed: set[int] = set()
        self.scored = 0
        self._shapes: dict[tuple[int, str], dict[str, Any]] = {}

    def has(self, row: Row) -> bool:
        return False

    def write(self, row: Row, **values: Any) -> None:
        assert isinstance(row, Pair)
        if row.error:
            self.failed.add(row.index)
            return
        self.scored += len(values["predictions"])
        empty = {"truth": values["truth"], "predictions": [], "baselines": values["baselines"], "apart": []}
        shape = self._shapes.setdefault((row.truth.index, row.uid), empty)
        shape["predictions"] += values["predictions"]
        shape["apart"] += values["apart"]

    @property
    def shapes(self) -> dict[str, dict[str, Any]]:
        """The scores by uid, in the order of the true shapes."""
        return {uid: self._shapes[index, uid] for index, uid in sorted(self._shapes)}


@dataclass(frozen=True)
class _Baselines:
    """Data on the training shapes, from which a worker process finds the answers of the baselines.

    Attributes:
        folder: A temporary folder with the point clouds of all training shapes, and with the mesh of the mean shape.
        rows: The training shapes.
        digests: Digests of the vertices and faces of the training shapes, to recognise true shapes among them.
        choices: Index of the training shape that retrieval chooses, by the uid of the true shape; None without
            features.
        level: See `ComparisonResult`.
    """

    folder: str
    rows: Sequence[MeshRow]
    digests: frozenset[str]
    choices: Mapping[str, int] | None
    level: float


class _BaselineCollector:
    """A writer that collects the measurements of training shapes that the baselines need."""

    def __init__(self, count: int) -> None:
        self.failed: set[int] = set()
        self.digests: list[str] = []
        self.clouds = np.empty((count, CLOUD, 3), np.float32)
        self.mean = MeanShape()

    def has(self, row: Row) -> bool:
        return False

    def write(self, row: Row, **values: Any) -> None:
        self.clouds[row.index] = values["cloud"]
        self.digests.append(values["digest"])
        self.mean.add(values["distances"])


@contextmanager
def _prepare_baselines(
    rows: Sequence[MeshRow], retrieval: Retrieval | None, pool: PoolOptions, seed: int
) -> Iterator[_Baselines]:
    """Measure the training shapes once for all pairs, and compute the mean shape."""
    log.info("preparing the baselines from %d training shapes", len(rows))
    collected = _BaselineCollector(len(rows))
    compute_rows(collected, rows, len(rows), partial(_measure_training_shape, seed=seed), pool)
    mean, level = collected.mean.extract()
    with tempfile.TemporaryDirectory(prefix="sdfkit-") as folder:
        np.save(Path(folder, "clouds.npy"), collected.clouds)
        mean.export(Path(folder, "mean.ply"))
        # Without `info`, which workers do not need to load a mesh.
        light = [replace(row, info={}) for row in rows]
        choices = None if retrieval is None else retrieval.choices
        yield _Baselines(folder, light, frozenset(collected.digests), choices, level)


def _measure_training_shape(row: MeshRow, *, seed: int) -> dict[str, Any]:
    mesh = row.load()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(row.index, 3)))
    return {
        "cloud": sample_surface(mesh, CLOUD, rng)[0].astype(np.float32),
        "distances": measure_grid(mesh),
        "digest": digest_geometry(mesh),
    }


@lru_cache(maxsize=1)
def _nearest_shapes(folder: str) -> NearestShapes:
    return NearestShapes(np.load(Path(folder, "clouds.npy"), mmap_mode="r"))


def _score_pair(
    pair: Pair, *, points: int, seed: int, align: bool, baselines: _Baselines | None
) -> dict[str, Any]:
    """Score the predictions and the baselines for one true shape, and describe the true shape."""

    def draw(*key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(pair.truth.index, *key)))

    mesh = pair.truth.load()
    surface = SampledSurface(mesh, points=points, rng=draw(0))
    score = partial(_score_mesh, truth=surface, points=points, align=align)
    predictions = []
    for sample, guess in enumerate(pair.guesses or (None,)):
        # A prediction that failed in an earlier command is a row with an error. It is scored as an empty mesh.
        loaded = None if guess is None or guess.error else guess.load()
        state = "missing" if guess is None else "failed" if guess.error else "predicted"
        scores, found = score(loaded, rng=draw(1, sample), shape=guess.uid if guess else "")
        predictions.append(({**scores, "state": state}, found))
    apart = pairwise_chamfer([found for _, found in predictions if found is not None])
    pieces, euler = describe_topology(mesh)
    facts = {"pieces": pieces, "euler": euler, "reach": float(np.linalg.norm(mesh.vertices, axis=1).max())}
    answers: dict[str, Scores] = {}
    if baselines is not None:
        trained = {row.uid for row in baselines.rows}
        facts["trained"] = pair.uid in trained or digest_geometry(mesh) in baselines.digests
        nearest = _nearest_shapes(baselines.folder).find(sample_surface(mesh, CLOUD, draw(2))[0])
        mean = MeshRow(0, "", path=str(Path(baselines.folder, "mean.ply")))
        answers["mean shape"] = score(mean.load(), rng=draw(4), shape="")[0]
        chosen = None if baselines.choices is None else baselines.choices[pair.uid]
        by_row = {
            row: score(baselines.rows[row].load(), rng=draw(5), shape=baselines.rows[row].uid)[0]
            for row in {nearest, *([] if chosen is None else [chosen])}
        }
        if chosen is not None:
            answers["retrieval"] = by_row[chosen]
        # `find` compares fewer points than the scores do, so the shape that retrieval chose may have the better score.
        answers["oracle"] = min(by_row.values(), key=lambda one: one["chamfer"])
    return {
        "predictions": [scores for scores, _ in predictions],
        "baselines": answers,
        "truth": facts,
        "apart": apart,
    }


def _score_mesh(
    mesh: "trimesh.Trimesh | None",
    *,
    shape: str,
    truth: SampledSurface,
    points: int,
    align: bool,
    rng: np.random.Generator,
) -> tuple[Scores, SampledSurface | None]:
    surface, pieces, euler = None, 0, 0
    if has_area(mesh):
        if align:
            from sdfkit.geometry.alignment import find_alignment

            mesh.apply_transform(find_alignment(mesh, truth.mesh, rng=rng))
        surface = SampledSurface(mesh, points=points, rng=rng)
        pieces, euler = describe_topology(mesh)
    scores = asdict(compare_surfaces(surface, truth, rng))
    return {"shape": shape, **scores, "pieces": pieces, "euler": euler}, surface
