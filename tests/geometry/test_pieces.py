"""Connected pieces of a mesh."""

import numpy as np
import trimesh
from trimesh.creation import box, icosphere

from sdfkit.geometry.pieces import label_pieces, largest_piece, select_pieces


def three_pieces():
    return trimesh.util.concatenate(
        [
            box((0.2, 0.2, 0.2)).apply_translation((-1, 0, 0)),
            icosphere(2, radius=0.5),
            box((0.1, 0.1, 0.1)).apply_translation((1, 0, 0)),
        ]
    )


def test_vertices_are_labelled_by_connected_piece():
    assert label_pieces(three_pieces()).tolist() == [0] * 8 + [1] * 162 + [2] * 8


def test_the_largest_piece_is_kept_unchanged():
    largest = largest_piece(three_pieces())
    assert np.array_equal(largest.vertices, icosphere(2, radius=0.5).vertices)
    assert np.array_equal(largest.faces, icosphere(2, radius=0.5).faces)


def test_select_pieces_keeps_the_chosen_pieces():
    mesh = three_pieces()
    chosen = select_pieces(mesh, label_pieces(mesh) != 1)
    assert chosen.is_watertight
    assert chosen.euler_number == 4
    assert np.isclose(chosen.volume, 0.2**3 + 0.1**3)
