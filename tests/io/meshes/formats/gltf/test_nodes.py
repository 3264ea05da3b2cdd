"""Where nodes, scenes, instances and skins place meshes."""

import numpy as np
import pytest

from sdfkit.errors import GeometryError, InputError
from tests.io.meshes.formats.gltf.files import CUBE, File, bounds, corners, cube, read, volume

S = float(np.sqrt(0.5))


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({}, ([-0.5, -0.5, -0.5], [0.5, 0.5, 0.5])),
        ({"translation": [1, 2, 3]}, ([0.5, 1.5, 2.5], [1.5, 2.5, 3.5])),
        ({"scale": [2, 4, 6], "translation": [1, 0, 0]}, ([0, -2, -3], [2, 2, 3])),
        # A quarter turn about z takes x to y.
        ({"rotation": [0, 0, S, S], "scale": [4, 1, 1]}, ([-0.5, -2, -0.5], [0.5, 2, 0.5])),
        # Quaternions that are not of unit length only rotate.
        ({"rotation": [0, 0, 3, 3], "scale": [4, 1, 1]}, ([-0.5, -2, -0.5], [0.5, 2, 0.5])),
        ({"matrix": [2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 0, 5, 6, 7, 1]}, ([4, 4.5, 5], [6, 7.5, 9])),
        ({"scale": [-2, 1, 1], "translation": [1, 0, 0]}, ([0, -0.5, -0.5], [2, 0.5, 0.5])),
        ({"scale": [-1, -1, -1]}, ([-0.5, -0.5, -0.5], [0.5, 0.5, 0.5])),
    ],
)
def test_a_node_places_its_mesh_and_its_faces_point_outwards(node, expected):
    parts, _ = read(cube(**node))
    assert np.allclose(bounds(parts), expected, atol=1e-12)
    assert volume(parts) == pytest.approx(np.prod(np.subtract(*expected[::-1])))


def test_transformations_of_parents_come_after_those_of_children():
    file = File()
    mesh = file.mesh()
    file.tree["nodes"] = [
        {"scale": [2, 2, 2], "children": [1]},
        {"translation": [3, 0, 0], "rotation": [0, 0, S, S], "children": [2]},
        {"translation": [1, 0, 0], "mesh": mesh, "scale": [1, 1, -1]},
    ]
    parts, _ = read(file)
    # The child at x = 1 turns to y = 1, moves by 3 along x, and doubles.
    assert np.allclose(bounds(parts), ([5, 1, -1], [7, 3, 1]))
    assert volume(parts) == pytest.approx(8)


def test_a_mesh_shown_by_several_nodes_is_read_for_each():
    file = File()
    file.mesh()
    file.tree["nodes"] = [{"mesh": 0, "translation": [k, 0, 0], "scale": [(-1) ** k, 1, 1]} for k in range(4)]
    parts, source = read(file)
    assert bounds(parts) == ([-0.5, -0.5, -0.5], [3.5, 0.5, 0.5])
    assert volume(parts) == pytest.approx(4) and len(corners(parts)) == 48 and source.left_out == []


def test_meshes_below_cameras_and_lights_are_read():
    file = File(cameras=[{"type": "perspective", "perspective": {"yfov": 1, "znear": 1}}])
    file.mesh()
    file.tree["nodes"] = [
        {"camera": 0, "translation": [0, 4, 0], "children": [1]},
        {"extensions": {"KHR_lights_punctual": {"light": 0}}, "children": [2]},
        {"mesh": 0},
    ]
    assert bounds(read(file)[0]) == ([-0.5, 3.5, -0.5], [0.5, 4.5, 0.5])


def test_nodes_deeper_than_the_recursion_limit_are_read():
    file = File()
    file.mesh()
    chain = [{"translation": [0, 0, 1], "children": [k + 1]} for k in range(3000)]
    file.tree["nodes"] = [*chain, {"mesh": 0}]
    assert bounds(read(file)[0]) == ([-0.5, -0.5, 2999.5], [0.5, 0.5, 3000.5])


def two_cubes(**tree):
    file = File(**tree)
    file.mesh()
    file.mesh(vertices=CUBE + [0, 9, 0])
    file.tree["nodes"] = [{"mesh": 0}, {"mesh": 1}]
    return file


@pytest.mark.parametrize(
    ("tree", "low", "high", "left_out"),
    [
        ({}, -0.5, 9.5, []),
        ({"scenes": [{"nodes": [0, 1]}]}, -0.5, 9.5, []),
        (
            {"scene": 0, "scenes": [{"nodes": [1]}]},
            8.5,
            9.5,
            ["1 of 2 meshes was left out because the scene does not show it"],
        ),
        (
            {"scene": 1, "scenes": [{"nodes": [0]}, {"nodes": [1, 0]}]},
            -0.5,
            9.5,
            ["1 other scene was left out"],
        ),
        (
            {"scenes": [{"nodes": [0]}, {"nodes": [1]}, {}]},
            -0.5,
            0.5,
            [
                "2 other scenes were left out",
                "1 of 2 meshes was left out because the scene does not show it",
            ],
        ),
    ],
)
def test_the_default_scene_is_read_and_the_rest_is_reported(tree, low, high, left_out):
    parts, source = read(two_cubes(**tree))
    assert (bounds(parts)[0][1], bounds(parts)[1][1]) == (low, high)
    assert source.left_out == left_out


def test_without_nodes_all_meshes_are_read_where_they_are():
    file = two_cubes()
    del file.tree["nodes"]
    assert bounds(read(file)[0])[1][1] == 9.5


@pytest.mark.parametrize(
    ("nodes", "scene", "fault"),
    [
        ([{"children": [1]}, {"children": [0]}], None, "its nodes form a cycle"),
        ([{"mesh": 0, "children": [0]}], None, "its nodes form a cycle"),
        ([{"children": [2]}, {"children": [2]}, {"mesh": 0}], None, "node 2 is a child of nodes 0 and 1"),
        ([{"children": [1, 1]}, {"mesh": 0}], None, "node 1 is a child of nodes 0 and 0"),
        ([{"children": [1]}, {"mesh": 0}], [0, 1], "node 1 belongs to a scene and to node 0"),
        ([{"mesh": 0}], [0, 0], "a scene has a node twice"),
        ([{"mesh": 0}, {}], [1], "holds meshes, but its scene shows no triangles; sdfkit needs a surface"),
        ([{"mesh": 0}], [], "holds meshes, but its scene shows no triangles"),
    ],
)
def test_nodes_without_one_place_are_refused(nodes, scene, fault):
    file = File(nodes=nodes, **({} if scene is None else {"scenes": [{"nodes": scene}]}))
    file.mesh()
    with pytest.raises((InputError, GeometryError), match=fault):
        read(file)


def test_nodes_scaled_to_a_point_and_invisible_nodes_are_left_out():
    file = File()
    file.mesh()
    hidden = {"extensions": {"KHR_node_visibility": {"visible": False}}}
    file.tree["nodes"] = [
        {"mesh": 0},
        {"mesh": 0, "scale": [0, 0, 0], "translation": [9, 9, 9]},
        hidden | {"children": [3]},
        {"mesh": 0, "translation": [7, 7, 7]},
        {"extensions": {"KHR_node_visibility": {"visible": True}}, "mesh": 0, "translation": [1, 0, 0]},
    ]
    parts, source = read(file)
    assert bounds(parts) == ([-0.5, -0.5, -0.5], [1.5, 0.5, 0.5])
    assert source.left_out == ["2 hidden nodes were left out"]


def instanced(**attributes):
    file = File()
    file.mesh()
    node = {"mesh": 0, "translation": [0, 0, 10]}
    file.tree["nodes"] = [node]
    indices = {key: file.accessor(*value) for key, value in attributes.items()}
    node["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": indices}}
    file.tree["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    return file


def test_instances_are_placed_inside_their_node():
    file = instanced(TRANSLATION=([(0, 0, 0), (5, 0, 0)],), SCALE=([(1, 1, 1), (2, -2, 2)],))
    parts, _ = read(file)
    assert bounds(parts) == ([-0.5, -1, 9], [6, 1, 11]) and volume(parts) == pytest.approx(1 + 8)


@pytest.mark.parametrize(("kind", "whole"), [("f4", 1), ("i1", 127), ("i2", 32767)])
def test_rotations_of_instances_may_be_normalized(kind, whole):
    turn = np.array([(0, 0, 0, 1), (0, 0, 1, 1)]) * whole
    more = {} if kind == "f4" else {"normalized": True}
    file = instanced(SCALE=([(3, 1, 1)] * 2,), TRANSLATION=([(0, 0, 0), (0, 0, 5)],))
    attributes = file.tree["nodes"][0]["extensions"]["EXT_mesh_gpu_instancing"]["attributes"]
    attributes["ROTATION"] = file.accessor(turn, kind, **more)
    low, high = np.split(corners(read(file)[0]), 2)
    assert np.allclose(np.ptp(low.reshape(-1, 3), axis=0), [3, 1, 1])
    assert np.allclose(np.ptp(high.reshape(-1, 3), axis=0), [1, 3, 1])


def test_instances_with_different_counts_are_refused():
    with pytest.raises(InputError, match="have 2 different numbers of instances"):
        read(instanced(TRANSLATION=([(0, 0, 0)],), SCALE=([(1, 1, 1)] * 2,)))


def test_more_instances_than_the_file_can_describe_are_refused():
    file = instanced(TRANSLATION=([(0, 0, 0)],))
    file.tree["accessors"][-1] |= {"count": 10**7}
    del file.tree["accessors"][-1]["bufferView"]
    with pytest.raises(InputError, match="declares 10000000 instances, but has no data"):
        read(file)


def test_a_small_file_does_not_repeat_its_mesh_without_end(monkeypatch):
    monkeypatch.setattr("sdfkit.io.meshes.formats.gltf.reader.MOST_REPEATED", 100)
    monkeypatch.setattr("sdfkit.io.meshes.formats.gltf.reader.DENSEST", 0)
    assert len(corners(read(instanced(TRANSLATION=([(0, 0, 0)] * 8,)))[0])) == 96
    with pytest.raises(InputError, match="repeats its meshes to 108 vertices or faces or more"):
        read(instanced(TRANSLATION=([(0, 0, 0)] * 9,)))


def skinned(joints, weights, nodes, inverse=None, kinds=("u1", "f4"), count=2):
    """A cube with a skin; the joints are nodes 1, 2, …"""
    file = File()
    normalized = {} if kinds[1] == "f4" else {"normalized": True}
    attributes = {
        "JOINTS_0": file.accessor(np.broadcast_to(joints, (8, 4)), kinds[0]),
        "WEIGHTS_0": file.accessor(np.broadcast_to(weights, (8, 4)), kinds[1], **normalized),
    }
    file.mesh(**attributes)
    skin = {"joints": list(range(1, 1 + count))}
    if inverse is not None:
        columns = np.swapaxes(inverse, 1, 2).reshape(-1, 16)
        skin["inverseBindMatrices"] = file.accessor(columns)
    # The transformation of the skinned node itself is ignored.
    file.tree |= {"skins": [skin], "nodes": [{"mesh": 0, "skin": 0, "translation": [99, 99, 99]}, *nodes]}
    return file


def shift(x, y, z):
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


@pytest.mark.parametrize("kinds", [("u1", "f4"), ("u2", "u1"), ("u1", "u2")])
def test_joints_place_a_skinned_mesh(kinds):
    whole = {"f4": 1, "u1": 255, "u2": 65535}[kinds[1]]
    nodes = [{"translation": [0, 2, 0], "children": [2]}, {"translation": [0, 0, 3]}]
    parts, source = read(skinned([1, 0, 0, 0], [whole, 0, 0, 0], nodes, kinds=kinds))
    assert np.allclose(bounds(parts), ([-0.5, 1.5, 2.5], [0.5, 2.5, 3.5])) and source.left_out == []
    assert volume(parts) == pytest.approx(1)


def test_inverse_bind_matrices_take_vertices_to_their_joint():
    nodes = [{"translation": [0, 2, 0], "scale": [2, 2, 2]}, {}]
    inverse = [shift(-0.5, 0, 0), np.eye(4)]
    parts, _ = read(skinned([0, 0, 0, 0], [1, 0, 0, 0], nodes, inverse))
    assert np.allclose(bounds(parts), ([-2, 1, -1], [0, 3, 1]))


@pytest.mark.parametrize("scale", [1, 0.5, 3])
def test_weights_blend_joints_whatever_their_sum(scale):
    nodes = [{}, {"translation": [4, 0, 0]}]
    parts, _ = read(skinned([0, 1, 0, 0], np.array([0.75, 0.25, 0, 0]) * scale, nodes))
    assert np.allclose(bounds(parts), ([0.5, -0.5, -0.5], [1.5, 0.5, 0.5]))


def test_a_second_set_of_joints_counts_like_the_first():
    file = skinned([0, 0, 0, 0], [0.5, 0, 0, 0], [{}, {"translation": [4, 0, 0]}])
    file.primitive()["attributes"] |= {
        "JOINTS_1": file.accessor(np.tile([1, 0, 0, 0], (8, 1)), "u2"),
        "WEIGHTS_1": file.accessor(np.tile([0.5, 0, 0, 0], (8, 1))),
    }
    assert np.allclose(bounds(read(file)[0]), ([1.5, -0.5, -0.5], [2.5, 0.5, 0.5]))


def test_joints_that_mirror_flip_the_faces():
    parts, _ = read(skinned([0, 0, 0, 0], [1, 0, 0, 0], [{"scale": [-1, 1, 1]}, {}]))
    assert volume(parts) == pytest.approx(1)


def test_vertices_without_weights_follow_their_first_joint_and_are_counted():
    parts, source = read(skinned([1, 0, 0, 0], [0, 0, 0, 0], [{}, {"translation": [4, 0, 0]}]))
    assert np.allclose(bounds(parts), ([3.5, -0.5, -0.5], [4.5, 0.5, 0.5]))
    assert source.left_out == ["8 vertices without weights follow their first joint"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda file: file.tree["skins"][0].update(joints=[1]), "a vertex refers to joint 1 of 1"),
        (lambda file: file.tree["skins"][0].update(joints=[1, 7]), r"nodes\[7\] does not exist"),
        (lambda file: file.primitive()["attributes"].pop("WEIGHTS_0"), "WEIGHTS_0"),
        (
            lambda file: file.tree["skins"][0].update(inverseBindMatrices=file.accessor([np.eye(4).ravel()])),
            "1 inverse bind matrix for 2 joints",
        ),
        (
            lambda file: file.tree["nodes"][0].update(extensions={"EXT_mesh_gpu_instancing": {}}),
            "has instances of a skinned mesh",
        ),
    ],
)
def test_skins_that_contradict_themselves_are_refused(change, fault):
    file = skinned([1, 0, 0, 0], [1, 0, 0, 0], [{}, {}])
    change(file)
    with pytest.raises((InputError, GeometryError), match=fault):
        read(file)
