"""Compare coarse-to-fine meshing with a dense grid: points evaluated, time, memory, and whether the meshes are equal.

    python -m tests.benchmarks.meshing [FIELD ...] [STORE.zarr]

Meshes the fields named as arguments, or all fields if none is named. If a store written by train-deepsdf is given, its
first two shapes are meshed too.
"""

import math
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from skimage.measure import marching_cubes

from sdfkit.geometry.isosurface.extraction import extract_surface
from sdfkit.models import mlp
from sdfkit.models.deepsdf import PRESETS, DeepSDF

BATCH = 1 << 15
# The time of a dense grid that takes more seconds than this is estimated from a few planes.
PATIENCE = 60.0
Field = Callable[[np.ndarray], np.ndarray]


def wheel(points: np.ndarray, rim: float = 0.05, spoke: float = 0.02) -> np.ndarray:
    distances = np.hypot(np.hypot(points[:, 0], points[:, 1]) - 0.8, points[:, 2]) - rim
    for angle in np.pi * np.arange(7) / 7:
        along = np.array([np.cos(angle), np.sin(angle), 0.0])
        reach = np.clip(points @ along, -0.8, 0.8)
        distances = np.minimum(distances, np.linalg.norm(points - reach[:, None] * along, axis=1) - spoke)
    return distances


def ring(points: np.ndarray) -> np.ndarray:
    return np.hypot(np.hypot(points[:, 0], points[:, 2]) - 0.6, points[:, 1]) - 0.25


def ball(points: np.ndarray, radius: float = 1.0) -> np.ndarray:
    return np.linalg.norm(points, axis=1) - radius


def balls(points: np.ndarray) -> np.ndarray:
    return np.minimum(ball(points - [0.71, 0.7, 0.7], 0.012), ball(points + [0.7, 0.6, -0.8], 0.012))


def steep(points: np.ndarray) -> np.ndarray:
    return ring(points) * (1.4 + 0.5 * np.sin(7 * points[:, 0]) * np.cos(5 * points[:, 1]))


def of_module(forward: Callable[[torch.Tensor], torch.Tensor]) -> Field:
    def distance(points: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            parts = torch.from_numpy(points.astype(np.float32))[None].split(BATCH, dim=1)
            return torch.cat([forward(part) for part in parts], dim=1)[0].numpy()

    return distance


def around_ball(distance: Field) -> Field:
    """A ball whose distances are perturbed by a random network, with a standard deviation of 0.02."""
    values = distance(np.random.default_rng(0).uniform(-1, 1, (5000, 3)))
    return lambda points: ball(points, 0.6) + 0.02 * (distance(points) - values.mean()) / values.std()


def decoder(preset: str, slope: float = 1.0) -> Field:
    torch.manual_seed(0)
    network = DeepSDF(PRESETS[preset])
    code = torch.randn(1, network.config.code)
    field = around_ball(of_module(lambda points: network(code, points)))
    return lambda points: slope * field(points)


def shape_mlp(preset: str) -> Field:
    weights = mlp.draw_weights(mlp.PRESETS[preset], 1, torch.Generator().manual_seed(0))
    return around_ball(of_module(mlp.MLPs(mlp.PRESETS[preset], weights)))


def trained(path: str, row: int) -> Field:
    from sdfkit.io.models.reader import load_decoder

    found = load_decoder(path, "cpu")
    code = torch.from_numpy(found.codes[row])[None]
    return of_module(lambda points: found.network(code, points))


FIELDS: dict[str, Callable[[], Field]] = {
    "wheel": lambda: wheel,
    "thin wheel": lambda: lambda points: wheel(points, 0.02, 0.006),
    "clamped wheel": lambda: lambda points: np.clip(wheel(points), -0.1, 0.1),
    "ring": lambda: ring,
    "two tiny balls": lambda: balls,
    "ball, radius 1": lambda: ball,
    "box": lambda: lambda points: np.abs(points).max(axis=1) - 0.57,
    "slope 0.9 to 1.9": lambda: steep,
    "256x4, slope 1.5": lambda: decoder("256x4", 1.5),
    "256x4, slope 10": lambda: decoder("256x4", 10.0),
    "relu-pe": lambda: shape_mlp("relu-pe"),
    "siren": lambda: shape_mlp("siren"),
    "512x8": lambda: decoder("512x8"),
}


def peak_memory(name: str, resolution: int, field: str) -> float:
    """MB by which meshing raises the peak memory of a new process."""
    # Not spawn: the peak memory of a spawned process includes that of its parent.
    context = multiprocessing.get_context("forkserver")
    with context.Pool(1) as pool:
        return float(pool.apply(_measure_memory, (name, resolution, field)))


def _measure_memory(name: str, resolution: int, path: str) -> float:
    torch.set_num_threads(1)
    field = trained(path, int(name.split()[-1])) if path else FIELDS[name]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    extract_surface(field, resolution=resolution, margin=1.0, batch=BATCH)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def dense_values(field: Field, resolution: int) -> tuple[np.ndarray | None, float]:
    """The values on the whole grid and CPU seconds; if it takes long, None and an estimate from a few planes."""
    axis = np.linspace(-1, 1, resolution + 1, dtype=np.float32)
    planes, values, start = np.arange(len(axis)), [], time.process_time()
    for done, x in enumerate(axis, 1):
        values.append(field(np.stack(np.meshgrid(x, axis, axis, indexing="ij"), -1).reshape(-1, 3)))
        seconds = (time.process_time() - start) / done * len(planes)
        if seconds > PATIENCE and done >= 3:
            return None, seconds
    grid = np.stack(values).reshape((len(axis),) * 3).astype(np.float32)
    smallest = np.float32(2e-3 / resolution)
    return np.where(
        grid < 0, np.minimum(grid, -smallest), np.maximum(grid, smallest)
    ), time.process_time() - start


def crossed(values: np.ndarray) -> int:
    """Number of ends of edges that cross the surface: the fewest points that any method must evaluate."""
    needed, inside = np.zeros(values.shape, dtype=bool), values < 0
    for axis in range(3):
        ends = [tuple([slice(None)] * axis + [part]) for part in (slice(0, -1), slice(1, None))]
        differs = inside[ends[0]] != inside[ends[1]]
        for end in ends:
            needed[end] |= differs
    return int(needed.sum())


def is_dense(values: np.ndarray, resolution: int) -> bool:
    """Whether coarse-to-fine meshing of these values equals marching cubes on the dense grid, bit for bit."""

    def look_up(points: np.ndarray) -> np.ndarray:
        nodes = np.rint((points.astype(np.float64) + 1) * (resolution / 2)).astype(int)
        return np.asarray(values[tuple(nodes.T)])

    mesh, _ = extract_surface(look_up, resolution=resolution, margin=1.0, batch=BATCH)
    pad = int(any((values.take((0, -1), axis=axis) < 0).any() for axis in range(3)))
    whole = np.pad(values, pad, constant_values=1.0)
    vertices, faces, _, _ = marching_cubes(whole, 0.0, gradient_direction="descent")
    vertices = np.clip((vertices.astype(np.float64) - pad) * (2.0 / resolution) - 1.0, -1.0, 1.0)
    return np.array_equal(faces, mesh.faces) and np.array_equal(vertices, mesh.vertices)


def meshing(arguments: Sequence[str] = ()) -> None:
    torch.set_num_threads(1)
    print(
        f"\n{'field':20}{'cells':>6}{'asked':>9}{'fewer':>7}{'at best':>9}{'dense s':>10}{'sparse s':>9}{'faster':>8}"
        f"{'MB':>6} same as dense"
    )
    named = [name for name in FIELDS if name in arguments] or [*FIELDS]
    rows: list[tuple[str, Callable[[], Field], str]] = [(name, FIELDS[name], "") for name in named]
    for path in (argument for argument in arguments if argument not in FIELDS):
        rows += [(f"trained {row}", partial(trained, path, row), path) for row in (0, 1)]
    for name, make, path in rows:
        field = make()
        for resolution in (128, 256, 512):
            if resolution == 512 and name not in ("wheel", "ball, radius 1"):
                continue
            start = time.process_time()
            _, asked = extract_surface(field, resolution=resolution, margin=1.0, batch=BATCH)
            seconds = time.process_time() - start
            values, dense = (None, math.nan) if resolution == 512 else dense_values(field, resolution)
            best = f"{values.size / crossed(values):9.1f}" if values is not None else " " * 9
            same = "not compared" if values is None else is_dense(values, resolution)
            scaled = "~" if values is None else " "
            memory = peak_memory(name, resolution, path) if resolution > 128 else math.nan
            print(
                f"{name:20}{resolution:6}{asked:9}{(resolution + 1) ** 3 / asked:7.1f}{best}{scaled}{dense:9.1f}"
                f"{seconds:9.2f}{dense / seconds:8.1f}{memory:6.0f} {same}",
                flush=True,
            )
    print(
        "~: scaled from a few planes. at best: only the ends of crossed edges. MB: added by meshing, in a child."
    )


if __name__ == "__main__":
    meshing(sys.argv[1:])
