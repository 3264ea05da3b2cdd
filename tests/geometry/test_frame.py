"""Laws of the unit frame, and frames that are too wide for their shape."""

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation
from trimesh.creation import box, cylinder, icosphere, torus

from sdfkit.errors import GeometryError
from sdfkit.geometry.frame import describe_frame, from_unit, normalise, to_unit
from sdfkit.geometry.pieces import find_specks
from tests.properties import examples

SIZES = st.sampled_from([1e-30, 1e-5, 0.3, 1.0, 7.0, 1e6, 1e30])
CLOUDS = arrays(np.float64, (9, 3), elements=st.floats(-1, 1, width=16)).filter(lambda v: np.ptp(v) > 0.1)


def mesh_of(vertices: np.ndarray) -> trimesh.Trimesh:
    return trimesh.Trimesh(vertices, np.arange(len(vertices)).reshape(-1, 3), process=False)


@given(CLOUDS, SIZES, arrays(np.float64, 3, elements=st.floats(-1, 1)))
def test_normalise_gives_the_frame_and_undoing_it_is_the_identity(vertices, size, shift):
    original = size * (vertices + shift)
    unit, to_original = normalise(mesh_of(original))
    assert np.abs(unit.bounds.sum(axis=0)).max() < 1e-12
    assert abs(np.linalg.norm(unit.vertices, axis=1).max() - 1) < 1e-12
    assert np.allclose(from_unit(unit.vertices, to_original), original, rtol=0, atol=1e-14 * size)
    assert np.allclose(to_unit(original, to_original), unit.vertices, rtol=0, atol=1e-12)


@given(CLOUDS)
def test_a_unit_mesh_stays_as_it_is(vertices):
    once, _ = normalise(mesh_of(vertices))
    twice, to_original = normalise(once)
    assert np.allclose(twice.vertices, once.vertices, rtol=0, atol=1e-12)
    assert np.allclose(to_original, np.eye(4), rtol=0, atol=1e-12)


@given(CLOUDS, st.floats(1e-3, 1e3), arrays(np.float64, 3, elements=st.floats(-1, 1)))
def test_size_and_place_do_not_matter(vertices, scale, shift):
    plain, _ = normalise(mesh_of(vertices))
    moved, _ = normalise(mesh_of(scale * (vertices + shift)))
    assert np.allclose(moved.vertices, plain.vertices, rtol=0, atol=1e-12)


@examples(30)
@given(CLOUDS, st.sampled_from(list(Rotation.create_group("O").as_matrix())))
def test_a_quarter_turn_turns_the_frame(vertices, turn):
    """Only quarter turns: the bounding box, and with it the centre, does not follow other rotations."""
    plain, _ = normalise(mesh_of(vertices))
    turned, _ = normalise(mesh_of(vertices @ turn.T))
    assert np.allclose(turned.vertices, plain.vertices @ turn.T, rtol=0, atol=1e-12)


def test_only_vertices_that_faces_use_count():
    vertices = np.array([[9, 9, 9], [0, 0, 0], [2, 0, 0], [0, 2, 0], [np.nan, 0, 0]], dtype=float)
    mesh = trimesh.Trimesh(vertices, [[1, 2, 3]], process=False)
    unit, to_original = normalise(mesh)
    assert len(unit.vertices) == 3 and len(mesh.vertices) == 5
    assert np.array_equal(from_unit(unit.vertices, to_original)[unit.faces[0]], vertices[1:4])


def test_colours_and_normals_of_the_file_survive():
    normals = np.tile([0.0, 0.6, 0.8], (4, 1))
    colours = np.array([[9, 9, 9, 255], [1, 0, 0, 255], [2, 0, 0, 255], [3, 0, 0, 255]], dtype=np.uint8)
    vertices = np.array([[9, 9, 9], [0, 0, 0], [2, 0, 0], [0, 2, 0]], dtype=float)
    mesh = trimesh.Trimesh(
        vertices, [[1, 2, 3]], vertex_normals=normals, vertex_colors=colours, process=False
    )
    unit, _ = normalise(mesh)
    assert np.array_equal(unit.vertex_normals, normals[1:])
    assert np.array_equal(unit.visual.vertex_colors, colours[1:])


@pytest.mark.parametrize(
    ("vertices", "message"),
    [
        (np.zeros((0, 3)), "no faces: the file holds no surface"),
        (np.array([[0, 0, 0], [1, 0, 0], [np.nan, 1, 0]]), "1 of 3 vertices is NaN or infinite"),
        (np.array([[0, 0, 0], [1, 0, 0], [np.inf, 1, 0]]), "1 of 3 vertices is NaN or infinite"),
        (np.full((3, 3), 7.0), "has no extent: all vertices lie at one position"),
        (1e-310 * np.eye(3), "out of the range of float64; store the shape in another unit"),
        (
            1.7e308 * np.array([[1, 1, 1], [-1, -1, -1], [1, -1, 1]]),
            "out of the range of float64; store the shape",
        ),
    ],
)
def test_what_has_no_frame_is_refused(vertices, message):
    with pytest.raises(GeometryError, match=message):
        normalise(mesh_of(vertices))


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
    assert find_specks(mesh).number == 0
    assert describe_frame(mesh) is None


def test_a_needle_without_area_is_described():
    vertices = np.append(RING.vertices, [[300.0, 0, 0]], axis=0)
    last = len(RING.vertices)
    mesh = trimesh.Trimesh(vertices, np.append(RING.faces, [[0, last, last]], axis=0), process=False)
    assert str(describe_frame(mesh)).startswith(
        "100 % of the area extends over 3.73 and the whole shape over 301"
    )
