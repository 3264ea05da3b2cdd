"""Meshes of solids whose surface is known."""

import numpy as np
import pytest

from sdfkit.geometry.shapes.fields.field import Field, union
from sdfkit.geometry.shapes.fields.primitives import box, rod, sphere, torus
from sdfkit.geometry.shapes.fields.solid import normalise
from sdfkit.geometry.shapes.meshing import solid_mesh

KNOWN: dict[str, tuple[Field, float, int]] = {
    "ball": (sphere((3, 2, 1), 0.4), 4 / 3 * np.pi, 2),
    "ring": (torus((0, 0, 0), (0, 0, 1), 0.8, 0.2), 2 * np.pi**2 * 0.8 * 0.2**2, 0),
    "box": (box((0, 1, 0), (2, 1, 2), 0.0), 4 / 1.5**3, 2),
    "thin plate": (box((0, 0, 0), (2, 0.04, 2), 0.0), 0.16 / (2 + 0.02**2) ** 1.5, 2),
    "two balls": (
        union(sphere((-0.6, 0, 0), 0.4), sphere((0.6, 0, 0), 0.4)),
        2 * 4 / 3 * np.pi * 0.4**3,
        4,
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_meshes_are_closed_outward_and_of_the_right_size(name: str) -> None:
    field, volume, euler = KNOWN[name]
    solid = normalise(field)
    mesh = solid_mesh(solid, 96)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.euler_number == euler
    assert mesh.volume == pytest.approx(volume, rel=0.02)
    assert np.abs(solid.distance(mesh.vertices)).max() < 1e-5


@pytest.mark.parametrize("resolution", [24, 33, 47, 64, 90])
def test_meshes_are_closed_at_every_resolution(resolution: int) -> None:
    solid = normalise(box((0, 0, 0), (1.0, 0.7, 0.3), 0.0).rotated("x", 0.3) | sphere((0.5, 0, 0), 0.3))
    mesh = solid_mesh(solid, resolution)
    assert mesh.is_watertight
    assert mesh.euler_number == 2


def test_no_triangle_faces_inwards() -> None:
    mesh = solid_mesh(normalise(sphere((0, 0, 0), 1.0)), 40)
    assert (mesh.face_normals * mesh.triangles_center).sum(axis=1).min() > 0


def test_the_mesh_converges_to_the_solid() -> None:
    solid = normalise(rod((0, 0, 0), (0, 1, 0), 0.3, 0.0))
    truth = np.pi * 0.3**2 * 1.0 / solid.radius**3
    errors = [abs(solid_mesh(solid, resolution).volume - truth) / truth for resolution in (32, 64, 128)]
    assert errors[2] < 0.3 * errors[1] < 0.1 * errors[0] / 0.3
    assert errors[2] < 2e-3


@pytest.mark.parametrize("name", KNOWN)
def test_the_bounding_box_and_radius_are_found_to_1e_4(name: str) -> None:
    field, _, _ = KNOWN[name]
    solid = normalise(field)
    extents = (field.high - field.low) / 2  # tight for these
    assert np.allclose(solid.centre, (field.low + field.high) / 2, atol=1e-4)
    assert np.allclose(solid.half_extents * solid.radius, extents, atol=1e-4)
    far = {"ball": 0.4, "ring": 1.0, "box": 1.5, "thin plate": np.sqrt(2 + 0.02**2), "two balls": 1.0}[name]
    assert solid.radius == pytest.approx(far, abs=1e-4)
