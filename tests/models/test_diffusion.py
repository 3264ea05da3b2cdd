import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.models.diffusion import (
    add_noise,
    clean_from,
    clean_from_velocity,
    clean_weights,
    cosine_alphas,
    ddim_timesteps,
    guide,
    noise_from_clean,
    sample_ddim,
    schedule,
    velocity,
)

ALPHAS = cosine_alphas(500)


@pytest.mark.parametrize(
    ("timestep", "alpha"),
    [(0, 0.9999), (50, 0.9711), (100, 0.8968), (200, 0.6445), (300, 0.3379), (450, 0.0231)],
)
def test_the_schedule_has_the_values_of_the_papers_table(timestep, alpha):
    assert round(ALPHAS[timestep].item(), 4) == alpha


def test_the_schedule_ends_at_pure_noise():
    assert torch.all(ALPHAS.diff() < 0)
    assert 0 <= ALPHAS[-1] < 1e-30


@given(st.integers(0, 498), st.integers(0, 1000))
def test_prediction_targets_convert_into_each_other(timestep, seed):
    clean, noise = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(seed)).double()
    alphas = ALPHAS[timestep].double().expand(3)
    noisy = add_noise(clean, noise, alphas)
    assert torch.allclose(noise_from_clean(noisy, clean, alphas), noise)
    assert torch.allclose(clean_from_velocity(noisy, velocity(clean, noise, alphas), alphas), clean)


@given(st.sampled_from(["x0", "eps", "v"]), st.integers(0, 453), st.integers(0, 1000))
def test_weighted_errors_of_the_clean_vector_equal_errors_of_the_target(target, timestep, seed):
    clean, noise, output = torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(seed)).double()
    alphas = schedule(target).double()
    now = alphas[timestep].expand(2)
    noisy = add_noise(clean, noise, now)
    truth = {"x0": clean, "eps": noise, "v": velocity(clean, noise, now)}[target]
    error = (clean_from(target, output, noisy, now) - clean).square().mean()
    weight = clean_weights(target, alphas, None)[timestep]
    # A network for noise adds its input to its output.
    guess = (1 - now[:, None]).sqrt() * noisy + now[:, None].sqrt() * output if target == "eps" else output
    assert torch.allclose(weight * error, (guess - truth).square().mean())


@pytest.mark.parametrize("target", ["x0", "eps", "v"])
def test_min_snr_weights_are_equal_for_all_targets(target):
    weights = clean_weights(target, ALPHAS, 5.0)
    assert weights.max() == 5 and weights[-1] < 1e-30
    assert torch.equal(weights, clean_weights("x0", ALPHAS, 5.0))


def test_the_schedule_for_noise_ends_before_pure_noise():
    alphas = schedule("eps")
    assert len(alphas) == 454 and torch.equal(alphas, ALPHAS[:454]) and alphas[-1] > 0.02
    assert torch.equal(schedule("x0"), ALPHAS) and torch.equal(schedule("v"), ALPHAS)


def test_velocity_determines_the_clean_vector_at_pure_noise():
    clean, noise = torch.randn(2, 3, 8)
    alphas = ALPHAS[499].expand(3)
    noisy = add_noise(clean, noise, alphas)
    assert torch.equal(noisy, noise)
    assert torch.allclose(clean_from_velocity(noisy, velocity(clean, noise, alphas), alphas), clean)


def test_adding_noise_preserves_unit_variance():
    clean, noise = torch.randn(2, 4, 50_000, generator=torch.Generator().manual_seed(0))
    noisy = add_noise(clean, noise, ALPHAS[[0, 100, 300, 499]])
    assert torch.allclose(noisy.std(dim=1), torch.ones(4), atol=0.02)


def test_guidance_follows_its_formula():
    u, c = torch.randn(2, 3, 4)
    assert torch.allclose(guide(u, c, 1.0), c)
    assert torch.equal(guide(u, c, 0.0), u)
    assert torch.allclose(guide(u, c, 3.0), u + 3 * (c - u))


@given(st.integers(2, 500))
def test_ddim_timesteps_run_from_the_last_to_0(steps):
    walk = ddim_timesteps(steps, 500)
    assert walk[0] == 499 and walk[-1] == 0
    assert torch.all(walk.diff() < 0)


def test_a_single_step_starts_from_pure_noise():
    assert ddim_timesteps(1, 500).tolist() == [499]


@given(st.integers(1, 60), st.sampled_from([0.0, 0.5, 1.0]))
def test_sampling_returns_the_prediction_of_a_perfect_denoiser(steps, eta):
    truth = 5 * torch.randn(3, 8)
    noise = torch.randn(steps, 3, 8)
    assert torch.equal(sample_ddim(lambda x, t: truth, noise, ALPHAS, eta), truth)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_sampling_gaussian_data_reproduces_mean_and_standard_deviation(eta):
    # For data from N(m, s²) the best x_0 is known: m + s² √ᾱ / (ᾱ s² + 1 - ᾱ) · (x_t - √ᾱ m).
    mean, spread = 2.0, 0.5

    def best(x, t):
        alpha = ALPHAS[t][:, None]
        gain = spread**2 * alpha.sqrt() / (alpha * spread**2 + 1 - alpha)
        return mean + gain * (x - alpha.sqrt() * mean)

    noise = torch.randn(100, 4000, 2, generator=torch.Generator().manual_seed(0))
    samples = sample_ddim(best, noise, ALPHAS, eta)
    assert samples.mean() == pytest.approx(mean, abs=0.02)
    assert samples.std() == pytest.approx(spread, abs=0.03)


def test_sampling_with_eta_0_depends_only_on_the_initial_noise():
    start, first, second = torch.randn(3, 10, 2, 4)
    first[0] = second[0] = start[0]
    shrink = lambda x, t: 0.5 * x  # noqa: E731
    assert torch.equal(sample_ddim(shrink, first, ALPHAS, 0.0), sample_ddim(shrink, second, ALPHAS, 0.0))
    assert not torch.equal(sample_ddim(shrink, first, ALPHAS, 1.0), sample_ddim(shrink, second, ALPHAS, 1.0))
