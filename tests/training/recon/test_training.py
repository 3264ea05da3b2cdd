"""Training of the reconstruction network: transformations, draws, neighbours and resumption."""

import dataclasses

import numpy as np
import pytest
import torch

from sdfkit.errors import InputError, SdfkitError
from sdfkit.evaluation.reconstruction_errors import measure_errors
from sdfkit.models.recon.posed_views import turn_matrices, turn_views
from sdfkit.training.recon.coarse_grids import make_grids
from sdfkit.training.recon.training import ReconTraining
from sdfkit.training.run import open_device_context
from tests.training.balls import CONFIG, SETTINGS, UIDS, training_samples, training_views

CPU = open_device_context("cpu", "fp32")
GRIDS = make_grids(training_samples(), len(UIDS))


@pytest.fixture(autouse=True)
def known_grids(monkeypatch):
    """Interpolate the samples only once."""
    monkeypatch.setattr("sdfkit.training.recon.training.make_grids", lambda samples, count: GRIDS[:count])


def start(settings=SETTINGS, config=CONFIG, shapes=len(UIDS), views=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ReconTraining(
        config, settings, training_views(views, shapes), training_samples(shapes), UIDS[:shapes], CPU, generator
    )  # fmt: skip


def equal(one, other):
    return all(torch.equal(first, second) for first, second in zip(one, other, strict=True))


def test_cone_distances_are_kept_when_shapes_and_cameras_move_together():
    views = training_views().select(torch.arange(4), torch.arange(4).expand(4, -1), CPU.device)
    mirrored, angles = torch.tensor([False, True, True, False]), torch.tensor([0.0, 0.0, 1.3, -2.0])
    turns = turn_matrices(mirrored, angles)
    moved = turn_views(views, mirrored, turns)
    points = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (4, 200, 3)).astype(np.float32))
    before = views.cone_distances(views.project(points))
    after = moved.cone_distances(moved.project(points @ turns.mT))
    assert torch.allclose(before, after, atol=1e-4)
    # Cameras remain rotations, and the pictures of mirrored shapes are flipped.
    assert torch.allclose(torch.linalg.det(moved.cameras[..., :3, :3]), torch.ones(4, 4), atol=1e-5)
    assert torch.equal(moved.pictures[1], views.pictures[1].flip(-1))
    assert torch.equal(moved.pictures[3], views.pictures[3])


def test_turns_are_orthogonal_and_mirror_where_asked_for():
    mirrored = torch.tensor([False, True])
    turns = turn_matrices(mirrored, torch.tensor([0.4, 0.4]))
    assert torch.allclose(turns @ turns.mT, torch.eye(3).expand(2, -1, -1), atol=1e-6)
    assert torch.allclose(torch.linalg.det(turns), torch.tensor([1.0, -1.0]))
    points = torch.tensor([[0.3, 0.7, -0.2]])
    assert torch.allclose(points @ turns[1].mT, (points * torch.tensor([-1.0, 1, 1])) @ turns[0].mT)
    assert torch.equal((points @ turns[0].mT)[:, 1], points[:, 1]), "the axis of the turn is vertical"


def test_inputs_of_transformed_shapes_agree_with_their_distances():
    training = start(dataclasses.replace(SETTINGS, turned=1.0, shapes=8))
    drawn = training.draw(3)
    assert drawn.mirrored.any() and (drawn.angles != 0).all()
    views, neighbours, points = training.inputs(drawn)
    # The visual hull contains the shape, up to the size of a pixel.
    hull = views.cone_distances(views.project(points)).amax(1)
    assert (hull < drawn.distances + 0.1).all()
    # The grids of the neighbours are those of the untransformed shapes.
    grids = training.grids[drawn.neighbours]
    plain = neighbours._replace(grids=grids, turns=torch.eye(3).expand(8, -1, -1))
    assert torch.allclose(neighbours.distances(points), plain.distances(drawn.points), atol=1e-2)


@pytest.mark.parametrize("shapes", [2, 3, 5])
def test_a_shape_is_never_its_own_neighbour(shapes):
    training = start(dataclasses.replace(SETTINGS, shapes=6, fewer=0.5), shapes=shapes)
    for step in range(20):
        drawn = training.draw(step)
        assert (drawn.neighbours != drawn.rows[:, None]).all()
        assert drawn.neighbours.shape == (6, CONFIG.neighbours)
        assert ((drawn.overlaps >= 0) & (drawn.overlaps <= 1)).all()
    assert (training.with_views(drawn, drawn.views[:, :1]).neighbours != drawn.rows[:, None]).all()


def test_draws_depend_on_the_seed_and_the_step_alone():
    one, other, third = start(), start(), start(seed=1)
    for _ in range(2):
        other.step()
    for step in (0, 5, 2):
        assert equal(one.draw(step), other.draw(step))
        assert not torch.equal(one.draw(step).points, third.draw(step).points)
    assert not torch.equal(one.draw(0).points, one.draw(1).points)


def test_the_number_of_views_varies_within_its_limits():
    training, single = start(), start(views=1)
    assert {training.draw(step).views.shape[1] for step in range(60)} == {1, 2, 3, 4}
    assert {single.draw(step).views.shape[1] for step in range(5)} == {1}
    limited = start(dataclasses.replace(SETTINGS, views=2, single=0.0))
    assert {limited.draw(step).views.shape[1] for step in range(9)} == {2}


def test_the_views_of_a_shape_are_distinct():
    training = start()
    for step in range(20):
        assert all(len(set(row)) == len(row) for row in training.draw(step).views.tolist())


def test_a_resumed_run_is_equal_bit_for_bit():
    whole, first, second = start(), start(), start()
    losses = [whole.step() for _ in range(6)]
    assert [first.step() for _ in range(3)] == losses[:3]
    second.load_state(first.state())
    assert second.steps_taken == 3
    assert [second.step() for _ in range(3)] == losses[3:]
    state = whole.state()
    assert all(np.array_equal(value, state[name]) for name, value in second.state().items())
    assert equal(whole.result().parameters(), second.result().parameters())


def test_a_state_of_another_network_is_refused():
    other = start(config=dataclasses.replace(CONFIG, hidden=24))
    with pytest.raises(InputError, match="training state: parameters/first.weight has shape"):
        start().load_state(other.state())


def test_a_learning_rate_that_is_too_high_is_reported():
    # The first step is smaller, because the rate rises from 0.
    training = start(dataclasses.replace(SETTINGS, lr=1e36))
    with pytest.raises(SdfkitError, match="^ball_.: the loss at step .* lower the learning rate"):
        for _ in range(5):
            training.step()


def test_errors_are_measured_for_each_number_of_views_that_there_is():
    one, four = measure_errors(start())
    assert (one.views, four.views) == (1, 4)
    # More views carve more of what does not belong to the shape.
    assert 0 < four.hull < one.hull < SETTINGS.clamp * 2
    # The average of an untrained network, whose distances the hull bounds.
    assert 0 < four.network < 2 * SETTINGS.clamp
    (only,) = measure_errors(start(views=2))
    assert only.views == 1
