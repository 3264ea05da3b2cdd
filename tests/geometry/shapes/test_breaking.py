"""Every defect has its documented effect and keeps the shape recognisable."""

import numpy as np
import pytest
import trimesh

from sdfkit.geometry.shapes import DEFECTS, break_mesh, solid_mesh
from sdfkit.geometry.shapes.fields.field import union
from sdfkit.geometry.shapes.fields.primitives import box, torus
from sdfkit.geometry.shapes.fields.solid import Solid, normalise


@pytest.fixture(scope="module")
def solid() -> Solid:
    return normalise(union(box((0, 0, 0), (1.0, 0.3, 0.6), 0.05), torus((0.5, 0.2, 0), (0, 0, 1), 0.3, 0.06)))


@pytest.fixture(scope="module")
def mesh(solid: Solid) -> trimesh.Trimesh:
    return solid_mesh(solid, 40)


def damaged(name: str, mesh: trimesh.Trimesh, seed: int) -> trimesh.Trimesh:
    rng = np.random.default_rng(seed)
    vertices, faces = DEFECTS[name](np.array(mesh.vertices), np.array(mesh.faces), mesh, rng)
    return trimesh.Trimesh(vertices, faces, process=False)


def open_edges(mesh: trimesh.Trimesh) -> int:
    """Return the edges that belong to one face only."""
    _, counts = np.unique(mesh.edges_sorted, axis=0, return_counts=True)
    return int((counts == 1).sum())


def merged(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Return the faces after merging vertices at the same position."""
    places, index = np.unique(mesh.vertices, axis=0, return_inverse=True)
    return trimesh.Trimesh(places, index.reshape(-1)[mesh.faces], process=False)


@pytest.mark.parametrize("seed", range(4))
def test_internal_parts_are_closed_and_wholly_inside(solid: Solid, mesh: trimesh.Trimesh, seed: int) -> None:
    broken = damaged("internal", mesh, seed)
    assert broken.is_watertight
    assert broken.body_count > 1
    assert np.array_equal(broken.faces[: len(mesh.faces)], mesh.faces)
    added = broken.vertices[len(mesh.vertices) :]
    assert solid.distance(added).max() < -0.005


@pytest.mark.parametrize("seed", range(4))
def test_an_overlap_intersects_the_surface_that_it_copies(
    solid: Solid, mesh: trimesh.Trimesh, seed: int
) -> None:
    broken = damaged("overlap", mesh, seed)
    distance = solid.distance(broken.vertices[len(mesh.vertices) :])
    assert distance.min() < -1e-3
    assert distance.max() > 1e-3
    assert np.abs(distance).max() <= 0.008 + 1e-4
    assert 0.15 < (len(broken.faces) - len(mesh.faces)) / len(mesh.faces) < 0.65


@pytest.mark.parametrize("seed", range(4))
def test_holes_are_open_and_small(mesh: trimesh.Trimesh, seed: int) -> None:
    broken = damaged("holes", mesh, seed)
    assert open_edges(broken) > 2
    lost = 1 - broken.area / mesh.area
    assert 0 < lost < 0.03


@pytest.mark.parametrize("seed", range(4))
def test_flipped_faces_have_reversed_orientation(mesh: trimesh.Trimesh, seed: int) -> None:
    broken = damaged("flipped", mesh, seed)
    turned = (broken.face_normals * mesh.face_normals).sum(axis=1) < 0
    assert turned.any()
    assert np.allclose(broken.triangles_center, mesh.triangles_center)
    assert turned.all() or not broken.is_winding_consistent


@pytest.mark.parametrize("seed", range(4))
def test_unmerged_faces_share_no_vertices_until_merged(mesh: trimesh.Trimesh, seed: int) -> None:
    broken = damaged("unmerged", mesh, seed)
    assert open_edges(broken) > 0.1 * len(mesh.faces)
    assert len(broken.vertices) > 1.2 * len(mesh.vertices)
    assert merged(broken).is_watertight


@pytest.mark.parametrize("seed", range(4))
def test_duplicates_repeat_faces_and_leave_vertices_unused(mesh: trimesh.Trimesh, seed: int) -> None:
    broken = damaged("duplicates", mesh, seed)
    extra = len(broken.faces) - len(mesh.faces)
    assert extra == len(mesh.faces) // 50
    whole = merged(broken)
    assert len(np.unique(np.sort(whole.faces, axis=1), axis=0)) == len(mesh.faces)
    assert len(np.unique(broken.faces)) < len(broken.vertices)


@pytest.mark.parametrize("seed", range(4))
def test_split_parts_share_no_vertices_but_touch(mesh: trimesh.Trimesh, seed: int) -> None:
    broken = damaged("parts", mesh, seed)
    assert broken.body_count > mesh.body_count
    assert open_edges(broken) > 0
    assert merged(broken).is_watertight


@pytest.mark.parametrize("seed", range(8))
def test_a_broken_mesh_keeps_the_visible_shape(solid: Solid, mesh: trimesh.Trimesh, seed: int) -> None:
    broken, names = break_mesh(mesh, np.random.default_rng(seed))
    assert len(names) >= 2
    assert set(names) <= set(DEFECTS)
    # Vertices that are not inside lie on the true surface, and nearly all of the surface remains.
    assert solid.distance(broken.vertices).max() < 0.01
    middles = {tuple(np.round(middle, 9)) for middle in broken.triangles_center}
    kept = sum(tuple(np.round(middle, 9)) in middles for middle in mesh.triangles_center)
    assert kept > 0.95 * len(mesh.faces)


def test_equal_seeds_give_equal_defects_and_different_seeds_differ(mesh: trimesh.Trimesh) -> None:
    one, same, other = (break_mesh(mesh, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one[1] == same[1]
    assert one[0].vertices.tobytes() == same[0].vertices.tobytes()
    assert one[0].faces.tobytes() == same[0].faces.tobytes()
    assert one[0].faces.tobytes() != other[0].faces.tobytes()


def test_every_defect_is_drawn(mesh: trimesh.Trimesh) -> None:
    drawn = [set(break_mesh(mesh, np.random.default_rng(seed))[1]) for seed in range(12)]
    assert set.union(*drawn) == set(DEFECTS)


def test_the_input_mesh_is_not_changed(mesh: trimesh.Trimesh) -> None:
    before = mesh.vertices.tobytes(), mesh.faces.tobytes()
    break_mesh(mesh, np.random.default_rng(0))
    assert before == (mesh.vertices.tobytes(), mesh.faces.tobytes())
