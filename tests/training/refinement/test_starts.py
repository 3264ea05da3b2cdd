"""Choice of training codes by their silhouettes on a coarse grid."""

import torch

from sdfkit.training.refinement.descent import draw_fixed_rays
from sdfkit.training.refinement.refiner import CodeRefiner
from sdfkit.training.refinement.starts import CoarseFields
from tests.training.refinement.balls import decode_balls, see_balls

CODES = torch.tensor([[r, x, 0.0, 0.0] for r in (-2.0, 0.0, 2.0) for x in (-2.0, 0.0, 2.0)])


def test_the_shape_in_the_images_has_the_smallest_loss():
    fields = CoarseFields(decode_balls, CODES, 20)
    pictures = see_balls(CODES, 3)
    rays = draw_fixed_rays(pictures, torch.arange(len(CODES)), 192, edge=1.0)
    losses = fields.compare(rays, 24, 0.02)
    assert losses.argmin(dim=1).tolist() == list(range(len(CODES)))


def test_fields_are_interpolated_linearly():
    def decode_plane(codes, points):
        return points @ torch.tensor([0.3, -0.2, 0.5]) + codes[:, :1]

    fields = CoarseFields(decode_plane, CODES[:2], 10)
    points = 0.5 * torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(
        fields._interpolate(points), decode_plane(CODES[:2], points[None].expand(2, -1, -1)), atol=1e-5
    )


def test_the_refiner_finds_shapes_between_the_training_codes():
    true = torch.tensor([[1.1, 0.8, 0.0, 0.0], [-1.0, -1.0, 0.0, 0.0]])
    refiner = CodeRefiner(decode_balls, CODES)
    generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
    found, overlaps = refiner.refine(see_balls(true, 4), None, generators)
    assert (found - true).abs().max() < 0.3 and (overlaps > 0.9).all()
