import numpy as np
import pytest
import torch

from sdfkit.errors import GeometryError
from sdfkit.inference.meshing import MeshOptions, describe_meshes, mesh_field


def ball(points):
    return points.norm(dim=-1) - 0.5


def test_the_mesh_of_a_ball_is_a_sphere_with_outward_normals():
    mesh, counts = mesh_field(ball, "cpu", MeshOptions(resolution=64, smooth_normals=True))
    assert mesh.is_watertight and mesh.euler_number == 2
    assert np.allclose(np.linalg.norm(mesh.vertices, axis=1), 0.5, atol=2e-3)
    assert np.allclose(mesh.vertex_normals, mesh.vertices / 0.5, atol=1e-2)
    assert 0 < counts.evaluated < 65**3 and counts.dropped == 0


def test_options_keep_the_largest_piece_and_reduce_the_faces():
    def two_balls(points):
        far = points - torch.tensor([0.7, 0, 0])
        return torch.minimum(ball(points), far.norm(dim=-1) - 0.1)

    mesh, _ = mesh_field(two_balls, "cpu", MeshOptions(resolution=32, largest=True, simplify=200))
    assert mesh.body_count == 1 and len(mesh.faces) <= 200
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.05)


@pytest.mark.parametrize(("radius", "pieces"), [(0.01, 1), (0.05, 2)])
def test_specks_are_left_out_and_other_pieces_are_kept(radius, pieces):
    def with_speck(points):
        return torch.minimum(ball(points), (points - torch.tensor([0.7, 0, 0])).norm(dim=-1) - radius)

    # The area of the small ball is 0.04 % and 1 % of that of the large one.
    mesh, counts = mesh_field(with_speck, "cpu", MeshOptions(resolution=200))
    assert (mesh.body_count, counts.dropped) == (pieces, 2 - pieces)
    mesh, counts = mesh_field(with_speck, "cpu", MeshOptions(resolution=200, speck_area=0.0))
    assert (mesh.body_count, counts.dropped) == (2, 0)


def test_a_field_without_a_surface_is_refused():
    with pytest.raises(GeometryError, match="no surface: distances run from"):
        mesh_field(lambda points: points.norm(dim=-1) + 1, "cpu", MeshOptions(resolution=16))


@pytest.mark.parametrize(
    ("pieces", "dropped", "empty", "text"),
    [
        ([], [], 0, ""),
        ([], [], 1, "1 shape without surface"),
        ([1], [0], 0, "the mesh is one piece"),
        ([3], [2], 0, "the mesh has 3 pieces; 2 specks left out"),
        ([1, 1], [0, 0], 1, "all 2 meshes are one piece; 1 shape without surface"),
        (
            [1, 4, 2],
            [0, 1, 2],
            0,
            "1 of 3 meshes are one piece, the others have up to 4; 3 specks left out of 2 meshes",
        ),
    ],
)
def test_the_log_says_whether_meshes_are_whole(pieces, dropped, empty, text):
    assert describe_meshes(pieces, dropped, empty) == text
