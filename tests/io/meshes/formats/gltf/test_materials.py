"""Base colours, textures, texture coordinates and vertex colours."""

import base64

import numpy as np
import pytest

from sdfkit.images.rendering.appearance import Material, Texture
from sdfkit.io.meshes.formats.source import Source
from tests.io.meshes.formats.gltf.files import CUBE, File, read

PICTURE = b"\x89PNG: the reader does not look into pictures"
# Corners of a square; uv has its origin at the upper left, as in glTF.
SQUARE = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], float)
UV = np.array([(0, 1), (1, 1), (1, 0), (0, 0)], float)
LOWER_LEFT = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)


def painted(material=None, attributes=None, **tree):
    """A square with a material."""
    file = File(**tree)
    file.mesh(SQUARE, [0, 1, 2, 0, 2, 3], **{key: file.accessor(*value[:2], **(value[2] if len(value) > 2 else {}))
                                             for key, value in (attributes or {}).items()})  # fmt: skip
    if material is not None:
        file.primitive()["material"] = file.append("materials", material)
    file.tree["nodes"] = [{"mesh": 0}]
    return file


def textured(info=None, texture=None, attributes=None, **tree):
    """A square with a picture in a buffer view."""
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0} | (info or {})}}
    file = painted(
        material, attributes or {"TEXCOORD_0": (UV,)}, textures=[{"source": 0} | (texture or {})], **tree
    )
    file.tree.setdefault(
        "images", [{"name": "red", "bufferView": file.view(PICTURE), "mimeType": "image/png"}]
    )
    return file


def only(file, **more):
    parts, source = read(file, colour=True, **more)
    assert len(parts) == 1
    return parts[0], source


@pytest.mark.parametrize(
    ("material", "base"),
    [
        (None, None),
        ({}, None),
        ({"pbrMetallicRoughness": {"metallicFactor": 0}}, None),
        ({"pbrMetallicRoughness": {"baseColorFactor": [0.25, 0.5, 1, 0.1]}}, (0.25, 0.5, 1.0)),
        ({"pbrMetallicRoughness": {"baseColorFactor": [-1, 7, 0.5, 1]}}, (0.0, 1.0, 0.5)),
        (
            {"extensions": {"KHR_materials_pbrSpecularGlossiness": {"diffuseFactor": [0.5, 0, 1, 1]}}},
            (0.5, 0.0, 1.0),
        ),
    ],
)
def test_base_colours_are_linear_as_in_the_file(material, base):
    part, source = only(painted(material))
    assert part.material == Material(base) and part.uv is None and part.tint is None
    assert source.left_out == [] and source.missing == []


@pytest.mark.parametrize("columns", [3, 4])
@pytest.mark.parametrize(("kind", "whole"), [("f4", 1), ("u1", 255), ("u2", 65535)])
@pytest.mark.parametrize("material", [None, {"pbrMetallicRoughness": {"baseColorFactor": [0.5, 0.5, 1, 1]}}])
def test_vertex_colours_are_linear_and_beside_the_base_colour(columns, kind, whole, material):
    colour = np.array([0.2, 0.6, 1.0, 0.4])[:columns]
    more = {} if kind == "f4" else {"normalized": True}
    part, _ = only(painted(material, {"COLOR_0": (np.tile(colour * whole, (4, 1)), kind, more)}))
    assert np.allclose(part.tint, [(0.2, 0.6, 1)] * 4, atol=1e-7)
    # Without a colour of the material, white is multiplied with the vertex colours.
    assert part.material.base == ((1, 1, 1) if material is None else (0.5, 0.5, 1))


def test_vertex_colours_are_clipped():
    part, _ = only(painted(None, {"COLOR_0": (np.tile([-1.0, 0.5, 3], (4, 1)),)}))
    assert part.tint.tolist() == [[0, 0.5, 1]] * 4


def test_a_texture_stays_encoded_and_its_coordinates_begin_at_the_lower_left():
    part, _ = only(textured())
    assert part.material == Material(None, Texture("red", PICTURE))
    assert np.allclose(part.uv, LOWER_LEFT)


def test_nothing_of_a_picture_is_read_unless_colour_is_wanted(tmp_path):
    class Closed(Source):
        def find(self, name):
            raise AssertionError(f"{name} was opened")

    file = textured(images=[{"uri": "picture.png"}])
    file.tree["buffers"] = [{}, {"byteLength": 9, "uri": "pictures.bin"}]
    source = Closed("file.glb", tmp_path)
    from sdfkit.io.meshes.formats.gltf.reader import read_gltf

    [part] = read_gltf(file.glb(), source)
    assert part.material == Material() and part.uv is None and source.missing == []


def test_pictures_come_from_files_and_data_uris(tmp_path):
    (tmp_path / "a picture.png").write_bytes(PICTURE)
    part, _ = only(textured(images=[{"uri": "a%20picture.png"}]), folder=tmp_path)
    assert part.material.texture == Texture("a picture.png", PICTURE)
    encoded = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
    part, _ = only(textured(images=[{"uri": encoded}]))
    assert part.material.texture == Texture("image 0", PICTURE)


def test_a_missing_picture_is_listed(tmp_path):
    part, source = only(textured(images=[{"uri": "lost.png"}]), folder=tmp_path)
    assert part.material.texture == Texture("lost.png", b"") and source.missing == ["lost.png"]


@pytest.mark.parametrize(("kind", "whole"), [("u1", 255), ("u2", 65535)])
def test_texture_coordinates_may_be_normalized(kind, whole):
    part, _ = only(textured(attributes={"TEXCOORD_0": (UV * whole, kind, {"normalized": True})}))
    assert np.allclose(part.uv, LOWER_LEFT)


def test_the_set_of_texture_coordinates_is_that_of_the_material():
    attributes = {"TEXCOORD_0": (UV * 0,), "TEXCOORD_1": (UV,)}
    part, _ = only(textured({"texCoord": 1}, attributes=attributes))
    assert np.allclose(part.uv, LOWER_LEFT)
    transform = {"extensions": {"KHR_texture_transform": {"texCoord": 1}}}
    part, _ = only(textured({"texCoord": 0} | transform, attributes=attributes))
    assert np.allclose(part.uv, LOWER_LEFT)


def test_without_its_texture_coordinates_a_texture_is_left_out():
    part, source = only(textured({"texCoord": 3}))
    assert part.material == Material() and part.uv is None
    assert source.left_out == ["a texture was left out because its mesh has no TEXCOORD_3"]


@pytest.mark.parametrize(
    ("transform", "uv"),
    [
        ({}, UV),
        ({"offset": [0.5, 0.25]}, UV + [0.5, 0.25]),
        ({"scale": [2, -3]}, UV * [2, -3]),
        # A quarter turn counter-clockwise, seen with v downwards: u to -v, v to u.
        ({"rotation": np.pi / 2}, np.stack([UV[:, 1], -UV[:, 0]], axis=1)),
        (
            {"rotation": np.pi / 2, "scale": [2, 5], "offset": [0.1, 0.2]},
            np.stack([5 * UV[:, 1] + 0.1, -2 * UV[:, 0] + 0.2], axis=1),
        ),
    ],
)
def test_texture_transforms_scale_then_turn_then_move(transform, uv):
    part, _ = only(textured({"extensions": {"KHR_texture_transform": transform}}))
    assert np.allclose(part.uv, np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1))


@pytest.mark.parametrize(
    ("sampler", "wrap"),
    [
        ({}, ("repeat", "repeat")),
        ({"wrapS": 33071}, ("clamp", "repeat")),
        ({"wrapS": 33648, "wrapT": 33071}, ("mirror", "clamp")),
        ({"wrapT": 10497}, ("repeat", "repeat")),
    ],
)
def test_samplers_give_the_wrap_modes(sampler, wrap):
    part, _ = only(textured(texture={"sampler": 0}, samplers=[sampler]))
    assert part.material.texture.wrap == wrap


@pytest.mark.parametrize("name", ["EXT_texture_webp", "EXT_texture_avif", "MSFT_texture_dds"])
def test_pictures_of_other_formats_are_taken_if_there_is_no_other(name):
    file = textured(images=[{"uri": "data:,first"}, {"uri": "data:,second"}])
    extension = {"extensions": {name: {"source": 1}}}
    file.tree["textures"] = [{"source": 0} | extension]
    assert only(file)[0].material.texture.content == b"first"
    file.tree["textures"] = [extension]
    assert only(file)[0].material.texture.content == b"second"


def test_a_basis_texture_is_named_unless_there_is_another_picture():
    file = textured(images=[{"uri": "data:,first"}, {"uri": "data:,second"}])
    extension = {"extensions": {"KHR_texture_basisu": {"source": 1}}}
    file.tree["textures"] = [{"source": 0} | extension]
    part, source = only(file)
    assert part.material.texture.content == b"first" and source.left_out == []
    file.tree["textures"] = [extension]
    part, source = only(file)
    assert part.material.texture is None
    assert source.left_out == ["a texture was left out because it is compressed with KHR_texture_basisu"]


def test_a_diffuse_texture_of_the_old_extension_is_read():
    file = textured()
    file.tree["materials"] = [
        {
            "pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]},
            "extensions": {
                "KHR_materials_pbrSpecularGlossiness": {
                    "diffuseTexture": {"index": 0},
                    "diffuseFactor": [1, 0.5, 0.25, 1],
                }
            },
        }
    ]
    part, _ = only(file)
    colour = (1.0, 0.5, 0.25)
    # The colour is multiplied with the picture, and shown alone if the picture cannot be read.
    assert part.material == Material(colour, Texture("red", PICTURE), plain=colour)


def test_parts_with_one_texture_share_its_bytes():
    file = textured()
    file.tree["meshes"][0]["primitives"] *= 2
    parts, _ = read(file, colour=True)
    assert parts[0].material.texture is parts[1].material.texture


def test_instances_repeat_coordinates_and_colours():
    colours = np.linspace(0, 1, 12).reshape(4, 3)
    file = textured(attributes={"TEXCOORD_0": (UV,), "COLOR_0": (colours,)})
    file.tree["nodes"] = [{"mesh": 0}, {"mesh": 0, "translation": [3, 0, 0]}]
    part, _ = only(file)
    assert len(part.vertices) == len(part.uv) == len(part.tint) == 8
    assert np.allclose(part.uv, np.tile(LOWER_LEFT, (2, 1))) and np.allclose(
        part.tint, np.tile(colours, (2, 1))
    )


def test_coordinates_and_colours_follow_the_vertices_that_are_used():
    file = File()
    uv = np.arange(16).reshape(8, 2) / 16
    file.mesh(CUBE, [5, 6, 7], TEXCOORD_0=file.accessor(uv), COLOR_0=file.accessor(np.tile(uv[:, :1], 3)))
    file.tree |= {"nodes": [{"mesh": 0}], "textures": [{"source": 0}], "images": [{"uri": "data:,x"}]}
    file.primitive()["material"] = 0
    file.tree["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    part, _ = only(file)
    assert np.array_equal(part.vertices, CUBE[5:]) and part.faces.tolist() == [[0, 1, 2]]
    assert np.allclose(part.uv[:, 0], uv[5:, 0]) and np.allclose(part.tint[:, 0], uv[5:, 0])


def test_colours_of_another_length_than_the_positions_are_refused():
    from sdfkit.errors import InputError

    with pytest.raises(InputError, match="COLOR_0 has 3 values for 4 vertices"):
        read(painted(None, {"COLOR_0": (np.ones((3, 3)),)}), colour=True)
