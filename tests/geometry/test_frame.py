"""Laws of the unit frame."""

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from sdfkit.errors import GeometryError
from sdfkit.geometry.frame import from_unit, normalise, to_unit
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
        (np.array([[0, 0, 0], [1, 0, 0], [np.nan, 1, 0]]), "1 of 3 vertices are NaN or infinite"),
        (np.array([[0, 0, 0], [1, 0, 0], [np.inf, 1, 0]]), "1 of 3 vertices are NaN or infinite"),
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
