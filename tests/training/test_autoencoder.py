import dataclasses

import numpy as np
import pytest
import torch

from sdfkit.errors import InputError, SdfkitError
from sdfkit.evaluation.reconstructions import compare_fields, compare_vectors
from sdfkit.models.autoencoder import AutoencoderConfig
from sdfkit.training.autoencoder import AutoencoderSettings, AutoencoderTraining, ShapeSamples
from sdfkit.training.run import open_device_context
from tests.training.octahedra import NETWORK, distances, octahedra

SHAPES = 5
UIDS = [f"shape_{row}" for row in range(SHAPES)]
RADII = np.linspace(0.3, 0.8, SHAPES)
VECTORS = octahedra(RADII)
POINTS = np.random.default_rng(0).uniform(-1, 1, (SHAPES, 4000, 3)).astype(np.float32)
TRUTH = np.stack([distances(points, radius) for points, radius in zip(POINTS, RADII, strict=True)])
SAMPLES = ShapeSamples(
    torch.from_numpy(POINTS), torch.from_numpy(TRUTH), torch.zeros(SHAPES, 4000, dtype=torch.bool)
)
CONFIG = AutoencoderConfig(dim=VECTORS.shape[1], code=2, hidden=32, layers=2)
SETTINGS = AutoencoderSettings(loss="weights", epochs=300, batch=8, lr=3e-3, points=200, clamp=0.1)
CPU = open_device_context("cpu", "fp32")


def start(settings=SETTINGS, vectors=VECTORS, samples=SAMPLES):
    generator = torch.Generator().manual_seed(0)
    return AutoencoderTraining(CONFIG, settings, UIDS, vectors, NETWORK, samples, CPU, generator)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["weights", "field"])
def test_both_losses_reconstruct_the_surfaces(loss):
    training = start(dataclasses.replace(SETTINGS, loss=loss))
    assert training.steps == 300
    losses = [training.step() for _ in range(training.steps)]
    assert losses[-1] < 0.05 * losses[0]
    _, codes, made = training.result()
    assert codes.shape == (SHAPES, 2)
    before, after = compare_fields(NETWORK, training.vectors, made, SAMPLES, 32)
    assert (before.iou == 1).all() and (before.true_iou == 1).all()
    # Only 18 of 4,000 points lie inside the smallest octahedron.
    assert after.iou.min() > 0.85 and after.true_iou.mean() > 0.9
    assert not after.lost.any()


def test_the_initial_weight_loss_is_that_of_the_mean():
    assert start().step() == pytest.approx(1, rel=1e-5)


def test_the_initial_field_loss_is_that_of_the_mean_network():
    training = start(dataclasses.replace(SETTINGS, loss="field", points=4000, clamp=10.0))
    # The mean of these networks is the octahedron of the mean radius, half as steep as a distance.
    assert training.step() == pytest.approx(np.abs(0.5 * (RADII - RADII.mean())).mean(), rel=1e-4)


def test_a_field_without_a_surface_has_a_gradient():
    vectors = VECTORS.copy()
    vectors[:, -1] += 3
    training = start(dataclasses.replace(SETTINGS, loss="field"), vectors)
    training.step()
    last = training.network.decoder[-1].bias.grad
    assert last[-1] > 0


def test_a_resumed_run_has_the_same_losses():
    whole, first, second = start(), start(), start()
    losses = [whole.step() for _ in range(6)]
    assert [first.step() for _ in range(3)] == losses[:3]
    second.load_state(first.state())
    assert second.steps_taken == 3
    assert [second.step() for _ in range(3)] == losses[3:]


def test_a_state_of_another_network_is_refused():
    state = start().state()
    with pytest.raises(InputError, match="training state: has no array parameters/encoder.0.bias"):
        start().load_state({name: part for name, part in state.items() if "encoder.0.bias" not in name})


def test_non_finite_weights_are_refused_with_the_name_of_the_shape():
    broken = VECTORS.copy()
    broken[3, 4] = np.nan
    with pytest.raises(InputError, match="shape_3: its weights or samples hold numbers that are not finite"):
        start(vectors=broken)
    truth = SAMPLES.distances.clone()
    truth[2, 7] = torch.inf
    with pytest.raises(InputError, match="shape_2: its weights or samples hold numbers that are not finite"):
        start(samples=SAMPLES._replace(distances=truth))


def test_equal_networks_are_refused():
    with pytest.raises(InputError, match="shape_0: all other shapes have the same weights"):
        start(vectors=np.repeat(VECTORS[:1], SHAPES, axis=0))


def test_a_learning_rate_that_is_too_high_is_reported():
    training = start(dataclasses.replace(SETTINGS, lr=1e30))
    with pytest.raises(SdfkitError, match="the loss at step .* lower the learning rate"):
        for _ in range(5):
            training.step()


def test_the_mean_has_a_high_raw_cosine_but_explains_no_variance():
    rng = np.random.default_rng(1)
    vectors = torch.from_numpy((1 + 0.1 * rng.normal(size=(40, 500))).astype(np.float32))
    codes = torch.from_numpy(rng.normal(size=(40, 8)).astype(np.float32))
    mean = vectors.mean(dim=0).expand(40, 500) + 1e-4 * torch.randn(
        40, 500, generator=torch.Generator().manual_seed(0)
    )
    like = compare_vectors(vectors, mean, codes)
    assert like.fvu == pytest.approx(1, abs=1e-3)
    assert like.cosine.min() > 0.99 and abs(like.centred).max() < 0.2
    assert like.original_cosine == pytest.approx(1 / 1.01, abs=2e-3)
    pairs = torch.nn.functional.cosine_similarity(codes[:, None], codes[None], dim=-1)
    assert like.code_cosine == pytest.approx(float((pairs.sum() - 40) / (40 * 39)), abs=1e-5)
    assert compare_vectors(vectors, vectors, codes).fvu == 0


def test_a_reconstruction_without_a_surface_is_found_even_if_its_weights_are_close():
    # The failure of the paper's anchor: cosine 0.99, distances above 0 everywhere.
    made = VECTORS.copy()
    made[1, -1] = 0.01
    made[4, -1] = -2
    originals = torch.from_numpy(VECTORS)
    before, after = compare_fields(NETWORK, originals, torch.from_numpy(made), None, 16)
    assert not before.lost.any() and before.true_iou is None
    assert np.flatnonzero(after.lost).tolist() == [1, 4]
    assert after.low[1] > 0 and after.high[4] < 0
    assert after.iou[1] == 0 and (after.iou[[0, 2, 3]] == 1).all()
    assert compare_vectors(originals, torch.from_numpy(made), originals).cosine[1] > 0.99
