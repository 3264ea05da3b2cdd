"""Compare watertight closing with other libraries, and measure time and memory for growing meshes and grids.

Printed for each closed mesh: CPU seconds, Chamfer and Hausdorff distance to the true outer surface (in thousandths of
the half-extent), Euler number, number of pieces and faces, and whether the mesh is closed. If they are installed,
point-cloud-utils and the alpha wrap of pymeshlab close the same meshes. The last lines are the geometric means of their
time and Chamfer distance, divided by those of sdfkit. The true outer surface of meshes given as arguments is not known,
so for these meshes distances are measured only from the closed surface to the input.
"""

import math
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import trimesh
from trimesh.creation import cylinder, icosphere, torus

from sdfkit.geometry.distance.tree import TriangleTree
from sdfkit.geometry.frame import normalise
from sdfkit.geometry.pieces import label_pieces
from sdfkit.geometry.watertight.closing import make_watertight

RESOLUTION = 128
POINTS = 50_000


def wheel() -> tuple[trimesh.Trimesh, trimesh.Trimesh]:
    parts = [torus(1.0, 0.05, 64, 24), cylinder(0.12, 0.15)]
    angles = 2 * np.pi * np.arange(13) / 13
    parts += [cylinder(0.012, segment=[[0, 0, 0], [np.cos(angle), np.sin(angle), 0]]) for angle in angles]
    return trimesh.util.concatenate(parts), trimesh.boolean.union(parts, engine="manifold")


def soup() -> tuple[trimesh.Trimesh, trimesh.Trimesh]:
    rng = np.random.default_rng(0)
    truth = icosphere(4)
    kept = truth.triangles[rng.random(len(truth.faces)) > 0.01]
    corners = np.concatenate([kept, 0.5 * icosphere(3).triangles])
    flipped = rng.random(len(corners)) < 0.5
    corners[flipped] = corners[flipped][:, ::-1]
    faces = np.arange(3 * len(corners)).reshape(-1, 3)
    return trimesh.Trimesh(corners.reshape(-1, 3), faces, process=False), truth


def sheet() -> tuple[trimesh.Trimesh, trimesh.Trimesh]:
    mesh = trimesh.Trimesh([[0, 0, 0], [1, 0, 0.3], [1, 1, 0.3], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    return mesh, mesh


def alone(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, trimesh.Trimesh]:
    return mesh, mesh


def by_sdfkit(mesh: trimesh.Trimesh, gap: float) -> trimesh.Trimesh:
    return make_watertight(mesh, resolution=RESOLUTION, gap=gap, thickness=0.0, keep_parts=True)


def by_point_cloud_utils(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    import point_cloud_utils

    vertices, faces = np.array(mesh.vertices), np.array(mesh.faces)
    return trimesh.Trimesh(
        *point_cloud_utils.make_mesh_watertight(vertices, faces, RESOLUTION**2), process=False
    )


def by_alpha_wrap(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    import pymeshlab

    meshes = pymeshlab.MeshSet()
    meshes.add_mesh(pymeshlab.Mesh(np.array(mesh.vertices), np.array(mesh.faces)))
    cell = pymeshlab.PureValue(2 / RESOLUTION)
    meshes.generate_alpha_wrap(alpha=cell, offset=pymeshlab.PureValue(0.3 * 2 / RESOLUTION))
    closed = meshes.current_mesh()
    return trimesh.Trimesh(closed.vertex_matrix(), closed.face_matrix(), process=False)


def gaps(source: trimesh.Trimesh, target: trimesh.Trimesh) -> np.ndarray:
    points = trimesh.sample.sample_surface(source, POINTS, seed=0)[0]
    return TriangleTree(np.array(target.vertices), np.array(target.faces)).closest(np.array(points))[0]


def closing(named: list[str]) -> None:
    shapes = {
        "sphere": alone(icosphere(4)),
        "wheel, 13 spokes": wheel(),
        "soup": soup(),
        "sheet": sheet(),
        "torus, 500k faces": alone(torus(1.0, 0.35, 1000, 250)),
    } | {path: (trimesh.load_mesh(path), None) for path in named}
    ways: dict[str, Callable[[trimesh.Trimesh], trimesh.Trimesh]] = {
        "sdfkit, gap 0": partial(by_sdfkit, gap=0.0),
        "sdfkit, gap 0.06": partial(by_sdfkit, gap=0.06),
        "point-cloud-utils": by_point_cloud_utils,
        "alpha wrap": by_alpha_wrap,
    }
    ours = [way for way in ways if way.startswith("sdfkit")]
    ratios = defaultdict(list)
    by_sdfkit(soup()[0], 0.1)  # compile the kernels before timing
    heads = f"{'CPU s':>7}{'Chamfer':>9}{'Hausdorff':>10}{'Euler':>7}{'pieces':>7}{'faces':>8}"
    print(f"{'shape':20}{'by':20}{heads} closed")
    for name, (raw, outer) in shapes.items():
        mesh, to_original = normalise(raw)
        measured = {}
        for way, close in ways.items():
            start = time.process_time()
            try:
                closed = close(mesh)
            except ImportError:
                continue
            seconds = time.process_time() - start
            out = gaps(closed, mesh)
            if outer is not None:
                truth = outer.copy().apply_transform(np.linalg.inv(to_original))
                out, back = gaps(closed, truth), gaps(truth, closed)
            else:
                back = out
            chamfer, hausdorff = 500 * (out.mean() + back.mean()), 1000 * max(out.max(), back.max())
            measured[way] = seconds, chamfer
            counts = f"{closed.euler_number:7}{label_pieces(closed).max() + 1:7}{len(closed.faces):8}"
            figures = f"{seconds:7.2f}{chamfer:9.2f}{hausdorff:10.1f}{counts}"
            print(f"{name[-19:]:20}{way:20}{figures} {closed.is_volume}")
        for peer in measured.keys() - ours:
            for own in ours:
                ratios[peer, own].append(np.divide(measured[peer], measured[own]))
    for (peer, own), pairs in sorted(ratios.items()):
        times, chamfer = np.exp(np.log(pairs).mean(axis=0))
        print(f"{peer} over {own}, geometric means of {len(pairs)}: time {times:.1f}, Chamfer {chamfer:.1f}")
    growth()


def growth() -> None:
    """Print CPU time and peak memory of closing, for growing numbers of faces and growing resolution."""
    print(f"\n{'shape':20}{'faces':>9}{'resolution':>12}{'CPU s':>8}{'peak MB':>9}", flush=True)
    rows = [("torus", faces, 128) for faces in (1_000, 10_000, 100_000, 1_000_000)]
    rows += [(name, 5_000, resolution) for resolution in (64, 128, 256, 512) for name in ("torus", "soup")]
    for name, faces, resolution in rows:
        # The peak memory is that of a whole process, so each measurement needs a new process.
        code = f"from tests.benchmarks.closing import cost; cost({name!r}, {faces}, {resolution})"
        subprocess.run([sys.executable, "-c", code], check=True)


def cost(name: str, faces: int, resolution: int) -> None:
    around = math.isqrt(faces // 2)
    mesh = normalise(torus(1.0, 0.35, around, around) if name == "torus" else soup()[0])[0]
    options = {"gap": 0.06, "thickness": 0.02, "keep_parts": True}
    by_sdfkit(soup()[0], 0.1)  # compile the kernels before timing
    start = time.process_time()
    make_watertight(mesh, resolution=resolution, **options)
    seconds = time.process_time() - start
    # Not getrusage: it includes the peak memory of the parent process.
    peak = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    print(f"{name:20}{len(mesh.faces):9}{resolution:12}{seconds:8.2f}{int(peak.split()[1]) / 1024:9.0f}")
