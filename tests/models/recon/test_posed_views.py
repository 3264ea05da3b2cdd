"""Projections and cones of posed views, against the camera's intrinsics and the visual hull of rendered shapes."""

import math

import numpy as np
import pytest
import torch
import trimesh

from sdfkit.images.rendering.cameras import fibonacci_cameras, intrinsics, look_at
from sdfkit.images.rendering.rasteriser import render_masks
from sdfkit.images.silhouettes import binarise_masks, mask_distances
from sdfkit.images.visual_hull import VisualHull
from sdfkit.models.recon.posed_views import PosedViews, read_maps, read_volume

RNG = np.random.default_rng(0)


def pose(cameras, yfov, outlines=None):
    """Return views of one shape, without pictures."""
    empty = torch.zeros(1, len(cameras), 4, 1, 1)
    outlines = torch.zeros(1, len(cameras), 1, 1) if outlines is None else torch.from_numpy(outlines)[None]
    cameras, yfov = (torch.from_numpy(np.array(part, np.float32))[None] for part in (cameras, yfov))
    return PosedViews(empty, outlines, cameras, yfov)


def test_projections_agree_with_the_intrinsics():
    size, yfov = 100, RNG.uniform(0.4, 1.2, 5)
    cameras = np.stack([
        look_at(2 * eye / np.linalg.norm(eye), 0.1 * target, np.array([0.0, 1, 0]))
        for eye, target in zip(RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3)), strict=True)
    ])  # fmt: skip
    points = RNG.uniform(-0.6, 0.6, (50, 3))
    found = pose(cameras, yfov).project(torch.from_numpy(points.astype(np.float32))[None])
    for view, camera in enumerate(cameras):
        here = (points - camera[:3, 3]) @ camera[:3, :3]
        u, v, depth = intrinsics(yfov[view], size, size) @ here.T
        expected = np.stack([u / depth, v / depth], axis=-1) / size * 2 - 1
        assert np.allclose(found.positions[0, view], expected, atol=1e-4)
        assert np.allclose(found.depths[0, view], depth, atol=1e-5)


@pytest.mark.parametrize("views", [1, 6])
def test_the_largest_cone_distance_is_that_of_the_visual_hull(views):
    yfov, cameras = np.full(views, math.radians(50)), fibonacci_cameras(views, 2.5)
    masks = render_masks(trimesh.creation.torus(0.6, 0.2), cameras, yfov=yfov[0], size=112)
    seen = pose(cameras, yfov, mask_distances(binarise_masks(masks)))
    points = RNG.uniform(-1, 1, (3000, 3)).astype(np.float32)
    given = torch.from_numpy(points)[None]
    distances = seen.cone_distances(seen.project(given)).amax(1)[0].numpy()
    expected = VisualHull(masks, cameras, yfov).distance(points)
    assert np.allclose(distances, expected, atol=1e-4)
    # A point of the torus is inside, and its centre is in its hole.
    assert (expected < 0).any() and (expected > 0).any()


def test_points_behind_a_camera_are_outside_its_cone():
    camera = look_at(np.array([0, 0, 1.2]), np.zeros(3), np.array([0.0, 1, 0]))
    seen = pose([camera], [0.9], np.full((1, 8, 8), -3, np.float32))
    points = torch.tensor([[[0, 0, 1.5], [1.0, 1, 1.5], [0, 0, 1.2], [0, 0, 0]]])
    distances = seen.cone_distances(seen.project(points))[0, 0]
    assert (distances > 0).tolist() == [True, True, True, False]
    assert torch.isfinite(distances).all()


def test_maps_are_read_at_the_centres_of_pixels_and_extended_beyond_the_edges():
    maps = torch.arange(24.0).reshape(1, 1, 2, 3, 4)
    rows, columns = torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij")
    centres = torch.stack([(columns + 0.5) / 4, (rows + 0.5) / 3], dim=-1).reshape(1, 1, -1, 2) * 2 - 1
    read = read_maps(maps, centres)
    assert torch.allclose(read[0, 0].T.reshape(2, 3, 4), maps[0, 0], atol=1e-4)
    beyond = read_maps(maps, torch.tensor([[[[-3.0, -3.0], [3.0, 3.0]]]]))
    assert torch.allclose(beyond[0, 0], maps[0, 0].reshape(2, 12)[:, [0, 11]].T)


def test_a_linear_function_in_a_volume_is_read_exactly():
    side = (torch.arange(8) + 0.5) / 4 - 1
    z, y, x = torch.meshgrid(side, side, side, indexing="ij")
    volume = torch.stack([x, y, x + 2 * y - 3 * z])[None]
    points = torch.from_numpy(RNG.uniform(-0.85, 0.85, (1, 40, 3)).astype(np.float32))
    expected = torch.stack([points[..., 0], points[..., 1], points @ torch.tensor([1.0, 2, -3])], dim=-1)
    assert torch.allclose(read_volume(volume, points), expected, atol=1e-5)
