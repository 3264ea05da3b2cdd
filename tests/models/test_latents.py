import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from sdfkit.models.deepsdf import PRESETS, DeepSDF, DeepSDFConfig, place_codes, slope_errors
from sdfkit.models.fields import field_normals, fields_of_codes
from sdfkit.models.latents import LAYOUTS, LatentLayout, PlacedFeatures, interpolate

LAYOUTS_SMALL = [
    LatentLayout("grid", 0, resolution=6, channels=2, hidden=4, features=3, upsamplings=1),
    LatentLayout("grid", 2, resolution=6, channels=2, hidden=4, features=3, upsamplings=2),
    LatentLayout("triplane", 0, resolution=4, channels=2, hidden=4, features=3, upsamplings=1),
    LatentLayout("triplane", 3, resolution=4, channels=1, hidden=4, features=2, upsamplings=0),
]


def small_decoder(layout, activation="relu"):
    config = DeepSDFConfig(
        layout.code, bands=2, hidden=16, layers=4, skip=2, activation=activation, layout=layout
    )
    return DeepSDF(config)


@pytest.mark.parametrize("axes", [2, 3])
def test_interpolation_agrees_with_that_of_torch(axes):
    torch.manual_seed(0)
    values, points = torch.rand(2, 5**axes, 3), 2.6 * torch.rand(2, 40, axes) - 1.3
    grid = values.view(2, *[5] * axes, 3).movedim(-1, 1)
    places = points.flip(-1).reshape(2, *[1] * (axes - 1), 40, axes)
    known = F.grid_sample(grid, places, padding_mode="border", align_corners=True)
    assert torch.allclose(interpolate(values, points, 5), known.reshape(2, 3, 40).mT, atol=1e-6)


def test_nodes_and_the_corners_of_the_cube_have_their_values():
    values, axis = torch.rand(1, 27, 2), torch.linspace(-1, 1, 3)
    assert torch.allclose(interpolate(values, torch.cartesian_prod(axis, axis, axis)[None], 3), values)


@pytest.mark.parametrize("layout", LAYOUTS_SMALL)
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_gradients_of_points_agree_with_finite_differences(layout, activation):
    torch.manual_seed(0)
    decoder = small_decoder(layout, activation).double()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter *= 2
    codes = torch.randn(2, layout.code).double()
    points = (1.9 * torch.rand(2, 50, 3) - 0.95).double().requires_grad_()
    (gradient,) = torch.autograd.grad(decoder(codes, points).sum(), points)
    step = 1e-7
    with torch.no_grad():
        known = torch.stack(
            [
                (decoder(codes, points + offset) - decoder(codes, points - offset)) / (2 * step)
                for offset in step * torch.eye(3, dtype=torch.double)
            ],
            dim=-1,
        )
    # Where a point is within a step of a face of a cell or of a kink of ReLU, the difference lies between two slopes.
    agree = (gradient - known).abs().amax(-1) < 1e-5 * (1 + known.abs().amax(-1))
    assert agree.float().mean() > 0.97 and gradient.abs().mean() > 1e-3


def test_normals_of_a_decoder_with_places_are_its_gradients():
    decoder = small_decoder(LAYOUTS_SMALL[1]).requires_grad_(False)
    code, points = torch.randn(decoder.config.code), 2 * torch.rand(30, 3) - 1
    here = points.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(decoder(code[None], here[None]).sum(), here)
    normals = field_normals(fields_of_codes(decoder).of(code), points, 7)
    assert torch.allclose(normals, F.normalize(gradient, dim=1), atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS_SMALL)
def test_every_parameter_and_number_of_a_code_has_a_gradient_also_of_the_slope(layout):
    torch.manual_seed(0)
    decoder = small_decoder(layout, "silu")
    codes = torch.randn(2, layout.code, requires_grad=True)
    points = 2 * torch.rand(2, 400, 3) - 1
    decoder(codes, points).sum().backward()
    gradients = [codes.grad, *(parameter.grad for parameter in decoder.parameters())]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
    assert (codes.grad != 0).all()
    codes.grad = None
    slope_errors(decoder, codes, points).sum().backward()
    assert (codes.grad != 0).all()


@pytest.mark.parametrize("kind", ["grid", "triplane"])
def test_a_place_changes_the_features_near_it_alone(kind):
    """With one upsampling, a number changes features within two places of its own, in the order of `LatentLayout`."""
    layout = LatentLayout(kind, 0, resolution=6, channels=2, hidden=16, features=3, upsamplings=1)
    network = PlacedFeatures(layout)
    axes = len(layout.axes[0])
    for plane, place in itertools.product(range(len(layout.axes)), ((0,) * axes, (5, *(2,) * (axes - 1)))):
        numbers = torch.zeros(len(layout.axes), *[3] * axes, *[2] * axes, 2)
        before = network(numbers.flatten()[None])
        numbers[(plane, *(value // 2 for value in place), *(value % 2 for value in place))] = 1
        moved = (network(numbers.flatten()[None]) - before).view(len(layout.axes), *[12] * axes, 3)
        changed = moved.abs().sum(-1).nonzero()
        centre = 2 * torch.tensor(place) + 0.5
        assert len(changed) and (changed[:, 0] == plane).all()
        assert ((changed[:, 1:] - centre).abs() <= 4.5).all()
        assert moved.abs().sum(-1)[(plane, *(2 * value for value in place))] > 0


@pytest.mark.parametrize("layout", LAYOUTS_SMALL)
def test_permuting_shapes_permutes_distances(layout):
    decoder, order = small_decoder(layout), torch.tensor([2, 0, 1])
    codes, points = torch.randn(3, layout.code), 2 * torch.rand(3, 9, 3) - 1
    assert torch.allclose(decoder(codes[order], points[order]), decoder(codes, points)[order], atol=1e-6)


@pytest.mark.parametrize("layout", [*LAYOUTS_SMALL, *filter(None, LAYOUTS.values())])
def test_tokens_cover_a_code(layout):
    assert sum(layout.tokens) == layout.code
    assert len(layout.tokens) == layout.places // 2 ** len(layout.axes[0]) + (layout.shared > 0)


@pytest.mark.parametrize(
    ("preset", "latent", "parameters"),
    [
        ("small", "grid", 94_001),
        ("small", "triplane", 94_961),
        ("small", "hybrid", 98_097),
        ("512x8", "grid", 513_201),
    ],
)
def test_decoders_of_codes_with_places_have_the_documented_number_of_parameters(preset, latent, parameters):
    with torch.device("meta"):
        decoder = DeepSDF(place_codes(PRESETS[preset], latent))
    assert sum(parameter.numel() for parameter in decoder.parameters()) == parameters


def test_codes_of_another_length_than_their_layout_are_refused():
    config = replace(place_codes(PRESETS["small"], "grid"), code=64)
    with pytest.raises(ValueError, match=r"^codes have 64 numbers, but their layout has \d+$"):
        DeepSDF(config)
