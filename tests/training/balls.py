"""Balls, whose distances, silhouettes and visual hulls are known: posed views and samples of them for training."""

import sys

import numpy as np
import torch

from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.io.stores.contents.posed_views import prepare_views
from sdfkit.models.recon.network import ReconConfig
from sdfkit.training.recon.training import ReconSettings, TrainingViews
from sdfkit.training.samples import SampleChunk, SampleReader

YFOV = 0.9
CONFIG = ReconConfig(size=28, width=8, cells=12, volume=8, hidden=16, layers=1, latent=8, neighbours=2)
SETTINGS = ReconSettings(
    steps=20, shapes=3, points=64, near=0.5, views=4, single=0.4, fewer=0.3, turned=0.5, clamp=0.1, lr=1e-3,
    ema_decay=0.9,
)  # fmt: skip
CENTRES = np.array([[0, 0, 0], [0.4, 0, 0], [0, 0.4, 0], [0, 0, 0.4], [-0.2, -0.3, 0.1]])
RADII = np.array([0.6, 0.5, 0.4, 0.5, 0.3])
UIDS = [f"ball_{index}" for index in range(len(RADII))]


def masks_of(centre, radius, cameras, yfov=YFOV, size=CONFIG.size):
    """Return the silhouettes of a ball: the pixels whose rays, through their centres, meet it."""
    at = ((np.arange(size) + 0.5) * 2 / size - 1) * np.tan(yfov / 2)
    x, y = np.meshgrid(at, -at)
    rays = np.stack([x, y, -np.ones_like(x)], axis=-1) / np.sqrt(1 + x**2 + y**2)[..., None]
    masks = []
    for camera in np.asarray(cameras, np.float64):
        away = np.cross(rays @ camera[:3, :3].T, np.asarray(centre) - camera[:3, 3])
        masks.append(np.linalg.norm(away, axis=-1) <= radius)
    return (np.stack(masks) * 255).astype(np.uint8)


def arrays_of(centre, radius, cameras, size=CONFIG.size):
    """Return the arrays of a row of a views store."""
    masks = masks_of(centre, radius, cameras, size=size)
    return {
        "rgb": np.repeat(masks[..., None] // 2, 3, axis=-1),
        "mask": masks,
        "camera_to_world": np.array(cameras, np.float32),
        "yfov": np.full(len(cameras), YFOV, np.float32),
    }


def training_views(views=4, shapes=len(RADII)):
    """Return views of the first shapes, by the same cameras."""
    cameras = fibonacci_cameras(views, 2.5)
    parts = [
        prepare_views(arrays_of(centre, radius, cameras), CONFIG.size)
        for centre, radius in zip(CENTRES[:shapes], RADII[:shapes], strict=True)
    ]
    return TrainingViews(*(torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True)))


def samples_of(centre, radius, count, seed=0):
    """Return samples of a ball, half of them near its surface."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (count, 3))
    near = np.arange(count) % 2 == 0
    directions = points[near] / np.linalg.norm(points[near], axis=1, keepdims=True)
    points[near] = centre + directions * (radius + rng.normal(0, 0.03, (near.sum(), 1)))
    points = points.clip(-1, 1).astype(np.float32)
    return SampleChunk(points, (np.linalg.norm(points - centre, axis=1) - radius).astype(np.float32), near)


def training_samples(shapes=len(RADII), count=2000, window=1000):
    """Return a reader of samples of the first shapes."""
    known = [
        samples_of(centre, radius, count)
        for centre, radius in zip(CENTRES[:shapes], RADII[:shapes], strict=True)
    ]

    def read(row, start, stop):
        return SampleChunk(*(part[start:stop] for part in known[row]))

    return SampleReader(read, UIDS[:shapes], count, window=window, near=1, others=1, memory=sys.maxsize)


def ball_grid(centre, radius, nodes=33):
    """Return the exact distances from a ball at the nodes of a grid over the query cube."""
    axis = np.linspace(-1, 1, nodes)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    return (np.linalg.norm(grid - centre, axis=-1) - radius).astype(np.float32)
