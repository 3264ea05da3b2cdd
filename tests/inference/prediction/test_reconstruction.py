"""Grids of distances from a network: where they are exact, and which training shapes the network gets."""

import numpy as np
import torch

from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.inference.prediction.reconstruction import BANDS, CELLS, Reconstructor, fill_grid
from sdfkit.io.stores.contents.posed_views import prepare_views
from sdfkit.models.recon.neighbours import Library
from sdfkit.models.recon.network import Recon
from sdfkit.models.recon.posed_views import PosedViews
from tests.training.balls import CENTRES, CONFIG, RADII, arrays_of, ball_grid


def test_a_grid_is_exact_near_the_surface_and_interpolated_elsewhere():
    evaluated = []

    def distance(points):
        assert points.dtype == np.float32 and np.abs(points).max() <= 1
        evaluated.append(len(points))
        return np.linalg.norm(points, axis=1) - np.float32(0.5)

    values = fill_grid(distance)
    truth = ball_grid(np.zeros(3), 0.5, CELLS + 1)
    assert values.shape == truth.shape and values.dtype == np.float32
    error = np.abs(values - truth)
    spacing = 2 * 2 ** len(BANDS) / CELLS  # of the coarsest grid
    # Beyond 0.2 from the centre, the sum of the second derivatives is at most 2 / 0.2, and the error of linear
    # interpolation at most an eighth of it times the squared spacing.
    bound = spacing**2 / 8 * 2 / 0.2
    assert error[np.abs(truth) < BANDS[-1] - bound].max() < 1e-6
    assert error[truth > -0.3].max() <= bound and error.max() <= spacing
    assert (np.sign(values) == np.sign(truth))[np.abs(truth) > 1e-6].all()
    assert sum(evaluated) < (CELLS + 1) ** 3 / 3


def make_reconstructor():
    grids = np.stack([ball_grid(*ball) for ball in zip(CENTRES, RADII, strict=True)]).astype(np.float16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Recon(CONFIG).eval()
    return Reconstructor("recon.zarr", network, Library(torch.from_numpy(grids)), {}, [])


def draw(model, centre, radius, cameras, order=slice(None), average=1):
    arrays = prepare_views(arrays_of(centre, radius, cameras[order]), CONFIG.size)._asdict()
    (found,) = model.draw(arrays, torch.Generator(), samples=1, cells=CELLS, average=average)
    return found["grid"]


def test_a_prediction_is_a_grid_within_the_visual_hull_and_not_random():
    model, cameras = make_reconstructor(), fibonacci_cameras(5, 2.5)
    grid = draw(model, CENTRES[1], RADII[1], cameras)
    name, shape, axes = model.array
    assert (name, axes) == ("grid", ("x", "y", "z")) and grid.shape == shape
    assert np.isfinite(grid).all()
    assert np.array_equal(grid, draw(model, CENTRES[1], RADII[1], cameras))
    # The order of views changes only the rounding; nothing far outside the ball is inside the prediction.
    assert np.allclose(grid, draw(model, CENTRES[1], RADII[1], cameras, slice(None, None, -1)), atol=1e-4)
    assert (grid[ball_grid(CENTRES[1], RADII[1], CELLS + 1) > 0.4] > 0).all()


def test_an_average_does_not_change_with_the_frame_over_whose_turns_it_is_taken():
    model, cameras = make_reconstructor(), fibonacci_cameras(3, 2.5)
    # Without training shapes, which are in one frame only, nothing else tells the frames apart.
    object.__setattr__(model, "library", Library(torch.zeros_like(model.library.grids)))
    half_turn, mirror = np.diag([-1, 1, -1, 1.0]), np.diag([-1, 1, 1, 1.0])

    def differences(average):
        grid = draw(model, CENTRES[1], RADII[1], cameras, average=average)
        turned = draw(model, half_turn[:3, :3] @ CENTRES[1], RADII[1], half_turn @ cameras, average=average)
        # The camera of a mirrored image is the mirrored one, whose own x axis is reversed.
        mirrored = draw(
            model, mirror[:3, :3] @ CENTRES[1], RADII[1], mirror @ cameras @ mirror, average=average
        )
        inner = (slice(8, -8),) * 3  # all surfaces are inside
        return (
            np.abs(turned[::-1, :, ::-1] - grid)[inner].max(),
            np.abs(mirrored[::-1] - grid)[inner].max(),
        )

    one, two, four = map(differences, (1, 2, 4))
    assert min(*one, two[0]) > 0.002 and max(two[1], *four) < 0.0005


def test_the_network_gets_the_training_shape_with_the_same_silhouettes():
    model, cameras = make_reconstructor(), fibonacci_cameras(4, 2.5)
    for row, (centre, radius) in enumerate(zip(CENTRES, RADII, strict=True)):
        arrays = prepare_views(arrays_of(centre, radius, cameras), CONFIG.size)
        pictures, outlines, poses, yfov = (torch.from_numpy(part)[None].float() for part in arrays)
        found = model.find_neighbours(PosedViews(pictures / 255, outlines, poses, yfov))
        assert torch.equal(found.grids[0, 0], model.library.grids[row])
        assert found.overlaps[0, 0] > 0.85 and torch.equal(found.turns[0], torch.eye(3))
