import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig
from sdfkit.models.fields import (
    field_normals,
    fields_of_codes,
    fields_of_grids,
    fields_of_weights,
    smooth_maximum,
)
from sdfkit.models.layers import MLPConfig, count_parameters
from sdfkit.models.mlp import MLPs, draw_weights

DECODER = DeepSDFConfig(code=5, bands=2, hidden=16, layers=4, skip=2, activation="relu")
SHAPE = MLPConfig(kind="siren", bands=0, hidden=6, layers=2, frequency=30.0)


def test_the_field_of_a_code_is_evaluated_by_the_decoder():
    decoder, code, points = DeepSDF(DECODER), torch.randn(5), torch.rand(1, 7, 3)
    fields = fields_of_codes(decoder)
    assert fields.width == 5
    assert torch.allclose(fields.of(code)(points), decoder(code[None], points), atol=1e-6)


def test_the_field_of_a_weight_vector_is_its_network():
    weights = draw_weights(SHAPE, 1, torch.Generator().manual_seed(0))
    fields, points = fields_of_weights(SHAPE), torch.rand(1, 7, 3)
    assert fields.width == count_parameters(SHAPE)
    assert torch.allclose(fields.of(weights[0])(points), MLPs(SHAPE, weights)(points), atol=1e-6)


def test_the_field_of_a_grid_interpolates_it():
    slope, axis = torch.tensor([1.0, -2.0, 3.0]), torch.linspace(-1, 1, 4)
    nodes = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    fields, points = fields_of_grids(4), 2 * torch.rand(1, 30, 3) - 1
    assert fields.width == 4
    # A linear function is interpolated exactly, and a node has its value.
    assert torch.allclose(fields.of(nodes @ slope)(points), points @ slope, atol=1e-5)
    values = torch.rand(4, 4, 4)
    assert torch.allclose(fields.of(values)(nodes.reshape(1, -1, 3)), values.reshape(1, -1), atol=1e-5)
    # Between two nodes along an axis, the value is between theirs.
    half = (nodes[:-1] + nodes[1:]).reshape(1, -1, 3) / 2
    assert torch.allclose(fields.of(values)(half)[0], (values[:-1] + values[1:]).reshape(-1) / 2, atol=1e-5)


def test_normals_are_the_directions_of_the_gradient():
    def ellipsoid(points):
        return (points * torch.tensor([1.0, 2.0, 3.0])).norm(dim=-1) - 0.5

    points = torch.from_numpy(np.random.default_rng(0).normal(size=(100, 3)))
    expected = points * torch.tensor([1.0, 4.0, 9.0])
    normals = field_normals(ellipsoid, points, 7)
    assert torch.allclose(normals, expected / expected.norm(dim=1, keepdim=True), atol=1e-12)
    assert torch.equal(field_normals(lambda points: 0 * points[..., 0], points, 7), torch.zeros_like(points))


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(1e-3, 0.5))
def test_the_smooth_maximum_exceeds_the_maximum_by_a_quarter_of_its_width_at_most(first, second, width):
    one, other = torch.tensor([first]), torch.tensor([second])
    excess = float(smooth_maximum(one, other, width) - torch.maximum(one, other))
    assert -1e-6 < excess <= width / 4 + 1e-6
    assert torch.equal(smooth_maximum(one, other, width), smooth_maximum(other, one, width))
    if abs(first - second) > width:
        assert excess == 0
