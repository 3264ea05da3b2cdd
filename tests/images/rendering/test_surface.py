import math

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.errors import GeometryError
from sdfkit.images.rendering.surface import shading_geometry
from tests.properties import examples


def corners(mesh: trimesh.Trimesh, crease: float) -> np.ndarray:
    """Return the normal at every corner (face, corner, xyz)."""
    surface = shading_geometry(mesh, crease=math.radians(crease))
    return surface.normals[surface.normal_rows]


def soup(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Return the same triangles without shared vertices."""
    return trimesh.Trimesh(
        mesh.triangles.reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3), process=False
    )


@pytest.mark.parametrize(
    "mesh", [trimesh.creation.box(), trimesh.creation.icosphere(2), trimesh.creation.cone(0.2, 3)]
)
def test_without_creases_normals_are_angle_weighted_vertex_normals(mesh):
    surface = shading_geometry(mesh, crease=math.pi)
    assert np.allclose(surface.normals, mesh.vertex_normals, atol=1e-4)
    assert np.array_equal(surface.normal_rows, mesh.faces)


def test_a_box_is_shaded_flat_and_a_ball_smooth():
    box = trimesh.creation.box()
    assert np.allclose(corners(box, 40), box.face_normals[:, None], atol=1e-6)
    assert not np.allclose(corners(box, 91), box.face_normals[:, None], atol=0.1)
    ball = trimesh.creation.icosphere(3)
    assert np.allclose(corners(ball, 40), ball.triangles, atol=0.01)


@pytest.mark.parametrize("sections", [16, 64, 5000])
def test_a_cylinder_is_smooth_on_its_side_and_creased_at_its_rim(sections):
    mesh = trimesh.creation.cylinder(1, 1, sections=sections)
    normals = corners(mesh, 40)
    on_cap = np.abs(mesh.face_normals[:, 2]) > 0.5
    assert np.allclose(normals[on_cap], mesh.face_normals[on_cap, None], atol=1e-5)
    radial = mesh.triangles[~on_cap] * [1, 1, 0]
    # A corner has two faces on one side and one on the other, so the mean normal is exact to a fraction of a facet.
    assert np.abs(normals[~on_cap] - radial).max() < 2 * math.pi / sections


@given(st.integers(0, 2**32 - 1), st.floats(1, 170))
@examples(20)
def test_normals_average_the_faces_within_the_crease_angle(seed, crease):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(8, 3)).astype(np.float32)
    faces = np.array([rng.permutation(8)[:3] for _ in range(20)])
    mesh = trimesh.Trimesh(points, faces, process=False)
    found = corners(mesh, crease)
    normals, angles = (
        np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]]),
        [],
    )
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    angles = mesh.face_angles
    cosine = normals @ normals.T
    if np.abs(cosine - math.cos(math.radians(crease))).min() < 1e-4:
        return  # the result depends on rounding
    for face in range(20):
        for corner in range(3):
            weights = (
                angles
                * (faces == faces[face, corner])
                * (cosine[face] > math.cos(math.radians(crease)))[:, None]
            )
            expected = weights.sum(axis=1) @ normals
            if np.linalg.norm(expected) > 0.05:
                assert np.allclose(found[face, corner], expected / np.linalg.norm(expected), atol=1e-3)


def test_normals_do_not_depend_on_shared_vertices():
    mesh = trimesh.creation.torus(0.7, 0.3, 24, 16)
    assert np.allclose(corners(soup(mesh), 40), corners(mesh, 40), atol=1e-6)
    assert np.allclose(corners(soup(mesh), 180), mesh.face_normals[:, None], atol=1e-6)


def test_a_two_sided_sheet_keeps_a_normal_on_each_side():
    sheet = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 1]], process=False)
    assert np.allclose(corners(sheet, 40)[:, 0], [[0, 0, 1], [0, 0, -1]])


def test_the_tip_of_a_cone_with_many_faces_is_sharp_and_fast():
    count = 30_000
    turn = np.linspace(0, 2 * math.pi, count, endpoint=False)
    points = np.concatenate([np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=-1), [[0, 0, 1.0]]])
    index = np.arange(count)
    faces = np.stack([index, np.roll(index, -1), np.full(count, count)], axis=-1)
    normals = corners(trimesh.Trimesh(points, faces, process=False), 40)
    middle = turn + math.pi / count
    out = np.stack([np.cos(middle), np.sin(middle)], axis=-1)
    assert np.allclose(
        normals[:, 2, :2] / np.linalg.norm(normals[:, 2, :2], axis=-1, keepdims=True), out, atol=0.01
    )
    # Faces up to 40 degrees away are blended: the cosine of those at an azimuth of a is (1 + cos a) / 2.
    reach = math.acos(2 * math.cos(math.radians(40)) - 1)
    assert np.allclose(normals[:, 2, 2], 1 / math.hypot(1, math.sin(reach) / reach), atol=0.01)


def test_faces_without_area_do_not_affect_normals():
    ball = trimesh.creation.icosphere(2)
    extended = trimesh.Trimesh(
        ball.vertices, np.concatenate([ball.faces, [[0, 0, 1], [5, 5, 5]]]), process=False
    )
    assert np.allclose(corners(extended, 40)[:-2], corners(ball, 40))


def test_a_mesh_without_faces_is_refused():
    with pytest.raises(GeometryError, match="without faces cannot be drawn; leave it out"):
        shading_geometry(
            trimesh.Trimesh(np.zeros((3, 3)), np.zeros((0, 3), dtype=int), process=False), crease=1.0
        )
