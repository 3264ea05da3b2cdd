import dataclasses

import numpy as np
import pytest
import torch

from sdfkit.errors import GeometryError, SdfkitError
from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig
from sdfkit.training.deepsdf.code_fitting import FitSettings, fit_codes, keep_known

SETTINGS = FitSettings(steps=300, batch=256, lr=3e-2, clamp=10.0, penalty=0.0, chunk=512)
CENTRE, SPREAD = torch.zeros(2), torch.ones(2)


class Balls(DeepSDF):
    """A decoder of balls: radius 0.5 plus the first element of the code, moved along x by the second."""

    def __init__(self):
        super().__init__(DeepSDFConfig(code=2, bands=0, hidden=4, layers=2, skip=1, activation="relu"))

    def decode(self, codes, points):
        centre = torch.nn.functional.pad(codes[:, 1:], (0, 2))
        return (points - centre[:, None]).norm(dim=-1) - 0.5 - codes[:, :1]


DECODER = Balls().requires_grad_(False)
CODES = torch.tensor([[0.2, 0.1], [-0.1, -0.3], [0.0, 0.2]])


def samples(count=2000, seed=0):
    points = torch.rand(3, count, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return points, DECODER(CODES, points)


def test_codes_of_unseen_shapes_are_found():
    found = fit_codes(DECODER, *samples(), CENTRE, SPREAD, SETTINGS)
    assert torch.allclose(found, CODES, atol=2e-3)


def test_a_fit_whose_distances_are_all_beyond_the_clamp_returns():
    """At the initial code there is no surface: the radius is -1, and all distances are 1 or more."""
    settings = dataclasses.replace(SETTINGS, clamp=0.1)
    found = fit_codes(DECODER, *samples(), torch.tensor([-1.5, 0.0]), SPREAD, settings)
    assert torch.allclose(found, CODES, atol=1e-2)


def test_a_fit_does_not_depend_on_the_rest_of_the_batch():
    points, distances = samples()
    together = fit_codes(DECODER, points, distances, CENTRE, SPREAD, SETTINGS)
    alone = fit_codes(DECODER, points[1:2], distances[1:2], CENTRE, SPREAD, SETTINGS)
    assert torch.allclose(together[1:2], alone, atol=1e-3)


def test_a_ball_is_completed_from_half_of_its_samples():
    points, distances = samples()
    known = [
        keep_known(point.numpy(), distance.numpy(), (point[:, 0] > 0).numpy(), 2000)
        for point, distance in zip(points, distances, strict=True)
    ]
    assert all((point[:, 0] > 0).all() and point.shape == (2000, 3) for point, _ in known)
    half = (torch.from_numpy(np.stack(parts)) for parts in zip(*known, strict=True))
    assert torch.allclose(fit_codes(DECODER, *half, CENTRE, SPREAD, SETTINGS), CODES, atol=5e-3)


@pytest.mark.slow
def test_the_penalty_is_measured_in_standard_deviations_from_the_mean():
    settings = FitSettings(steps=2000, batch=2000, lr=1e-2, clamp=10.0, penalty=1e4, chunk=10_000)
    centre = torch.tensor([0.05, -0.05])
    found = fit_codes(DECODER, *samples(), centre, SPREAD, settings)
    assert torch.allclose(found, centre.expand(3, 2), atol=5e-3)


def test_the_first_known_samples_are_kept_in_order_and_repeated():
    points, distances = np.arange(15, dtype=np.float32).reshape(5, 3), np.arange(5, dtype=np.float32)
    known = np.array([False, True, True, False, True])
    assert keep_known(points, distances, known, 2)[1].tolist() == [1, 2]
    assert keep_known(points, distances, known, 5)[1].tolist() == [1, 2, 4, 1, 2]


def test_a_shape_without_known_samples_is_refused():
    with pytest.raises(GeometryError, match="no sample lies in the half-space to which the code is fitted"):
        keep_known(np.zeros((2, 3), np.float32), np.zeros(2, np.float32), np.zeros(2, bool), 2)


def test_a_diverging_code_is_an_error():
    points, distances = samples()
    with pytest.raises(SdfkitError, match="lower the learning rate"):
        fit_codes(DECODER, points * torch.nan, distances, CENTRE, SPREAD, SETTINGS)
