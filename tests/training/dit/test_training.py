import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sdfkit.errors import InputError, SdfkitError
from sdfkit.models.dit import PRESETS, DiTConfig
from sdfkit.training.dit.recipes import RECIPES, DiTSettings, choose_steps
from sdfkit.training.dit.training import DiTTraining, Standardizer, fit_standardizer, predict_codes
from sdfkit.training.run import open_device_context

SHAPES, VIEWS, FEATURE, DIM = 6, 5, 12, 8
CONFIG = DiTConfig(
    dim=DIM,
    tokens=1,
    feature=FEATURE,
    patches=1,
    width=64,
    layers=2,
    heads=2,
    ffn=2,
    gated=False,
    target="x0",
)
UIDS = [f"shape_{row}" for row in range(SHAPES)]
SETTINGS = DiTSettings(
    steps=400,
    batch=64,
    views=3,
    lr=3e-3,
    feature_dropout=0.0,
    camera_dropout=0.0,
    ema_decay=0.99,
    min_snr=None,
)
CPU = open_device_context("cpu", "fp32")
FLOOR = 1e-4


def views_and_codes():
    """Codes that are far from standardised, features that identify a shape from any of its views, and poses."""
    rng = np.random.default_rng(0)
    codes = (0.05 * rng.normal(size=(SHAPES, DIM)) + 0.3).astype(np.float32)
    own = rng.normal(size=(SHAPES, 1, FEATURE))
    features = (own + 0.2 * rng.normal(size=(SHAPES, VIEWS, FEATURE))).astype(np.float32)
    cameras = np.tile(np.eye(4, dtype=np.float32), (SHAPES, VIEWS, 1, 1))
    cameras[..., :3, 3] = rng.normal(size=(SHAPES, VIEWS, 3))
    return codes, features[:, :, None], cameras


CODES, FEATURES, CAMERAS = views_and_codes()


def start(settings=SETTINGS, codes=CODES, features=FEATURES, config=CONFIG, seed=0, held_out=None):
    generator = torch.Generator().manual_seed(seed)
    return DiTTraining(config, settings, UIDS, codes, features, CAMERAS, FLOOR, CPU, generator, held_out)


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.fixture(scope="module")
def trained():
    training = start(dataclasses.replace(SETTINGS, feature_dropout=0.2))
    for _ in range(SETTINGS.steps):
        training.step()
    return training


def predict(training, features=FEATURES, cameras=CAMERAS, seeds=range(SHAPES), **options):
    asked = {"steps": 10, "eta": 0.0, "guidance": 1.0, "samples": 1} | options
    return predict_codes(
        training.result(), training.standardizer, features, cameras, generators=generators(*seeds), **asked
    )


@pytest.mark.slow
def test_codes_of_known_shapes_are_recalled_from_one_view(trained):
    predicted = predict(trained, FEATURES[:, :1], CAMERAS[:, :1], samples=2)
    assert predicted.shape == (SHAPES, 2, DIM)
    spread = np.sqrt(((predicted - CODES[:, None]) ** 2).mean()) / CODES.std(axis=0).mean()
    assert spread < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("target", "min_snr"), [("eps", None), ("eps", 5.0), ("v", None), ("v", 5.0)])
def test_codes_are_recalled_with_noise_and_velocity_as_targets(target, min_snr):
    config = dataclasses.replace(CONFIG, target=target)
    training = start(dataclasses.replace(SETTINGS, min_snr=min_snr), config=config)
    for _ in range(SETTINGS.steps):
        training.step()
    distances = np.linalg.norm(predict(training, steps=30) - CODES[None], axis=-1)
    assert distances.argmin(axis=1).tolist() == list(range(SHAPES))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["x0", "eps", "v"])
def test_samples_of_every_target_leave_less_than_a_tenth_of_the_variance(target):
    """Noise must pass through a network for ε: without a skip connection, the loss is low and samples are wrong."""
    codes = np.random.default_rng(1).normal(size=(SHAPES, 32)).astype(np.float32)
    config = dataclasses.replace(CONFIG, dim=32, target=target)
    training = start(dataclasses.replace(SETTINGS, steps=300), codes, config=config)
    for _ in range(300):
        training.step()
    for steps in (10, 50):
        error = predict(training, steps=steps)[:, 0] - codes
        assert np.square(error).sum() < 0.1 * np.square(codes - codes.mean(axis=0)).sum()


@pytest.mark.parametrize("target", ["x0", "eps", "v"])
@pytest.mark.parametrize("min_snr", [None, 5.0])
def test_mean_loss_is_the_loss_of_predicting_the_mean(target, min_snr):
    settings = dataclasses.replace(SETTINGS, batch=40_000, min_snr=min_snr)
    training = start(settings, config=dataclasses.replace(CONFIG, target=target))
    generator = torch.Generator().manual_seed(1)
    timesteps = torch.randint(len(training.alphas), (40_000,), generator=generator)
    rows = torch.randint(SHAPES, (40_000,), generator=generator)
    lost = (training.codes[rows].square().mean(dim=1) * training.weights[timesteps]).mean()
    assert training.mean_loss() == pytest.approx(float(lost), rel=0.2)


@pytest.mark.slow
def test_pieces_of_a_vector_are_distinguished_at_pure_noise():
    """Otherwise each of the eight pieces is predicted as the mean of all, which leaves 7/8 of their variance."""
    codes = np.random.default_rng(1).normal(size=(SHAPES, 64)).astype(np.float32)
    config = dataclasses.replace(CONFIG, dim=64, tokens=8, gated=True)
    training = start(dataclasses.replace(SETTINGS, steps=120, batch=32, ema_decay=0.9), codes, config=config)
    for _ in range(120):
        training.step()
    left = ((predict(training, steps=1)[:, 0] - codes) ** 2).sum() / ((codes - codes.mean(axis=0)) ** 2).sum()
    assert left < 0.3


@pytest.mark.slow
def test_recalled_codes_are_nearest_to_their_shape(trained):
    distances = np.linalg.norm(predict(trained) - CODES[None], axis=-1)
    assert distances.argmin(axis=1).tolist() == list(range(SHAPES))


@pytest.mark.slow
def test_with_guidance_0_predictions_do_not_depend_on_the_views(trained):
    blind = predict(trained, guidance=0.0, seeds=[3] * SHAPES)
    assert np.allclose(blind, blind[:1], atol=1e-5)
    guided = predict(trained, guidance=1.0, seeds=[3] * SHAPES)
    assert np.abs(guided - guided[:1]).max() > 0.01


@pytest.mark.slow
def test_guidance_of_one_step_follows_its_formula(trained):
    u, c, g = (predict(trained, steps=1, guidance=weight) for weight in (0.0, 1.0, 2.5))
    assert np.allclose(g, u + 2.5 * (c - u), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(trained, eta):
    order = [4, 1, 3]
    together = predict(trained, eta=eta, samples=2)
    some = predict(trained, FEATURES[order], CAMERAS[order], order, eta=eta, samples=2)
    assert np.allclose(together[order], some, atol=1e-5)


@pytest.mark.slow
def test_equal_seeds_give_equal_codes_and_different_seeds_differ(trained):
    first, second = predict(trained, eta=1.0), predict(trained, eta=1.0)
    other = predict(trained, eta=1.0, seeds=range(10, 10 + SHAPES))
    assert np.array_equal(first, second) and not np.array_equal(first, other)


def test_the_mean_and_an_untrained_network_have_a_loss_of_1():
    training = start(dataclasses.replace(SETTINGS, batch=4096))
    assert training.mean_loss() == pytest.approx(1, abs=1e-4)
    assert training.step() == pytest.approx(1, abs=0.03)


def test_raw_codes_are_not_standardised():
    generator = torch.Generator().manual_seed(0)
    training = DiTTraining(CONFIG, SETTINGS, UIDS, CODES, FEATURES, CAMERAS, None, CPU, generator)
    assert torch.equal(training.codes, torch.from_numpy(CODES))
    assert training.standardizer.floored == 0
    assert training.mean_loss() == pytest.approx(CODES.var(axis=0).mean(), rel=1e-5)


def test_standard_deviations_of_nearly_constant_dimensions_are_floored_and_counted():
    codes = CODES.copy()
    codes[:, 2] = 0.25 + 1e-6 * np.arange(SHAPES)
    training = start(codes=codes)
    assert training.standardizer.floored == 1
    assert training.standardizer.std[2] == pytest.approx(FLOOR)
    assert training.mean_loss() == pytest.approx((DIM - 1) / DIM, abs=1e-3)
    state = training.state()
    assert state["standard/floored"] == 1
    assert np.allclose(state["standard/mean"], codes.mean(axis=0), atol=1e-6)
    assert np.array_equal(state["standard/std"], training.standardizer.std.numpy())


@given(arrays(np.float32, (5, 3), elements=st.floats(-8, 8, width=32)))
def test_standardising_and_undoing_it_is_the_identity(vectors):
    codes = torch.from_numpy(vectors)
    standard = fit_standardizer(codes, 1e-2)
    assert torch.allclose(standard.undo(standard.apply(codes)), codes, atol=1e-5)


def test_standardised_codes_have_mean_0_and_standard_deviation_1():
    codes = torch.from_numpy(CODES)
    standard = fit_standardizer(codes, FLOOR)
    assert torch.allclose(standard.apply(codes).mean(dim=0), torch.zeros(DIM), atol=1e-4)
    assert torch.allclose(standard.apply(codes).std(dim=0, correction=0), torch.ones(DIM), atol=1e-4)


def test_each_sample_uses_1_to_3_distinct_views_with_equal_probability():
    marks = np.arange(SHAPES * VIEWS, dtype=np.float32).reshape(SHAPES, VIEWS, 1).repeat(FEATURE, axis=2)
    training = start(dataclasses.replace(SETTINGS, batch=6000), features=marks[:, :, None])
    rows, features, cameras, seen = training.draw_views()
    assert torch.equal((features[..., 0, 0] // VIEWS).long(), rows[:, None].expand(-1, 3))
    views = (features[..., 0, 0] % VIEWS).long()
    assert (views.sort(dim=1).values.diff(dim=1) > 0).all()
    assert torch.equal(cameras, torch.from_numpy(CAMERAS)[rows[:, None], views])
    assert seen[:, 0].all()
    counts = torch.bincount(seen.sum(dim=1), minlength=4) / 6000
    assert torch.allclose(counts, torch.tensor([0, 1 / 3, 1 / 3, 1 / 3]), atol=0.03)


def test_features_and_cameras_are_dropped_at_their_rates():
    settings = dataclasses.replace(SETTINGS, batch=6000, feature_dropout=0.1, camera_dropout=0.2)
    _, _, cameras, seen = start(settings).draw_views()
    assert (~seen.any(dim=1)).float().mean() == pytest.approx(0.1, abs=0.02)
    assert (cameras == 0).all(dim=(1, 2, 3)).float().mean() == pytest.approx(0.2, abs=0.02)


def others():
    """Codes, features and cameras of two shapes that are not trained on."""
    rng = np.random.default_rng(7)
    return (
        (0.05 * rng.normal(size=(2, DIM)) + 0.3).astype(np.float32),
        rng.normal(size=(2, VIEWS, 1, FEATURE)).astype(np.float32),
        CAMERAS[:2],
    )


def test_held_out_shapes_change_no_step_and_the_best_network_is_kept():
    settings = dataclasses.replace(SETTINGS, steps=30, batch=8)
    plain, measured = start(settings), start(settings, held_out=others())
    measured.held_out.every = 5
    assert [plain.step() for _ in range(30)] == [measured.step() for _ in range(30)]
    steps, losses = zip(*measured.held_out.measured, strict=True)
    assert steps == (5, 10, 15, 20, 25, 30)
    best = steps[int(np.argmin(losses))]
    again = start(dataclasses.replace(settings), held_out=others())
    again.held_out.every = 5
    for _ in range(best):
        again.step()
    kept = measured.result().state_dict()
    assert all(torch.equal(value, again.ema[name]) for name, value in kept.items())
    # Features of these shapes say nothing about their codes: the mean is not beaten by much.
    assert min(losses) > 0.5 * measured.held_out.mean_loss


def test_a_resumed_run_continues_its_held_out_losses():
    settings = dataclasses.replace(SETTINGS, steps=12, batch=8)
    straight, resumed = (start(settings, held_out=others(), seed=seed) for seed in (0, 0))
    for _ in range(7):
        straight.step()
    resumed.load_state(straight.state())
    for _ in range(5):
        assert straight.step() == resumed.step()
    first, second = straight.state(), resumed.state()
    assert first.keys() == second.keys() and first["held_out"].shape == (12, 2)
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("preset", "shapes", "options", "steps"),
    [
        ("small", 2, {}, 3_000), ("small", 20, {}, 3_000), ("small", 645, {}, 40599), ("latent-10m", 976, {}, 15_000),
        ("small", 645, {"steps": 7}, 7), ("small", 645, {"epochs": 10}, 51), ("weights-small", 100, {}, 2_000),
    ],
)  # fmt: skip
def test_steps_grow_with_the_shapes(preset, shapes, options, steps):
    chosen = {"steps": None, "epochs": None} | options
    assert choose_steps(preset, shapes, None, **chosen) == steps


def test_a_resumed_run_is_bit_identical():
    straight = start()
    for _ in range(5):
        straight.step()
    resumed = start(seed=99)
    resumed.load_state(straight.state())
    assert [straight.step() for _ in range(5)] == [resumed.step() for _ in range(5)]
    first, second = straight.state(), resumed.state()
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert all(array.dtype != object for array in first.values())


def test_a_state_of_another_network_is_refused():
    narrow = start(config=dataclasses.replace(CONFIG, width=32))
    with pytest.raises(
        InputError, match=r"^training state: parameters/position has shape \(1, 32\), .* \(1, 64\)"
    ):
        start().load_state(narrow.state())


def test_a_non_finite_loss_is_reported_with_step_and_shape():
    training = start()
    training.step()
    training.codes[4] = np.nan
    with pytest.raises(SdfkitError, match=r"^shape_4: the loss at step 1 is nan; lower the learning rate$"):
        training.step()


@pytest.mark.parametrize("kind", ["codes", "features"])
def test_non_finite_codes_are_refused(kind):
    broken = {"codes": CODES, "features": FEATURES}[kind].copy()
    broken[2] = np.nan
    with pytest.raises(
        InputError, match=r"^shape_2: its latent code or a feature holds numbers that are not"
    ):
        start(**{kind: broken})


def test_the_result_is_the_ema_of_the_network():
    training = start(dataclasses.replace(SETTINGS, ema_decay=0.0))
    training.step()
    for (_, kept), current in zip(
        training.result().named_parameters(), training.parameters.values(), strict=True
    ):
        assert torch.equal(kept, current)


def test_undo_multiplies_by_std_and_adds_mean():
    standard = Standardizer(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 4.0]), 0)
    assert torch.equal(standard.undo(torch.tensor([2.0, -1.0])), torch.tensor([2.0, -2.0]))


def test_recipes_have_the_names_of_network_presets():
    assert RECIPES.keys() <= PRESETS.keys()
