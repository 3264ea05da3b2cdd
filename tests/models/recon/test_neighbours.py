"""Silhouettes of grids against those of balls, and the retrieval of similar shapes."""

import math

import numpy as np
import torch

from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.models.recon.neighbours import SIDE, Library, Neighbours, retrieve, shrink_silhouettes
from sdfkit.models.recon.posed_views import turn_matrices
from tests.training.balls import CENTRES, RADII, YFOV, ball_grid, masks_of

CAMERAS = fibonacci_cameras(4, 2.5)
GRIDS = torch.from_numpy(np.stack([ball_grid(c, r) for c, r in zip(CENTRES, RADII, strict=True)]))


def look(library, cameras=CAMERAS):
    return library.silhouettes(torch.from_numpy(cameras), torch.full((len(cameras),), YFOV))


def test_the_silhouette_of_a_ball_is_a_disc():
    radii = (0.3, 0.5, 0.8)
    library = Library(torch.from_numpy(np.stack([ball_grid(np.zeros(3), radius) for radius in radii])))
    seen = look(library).reshape(len(radii), len(CAMERAS), SIDE, SIDE)
    at = np.arange(SIDE) + 0.5 - SIDE / 2
    apart = np.hypot(at, at[:, None])
    for silhouettes, radius in zip(seen, radii, strict=True):
        # The cone that touches the ball has the half angle asin(radius / 2.5).
        disc = math.tan(math.asin(radius / 2.5)) / math.tan(YFOV / 2) * SIDE / 2
        clear = np.abs(apart - disc) > 1
        for silhouette in silhouettes.numpy():
            assert np.array_equal(silhouette[clear], (apart < disc)[clear])


def test_silhouettes_are_those_of_the_cameras_that_are_asked_for():
    library = Library(GRIDS)
    first = look(library)
    assert torch.equal(look(library), first)
    others = look(library, CAMERAS[::-1].copy())
    assert torch.equal(others, first.flip(1))
    assert torch.equal(look(Library(GRIDS)), first)


def test_the_most_similar_shape_is_found_first():
    known, everyone = look(Library(GRIDS)), torch.arange(len(GRIDS))
    for row, (centre, radius) in enumerate(zip(CENTRES, RADII, strict=True)):
        masks = torch.from_numpy(masks_of(centre, radius, CAMERAS, size=SIDE) > 0).reshape(len(CAMERAS), -1)
        found, overlaps = retrieve(masks, known, everyone, 3)
        assert found[0] == row and overlaps[0] > 0.85
        assert len(set(found.tolist())) == 3 and (overlaps.diff() <= 0).all()
        # Without the shape itself, its runner-up is found, under its own number.
        others = everyone[everyone != row]
        assert retrieve(masks, known[others], others, 2)[0].tolist() == found[1:].tolist()


def test_equal_candidates_are_all_found_and_the_last_one_is_repeated_where_there_are_too_few():
    known = look(Library(GRIDS))[[2, 0, 2]]
    candidates = torch.tensor([7, 3, 5])
    found, overlaps = retrieve(known[0], known, candidates, 5)
    assert sorted(found[:2].tolist()) == [5, 7] and found[2:].tolist() == [3, 3, 3]
    assert torch.equal(overlaps[:2], torch.ones(2)) and len(set(overlaps[2:].tolist())) == 1
    assert retrieve(known[0], known, candidates, 5)[0].tolist() == found.tolist()


def test_empty_silhouettes_have_no_overlap():
    nothing = torch.zeros(4, SIDE * SIDE, dtype=torch.bool)
    _, overlaps = retrieve(nothing, look(Library(GRIDS)), torch.arange(len(GRIDS)), 2)
    assert overlaps.tolist() == [0, 0]


def test_distances_follow_the_turned_and_mirrored_frame():
    # Linear functions, which linear interpolation keeps.
    slopes = torch.tensor([[1.0, 2, 3], [-0.5, 0.2, 1]])
    axis = torch.linspace(-1, 1, 5)
    nodes = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    grids = torch.einsum("xyzc,nc->nxyz", nodes, slopes)[None].expand(2, -1, -1, -1, -1)
    turns = turn_matrices(torch.tensor([False, True]), torch.tensor([0.7, 2.0]))
    known = Neighbours(grids, torch.ones(2, 2), turns)
    before = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 30, 3)).astype(np.float32))
    after = before @ turns.mT
    assert torch.allclose(known.distances(after), before @ slopes.T, atol=1e-5)


def test_a_silhouette_has_the_pixels_of_which_half_is_covered():
    coverage = torch.zeros(1, 2 * SIDE, 2 * SIDE)
    coverage[0, 0, :2] = 1  # half of the first pixel
    coverage[0, 0, 2] = 1  # a quarter of the second
    found = shrink_silhouettes(coverage)
    assert found.shape == (1, SIDE * SIDE) and found[0, :2].tolist() == [True, False] and found.sum() == 1
    assert torch.equal(shrink_silhouettes(torch.eye(SIDE)[None])[0].reshape(SIDE, SIDE), torch.eye(SIDE) > 0)
