"""Alignment recovers rigid motions and changes nothing else."""

import numpy as np
import pytest
import trimesh
from trimesh.creation import box

from sdfkit.geometry.alignment import find_alignment
from sdfkit.geometry.metrics import compare_meshes


def chair() -> trimesh.Trimesh:
    seat, back = box((0.8, 0.1, 0.8)), box((0.8, 0.7, 0.1)).apply_translation([0, 0.4, -0.35])
    legs = [
        box((0.1, 0.5, 0.1)).apply_translation([x, -0.3, z]) for x in (-0.35, 0.35) for z in (-0.35, 0.35)
    ]
    return trimesh.util.concatenate([seat, back, *legs])


@pytest.mark.parametrize("degrees", [15, 100, 260])
def test_alignment_recovers_a_rotation_and_translation(degrees):
    moved = chair()
    moved.apply_transform(trimesh.transformations.rotation_matrix(np.radians(degrees), [0.1, 1, 0]))
    moved.apply_translation([0.08, -0.05, 0.1])
    matrix = find_alignment(moved, chair(), rng=np.random.default_rng(0))
    back = trimesh.transform_points(moved.vertices, matrix)
    assert np.abs(back - chair().vertices).max() < 0.005
    assert np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3)) and np.linalg.det(matrix[:3, :3]) > 0


def test_an_aligned_chair_is_not_moved():
    matrix = find_alignment(chair(), chair(), rng=np.random.default_rng(0))
    assert np.allclose(matrix, np.eye(4), atol=1e-9)


def test_alignment_does_not_scale_and_does_not_change_the_input():
    small = chair().apply_scale(0.7)
    before = small.vertices.copy()
    matrix = find_alignment(small, chair(), rng=np.random.default_rng(0))
    assert np.array_equal(small.vertices, before)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1)
    aligned = compare_meshes(
        small.apply_transform(matrix), chair(), points=5000, rng=np.random.default_rng(0)
    )
    assert aligned.chamfer > 0.03
