"""Colours of COLLADA files: materials and how instances bind them, textures, vertex colours."""

import numpy as np
import pytest

from sdfkit.errors import InputError
from sdfkit.images.rendering.appearance import Material, Texture
from tests.io.meshes.formats.collada.collada_files import (
    BOX,
    TRIANGLES,
    box_faces,
    collada,
    corners,
    geometry,
    read,
    source,
    vertex,
    volume,
    words,
)

PICTURE = b"any bytes: a reader does not decode pictures"
UVS = [(0, 0), (1, 0), (1, 1), (0, 1)]


def material(diffuse, name="red", parameters=""):
    return (
        f'<library_materials><material id="{name}"><instance_effect url="#{name}-fx"/></material></library_materials>'
        f'<library_effects><effect id="{name}-fx"><profile_COMMON>{parameters}<technique sid="common"><phong>'
        f"<emission><color>1 1 1 1</color></emission><diffuse>{diffuse}</diffuse></phong></technique></profile_COMMON>"
        "</effect></library_effects>"
    )


def bound(symbol="paint", target="red", inputs=""):
    return (
        '<node><instance_geometry url="#g"><bind_material><technique_common>'
        f'<instance_material symbol="{symbol}" target="#{target}">{inputs}</instance_material>'
        "</technique_common></bind_material></instance_geometry></node>"
    )


def sampled(wrap="", image="picture"):
    return (
        f'<newparam sid="surface"><surface type="2D"><init_from>{image}</init_from></surface></newparam>'
        f'<newparam sid="sampler"><sampler2D><source>surface</source>{wrap}</sampler2D></newparam>'
    )


def image(path, name="picture"):
    return f'<library_images><image id="{name}"><init_from>{path}</init_from></image></library_images>'


def mapped(sets=(0,)):
    """A square with texture coordinates, in each set shifted by its number."""
    sources = "".join(source(f"uv{k}", np.add(UVS, k), "ST") for k in sets)
    inputs = "".join(
        f'<input semantic="TEXCOORD" source="#uv{k}" offset="{at + 1}" set="{k}"/>'
        for at, k in enumerate(sets)
    )
    rows = [[corner] * (1 + len(sets)) for corner in (0, 1, 2, 0, 2, 3)]
    faces = f'<triangles count="2" material="paint">{vertex()}{inputs}<p>{words(rows)}</p></triangles>'
    return geometry(faces, [(0, 0, 0), (5, 0, 0), (5, 5, 0), (0, 5, 0)], more=sources)


TEXTURED = '<texture texture="sampler" texcoord="UVMap"/>'


@pytest.mark.parametrize(
    "diffuse",
    ['<color sid="diffuse">0.50196 0 1 0.3</color>', '<param ref="shade"/>'],
)
def test_instances_bind_diffuse_colours(diffuse):
    parameters = '<newparam sid="shade"><float4>0.50196 0 1 1</float4></newparam>'
    content = collada(
        bound(), geometry(box_faces(material="paint")), more=material(diffuse, parameters=parameters)
    )
    parts, file = read(content, colour=True)
    assert np.allclose(parts[0].material.base, (0.2158605, 0, 1))
    assert volume(parts) == pytest.approx(6)
    assert file.missing == []


def test_instances_of_one_geometry_have_their_own_materials():
    more = material("<color>1 0 0 1</color>") + material("<color>0 1 0 1</color>", "green")
    content = collada(bound() + bound(target="green"), geometry(box_faces(material="paint")), more=more)
    assert [part.material.base for part in read(content, colour=True)[0]] == [(1, 0, 0), (0, 1, 0)]


def test_a_symbol_without_binding_is_the_id_of_a_material():
    content = collada(geometries=geometry(box_faces(material="red")), more=material("<color>1 0 0 1</color>"))
    parts, file = read(content, colour=True)
    assert parts[0].material == Material((1.0, 0.0, 0.0))
    assert file.missing == []


@pytest.mark.parametrize("nodes", [bound(target="blue"), bound(symbol="other"), bound()])
def test_missing_materials_are_noted(nodes):
    faces = box_faces(material="paint")
    parts, file = read(collada(nodes, geometry(faces)), colour=True)
    assert parts[0].material == Material()
    assert file.missing == ["paint"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a b.png", "a b.png"),
        ("textures/a%20b.png", "textures/a b.png"),
        ("file:///C:/scans/a%20b.png", "/C:/scans/a b.png"),
        ("..\\a b.png", "..\\a b.png"),
    ],
)
def test_textures_lie_beside_the_file(tmp_path, path, name):
    (tmp_path / "a b.png").write_bytes(PICTURE)
    content = collada(bound(), mapped(), more=image(path) + material(TEXTURED, parameters=sampled()))
    parts, file = read(content, colour=True, folder=tmp_path)
    assert parts[0].material == Material(texture=Texture(name, PICTURE))
    assert file.missing == []


def test_missing_textures_are_noted_once(tmp_path):
    content = collada(bound() * 2, mapped(), more=image("a.png") + material(TEXTURED, parameters=sampled()))
    parts, file = read(content, colour=True, folder=tmp_path)
    assert parts[0].material == Material(texture=Texture("a.png", b""))
    assert file.missing == ["a.png"]


def test_no_picture_is_read_without_colour(tmp_path):
    content = collada(bound(), mapped(), more=image("a.png") + material(TEXTURED, parameters=sampled()))
    parts, file = read(content, folder=tmp_path)
    assert parts[0].material == Material()
    assert parts[0].uv is None
    assert file.missing == []


def test_samplers_say_how_textures_continue(tmp_path):
    wraps = "<wrap_s>MIRROR</wrap_s><wrap_t>CLAMP</wrap_t>"
    content = collada(bound(), mapped(), more=image("a.png") + material(TEXTURED, parameters=sampled(wraps)))
    assert read(content, colour=True, folder=tmp_path)[0][0].material.texture.wrap == ("mirror", "clamp")


@pytest.mark.parametrize(
    ("library", "parameters", "texture"),
    [
        (  # 1.5
            '<library_images><image id="picture"><init_from><ref>a.png</ref></init_from></image></library_images>',
            '<newparam sid="sampler"><sampler2D><instance_image url="#picture"/></sampler2D></newparam>',
            "sampler",
        ),
        (image("a.png"), "", "picture"),  # as some programs write it
        (
            f'<library_images><image id="picture"><data>{PICTURE.hex()}</data></image></library_images>',
            sampled(),
            "sampler",
        ),
        (
            f'<library_images><image id="picture"><init_from><hex>{PICTURE.hex()}</hex></init_from></image>'
            "</library_images>",
            sampled(),
            "sampler",
        ),
    ],
)
def test_pictures_are_found_in_all_versions(tmp_path, library, parameters, texture):
    (tmp_path / "a.png").write_bytes(PICTURE)
    diffuse = f'<texture texture="{texture}" texcoord="UVMap"/>'
    content = collada(bound(), mapped(), more=library + material(diffuse, parameters=parameters))
    parts, file = read(content, colour=True, folder=tmp_path)
    assert parts[0].material.texture.content == PICTURE
    assert file.missing == []


@pytest.mark.parametrize(
    ("inputs", "shift"),
    [
        ("", 0),
        ('<bind_vertex_input semantic="UVMap" input_semantic="TEXCOORD" input_set="2"/>', 2),
        ('<bind_vertex_input semantic="other" input_semantic="TEXCOORD" input_set="2"/>', 0),
        (
            '<bind_vertex_input semantic="UVMap" input_semantic="TEXCOORD" input_set="7"/>',
            0,
        ),  # There is none.
    ],
)
def test_instances_choose_the_set_of_texture_coordinates(tmp_path, inputs, shift):
    content = collada(
        bound(inputs=inputs), mapped((0, 2)), more=image("a.png") + material(TEXTURED, parameters=sampled())
    )
    part = read(content, colour=True, folder=tmp_path)[0][0]
    assert np.allclose(part.uv, part.vertices[:, :2] / 5 + shift)
    assert len(part.vertices) == 4


@pytest.mark.parametrize("scale", ["1 1 1", "-1 1 1"])
def test_corners_keep_their_colours(scale):
    """A box whose corners have the colour of their position; the faces of x = 1 are green instead."""
    colours = np.concatenate([np.array(BOX) / [1, 2, 3], [(0, 1, 0)]])
    rows = [
        (corner, 8 if all(BOX[k][0] for k in triangle) else corner)
        for triangle in TRIANGLES
        for corner in triangle
    ]
    faces = (
        f'<triangles count="12">{vertex()}<input semantic="COLOR" source="#colours" offset="1"/>'
        f"<p>{words(rows)}</p></triangles>"
    )
    nodes = f'<node><scale>{scale}</scale><instance_geometry url="#g"/></node>'
    mesh = geometry(faces, more=source("colours", colours, "RGB"))
    part = read(collada(nodes, mesh), colour=True)[0][0]
    assert volume([part]) == pytest.approx(6)
    assert len(part.vertices) == 12
    flipped = corners([part]) * ([-1, 1, 1] if "-" in scale else 1)
    is_green = flipped[:, :, 0].all(axis=1)
    assert np.allclose(part.tint[part.faces[is_green]], [0, 1, 0])
    assert np.allclose(part.tint[part.faces[~is_green]], flipped[~is_green] / [1, 2, 3])


def test_vertices_may_hold_colours_and_coordinates(tmp_path):
    sources = source("colours", np.full((8, 4), 128 / 255), "RGBA") + source("uv", np.array(BOX)[:, :2], "ST")
    mesh = geometry(box_faces(material="paint"), more=sources).replace(
        "</vertices>",
        '<input semantic="COLOR" source="#colours"/><input semantic="TEXCOORD" source="#uv"/></vertices>',
    )
    content = collada(bound(), mesh, more=image("a.png") + material(TEXTURED, parameters=sampled()))
    part = read(content, colour=True, folder=tmp_path)[0][0]
    assert np.allclose(part.tint, 0.2158605)
    assert np.allclose(part.uv, part.vertices[:, :2])


def test_coordinates_that_do_not_exist_are_refused():
    content = collada(geometries=mapped()).replace(b"3 3</p>", b"3 4</p>")
    with pytest.raises(InputError, match="refers to a TEXCOORD that does not exist"):
        read(content, colour=True)
    assert len(read(content)[0][0].faces) == 2
