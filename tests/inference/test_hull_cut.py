"""Shapes cut by the visual hull of their images."""

import math

import numpy as np
import pytest
import torch
import trimesh

from sdfkit.errors import GeometryError
from sdfkit.geometry.frame import normalise
from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.rendering.rasteriser import render_masks
from sdfkit.images.visual_hull import VisualHull
from sdfkit.inference.hull_cut import cut_by_hull
from sdfkit.inference.meshing import MeshOptions, mesh_field

YFOV = math.radians(60)
OPTIONS = MeshOptions(resolution=64)


def images_of(mesh, views=24, size=128):
    cameras = fibonacci_cameras(views, 2.5)
    masks = render_masks(mesh, cameras, yfov=YFOV, size=size)
    return {"mask": masks, "camera_to_world": cameras, "yfov": np.full(views, YFOV, np.float32)}


def box_field(low, high):
    """The exact distance of a box with the corners `low` and `high`."""
    middle, half = (torch.tensor(np.array(part), dtype=torch.float32) for part in
                    ((np.add(low, high) / 2), (np.subtract(high, low) / 2)))  # fmt: skip

    def field(points):
        beyond = (points - middle).abs() - half
        return beyond.clamp(min=0).norm(dim=-1) + beyond.amax(dim=-1).clamp(max=0)

    return field


def inside_everywhere(points):
    return torch.full(points.shape[:-1], -1.0)


def volume(mesh):
    assert mesh.is_watertight
    return mesh.volume


def test_a_field_that_is_inside_everywhere_becomes_the_hull():
    images = images_of(trimesh.creation.icosphere(3, 0.6))
    points = np.random.default_rng(0).uniform(-1, 1, (2000, 3)).astype(np.float32)
    cut = cut_by_hull(inside_everywhere, images)(torch.from_numpy(points)[None])[0].numpy()
    hull = VisualHull(*images.values()).distance(points)
    assert np.allclose(cut, np.maximum(hull, -1), atol=1e-6)
    mesh, _ = mesh_field(cut_by_hull(inside_everywhere, images), "cpu", OPTIONS)
    # 24 cones leave a little more than the ball.
    assert np.linalg.norm(mesh.vertices, axis=1).min() + 0.02 > 0.6
    assert np.linalg.norm(mesh.vertices, axis=1).max() < 0.68


@pytest.mark.parametrize("shift", [(0, 0, 0), (5, -3, 2)])
def test_the_shape_in_the_images_stays_as_it_is_also_off_centre(shift):
    """The images are rendered in the unit frame of a mesh, wherever the mesh is: the frame of its distances."""
    mesh = trimesh.creation.box([2, 1, 0.6])
    mesh.apply_translation(shift)
    unit, _ = normalise(mesh)
    field = box_field(*unit.bounds)
    whole, _ = mesh_field(field, "cpu", OPTIONS)
    cut, _ = mesh_field(cut_by_hull(field, images_of(unit)), "cpu", OPTIONS)
    assert abs(volume(cut) / volume(whole) - 1) < 0.01
    assert np.allclose(cut.bounds, whole.bounds, atol=0.01)


def test_what_extends_beyond_the_silhouettes_is_left_out():
    true = trimesh.creation.box([0.6, 0.6, 0.6])
    images = images_of(true)
    cut, _ = mesh_field(cut_by_hull(box_field((-0.3, -0.3, -0.3), (0.9, 0.3, 0.3)), images), "cpu", OPTIONS)
    assert abs(cut.bounds[1, 0] - 0.3) < 0.06
    assert abs(volume(cut) / true.volume - 1) < 0.1


def test_normals_of_the_cut_surface_point_outwards():
    images = images_of(trimesh.creation.icosphere(3, 0.6), views=12)
    options = MeshOptions(resolution=32, smooth_normals=True)
    mesh, _ = mesh_field(cut_by_hull(inside_everywhere, images), "cpu", options)
    outward = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    cosines = (mesh.vertex_normals * outward).sum(axis=1)
    assert np.median(cosines) > 0.95 and (cosines > 0).mean() > 0.99


def test_a_shape_without_a_silhouette_cannot_be_cut():
    images = images_of(trimesh.creation.icosphere(3, 0.6), views=2)
    images["mask"][1] = 0
    with pytest.raises(GeometryError, match="view 1: the mask is empty"):
        cut_by_hull(inside_everywhere, images)
