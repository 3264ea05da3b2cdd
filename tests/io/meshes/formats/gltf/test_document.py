"""The containers of a glTF: chunks, versions, extensions, buffers and URIs."""

import base64
import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.errors import InputError, SdfkitError
from sdfkit.io.meshes.formats.gltf.document import take_glb
from tests.io.meshes.formats.gltf.files import CUBE, CUBE_FACES, File, bounds, cube, read, volume


def refusal(file, **more):
    with pytest.raises(SdfkitError) as caught:
        read(file, **more)
    message = str(caught.value)
    assert message.startswith("file.glb: ") and "\n" not in message
    return message


def test_a_cube_arrives_exactly_as_it_was_written():
    parts, source = read(cube())
    assert len(parts) == 1 and source.left_out == []
    assert parts[0].vertices.dtype == np.float64 and parts[0].faces.dtype == np.int64
    assert np.array_equal(parts[0].vertices, CUBE) and np.array_equal(parts[0].faces, CUBE_FACES)


def test_the_same_file_as_json_with_a_data_uri():
    parts, _ = read(cube().gltf())
    assert np.array_equal(parts[0].vertices, CUBE) and np.array_equal(parts[0].faces, CUBE_FACES)


@pytest.mark.parametrize(
    ("uri", "name"), [("cube.bin", "cube.bin"), ("a%20cube%C3%BC.bin", "a cubeü.bin"), ("b/c.bin", "b/c.bin")]
)
def test_buffers_beside_the_file_are_found_by_their_percent_encoded_names(tmp_path, uri, name):
    (tmp_path / "b").mkdir()
    (tmp_path / name).write_bytes(cube().binary)
    parts, _ = read(cube().gltf(uri), folder=tmp_path)
    assert volume(parts) == 1


def test_a_missing_buffer_is_named(tmp_path):
    assert "refers to cube.bin, which does not exist; copy it" in refusal(
        cube().gltf("cube.bin"), folder=tmp_path
    )


def test_a_short_buffer_beside_the_file_is_refused(tmp_path):
    (tmp_path / "cube.bin").write_bytes(cube().binary[:50])
    assert "declares 168 bytes, but has 50" in refusal(cube().gltf("cube.bin"), folder=tmp_path)


@pytest.mark.parametrize(
    "change", [lambda text: text.rstrip("="), lambda text: text[:40] + "\n " + text[40:], lambda text: text]
)
def test_data_uris_without_padding_or_with_line_breaks_are_read(change):
    file = cube()
    file.view(b"12345")  # so that base64 needs padding
    text = base64.b64encode(file.binary).decode()
    assert text.endswith("=")
    assert volume(read(file.gltf("data:application/gltf-buffer;base64," + change(text)))[0]) == 1


def test_data_uris_may_be_percent_encoded_instead_of_base64():
    file = cube()
    assert volume(read(file.gltf("data:," + "".join(f"%{byte:02x}" for byte in file.binary)))[0]) == 1


def test_a_byte_order_mark_before_the_json_is_ignored():
    assert volume(read(b"\xef\xbb\xbf" + cube().gltf())[0]) == 1


def test_bytes_behind_the_end_of_a_glb_are_left_out_and_counted():
    parts, source = read(cube().glb() + b"more")
    assert volume(parts) == 1
    assert source.left_out == ["4 bytes after the end of the GLB were left out"]


def test_unknown_chunks_are_skipped():
    content = cube().glb() + struct.pack("<I4s", 4, b"XYZ\0") + b"1234"
    content = content[:8] + struct.pack("<I", len(content)) + content[12:]
    assert volume(read(content)[0]) == 1


def damaged_glb(change):
    content = bytearray(cube().glb())
    change(content)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"glTF", "is not a GLB"),
        (b"\x89PNG and so on", "is neither a GLB nor JSON"),
        (b"{", "cannot be read as glTF"),
        (b"{" * 100_000, "cannot be read as glTF"),
        (b"{}", "is not a glTF; its JSON has no asset.version"),
        (cube().glb()[:-8], "a GLB ends early; its header declares"),
        (
            damaged_glb(lambda content: content.__setitem__(slice(12, 16), b"\xff\xff\xff\x00")),
            "extends beyond",
        ),
        (damaged_glb(lambda content: content.__setitem__(slice(16, 20), b"BIN\0")), "is not JSON"),
        (damaged_glb(lambda content: content.__setitem__(4, 1)), "is a glTF 1.0, but only glTF 2.0"),
        (b'{"meshes": {"a": {}}}', "is a glTF 1.0, but only glTF 2.0 is supported; convert it"),
        (b'{"asset": {"version": "1.1"}}', "is a glTF 1.1"),
        (b'{"asset": {"version": "2.1", "minVersion": "2.1"}}', "is a glTF 2.1"),
        (b'{"asset": {"version": "2.0"}}', "holds no mesh"),
        (b'{"asset": {"version": "2.0"}, "meshes": "many"}', "cannot be read as glTF"),
    ],
)
def test_other_and_damaged_files_are_refused_by_name(content, fault):
    assert fault in refusal(content)


@pytest.mark.parametrize("asset", [{"version": "2.3", "minVersion": "2.0"}, {"version": 2}])
def test_later_minor_versions_and_versions_as_numbers_are_read(asset):
    file = cube()
    file.tree["asset"] = asset
    assert volume(read(file)[0]) == 1


def test_a_required_extension_that_is_not_supported_is_named():
    file = cube()
    file.tree["extensionsRequired"] = ["KHR_mesh_quantization", "VENDOR_curved_space"]
    assert "requires the glTF extension VENDOR_curved_space, which is not supported" in refusal(file)


@pytest.mark.parametrize("name", ["KHR_materials_unlit", "KHR_lights_punctual", "KHR_texture_basisu"])
def test_required_extensions_that_do_not_change_the_shape_are_accepted(name):
    file = cube()
    file.tree["extensionsRequired"] = [name]
    assert volume(read(file)[0]) == 1


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("bufferViews", "buffer", 7),
        ("bufferViews", "buffer", -1),
        ("bufferViews", "byteLength", 10**9),
        ("bufferViews", "byteOffset", -4),
        ("accessors", "bufferView", 9),
        ("accessors", "count", 9),
        ("accessors", "count", -1),
        ("accessors", "count", 2.5),
        ("accessors", "count", 2**40),
        ("accessors", "byteOffset", 50),
        ("accessors", "componentType", 5130),
        ("accessors", "type", "VEC7"),
        ("accessors", "type", "VEC2"),
        ("bufferViews", "byteStride", 3),
        ("meshes", "primitives", 1),
        ("nodes", "mesh", 1),
        ("nodes", "mesh", True),
        ("nodes", "matrix", [1, 2, 3]),
        ("nodes", "rotation", [0, 0, 0, 0]),
        ("nodes", "children", [4]),
    ],
)
def test_json_that_contradicts_the_bytes_is_refused(kind, key, value):
    file = cube()
    file.tree[kind][0][key] = value
    assert "cannot be read as glTF" in refusal(file)


def test_a_glb_is_taken_from_a_stream_with_its_metadata():
    file = cube()
    file.tree["asset"]["extras"] = {"sdfkit": {"uid": "box"}}
    stream = io.BufferedReader(io.BytesIO(file.glb() + cube().glb()))
    assert take_glb(stream, "stream") == ({"uid": "box"}, file.glb())
    assert take_glb(stream, "stream") == ({}, cube().glb())


@pytest.mark.parametrize("content", [b"", b"glTF\x02\0\0\0", cube().glb()[:-1], b"ply\nformat ascii 1.0\n"])
def test_an_incomplete_glb_in_a_stream_is_refused(content):
    with pytest.raises(InputError, match="is not a GLB|ends early"):
        take_glb(io.BufferedReader(io.BytesIO(content)), "stream")


def rich_file():
    """A file with a skin, a sparse accessor and instances."""
    file = File()
    joints = file.accessor(np.zeros((8, 4)), "u1")
    weights = file.accessor(np.tile([1, 0, 0, 0], (8, 1)))
    file.mesh(JOINTS_0=joints, WEIGHTS_0=weights)
    file.mesh()
    rows, values = file.view(np.array([0], "<u2").tobytes()), file.view(CUBE[:1].astype("<f4").tobytes())
    indices = {"bufferView": rows, "componentType": 5123}
    file.tree["accessors"][-2]["sparse"] = {"count": 1, "indices": indices, "values": {"bufferView": values}}
    moves = file.accessor([(0, 0, 0), (0, 3, 0)])
    file.tree["skins"] = [{"joints": [1], "inverseBindMatrices": file.accessor([np.eye(4).ravel()])}]
    instances = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": moves}}}
    file.tree["nodes"] = [
        {"mesh": 0, "skin": 0},
        {"translation": [3, 0, 0]},
        {"mesh": 1, "extensions": instances},
    ]
    return file


def test_the_rich_file_is_read_right():
    assert bounds(read(rich_file())[0]) == ([-0.5, -0.5, -0.5], [3.5, 3.5, 0.5])


@given(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), min_size=1, max_size=3))
def test_a_damaged_file_is_read_or_refused_in_one_line(wounds):
    content = bytearray(rich_file().glb())
    for place, replacement in wounds:
        at = int(place * len(content))
        content[at : at + len(replacement)] = replacement
    try:
        parts, _ = read(bytes(content))
    except SdfkitError as error:
        assert "\n" not in str(error)
    else:
        for part in parts:
            assert part.faces.min() >= 0 and part.faces.max() < len(part.vertices)


@pytest.mark.parametrize("length", [0, 7, 60, 500])
def test_no_error_message_repeats_long_input(length):
    text = json.dumps(
        {"asset": {"version": "2.0"}, "meshes": [{"primitives": [{"attributes": "x" * length}]}]}
    )
    assert len(refusal(text.encode())) < 220
