"""Closed outer surfaces of shapes whose truth is known."""

import numpy as np
import pytest
import trimesh
from trimesh.creation import box, cylinder, icosphere, torus

from sdfkit.errors import GeometryError
from sdfkit.geometry.watertight import make_watertight

RESOLUTION = 48
CELL = 2 / RESOLUTION


def close(mesh, *, resolution=RESOLUTION, gap=0.0, thickness=0.0, keep_parts=True):
    closed = make_watertight(mesh, resolution=resolution, gap=gap, thickness=thickness, keep_parts=keep_parts)
    assert closed.is_watertight
    assert closed.is_winding_consistent
    assert closed.is_volume
    single = closed.vertices.astype(np.float32)
    assert len(np.unique(single, axis=0)) == len(single), "vertices coincide, so a file reader may weld them"
    return closed


def pieces(mesh):
    return len(trimesh.graph.connected_components(mesh.face_adjacency, nodes=np.arange(len(mesh.faces))))


def wheel():
    angles = 2 * np.pi * np.arange(13) / 13
    ends = 0.9 * np.stack([np.cos(angles), np.sin(angles), np.zeros(13)], axis=1)
    spokes = [cylinder(0.012, segment=[np.zeros(3), end], sections=8) for end in ends]
    return trimesh.util.concatenate([torus(0.9, 0.05, 64, 24), cylinder(0.12, 0.15), *spokes])


def test_a_sphere_stays_a_sphere():
    closed = close(icosphere(4))
    radius = np.linalg.norm(closed.vertices, axis=1)
    assert closed.euler_number == 2
    assert abs(radius - 1).max() < 0.1 * CELL
    assert closed.volume == pytest.approx(icosphere(4).volume, rel=1e-3)


def test_a_box_keeps_its_extent_on_all_axes():
    closed = close(box((0.9, 0.6, 0.3)))
    assert closed.euler_number == 2
    assert np.allclose(closed.extents, (0.9, 0.6, 0.3), atol=0.1 * CELL)


@pytest.mark.parametrize("gap", [0.0, 0.06])
def test_a_wheel_keeps_its_spokes(gap):
    closed = close(wheel(), resolution=128, gap=gap)
    assert closed.euler_number == 2 - 2 * 13
    assert pieces(closed) == 1


def test_a_torus_keeps_its_hole():
    assert close(torus(0.7, 0.3)).euler_number == 0


def test_hidden_shells_and_cavities_are_filled():
    shells = trimesh.util.concatenate([icosphere(4), icosphere(3, radius=0.5), box((0.2, 0.2, 0.2))])
    closed = close(shells)
    assert pieces(closed) == 1
    assert closed.volume == pytest.approx(icosphere(4).volume, rel=1e-3)


def test_overlapping_boxes_become_one_solid():
    boxes = trimesh.util.concatenate([box((0.8, 0.4, 0.4)), box((0.4, 0.8, 0.4))])
    closed = close(boxes)
    assert closed.euler_number == 2
    assert closed.volume == pytest.approx(2 * 0.128 - 0.064, rel=0.02)


def test_separate_parts_stay_separate():
    far = box((0.4, 0.4, 0.4)).apply_translation((0.6, 0, 0))
    closed = close(trimesh.util.concatenate([box((0.4, 0.4, 0.4)), far]))
    assert pieces(closed) == 2
    assert closed.euler_number == 4


def test_a_sheet_becomes_a_plate_of_the_thickness_asked_for():
    corners = [[-0.7, -0.2, -0.5], [0.7, -0.2, -0.5], [0.7, 0.2, 0.5], [-0.7, 0.2, 0.5]]
    sheet = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]])
    closed = close(sheet, thickness=0.06)
    assert closed.euler_number == 2
    assert closed.volume / sheet.area == pytest.approx(0.06, rel=0.1)
