"""Topology of meshes with known connectivity."""

import numpy as np
import pytest
import trimesh

from sdfkit.geometry.distance.tree import TriangleTree
from sdfkit.geometry.topology import describe_topology, edges_cancel, join_vertices


def soup_of(mesh):
    return trimesh.Trimesh(
        mesh.triangles.reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3), process=False
    )


def edges_of(faces):
    return np.concatenate([faces[:, [k, (k + 1) % 3]] for k in range(3)])


def test_topology_counts_vertices_at_one_position_once():
    torus, ball = trimesh.creation.torus(0.6, 0.2), trimesh.creation.icosphere(2, 0.1)
    both = trimesh.util.concatenate([torus, ball])
    soup = soup_of(both)
    assert describe_topology(torus) == (1, 0)
    assert describe_topology(both) == describe_topology(soup) == (2, 2)
    assert describe_topology(trimesh.Trimesh()) == (0, 0)
    unused = trimesh.Trimesh([[9, 9, 9], *ball.vertices], ball.faces + 1, process=False)
    assert describe_topology(unused) == (1, 2)


def test_joining_vertices_closes_a_triangle_soup_and_keeps_a_closed_mesh():
    ball = trimesh.creation.icosphere(2)
    assert join_vertices(ball) is ball
    soup = soup_of(ball)
    joined = join_vertices(soup)
    assert joined.is_watertight and joined.euler_number == 2
    assert len(soup.vertices) == 3 * len(soup.faces), "the input is not changed"
    assert np.allclose(joined.bounds, ball.bounds)


def test_joining_vertices_does_not_close_holes():
    ball = trimesh.creation.icosphere(2)
    holed = soup_of(trimesh.Trimesh(ball.vertices, ball.faces[1:], process=False))
    assert not join_vertices(holed).is_watertight


@pytest.mark.parametrize("faces", ["all", "one missing", "one flipped"])
def test_edges_cancel_on_closed_surfaces_only(faces):
    box = trimesh.creation.box()
    chosen = {
        "all": box.faces,
        "one missing": box.faces[1:],
        "one flipped": np.concatenate([box.faces[:1, ::-1], box.faces[1:]]),
    }[faces]
    assert edges_cancel(edges_of(chosen)) == (faces == "all") == TriangleTree(box.vertices, chosen).closed


def test_edges_cancel_where_four_faces_meet():
    boxes = trimesh.util.concatenate([trimesh.creation.box(), trimesh.creation.box()])
    boxes.vertices[8:] += [1, 1, 0]
    boxes.merge_vertices()
    assert edges_cancel(edges_of(boxes.faces)) and not boxes.is_watertight


def test_no_edges_and_edges_without_length_cancel():
    assert edges_cancel(np.zeros((0, 2), dtype=np.int64)) and edges_cancel(np.array([[3, 3]]))
