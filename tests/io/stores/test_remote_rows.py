"""Rows whose large arrays another process writes, at every moment at which the command or the process may be killed."""

from dataclasses import dataclass
from pathlib import Path
from pickle import dumps, loads

import numpy as np
import pytest
import zarr

from sdfkit.errors import MissingError
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row


@dataclass(frozen=True)
class KnownRow(Row):
    """A row whose input has a given digest."""

    digest: str = "1"

    @property
    def identity(self):
        return self.digest


ROWS = [KnownRow(index, f"s{index}") for index in range(3)]


def result(row):
    return {"code": np.full(4, row.index + float(row.digest), np.float32), "loss": np.float32(row.index)}


def open_codes(output, rows=ROWS, **options):
    options = {"history": [], "settings": {}, "overwrite": False, "resumable": True, **options}
    return create_store(output, "codes", rows=rows, count=len(rows), **options)


def create_arrays(store):
    store.create_array("code", shape=(3, 4), dtype="f4", axes=("shape", "dim"))
    store.create_array("loss", shape=(3,), dtype="f4", axes=("shape",))


def contents(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes() for file in Path(folder).rglob("*") if file.is_file()
    }


def write_all(output, *, is_remote, rows=ROWS, **options):
    with open_codes(output, rows, **options) as store:
        create_arrays(store)
        remote = loads(dumps(store.remote())) if is_remote else None
        for row in rows:
            if store.has(row):
                continue
            if remote is None:
                store.write(row, **result(row))
            else:
                left = remote.write_result(row, function=result)
                assert list(left) == ["loss"]  # whose chunk belongs to several rows
                store.record(row, **left)


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_all("local.zarr", is_remote=False)


@pytest.mark.parametrize("stop", ["before the worker writes", "before the command records"])
def test_an_interrupted_run_is_continued(stop):
    with pytest.raises(KeyboardInterrupt), open_codes("x.zarr") as store:
        create_arrays(store)
        remote = store.remote()
        store.record(ROWS[0], **remote.write_result(ROWS[0], function=result))
        if "record" in stop:
            remote.write_result(ROWS[1], function=result)
        raise KeyboardInterrupt
    left = zarr.open_group("x.zarr", mode="r")
    assert left["valid"][:].tolist() == [True, False, False]
    write_all("x.zarr", is_remote=True)
    assert contents("x.zarr") == contents("local.zarr")


def test_a_row_is_not_valid_while_a_worker_replaces_it():
    write_all("x.zarr", is_remote=True)
    changed = [ROWS[0], KnownRow(1, "s1", digest="2"), ROWS[2]]
    with open_codes("x.zarr", changed) as store:
        create_arrays(store)
        remote = store.remote()
        assert [store.has(row) for row in changed] == [True, False, True]
        seen = zarr.open_group("x.zarr", mode="r")
        assert seen["valid"][:].tolist() == [True, False, True]
        assert not seen.attrs["complete"]
        store.record(changed[1], **remote.write_result(changed[1], function=result))
    assert zarr.open_group("x.zarr", mode="r")["code"][:, 0].tolist() == [1, 3, 3]


def test_of_a_row_that_failed_after_it_was_written_nothing_is_left():
    failed = KnownRow(1, "s1", error="its worker process died")
    for name in ("local.zarr", "x.zarr"):
        with open_codes(name, overwrite=True) as store:
            create_arrays(store)
            if name == "x.zarr":
                store.remote().write_result(ROWS[1], function=result)
            store.write(failed)
    assert contents("x.zarr") == contents("local.zarr")


def test_a_worker_of_an_earlier_run_writes_nothing():
    with open_codes("x.zarr", overwrite=True) as store:
        create_arrays(store)
        earlier = store.remote()
    with pytest.raises(MissingError, match="x.zarr: is not shared with the worker on"):
        earlier.write_result(ROWS[0], function=result)


@pytest.mark.parametrize("output", ["x.zarr.zip", "x.npz", "x.npy"])
def test_rows_of_files_are_left_to_the_command(output):
    with open_codes(output) as store:
        create_arrays(store)
        assert store.remote() is None
        for row in ROWS:
            store.write(row, **result(row))


def test_workers_write_to_a_url_which_they_must_share():
    with open_codes("memory://rows/x.zarr") as store:
        create_arrays(store)
        remote = store.remote()
        for row in ROWS:
            # All arrays have a chunk for each row there.
            store.record(row, **remote.write_result(row, function=result))
        failed = KnownRow(2, "s2", error="no")
        store.write(failed)
    from zarr.storage import FsspecStore

    group = zarr.open_group(FsspecStore.from_url("memory://rows/x.zarr"), mode="r")
    assert group["code"][:, 0].tolist() == [1, 2, 0]
    assert group["valid"][:].tolist() == [True, True, False]
    assert group.attrs["complete"]
    assert "run" not in group.attrs
    with pytest.raises(MissingError, match="memory://rows/x.zarr: is not what the worker on .* finds there"):
        remote.check()


def test_folders_of_pictures_are_written_by_workers():
    arrays = {
        "rgb": np.full((2, 4, 4, 3), 7, np.uint8),
        "camera_to_world": np.tile(np.eye(4, dtype=np.float32), (2, 1, 1)),
        "yfov": np.ones(2, np.float32),
    }
    options = {"rows": ROWS, "history": [], "settings": {}, "overwrite": False}
    for place in ("local", "far"):
        with create_store(f"{place}/", "views", **options) as pictures:
            assert not pictures.has(ROWS[0])
            if place == "local":
                pictures.write(ROWS[0], **arrays)
            else:
                remote = loads(dumps(pictures.remote()))
                pictures.record(ROWS[0], **remote.write_result(ROWS[0], function=lambda row: arrays))
            pictures.write(Row(1, "s1", error="no"))
            assert (pictures.made, pictures.failed) == (2, {1})
    assert len(contents("local")) == 3
    assert contents("far") == contents("local")
