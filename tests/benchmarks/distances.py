"""Compare signed distances with the other libraries installed: time, accuracy and signs; and time for growing meshes.

The four meshes are a fine torus, a coarse torus, a closed mesh of a real chair (given as argument; otherwise a ring),
and thirty overlapping balls. Each library builds its tree and measures distances of the same points; imports and
compilation are not timed. The reference for distances is a search through all triangles in float64, for a few of the
points. The reference for signs is the equation of the shape; for the chair, the exact winding number.
"""

import importlib.util
import multiprocessing
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import trimesh

from sdfkit.geometry.distance.tree import TriangleTree
from sdfkit.geometry.sampling import sample_sdf

POINTS = 200_000
FEW = 1000  # points for a library that would take minutes; its time is scaled to POINTS, except that of its tree
CHECKED = 64  # points whose distance is also computed from all triangles
SLOW = ("trimesh", "mesh-to-sdf")  # not run on every mesh
Work = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Subject(NamedTuple):
    """A mesh, a test for points inside the true shape, and the distance within which facets make it unreliable."""

    name: str
    mesh: trimesh.Trimesh
    inside: Callable[[np.ndarray], np.ndarray]
    blur: float
    slow: bool


def torus(major_sections: int, minor_sections: int, blur: float, slow: bool) -> Subject:
    mesh = trimesh.creation.torus(0.7, 0.3, major_sections=major_sections, minor_sections=minor_sections)

    def inside(points: np.ndarray) -> np.ndarray:
        return np.hypot(np.hypot(points[:, 0], points[:, 1]) - 0.7, points[:, 2]) < 0.3

    return Subject(f"torus, {len(mesh.faces):,} faces", mesh, inside, blur, slow)


def chair(path: str | None) -> Subject:
    mesh = (
        trimesh.load_mesh(path) if path else trimesh.creation.annulus(0.4, 0.6, 0.5).subdivide_to_size(0.02)
    )
    name = f"{Path(path).stem if path else 'ring'}, {len(mesh.faces):,} faces"

    def inside(points: np.ndarray) -> np.ndarray:
        return exact_winding(np.asarray(mesh.triangles), points) > 0.5

    return Subject(name, mesh, inside, 1e-7, False)


def overlapping() -> Subject:
    rng = np.random.default_rng(0)
    centres, radii = rng.uniform(-0.5, 0.5, (30, 3)), rng.uniform(0.1, 0.3, 30)
    balls = [
        trimesh.creation.icosphere(3, r).apply_translation(c) for c, r in zip(centres, radii, strict=True)
    ]
    mesh = trimesh.util.concatenate(balls)

    def inside(points: np.ndarray) -> np.ndarray:
        return (np.linalg.norm(points[:, None] - centres, axis=2) < radii).any(axis=1)

    return Subject(f"30 balls that overlap, {len(mesh.faces):,} faces", mesh, inside, 2e-3, False)


def exact_winding(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Winding numbers, from the solid angles of all triangles (van Oosterom and Strackee, 1983)."""
    total = np.empty(len(points))
    for row, point in enumerate(points):
        a, b, c = np.moveaxis(triangles - point, 1, 0)
        la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
        volume = (a * np.cross(b, c)).sum(1)
        cosine = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
        total[row] = np.arctan2(volume, cosine).sum() / (2 * np.pi)
    return total


def exact_distance(triangles: np.ndarray, point: np.ndarray) -> float:
    """Distance to the nearest triangle: to its edges, or to its plane if the point projects into the triangle."""
    best = np.inf
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    length = np.linalg.norm(normal, axis=1)
    normal /= np.maximum(length, 1e-300)[:, None]
    height = ((point - triangles[:, 0]) * normal).sum(1)
    foot, within = point - height[:, None] * normal, length > 0
    for a, b in ((0, 1), (1, 2), (2, 0)):
        start, along = triangles[:, a], triangles[:, b] - triangles[:, a]
        share = ((point - start) * along).sum(1) / np.maximum((along * along).sum(1), 1e-300)
        nearest = start + np.clip(share, 0, 1)[:, None] * along
        best = min(best, np.linalg.norm(point - nearest, axis=1).min())
        within &= (np.cross(along, foot - start) * normal).sum(1) >= 0
    return float(min(best, np.abs(height[within]).min(initial=np.inf)))


def sdfkit_by(sign: str) -> Work:
    return lambda vertices, faces, points: TriangleTree(vertices, faces).signed(points, sign)


def by_trimesh(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
    return -trimesh.proximity.signed_distance(trimesh.Trimesh(vertices, faces, process=False), points)


def by_libigl(sign: str) -> Work:
    def measure(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
        import igl

        kind = getattr(igl, f"SIGNED_DISTANCE_TYPE_{sign}")
        return igl.signed_distance(points, vertices, faces, kind)[0]

    return measure


def by_point_cloud_utils(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
    import point_cloud_utils

    return point_cloud_utils.signed_distance_to_mesh(points, vertices, faces)[0]


def by_open3d(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
    import open3d

    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        open3d.core.Tensor(vertices.astype(np.float32)), open3d.core.Tensor(faces.astype(np.uint32))
    )
    return scene.compute_signed_distance(open3d.core.Tensor(points.astype(np.float32)), nthreads=1).numpy()


@lru_cache(maxsize=1)
def warp_kernels() -> dict:
    import warp as wp

    wp.config.quiet = True

    def by_normal(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), out: wp.array(dtype=float)):
        i = wp.tid()
        q = wp.mesh_query_point_sign_normal(mesh, points[i], 10.0)
        out[i] = q.sign * wp.length(points[i] - wp.mesh_eval_position(mesh, q.face, q.u, q.v))

    def by_winding(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), out: wp.array(dtype=float)):
        i = wp.tid()
        q = wp.mesh_query_point_sign_winding_number(mesh, points[i], 10.0)
        out[i] = q.sign * wp.length(points[i] - wp.mesh_eval_position(mesh, q.face, q.u, q.v))

    return {"normal": wp.kernel(by_normal), "winding": wp.kernel(by_winding)}


def by_warp(sign: str) -> Work:
    def measure(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
        import warp as wp

        kernel = warp_kernels()[sign]
        with wp.ScopedDevice("cpu"):
            mesh = wp.Mesh(
                wp.array(vertices, dtype=wp.vec3),
                wp.array(faces.ravel(), dtype=int),
                support_winding_number=sign == "winding",
            )
            out = wp.zeros(len(points), dtype=float)
            wp.launch(kernel, len(points), [mesh.id, wp.array(points, dtype=wp.vec3), out])
            return out.numpy()

    return measure


def by_mesh_to_sdf(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
    import mesh_to_sdf

    return mesh_to_sdf.mesh_to_sdf(trimesh.Trimesh(vertices, faces, process=False), points)


CANDIDATES: list[tuple[str, str, Work]] = [
    ("sdfkit, normal", "sdfkit", sdfkit_by("normal")),
    ("sdfkit, winding", "sdfkit", sdfkit_by("winding")),
    ("sdfkit, scan", "sdfkit", sdfkit_by("scan")),
    ("libigl, pseudonormal", "igl", by_libigl("PSEUDONORMAL")),
    ("libigl, fast winding", "igl", by_libigl("FAST_WINDING_NUMBER")),
    ("point-cloud-utils", "point_cloud_utils", by_point_cloud_utils),
    ("open3d", "open3d", by_open3d),
    ("warp, normal", "warp", by_warp("normal")),
    ("warp, winding", "warp", by_warp("winding")),
    ("trimesh", "rtree", by_trimesh),
    ("mesh-to-sdf, scan", "mesh_to_sdf", by_mesh_to_sdf),
]


def timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def draw_points(mesh: trimesh.Trimesh) -> np.ndarray:
    rng = np.random.default_rng(0)
    surface, _ = trimesh.sample.sample_surface(mesh, POINTS // 2, seed=0)
    near = surface + np.resize([0.07, 0.02, 0.006], len(surface))[:, None] * rng.normal(size=surface.shape)
    return rng.permutation(np.concatenate([near, rng.uniform(-1, 1, (POINTS - len(near), 3))]))


def measure_all(subject: Subject) -> None:
    points = draw_points(subject.mesh)
    vertices, faces = np.array(subject.mesh.vertices), np.array(subject.mesh.faces)
    triangles = np.asarray(subject.mesh.triangles)
    exact = np.array([exact_distance(triangles, point) for point in points[:CHECKED]])
    judged = points[: 500 if subject.inside.__qualname__.startswith("chair") else POINTS]
    inside = subject.inside(judged)
    # Facets deviate from the true surface, so signs of points within this deviation are not tested.
    clear = TriangleTree(vertices, faces).closest(judged)[0] > subject.blur

    print(f"\n{subject.name}: {POINTS:,} points, tree included")
    print(f"{'':24}{'CPU s':>9}{'ratio':>9}{'max error':>12}{'wrong signs':>13}")
    base = best = None
    for name, module, measure in CANDIDATES:
        if name.startswith(SLOW) and not subject.slow:
            continue
        if importlib.util.find_spec(module) is None:
            print(f"{name:24}{'not installed':>18}", flush=True)
            continue
        count, tree = POINTS, 0.0
        try:
            if name.startswith("mesh-to-sdf"):
                __import__(module)
            else:  # imports and compilation are not timed
                small = trimesh.creation.box()
                measure(np.array(small.vertices), np.array(small.faces), points[:10].copy())
            if name == "trimesh":
                count = FEW
                tree, _ = timed(lambda measure=measure: measure(vertices, faces, points[:1].copy()))
            some = points[:count].copy()
            seconds, distance = timed(lambda measure=measure, some=some: measure(vertices, faces, some))
        except (ImportError, OSError, AttributeError) as error:
            print(f"{name:24}{'fails':>18} {error}".partition("\n")[0], flush=True)
            continue
        seconds = tree + (seconds - tree) * POINTS / count
        base = base or seconds
        error = np.abs(np.abs(distance[:CHECKED]) - exact).max()
        seen = min(count, len(judged))
        wrong = np.mean((distance[:seen] < 0) != inside[:seen], where=clear[:seen])
        print(f"{name:24}{seconds:9.2f}{seconds / base:9.1f}{error:12.1e}{wrong:13.4%}", flush=True)
        if not name.startswith(("sdfkit", *SLOW)) and seconds < (best or (np.inf, ""))[0]:
            best = (seconds, name)
    if best and base:
        print(f"best peer: {best[1]}, {best[0] / base:.1f} times as long as sdfkit by normal", flush=True)


def whole_pipelines(subject: Subject) -> None:
    """Print the time of drawing points and measuring their signed distances, as sample-sdf does."""
    settings = {
        "points": POINTS,
        "near_share": 0.5,
        "near_std": (0.07, 0.02, 0.006),
        "surface_points": 20_000,
    }
    seconds, _ = timed(
        lambda: sample_sdf(
            subject.mesh, **settings, sign="winding", measure=None, rng=np.random.default_rng(0)
        )
    )
    print(f"\nsample_sdf, {subject.name}: {POINTS:,} samples {seconds:.2f} CPU s", end="")
    if importlib.util.find_spec("mesh_to_sdf") is not None:
        import mesh_to_sdf

        theirs, _ = timed(lambda: mesh_to_sdf.sample_sdf_near_surface(subject.mesh, number_of_points=POINTS))
        print(f"; mesh_to_sdf.sample_sdf_near_surface {theirs:.1f}, {theirs / seconds:.0f} times", end="")
    print(flush=True)


def grow(faces: int) -> tuple[int, float, float, float]:
    """Number of faces, CPU seconds to build the tree and to query it, and peak MB of this process."""
    mesh = torus(round(np.sqrt(faces)), round(np.sqrt(faces) / 2), 0, False).mesh
    vertices, triangles = np.array(mesh.vertices), np.array(mesh.faces)
    points = np.random.default_rng(0).uniform(-1, 1, (POINTS, 3))
    TriangleTree(np.eye(3), np.arange(3)[None]).signed(points[:10], "winding")
    build, tree = timed(lambda: TriangleTree(vertices, triangles))
    ask, _ = timed(lambda: tree.sides(points, ("winding", "normal")))
    # Not getrusage: it includes the peak memory of the parent process.
    peak = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return len(triangles), build, ask, int(peak.split()[1]) / 1024


def growth() -> None:
    print(f"\nhow the cost grows: a torus, {POINTS:,} points in the cube, both signs, one process each")
    print(f"{'faces':>12}{'tree, CPU s':>14}{'points, CPU s':>15}{'peak MB':>10}")
    context = multiprocessing.get_context("spawn")
    for faces in (1_000, 10_000, 100_000, 1_000_000):
        with context.Pool(1) as pool:
            count, build, ask, peak = pool.apply(grow, (faces,))
        print(f"{count:12,}{build:14.2f}{ask:15.2f}{peak:10.0f}", flush=True)


def distances(meshes: list[str]) -> None:
    subjects = [
        torus(512, 256, 5e-5, True),
        torus(72, 36, 3e-3, True),
        chair(meshes[0] if meshes else None),
        overlapping(),
    ]
    for subject in subjects:
        measure_all(subject)
    for subject in subjects[:2]:
        whole_pipelines(subject)
    growth()
