"""How near a predicted mesh is to the true one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import trimesh
from jaxtyping import Float
from scipy.spatial import cKDTree

from sdfkit.errors import GeometryError
from sdfkit.geometry.distance import TriangleTree
from sdfkit.geometry.sampling import Points, face_normals, sample_surface

DEFINITIONS = """\
Meshes are compared as they stand, in the unit frame (farthest vertex at distance 1), without alignment.
Distances run from points drawn by area on one surface to the nearest of as many on the other.
chamfer             mean of both directions' mean distance, not squared; with N points, a surface of area A
                    compared with itself scores 0.5 sqrt(A / N)
chamfer_deepsdf     sum of both directions' mean squared distance between the first 30,000 points, times 1000
f_score_1           harmonic mean of the shares of points nearer than 0.02: 1 % of the query cube's side of 2
f_score_5           the same, nearer than 0.1: 5 %
iou                 volume inside both over volume inside either, by N even points in the cube around both,
                    padded by 10 %; inside where the winding number exceeds 1/2
normal_consistency  mean |n . n'| between nearest points, mean of both directions
An empty prediction scores 0, and the diagonal of the query cube, 3.464, for every distance.
"""

DEEPSDF_POINTS = 30_000
DIAGONAL = 2 * 3**0.5
# 1 % and 5 % of the side of the query cube, which is how Tatarchenko et al. (2019) measure it. At 0.01 the
# metric would measure its own draws: 100,000 points on the unit sphere score 0.92 against the same sphere.
NEAR, NEARBY = 0.02, 0.1


@dataclass(frozen=True)
class Comparison:
    """The scores of one prediction, as `DEFINITIONS` defines them."""

    chamfer: float
    chamfer_deepsdf: float
    f_score_1: float
    f_score_5: float
    iou: float
    normal_consistency: float


def compare_meshes(
    predicted: trimesh.Trimesh | None, truth: trimesh.Trimesh, *, points: int, rng: np.random.Generator
) -> Comparison:
    """Score a predicted mesh against the true one.

    Distances run from point to point, as in other evaluation code, not from point to face: their floor is the
    spacing of the points, and it is the price of figures that can be compared.

    Args:
        predicted: The mesh to judge, or None where there is none; no faces or no area count as none.
        truth: The mesh it should be, in the same frame.
        points: How many to draw on each surface, and in space for the IoU.
        rng: Where the draws come from.

    Returns:
        All scores of `DEFINITIONS`.

    Raises:
        GeometryError: The true mesh has no area, or a vertex of either is NaN or infinite.
    """
    for mesh in (predicted, truth):
        if mesh is not None and not np.isfinite(mesh.vertices).all():
            raise GeometryError("vertices are NaN or infinite: there is no distance to them")
    if truth.area == 0:
        raise GeometryError("no area: there is no true surface to compare with")
    if predicted is None or predicted.area == 0:
        return Comparison(
            chamfer=DIAGONAL,
            chamfer_deepsdf=2 * 12.0 * 1000,  # squared
            f_score_1=0.0,
            f_score_5=0.0,
            iou=0.0,
            normal_consistency=0.0,
        )
    iou = _volume_iou(predicted, truth, points, rng)
    (place_p, face_p), (place_t, face_t) = (sample_surface(mesh, points, rng) for mesh in (predicted, truth))
    distance_p, nearest_t = cKDTree(place_t).query(place_p)
    distance_t, nearest_p = cKDTree(place_p).query(place_t)
    normal_p, normal_t = face_normals(predicted)[face_p], face_normals(truth)[face_t]
    cosine_p = np.abs((normal_p * normal_t[nearest_t]).sum(axis=1)).mean()
    cosine_t = np.abs((normal_t * normal_p[nearest_p]).sum(axis=1)).mean()
    few_p, few_t = place_p[:DEEPSDF_POINTS], place_t[:DEEPSDF_POINTS]
    squared_p = np.square(cKDTree(few_t).query(few_p)[0]).mean()
    squared_t = np.square(cKDTree(few_p).query(few_t)[0]).mean()
    return Comparison(
        chamfer=float(distance_p.mean() + distance_t.mean()) / 2,
        chamfer_deepsdf=float(squared_p + squared_t) * 1000,
        f_score_1=_f_score(distance_p, distance_t, NEAR),
        f_score_5=_f_score(distance_p, distance_t, NEARBY),
        iou=iou,
        normal_consistency=float(cosine_p + cosine_t) / 2,
    )


def _f_score(
    predicted: Float[np.ndarray, " point"], truth: Float[np.ndarray, " point"], threshold: float
) -> float:
    precision, recall = np.mean(predicted < threshold), np.mean(truth < threshold)
    return float(2 * precision * recall / (precision + recall)) if precision + recall > 0 else 0.0


def _volume_iou(
    predicted: trimesh.Trimesh, truth: trimesh.Trimesh, points: int, rng: np.random.Generator
) -> float:
    bounds = np.array([predicted.bounds, truth.bounds])
    low, high = bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)
    half = 1.1 * (high - low).max() / 2
    queries: Points = (low + high) / 2 + rng.uniform(-half, half, (points, 3))
    # Where neither is closed, a sheet has no inside and the two share nothing.
    inside_p, inside_t = (
        TriangleTree(mesh.vertices, mesh.faces).winding(queries) > 0.5 for mesh in (predicted, truth)
    )
    either = int(np.count_nonzero(inside_p | inside_t))
    return int(np.count_nonzero(inside_p & inside_t)) / either if either else 0.0


def bootstrap_interval(values: Float[np.ndarray, " value"], rng: np.random.Generator) -> tuple[float, float]:
    """Bound the mean of what the values were drawn from, with 95 % confidence.

    Args:
        values: One score a shape.
        rng: Where the 2,000 resamples come from.

    Returns:
        The 2.5 and 97.5 percentiles of the resamples' means.

    Raises:
        ValueError: There are no values.
    """
    if len(values) == 0:
        raise ValueError("no values: an interval needs at least one")
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(2000)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def summarise(scores: Sequence[Mapping[str, float]], rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Mean with its 95 % interval, median and worst of each score over shapes.

    Args:
        scores: The fields of a `Comparison` by name, one mapping a shape.
        rng: Where the resamples of the bootstrap come from.
    """
    summary = {}
    for field in fields(Comparison) if scores else ():
        values = np.array([score[field.name] for score in scores])
        low, high = bootstrap_interval(values, rng)
        worst = values.max() if field.name.startswith("chamfer") else values.min()
        summary[field.name] = {
            "mean": float(values.mean()),
            "low": low,
            "high": high,
            "median": float(np.median(values)),
            "worst": float(worst),
        }
    return summary
