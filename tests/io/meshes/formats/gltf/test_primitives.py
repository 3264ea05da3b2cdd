"""Triangles of primitives: topologies, indices, morph targets, and what is no triangle."""

import numpy as np
import pytest

from sdfkit.errors import GeometryError, InputError
from tests.io.meshes.formats.gltf.files import CUBE, CUBE_FACES, File, bounds, corners, cube, read, volume

# Two rows of three points; the strip runs in a zigzag between them, all triangles facing +z.
ROWS = np.array([(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0), (2, 0, 0), (2, 1, 0)], float)[[1, 0, 3, 2, 5, 4]]
# The corners of a hexagon, counter-clockwise as seen from +z.
HEXAGON = np.array([(np.cos(a), np.sin(a), 0) for a in np.arange(6) * np.pi / 3])


def one(vertices, faces, mode, kind="u2"):
    file = File()
    file.tree["nodes"] = [{"mesh": file.mesh(vertices, faces, kind, {"mode": mode})}]
    return file


def normals(parts):
    """Normals of faces with twice the area as length."""
    a, b, c = np.moveaxis(corners(parts), 1, 0)
    return np.cross(b - a, c - a)


@pytest.mark.parametrize("indices", [None, np.arange(6)])
def test_strips_alternate_so_that_all_triangles_face_one_side(indices):
    parts, _ = read(one(ROWS, indices, 5))
    assert parts[0].faces.tolist() == [[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4]]
    assert np.allclose(normals(parts), [(0, 0, 1)] * 4)


@pytest.mark.parametrize("indices", [None, np.arange(6)])
def test_fans_turn_around_their_first_vertex(indices):
    parts, _ = read(one(HEXAGON, indices, 6))
    assert parts[0].faces.tolist() == [[1, 2, 0], [2, 3, 0], [3, 4, 0], [4, 5, 0]]
    assert normals(parts)[:, 2].sum() / 2 == pytest.approx(1.5 * np.sqrt(3))


def test_degenerate_triangles_that_join_strips_are_dropped_and_keep_the_count():
    # Two strips of two triangles, joined by repeated vertices; the second begins at an even place.
    joined = [0, 1, 2, 3, 3, 2, 2, 3, 4, 5]
    parts, source = read(one(ROWS, joined, 5))
    assert parts[0].faces.tolist() == [[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4]]
    assert source.left_out == []


@pytest.mark.parametrize("mode", [4, 5, 6])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_indices_are_no_triangle(mode, count):
    with pytest.raises(GeometryError, match="its scene shows no triangles"):
        read(one(CUBE, np.arange(count), mode))


def test_lists_may_come_without_indices():
    parts, _ = read(one(CUBE[CUBE_FACES].reshape(-1, 3), None, 4))
    assert (
        volume(parts) == pytest.approx(1) and parts[0].faces.tolist() == np.arange(36).reshape(12, 3).tolist()
    )


@pytest.mark.parametrize("kind", ["u1", "u2", "u4"])
def test_indices_of_all_unsigned_types_are_read(kind):
    assert volume(read(one(CUBE, CUBE_FACES, 4, kind))[0]) == pytest.approx(1)


def test_the_largest_index_of_a_type_is_an_index_like_others():
    vertices = np.zeros((65536, 3))
    vertices[[1, 2, 65535]] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    assert bounds(read(one(vertices, [1, 2, 65535], 4))[0]) == ([0, 0, 0], [1, 1, 1])


@pytest.mark.parametrize("kind", ["i1", "i2", "f4"])
def test_indices_of_other_types_are_refused(kind):
    with pytest.raises(InputError, match="indices of type"):
        read(one(CUBE, CUBE_FACES, 4, kind))


def test_a_face_without_its_vertex_is_refused():
    with pytest.raises(InputError, match=r"file\.glb: .* \(a face refers to vertex 8 of 8\)"):
        read(one(CUBE, [0, 1, 8], 4))


@pytest.mark.parametrize(("accessor", "name"), [(0, "POSITION"), (1, "indices")])
def test_positions_and_indices_without_data_are_refused(accessor, name):
    file = cube()
    del file.tree["accessors"][accessor]["bufferView"]
    with pytest.raises(InputError, match=f"{name} has no data"):
        read(file)


def test_an_incomplete_last_triangle_is_left_out_and_reported():
    parts, source = read(one(CUBE, [*CUBE_FACES.ravel(), 0, 1], 4))
    assert len(parts[0].faces) == 12
    assert source.left_out == ["an incomplete triangle at the end of a list was left out"]


def test_points_and_lines_beside_triangles_are_left_out_and_counted():
    file = cube()
    far = file.accessor([(50, 0, 0), (-50, 0, 0), (0, 60, 0)])
    lines = [{"attributes": {"POSITION": far}, "mode": mode} for mode in (0, 1, 2, 3)]
    file.tree["meshes"][0]["primitives"] += lines
    parts, source = read(file)
    assert bounds(parts) == ([-0.5, -0.5, -0.5], [0.5, 0.5, 0.5])
    assert source.left_out == ["3 points were left out", "3 line primitives were left out"]


@pytest.mark.parametrize(
    ("mode", "what"),
    [(0, "holds 8 points, but no triangles"), (1, "holds 1 line primitive, but no"), (3, "1 line primitive")],
)
def test_files_without_triangles_are_refused_by_what_they_hold(mode, what):
    with pytest.raises(GeometryError, match=what + ".*; sdfkit needs a surface"):
        read(one(CUBE, None, mode))


@pytest.mark.parametrize("mode", [7, -1, "4", None])
def test_unknown_modes_are_refused(mode):
    with pytest.raises(InputError, match="a primitive has mode"):
        read(one(CUBE, CUBE_FACES, mode))


def test_a_primitive_without_positions_is_left_out():
    file = cube()
    file.tree["meshes"][0]["primitives"].append({"attributes": {"NORMAL": 0}})
    assert read(file)[1].left_out == ["1 primitive without positions was left out"]


@pytest.mark.parametrize(("kind", "whole"), [("i1", 127), ("i2", 32767), ("u1", 255), ("u2", 65535)])
def test_normalized_positions_keep_their_shape(kind, whole):
    file = File(extensionsRequired=["KHR_mesh_quantization"])
    mesh = file.mesh()
    sign = 2 if kind.startswith("i") else 1
    stored = np.round((CUBE * sign + (0.5 if sign == 1 else 0)) * whole)
    file.primitive()["attributes"]["POSITION"] = file.accessor(stored, kind, normalized=True)
    file.tree["nodes"] = [{"mesh": mesh, "scale": [1, 3, 1]}]
    low, high = bounds(read(file)[0])
    assert np.allclose(low, [-1, -3, -1] if sign == 2 else 0, atol=1e-12) and np.allclose(high, [1, 3, 1])


def test_vertices_that_other_primitives_use_are_not_repeated():
    file = File()
    shared = file.accessor(np.concatenate([CUBE, CUBE + 10, CUBE + 20]))
    indices = [file.accessor((CUBE_FACES + 8 * k).reshape(-1, 1), "u1") for k in range(3)]
    primitives = [{"attributes": {"POSITION": shared}, "indices": index} for index in indices]
    primitives[0]["indices"] = file.accessor([0, 1, 3], "u1")
    file.tree |= {"meshes": [{"primitives": primitives}], "nodes": [{"mesh": 0}]}
    parts, _ = read(file)
    assert [len(part.vertices) for part in parts] == [3, 24, 24]
    assert np.array_equal(parts[0].vertices, CUBE[[0, 1, 3]]) and parts[0].faces.tolist() == [[0, 1, 2]]


UP, OUT = np.where(CUBE[:, 1:2] > 0, (0.0, 1.0, 0.0), 0), np.where(CUBE[:, :1] > 0, (1.0, 0.0, 0.0), 0)


def morphing(weights, node_weights=None):
    """A cube with two morph targets: its top rises by 1, and its side moves out by 1."""
    file = File()
    file.mesh(more={"targets": [{"POSITION": file.accessor(UP)}, {"POSITION": file.accessor(OUT)}]})
    if weights is not None:
        file.tree["meshes"][0]["weights"] = weights
    file.tree["nodes"] = [{"mesh": 0} | ({} if node_weights is None else {"weights": node_weights})]
    return file


@pytest.mark.parametrize(
    ("mesh", "node", "size"),
    [
        (None, None, [1, 1, 1]),
        ([0.5, 0], None, [1, 1.5, 1]),
        ([0.5, 2], None, [3, 1.5, 1]),
        ([0.5, 2], [0, 1], [2, 1, 1]),
        (None, [-0.5, 0], [1, 0.5, 1]),
    ],
)
def test_morph_targets_have_the_weights_of_the_node_or_else_of_the_mesh(mesh, node, size):
    parts, _ = read(morphing(mesh, node))
    assert np.allclose(np.subtract(*bounds(parts)[::-1]), size) and volume(parts) == pytest.approx(
        np.prod(size)
    )


def test_morph_targets_may_be_sparse_and_normalized():
    file = morphing([0.5, 1])
    targets = file.primitive()["targets"]
    top = np.flatnonzero(UP.any(axis=1))
    rows, values = file.view(top.astype("u1").tobytes()), file.view(UP[top].astype("<f4").tobytes())
    sparse = {"indices": {"bufferView": rows, "componentType": 5121}, "values": {"bufferView": values}}
    accessor = {"componentType": 5126, "count": 8, "type": "VEC3", "sparse": {"count": 4} | sparse}
    targets[0]["POSITION"] = file.append("accessors", accessor)
    targets[1]["POSITION"] = file.accessor(OUT * 127, "i1", normalized=True)
    assert np.allclose(np.subtract(*bounds(read(file)[0])[::-1]), [2, 1.5, 1])


def test_morph_targets_act_before_skins():
    file = morphing([1, 0])
    attributes = file.primitive()["attributes"]
    attributes["JOINTS_0"] = file.accessor(np.zeros((8, 4)), "u1")
    attributes["WEIGHTS_0"] = file.accessor(np.tile([1, 0, 0, 0], (8, 1)))
    file.tree["skins"] = [{"joints": [1]}]
    file.tree["nodes"] = [{"mesh": 0, "skin": 0}, {"scale": [1, 3, 1]}]
    assert np.allclose(np.subtract(*bounds(read(file)[0])[::-1]), [1, 6, 1])


@pytest.mark.parametrize("weights", [[1], [1, 2, 3]])
def test_weights_that_do_not_match_the_targets_are_refused(weights):
    with pytest.raises(InputError, match=rf"\({len(weights)} weights? for 2 morph targets"):
        read(morphing(weights))


def test_a_morph_target_of_another_length_is_refused():
    file = morphing([1, 0])
    file.primitive()["targets"][0]["POSITION"] = file.accessor(UP[:7])
    with pytest.raises(InputError, match="a morph target has 7 values for 8 vertices"):
        read(file)
