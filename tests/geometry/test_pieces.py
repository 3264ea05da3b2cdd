"""Connected pieces of a mesh, and specks far from the rest."""

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from trimesh.creation import box, cylinder, icosphere, torus

from sdfkit.geometry.pieces import (
    drop_small_pieces,
    find_specks,
    label_pieces,
    largest_piece,
    measure_pieces,
    select_pieces,
)
from tests.properties import examples

RING = torus(1, 0.3)


def join(*meshes):
    return trimesh.util.concatenate(meshes)


def at(mesh, *place):
    return mesh.copy().apply_translation(place)


def soup(mesh):
    mesh = mesh.copy()
    mesh.unmerge_vertices()
    return mesh


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


@pytest.mark.parametrize(("share", "pieces"), [(0.0, 3), (0.01, 2), (0.5, 1), (1.0, 1)])
def test_pieces_with_a_small_share_of_the_area_are_left_out(share, pieces):
    balls = [
        icosphere(2, radius=radius) for radius in (0.5, 0.1, 0.02)
    ]  # 95.9 %, 3.8 % and 0.2 % of the area
    for place, ball in enumerate(balls):
        ball.apply_translation([place, 0, 0])
    mesh, dropped = drop_small_pieces(trimesh.util.concatenate(balls), share)
    assert (mesh.body_count, dropped) == (pieces, 3 - pieces)
    assert mesh.is_watertight


def test_select_pieces_keeps_the_chosen_pieces():
    mesh = three_pieces()
    chosen = select_pieces(mesh, label_pieces(mesh) != 1)
    assert chosen.is_watertight
    assert chosen.euler_number == 4
    assert np.isclose(chosen.volume, 0.2**3 + 0.1**3)


@pytest.mark.parametrize("change", [lambda mesh: mesh, soup], ids=["joined", "unjoined"])
def test_pieces_have_their_area_and_bounds(change):
    pieces = measure_pieces(change(join(box((1, 2, 3)), at(box((2, 2, 2)), 5, 0, 0))))
    order = np.argsort(pieces.area)
    assert pieces.area[order] == pytest.approx([22, 24])
    assert pieces.low[order] == pytest.approx(np.array([[-0.5, -1, -1.5], [4, -1, -1]]))
    assert pieces.high[order] == pytest.approx(np.array([[0.5, 1, 1.5], [6, 1, 1]]))
    assert np.bincount(pieces.label).tolist() == [12, 12]


def test_faces_without_area_connect_nothing():
    boxes = join(box((1, 1, 1)), at(box((1, 1, 1)), 5, 0, 0))
    needle = np.append(boxes.faces, [[0, 0, len(boxes.vertices) - 1]], axis=0)
    pieces = measure_pieces(trimesh.Trimesh(boxes.vertices, needle, process=False))
    assert sorted(pieces.area) == pytest.approx([0, 6, 6])


@pytest.mark.parametrize("far", [4, 30, 100, 1e6])
def test_specks_far_away_are_found(far):
    specks = [at(icosphere(1, 0.01), 2.6 * far, 0, 0), at(box((0.03, 0.04, 0.12)), 0, 0, -2.6 * far)]
    mesh = join(specks[0], RING, specks[1])
    found = find_specks(mesh)
    assert found.number == 2
    assert found.largest == pytest.approx(0.13, rel=1e-4)
    assert found.faces.tolist() == [True] * 80 + [False] * len(RING.faces) + [True] * 12


@pytest.mark.parametrize(
    "mesh",
    [
        RING,
        join(RING, at(icosphere(1, 0.01), 3, 0, 0)),
        join(RING, at(RING, 90, 0, 0)),
        join(RING, cylinder(0.001, segment=[[0, 0, 0], [80, 0, 0]])),
        join(*(at(box((0.2, 0.2, 0.2)), k, 0, 0) for k in range(40))),
    ],
    ids=["nothing else", "near", "two equal", "a long wire", "a row of equal ones"],
)
def test_other_pieces_are_no_specks(mesh):
    assert find_specks(mesh).number == 0
    assert not find_specks(mesh).faces.any()


def test_a_needle_without_area_that_reaches_far_is_a_speck():
    vertices = np.append(RING.vertices, [[300.0, 0, 0]], axis=0)
    last = len(RING.vertices)
    mesh = trimesh.Trimesh(vertices, np.append(RING.faces, [[0, last, last]], axis=0), process=False)
    assert np.flatnonzero(find_specks(mesh).faces).tolist() == [len(RING.faces)]


@examples(20)
@given(st.floats(1e-3, 1e3), st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.sampled_from([2, 5, 40]))
def test_size_and_place_change_no_speck(scale, shift, far):
    mesh = join(RING, at(icosphere(1, 0.01), 2.6 * far, 0, 0))
    moved = trimesh.Trimesh(scale * (mesh.vertices + shift), mesh.faces, process=False)
    before, after = find_specks(mesh), find_specks(moved)
    assert np.array_equal(before.faces, after.faces)
    assert after.largest == pytest.approx(scale * before.largest, rel=1e-6)
