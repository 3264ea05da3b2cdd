import dataclasses

import numpy as np
import pytest
import torch

from sdfkit.evaluation.timesteps import (
    Sampled,
    TimestepLosses,
    explain,
    mean_loss,
    measure_sampling,
    measure_timesteps,
)
from sdfkit.models.dit import DiT, DiTConfig
from sdfkit.training.dit.training import Standardizer

DIM, FEATURE = 8, 8
CONFIG = DiTConfig(
    dim=DIM,
    tokens=1,
    feature=FEATURE,
    patches=1,
    width=16,
    layers=1,
    heads=1,
    ffn=2,
    gated=False,
    target="x0",
)
STANDARD = Standardizer(torch.full((DIM,), 0.5), torch.full((DIM,), 0.1), 0)
RNG = np.random.default_rng(0)
CODES = (0.5 + 0.1 * RNG.normal(size=(50, DIM))).astype(np.float32)
CAMERAS = np.tile(np.eye(4, dtype=np.float32), (50, 2, 1, 1))
TIMESTEPS = np.array([0, 100, 450])


class Seer(DiT):
    """A denoiser that reads the standardised code from the image and multiplies it by a factor."""

    def __init__(self, share):
        super().__init__(CONFIG)
        self.share = share

    def forward(self, noisy, timesteps, features, cameras, seen):
        return self.share * features[:, 0, 0]


def pictures(codes=CODES):
    own = (codes - 0.5) / 0.1
    return np.repeat(own[:, None, None], 2, axis=1).astype(np.float32)


def measure(network, codes=CODES):
    return measure_timesteps(
        network, STANDARD, codes, pictures(codes), CAMERAS[: len(codes)], TIMESTEPS, draws=2,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


def sample(network, steps):
    return measure_sampling(
        network, STANDARD, CODES, pictures(), CAMERAS, STANDARD.mean.numpy(), steps=steps, samples=2,
        generators=[torch.Generator().manual_seed(row) for row in range(len(CODES))],
    )  # fmt: skip


def test_the_loss_of_the_mean_is_correct_for_raw_codes():
    raw = Standardizer(torch.zeros(DIM), torch.ones(DIM), 0)
    centre = CODES.mean(axis=0)
    assert mean_loss(raw, CODES, centre) == pytest.approx(CODES.var(axis=0).mean(), rel=1e-5)


def test_losses_are_listed_with_the_papers_alphas():
    assert np.round(measure(Seer(1.0)).alpha, 4).tolist() == pytest.approx([0.9999, 0.8968, 0.0231])


def test_a_perfect_network_has_loss_0_and_twice_the_variance_with_wrong_images():
    losses = measure(Seer(1.0))
    assert np.allclose(losses.loss, 0, atol=1e-8)
    own = (CODES - 0.5) / 0.1
    expected = np.square(own - np.roll(own, -1, axis=0)).mean()
    assert np.allclose(losses.wrong, expected, rtol=1e-4)


def test_a_network_that_predicts_the_mean_has_the_variance_as_loss():
    losses = measure(Seer(0.0))
    assert np.allclose(losses.loss, np.square((CODES - 0.5) / 0.1).mean(), rtol=1e-4)
    assert np.array_equal(losses.loss, losses.wrong)


def test_errors_of_predicted_noise_are_converted_to_errors_of_the_code():
    losses = measure(Seer(0.5))
    assert np.allclose(losses.implied_noise * (1 - losses.alpha) / losses.alpha, losses.loss)


def test_the_loss_with_wrong_images_is_none_for_a_single_shape():
    assert measure(Seer(1.0), CODES[:1]).wrong is None


@pytest.mark.parametrize("target", ["eps", "v"])
def test_the_loss_of_a_zero_output_agrees_with_a_closed_form(target):
    losses = measure(DiT(dataclasses.replace(CONFIG, target=target)))
    # If the output is 0, the predicted clean code is √ᾱ · x_t: for the target ε, the network adds √(1 - ᾱ) x_t itself.
    alpha, variance = losses.alpha, np.square((CODES - 0.5) / 0.1).mean()
    expected = variance * (1 - alpha) ** 2 + alpha * (1 - alpha)
    assert np.allclose(losses.loss, expected, rtol=0.15)


@pytest.mark.parametrize("steps", [1, 20])
def test_a_network_that_predicts_half_the_deviation_leaves_a_quarter_of_the_variance(steps):
    sampled = sample(Seer(0.5), steps)
    assert sampled.fvu == pytest.approx(0.25, rel=1e-4)
    assert sampled.centred == pytest.approx(1, abs=1e-5) and 0.9 < sampled.cosine < 1


def losses_of(*values):
    return TimestepLosses(TIMESTEPS, np.array([0.9999, 0.9, 0.02]), np.array(values), np.array(values))


def sampled(fvu):
    return Sampled(fvu, fvu, 0.9, 0.9)


@pytest.mark.parametrize(
    ("last", "one_step", "all_steps", "words"),
    [
        (0.05, 0.06, 0.05, "model and sampler agree: at t = 450 the network leaves 5 % of the variance"),
        (0.05, 0.06, 0.90, "the sampler adds errors: codes sampled in one step leave 6 % of the variance"),
        (0.19, 1.50, 1.50, "training and sampling differ: at t = 450 the network leaves 19 % of"),
        (0.98, 1.00, 1.00, "the model ignores the images: at the noisiest timestep it leaves 98 %"),
    ],
)  # fmt: skip
def test_the_verdict_distinguishes_faults_of_the_model_and_of_the_sampler(last, one_step, all_steps, words):
    assert explain(losses_of(0.01, 0.02, last), 1.0, sampled(one_step), sampled(all_steps)).startswith(words)


def test_a_model_that_uses_images_but_does_not_generalise_is_recognised():
    losses = dataclasses.replace(losses_of(0.01, 0.02, 0.95), wrong=np.array([1.9, 1.9, 1.9]))
    verdict = explain(losses, 1.0, sampled(0.96), sampled(0.96))
    assert verdict.startswith(
        "the model uses the images but does not generalise to these shapes: at the noisiest timestep it leaves 95 %"
    )
    assert "190 % with another shape's images" in verdict
    tiny = explain(losses_of(0.01, 0.02, 4.2e-5), 1.0, sampled(1e-5), sampled(1e-5))
    assert "leaves 0.0042 % of the variance" in tiny and "the sampled codes leave 0.001 %" in tiny
