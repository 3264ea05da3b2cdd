"""What a comparison costs."""

import time

import numpy as np
from trimesh.creation import torus

from sdfkit.geometry.metrics import compare_meshes


def comparing() -> None:
    mesh = torus(0.7, 0.3, major_sections=512, minor_sections=256)
    start = time.process_time()
    compare_meshes(mesh, mesh, points=100_000, rng=np.random.default_rng(0))
    print(f"compare_meshes, 100,000 points: {time.process_time() - start:.2f} CPU s")
