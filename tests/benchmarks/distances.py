"""Distances and samples against whichever peers are installed.

One table: CPU seconds, how often sdfkit's time that is, worst distance error and share of wrong signs, on a
torus whose distance is known. Peers take turns in one run: trimesh, libigl, point-cloud-utils, mesh-to-sdf.
"""

import importlib.util
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import trimesh

from sdfkit.geometry.distance import TriangleTree
from sdfkit.geometry.sampling import sample_sdf

MAJOR, MINOR = 0.7, 0.3
POINTS = 200_000
FEW = 2000  # for a peer that would take minutes: its time is scaled up, but for the tree, which it keeps


def torus_distance(points: np.ndarray) -> np.ndarray:
    x, y, z = points.astype(np.float64).T
    return np.hypot(np.hypot(x, y) - MAJOR, z) - MINOR


def sdfkit_by(sign: str) -> Callable[[trimesh.Trimesh, np.ndarray], np.ndarray]:
    return lambda mesh, points: TriangleTree(mesh.vertices, mesh.faces).signed(points, sign)


def by_trimesh(mesh: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    return -trimesh.proximity.signed_distance(mesh, points)


def by_libigl(mesh: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    import igl

    vertices, faces = np.array(mesh.vertices), np.array(mesh.faces)
    return igl.signed_distance(points, vertices, faces, igl.SIGNED_DISTANCE_TYPE_PSEUDONORMAL)[0]


def by_point_cloud_utils(mesh: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    import point_cloud_utils

    return point_cloud_utils.signed_distance_to_mesh(points, np.array(mesh.vertices), np.array(mesh.faces))[0]


def by_mesh_to_sdf(mesh: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    import mesh_to_sdf

    return mesh_to_sdf.mesh_to_sdf(mesh, points)


CANDIDATES = [
    ("sdfkit, normal", "sdfkit", sdfkit_by("normal"), POINTS),
    ("sdfkit, winding", "sdfkit", sdfkit_by("winding"), POINTS),
    ("trimesh", "rtree", by_trimesh, FEW),
    ("libigl, pseudonormal", "igl", by_libigl, POINTS),
    ("point-cloud-utils", "point_cloud_utils", by_point_cloud_utils, POINTS),
    ("mesh-to-sdf, scan", "mesh_to_sdf", by_mesh_to_sdf, POINTS),
]


def timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def distances() -> None:
    mesh = trimesh.creation.torus(MAJOR, MINOR, major_sections=512, minor_sections=256)
    rng = np.random.default_rng(0)
    surface, _ = trimesh.sample.sample_surface(mesh, POINTS // 2, seed=0)
    std = np.resize([0.0707, 0.0224], len(surface))[:, None]
    near = surface + std * rng.normal(size=surface.shape)
    points = rng.permutation(np.concatenate([near, rng.uniform(-1, 1, (POINTS // 2, 3))]))
    truth = torus_distance(points)

    print(f"signed distance of {POINTS:,} points to a torus of {len(mesh.faces):,} faces, tree included")
    print(f"{'':24}{'CPU s':>9}{'ratio':>9}{'max error':>12}{'wrong signs':>13}")
    ours = None
    for name, module, measure, count in CANDIDATES:
        if importlib.util.find_spec(module) is None:
            print(f"{name:24}{'not installed':>18}")
            continue
        work = partial(measure, mesh)
        tree = timed(partial(work, points[:1].copy()))[0] if count < POINTS else 0.0
        seconds, distance = timed(partial(work, points[:count].copy()))
        seconds = tree + seconds * POINTS / count
        ours = ours or seconds
        exact = truth[:count]
        error = np.abs(np.abs(distance) - np.abs(exact)).max()
        wrong = np.mean(
            (distance < 0) != (exact < 0), where=np.abs(exact) > 5e-5
        )  # facets leave the torus by 4e-5
        print(f"{name:24}{seconds:9.2f}{seconds / ours:9.1f}{error:12.1e}{wrong:13.4%}")

    settings = {"points": POINTS, "near_share": 0.5, "surface_points": 20_000, "sign": "winding"}
    seconds, _ = timed(lambda: sample_sdf(mesh, near_std=(0.0707, 0.0224), rng=rng, **settings))
    print(f"\nsample_sdf, {POINTS:,} samples: {seconds:.2f} CPU s")
