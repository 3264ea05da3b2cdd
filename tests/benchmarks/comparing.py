"""Compare scores of meshes with independent implementations, and measure time and memory of a comparison."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import trimesh
from scipy.spatial import cKDTree
from trimesh.creation import box, capsule, cylinder, icosphere, torus

from sdfkit.geometry.baselines import CLOUD, NearestShapes
from sdfkit.geometry.metrics import DEEPSDF_POINTS, SCORES, compare_meshes
from sdfkit.report.tables import format_table

POINTS = 100_000
Scores = dict[str, float]


def by_sdfkit(predicted: trimesh.Trimesh, truth: trimesh.Trimesh) -> Scores:
    scores = compare_meshes(predicted, truth, points=POINTS, rng=np.random.default_rng(0))
    return {name: getattr(scores, name) for name in SCORES}


def by_trimesh(predicted: trimesh.Trimesh, truth: trimesh.Trimesh) -> Scores:
    """Scores from trimesh's sampler, SciPy's nearest neighbours, and volumes of exact mesh intersections."""
    (a, in_a), (b, in_b) = (
        trimesh.sample.sample_surface(mesh, POINTS, seed=seed)
        for seed, mesh in enumerate((predicted, truth), 7)
    )
    (to_b, at_b), (to_a, at_a) = cKDTree(b).query(a), cKDTree(a).query(b)
    scores = {"chamfer": (to_b.mean() + to_a.mean()) / 2}
    few_a, few_b = a[:DEEPSDF_POINTS], b[:DEEPSDF_POINTS]
    squares = [
        (cKDTree(there).query(here)[0] ** 2).mean() for here, there in ((few_a, few_b), (few_b, few_a))
    ]
    scores["chamfer_deepsdf"] = 1000 * sum(squares)
    for name, near in (("f_score_1", 0.02), ("f_score_5", 0.1)):
        precision, recall = (to_b < near).mean(), (to_a < near).mean()
        scores[name] = 2 * precision * recall / max(precision + recall, 1e-9)
    shared = trimesh.boolean.intersection([predicted, truth], engine="manifold").volume
    scores["iou"] = shared / (predicted.volume + truth.volume - shared)
    normals_a, normals_b = predicted.face_normals[in_a], truth.face_normals[in_b]
    cosines = [np.abs((normals_a * normals_b[at_b]).sum(1)), np.abs((normals_b * normals_a[at_a]).sum(1))]
    return scores | {"normal_consistency": float(np.mean(cosines))}


def by_point_cloud_utils(predicted: trimesh.Trimesh, truth: trimesh.Trimesh) -> Scores:
    """Scores from point-cloud-utils' sampler and distances; its Chamfer distance is the sum of both directions."""
    import point_cloud_utils as pcu

    clouds = []
    for seed, mesh in enumerate((predicted, truth), 5):
        vertices, faces = np.array(mesh.vertices), np.array(mesh.faces)
        drawn = pcu.sample_mesh_random(vertices, faces, POINTS, random_seed=seed)
        clouds.append(pcu.interpolate_barycentric_coords(faces, *drawn, vertices))
    a, b = clouds
    to_b, to_a = pcu.k_nearest_neighbors(a, b, 1)[0], pcu.k_nearest_neighbors(b, a, 1)[0]
    scores = {"chamfer": float(pcu.chamfer_distance(a, b)) / 2}
    for name, near in (("f_score_1", 0.02), ("f_score_5", 0.1)):
        precision, recall = (to_b < near).mean(), (to_a < near).mean()
        scores[name] = 2 * precision * recall / max(precision + recall, 1e-9)
    return scores


def pairs() -> dict[str, tuple[trimesh.Trimesh, trimesh.Trimesh]]:
    return {
        "balls 0.9, 0.885": (icosphere(5, 0.9), icosphere(5, 0.885)),
        "cubes, shifted 0.1": (box((1, 1, 1)), box((1, 1, 1)).apply_translation([0.1, 0, 0])),
        "torus, thinner torus": (torus(0.7, 0.25, 96, 48), torus(0.7, 0.2, 96, 48)),
        "capsule, cylinder": (capsule(1.0, 0.4), cylinder(0.4, 1.6)),
        "ball, torus": (icosphere(4, 0.6), torus(0.6, 0.25, 96, 48)),
    }


def agreement() -> None:
    ways: dict[str, Callable[[trimesh.Trimesh, trimesh.Trimesh], Scores]] = {
        "sdfkit": by_sdfkit,
        "trimesh": by_trimesh,
    }
    if find_spec("point_cloud_utils"):
        ways["point-cloud-utils"] = by_point_cloud_utils
    rows: list[list[str | float | None]] = []
    for name, (predicted, truth) in pairs().items():
        ours: Scores = {}
        for way, judge in ways.items():
            start = time.process_time()
            scores = judge(predicted, truth)
            spent = time.process_time() - start
            ours = ours or scores
            # Differences of scores from 0 to 1 are absolute; differences of Chamfer distances are relative.
            departures = [
                100 * abs(value - ours[score]) / (ours[score] if score.startswith("chamfer") else 1)
                for score, value in scores.items()
            ]
            rows.append([name, way, spent, *(scores.get(score) for score in SCORES), max(departures)])
            name = ""
    print(format_table(["", "", "CPU s", *SCORES, "largest departure, %"], rows))


def cost() -> None:
    """Print time and peak memory of comparing two tori of growing size, each pair in its own process."""
    for rows in (16, 50, 158, 500):
        program = (
            "import resource, time, numpy as np\n"
            "from trimesh.creation import torus\n"
            "from sdfkit.geometry.metrics import compare_meshes\n"
            f"one, two = torus(0.7, 0.3, {2 * rows}, {rows}), torus(0.7, 0.25, {2 * rows}, {rows})\n"
            "compare_meshes(one, two, points=1000, rng=np.random.default_rng(0))\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "start = time.process_time()\n"
            f"compare_meshes(one, two, points={POINTS}, rng=np.random.default_rng(0))\n"
            "spent = time.process_time() - start\n"
            "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "print(f'{len(one.faces):9} faces each  {spent:5.2f} CPU s  peak {after // 1024} MB '\n"
            "      f'({before // 1024} before)')\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True)


def oracle() -> None:
    """Print time and memory of the search for the nearest of 820 training shapes, which are spheroids here."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(CLOUD, 3))
    ball = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    clouds = (ball * rng.uniform(0.1, 1, (820, 1, 3))).astype(np.float32)
    start = time.process_time()
    nearest = NearestShapes(clouds)
    built = time.process_time() - start
    queries = [ball[::-1] * clouds[row].max(axis=0) for row in range(0, 820, 41)]
    start = time.process_time()
    for points in queries:
        nearest.find(points)
    spent = (time.process_time() - start) / len(queries)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"nearest of 820 shapes: {built:.2f} CPU s once, {spent:.2f} a shape: {820 * spent:.0f} for 820; {peak} MB"
    )


def comparing() -> None:
    agreement()
    cost()
    oracle()
