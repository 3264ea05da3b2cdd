"""Scores predicted meshes against the true meshes, and in the same way the answers of baselines that need no model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from sdfkit.geometry.baselines import CLOUD
from sdfkit.geometry.metrics import SampledSurface, compare_surfaces, has_area, pairwise_chamfer
from sdfkit.geometry.sampling import sample_surface
from sdfkit.geometry.topology import describe_topology
from sdfkit.inference.comparison.baselines import Baselines, prepare_baselines
from sdfkit.inference.comparison.image_baselines import ImageBaselines
from sdfkit.inference.defaults import COMPARE_POINTS, COMPARE_TIMEOUT
from sdfkit.io.meshes.pairs import MeshPairs, Pair, Pairing
from sdfkit.io.meshes.reader import Meshes, MeshRow
from sdfkit.rows import Row, seed_shape
from sdfkit.runtime.cores import CORES
from sdfkit.runtime.pool import PoolOptions, compute_rows

if TYPE_CHECKING:
    import trimesh

Scores = dict[str, Any]
Cells = list[dict[str, Any]]


class PairDrawing(NamedTuple):
    """How pairs of meshes are drawn. Both functions run in worker processes.

    They get a true mesh and its predictions, each a mesh or the reason why there is none, and return a mapping for each
    of the meshes that they draw, that of the true mesh first.

    Attributes:
        draw: Draws any pair, while its meshes are in memory.
        most: Maximum number of shapes whose drawings are kept: those with the largest Chamfer distances.
        model: Draws more, which takes longer, for the worst of these shapes, after all scores are known. Its last
            argument is the number of all meshes that it is called with. Its entries are added to those of `draw`.
        modelled: Maximum number of shapes that `model` draws.
    """

    draw: "Callable[[trimesh.Trimesh, Sequence[trimesh.Trimesh | str]], Cells]"
    most: int
    model: "Callable[[trimesh.Trimesh, Sequence[trimesh.Trimesh | str], int], Cells]"
    modelled: int


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
        drawings: The drawings of the worst shapes by uid, if they were asked for.
    """

    shapes: dict[str, dict[str, Any]]
    pairing: Literal["uid", "order"]
    level: float | None
    scored: int
    failed: set[int]
    drawings: Mapping[str, Sequence[Any]]


def compare(
    predicted: Meshes,
    truths: Meshes,
    *,
    pair: Pairing = "auto",
    all_due: bool = False,
    points: int = COMPARE_POINTS,
    align: Literal["none", "icp"] = "none",
    training: Meshes | None = None,
    images: ImageBaselines = ImageBaselines(),
    seed: int = 0,
    drawing: PairDrawing | None = None,
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
        images: The baselines that answer from the images that the model predicted from.
        seed: Seed of all random numbers.
        drawing: How to draw the meshes; None draws none.
        pool: Number of processes and time limits.

    Returns:
        The scores, by true shape.

    Raises:
        InputError: No prediction belongs to a true shape, or a store of images lacks a true shape.
        GeometryError: A training shape has no surface, or cannot be read.
    """
    pairs = MeshPairs(predicted, truths, pair, all_due=all_due)
    collected, baselines = _ScoreCollector(*((drawing.most, drawing.modelled) if drawing else (0, 0))), None
    with ExitStack() as stack:
        rows: Iterable[Pair] = pairs
        for needed in (images.retrieval, images.pictures):
            if needed is not None:
                list(needed.require(truths.rows or ()))  # before the baselines, which take minutes
                rows = needed.require(rows)
        if training is not None or images.pictures is not None:
            prepared = prepare_baselines(
                (training.rows if training else None) or (), images=images,
                pool=replace(pool, fail_fast=True), seed=seed,
            )  # fmt: skip
            baselines = stack.enter_context(prepared)
        score = partial(score_pair, points=points, seed=seed, align=align == "icp", baselines=baselines)
        if drawing is not None:
            score = partial(score, paint=drawing.draw)
        compute_rows(collected, rows, pairs.count, score, pool)
    drawings = collected.drawings
    if drawing is not None:
        worst = collected.worst_pairs
        meshes = sum(1 + max(1, len(pair.guesses)) for pair in worst)
        models = _ModelCollector(drawings)
        model = partial(_model_pair, seed=seed, align=align == "icp", paint=drawing.model, meshes=meshes)
        compute_rows(models, worst, len(worst), model, pool)
    return ComparisonResult(
        shapes=collected.shapes,
        pairing=pairs.by,
        level=None if baselines is None else baselines.level,
        scored=collected.scored,
        failed=collected.failed,
        drawings=drawings,
    )


class _ScoreCollector:
    """A writer that collects the scores of all pairs by true shape, and the drawings of the worst, but no meshes.

    Args:
        most: Number of shapes whose drawings are kept.
        modelled: Number of shapes, not more than `most`, whose pairs are kept, to load their meshes again. The meshes
            of a pipe are kept with them, as the bytes that were read.
    """

    def __init__(self, most: int, modelled: int) -> None:
        self.failed: set[int] = set()
        self._most, self._modelled = most, modelled
        self._drawings: dict[tuple[int, str], Cells] = {}
        self._pairs: dict[tuple[int, str], Pair] = {}
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
        key = (row.truth.index, row.uid)
        shape = self._shapes.setdefault(key, empty)
        shape["predictions"] += values["predictions"]
        shape["apart"] += values["apart"]
        if "drawings" in values:
            self._keep(key, row, values["drawings"])

    def _keep(self, key: tuple[int, str], pair: Pair, drawings: Cells) -> None:
        # Samples of a shape may come one by one; the first drawing of each is that of the true mesh.
        if key in self._drawings:
            self._drawings[key] += drawings[1:]
            if (known := self._pairs.get(key)) is not None:
                self._pairs[key] = replace(known, guesses=(*known.guesses, *pair.guesses))
        else:
            self._drawings[key], self._pairs[key] = list(drawings), pair
        if len(self._pairs) > 2 * self._modelled:
            self._drop()

    def _drop(self) -> None:
        """Keep the drawings and pairs of the worst shapes only, the worst first."""

        def measure(key: tuple[int, str]) -> float:
            return -float(np.mean([one["chamfer"] for one in self._shapes[key]["predictions"]]))

        worst = sorted(self._drawings, key=measure)[: self._most]
        self._drawings = {key: self._drawings[key] for key in worst}
        self._pairs = {key: self._pairs[key] for key in worst[: self._modelled] if key in self._pairs}

    @property
    def drawings(self) -> dict[str, Cells]:
        """The drawings of the worst shapes by uid, the worst first."""
        self._drop()
        return {uid: drawn for (_, uid), drawn in self._drawings.items()}

    @property
    def worst_pairs(self) -> list[Pair]:
        """The pairs of the worst shapes, the worst first."""
        self._drop()
        return list(self._pairs.values())

    @property
    def shapes(self) -> dict[str, dict[str, Any]]:
        """The scores by uid, in the order of the true shapes."""
        return {uid: self._shapes[index, uid] for index, uid in sorted(self._shapes)}


class _ModelCollector:
    """A writer that adds what `PairDrawing.model` returns to drawings. Those of a shape that fails stay as they are.

    Args:
        drawings: The drawings by uid, which are changed.
    """

    def __init__(self, drawings: Mapping[str, Cells]) -> None:
        self.failed: set[int] = set()
        self._drawings = drawings

    def has(self, row: Row) -> bool:
        return False

    def write(self, row: Row, **values: Any) -> None:
        if row.error:
            self.failed.add(row.index)
            return
        # Of samples that came one by one, more may have been drawn.
        for drawn, more in zip(self._drawings[row.uid], values["models"], strict=False):
            drawn |= more


def _model_pair(
    pair: Pair,
    *,
    seed: int,
    align: bool,
    paint: "Callable[[trimesh.Trimesh, Sequence[trimesh.Trimesh | str], int], Cells]",
    meshes: int,
) -> dict[str, Any]:
    """Load a pair that has been scored once more, place its predictions as `score_pair` did, and draw it."""
    truth = pair.truth.load()
    guesses = [_load_guess(guess) for guess in pair.guesses or (None,)]
    for sample, mesh in enumerate(guesses):
        if align and not isinstance(mesh, str):
            _align(mesh, truth, np.random.default_rng(seed_shape(seed, pair.uid, 1, sample)))
    return {"models": paint(truth, guesses, meshes)}


def _load_guess(guess: MeshRow | None) -> "trimesh.Trimesh | str":
    """Load a prediction, or say why there is none with a surface."""
    if guess is None:
        return "not predicted"
    # A prediction that failed in an earlier command is a row with an error. It is scored as an empty mesh.
    if guess.error:
        return guess.error
    mesh = guess.load()
    return mesh if has_area(mesh) else "no surface"


def _align(mesh: "trimesh.Trimesh", truth: "trimesh.Trimesh", rng: np.random.Generator) -> None:
    from sdfkit.geometry.alignment import find_alignment

    mesh.apply_transform(find_alignment(mesh, truth, rng=rng))


def score_pair(
    pair: Pair,
    *,
    points: int,
    seed: int,
    align: bool,
    baselines: Baselines | None,
    paint: "Callable[[trimesh.Trimesh, Sequence[trimesh.Trimesh | str]], Cells] | None" = None,
) -> dict[str, Any]:
    """Score the predictions and the baselines for one true shape, and describe and, with `paint`, draw the shape."""

    def draw(*key: int) -> np.random.Generator:
        return np.random.default_rng(seed_shape(seed, pair.uid, *key))

    pair.check()
    mesh = pair.truth.load()
    surface = SampledSurface(mesh, points=points, rng=draw(0))
    score = partial(_score_mesh, truth=surface, points=points, align=align)
    predictions, compared = [], list["trimesh.Trimesh | str"]()
    for sample, guess in enumerate(pair.guesses or (None,)):
        loaded = _load_guess(guess)
        compared.append(loaded)
        state = "missing" if guess is None else "failed" if guess.error else "predicted"
        scores, found = score(
            None if isinstance(loaded, str) else loaded, rng=draw(1, sample), shape=guess.uid if guess else ""
        )
        predictions.append(({**scores, "state": state}, found))
    apart = pairwise_chamfer([found for _, found in predictions if found is not None])
    pieces, euler = describe_topology(mesh)
    facts = {"pieces": pieces, "euler": euler, "reach": float(np.linalg.norm(mesh.vertices, axis=1).max())}
    answers: dict[str, Scores] = {}
    if baselines is not None:
        facts["trained"] = baselines.is_trained(pair.uid, mesh)
        for name, answer in baselines.load(pair.uid).items():
            answers[name] = score(answer, rng=draw(4), shape="")[0]
        chosen = baselines.choose(pair.uid, sample_surface(mesh, CLOUD, draw(2))[0])
        by_row = {
            row: score(baselines.rows[row].load(), rng=draw(5), shape=baselines.rows[row].uid)[0]
            for row in sorted({*chosen.values()})
        }
        answers |= {name: by_row[row] for name, row in chosen.items()}
        if by_row:
            # The search compares fewer points than the scores do, so another answer may have the better score.
            answers["oracle"] = min(by_row.values(), key=lambda one: one["chamfer"])
    return {
        "predictions": [scores for scores, _ in predictions],
        "baselines": answers,
        "truth": facts,
        "apart": apart,
        **({} if paint is None else {"drawings": paint(mesh, compared)}),
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
            _align(mesh, truth.mesh, rng)
        surface = SampledSurface(mesh, points=points, rng=rng)
        pieces, euler = describe_topology(mesh)
    scores = asdict(compare_surfaces(surface, truth, rng))
    return {"shape": shape, **scores, "pieces": pieces, "euler": euler}, surface
