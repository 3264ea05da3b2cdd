"""COLLADA files whose shape is known: every kind of primitive, transformation and controller, and what is refused."""

import numpy as np
import pytest

from sdfkit.errors import GeometryError, InputError
from tests.io.meshes.formats.collada.collada_files import (
    BOX,
    HOLE,
    NOTCHED,
    QUADS,
    SCHEMA_1_4,
    SCHEMA_1_5,
    SQUARE,
    TRIANGLES,
    area_vector,
    bounds,
    box_faces,
    broken,
    collada,
    geometry,
    read,
    source,
    vertex,
    volume,
    words,
)


@pytest.mark.parametrize(
    ("up", "low", "high"),
    [
        ("Y_UP", (0, 0, 0), (1, 2, 3)),
        ("Z_UP", (0, 0, -2), (1, 3, 0)),  # right +X, up +Z, towards the viewer -Y
        ("X_UP", (-2, 0, 0), (0, 1, 3)),  # right -Y, up +X, towards the viewer +Z
    ],
)
@pytest.mark.parametrize("colour", [False, True])
def test_the_up_axis_turns_to_y_and_units_stay(up, low, high, colour):
    parts, file = read(collada(up=up), colour=colour)
    assert np.allclose(bounds(parts), [*low, *high])
    assert volume(parts) == pytest.approx(6)
    assert file.left_out == []


@pytest.mark.parametrize(
    ("transformation", "expected"),
    [
        ("<translate>10 20 30</translate>", (11, 22, 33)),
        ("<rotate>0 0 2 90</rotate>", (-2, 1, 3)),
        ("<rotate>0 0 0 0</rotate>", (1, 2, 3)),
        ("<scale>2 3 4</scale>", (2, 6, 12)),
        ("<matrix>0 0 1 5 1 0 0 6 0 1 0 7 0 0 0 1</matrix>", (8, 7, 9)),
        # Along X, by the tangent of 45 degrees for each unit of Y.
        ("<skew>45 0 1 0 1 0 0</skew>", (3, 2, 3)),
        # From (0, 0, 5) towards +X: -Z is +X, Y stays, X is +Z.
        ("<lookat>0 0 5 1 0 5 0 1 0</lookat>", (-3, 2, 6)),
        ("<translate>10 0 0</translate><rotate>0 0 1 90</rotate>", (8, 1, 3)),
        ("<rotate>0 0 1 90</rotate><translate>10 0 0</translate>", (-2, 11, 3)),
    ],
)
def test_transformations_apply_in_order(transformation, expected):
    points = [(1, 2, 3), (1, 2, 4), (1, 5, 3)]
    faces = f'<triangles count="1">{vertex()}<p>0 1 2</p></triangles>'
    nodes = f'<node>{transformation}<instance_geometry url="#g"/></node>'
    parts, _ = read(collada(nodes, geometry(faces, points)))
    assert np.allclose(parts[0].vertices[parts[0].faces[0, 0]], expected)


def test_nodes_nest_and_are_instanced():
    library = (
        '<library_nodes><node id="n"><translate>0 10 0</translate><node><scale>2 2 2</scale>'
        '<instance_geometry url="#g"/></node></node></library_nodes>'
    )
    nodes = (
        '<node><translate>100 0 0</translate><instance_node url="#n"/><node><instance_node url="#n"/>'
        '<instance_geometry url="#g"/></node></node>'
    )
    parts, _ = read(collada(nodes, more=library))
    assert sorted(bounds([part]) for part in parts) == [
        [100, 0, 0, 101, 2, 3], [100, 10, 0, 102, 14, 6], [100, 10, 0, 102, 14, 6]
    ]  # fmt: skip


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("scale", ["-1 1 1", "1 -2 1", "-1 -1 -1", "-1 -1 1"])
def test_mirrored_nodes_keep_their_faces_outwards(scale, colour):
    nodes = f'<node><scale>{scale}</scale><instance_geometry url="#g"/></node>'
    assert volume(read(collada(nodes), colour=colour)[0]) == pytest.approx(12 if "2" in scale else 6)


def fan_box():
    """The box as a polygon of each kind: around corner 0 a fan of six triangles, around corner 7 another."""
    return [0, 1, 3, 2, 6, 4, 5, 1], [7, 3, 1, 5, 4, 6, 2, 3]


PRIMITIVES = {
    "triangles": box_faces(),
    "no count": f"<triangles>{vertex()}<p>{words(TRIANGLES)}</p></triangles>",
    "polylist": f'<polylist count="6">{vertex()}<vcount>4 4 4 4 4 4</vcount><p>{words(QUADS)}</p></polylist>',
    "polygons": f'<polygons count="6">{vertex()}{"".join(f"<p>{words(quad)}</p>" for quad in QUADS)}</polygons>',
    "trifans": f'<trifans count="2">{vertex()}{"".join(f"<p>{words(fan)}</p>" for fan in fan_box())}</trifans>',
    "tristrips": (
        f'<tristrips count="6">{vertex()}'
        + "".join(f"<p>{words([a, b, d, c])}</p>" for a, b, c, d in QUADS)
        + "</tristrips>"
    ),
    # One strip, which passes from side to side by triangles without area.
    "joined strip": (
        f'<tristrips count="1">{vertex()}<p>'
        + words([corner for a, b, c, d in QUADS for corner in (a, a, b, d, c, c)][1:])
        + "</p></tristrips>"
    ),
    "two of them": (
        f'<polylist count="3">{vertex()}<vcount>4 4 4</vcount><p>{words(QUADS[:3])}</p></polylist>'
        f'<triangles count="6">{vertex()}<p>{words(TRIANGLES[6:])}</p></triangles>'
    ),
    "second of two indices": (
        f'<triangles count="12"><input semantic="NORMAL" source="#g-positions" offset="0"/>{vertex(1)}'
        f"<p>{words([(0, corner) for triangle in TRIANGLES for corner in triangle])}</p></triangles>"
    ),
}


@pytest.mark.parametrize("kind", PRIMITIVES)
@pytest.mark.parametrize("colour", [False, True])
def test_each_kind_of_primitive_is_read(kind, colour):
    parts, file = read(collada(geometries=geometry(PRIMITIVES[kind])), colour=colour)
    assert volume(parts) == pytest.approx(6)
    assert area_vector(parts)[1] == pytest.approx(22)
    assert sum(len(part.faces) for part in parts) == 12
    assert file.left_out == []


def test_concave_polygons_cover_what_they_outline():
    outline = words(range(8))
    for faces in (
        f'<polylist count="1">{vertex()}<vcount>8</vcount><p>{outline}</p></polylist>',
        f'<polygons count="1">{vertex()}<p>{outline}</p></polygons>',
    ):
        normal, area = area_vector(read(collada(geometries=geometry(faces, NOTCHED)))[0])
        assert np.allclose(normal, [0, 0, 7])
        assert area == pytest.approx(7)


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_polygons_have_holes(turn, axes):
    faces = (
        f'<polygons count="2">{vertex()}<p>0 1 2</p><ph><p>{words([0, 1, 2, 3][::turn])}</p>'
        f"<h>{words(range(4, 8))}</h></ph></polygons>"
    )
    points = np.array(SQUARE + HOLE, float)[:, axes]
    normal, area = area_vector(read(collada(geometries=geometry(faces, points)))[0])
    assert area == pytest.approx(4.5 + 8)
    assert normal @ normal == pytest.approx((4.5 + turn * 8) ** 2)


def test_accessors_have_offsets_strides_and_unnamed_parameters():
    rows = [(9, x, 8, y, z) for x, y, z in BOX]
    mesh = geometry().replace(
        source("g-positions", BOX),
        f'<source id="g-positions"><float_array id="h" count="42">7 7 {words(rows)}</float_array><technique_common>'
        '<accessor source="#h" count="8" offset="2" stride="5"><param type="float"/><param name="X" type="float"/>'
        '<param type="float"/><param name="Y" type="float"/><param name="Z" type="float"/></accessor>'
        "</technique_common></source>",
    )
    assert np.allclose(bounds(read(collada(geometries=mesh))[0]), [0, 0, 0, 1, 2, 3])


def test_lines_and_what_is_not_in_the_scene_are_left_out_and_noted():
    lines = f'<lines count="1">{vertex()}<p>0 1</p></lines><linestrips count="1">{vertex()}<p>0 1</p></linestrips>'
    curve = '<geometry id="c"><spline/></geometry>'
    meshes = geometry(box_faces() + lines) + geometry(name="unused") + curve
    nodes = '<node><instance_geometry url="#g"/><instance_geometry url="#c"/><instance_geometry url="b.dae#x"/></node>'
    parts, file = read(collada(nodes, meshes))
    assert volume(parts) == pytest.approx(6)
    assert file.left_out == [
        "1 primitive of kind lines was left out",
        "1 primitive of kind linestrips was left out",
        "1 geometry of kind spline was left out",
        "1 element in the file b.dae was left out",
        "1 geometry outside the scene was left out",
    ]


def test_faces_with_fewer_than_three_corners_are_noted():
    faces = f'<polylist count="2">{vertex()}<vcount>2 3</vcount><p>0 1 0 1 2</p></polylist>'
    parts, file = read(collada(geometries=geometry(faces)))
    assert len(parts[0].faces) == 1
    assert file.left_out == ["1 face with fewer than 3 corners was left out"]


def test_two_geometries_may_use_the_same_ids():
    large = geometry(points=2 * np.array(BOX), name="large").replace("large-", "g-")
    nodes = '<node><instance_geometry url="#g"/><instance_geometry url="#large"/></node>'
    parts, _ = read(collada(nodes, geometry() + large))
    assert [bounds([part]) for part in parts] == [[0, 0, 0, 1, 2, 3], [0, 0, 0, 2, 4, 6]]


def test_a_reference_may_name_the_file_itself():
    nodes = '<node><instance_geometry url="file:///C:/x/a.dae#g"/></node>'
    assert volume(read(collada(nodes))[0]) == pytest.approx(6)


@pytest.mark.parametrize(
    ("scene", "note"),
    [
        (
            '<library_visual_scenes><visual_scene id="s"><node><scale>2 1 1</scale><instance_geometry url="#g"/></node>'
            "</visual_scene></library_visual_scenes>",
            "no scene is selected, so the first one is read",
        ),
        ("", "there is no scene, so all geometries are read, where they are"),
    ],
)
@pytest.mark.parametrize("colour", [False, True])
def test_files_without_a_scene_say_what_was_read(scene, note, colour):
    parts, file = read(collada(scene=scene), colour=colour)
    assert volume(parts) == pytest.approx(12 if scene else 6)
    assert file.left_out == [note]


@pytest.mark.parametrize(("version", "schema"), [("1.4.0", SCHEMA_1_4), ("1.5.0", SCHEMA_1_5), ("1.4.1", "")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_versions_and_encodings(version, schema, encoding):
    text = (
        collada(version=version, schema=schema)
        .decode()
        .replace('encoding="utf-8"', f'encoding="{encoding[:6]}"')
    )
    assert volume(read(text.replace("utf-8-", "utf-8").encode(encoding))[0]) == pytest.approx(6)


LINES_ONLY = geometry(f'<lines count="1">{vertex()}<p>0 1</p></lines>')
TWIN = '<node id="x"><instance_node url="#x"/></node>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not well-formed XML (no element found"),
        (collada()[:-200], "not well-formed XML"),
        (
            b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "cccc">]><a>&b;</a>',
            "declares a document type (DOCTYPE)",
        ),
        (collada().replace(b"utf-8", b"gbk"), "multi-byte encodings are not supported"),
        (collada().replace(b"utf-8", b"utf-9"), "unknown encoding"),
        (b"<html/>", "is not COLLADA; its outermost element is html"),
        (collada(version="1.3.1"), "is COLLADA 1.3.1, but only 1.4 and 1.5"),
        (collada(up="W_UP"), "up_axis 'W_UP' is unknown"),
        (
            collada('<node><instance_geometry url="#x"/></node>'),
            "geometry with the id 'x', which does not exist",
        ),
        (collada(geometries=geometry() * 2), "has 2 elements geometry with the id g"),
        (collada(TWIN), "node x contains itself"),
        (collada("<node>" * 300 + "</node>" * 300), "more than 200 deep"),
        (collada("<node><translate>1 2</translate></node>"), "translate has 2 numbers in place of 3"),
        (collada("<node><translate>1 2,5 3</translate></node>"), "'2,5' in place of a number"),
        (
            collada("<node><matrix>1 0 0 0 0 1 0 0 0 0 1 0 5 6 7 1</matrix></node>"),
            "is it in column-major order?",
        ),
        (broken('count="24"', 'count="25"'), "declares 25 numbers, but has 24"),
        (broken('count="8" stride="3"', 'count="9" stride="3"'), "declares 27 numbers, but has 24"),
        (broken('stride="3"', 'stride="2"'), "g-positions has rows of 2 numbers in place of 3"),
        (broken('count="8"', 'count="-8"'), "count='-8' of an element accessor is not a number"),
        (broken('count="12"', 'count="13"'), "triangles declares 13 primitives, but has 12"),
        (broken("<p>0 1 3", "<p>0 1 8"), "does not exist (vertex 8 of 8"),
        (broken("<p>0 1 3", "<p>0 -1 3"), "does not exist (vertex -1 of 8"),
        (broken("<p>0 1 3", "<p>0 1.5 3"), "does not exist (vertex 1.5 of 8"),
        (broken("<p>0 1 3", "<p>0 1 3 3"), "an element triangles has 37 corners"),
        (broken("VERTEX", "NORMAL"), "triangles has no input VERTEX"),
        (broken("POSITION", "NORMAL"), "geometry g has no positions"),
        (
            broken("<technique_common>", "<technique>").replace(b"</technique_common>", b"</technique>", 1),
            "no accessor",
        ),
        (
            broken("4 4 4 4 4 4", "4 4 4 4 4 5", collada(geometries=geometry(PRIMITIVES["polylist"]))),
            "have 25 corners",
        ),
        (collada("<node/>", ""), "has no faces; sdfkit needs a surface"),
        (collada(geometries=LINES_ONLY), "has no faces (1 primitive of kind lines was left out); sdfkit"),
        (
            collada('<node><instance_geometry url="b.dae#g"/></node>', ""),
            "has no faces (1 element in the file b.dae was left out)",
        ),
    ],
)
@pytest.mark.parametrize("colour", [False, True])
def test_damaged_files_are_refused_in_one_line(content, message, colour):
    with pytest.raises((InputError, GeometryError)) as caught:
        read(content, colour=colour)
    assert message in str(caught.value)
    assert str(caught.value).startswith("a.dae: ")
    assert "\n" not in str(caught.value)


def test_instances_of_instances_do_not_explode(monkeypatch):
    monkeypatch.setattr("sdfkit.io.meshes.formats.collada.scene.MOST_NODES", 1000)
    links = "".join(
        f'<node id="n{k}"><instance_node url="#n{k + 1}"/><instance_node url="#n{k + 1}"/></node>'
        for k in range(40)
    )
    library = f'<library_nodes>{links}<node id="n40"><instance_geometry url="#g"/></node></library_nodes>'
    with pytest.raises(InputError, match="with their instances; it is not read"):
        read(collada('<node><instance_node url="#n0"/></node>', more=library))


def test_repeated_meshes_do_not_explode(monkeypatch):
    monkeypatch.setattr("sdfkit.io.meshes.formats.markup.MOST_FACES_PER_BYTE", 0)
    monkeypatch.setattr("sdfkit.io.meshes.formats.markup.FEW_FACES", 100)
    with pytest.raises(InputError, match="repeats its meshes to 108 faces or more, too many for"):
        read(collada('<node><instance_geometry url="#g"/></node>' * 9))
