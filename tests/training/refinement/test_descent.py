"""Refinement of codes by a decoder of balls, whose silhouettes are known exactly."""

from dataclasses import replace

import pytest
import torch

from sdfkit.errors import SdfkitError
from sdfkit.training.refinement.descent import CodePrior, Refinement, RefinementSettings
from tests.training.refinement.balls import decode_balls, see_balls

SETTINGS = RefinementSettings(
    steps=60, rays=96, checked=192, edge=4.0, samples=8, rounds=3, refine=2, reuse=2, first_temperature=0.05,
    temperature=0.005, lr=0.2, prior=1e-6, narrow=15, interval=10, patience=2, least=0.01,
)  # fmt: skip
# Radii 0.62 and 0.35, off-centre.
TRUE = torch.tensor([[1.2, -1.0, 0.5, 1.5], [-1.5, 0.5, 1.0, -0.5]])


def seeded(count):
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def known_codes(count=200):
    return 1.5 * torch.randn(count, 4, generator=torch.Generator().manual_seed(5))


def refine(codes, starts, views=4, settings=SETTINGS, generators=None, decode=decode_balls, prepare=None):
    refinement = Refinement(
        decode, CodePrior(known_codes()), see_balls(codes, views), starts, settings,
        generators or seeded(len(codes)), prepare,
    )  # fmt: skip
    while not refinement.finished:
        refinement.step()
    return refinement


def test_radius_and_centre_are_found_from_the_mean():
    refinement = refine(TRUE, torch.zeros(2, 1, 4))
    found = refinement.result()
    # Radii within 0.01, centres within 0.015: a third and half of a pixel.
    assert (found - TRUE).abs()[:, 0].max() < 0.1 and (found - TRUE).abs().max() < 0.15
    assert (refinement.measure_overlap(found) > 0.96).all()
    assert (refinement.measure_overlap(torch.zeros(2, 4)) < 0.8).all()


def test_codes_are_prepared_for_the_decoder():
    def decode(prepared, points):
        assert prepared.shape[1] == 8
        return decode_balls(prepared[:, 4:], points)

    refinement = refine(
        TRUE, torch.zeros(2, 1, 4), decode=decode, prepare=lambda codes: torch.cat([0 * codes, codes], dim=1)
    )
    assert torch.equal(refinement.result(), refine(TRUE, torch.zeros(2, 1, 4)).result())


def test_one_view_leaves_depth_to_the_prior():
    strong = replace(SETTINGS, prior=1e-4)
    code = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    pictures = see_balls(code, 1)
    towards = pictures.cameras[0, 0, :3, 2]
    found = refine(code, torch.tensor([[[0.0, 0.5, -0.5, 0.5]]]), views=1, settings=strong).result()[0]
    across = found[1:] - (found[1:] @ towards) * towards
    assert across.norm() < 0.15
    # A nearer ball must be smaller: its outline keeps its angle.
    distance = 2.5 - 0.1 * float(found[1:] @ towards)
    assert abs((0.5 + 0.1 * float(found[0])) / distance - 0.6 / 2.5) < 0.005


def test_a_strong_prior_keeps_the_mean():
    prior = CodePrior(known_codes())
    found = refine(TRUE, torch.zeros(2, 1, 4), settings=replace(SETTINGS, prior=10.0)).result()
    assert torch.allclose(found, prior.mean.expand(2, 4), atol=0.1)


def test_the_best_start_is_kept():
    starts = torch.stack([torch.zeros_like(TRUE), TRUE, -TRUE], dim=1)
    refinement = refine(TRUE, starts, settings=replace(SETTINGS, steps=4, narrow=2, interval=1))
    assert (refinement.result() - TRUE).abs().max() < 0.15
    # After `narrow` steps only the second start of each shape has moved.
    continued = refinement.moments[1].view(2, 3, 4).sum(dim=2)
    assert (continued.argmax(dim=1) >= 0).all() and refinement.active.view(2, 3)[:, [0, 2]].sum() == 0


def test_nothing_gets_worse_than_its_best_start():
    starts = torch.stack([TRUE, torch.zeros_like(TRUE)], dim=1)
    before = Refinement(
        decode_balls, CodePrior(known_codes()), see_balls(TRUE, 4), starts, SETTINGS, seeded(2)
    ).losses
    after = refine(TRUE, starts, settings=replace(SETTINGS, lr=5.0)).losses
    assert (after <= before).all()


def test_shapes_that_no_longer_improve_are_finished():
    fitted = refine(TRUE, TRUE[:, None], settings=replace(SETTINGS, steps=500))
    assert fitted.steps_taken < 100 and fitted.finished
    assert refine(TRUE, torch.zeros(2, 1, 4), settings=replace(SETTINGS, patience=100)).steps_taken == 60


def test_a_result_does_not_depend_on_the_shapes_beside_it():
    together = refine(TRUE, torch.zeros(2, 1, 4)).result()
    alone = refine(TRUE[1:], torch.zeros(1, 1, 4), generators=seeded(2)[1:]).result()
    assert torch.allclose(together[1:], alone, atol=1e-3)


def test_a_loss_that_is_not_finite_is_an_error():
    refinement = Refinement(
        decode_balls, CodePrior(known_codes()), see_balls(TRUE, 2), torch.zeros(2, 1, 4), SETTINGS, seeded(2)
    )
    refinement.white.fill_(torch.nan)
    with pytest.raises(SdfkitError, match="the loss of the refinement is not finite"):
        refinement.step()


def test_whitened_codes_have_unit_variance_and_can_be_undone():
    codes = known_codes(5000) @ torch.tensor([[2.0, 0, 0, 0], [1, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, -1, 3]])
    prior = CodePrior(codes)
    white = prior.whiten(codes)
    assert torch.allclose(prior.color(white), codes, atol=1e-4)
    assert torch.allclose(white.T @ white / 5000, torch.eye(4), atol=0.01)
    assert torch.allclose(prior.whiten(codes.view(50, 100, 4)), white.view(50, 100, 4))


def test_a_prior_of_fewer_codes_than_numbers_is_finite():
    prior = CodePrior(known_codes(2).repeat(1, 16))
    assert prior.whiten(known_codes(2).repeat(1, 16)).isfinite().all()
