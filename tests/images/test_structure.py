import math

import numpy as np
import pytest
from scipy import ndimage

from sdfkit.images.structure import (
    BACK,
    FRONT,
    draw_depth,
    draw_normals,
    normals_of_depth,
    scale_depth,
)

DISTANCE, YFOV, SIZE = 2.5, math.radians(60), 96
FOCAL = SIZE / 2 / math.tan(YFOV / 2)
MIDDLES = np.arange(SIZE) + 0.5 - SIZE / 2
# Rays through the pixels' centres, with depth 1.
RAYS = np.stack(
    np.broadcast_arrays(MIDDLES[None] / FOCAL, -MIDDLES[:, None] / FOCAL, np.array(-1.0)), axis=-1
)
DISC = np.hypot(MIDDLES[None], MIDDLES[:, None]) < 30
MASK = np.where(DISC, 255, 0).astype(np.uint8)


def plane(normal, height=0.0):
    """Depth of a plane in the camera's frame. `height` moves it towards the camera."""
    return np.array([0, 0, height - DISTANCE]) @ normal / (RAYS @ normal)


def sphere(radius):
    """Depth of a sphere around the centre of the frame, its mask, and its true normals in the camera's frame."""
    squared = (RAYS**2).sum(axis=-1)
    root = DISTANCE**2 - squared * (DISTANCE**2 - radius**2)
    depth = np.where(root > 0, (DISTANCE - np.sqrt(np.maximum(root, 0))) / squared, 0)
    normal = np.where(depth[..., None] > 0, (depth[..., None] * RAYS + [0, 0, DISTANCE]) / radius, 0)
    return depth, np.where(depth > 0, 255, 0).astype(np.uint8), normal


def angles(normals, expected):
    return np.degrees(np.arccos(np.clip((normals * expected).sum(axis=-1), -1, 1)))


def test_depth_is_scaled_from_the_front_to_the_back_of_the_unit_sphere():
    depth = np.array([[[0, 1.5, 2.5, 3.5]]], np.float32)
    drawn = draw_depth(depth, np.array([2.5]))
    assert drawn.dtype == np.uint8
    assert drawn[0, 0, :, 0].tolist() == [0, 255, 153, 51]
    assert (drawn == drawn[..., :1]).all()
    assert np.array_equal(draw_depth(depth + (depth > 0), np.array([3.5])), drawn)


def test_normals_are_encoded_as_colours_on_black():
    normal = np.array([[[[0, 0, 0], [1, 0, 0], [0, -1, 0], [0, 0.6, -0.8]]]], np.float32)
    expected = [[0, 0, 0], [255, 128, 128], [128, 0, 128], [128, 204, 25]]
    assert np.abs(draw_normals(normal)[0, 0].astype(int) - expected).max() <= 1, "rounding of halves"


@pytest.mark.parametrize("normal", [(0, 0, 1), (0.6, 0, 0.8), (0, -0.5, 0.8), (0.3, 0.5, 0.7)])
def test_the_normals_of_a_plane_are_exact_even_at_its_outline(normal):
    normal = np.array(normal) / np.linalg.norm(normal)
    found = normals_of_depth(np.where(DISC, plane(normal), 0), YFOV)
    assert np.allclose(found[DISC], normal, atol=1e-6)
    assert not found[~DISC].any()


def test_the_normals_of_a_sphere_point_away_from_its_centre():
    depth, mask, normal = sphere(0.9)
    found = normals_of_depth(depth, YFOV)
    inside = ndimage.binary_erosion(mask > 0, iterations=3)
    assert angles(found, normal)[inside].max() < 6, "steps of one pixel, where the surface turns away"
    assert np.median(angles(found, normal)[inside]) < 1.5
    assert np.allclose(np.linalg.norm(found[mask > 0], axis=-1), 1)
    assert (found[mask > 0][:, 2] > 0).all(), "visible surfaces face the camera"


def test_normals_beside_a_step_are_those_of_the_surfaces():
    left, right = plane(np.array([0.6, 0, 0.8])), plane(np.array([0, 0, 1.0]), 0.5)
    depth = np.where(MIDDLES[None] < 0, left, right)
    found = normals_of_depth(depth, YFOV)
    assert np.allclose(found[:, : SIZE // 2], [0.6, 0, 0.8], atol=1e-6)
    assert np.allclose(found[:, SIZE // 2 :], [0, 0, 1], atol=1e-6)


def test_a_single_pixel_faces_the_camera():
    depth = np.zeros((SIZE, SIZE))
    depth[3, 90] = 2
    assert np.allclose(normals_of_depth(depth, YFOV)[3, 90], [0, 0, 1])


@pytest.mark.parametrize("is_inverse", [False, True])
def test_scale_and_offset_of_an_estimate_do_not_matter(is_inverse):
    depth, mask, _ = sphere(0.9)
    estimate = np.where(depth > 0, 1 / np.maximum(depth, 1) if is_inverse else depth, 7)
    scaled = scale_depth(estimate, mask, DISTANCE, is_inverse=is_inverse)
    assert np.allclose(scale_depth(40 * estimate - 3, mask, DISTANCE, is_inverse=is_inverse), scaled)
    assert np.array_equal(scaled > 0, mask > 0)
    inner = ndimage.binary_erosion(mask > 0, np.ones((3, 3)))
    ends = np.percentile(scaled[inner], (2, 98))
    assert np.allclose(ends, [DISTANCE + FRONT, DISTANCE + BACK], atol=1e-3)
    assert np.corrcoef(scaled[inner], depth[inner])[0, 1] > 0.98, "near stays near"


def test_outliers_stay_inside_the_unit_sphere():
    estimate = np.random.default_rng(0).standard_cauchy((SIZE, SIZE))
    for is_inverse in (False, True):
        scaled = scale_depth(estimate, MASK, DISTANCE, is_inverse=is_inverse)[DISC]
        assert scaled.min() >= DISTANCE - 1 and scaled.max() <= DISTANCE + 1


def test_an_estimate_without_relief_and_an_empty_mask_are_flat():
    flat = scale_depth(np.full((SIZE, SIZE), 5.0), MASK, DISTANCE, is_inverse=True)
    assert np.allclose(flat[DISC], DISTANCE + (FRONT + BACK) / 2)
    assert not scale_depth(np.ones((SIZE, SIZE)), 0 * MASK, DISTANCE, is_inverse=True).any()
