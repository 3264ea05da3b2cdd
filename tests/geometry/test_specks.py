"""Connected pieces, specks far away, and frames that are too wide for their shape."""

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from trimesh.creation import box, cylinder, icosphere, torus

from sdfkit.geometry.specks import describe_frame, find_specks, measure_pieces
from tests.properties import examples

RING = torus(1, 0.3)
EXTENT = np.sqrt(2 * 2.6**2 + 0.6**2)  # of the ring


def join(*meshes):
    return trimesh.util.concatenate(meshes)


def at(mesh, *place):
    return mesh.copy().apply_translation(place)


def sheet(size, height=0.0):
    corners = np.array(
        [[-1, height / size, -1], [1, height / size, -1], [1, height / size, 1], [-1, height / size, 1]]
    )
    return trimesh.Trimesh(size * corners, [[0, 2, 1], [0, 3, 2]], process=False)


def soup(mesh):
    mesh = mesh.copy()
    mesh.unmerge_vertices()
    return mesh


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
    assert found.count == 2
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
    assert find_specks(mesh).count == 0
    assert not find_specks(mesh).faces.any()


def test_a_needle_without_area_that_reaches_far_is_a_speck():
    vertices = np.append(RING.vertices, [[300.0, 0, 0]], axis=0)
    last = len(RING.vertices)
    mesh = trimesh.Trimesh(vertices, np.append(RING.faces, [[0, last, last]], axis=0), process=False)
    assert np.flatnonzero(find_specks(mesh).faces).tolist() == [len(RING.faces)]
    assert "--drop-specks" in str(describe_frame(mesh))


@pytest.mark.parametrize("far", [4, 30, 100])
def test_a_frame_with_a_speck_is_described_with_both_extents(far):
    mesh = join(RING, at(icosphere(1, 0.01), 2.6 * far, 0, 0))
    whole = np.linalg.norm([2.6 * far + 0.01 + 1.3, 2.6, 0.6])
    assert describe_frame(mesh) == (
        f"99.99 % of the area extends over {EXTENT:.3g} and the whole shape over {whole:.3g}, so that most of the "
        "resolution is lost; remove the rest with --drop-specks"
    )
    assert f"over {1000 * EXTENT:.3g} and" in str(describe_frame(mesh, scale=1000.0))


def test_a_wire_that_reaches_far_is_described_but_is_no_speck():
    text = describe_frame(join(RING, cylinder(0.0001, segment=[[0, 0, 0], [80, 0, 0]])))
    assert str(text).endswith("remove the rest with a mesh editor")


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_a_sheet_around_a_shape_is_described_with_both_extents(angle):
    mesh = join(RING, sheet(20, height=-0.5))
    mesh.apply_transform(trimesh.transformations.rotation_matrix(angle, [0, 1, 0]))
    assert str(describe_frame(mesh)).startswith("all faces but a flat sheet extend over ")
    assert "and the whole shape over 56.6, so" in str(describe_frame(join(RING, sheet(20))))


@pytest.mark.parametrize(
    "mesh",
    [
        RING,
        sheet(1),
        join(sheet(1), at(sheet(1), 0, 0.5, 0)),
        join(RING, at(RING, 3, 0, 0)),
        join(sheet(1.5, height=-0.3), RING),
        join(sheet(1).apply_scale((20, 1, 1)), at(box((4, 0.4, 1.6)), 22, 0, 0)),
        join(
            box((2, 0.02, 1)),
            *(at(box((0.05, 0.7, 0.05)), x, -0.36, z) for x in (-0.9, 0.9) for z in (-0.4, 0.4)),
        ),
    ],
    ids=["ring", "sheet alone", "two sheets", "two rings", "ring on a small sheet", "saw", "table"],
)
def test_frames_that_fit_are_not_described(mesh):
    assert describe_frame(mesh) is None


@pytest.mark.parametrize(
    ("vertices", "faces"),
    [
        ([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]]),
        ([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]] * 5 + [[2, 1, 0], [0, 0, 1]]),
        ([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]]),
        ([[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]], [[0, 1, 2], [0, 2, 3]]),
        ([[0, 0, 0], [1e-200, 0, 0], [0, 1, 0]], [[0, 1, 2], [0, 1, 2]]),
    ],
    ids=["one triangle", "duplicates", "no area", "in a plane", "sliver"],
)
def test_degenerate_meshes_have_no_specks_and_no_description(vertices, faces):
    mesh = trimesh.Trimesh(np.array(vertices, dtype=float), faces, process=False)
    assert find_specks(mesh).count == 0
    assert describe_frame(mesh) is None


@examples(20)
@given(st.floats(1e-3, 1e3), st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.sampled_from([2, 5, 40]))
def test_size_and_place_change_no_speck(scale, shift, far):
    mesh = join(RING, at(icosphere(1, 0.01), 2.6 * far, 0, 0))
    moved = trimesh.Trimesh(scale * (mesh.vertices + shift), mesh.faces, process=False)
    before, after = find_specks(mesh), find_specks(moved)
    assert np.array_equal(before.faces, after.faces)
    assert after.largest == pytest.approx(scale * before.largest, rel=1e-6)
