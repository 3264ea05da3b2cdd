"""Sets of vectors, read at once or in blocks: the same rows from every source, with limited memory."""

import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from sdfkit.errors import InputError
from sdfkit.io.stores.contents import vectors
from sdfkit.io.stores.contents.vectors import RowBlocks, open_vectors
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row

VECTORS = np.random.default_rng(0).normal(size=(11, 6)).astype(np.float32)
FAILED = (0, 4, 5, 10)
GOOD = [row for row in range(11) if row not in FAILED]


def write(path, vectors=VECTORS, array="weights", kind="weights"):
    rows = [Row(i, f"obj_{i}", error="no surface" if i in FAILED else "") for i in range(11)]
    axes = ("shape", "view", "dim")[-vectors.ndim :] if vectors.ndim == 3 else ("shape", "dim")
    with create_store(str(path), kind, rows=rows, history=[], settings={}, overwrite=False) as store:
        store.create_array(array, shape=vectors.shape, dtype="f4", axes=axes)
        for row, vector in zip(rows, vectors, strict=True):
            store.write(row, **({} if row.error else {array: vector}))
    return path


@pytest.fixture(params=[1 << 28, 16])
def whole(request, monkeypatch):
    """Run a test with sets that fit into memory, and with sets that do not."""
    monkeypatch.setattr(vectors, "LARGEST_IN_MEMORY", request.param)
    return request.param > 16


@contextmanager
def standard_input(path, monkeypatch):
    with path.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield


def same(vectors, expected, whole):
    assert isinstance(vectors.vectors, np.ndarray if whole else RowBlocks)
    assert vectors.vectors.shape == expected.shape
    assert vectors.vectors[:].dtype == np.float32
    for rows in (slice(None), slice(2, 5), slice(5, 5), slice(4, 99), np.array([3, 0, 3]), np.array([], int)):
        assert np.array_equal(vectors.vectors[rows], expected[rows])


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", "<i2"])
def test_rows_of_a_plain_array_are_read(tmp_path, whole, dtype, monkeypatch):
    content = (100 * VECTORS).astype(dtype)
    np.save(tmp_path / "x.npy", content)
    with open_vectors(str(tmp_path / "x.npy"), "codes", manifest=None) as vectors:
        same(vectors, content.astype(np.float32), whole)
        assert (vectors.has_uids, vectors.rows[3].uid, vectors.dim) == (False, "row_3", 6)
        digest = vectors.digest()
    with (
        standard_input(tmp_path / "x.npy", monkeypatch),
        open_vectors("-", "codes", manifest=None) as vectors,
    ):
        same(vectors, content.astype(np.float32), whole)
        assert vectors.digest() == digest


@pytest.mark.parametrize("name", ["x.zarr", "x.zarr.zip"])
def test_failed_rows_of_a_store_are_skipped(tmp_path, whole, name, monkeypatch):
    path = write(tmp_path / name)
    with open_vectors(str(path), "weights", manifest=None) as vectors:
        same(vectors, VECTORS[GOOD], whole)
        assert [row.uid for row in vectors.rows] == [f"obj_{row}" for row in GOOD]
        assert [row.index for row in vectors.rows] == GOOD
    if name.endswith(".zip"):
        with standard_input(path, monkeypatch), open_vectors("-", "weights", manifest=None) as vectors:
            same(vectors, VECTORS[GOOD], whole)
            assert [row.uid for row in vectors.rows] == [f"obj_{row}" for row in GOOD]


def test_features_of_views_are_averaged(tmp_path, whole):
    views = np.random.default_rng(1).normal(size=(11, 3, 4)).astype(np.float32)
    path = write(tmp_path / "x.zarr", views, "feature", "features")
    with open_vectors(str(path), "features", manifest=None) as vectors:
        same(vectors, views[GOOD].mean(axis=1), whole)


def test_a_column_major_array_is_read_only_if_it_fits_into_memory(tmp_path, whole):
    np.save(tmp_path / "x.npy", np.asfortranarray(VECTORS))
    if whole:
        with open_vectors(str(tmp_path / "x.npy"), "codes", manifest=None) as vectors:
            same(vectors, VECTORS, True)
        return
    message = f"^{tmp_path / 'x.npy'}: is stored in column-major order; save numpy.ascontiguousarray of it$"
    with (
        pytest.raises(InputError, match=message),
        open_vectors(str(tmp_path / "x.npy"), "codes", manifest=None),
    ):
        pass


def test_a_truncated_array_is_refused_before_reading(tmp_path, whole):
    path = tmp_path / "x.npy"
    np.save(path, VECTORS)
    path.write_bytes(path.read_bytes()[:-1])
    message = (
        "is truncated after 263 of 264 bytes" if whole else "is truncated before the last of its 11 rows"
    )
    with (
        pytest.raises(InputError, match=f"{message}; make it again$"),
        open_vectors(str(path), "codes", manifest=None),
    ):
        pass


def test_several_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=VECTORS, b=VECTORS)
    with (
        pytest.raises(InputError, match="holds a, b; save one array alone$"),
        open_vectors(str(tmp_path / "x.npz"), "codes", manifest=None),
    ):
        pass


FLAT = """
import resource, sys
from pathlib import Path
from sdfkit.cli import app
from typer.testing import CliRunner
small, *words = sys.argv[1:]
def run(*words):
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = run(words[0], small, *(["--known", small] if words[0] == "rank" else []))
print(run(*words) - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["rank", "weight-stats"])
def test_sets_larger_than_memory_are_processed(tmp_path, command):
    # 600 MB in 400 MB; measured in a process of its own, beyond what a small set needs.
    rng = np.random.default_rng(0)
    anchor = rng.normal(size=30_000).astype(np.float32)
    np.save(tmp_path / "small.npy", anchor + rng.normal(size=(3, 30_000)).astype(np.float32))
    with (tmp_path / "large.npy").open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (5_000, 30_000)}
        np.lib.format.write_array_header_1_0(stream, header)
        noise = rng.normal(size=30_000 + 5_000).astype(np.float32)
        for row in range(5_000):
            stream.write((anchor + noise[row : row + 30_000]).tobytes())
    words = {
        "rank": ["rank", tmp_path / "small.npy", "--known", tmp_path / "large.npy"],
        "weight-stats": ["weight-stats", tmp_path / "large.npy"],
    }[command]
    result = subprocess.run(
        [sys.executable, "-c", FLAT, str(tmp_path / "small.npy"), *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 400
