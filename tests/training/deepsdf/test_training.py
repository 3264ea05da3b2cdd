import dataclasses
import sys

import numpy as np
import pytest
import torch
import trimesh
from skimage.measure import marching_cubes

from sdfkit.errors import InputError, SdfkitError
from sdfkit.evaluation.field_errors import decoder_errors, mean_cosine, measure_decoder
from sdfkit.models.deepsdf import PRESETS, DeepSDFConfig, place_codes, slope_errors
from sdfkit.models.latents import LAYOUTS
from sdfkit.training.deepsdf.recipes import RECIPES, DeepSDFSettings
from sdfkit.training.deepsdf.training import DeepSDFTraining
from sdfkit.training.run import open_device_context
from sdfkit.training.samples import SampleChunk, SampleReader

CONFIG = DeepSDFConfig(code=8, bands=3, hidden=48, layers=3, skip=1, activation="relu")
SETTINGS = DeepSDFSettings(
    steps=400,
    shapes=2,
    points=512,
    near=0.75,
    first_clamp=2.0,
    clamp=2.0,
    matrix_lr=0.03,
    decoder_lr=5e-3,
    code_lr=1e-2,
    code_std=0.01,
    code_penalty=1e-5,
    penalty_ramp=0,
    latent_noise=0.0,
    kl=0.0,
    eikonal=0.0,
    interpolation=0.0,
    ema_decay=0.0,
    chunk=2_560,
)
CPU = open_device_context("cpu", "fp32")


def sphere(points):
    return np.linalg.norm(points, axis=-1) - 0.6


def torus(points):
    ring = np.hypot(points[..., 0], points[..., 2]) - 0.65
    return np.hypot(ring, points[..., 1]) - 0.15


def samples(*fields, count=20_000):
    """Query points of shapes, half of them within 0.1 of the surface, in random order."""
    rng = np.random.default_rng(0)
    cloud = rng.uniform(-1, 1, (30 * count, 3)).astype(np.float32)
    points, near = [], []
    for field in fields:
        close = cloud[np.abs(field(cloud)) < 0.1][: count // 2]
        order = rng.permutation(2 * len(close))
        points.append(np.concatenate([close, cloud[: len(close)]])[order])
        near.append((np.arange(2 * len(close)) < len(close))[order])
    least = min(map(len, points))
    points = np.stack([part[:least] for part in points])
    distances = np.stack([field(part) for field, part in zip(fields, points, strict=True)])
    return points, distances.astype(np.float32), np.stack([part[:least] for part in near])


TWO = samples(sphere, torus)


def start(settings=SETTINGS, arrays=TWO, config=CONFIG, seed=0, window=8192, memory=sys.maxsize, reads=None):
    """Start a training run; reads of samples are recorded in `reads`."""

    def read(row, begin, end):
        if reads is not None:
            reads.append((row, begin, end))
        return SampleChunk(*(array[row, begin:end] for array in arrays))

    uids = [f"shape_{row}" for row in range(len(arrays[0]))]
    near = round(settings.near * settings.points)
    others = settings.points - near
    samples = SampleReader(
        read, uids, arrays[0].shape[1], window=window, near=near, others=others, memory=memory
    )
    return DeepSDFTraining(config, settings, samples, uids, CPU, torch.Generator().manual_seed(seed))


def field_on_grid(decoder, code, cells):
    axis = torch.linspace(-1, 1, cells)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(1, -1, 3)
    with torch.no_grad():
        return grid[0].numpy(), decoder(code[None], grid)[0].numpy()


@pytest.mark.slow
def test_two_shapes_are_learned_and_meshed():
    training = start()
    for _ in range(SETTINGS.steps):
        training.step()
    decoder, codes = training.result()
    for field, code, euler in ((sphere, codes[0], 2), (torus, codes[1], 0)):
        points, learned = field_on_grid(decoder, code, 48)
        inside, truth = learned < 0, field(points) < 0
        assert (inside & truth).sum() / (inside | truth).sum() > 0.94
        vertices, faces, _, _ = marching_cubes(learned.reshape(48, 48, 48), 0)
        mesh = trimesh.Trimesh(vertices, faces)
        assert mesh.is_watertight and mesh.body_count == 1 and mesh.euler_number == euler
    report = measure_decoder(training, 4_000, 0.1)
    assert report.sdf_l1.shape == (2,)
    assert (report.clamped_l1 < report.sdf_l1).all() and (report.sdf_l1 < 0.006).all()
    assert (report.clamped_l1 < 0.005).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"latent_noise": 0.05},
        {"kl": 1e-5},
        {"eikonal": 1e-3, "interpolation": 0.1},
        {"penalty_ramp": 100, "code_penalty": 1e-4},
    ],
)
def test_regularised_training_learns_the_same_shapes(options):
    settings = dataclasses.replace(SETTINGS, **options)
    training = start(settings)
    for _ in range(SETTINGS.steps):
        training.step()
    assert (measure_decoder(training, 4_000, 0.1).clamped_l1 < 0.012).all()
    state = training.state()
    resumed = start(settings, seed=7)
    resumed.load_state(state)
    resumed.settings = training.settings = dataclasses.replace(settings, steps=SETTINGS.steps + 10)
    assert [training.step() for _ in range(2)] == [resumed.step() for _ in range(2)]


@pytest.mark.slow
def test_the_eikonal_loss_brings_gradients_nearer_to_1():
    def unlike(weight):
        # With a clamp of 0.1, the gradient far from the surface is not trained.
        training = start(dataclasses.replace(SETTINGS, first_clamp=0.1, clamp=0.1, eikonal=weight))
        for _ in range(150):
            training.step()
        far = torch.rand(2, 500, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
        return slope_errors(training.decoder, training.codes, far).mean().item()

    assert unlike(0.1) < 0.5 * unlike(0.0)


def test_the_interpolation_loss_is_the_eikonal_loss_between_two_codes():
    training = start(dataclasses.replace(SETTINGS, interpolation=3.0))
    training.decoder.prepare = lambda codes: codes
    # Gradients have length 1 for both shapes, and less between them.
    training.decoder.decode = lambda codes, points: codes[:, :1].abs() * points.norm(dim=2)
    with torch.no_grad():
        training.codes[:, 0] = torch.tensor([-1.0, 1.0])
    drawn = training.draw(0)
    assert drawn.partners.tolist() == (1 - drawn.rows).tolist()
    expected = (3 * ((1 - 2 * drawn.shares).abs() - 1).square()).tolist()
    assert training.interpolation_errors(drawn).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("latent", LAYOUTS)
def test_only_the_decoder_learns_from_interpolated_codes(latent):
    config = place_codes(CONFIG, latent)
    training = start(dataclasses.replace(SETTINGS, points=64, interpolation=1.0), config=config)
    training.interpolation_errors(training.draw(0)).sum().backward()
    assert training.codes.grad is None
    assert all(matrix.grad.abs().sum() > 0 for matrix in training.decoder.matrices)
    assert np.isfinite(training.step())


def test_the_code_penalty_grows_linearly_over_its_ramp():
    training = start(dataclasses.replace(SETTINGS, code_penalty=1.0, penalty_ramp=4, code_std=1.0))
    full = training.codes.square().sum(dim=1).mean().item()
    charged = []
    for step in range(6):
        training.steps_taken = step
        charged.append(training.draw_codes(training.draw(step))[1].mean().item() / full)
    assert charged == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_noise_on_codes_is_relative_to_their_standard_deviation():
    training = start(dataclasses.replace(SETTINGS, latent_noise=0.5, code_std=2.0))
    drawn = training.draw(0)
    rows, noise = torch.tensor([0, 1]).repeat(5000), torch.randn(10_000, CONFIG.code)
    moved = training.draw_codes(drawn._replace(rows=rows, noise=noise))[0] - training.codes[rows]
    assert drawn.noise.shape == (2, CONFIG.code)
    assert moved.std().item() == pytest.approx(0.5 * training.codes.std().item(), rel=0.02)


def test_standard_normal_codes_have_a_divergence_of_0():
    training = start(dataclasses.replace(SETTINGS, kl=2.0))
    with torch.no_grad():
        training.codes.zero_()
        training.log_std.zero_()
    assert training.draw_codes(training.draw(0))[1].tolist() == pytest.approx([0, 0], abs=1e-6)
    with torch.no_grad():
        training.codes.fill_(1.0)
    assert training.draw_codes(training.draw(0))[1].tolist() == pytest.approx(2 * [2.0 * 0.5 * CONFIG.code])


@pytest.mark.parametrize(("ema_decay", "matrix_lr"), [(0.0, 0.03), (0.99, 0.03), (0.99, None)])
def test_a_resumed_run_is_bit_identical(ema_decay, matrix_lr):
    settings = dataclasses.replace(SETTINGS, ema_decay=ema_decay, matrix_lr=matrix_lr, shapes=1)
    straight = start(settings)
    for _ in range(5):
        straight.step()
    state = straight.state()
    resumed = start(settings, seed=99)
    resumed.load_state(state)
    assert [straight.step() for _ in range(5)] == [resumed.step() for _ in range(5)]
    first, second = straight.state(), resumed.state()
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_a_state_consists_of_copied_numpy_arrays():
    training = start()
    state = training.state()
    kept = {key: array.copy() for key, array in state.items()}
    training.step()
    assert all(type(array) is np.ndarray and array.dtype != object for array in state.values())
    assert all(np.array_equal(state[key], kept[key]) for key in state)


def test_a_state_can_be_taken_before_the_first_step():
    straight, resumed = start(), start(seed=5)
    resumed.load_state(straight.state())
    assert [straight.step() for _ in range(3)] == [resumed.step() for _ in range(3)]


def test_a_state_of_other_shapes_is_refused():
    three = tuple(np.concatenate([part, part[:1]]) for part in TWO)
    with pytest.raises(
        InputError, match=r"^training state: parameters/code has shape \(2, 8\), but .* \(3, 8\); resume"
    ):
        start(arrays=three).load_state(start().state())


def test_equal_seeds_give_equal_runs_and_different_seeds_differ():
    first, second, other = start(), start(), start(seed=1)
    losses = [[training.step() for _ in range(3)] for training in (first, second, other)]
    assert losses[0] == losses[1] != losses[2]


def test_chunks_do_not_change_the_step():
    whole, parts = start(), start(dataclasses.replace(SETTINGS, chunk=200))
    assert [whole.step() for _ in range(3)] == pytest.approx([parts.step() for _ in range(3)], rel=1e-4)


@pytest.mark.parametrize("near", [0.0, 0.25, 1.0])
def test_a_step_draws_the_requested_share_near_the_surface(near):
    points, distances, _ = TWO
    # Mark by place, so that the draw itself can be read back: near samples lie at x = 5, the others at x = 7.
    marked = np.arange(points.shape[1])[None].repeat(2, axis=0) % 3 == 0
    points = np.where(marked[..., None], np.float32(5), np.float32(7)) * np.ones_like(points)
    training = start(dataclasses.replace(SETTINGS, near=near), (points, distances, marked))
    drawn = training.draw(0).points
    assert (drawn[..., 0] == 5).sum(dim=1).tolist() == [near * SETTINGS.points] * 2


def test_drawn_points_keep_their_distances_and_shapes():
    rows, drawn, drawn_distances, *_ = start().draw(0)
    for row, own, own_distances in zip(rows, drawn, drawn_distances, strict=True):
        field = (sphere, torus)[int(row)]
        assert np.allclose(field(own.numpy()), own_distances, atol=1e-6)


def test_distances_are_clamped_in_the_loss():
    points, distances, near = TWO
    far = np.where(np.abs(distances) > 0.3, 100 * distances, distances)
    settings = dataclasses.replace(SETTINGS, first_clamp=0.3, clamp=0.3)
    tame, wild = start(settings), start(settings, (points, far, near))
    assert [tame.step() for _ in range(3)] == [wild.step() for _ in range(3)]


def test_the_clamp_decreases_geometrically_in_the_first_half():
    settings = dataclasses.replace(SETTINGS, steps=8, first_clamp=1.6, clamp=0.1)
    assert [settings.clamp_at(step) for step in range(9)] == pytest.approx([1.6, 0.8, 0.4, 0.2] + [0.1] * 5)


def test_a_step_on_some_shapes_changes_only_their_codes():
    training = start(dataclasses.replace(SETTINGS, shapes=1))
    before = training.codes.detach().clone()
    training.step()
    assert (training.codes.detach() != before).any(dim=1).sum() == 1


def test_permuting_shapes_permutes_errors():
    decoder, codes = start().result()
    points, distances = torch.from_numpy(TWO[0]), torch.from_numpy(TWO[1])
    errors = decoder_errors(decoder, codes, points, distances, [np.inf], 512)[:, 0]
    swapped = decoder_errors(decoder, codes.flip(0), points.flip(0), distances.flip(0), [np.inf], 512)[:, 0]
    assert torch.allclose(errors.flip(0), swapped, atol=1e-6)
    whole = (decoder(codes, points) - distances).abs().mean(dim=1)
    assert torch.allclose(errors, whole, atol=1e-6)


def test_steps_run_the_compiled_decoder(monkeypatch):
    """`torch.compile` is replaced by a stub: it needs a C++ compiler, and cannot trace the type checks of the tests."""
    asked = []

    def stub(decoder):
        return lambda *arguments: asked.append(arguments[1].shape) or decoder(*arguments)

    monkeypatch.setattr(torch, "compile", stub)
    plain, compiled = start(), start()
    compiled.compile()
    assert compiled.step() == plain.step() and asked == [(2, SETTINGS.points, 3)]


def test_errors_beyond_the_clamp_have_no_effect():
    decoder, codes = start().result()
    points = torch.from_numpy(TWO[0])
    learned = decoder(codes, points).detach()
    distances = learned.sign() * (learned.abs() + 3)
    full, clamped = decoder_errors(decoder, codes, points, distances, [np.inf, 0.01], 512).T
    assert torch.allclose(full, torch.full((2,), 3.0)) and torch.all(clamped < 0.01)


def test_the_mean_cosine_of_codes_agrees_with_a_closed_form():
    # Each direction is perpendicular to two others and opposite to the third: (0 + 0 - 1) / 3.
    codes = torch.tensor([[1.0, 0], [0, 2], [-3, 0], [0, -4]])
    assert mean_cosine(codes) == pytest.approx(-1 / 3)
    assert mean_cosine(codes[:1]) == pytest.approx(0, abs=1e-6)


def test_a_non_finite_loss_is_reported_with_step_and_shape():
    training = start()
    training.step()
    with torch.no_grad():
        training.codes[1] = np.nan
    with pytest.raises(SdfkitError, match=r"^shape_1: the loss at step 1 is nan; lower the learning rate$"):
        training.step()


def test_streamed_samples_give_the_same_training():
    settings = dataclasses.replace(SETTINGS, points=256, shapes=1)
    reads, whole = [], []
    streamed = start(settings, window=1000, memory=4 * 16_000, reads=reads)
    held = start(settings, window=1000, reads=whole)
    assert not streamed.samples.in_memory and held.samples.in_memory
    assert not reads and whole == [(row, 0, TWO[0].shape[1]) for row in (0, 1)]
    assert [streamed.step() for _ in range(40)] == [held.step() for _ in range(40)]
    # One window per step; the last four are kept in memory.
    assert 10 <= len(reads) <= 43
    assert all(
        np.array_equal(a, b)
        for a, b in zip(
            *(vars(measure_decoder(run, 4_000, 0.1)).values() for run in (streamed, held)), strict=True
        )
    )


def test_a_resumed_run_with_streamed_samples_is_bit_identical():
    settings = dataclasses.replace(SETTINGS, points=256, shapes=1, latent_noise=0.1, interpolation=0.1)
    options = {"window": 500, "memory": 3 * 8_000}
    straight = start(settings, **options)
    for _ in range(7):
        straight.step()
    resumed = start(settings, seed=99, **options)
    resumed.step()
    resumed.load_state(straight.state())
    assert [straight.step() for _ in range(9)] == [resumed.step() for _ in range(9)]
    first, second = straight.state(), resumed.state()
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_each_step_draws_from_one_window_and_all_windows_are_used():
    settings = dataclasses.replace(SETTINGS, points=100)
    training = start(settings, window=1000)
    read, asked = training.samples.window, []
    training.samples.window = lambda row, index: asked.append((row, index)) or read(row, index)
    for step in range(400):
        training.draw(step)
    assert len(asked) == 400 * min(settings.shapes, 2)
    assert set(asked) == {(row, index) for row in (0, 1) for index in range(training.samples.windows)}


def test_draws_depend_only_on_seed_and_step():
    first, second = start(), start()
    second.step()
    assert all(torch.equal(a, b) for a, b in zip(first.draw(5)[:3], second.draw(5)[:3], strict=True))
    assert not torch.equal(first.draw(5).points, first.draw(6).points)
    assert not torch.equal(first.draw(1).points, start(seed=1).draw(0).points)


def test_unreadable_samples_stop_the_run():
    points, distances, near = TWO
    broken = distances.copy()
    broken[1, 999] = np.inf
    training = start(arrays=(points, broken, near), window=500, memory=0)
    with pytest.raises(InputError, match="^shape_1: a point or distance is not a finite number"):
        for step in range(400):
            training.draw(step)


def test_recipes_have_the_names_of_network_presets():
    assert RECIPES.keys() == PRESETS.keys()
