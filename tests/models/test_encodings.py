import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.models.encodings import embed_cameras, embed_timesteps, encode_points
from sdfkit.models.layers import encoded_width


def test_a_point_becomes_39_numbers_in_the_stated_order():
    point = torch.tensor([0.3, -0.7, 0.1])
    angles = [x * 2**k for x in point.tolist() for k in range(6)]
    expected = torch.tensor([*point.tolist(), *map(math.sin, angles), *map(math.cos, angles)])
    encoded = encode_points(point, 6)
    assert encoded.shape == (39,) == (encoded_width(6),)
    assert torch.allclose(encoded, expected, atol=2e-5)


@given(st.integers(0, 5), st.floats(-1, 0.9))
def test_every_band_distinguishes_points_a_quarter_period_apart(band, place):
    # A step of a quarter turn of a band moves that band's sine and cosine by √2, wherever it is taken.
    step = math.pi / 2 / 2**band
    near, far = encode_points(torch.tensor([[place, 0, 0], [place + step, 0, 0]], dtype=torch.float64), 6)
    sine, cosine = (far - near)[3 + band], (far - near)[3 + 18 + band]
    assert math.hypot(sine, cosine) == pytest.approx(math.sqrt(2))


def test_points_of_any_batch_are_encoded_alike():
    points = torch.rand(2, 5, 3)
    assert torch.allclose(encode_points(points, 6)[1, 3], encode_points(points[1, 3], 6), atol=1e-6)


def test_every_timestep_of_the_schedule_has_its_own_embedding_of_one_length():
    embedded = embed_timesteps(torch.arange(500), 256)
    assert embedded.shape == (500, 256)
    assert torch.allclose(embedded.norm(dim=1), torch.tensor(math.sqrt(128)), atol=1e-3)
    distances = torch.cdist(embedded, embedded) + 10 * torch.eye(500)
    assert distances.min() > 0.5
    assert torch.equal(embedded[0], torch.cat([torch.ones(128), torch.zeros(128)]))


def test_embeddings_differ_if_any_entry_of_the_camera_differs():
    camera = torch.eye(4)
    embedded = embed_cameras(camera.expand(12, 4, 4) + 0.1 * torch.eye(12, 16).unflatten(1, (4, 4)))
    assert embedded.shape == (12, 64)
    assert torch.pdist(torch.cat([embedded, embed_cameras(camera)[None]])).min() > 0.01


def test_embeddings_of_opposite_cameras_are_far_apart():
    front, back = torch.eye(4), torch.eye(4)
    front[2, 3], back[2, 3] = 2.5, -2.5
    assert (embed_cameras(front) - embed_cameras(back)).norm() > 1


def test_the_embedding_of_an_unknown_camera_differs_from_all_poses():
    unknown = embed_cameras(torch.zeros(4, 4))
    assert torch.equal(unknown, torch.cat([torch.zeros(32), torch.ones(32)]))
    assert (unknown - embed_cameras(torch.eye(4))).norm() > 1


@pytest.mark.parametrize("width", [64, 256])
def test_timestep_embeddings_have_the_requested_width(width):
    assert embed_timesteps(torch.tensor([3]), width).shape == (1, width)
