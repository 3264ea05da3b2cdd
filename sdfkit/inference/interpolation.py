"""Meshes the shapes on straight lines between latent codes, and measures them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sdfkit.analysis.interpolation import (
    DEFINITIONS,
    ShapePath,
    Solid,
    draw_pairs,
    interpolate,
    judge_path,
)
from sdfkit.errors import InputError
from sdfkit.geometry.metrics import SampledSurface, bootstrap_interval, pairwise_chamfer
from sdfkit.geometry.topology import describe_topology
from sdfkit.inference.meshing import CodeMesher, MeshOptions, require_decoder, require_finite
from sdfkit.rows import Row, seed_shape, unique
from sdfkit.runtime.progress import progress

if TYPE_CHECKING:
    from sdfkit.io.models.reader import CodeDecoder
    from sdfkit.io.stores.store_reader import StoreReader

# Number of points on a surface from which distances to the next are measured. The Chamfer distance of two decoded
# shapes differed by 1 % from that with 10,000 points.
POINTS = 2_000


class Mean(NamedTuple):
    """Mean of a measure over paths, the ends of its 95 % confidence interval, and the number of paths that have it."""

    mean: float
    low: float
    high: float
    paths: int


class CodePaths(NamedTuple):
    """Straight paths between pairs of latent codes, and what meshes their codes.

    Attributes:
        name: Name of the store of the codes.
        rows: One row for each code: path after path, each with both ends.
        codes: The codes.
        ends: Uids of the two ends of each path.
        mesher: Meshes the codes.
        decoder: The network that decodes the codes.
    """

    name: str
    rows: list[Row]
    codes: Float[np.ndarray, "pair code dim"]
    ends: list[tuple[str, str]]
    mesher: CodeMesher
    decoder: "CodeDecoder"


def draw_paths(
    store: "StoreReader",
    decoder: str | None,
    device: str,
    *,
    pairs: int,
    between: int,
    within_category: bool,
    resolution: int,
    seed: int,
) -> CodePaths:
    """Draw pairs of the codes of a store at random, and interpolate between them.

    Args:
        store: A codes, deepsdf, autoencoder or flow store.
        decoder: Path of the store with the decoder of the codes; None if the store itself holds it.
        device: Name of the torch device to compute on.
        pairs: Number of pairs, or all pairs if there are fewer.
        between: Number of codes between the ends of a path.
        within_category: Draw only pairs of shapes of one category.
        resolution: Cells along a side of the query cube, from -1 to 1 along each axis.
        seed: Seed of the choice.

    Raises:
        UsageError: The decoder of codes is missing.
        InputError: The codes belong to another decoder, have another length or numbers that are not finite; or there is
            no such pair.
    """
    from sdfkit.io.models.reader import load_code_decoder, read_code_decoder, read_vectors

    require_decoder(store, has_decoder=decoder is not None)
    trained = read_code_decoder(store, device) if decoder is None else load_code_decoder(decoder, device)
    mesher = CodeMesher(trained, device, MeshOptions(resolution))
    mesher.check(store)
    rows, vectors = read_vectors(store)
    require_finite(store, rows, vectors)
    categories = [row.category for row in rows] if within_category else None
    try:
        chosen = draw_pairs(
            [row.uid for row in rows], categories, pairs, np.random.default_rng(np.random.SeedSequence(seed))
        )
    except InputError as error:
        raise InputError(f"{store.name}: {error}") from None
    codes = np.stack([interpolate(vectors[one], vectors[other], between) for one, other in chosen])
    named = [(rows[one], rows[other]) for one, other in chosen]
    names = unique(f"{one.uid}~{other.uid}~{place}" for one, other in named for place in range(between + 2))
    categories = [one.category if one.category == other.category else "" for one, other in named]
    return CodePaths(
        store.name,
        [Row(index, name, categories[index // (between + 2)]) for index, name in enumerate(names)],
        codes,
        [(one.uid, other.uid) for one, other in named],
        mesher,
        trained,
    )


def measure_paths(paths: CodePaths, tolerance: float, seed: int) -> dict[str, Any]:
    """Mesh the codes of paths and measure their meshes.

    Args:
        paths: The paths.
        tolerance: How far volumes and areas may lie outside those of the ends, as a share of the greater one.
        seed: Seed of the points on the surfaces, and of the bootstrap.

    Returns:
        The JSON report: `summary` has the mean of each measure of `analysis.interpolation.DEFINITIONS`; `paths` has the
        measures of each path, its `ends`, the measures of its `shapes`, null without surface, its `steps` (Chamfer
        distances of neighbours) and the `distance` of its ends.
    """
    measured, judged = [], []
    with progress(len(paths.ends), "path") as bar:
        for number in range(len(paths.ends)):
            measured.append(_measure_path(paths, number, seed))
            judged.append(judge_path(measured[-1], tolerance))
            bar.update()
    summary = summarise_paths(judged, np.random.default_rng(np.random.SeedSequence(seed)))
    return {
        "store": paths.name,
        "pairs": len(paths.ends),
        "between": paths.codes.shape[1] - 2,
        "resolution": paths.mesher.options.resolution,
        "tolerance": tolerance,
        "seed": seed,
        "summary": {name: mean and mean._asdict() for name, mean in summary.items()},
        "paths": [
            asdict(path)
            | {"shapes": [shape and shape._asdict() for shape in path.shapes], "measures": measures}
            for path, measures in zip(measured, judged, strict=True)
        ],
    }


def summarise_paths(
    judged: Sequence[Mapping[str, float]], rng: np.random.Generator
) -> dict[str, Mean | None]:
    """Average the measures of paths.

    Args:
        judged: What `judge_path` returned for each path.
        rng: Generator of the bootstrap, over paths.

    Returns:
        The mean of each measure of `DEFINITIONS` over the paths that have it; None if no path has it.
    """
    summary: dict[str, Mean | None] = {}
    for name in DEFINITIONS:
        values = np.array([path[name] for path in judged if name in path])
        summary[name] = (
            Mean(float(values.mean()), *bootstrap_interval(values, rng), len(values)) if len(values) else None
        )
    return summary


def _measure_path(paths: CodePaths, number: int, seed: int) -> ShapePath:
    ends = paths.ends[number]
    rng = np.random.default_rng(seed_shape(seed, "~".join(ends)))
    meshes = [paths.mesher.mesh(code) for code in paths.codes[number]]
    surfaces = [None if mesh is None else SampledSurface(mesh, points=POINTS, rng=rng) for mesh in meshes]
    return ShapePath(
        ends,
        [
            None if mesh is None else Solid(*describe_topology(mesh), float(mesh.volume), float(mesh.area))
            for mesh in meshes
        ],
        [_distance(one, other) for one, other in pairwise(surfaces)],
        _distance(surfaces[0], surfaces[-1]),
    )


def _distance(one: SampledSurface | None, other: SampledSurface | None) -> float | None:
    return None if one is None or other is None else pairwise_chamfer([one, other])[0]
