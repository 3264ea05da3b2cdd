"""Streams of KHR_meshopt_compression, which meshoptimizer 1.3 encoded from the values that the tests expect."""

import base64

import numpy as np
import pytest

from sdfkit.errors import InputError
from sdfkit.io.meshes.formats.gltf.meshopt import decode_view
from tests.io.meshes.formats.gltf.files import CUBE, CUBE_FACES, File, read, volume

K = np.arange(40)
COLUMNS = np.stack([K, 3 * K, 1000 - K, np.full(40, 7)], axis=1)
V0 = (
    "oBUqqqqqqqqqqqqqAAAAKgZmZmZmZmZmZmZmZmZmZmZmZmZmAAAAAAAVFVVVVVVVVVVVVQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAOgDBwA="
)
V1 = (
    "oZmpFSqqqqqqqqqqqqoAACoGZmZmZmZmZmZmZmZmZmZmZmZmZgAAAAAVFVVVVVVVVVVVVQAAAAAAAAAAAAAAAAAAAAAAAAAA6AMHAAAA"
)
WORDS = "oWgBAgEPHxoP//j49MT0xKBgEDAY+BzyYuJi8mLiYjwe3d0AAH4DBwMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAGI="
TRIANGLES = "4f4eEA4QDhAOzh4WDhUOFA7OHhQOFA4UDs4eFA4UDhQODwoAdodWZ3iphmWJaJgBaQAA"
INDICES = "0QCRAwQFBAUEBQQFBAUEBQQFBAUEBQQFBAUAAAAA"
# A grid of 4 by 4 squares, each of two triangles, and a sequence that alternates between two places.
SQUARES = np.array([5 * y + x for y in range(4) for x in range(4)])[:, None]
GRID = (SQUARES + [0, 1, 5, 1, 6, 5]).reshape(-1)
ZIGZAG = np.stack([np.arange(12), 100 + np.arange(12)], axis=1).reshape(-1)


def decode(stream, count, stride, mode="ATTRIBUTES", **more):
    packed = {"count": count, "byteStride": stride, "mode": mode} | more
    content = base64.b64decode(stream) if isinstance(stream, str) else bytes(stream)
    return decode_view(memoryview(content), packed)


@pytest.mark.parametrize(
    ("stream", "kind", "expected"),
    [(V0, "<u2", COLUMNS), (V1, "<u2", COLUMNS), (WORDS, "<f4", K / 4)],
    ids=["version 0", "version 1", "differences of words by exclusive or"],
)
def test_attributes_are_decoded(stream, kind, expected):
    stride = np.dtype(kind).itemsize * (expected.size // 40)
    assert np.array_equal(np.frombuffer(decode(stream, 40, stride), kind), expected.ravel())


def test_deltas_of_the_example_in_the_specification():
    # One group of 16 elements: its header, 4 bits for each difference, and two whole bytes for the third and fourth.
    group = [0x02, 0x17, 0x5F, 0xF0, 0xBC, 0x77, 0xA9, 0x21, 0x00, 0x34, 0xB5]
    stream = [0xA0, *group, 0, 0, 0, *bytes(32)]  # the other three bytes of an element do not change
    differences = [-1, -4, -3, 26, -91, 0, -6, 6, -4, -4, 5, -5, 1, -1, 0, 0]
    values = np.frombuffer(decode(stream, 16, 4), np.uint8).reshape(16, 4)
    assert np.array_equal(values[:, 0], np.cumsum(differences) % 256) and not values[:, 1:].any()


def test_triangles_and_sequences_of_indices_are_decoded():
    triangles = np.frombuffer(decode(TRIANGLES, 96, 2, "TRIANGLES"), "<u2").reshape(-1, 3)
    # The encoder may begin a triangle at another corner.
    first = triangles.argmin(axis=1)[:, None]
    assert np.array_equal(np.take_along_axis(triangles, (first + [0, 1, 2]) % 3, axis=1).ravel(), GRID)
    assert np.array_equal(np.frombuffer(decode(INDICES, 24, 4, "INDICES"), "<u4"), ZIGZAG)


HALF = np.sqrt(0.5)
FILTERS = {
    "OCTAHEDRAL of 1 byte": (
        "oAEz8AAA/f3+/gE88AAA/v39AwABAwAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAfwB/fw==",
        "i1",
        [(1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1), (-1, 0, 0, -1), (0, -1, 0, -1), (0, 0, -1, -1)],
    ),
    "OCTAHEDRAL of 2 bytes": (
        "oAEiUAAAATPwAAANDxAOARiwAAADATzwAAAODQ8eAAABAwAAAAQBAgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP8HAAD/B/9/",
        "<i2",
        [(1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1), (-1, 0, 0, -1), (0, -1, 0, -1), (0, 0, -1, -1)],
    ),
    "QUATERNION": (
        "oAECwAAAswEDwAAADxoBBsAAALEBD8AAAA4NCgEAwAAAsQEAwAAACgE6wAAABQMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAA/wc=",
        "<i2",
        [(0, 0, 0, 1), (1, 0, 0, 0), (0, HALF, 0, HALF), (0, 0, HALF, -HALF), (0.5, 0.5, 0.5, 0.5)],
    ),
    "EXPONENTIAL": (
        "oAABMAAAAAQAATAAAAAEAAEwAAAABQABMAAAAAgAATAAAAAHAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEAPUA/P/0AAQAAA==",
        "<f4",
        [(0.5, -0.25, 1024), (3, -7, 0)],
    ),
    "COLOR of 1 byte": (
        "of8Afn2BAgD9/f4AAIOCgAAAAP3+/QAAAAAAAAAAAAAAAAAAAAAAAABAf8H/AA==",
        "u1",
        [(1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 0), (1, 1, 1, 1), (0, 0, 0, 0)],
    ),
    "COLOR of 2 bytes": (
        "of//AAECAQIABgUWHQACAgEAAA0PEAAAAwIAAAAWFQgAAAACAQIAAA0ODQAAAAAAAAAAAAAAAAAAAAT/BwH8/w8AAA==",
        "<u2",
        [(1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 0), (1, 1, 1, 1), (0, 0, 0, 0)],
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_are_undone_to_the_precision_of_their_bits(name):
    stream, kind, expected = FILTERS[name]
    count, width = np.shape(expected)
    decoded = decode(stream, count, width * np.dtype(kind).itemsize, filter=name.split()[0])
    values = np.frombuffer(decoded, kind).reshape(count, width)
    whole = 1 if kind == "<f4" else np.iinfo(kind).max
    # Quaternions were encoded with 12 bits, colours with 8 or 12.
    assert np.allclose(values / whole, expected, atol=0 if kind == "<f4" else 0.01)


@pytest.mark.parametrize(
    ("stream", "count", "stride", "more", "fault"),
    [
        (V0, 1000, 8, {}, "has not 1000 elements"),
        (V0, 20, 8, {}, "has not 20 elements"),
        (V0, 10**12, 8, {}, "has not 1000000000000 elements"),
        (V0, -1, 8, {}, "has no count"),
        (V0, 40, 6, {}, "elements of 6 bytes"),
        (V0, 40, 512, {}, "elements of 512 bytes"),
        (V0, 40, 8, {"filter": "SECRET"}, "the filter SECRET is unknown"),
        (WORDS, 40, 4, {"filter": "QUATERNION"}, "the filter QUATERNION with elements of 4 bytes"),
        (V0[4:], 40, 8, {}, "truncated or of an unknown version"),
        (TRIANGLES, 95, 2, {"mode": "TRIANGLES"}, "has not 95 indices"),
        (TRIANGLES, 3 * 10**12, 2, {"mode": "TRIANGLES"}, "has not 3000000000000 indices"),
        (TRIANGLES, 93, 2, {"mode": "TRIANGLES"}, "has not 93 indices"),
        (TRIANGLES, 96, 1, {"mode": "TRIANGLES"}, "indices of 1 byte"),
        (INDICES, 23, 4, {"mode": "INDICES"}, "has not 23 indices"),
        (INDICES, 24, 4, {"mode": "TRIANGLES"}, "of an unknown version"),
        ("", 3, 4, {"mode": "INDICES"}, "has not 3 indices"),
        ("", 0, 4, {}, "truncated"),
    ],
)
def test_streams_that_do_not_fit_their_description_are_refused(stream, count, stride, more, fault):
    with pytest.raises(ValueError, match=fault):
        decode(stream, count, stride, **({"mode": "ATTRIBUTES"} | more))


@pytest.mark.parametrize(("stream", "count", "stride", "mode"), [
    (V0, 40, 8, "ATTRIBUTES"), (V1, 40, 8, "ATTRIBUTES"), (TRIANGLES, 96, 2, "TRIANGLES"), (INDICES, 24, 4, "INDICES")
])  # fmt: skip
def test_a_stream_without_some_of_its_bytes_is_refused(stream, count, stride, mode):
    content = base64.b64decode(stream)
    for length in range(len(content)):
        with pytest.raises(ValueError, match="a compressed view"):
            decode(content[:length], count, stride, mode)


def compressed(extension="EXT_meshopt_compression", required=True, fallback=None):
    """A cube whose indices are compressed. Its fallback is a buffer without bytes, or has the given faces."""
    file = File(extensionsUsed=[extension])
    file.tree["nodes"] = [{"mesh": file.mesh()}]
    # The simplest coding: 15 and 15 (three differences) for each triangle.
    codes, differences, last = bytes([0xFF]) * 12, b"", 0
    for triangle in CUBE_FACES:
        differences += b"\xff"
        for index in triangle.tolist():
            step = index - last
            differences += bytes([2 * step if step >= 0 else -2 * step - 1])
            last = index
    stream = b"\xe1" + codes + differences + bytes(16)
    place = file.tree["bufferViews"][1]
    packed = {"buffer": 0, "byteOffset": len(file.binary), "byteLength": len(stream), "byteStride": 2}
    file.binary += stream
    place["extensions"] = {extension: packed | {"mode": "TRIANGLES", "count": 36}}
    if fallback is None:
        place |= {"buffer": 1, "byteOffset": 0}
        file.tree["buffers"] = [{}, {"byteLength": 72, "extensions": {extension: {"fallback": True}}}]
    else:
        faces = np.asarray(fallback, "<u2").tobytes()
        place["byteOffset"] = len(file.binary)
        file.binary += faces
    if required:
        file.tree["extensionsRequired"] = [extension]
    return file


@pytest.mark.parametrize("extension", ["EXT_meshopt_compression", "KHR_meshopt_compression"])
@pytest.mark.parametrize("required", [True, False])
def test_a_compressed_view_without_other_bytes_is_decompressed(extension, required):
    parts, _ = read(compressed(extension, required))
    assert np.array_equal(parts[0].faces, CUBE_FACES) and np.array_equal(parts[0].vertices, CUBE)
    assert volume(parts) == pytest.approx(1)


def test_the_fallback_is_read_if_the_extension_is_not_required():
    inside_out = CUBE_FACES[:, ::-1]
    assert volume(read(compressed(required=False, fallback=inside_out))[0]) == pytest.approx(-1)
    assert volume(read(compressed(required=True, fallback=inside_out))[0]) == pytest.approx(1)


def test_a_damaged_stream_is_refused_in_one_line():
    file = compressed()
    file.tree["bufferViews"][1]["extensions"]["EXT_meshopt_compression"]["count"] = 33
    with pytest.raises(InputError, match=r"file\.glb: cannot be read as glTF \(a compressed view has not 33"):
        read(file)
