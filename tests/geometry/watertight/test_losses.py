"""Pieces of a mesh that the closed surface lacks."""

import pytest
import trimesh
from trimesh.creation import box, icosphere

from sdfkit.geometry.watertight.closing import make_watertight
from sdfkit.geometry.watertight.losses import measure_losses

CELL = 2 / 48
LEAF = 0.3 * CELL


def leaf_at(*place):
    return box((LEAF, LEAF, LEAF)).apply_translation(place)


def losses_of(*parts):
    mesh = trimesh.util.concatenate(parts)
    closed = make_watertight(mesh, resolution=48, thickness=0.0)
    return measure_losses(mesh, closed, CELL)


def test_leaves_of_a_third_of_a_cell_are_counted():
    ball = icosphere(3, radius=0.5)
    leaves = [leaf_at(0.7, 0.2 * k - 0.6, 0.03 * k) for k in range(7)]
    losses = losses_of(ball, *leaves)
    area = 7 * 6 * LEAF**2
    assert (losses.lost, losses.pieces) == (7, 8)
    assert losses.share == pytest.approx(area / (area + ball.area))


@pytest.mark.parametrize("place", [(0.0, 0.0, 0.1), (0.5, 0.0, 0.0)], ids=["hidden inside", "at the surface"])
def test_small_pieces_inside_or_at_the_surface_are_not_lost(place):
    assert losses_of(icosphere(3, radius=0.5), leaf_at(*place)).lost == 0


def test_pieces_of_several_cells_are_not_lost():
    assert losses_of(icosphere(3, radius=0.5), box((0.2, 0.2, 0.2)).apply_translation((0.8, 0, 0))).lost == 0


def test_pieces_count_whether_their_vertices_are_joined_or_not():
    ball, leaf = icosphere(2, radius=0.5), leaf_at(0.7, 0, 0)
    ball.unmerge_vertices()
    leaf.unmerge_vertices()
    assert losses_of(ball, leaf)[:2] == (1, 2)
