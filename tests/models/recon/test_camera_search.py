"""Directions and cameras of the search, and silhouettes after normalisation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.images.rendering.cameras import look_at
from sdfkit.models.recon.camera_search import (
    FILLED,
    SIDE,
    STEP,
    CameraSearch,
    Lens,
    list_directions,
    make_cameras,
    normalise,
    viewing_axes,
)

LENS = Lens(2.5, math.radians(60))


@given(st.floats(-math.pi, math.pi), st.floats(-1.5, 1.5))
def test_cameras_are_those_of_look_at(azimuth, elevation):
    camera = make_cameras(torch.tensor([[azimuth, elevation]]), 2.5)[0].numpy()
    known = look_at(camera[:3, 3].astype(float), np.zeros(3), np.array([0.0, 1.0, 0.0]))
    assert np.allclose(camera, known, atol=2e-5)
    assert math.isclose(np.linalg.norm(camera[:3, 3]), 2.5, rel_tol=1e-5)


@given(st.floats(-1, 1))
def test_roll_turns_the_camera_about_its_axis(roll):
    upright, rolled = make_cameras(torch.tensor([[0.4, 0.3, 0.0], [0.4, 0.3, roll]]), 2.5).numpy()
    turned = upright[:3, :3].T @ rolled[:3, :3]
    cos, sin = math.cos(roll), math.sin(roll)
    assert np.allclose(turned, [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], atol=1e-5)


def test_every_direction_is_near_a_candidate():
    axes = viewing_axes(list_directions(-math.pi / 2, math.pi / 2))
    generator = torch.Generator().manual_seed(0)
    others = torch.nn.functional.normalize(torch.randn(500, 3, generator=generator), dim=1)
    assert (others @ axes.T).amax(dim=1).arccos().max() < STEP
    low, high = list_directions(-0.2, 0.9)[:, 1].aminmax()
    assert (float(low), float(high)) == pytest.approx((-0.2, 0.9))


def test_a_single_elevation_is_enough():
    assert set(list_directions(0.5, 0.5)[:, 1].tolist()) == {0.5}


@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 40), st.integers(0, 40))
def test_normalised_silhouettes_have_the_same_place_and_size(height, width, top, left):
    image = torch.zeros(1, 80, 80)
    image[0, top : top + height, left : left + width] = 1
    found = normalise(image)
    x, y, half = found.boxes[0].tolist()
    assert x == pytest.approx((2 * left + width) / 80 - 1, abs=1e-5)
    assert y == pytest.approx((2 * top + height) / 80 - 1, abs=1e-5)
    assert half == pytest.approx(max(height, width) / 80 / FILLED, abs=1e-5)
    share = min(height, width) / max(height, width) * FILLED**2
    assert float(found.images.mean()) == pytest.approx(share, abs=0.03)


def test_several_views_must_be_explained_by_one_shape():
    # A ball has no narrow silhouette, so the plate must explain both images.
    axis = torch.linspace(-1, 1, 33)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    ball = (x**2 + y**2 + z**2).sqrt() - 0.7
    plate = torch.maximum(torch.maximum(x.abs() - 0.7, y.abs() - 0.7), z.abs() - 0.1)
    search = CameraSearch(torch.stack([ball, plate]), LENS, lowest=0.0, highest=0.0)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    middle = (SIDE - 1) / 2
    square = torch.ones(SIDE, SIDE) * (
        (rows - middle).abs().maximum((columns - middle).abs()) < SIDE / 2 * FILLED
    )
    narrow = square * ((columns - middle).abs() < SIDE * 0.1)
    front, side = search.search(torch.stack([square.flatten(), narrow.flatten()]))
    assert (front.shape, side.shape) == (1, 1)
    assert abs(float(front.camera_to_world[2, 2])) > 0.95  # along the axis of the plate
    assert abs(float(side.camera_to_world[2, 2])) < 0.3


def test_shapes_without_a_silhouette_are_left_out():
    assert CameraSearch(torch.ones(2, 33, 33, 33), LENS, lowest=0.0, highest=0.0).is_empty
