"""Simpler meshes: as closed as before, with the same handles and pieces, and near the surface they stand for."""

import logging

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from trimesh.creation import box, icosphere, torus

from sdfkit.errors import GeometryError
from sdfkit.geometry.pieces import label_pieces
from sdfkit.geometry.simplify import simplify
from sdfkit.geometry.watertight import make_watertight
from tests.geometry.test_watertight import wheel


def check(mesh, faces):
    """The simpler mesh, after the laws that hold for every one."""
    simpler = simplify(mesh, faces)
    assert simpler.is_volume, "closed, its faces consistent and outward"
    assert simpler.euler_number == mesh.euler_number
    assert label_pieces(simpler).max() == label_pieces(mesh).max()
    return simpler


@settings(max_examples=20, deadline=None)
@given(st.integers(1200, 6000))
def test_a_torus_keeps_its_hole_at_any_number_of_faces(faces):
    mesh = torus(0.7, 0.25, 64, 40)
    simpler = check(mesh, faces)
    assert 0.8 * faces <= len(simpler.faces) <= faces or simpler is mesh
    spine = np.linalg.norm(simpler.vertices[:, :2], axis=1) - 0.7
    assert np.allclose(np.hypot(spine, simpler.vertices[:, 2]), 0.25), "a subset of the old vertices"


def test_a_wheel_keeps_its_spokes():
    closed = make_watertight(wheel(), resolution=128, gap=0.0, thickness=0.0, keep_parts=True)
    simpler = check(closed, 6000)
    assert simpler.euler_number == 2 - 2 * 13
    assert len(simpler.faces) <= 6000


def test_pieces_stay_apart_whatever_their_sizes():
    small = icosphere(3, radius=0.05).apply_translation((2, 0, 0))
    simpler = check(trimesh.util.concatenate([icosphere(4), small]), 500)
    assert len(simpler.faces) <= 500


def test_flat_faces_cost_nothing():
    fine = box((1, 0.5, 0.3)).subdivide_loop(0)
    for _ in range(4):
        fine = fine.subdivide()
    simpler = check(fine, 12)
    assert len(simpler.faces) == 12
    assert simpler.volume == pytest.approx(0.15, rel=1e-9)


def test_a_mesh_with_few_faces_is_left_as_it_is():
    mesh = icosphere(2)
    assert simplify(mesh, len(mesh.faces)) is mesh


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_the_unit_does_not_matter(scale):
    mesh = torus(0.7, 0.25)
    larger = trimesh.Trimesh(mesh.vertices * scale, mesh.faces, process=False)
    assert len(simplify(larger, 300).faces) == pytest.approx(len(simplify(mesh, 300).faces), rel=0.05)


def test_a_target_out_of_reach_is_told(caplog):
    mesh = torus(0.7, 0.25)
    with caplog.at_level(logging.WARNING):
        simpler = check(mesh, 4)
    assert len(simpler.faces) >= 14, "no torus has fewer"
    assert f"{len(simpler.faces)} faces, not 4: fewer would lose a handle or a piece" in caplog.text


def test_an_open_mesh_is_refused():
    mesh = icosphere(3)
    mesh.update_faces(np.arange(len(mesh.faces)) > 5)
    with pytest.raises(GeometryError, match="not closed, so it cannot be simplified: run sdfkit watertight"):
        simplify(mesh, 100)
