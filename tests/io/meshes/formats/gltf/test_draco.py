"""Primitives of KHR_draco_mesh_compression."""

import sys

import numpy as np
import pytest

from sdfkit.errors import InputError, MissingError
from tests.io.meshes.formats.gltf.files import CUBE, CUBE_FACES, File, bounds, read, volume

DracoPy = pytest.importorskip("DracoPy")
DRACO = "KHR_draco_mesh_compression"


def compressed(
    required=True, fallback=False, ids=None, declared=36, points=CUBE, kind="f4", more=None, **encoding
):
    """A cube in one compressed primitive; `ids` are the names of its attributes with their numbers in the stream."""
    encoding = {"quantization_bits": 20, "preserve_order": True} | encoding
    stream = DracoPy.encode(points.astype(np.float32), CUBE_FACES.astype(np.uint32), **encoding)
    file = File(extensionsUsed=[DRACO])
    mesh = file.mesh()
    for k, about in enumerate(file.tree["accessors"]):
        if not fallback:
            del about["bufferView"]
        about["count"] = (8, declared)[k]
    position = DracoPy.decode(stream).get_attribute_by_type(DracoPy.AttributeType.POSITION)["unique_id"]
    attributes = {"POSITION": position} | (ids or {})
    packed = {"bufferView": file.view(stream), "attributes": attributes}
    file.primitive()["extensions"] = {DRACO: packed}
    file.primitive()["attributes"] |= more or {}
    file.tree["nodes"] = [{"mesh": mesh}]
    if required:
        file.tree["extensionsRequired"] = [DRACO]
    return file


@pytest.mark.parametrize("required", [True, False])
def test_a_compressed_cube_is_read(required):
    parts, source = read(compressed(required))
    assert np.allclose(bounds(parts), ([-0.5] * 3, [0.5] * 3), atol=1e-5)
    assert volume(parts) == pytest.approx(1, abs=1e-4) and len(parts[0].faces) == 12
    assert source.left_out == []


def test_the_order_of_vertices_is_that_of_the_stream():
    parts, _ = read(compressed())
    assert np.allclose(parts[0].vertices, CUBE, atol=1e-5) and np.array_equal(parts[0].faces, CUBE_FACES)


def test_integers_become_shares_if_the_accessor_is_normalized():
    file = compressed(points=np.round(2 * CUBE * 32767))
    file.tree["accessors"][0] |= {"componentType": 5122, "normalized": True}
    assert np.allclose(bounds(read(file)[0]), ([-1] * 3, [1] * 3), atol=1e-4)


def test_attributes_are_found_by_their_number_in_the_stream():
    colours = np.tile([51, 255, 0, 255], (8, 1)).astype(np.uint8)
    joints, weights = np.tile([1, 0, 0, 0], (8, 1)), np.tile([1.0, 0, 0, 0], (8, 1))
    file = compressed(
        ids={"COLOR_0": 30, "JOINTS_0": 20, "WEIGHTS_0": 10},
        generic_attributes={
            30: colours, 20: joints.astype(np.uint16), 10: weights.astype(np.float32)
        },
    )  # fmt: skip
    for name, code, more in (
        ("COLOR_0", 5121, {"normalized": True}),
        ("JOINTS_0", 5123, {}),
        ("WEIGHTS_0", 5126, {}),
    ):
        about = {"componentType": code, "count": 8, "type": "VEC4"} | more
        file.primitive()["attributes"][name] = file.append("accessors", about)
    file.tree["skins"] = [{"joints": [1, 2]}]
    file.tree["nodes"] = [{"mesh": 0, "skin": 0}, {}, {"translation": [0, 7, 0]}]
    parts, _ = read(file, colour=True)
    assert np.allclose(bounds(parts), ([-0.5, 6.5, -0.5], [0.5, 7.5, 0.5]), atol=1e-5)
    assert np.allclose(parts[0].tint, [(0.2, 1, 0)] * 8)


def test_texture_coordinates_are_decompressed():
    uv = CUBE[:, :2] + 0.5
    file = compressed(tex_coord=uv)
    stream = DracoPy.decode(bytes(file.binary[file.tree["bufferViews"][-1]["byteOffset"] :]))
    number = stream.get_attribute_by_type(DracoPy.AttributeType.TEX_COORD)["unique_id"]
    file.primitive()["extensions"][DRACO]["attributes"]["TEXCOORD_0"] = number
    about = {"componentType": 5126, "count": 8, "type": "VEC2"}
    file.primitive()["attributes"]["TEXCOORD_0"] = file.append("accessors", about)
    file.primitive()["material"] = 0
    file.tree["images"], file.tree["textures"] = [{"uri": "data:image/png,x"}], [{"source": 0}]
    file.tree["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    parts, _ = read(file, colour=True)
    expected = np.stack([parts[0].vertices[:, 0] + 0.5, 0.5 - parts[0].vertices[:, 1]], axis=1)
    assert np.allclose(parts[0].uv, expected, atol=1e-3)


def test_the_fallback_is_read_if_the_extension_is_not_required():
    parts, _ = read(compressed(required=False, fallback=True, points=9 * CUBE))
    assert volume(parts) == 1
    parts, _ = read(compressed(required=True, fallback=True, points=9 * CUBE))
    assert volume(parts) == pytest.approx(729, rel=1e-3)


def test_a_wrong_number_of_triangles_is_reported():
    parts, source = read(compressed(declared=42))
    assert len(parts[0].faces) == 12
    assert source.left_out == ["a compressed primitive declares 14 triangles, but holds 12"]


def test_a_stream_of_another_length_than_other_attributes_is_refused():
    file = compressed()
    file.primitive()["targets"] = [{"POSITION": file.accessor(CUBE[:5])}]
    file.tree["meshes"][0]["weights"] = [1]
    with pytest.raises(InputError, match="a morph target has 5 values for 8 vertices"):
        read(file)


def test_an_attribute_that_the_stream_does_not_have_is_named():
    with pytest.raises(InputError, match=r"its Draco data has no JOINTS_0, WEIGHTS_0; is it damaged\?"):
        read(compressed(ids={"JOINTS_0": 70, "WEIGHTS_0": 71}))


@pytest.mark.parametrize("cut", [4, 11, 30, 60])
def test_damaged_streams_are_refused_in_one_line(cut):
    file = compressed()
    file.tree["bufferViews"][-1]["byteLength"] = cut
    with pytest.raises(InputError, match=r"file\.glb: its Draco data cannot be decompressed .*damaged\?"):
        read(file)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    file = compressed()
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    with pytest.raises(MissingError, match=r"needs DracoPy; pip install 'sdfkit\[draco\]'"):
        read(file)
    assert volume(read(compressed_before(file))[0]) == 1


def compressed_before(file):
    """The same file with its uncompressed accessors."""
    file.tree.pop("extensionsRequired")
    for view, about in enumerate(file.tree["accessors"]):
        about["bufferView"] = view
    return file
