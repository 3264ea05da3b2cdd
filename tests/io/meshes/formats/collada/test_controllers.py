"""Skins and morphs of COLLADA files, whose joints and weights are known."""

import numpy as np
import pytest

from sdfkit.errors import InputError
from tests.io.meshes.formats.collada.collada_files import (
    BOX,
    TRIANGLES,
    bounds,
    broken,
    collada,
    corners,
    geometry,
    names,
    read,
    source,
    volume,
    words,
)


def skin(weights, joints=("low", "high"), inverse=None, shape="", base="g", kind="Name_array", more=""):
    inverse = np.stack([np.eye(4)] * len(joints)) if inverse is None else inverse
    pairs = [(joint, row) for row, (joint, _) in enumerate(weights)]
    return (
        f'<library_controllers><controller id="c"><skin source="#{base}">{shape}{names("joints", joints, kind)}'
        f"{source('inverse', inverse, ['TRANSFORM'], 'float4x4')}"
        f"{source('weights', [(weight,) for _, weight in weights], ['WEIGHT'])}"
        '<joints><input semantic="JOINT" source="#joints"/>'
        '<input semantic="INV_BIND_MATRIX" source="#inverse"/></joints>'
        f'<vertex_weights count="8"><input semantic="JOINT" source="#joints" offset="0"/>'
        f'<input semantic="WEIGHT" source="#weights" offset="1"/><vcount>{words([len(weights) // 8] * 8)}</vcount>'
        f"<v>{words(pairs)}</v></vertex_weights></skin></controller>{more}</library_controllers>"
    )


SKELETON = (
    '<node id="root"><translate>0 0 100</translate><node id="l" sid="low" type="JOINT">'
    '<node id="h" sid="high" type="JOINT"><translate>10 0 0</translate></node></node></node>'
    '<node><translate>7 7 7</translate><instance_controller url="#c"><skeleton>#l</skeleton>'
    "</instance_controller></node>"
)


@pytest.mark.parametrize("colour", [False, True])
def test_skins_are_posed_by_their_joints(colour):
    # The four vertices at y = 2 follow the upper joint, the others the lower one.
    weights = [(int(y > 0), 1) for _, y, _ in BOX]
    parts, file = read(collada(SKELETON, more=skin(weights)), colour=colour)
    expected = np.array(BOX, float) + [0, 0, 100] + [(10 * (y > 0), 0, 0) for _, y, _ in BOX]
    assert np.allclose(corners(parts), expected[TRIANGLES])
    assert file.left_out == []


def test_bind_matrices_apply_before_the_joints():
    inverse = np.stack([np.eye(4), np.diag([2, 2, 2, 1])])
    inverse[0, :3, 3] = -1, 0, 0
    shape = "<bind_shape_matrix>0 -1 0 0 1 0 0 0 0 0 1 0 0 0 0 1</bind_shape_matrix>"
    parts, _ = read(collada(SKELETON, more=skin([(0, 1)] * 8, inverse=inverse, shape=shape)))
    assert np.allclose(bounds(parts), [-3, 0, 100, -1, 1, 103])
    parts, _ = read(collada(SKELETON, more=skin([(1, 1)] * 8, inverse=inverse, shape=shape)))
    assert np.allclose(bounds(parts), [6, 0, 100, 10, 2, 106])


@pytest.mark.parametrize("whole", [1, 0.5, 4])
def test_weights_blend_and_are_divided_by_their_sum(whole):
    weights = [pair for _ in BOX for pair in ((0, 0.75 * whole), (1, 0.25 * whole))]
    assert np.allclose(bounds(read(collada(SKELETON, more=skin(weights)))[0]), [2.5, 0, 100, 3.5, 2, 103])


def test_vertices_without_weights_and_joint_minus_one_keep_the_bind_shape():
    expected = [0, 0, 0, 1, 2, 3]
    assert np.allclose(bounds(read(collada(SKELETON, more=skin([(1, 0)] * 8)))[0]), expected)
    assert np.allclose(bounds(read(collada(SKELETON, more=skin([(-1, 1)] * 8)))[0]), expected)


def test_joints_are_found_without_a_skeleton():
    nodes = SKELETON.replace("<skeleton>#l</skeleton>", "")
    assert np.allclose(bounds(read(collada(nodes, more=skin([(1, 1)] * 8)))[0]), [10, 0, 100, 11, 2, 103])


def test_joints_may_be_named_by_id():
    content = collada(SKELETON, more=skin([(1, 1)] * 8, joints=("l", "h"), kind="IDREF_array"))
    assert np.allclose(bounds(read(content)[0]), [10, 0, 100, 11, 2, 103])


def test_mirrored_joints_keep_faces_outwards():
    inverse = np.stack([np.diag([-1, 1, 1, 1]), np.eye(4)])
    parts, _ = read(collada(SKELETON, more=skin([(0, 1)] * 8, inverse=inverse)))
    assert volume(parts) == pytest.approx(6)


def morph(method, weights, base="g", name="m"):
    return (
        f'<controller id="{name}"><morph source="#{base}"{method}>{names("targets", ["t", "u"], "IDREF_array")}'
        f"{source('morphs', [(weight,) for weight in weights], ['MORPH_WEIGHT'])}<targets>"
        '<input semantic="MORPH_TARGET" source="#targets"/><input semantic="MORPH_WEIGHT" source="#morphs"/></targets>'
        "</morph></controller>"
    )


MORPHED = (
    geometry()
    + geometry(points=np.array(BOX) * [3, 1, 1], name="t")
    + geometry(points=np.array(BOX) * [1, 5, 1], name="u")
)


@pytest.mark.parametrize(
    ("method", "weights", "size"),
    [
        ("", (0, 0), (1, 2, 3)),
        ("", (0.5, 0), (2, 2, 3)),  # half base, half target
        (' method="NORMALIZED"', (0.25, 0.25), (1.5, 4, 3)),
        (' method="RELATIVE"', (0.5, 0), (2.5, 3, 4.5)),  # base plus half of the target
    ],
)
def test_morphs_have_their_default_weights(method, weights, size):
    controllers = f"<library_controllers>{morph(method, weights)}</library_controllers>"
    nodes = '<node><instance_controller url="#m"/></node>'
    parts, file = read(collada(nodes, MORPHED, more=controllers))
    assert np.allclose(bounds(parts), [0, 0, 0, *size])
    assert file.left_out == []


def test_a_skin_moves_a_morph():
    controllers = skin([(1, 1)] * 8, base="m", more=morph("", (0.5, 0)))
    parts, _ = read(collada(SKELETON, MORPHED, more=controllers))
    assert np.allclose(bounds(parts), [10, 0, 100, 12, 2, 103])


SKINNED = collada(SKELETON, more=skin([(0, 1)] * 8))
MORPHING = collada(
    '<node><instance_controller url="#m"/></node>', MORPHED,
    more=f"<library_controllers>{morph('', (0.5, 0))}</library_controllers>",
)  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (broken("<v>0 0", "<v>2 0", SKINNED), "joint or weight that does not exist"),
        (broken("<v>0 0", "<v>0 8", SKINNED), "joint or weight that does not exist"),
        (broken("<v>0 0", "<v>0.5 0", SKINNED), "joint or weight that does not exist"),
        (broken("<v>0 0", "<v>0", SKINNED), "the weights of a skin do not match"),
        (broken("<vcount>1 ", "<vcount>", SKINNED), "the weights of a skin do not match its 8 vertices"),
        (broken("low high", "low tail", SKINNED), "joint tail of a skin is not in the scene"),
        (broken("low high", "low", SKINNED), "has 1 joint, but 2 matrices for them"),
        (broken('"INV_BIND_MATRIX"', '"OTHER"', SKINNED), "a skin has no joints or no weights"),
        (broken("<skeleton>#l", "<skeleton>#x", SKINNED), "node with the id 'x', which does not exist"),
        (
            broken("<skin", "<coat", SKINNED).replace(b"</skin", b"</coat"),
            "controller c has no skin and no morph",
        ),
        (broken('<skin source="#g"', '<skin source="#c"', SKINNED), "controller c"),
        (broken("t u<", "t v<", MORPHING), "geometry with the id 'v', which does not exist"),
        (broken("t u<", "t<", MORPHING), "a morph has 1 target, but 2 weights"),
        (
            broken('semantic="MORPH_WEIGHT"', 'semantic="OTHER"', MORPHING),
            "a morph has no targets or weights",
        ),
    ],
)
def test_damaged_controllers_are_refused(content, message):
    with pytest.raises(InputError) as caught:
        read(content)
    assert message in str(caught.value)


def test_targets_have_the_vertices_of_their_base():
    other = geometry(points=[*BOX, (9, 9, 9)], name="u")
    meshes = MORPHED.replace(geometry(points=np.array(BOX) * [1, 5, 1], name="u"), other)
    controllers = f"<library_controllers>{morph('', (0.5, 0))}</library_controllers>"
    with pytest.raises(InputError, match="morph target u has another number of vertices than its base"):
        read(collada('<node><instance_controller url="#m"/></node>', meshes, more=controllers))
