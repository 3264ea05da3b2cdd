"""Stores in pipes: order, completeness, checksums, names and memory."""

import asyncio
import io
import zipfile

import numpy as np
import pytest
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from sdfkit.errors import InputError
from sdfkit.io.stores.archives.zip_stream import ZipReader, find_range
from sdfkit.io.stores.archives.zip_writer import ZipWriter
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.store_reader import StoreReader
from sdfkit.io.stores.store_writer import StoreWriter
from sdfkit.io.stores.writer import create_store, describe_root, write_zip
from sdfkit.rows import Row

ROWS = [Row(index, f"obj_{index:04d}", category="chair") for index in range(3)]
ROOT = {"kind": "views", "format": 1, "complete": True, "history": []}


def write_views(stream, rows=ROWS, known=True):
    zipped = ZipWriter(stream)
    writer = StoreWriter(zipped, ROOT, rows if known else None, len(rows), in_order=True)
    writer.create_array(
        "rgb", shape=(len(rows), 2, 4, 4, 3), dtype="u1", axes=("shape", "view", "row", "column", "channel")
    )
    for row in rows:
        if row.error:
            writer.write(row)
        else:
            writer.write(row, rgb=np.full((2, 4, 4, 3), row.index, np.uint8))
    zipped.finish()


@pytest.fixture
def archive():
    stream = io.BytesIO()
    write_views(stream)
    return stream.getvalue()


def open_archive(content):
    store = ZipReader(io.BufferedReader(io.BytesIO(content)), "standard input")
    return store, StoreReader(zarr.open_group(store, mode="r"), "standard input", {})


@pytest.mark.parametrize("known", [True, False])
def test_written_arrays_are_read_back(known):
    stream = io.BytesIO()
    failed = Row(1, "obj_0001", error="no surface")
    write_views(stream, [ROWS[0], failed, ROWS[2]], known)
    store, reader = open_archive(stream.getvalue())
    seen = [(row.uid, row.error, [int(a.mean()) for a in row.arrays.values()]) for row in reader.rows("rgb")]
    store.finish()
    assert seen == [("obj_0000", "", [0]), ("obj_0001", "no surface", []), ("obj_0002", "", [2])]


def test_zarr_and_zipfile_open_the_archive(archive, tmp_path):
    path = tmp_path / "views.zarr.zip"
    path.write_bytes(archive)
    assert zipfile.ZipFile(path).testzip() is None
    group = zarr.open_group(zarr.storage.ZipStore(path), mode="r")
    assert group["rgb"].metadata.dimension_names == ("shape", "view", "row", "column", "channel")
    assert (group["rgb"][:] == np.arange(3, dtype=np.uint8)[:, None, None, None, None]).all()
    assert group["uid"][:].tolist() == ["obj_0000", "obj_0001", "obj_0002"]


@pytest.mark.parametrize(
    "byte_range",
    [None, RangeByteRequest(2, 5), RangeByteRequest(8, 99), OffsetByteRequest(3), SuffixByteRequest(4)],
)
def test_byte_ranges_agree_with_zarrs_stores(byte_range):
    prototype = default_buffer_prototype()
    value = prototype.buffer.from_bytes(bytes(range(10)))
    writer = ZipWriter(io.BytesIO())

    async def read(store):
        await store.set("zarr.json", value)
        return (await store.get("zarr.json", prototype, byte_range)).to_bytes()

    assert asyncio.run(read(writer)) == asyncio.run(read(MemoryStore()))


def test_a_suffix_range_longer_than_the_value_returns_the_value():
    assert find_range(3, SuffixByteRequest(5)) == slice(0, 3)
    with pytest.raises(TypeError, match="'first half' is not a byte request of Zarr"):
        find_range(3, "first half")


def test_equal_inputs_give_equal_bytes(archive):
    again = io.BytesIO()
    write_views(again)
    assert again.getvalue() == archive


def test_the_first_row_is_written_before_the_second_is_computed():
    stream = io.BytesIO()
    zipped = ZipWriter(stream)
    writer = StoreWriter(zipped, ROOT, ROWS, 3, in_order=True)
    writer.create_array("number", shape=(3, 1), dtype="u1", axes=("shape", "view"))
    writer.write(ROWS[0], number=np.array([7], np.uint8))
    _, reader = open_archive(stream.getvalue())  # only what has been sent so far
    row = next(reader.rows("number"))
    assert row.uid == "obj_0000"
    assert row.arrays["number"].tolist() == [7]


def test_testing_for_an_absent_array_does_not_read_to_the_end(archive):
    store, reader = open_archive(archive)
    reader.row(0)
    assert "depth" not in reader
    assert not store.has_ended


def test_rows_are_dropped_from_memory_after_use(archive):
    store, reader = open_archive(archive)
    for row in reader.rows("rgb"):
        kept = [key for key in store._members if key.startswith("rgb/c/")]
        assert kept == [f"rgb/c/{row.index}/0/0/0/0"]


@pytest.mark.slow
def test_every_truncation_is_detected(archive):
    for length in range(0, len(archive), 13):
        with pytest.raises(InputError, match="ends early|empty|is damaged"):
            store, reader = open_archive(archive[:length])
            for _ in reader.rows("rgb"):
                pass
            store.finish()


def test_truncation_after_the_last_row_is_detected(archive):
    _, reader = open_archive(archive[:-10])
    rows = reader.rows("rgb")
    assert [next(rows).uid for _ in ROWS] == [row.uid for row in ROWS]
    with pytest.raises(InputError, match="standard input: ends early"):
        next(rows)


def test_every_changed_byte_of_a_chunk_is_detected(archive):
    start = archive.index(b"rgb/c/1") + 60
    damaged = bytearray(archive)
    damaged[start] ^= 1
    _, reader = open_archive(bytes(damaged))
    with pytest.raises(InputError, match="wrong checksum"):
        list(reader.rows("rgb"))


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "c:/x", "a\\b", "./a", "a//b"])
def test_names_outside_the_store_are_refused(name, tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    stream.seek(0)
    store = ZipReader(io.BufferedReader(stream), "standard input")
    with pytest.raises(InputError, match="leads outside the store"):
        store.finish()
    path = tmp_path / "x.zarr.zip"
    path.write_bytes(stream.getvalue())
    with pytest.raises(InputError, match="x.zarr.zip: the path of the zip member .* leads outside"):
        open_store(str(path), manifest=None).__enter__()


def test_duplicate_names_are_refused():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a", b"x")
        archive.writestr("a", b"y")
    store = ZipReader(io.BufferedReader(io.BytesIO(stream.getvalue())), "standard input")
    with pytest.raises(InputError, match="has two zip members named a"):
        store.finish()


def test_compressed_archives_of_other_programs_are_read(archive):
    source = zipfile.ZipFile(io.BytesIO(archive))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            packed.writestr(name, source.read(name))
    store, reader = open_archive(stream.getvalue())
    assert [int(row.arrays["rgb"].max()) for row in reader.rows("rgb")] == [0, 1, 2]
    store.finish()


def test_archives_with_sizes_after_the_data_are_refused_with_an_explanation():
    class Unseekable(io.BytesIO):
        def seekable(self):
            return False

        def tell(self):
            raise OSError

        def seek(self, *_):
            raise OSError

    stream = Unseekable()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("zarr.json", b"{}")
    store = ZipReader(io.BufferedReader(io.BytesIO(stream.getvalue())), "standard input")
    with pytest.raises(InputError, match="save the stream to a file"):
        store.finish()


def test_bytes_after_the_end_are_refused(archive):
    store, _ = open_archive(archive + b"more")
    with pytest.raises(InputError, match="bytes follow the end of the archive"):
        store.finish()


def test_a_key_can_be_written_only_once():
    writer = StoreWriter(ZipWriter(io.BytesIO()), ROOT, ROWS, 3, in_order=True)
    writer.write(ROWS[0])
    with pytest.raises(ValueError, match="valid/c/0: written twice|error/c/0: written twice"):
        writer.write(ROWS[0])


def test_arrays_that_are_not_requested_are_dropped_from_memory():
    stream = io.BytesIO()
    zipped = ZipWriter(stream)
    rows = [Row(index, f"obj_{index}") for index in range(20)]
    writer = StoreWriter(zipped, ROOT, rows, 20, in_order=True)
    writer.create_array("yfov", shape=(20, 1), dtype="f4", axes=("shape", "view"))
    writer.create_array("number", shape=(20, 100), dtype="u1", axes=("shape", "pixel"))
    for row in rows:
        writer.write(row, yfov=np.ones(1, np.float32), number=np.ones(100, np.uint8))
    zipped.finish()
    store, reader = open_archive(stream.getvalue())
    for _ in reader.rows("yfov"):
        assert sum(key.startswith("number/c/") for key in store._members) <= 1


def test_a_stream_lists_its_arrays_before_the_first_row_is_read(archive):
    _, reader = open_archive(archive)
    columns = {"uid", "category", "licence", "source", "valid", "error", "origin"}
    assert {name for name, _ in reader.group.arrays()} == {*columns, "rgb"}


def test_a_column_in_one_chunk_is_decoded_once(archive, monkeypatch):
    wanted = []
    find = ZipReader._find
    monkeypatch.setattr(ZipReader, "_find", lambda self, key: wanted.append(key) or find(self, key))
    _, reader = open_archive(archive)
    assert [row.category for row in reader.rows()] == ["chair"] * 3
    assert wanted.count("category/c/0") == 1


def make_archive(values, uids=None, kind="codes", first=0):
    """Return the bytes of a store with one row for each value."""
    out = io.BytesIO()
    rows = [Row(index, (uids or {}).get(index, f"obj_{first + index}")) for index in range(len(values))]
    with write_zip(
        out, describe_root(kind, {}, [], None, None), None, len(values), may_restart=True
    ) as writer:
        writer.create_array("code", shape=(len(values), len(values[0])), dtype="f4", axes=("shape", "dim"))
        for row, value in zip(rows, values, strict=True):
            writer.write(row, code=np.array(value, np.float32))
    return out.getvalue()


def piped(monkeypatch, content):
    from sdfkit.io.stores import reader

    stream = io.BufferedReader(io.BytesIO(content))
    monkeypatch.setattr(reader, "open_input", lambda path: stream)


def test_several_stores_on_a_pipe_are_one_stream_of_rows(monkeypatch, tmp_path):
    content = (
        make_archive([[1, 2], [3, 4]])
        + make_archive([[5, 6]], {0: "obj_1"})
        + make_archive([[7, 8]], first=9)
    )
    piped(monkeypatch, content)
    with open_store("-", "codes", manifest=None) as store:
        rows = [(row.index, row.uid, row.arrays["code"].tolist()) for row in store.rows("code")]
    assert rows == [(0, "obj_0", [1, 2]), (1, "obj_1", [3, 4]), (2, "obj_1_2", [5, 6]), (3, "obj_9", [7, 8])]


def test_rows_of_several_stores_extend_a_folder_and_follow_on_a_pipe(monkeypatch, tmp_path):
    content = make_archive([[1, 2]]) + make_archive([[3, 4]], first=1) + make_archive([[5, 6]], first=2)
    out = io.BytesIO()
    for output in (str(tmp_path / "x.zarr"), out):
        piped(monkeypatch, content)
        with open_store("-", "codes", manifest=None) as store:
            new = (
                create_store(output, "codes", count=len(store), history=[], settings={}, overwrite=False)
                if output is not out
                else write_zip(out, describe_root("codes", {}, [], None, None), None, 1, may_restart=True)
            )
            with new as writer:
                writer.create_array("code", shape=(1, 2), dtype="f4", axes=("shape", "dim"))
                for row in store.rows("code"):
                    writer.write(row, **row.arrays)
    with open_store(str(tmp_path / "x.zarr"), "codes", manifest=None) as store:
        assert store.read("uid").tolist() == ["obj_0", "obj_1", "obj_2"]
        assert store.read("code").tolist() == [[1, 2], [3, 4], [5, 6]]
        assert store.read("valid").all()
    assert out.getvalue() == content


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (make_archive([[1, 2, 3]]), "arrays code have rows of different shapes; give one at a time"),
        (make_archive([[1, 2]], kind="features"), "holds features, but a store of kind codes is needed"),
        (make_archive([[1, 2]])[:-30], "ends early; the command that wrote it did not finish"),
        (b"PK\3\4", "ends early; the command that wrote it did not finish"),
        (b"PK\3\5", "bytes follow the end of the archive"),
    ],
)
def test_a_store_that_does_not_fit_the_first_is_refused(monkeypatch, second, message):
    piped(monkeypatch, make_archive([[1, 2]]) + second)
    with pytest.raises(InputError, match=message), open_store("-", "codes", manifest=None) as store:
        list(store.rows("code"))


def test_commands_that_need_all_rows_at_once_refuse_several_stores(monkeypatch):
    piped(monkeypatch, make_archive([[1, 2]]) + make_archive([[3, 4]]))
    with (
        pytest.raises(
            InputError, match="holds several stores, one after another, which this command cannot join"
        ),
        open_store("-", "codes", manifest=None) as store,
    ):
        store.read_rows("code")
