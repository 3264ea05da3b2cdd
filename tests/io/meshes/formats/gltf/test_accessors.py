"""Numbers in buffers: component types, normalized integers, strides, sparse changes."""

import numpy as np
import pytest

from sdfkit.errors import InputError
from sdfkit.io.meshes.formats.gltf.accessors import read_accessor, read_numbers
from sdfkit.io.meshes.formats.gltf.document import open_document
from sdfkit.io.meshes.formats.source import Source
from tests.io.meshes.formats.gltf.files import CUBE, File, bounds, read, volume


def numbers(file, index=-1):
    document = open_document(file.glb(), Source("file.glb"))
    return read_numbers(document, index % len(file.tree["accessors"]))


@pytest.mark.parametrize(
    ("kind", "stored", "expected"),
    [
        ("i1", [-128, -127, -64, 0, 127], [-1, -1, -64 / 127, 0, 1]),
        ("u1", [0, 51, 255], [0, 0.2, 1]),
        ("i2", [-32768, -32767, 0, 16384, 32767], [-1, -1, 0, 16384 / 32767, 1]),
        ("u2", [0, 13107, 65535], [0, 0.2, 1]),
    ],
)
def test_normalized_integers_are_shares_of_the_largest(kind, stored, expected):
    file = File()
    file.accessor(stored, kind, normalized=True)
    assert numbers(file)[:, 0].tolist() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "u4", "f4"])
def test_other_numbers_keep_their_value(kind):
    file = File()
    file.accessor([(1, 2, 3), (100, 0, 7)], kind)
    assert numbers(file).tolist() == [[1, 2, 3], [100, 0, 7]]


def test_a_normalized_flag_of_floats_changes_nothing():
    file = File()
    file.accessor([-300.5], "f4", normalized=True)
    assert numbers(file).tolist() == [[-300.5]]


def test_attributes_may_be_interleaved():
    file = File()
    rows = np.zeros(8, [("position", "<f4", 3), ("colour", "u1", 4), ("more", "<f4")])
    rows["position"], rows["colour"] = CUBE, 9
    view = file.view(rows.tobytes(), byteStride=20)
    for offset, kind, components in ((0, 5126, "VEC3"), (12, 5121, "VEC4")):
        about = {"componentType": kind, "count": 8, "type": components}
        file.append("accessors", {"bufferView": view, "byteOffset": offset} | about)
    assert np.array_equal(numbers(file, 0), CUBE) and (numbers(file, 1) == 9).all()


def test_the_last_element_needs_no_padding_up_to_the_stride():
    file = File()
    view = file.view(np.arange(5, dtype="<f4").tobytes(), byteStride=8)
    file.append("accessors", {"bufferView": view, "componentType": 5126, "count": 3, "type": "SCALAR"})
    assert numbers(file)[:, 0].tolist() == [0, 2, 4]
    file.tree["accessors"][0]["count"] = 4
    with pytest.raises(ValueError, match="ends before the last of 4 elements"):
        numbers(file)


def sparse(file, index, rows, values, kind="u2"):
    """Replace elements of an accessor."""
    places = file.view(np.array(rows, "<" + kind).tobytes())
    changed = file.view(np.array(values, "<f4").tobytes())
    code = {"u1": 5121, "u2": 5123, "u4": 5125}[kind]
    file.tree["accessors"][index]["sparse"] = {
        "count": len(rows),
        "indices": {"bufferView": places, "componentType": code},
        "values": {"bufferView": changed},
    }


@pytest.mark.parametrize("kind", ["u1", "u2", "u4"])
def test_sparse_values_replace_those_of_the_buffer(kind):
    file = File()
    file.tree["nodes"] = [{"mesh": file.mesh()}]
    sparse(file, 0, [6, 7], [(0.5, 2, -0.5), (0.5, 2, 0.5)], kind)
    parts, _ = read(file)
    assert bounds(parts) == ([-0.5, -0.5, -0.5], [0.5, 2, 0.5])
    assert volume(parts) == pytest.approx(1 + 0.75)  # the top becomes a wedge, 1.5 high at one side


def test_sparse_values_without_a_buffer_view_replace_zeros():
    file = File()
    file.accessor(CUBE)
    sparse(file, 0, [1, 3, 4], [(1, 1, 1), (3, 3, 3), (4, 4, 4)])
    del file.tree["accessors"][0]["bufferView"]
    assert numbers(file)[:, 0].tolist() == [0, 1, 0, 3, 4, 0, 0, 0]


def test_the_file_is_not_changed_by_sparse_values():
    file = File()
    file.accessor(CUBE)
    file.append("accessors", dict(file.tree["accessors"][0]))
    sparse(file, 0, [0], [(9, 9, 9)])
    document = open_document(file.glb(), Source("file.glb"))
    assert read_accessor(document, 0)[0].tolist() == [9, 9, 9]
    assert np.array_equal(read_accessor(document, 1), CUBE)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [([8], "a sparse index 8 of 8 elements"), ([0, 0, 0], "ends before the last of 3 elements")],
)
def test_sparse_values_that_do_not_fit_are_refused(rows, fault):
    file = File()
    file.accessor(CUBE)
    sparse(file, 0, rows, [(0, 0, 0)])
    with pytest.raises(ValueError, match=fault):
        numbers(file)


@pytest.mark.parametrize("count", [10**6, 2**31, 2**62])
def test_a_count_without_data_takes_no_memory(count):
    file = File()
    file.tree["nodes"] = [{"mesh": file.mesh(faces=None)}]
    sparse(file, 0, [0], [(1, 1, 1)])
    del file.tree["accessors"][0]["bufferView"]
    file.tree["accessors"][0]["count"] = count
    with pytest.raises(InputError, match=rf"declares {count} elements, but has no data"):
        read(file)
