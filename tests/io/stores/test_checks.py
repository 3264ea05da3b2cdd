"""Stores whose metadata are damaged or lie: each is refused in one line, before memory is allocated for it."""

import io
import json
import pickle
import resource
import shutil
import zipfile
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import zarr

from sdfkit.errors import InputError
from sdfkit.io.stores.archives.zip_stream import ZipReader
from sdfkit.io.stores.archives.zip_writer import ZipWriter
from sdfkit.io.stores.checks import ATTRIBUTES, SMALL, check_attributes, check_group
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.store_reader import StoreReader
from sdfkit.io.stores.store_writer import StoreWriter
from sdfkit.io.stores.writer import create_store
from sdfkit.models.latents import LatentLayout
from sdfkit.rows import Row

ROOT = {"kind": "samples", "format": 1, "complete": True, "history": [], "settings": {}}
ROWS = [Row(index, f"obj_{index}") for index in range(3)]
HUGE = 2**40


def fill(writer):
    axes = ("shape", "sample", "xyz")
    writer.create_array("point", shape=(3, 5, 3), dtype="f4", axes=axes)
    writer.create_array("distance", shape=(3, 5), dtype="f4", axes=axes[:2])
    writer.create_array("near", shape=(3, 5), dtype="bool", axes=axes[:2])
    for row in ROWS:
        writer.write(
            row, point=np.ones((5, 3), np.float32), distance=np.ones(5, np.float32), near=np.ones(5, bool)
        )


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "samples.zarr"
    with create_store(str(path), "samples", rows=ROWS, history=[], settings={}, overwrite=False) as writer:
        fill(writer)
    return path


@pytest.fixture
def store(original, tmp_path):
    return shutil.copytree(original, tmp_path / "s.zarr")


@contextmanager
def memory_limited(size):
    """Let this process allocate at most `size` more bytes."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def change(store, name, **values):
    path = store / name / "zarr.json"
    content = json.loads(path.read_text())
    for key, value in values.items():
        content[key] = value(content[key]) if callable(value) else value
    path.write_text(json.dumps(content))


def read_all(path):
    with open_store(str(path), "samples", manifest=None) as reader:
        for _ in reader.rows("point", "distance", "near"):
            pass
        reader.describe_arrays()
        return reader.read_rows("point", "distance", "near")


def refused(path, message):
    with pytest.raises(InputError, match=message) as refusal, memory_limited(1 << 30):
        read_all(path)
    assert "\n" not in str(refusal.value) and str(refusal.value).startswith(f"{path}: ")


def test_the_undamaged_store_is_read(store):
    rows, arrays = read_all(store)
    assert [row.uid for row in rows] == ["obj_0", "obj_1", "obj_2"]
    assert {name: array.shape for name, array in arrays.items()} == {
        "point": (3, 5, 3), "distance": (3, 5), "near": (3, 5)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, value)
            for name in ("kind", "condition", "decoder_sha256", "known")
            for value in (5, None, [])
        ),
        *(("format", value) for value in ("2", -1, 1.5, None, True)),
        *(("complete", value) for value in (1, "true", None)),
        *(("history", value) for value in (5, {}, [5], [{"command": 5}])),
        *((name, value) for name in ("settings", "encoder", "network") for value in (5, "x", [], None)),
        *(("euler", value) for value in (0, "4", None)),
        *(
            ("progress", value)
            for value in (5, {"steps": 0}, {"steps": 9, "steps_per_second": "x", "saved": ""})
        ),
    ],
)
def test_a_wrong_attribute_is_refused_by_name(store, name, value):
    assert name in ATTRIBUTES
    change(store, ".", attributes=lambda old: old | {name: value})
    refused(store, f"{name} in its attributes is .* needed; make the store again")


LAYOUT = asdict(LatentLayout("grid", 2, resolution=6, channels=2, hidden=4, features=3, upsamplings=1))


def test_a_layout_of_codes_is_accepted():
    assert check_group({"layout": LAYOUT}, "decoder", "a.zarr") == {"layout": LAYOUT}
    assert check_group({"layout": None}, "decoder", "a.zarr") == {"layout": None}


@pytest.mark.parametrize(
    ("group", "value"),
    [
        ({"hidden": "x"}, "hidden"), ({"hidden": 10**9}, "hidden"), ({"layers": 10**6}, "layers"),
        ({"bands": -1}, "bands"),
        ({"kind": "other"}, "kind"), ({"frequency": "30"}, "frequency"), ({"tokens": ["x"]}, "tokens"),
        ({"gated": 1}, "gated"), ({"velocity": None}, "velocity"), ({"feature": []}, "feature"),
        ({"neighbours": -1}, "neighbours"), ({"cells": 1.5}, "cells"), ({"layout": 5}, "layout"),
        *(
            ({"layout": LAYOUT | change}, "layout")
            for change in (
                {"kind": "sphere"}, {"kind": []}, {"resolution": 7}, {"resolution": 2**20}, {"channels": 0},
                {"shared": None}, {"upsamplings": 6, "resolution": 128},
            )
        ),
    ],
)  # fmt: skip
def test_a_wrong_configuration_of_a_network_is_refused_by_name(group, value):
    with pytest.raises(InputError, match=rf"a\.zarr: {value} in its attributes of decoder is"):
        check_group(group, "decoder", "a.zarr")
    with pytest.raises(InputError, match=rf"a\.zarr: {value} in its attributes of network is"):
        check_attributes({"network": group}, "a.zarr")


@pytest.mark.parametrize("attributes", [[], 5, "x", None, [{}]])
def test_attributes_that_are_no_object_are_refused(store, attributes):
    change(store, ".", attributes=attributes)
    if attributes is None:
        refused(store, "holds None, but a store of kind samples is needed")
    else:
        refused(store, "the metadata of the root cannot be read")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "5", "null", "[" * 100_000, '{"node_type": "group"}', "\xff"]
)
@pytest.mark.parametrize("name", [".", "point", "uid"])
def test_metadata_that_are_no_such_json_are_refused(store, name, content):
    (store / name / "zarr.json").write_text(content, encoding="latin-1")
    refused(store, "cannot be read|is not a Zarr store|is a Zarr group|holds None")


RAW = [{"name": "bytes", "configuration": {"endian": "little"}}]
PICKLED = [{"name": "bytes"}, {"name": "numcodecs.pickle"}]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("point", {"node_type": "x"}, "the metadata of point cannot be read"),
        ("point", {"data_type": "foo"}, "the metadata of point cannot be read"),
        ("point", {"data_type": 5}, "the metadata of point cannot be read"),
        ("point", {"codecs": PICKLED}, "the metadata of point cannot be read .*pickle"),
        ("point", {"codecs": []}, "the metadata of point cannot be read"),
        ("point", {"codecs": [{"name": "bytes"}, {"name": "numcodecs.zlib"}]}, "which is not supported|cannot be read"),
        ("point", {"chunk_grid": 5}, "the metadata of point cannot be read"),
        ("point", {"shape": [-1, 5, 3]}, "the metadata of point cannot be read"),
        ("point", {"shape": "x"}, "the metadata of point cannot be read"),
        ("point", {"data_type": "int8", "fill_value": 0}, "the array point has the type int8 and the shape"),
        ("point", {"data_type": "complex64", "fill_value": [0, 0]}, "the array point has the type complex64"),
        ("near", {"data_type": "uint8", "fill_value": 0}, r"but an array of booleans with the axes \(shape, sample\)"),
        ("point", {"shape": [HUGE, 5, 3]}, f"point has {HUGE} entries along the axis shape, but uid has 3"),
        ("point", {"shape": [2, 5, 3]}, "point has 2 entries along the axis shape, but uid has 3"),
        ("point", {"shape": [3, 5, 4], "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 5, 4]}}},
         r"with the axes \(shape, sample, xyz 3\) is needed"),
        ("distance", {"shape": [3, 4]}, "distance has 4 entries along the axis sample, but point has 5"),
        ("distance", {"shape": [3], "dimension_names": ["shape"],
                      "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1]}}},
         r"the shape \(3,\), but an array of floating-point numbers with the axes \(shape, sample\)"),
        ("point", {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 5, 3]}}},
         r"the array point has chunks of the shape \(0, 5, 3\)|the metadata of point cannot be read"),
        ("uid", {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": 0}}},
         r"the array uid has chunks of the shape \(0,\)|the metadata of uid cannot be read"),
        ("error", {"shape": [4]}, "error has 4 entries along the axis shape, but uid has 3"),
        ("uid", {"data_type": "float32", "fill_value": 0, "codecs": RAW},
         "the array uid has the type float32 and the shape"),
    ],
)  # fmt: skip
def test_an_array_that_cannot_be_what_it_says_is_refused_by_name(store, name, values, message):
    change(store, name, **values)
    refused(store, message)


@pytest.mark.parametrize(
    ("shape", "dtype", "is_good"),
    [
        ((2, 4, 4, 4), "f4", True), ((2, 4, 4, 4), "f2", True), ((2, 4, 4, 4), "i4", False),
        ((2, 4, 4), "f4", False), ((2, 4, 4, 5), "f4", False), ((2, 1, 1, 1), "f4", False),
        ((2, 0, 0, 0), "f4", False),
    ],
)  # fmt: skip
def test_a_grid_is_a_cube_of_floating_point_numbers(tmp_path, shape, dtype, is_good):
    path = str(tmp_path / "g.zarr")
    axes = ("shape", "x", "y", "z")[: len(shape)]
    with create_store(path, "grids", rows=ROWS[:2], history=[], settings={}, overwrite=False) as writer:
        writer.create_array("grid", data=np.zeros(shape, dtype), axes=axes)
        for row in ROWS[:2]:
            writer.write(row)
    with open_store(path, "grids", manifest=None) as reader:
        if is_good:
            assert reader.array("grid").shape == shape
            return
        needed = (
            r"axes \(shape, x, y, z\), the last three of one length from 2 is needed; make the store again$"
        )
        with pytest.raises(InputError, match=needed):
            reader.array("grid")


def grid(*shape):
    return {"name": "regular", "configuration": {"chunk_shape": list(shape)}}


@pytest.mark.parametrize("chunk", [2**33, 1, 3])
@pytest.mark.parametrize("rows", [2**33, HUGE])
def test_uids_of_rows_that_are_not_stored_are_refused(store, rows, chunk):
    for name in ("uid", "category", "licence", "source", "origin", "error", "valid"):
        change(store, name, shape=[rows], chunk_grid=grid(chunk))
    for name, shape in (("point", [5, 3]), ("distance", [5]), ("near", [5])):
        change(store, name, shape=[rows, *shape])
    refused(
        store,
        r"the array uid needs .* GB of memory, but only \d+ bytes of it are stored; make the store again",
    )


@pytest.mark.parametrize("chunk", [5, 2**30])
def test_samples_that_are_not_stored_are_refused(store, chunk):
    change(store, "point", shape=[3, HUGE, 3], chunk_grid=grid(1, chunk, 3))
    change(store, "distance", shape=[3, HUGE], chunk_grid=grid(1, chunk))
    change(store, "near", shape=[3, HUGE], chunk_grid=grid(1, chunk))
    refused(store, r"the array point needs .* GB of memory")


def test_rows_of_failed_shapes_need_not_be_stored(store):
    for name in ("point", "distance", "near"):
        shutil.rmtree(store / name / "c" / "1")
    with open_store(str(store), "samples", manifest=None) as reader:
        assert reader.read("point")[1].tolist() == [[0, 0, 0]] * 5


def test_pickles_of_zarr_format_2_are_not_read(tmp_path):
    path = tmp_path / "old.zarr"
    (path / "uid").mkdir(parents=True)
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    (path / ".zattrs").write_text(json.dumps(ROOT))
    array = {
        "zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "compressor": None, "fill_value": None,
        "order": "C", "filters": [{"id": "pickle", "protocol": 5}],
    }  # fmt: skip
    (path / "uid" / ".zarray").write_text(json.dumps(array))
    (path / "uid" / "0").write_bytes(pickle.dumps(np.array(["a"], object)))
    refused(path, "is not a Zarr store; a store of kind samples is needed")


def zipped_store():
    stream = io.BytesIO()
    archive = ZipWriter(stream)
    fill(StoreWriter(archive, ROOT, None, 3, in_order=True))
    archive.finish()
    return stream.getvalue()


def rewritten(content, change_member, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", compression) as new:
        for member in old.infolist():
            text = change_member(member.filename, old.read(member))
            if text is not None:
                new.writestr(zipfile.ZipInfo(member.filename), text, compression)
    return stream.getvalue()


def read_stream(content):
    store = ZipReader(io.BufferedReader(io.BytesIO(content)), "standard input")
    reader = StoreReader(zarr.open_group(store, mode="r"), "standard input", {})
    return [row.uid for row in reader.rows("point")]


def test_a_stream_that_declares_more_rows_than_it_has_is_refused():
    content = zipped_store()
    assert read_stream(content) == ["obj_0", "obj_1", "obj_2"]

    def declare(name, text):
        if not name.endswith("/zarr.json"):
            return text
        array = json.loads(text)
        return json.dumps(array | {"shape": [HUGE, *array["shape"][1:]]})

    with pytest.raises(InputError, match="standard input: is damaged; it has no zip member uid/c/3"):
        read_stream(rewritten(content, declare))


@pytest.mark.parametrize("piped", [True, False])
def test_a_zip_that_unpacks_to_fill_the_memory_is_refused(tmp_path, piped):
    content = rewritten(
        zipped_store(),
        lambda name, text: bytes(2 * SMALL) if name == "point/c/0/0/0" else text,
        zipfile.ZIP_DEFLATED,
    )
    path = tmp_path / "bomb.zarr.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"unpacks? from \d+ to \d+ bytes"):
        read_stream(content) if piped else read_all(path)
