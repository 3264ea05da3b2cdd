"""Chunks that ask for more memory than their array are refused before they are decoded."""

import numcodecs
import numpy as np
import pytest
import zarr

from sdfkit.errors import InputError
from sdfkit.io.stores.codecs import content_size
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row

ZSTD = b"\x28\xb5\x2f\xfd"
ROWS = [Row(0, "a"), Row(1, "bc")]


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "views.zarr"
    with create_store(str(path), "views", rows=ROWS, history=[], settings={}, overwrite=False) as writer:
        axes = ("shape", "view", "row", "column")
        writer.create_array("mask", data=np.full((2, 1, 9, 9), 7, np.uint8), axes=axes, compress=True)
        for row in ROWS:
            writer.write(row)
    return path


def read(path):
    with open_store(str(path), "views", manifest=None) as reader:
        return [row.uid for row in reader.all_rows()], reader.read("mask")


@pytest.mark.parametrize("size", [0, 1, 255, 256, 300, 65_791, 65_792, 1_000_000])
def test_the_size_that_a_frame_declares_is_that_of_its_content(size):
    assert content_size(numcodecs.Zstd().encode(bytes(size))) == size


@pytest.mark.parametrize(
    "start", [b"", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\x00\x00\x00\x00", b"PK\x03\x04\x00\x00\x00"]
)
def test_a_frame_without_a_size_declares_none(start):
    assert content_size(start) is None


def test_texts_and_compressed_pictures_are_read(store):
    uids, mask = read(store)
    assert uids == ["a", "bc"] and (mask == 7).all() and mask.shape == (2, 1, 9, 9)


@pytest.mark.parametrize("count", [0, 1, 3, 2**31 - 1, 2**32 - 1])
def test_another_number_of_texts_is_refused(store, count):
    chunk = store / "uid/c/0"
    chunk.write_bytes(count.to_bytes(4, "little") + chunk.read_bytes()[4:])
    with pytest.raises(
        InputError, match=f"a chunk of the array uid is damaged .it declares {count} texts, but 2 are"
    ):
        read(store)


@pytest.mark.parametrize(
    "chunk", [numcodecs.Zstd().encode(bytes(1 << 20)), ZSTD + b"\xe0" + b"\xff" * 8, b""]
)
def test_a_compressed_chunk_larger_than_its_array_is_refused(store, chunk):
    (store / "mask/c/0/0/0/0").write_bytes(chunk)
    with pytest.raises(
        InputError, match=r"a chunk of the array mask is damaged .it declares \w+ bytes, but 162 are"
    ):
        read(store)


def test_stores_are_written_with_the_names_of_zarrs_own_codecs(store):
    read(store)
    names = [codec["name"] for codec in zarr.open_group(store)["mask"].metadata.to_dict()["codecs"]]
    assert names == ["bytes", "zstd"]
