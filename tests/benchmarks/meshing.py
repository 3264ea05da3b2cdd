"""Points that coarse-to-fine meshing evaluates, and whether its triangles are the dense grid's."""

import time

import numpy as np
from skimage.measure import marching_cubes

from sdfkit.geometry.isosurface import extract_surface


def spoked(points: np.ndarray) -> np.ndarray:
    distances = np.hypot(np.hypot(points[:, 0], points[:, 1]) - 0.8, points[:, 2]) - 0.05
    for angle in np.pi * np.arange(7) / 7:
        along = np.array([np.cos(angle), np.sin(angle), 0.0])
        reach = np.clip(points @ along, -0.8, 0.8)
        distances = np.minimum(distances, np.linalg.norm(points - reach[:, None] * along, axis=1) - 0.02)
    return distances


def ring(points: np.ndarray) -> np.ndarray:
    return np.hypot(np.hypot(points[:, 0], points[:, 2]) - 0.6, points[:, 1]) - 0.25


def steep(points: np.ndarray) -> np.ndarray:
    return ring(points) * (1.4 + 0.5 * np.sin(7 * points[:, 0]) * np.cos(5 * points[:, 1]))


def meshing() -> None:
    print(f"\n{'field':10}{'cells':>6}{'points':>9}{'dense /':>9}{'CPU s':>7} same as dense")
    for field in (spoked, ring, steep):
        for resolution in (128, 256):
            start = time.process_time()
            mesh, evaluated = extract_surface(field, resolution=resolution, margin=1.5, batch=1 << 16)
            seconds = time.process_time() - start
            axis = np.linspace(-1, 1, resolution + 1, dtype=np.float32)
            planes = [np.stack(np.meshgrid(x, axis, axis, indexing="ij"), -1).reshape(-1, 3) for x in axis]
            values = np.stack([field(plane) for plane in planes]).reshape((len(axis),) * 3).astype(np.float32)
            smallest = np.float32(2e-3 / resolution)
            values = np.where(np.abs(values) < smallest, np.copysign(smallest, values), values)
            vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="descent")
            same = np.array_equal(faces, mesh.faces) and np.array_equal(
                vertices.astype(np.float64) * (2.0 / resolution) - 1.0, mesh.vertices
            )
            ratio = values.size / evaluated
            print(f"{field.__name__:10}{resolution:6}{evaluated:9}{ratio:9.1f}{seconds:7.2f} {same}")
