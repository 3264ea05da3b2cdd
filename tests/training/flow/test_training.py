"""Flow-SDF trained on silhouettes of balls: their radii, the stages, and resuming."""

import dataclasses

import numpy as np
import pytest
import torch

from sdfkit.errors import InputError, SdfkitError
from sdfkit.evaluation.silhouettes import measure_silhouettes
from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.silhouettes import mask_distances
from sdfkit.models.deepsdf import DeepSDFConfig
from sdfkit.models.flow import SIZE, FlowConfig
from sdfkit.models.latents import LatentLayout
from sdfkit.models.rendering.silhouette import cast_rays
from sdfkit.training.flow.pictures import Pictures, choose_rays
from sdfkit.training.flow.recipes import RECIPES, STAGES
from sdfkit.training.flow.training import FlowTraining
from sdfkit.training.run import open_device_context

RADII, VIEWS = (0.3, 0.45, 0.6, 0.75), 6
CONFIG = FlowConfig(
    code=4, channels=(4, 8, 8, 8), hidden=16, feature=None, patches=1, velocity="mlp", width=32, blocks=2
)
DECODER = DeepSDFConfig(code=4, bands=0, hidden=32, layers=3, skip=1, activation="silu")
SETTINGS = dataclasses.replace(
    RECIPES["small"], steps={"encoder": 300, "distil": 250, "joint": 6, "rgb": 6}, sphere=30, shapes=4, views=1,
    rays=48, batch=16, temperature=0.02, decoder_lr=3e-3, conditioner_lr=2e-3, flow_lr=3e-3,
)  # fmt: skip
UIDS = [f"ball_{radius}" for radius in RADII]
CPU = open_device_context("cpu", "fp32")
LIGHTS = [[0.0, 0.0, 1.0]]


def draw_balls():
    """Masks and shaded images of balls around the origin, computed from the rays and lit from the camera."""
    cameras = torch.from_numpy(fibonacci_cameras(VIEWS, 2.5))
    yfov = torch.full((VIEWS,), np.pi / 3)
    origins, directions = cast_rays(cameras, yfov, SIZE, SIZE, None)
    nearest = torch.linalg.cross(origins[:, None].expand_as(directions), directions).norm(dim=2)
    masks = torch.stack([nearest < radius for radius in RADII])
    facing = torch.stack([(1 - (nearest / radius).square()).clamp(min=0).sqrt() for radius in RADII])
    rgb = (255 * (0.8 * facing * masks) ** (1 / 2.2)).round().byte()
    masks = masks.view(len(RADII), VIEWS, SIZE, SIZE)
    return Pictures(
        rgb.view(*masks.shape, 1).expand(-1, -1, -1, -1, 3), rgb.view(*masks.shape), masks,
        torch.stack([torch.from_numpy(mask_distances(mask.numpy())) for mask in masks]),
        cameras.expand(len(RADII), -1, -1, -1), yfov.expand(len(RADII), -1), None,
    )  # fmt: skip


BALLS = draw_balls()


def start(settings=SETTINGS, stages=STAGES, pictures=BALLS, config=CONFIG, seed=0, decoder=DECODER):
    generator = torch.Generator().manual_seed(seed)
    return FlowTraining(config, decoder, settings, stages, LIGHTS, UIDS, pictures, CPU, generator)


def parameters(training):
    return {name: tensor.detach().numpy().copy() for name, tensor in training.tensors.items()}


def radii(training, codes):
    """Return where the field of each code crosses zero, along an axis along which no camera looks."""
    along = torch.linspace(0, 1, 400)[:, None] * torch.nn.functional.normalize(
        torch.tensor([1.0, 0.3, 0.7]), dim=0
    )
    with torch.no_grad():
        inside = training.networks.decoder(codes, along.expand(len(codes), -1, -1)) < 0
    return inside.float().mean(dim=1).numpy()


@pytest.fixture(scope="module")
def encoded():
    training = start(stages=["encoder"])
    for _ in range(training.steps):
        training.step()
    return training


@pytest.fixture(scope="module")
def distilled(encoded):
    training = start(stages=["distil"])
    training.load_networks(parameters(encoded))
    for _ in range(training.steps):
        training.step()
    return training


@pytest.mark.slow
def test_radii_of_balls_are_learned_from_silhouettes_alone(encoded):
    found = radii(encoded, encoded.result())
    assert np.abs(found - RADII).max() < 0.05
    judged = measure_silhouettes(encoded, BALLS, VIEWS)
    assert judged.overlap > 0.95 and judged.loss < 0.03
    assert judged.temperature == SETTINGS.temperature


@pytest.mark.slow
def test_the_flow_learns_the_encoders_codes_at_their_scale(encoded, distilled):
    codes, drawn = encoded.result(), distilled.result()
    flow = distilled.networks.flow
    assert flow.spread.item() == pytest.approx(
        encoded.encode_all().flatten(0, 1).var(dim=0, correction=0).mean().sqrt().item()
    )
    spread = (codes - codes.mean(dim=0)).square().sum()
    assert (drawn - codes).square().sum() < 0.1 * spread
    assert np.abs(radii(distilled, drawn) - RADII).max() < 0.08


@pytest.mark.slow
def test_unit_noise_without_standardisation_hides_the_codes(encoded, distilled):
    unit = start(dataclasses.replace(SETTINGS, code_scale=False), stages=["distil"])
    unit.load_networks(parameters(encoded))
    for _ in range(unit.steps):
        unit.step()
    assert unit.networks.flow.spread == 1 and not unit.networks.flow.mean.any()
    codes = encoded.result()
    worse, better = ((training.result() - codes).square().sum() for training in (unit, distilled))
    assert worse > 2 * better


@pytest.mark.slow
def test_joint_training_gives_every_network_a_gradient(distilled):
    training = start(stages=["joint"])
    training.load_networks(parameters(distilled))
    training.step()
    norms = training.gradient_norms()
    assert set(norms) == {"conditioner", "flow", "decoder"}
    assert min(norms.values()) > 0


@pytest.mark.slow
def test_shading_trains_the_light_and_the_decoder(distilled):
    training = start(stages=["rgb"])
    training.load_networks(parameters(distilled))
    before = training.networks.light.intensities.item()
    training.step()
    assert set(training.gradient_norms()) == {"conditioner", "flow", "decoder", "light"}
    assert min(training.gradient_norms().values()) > 0
    assert training.networks.light.intensities.item() > before  # 0.8 is correct, 0.3 initial


@pytest.mark.parametrize("stop", [3, 5, 6])
def test_resuming_within_and_between_stages_is_bit_identical(stop):
    short = dataclasses.replace(SETTINGS, steps=dict.fromkeys(STAGES, 4), sphere=2)
    whole = start(short)
    losses = [whole.step() for _ in range(10)]
    begun = start(short)
    for _ in range(stop):
        begun.step()
    again = start(short, seed=1)
    again.load_state(begun.state())
    assert [again.step() for _ in range(10 - stop)] == losses[stop:]


def test_stages_run_in_order():
    training = start(dataclasses.replace(SETTINGS, steps=dict.fromkeys(STAGES, 2), sphere=1))
    seen = []
    for _ in range(training.steps):
        seen.append(training.locate()[0])
        training.step()
    assert seen == [stage for stage in STAGES for _ in range(2)]
    assert training.locate() == ("rgb", 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"silhouette": "dt-bound"},
        {"exhaustive": True},
        {"dropout": 1.0},
        {"matrix_lr": None},
        {"sampling": 1.0, "draws": 1},
    ],
)
def test_training_works_with_other_settings(change):
    settings = dataclasses.replace(SETTINGS, steps=dict.fromkeys(STAGES, 3), sphere=1, **change)
    training = start(settings)
    before = parameters(training)
    assert np.isfinite([training.step() for _ in range(training.steps)]).all()
    after = parameters(training)
    assert all((before[name] != after[name]).any() for name in before if name.startswith("decoder."))


def test_codes_with_places_are_trained_in_all_stages():
    layout = LatentLayout("grid", 1, resolution=4, channels=1, hidden=4, features=3, upsamplings=1)
    config = dataclasses.replace(CONFIG, code=layout.code)
    decoder = dataclasses.replace(DECODER, code=layout.code, layout=layout)
    settings = dataclasses.replace(SETTINGS, steps=dict.fromkeys(STAGES, 2), sphere=1)
    training = start(settings, config=config, decoder=decoder)
    before = parameters(training)
    assert np.isfinite([training.step() for _ in range(training.steps)]).all()
    assert min(training.gradient_norms().values()) > 0
    after = parameters(training)
    assert all((before[name] != after[name]).any() for name in before if name.startswith("decoder."))
    assert training.result().shape == (len(RADII), layout.code)


def test_features_can_replace_images():
    features = torch.randn(len(RADII), 2, 3, 10)
    config = dataclasses.replace(CONFIG, feature=10, patches=3, velocity="dit", width=64)
    settings = dataclasses.replace(SETTINGS, steps=dict.fromkeys(STAGES, 2), sphere=1)
    training = start(settings, pictures=BALLS._replace(features=features), config=config)
    for _ in range(training.steps):
        training.step()
    assert training.result().shape == (len(RADII), CONFIG.code)


@pytest.mark.slow
def test_rays_are_drawn_more_often_near_the_outline(encoded):
    rows, views = torch.tensor([1]), torch.tensor([[0, 1]])
    chances = torch.rand(1, 2, 200, generator=torch.Generator().manual_seed(0))
    shares = []
    for edge in (1.0, 8.0):
        rays = choose_rays(BALLS, rows, views, chances, edge=edge)
        assert rays.origins.shape == (1, 400, 3)
        passing = torch.linalg.cross(rays.origins, rays.directions).norm(dim=2)
        # The mask agrees with the distance of the ray from the ball's centre, so rays and pixels match.
        assert torch.equal(rays.mask, passing < RADII[1]) and (passing < 1).all()
        shares.append(((passing - RADII[1]).abs() < 0.08).float().mean().item())
    assert shares[1] > 2 * shares[0]
    # As many rays as pixels: each pixel once.
    rays = choose_rays(BALLS, rows, views, torch.rand(1, 2, SIZE * SIZE), edge=8.0)
    assert torch.equal(rays.mask, BALLS.mask[1, :2].reshape(1, -1))


def test_images_are_encoded_in_the_requested_precision():
    settings = dataclasses.replace(SETTINGS, steps=dict.fromkeys(STAGES, 1), sphere=0)
    exact, coarse = (
        FlowTraining(
            CONFIG, DECODER, settings, STAGES, LIGHTS, UIDS, BALLS, open_device_context("cpu", precision),
            torch.Generator().manual_seed(0),
        )
        for precision in ("fp32", "bf16")
    )  # fmt: skip
    seen = torch.rand(3, 1, 3, SIZE, SIZE)
    codes = [training.make_codes("encoder", seen, torch.ones(3, 4)) for training in (exact, coarse)]
    assert codes[1].dtype == torch.float32
    assert 0 < (codes[0] - codes[1]).norm() < 0.02 * codes[0].norm()
    assert all(np.isfinite(coarse.step()) for _ in range(coarse.steps))


def test_a_non_finite_loss_is_reported_with_step_and_shape():
    cameras = BALLS.cameras.clone()
    cameras[2] = torch.nan
    training = start(
        dataclasses.replace(SETTINGS, sphere=0), pictures=BALLS._replace(cameras=cameras), stages=["encoder"]
    )
    with pytest.raises(SdfkitError, match=r"ball_0.6: the loss at step 0 is nan; lower the learning rate"):
        training.step()


def test_a_state_of_other_networks_is_refused():
    other = start(config=dataclasses.replace(CONFIG, hidden=8))
    other.step()
    with pytest.raises(InputError, match="has shape"):
        start().load_state(other.state())
