"""Simplified meshes are closed, keep handles and pieces, and stay near the surface."""

import logging

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from trimesh.creation import box, icosphere, torus

from sdfkit.errors import GeometryError
from sdfkit.geometry.pieces import label_pieces
from sdfkit.geometry.simplify import simplify
from sdfkit.geometry.watertight.closing import make_watertight
from tests.geometry.watertight.test_closing import wheel
from tests.properties import examples


def check(mesh, faces):
    """Simplify a mesh, check what must hold for every result, and return it."""
    simpler = simplify(mesh, faces)
    assert simpler.is_volume, "closed, its faces consistent and outward"
    assert simpler.euler_number == mesh.euler_number
    assert label_pieces(simpler).max() == label_pieces(mesh).max()
    return simpler


@examples(30)
@given(st.integers(20, 6000))
def test_a_torus_keeps_its_hole_at_any_number_of_faces(faces):
    mesh = torus(0.7, 0.25, 64, 40)
    simpler = check(mesh, faces)
    assert len(simpler.faces) == min(faces // 2 * 2, len(mesh.faces))


def test_a_torus_with_half_of_its_faces_stays_close_to_the_surface():
    simpler = simplify(torus(0.7, 0.25, 64, 40), 2560)
    spine = np.linalg.norm(simpler.vertices[:, :2], axis=1) - 0.7
    assert np.allclose(np.hypot(spine, simpler.vertices[:, 2]), 0.25, atol=2e-3)
    assert simpler.volume == pytest.approx(torus(0.7, 0.25, 64, 40).volume, rel=2e-3)


@pytest.mark.slow
def test_a_wheel_keeps_its_spokes():
    closed = make_watertight(wheel(), resolution=128, gap=0.0, thickness=0.0, keep_parts=True)
    simpler = check(closed, 2000)
    assert simpler.euler_number == 2 - 2 * 13
    assert len(simpler.faces) == 2000
    _, distances, _ = trimesh.proximity.closest_point_naive(simpler, closed.vertices[::40])
    assert distances.max() < 0.02


def test_pieces_of_different_sizes_stay_separate():
    small = icosphere(3, radius=0.05).apply_translation((2, 0, 0))
    simpler = check(trimesh.util.concatenate([icosphere(4), small]), 60)
    assert len(simpler.faces) == 60


def test_flat_regions_are_simplified_without_error():
    fine = box((1, 0.5, 0.3))
    for _ in range(4):
        fine = fine.subdivide()
    simpler = check(fine, 12)
    assert len(simpler.faces) == 12
    assert simpler.volume == pytest.approx(0.15, rel=1e-6)


def test_a_mesh_with_few_faces_is_left_as_it_is():
    mesh = icosphere(2)
    assert simplify(mesh, len(mesh.faces)) is mesh


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_the_result_does_not_depend_on_the_unit(scale):
    mesh = torus(0.7, 0.25)
    larger = trimesh.Trimesh(mesh.vertices * scale, mesh.faces, process=False)
    assert np.array_equal(simplify(larger, 300).vertices / scale, simplify(mesh, 300).vertices)


def test_a_number_of_faces_that_cannot_be_reached_is_warned_of(caplog):
    mesh = torus(0.7, 0.25)
    with caplog.at_level(logging.WARNING):
        simpler = check(mesh, 4)
    assert len(simpler.faces) >= 14, "no torus has fewer"
    assert f"{len(simpler.faces)} faces, not 4: fewer faces would lose a handle or a piece, or" in caplog.text


def test_an_open_mesh_is_refused():
    mesh = icosphere(3)
    mesh.update_faces(np.arange(len(mesh.faces)) > 5)
    with pytest.raises(
        GeometryError, match="is not closed, so it cannot be simplified; run sdfkit watertight"
    ):
        simplify(mesh, 100)


def test_equal_meshes_give_equal_bytes_and_are_not_changed():
    mesh = torus(0.7, 0.25)
    vertices, faces = mesh.vertices.copy(), mesh.faces.copy()
    once, again = simplify(mesh, 200), simplify(mesh, 200)
    assert once.vertices.tobytes() == again.vertices.tobytes()
    assert once.faces.tobytes() == again.faces.tobytes()
    assert np.array_equal(mesh.vertices, vertices)
    assert np.array_equal(mesh.faces, faces)
