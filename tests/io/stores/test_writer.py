"""Stores on disk and at URLs: complete or absent, resumed, never overwritten without --overwrite."""

from dataclasses import replace

import numpy as np
import pytest
import zarr

from sdfkit.errors import DoneError, InputError, UsageError
from sdfkit.io.digests import UNKNOWN, digest_input
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row

ROWS = [Row(index, f"obj_{index}", category="chair") for index in range(3)]
COMMON = {"history": [], "settings": {"points": 4, "std": (0.1, 0.2)}, "overwrite": False}


class Changed(Row):
    """A row whose data has another digest."""

    @property
    def identity(self):
        return "other"


def create(output, **changed):
    return create_store(str(output), "codes", **({"rows": ROWS, "resumable": True, **COMMON} | changed))


def fill(codes, rows):
    codes.create_array("code", shape=(3, 4), dtype="f4", axes=("shape", "dim"))
    for row in rows:
        codes.write(row, code=np.full(4, row.index, np.float32))


def stop_after(output, rows):
    """Write what a killed run leaves behind."""
    with pytest.raises(KeyboardInterrupt), create(output) as codes:
        fill(codes, rows)
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["x.zarr", "x.zarr.zip"])
def test_written_arrays_are_read_back(tmp_path, name):
    with create(tmp_path / name) as codes:
        fill(codes, ROWS)
    with open_store(str(tmp_path / name), "codes", manifest=None) as store:
        assert [(row.uid, row.category, row.arrays["code"][0]) for row in store.rows("code")] == [
            ("obj_0", "chair", 0), ("obj_1", "chair", 1), ("obj_2", "chair", 2),
        ]  # fmt: skip
        assert store.read("code", "shape", "dim").shape == (3, 4)
        with pytest.raises(
            InputError, match=r"the array code has the axes .*, but needs \('shape', 'point'\)"
        ):
            store.read("code", "shape", "point")
        with pytest.raises(InputError, match="has codes without the array point; was it made by sdfkit"):
            store.read("point")


def test_an_interrupted_folder_is_resumed(tmp_path):
    output = tmp_path / "x.zarr"
    stop_after(output, ROWS[:2])
    with pytest.raises(InputError, match="not complete"), open_store(str(output), manifest=None):
        pass
    with open_store(str(output), manifest=None, partial=True) as store:
        assert len(store) == 3
    with create(output) as codes:
        assert codes.done == {0, 1}
        fill(codes, ROWS[2:])
    with open_store(str(output), "codes", manifest=None) as store:
        assert store.read("code")[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"settings": {"points": 5, "std": (0.1, 0.2)}},
            r"holds an unfinished run that differs from this one \(points: 4 then, 5 now\)",
        ),
        (
            {"rows": [Row(0, "a"), Row(1, "b"), Row(2, "c")]},
            r"holds 3 shapes that the input lacks \(obj_0, obj_1, obj_2\); add --overwrite to leave them out",
        ),
    ],
)
def test_a_run_with_other_settings_does_not_resume(tmp_path, changed, message):
    stop_after(tmp_path / "x.zarr", ROWS[:1])
    with pytest.raises(InputError, match=message), create(tmp_path / "x.zarr", **changed):
        pass
    with create(tmp_path / "x.zarr", overwrite=True, **changed) as codes:
        assert codes.done == set()


def test_a_run_without_rows_leaves_no_folder(tmp_path):
    stop_after(tmp_path / "x.zarr", [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x.zarr", "x.zarr.zip"])
@pytest.mark.parametrize("resumable", [True, False])
def test_existing_stores_are_not_overwritten(tmp_path, name, resumable):
    for overwrite in (False, True):
        with create(tmp_path / name, resumable=resumable, overwrite=overwrite) as codes:
            fill(codes, ROWS)
        with (
            pytest.raises(
                InputError,
                match=r"exists; choose another name or add --overwrite \(.*: points: 4 then, 5 now\)",
            ),
            create(tmp_path / name, resumable=resumable, settings={**COMMON["settings"], "points": 5}),
        ):
            pass
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_complete_folder_has_nothing_to_do(tmp_path):
    for made in (3, 0):
        with create(tmp_path / "x.zarr") as codes:
            fill(codes, [row for row in ROWS if not codes.has(row)])
        assert codes.made == made
    assert zarr.open_group(tmp_path / "x.zarr").attrs["complete"]


def test_a_complete_file_has_nothing_to_do(tmp_path):
    with create(tmp_path / "x.zarr.zip") as codes:
        fill(codes, ROWS)
    with (
        pytest.raises(DoneError, match="is complete, and nothing was to be done"),
        create(tmp_path / "x.zarr.zip"),
    ):
        pass


@pytest.mark.parametrize("name", ["x.zarr", "x.zarr.zip"])
def test_what_is_made_from_a_pipe_is_compared_with_what_is_there(tmp_path, name):
    piped = {"rows": None, "count": 3, "settings": {"inputs": UNKNOWN}}
    with create(tmp_path / name, **piped) as codes:
        fill(codes, ROWS)
    first = digest_input(str(tmp_path / name))
    with pytest.raises(DoneError, match="nothing was to be done"), create(tmp_path / name, **piped) as codes:
        fill(codes, ROWS)
    with (
        pytest.raises(
            InputError, match="exists with another content; choose another name or add --overwrite"
        ),
        create(tmp_path / name, **piped) as codes,
    ):
        fill(codes, [*ROWS[:2], replace(ROWS[2], error="is flat")])
    with pytest.raises(KeyboardInterrupt), create(tmp_path / name, **piped) as codes:
        raise KeyboardInterrupt
    assert digest_input(str(tmp_path / name)) == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_rows_of_changed_inputs_are_made_again(tmp_path, caplog):
    with create(tmp_path / "x.zarr") as codes:
        fill(codes, ROWS)
    changed = [ROWS[0], Changed(1, "obj_1", category="chair"), ROWS[2]]
    with create(tmp_path / "x.zarr", rows=changed) as codes:
        assert [codes.has(row) for row in changed] == [True, False, True]
        assert codes.group.attrs["complete"]  # until something is written
        codes.create_array("code", shape=(3, 4), dtype="f4", axes=("shape", "dim"))
        codes.write(changed[1], code=np.full(4, 9, np.float32))
        assert not codes.group.attrs["complete"]
    assert "obj_1: its input has changed since the earlier run, so it is made again" in caplog.text
    group = zarr.open_group(tmp_path / "x.zarr")
    assert group["code"][:, 0].tolist() == [0, 9, 2]
    assert group["input"][:].tolist() == ["", "other", ""]
    assert group.attrs["complete"]


@pytest.mark.parametrize(
    ("error", "retry", "kept"),
    [
        ("no surface", False, True),
        ("no surface", True, False),
        ("its worker process died (signal 9); is there enough memory?", False, False),
        ("took longer than 600 s; raise --timeout or simplify the shape", False, False),
        ("MemoryError: Unable to allocate 8 GB", False, False),
    ],
)
def test_rows_that_failed_because_of_the_machine_are_made_again(tmp_path, error, retry, kept):
    with create(tmp_path / "x.zarr") as codes:
        fill(codes, ROWS[:2])
        codes.write(replace(ROWS[2], error=error))
    with create(tmp_path / "x.zarr", retry_failed=retry) as codes:
        assert [codes.has(row) for row in ROWS] == [True, True, kept]
        assert codes.failed == ({2} if kept else set())


def test_other_labels_replace_those_of_the_earlier_run(tmp_path):
    stop_after(tmp_path / "x.zarr", ROWS[:2])
    labelled = [replace(row, category="table") for row in ROWS]
    with create(tmp_path / "x.zarr", rows=labelled) as codes:
        fill(codes, [row for row in labelled if not codes.has(row)])
    assert set(zarr.open_group(tmp_path / "x.zarr")["category"][:]) == {"table"}


def test_an_old_store_stays_until_the_new_one_is_whole_and_a_second_run_continues(tmp_path):
    output = tmp_path / "x.zarr"
    with create(output) as codes:
        fill(codes, ROWS)
    changed = {"settings": {"points": 5}, "overwrite": True}
    with pytest.raises(KeyboardInterrupt), create(output, **changed) as codes:
        fill(codes, ROWS[:2])
        raise KeyboardInterrupt
    assert zarr.open_group(output).attrs["settings"]["points"] == 4
    assert zarr.open_group(output).attrs["complete"]
    with create(output, **changed) as codes:
        assert codes.done == {0, 1}
        fill(codes, ROWS[2:])
    assert zarr.open_group(output).attrs["settings"]["points"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]


@pytest.mark.parametrize("name", ["x.zarr", "x.zarr.zip"])
def test_a_failed_run_leaves_no_output(tmp_path, name):
    with pytest.raises(ZeroDivisionError), create(tmp_path / name, resumable=False) as codes:
        fill(codes, ROWS[:2])
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_a_store_is_not_overwritten(tmp_path):
    folder = tmp_path / "x.zarr"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with (
        pytest.raises(InputError, match="is a folder but not a store, so it is not overwritten"),
        create(folder, overwrite=True),
    ):
        pass
    assert (folder / "thesis.txt").read_text() == "mine"


def test_stores_are_written_to_and_read_from_urls(tmp_path):
    url = "memory://bucket/x.zarr"
    with create(url) as codes:
        fill(codes, ROWS)
    with open_store(url, "codes", manifest=None) as store:
        assert store.read("code")[:, 0].tolist() == [0, 1, 2]
    with create(url) as codes:
        assert codes.done == {0, 1, 2}
    other = {"settings": {"points": 5}}
    with pytest.raises(InputError, match="exists; choose another name"), create(url, **other):
        pass
    with pytest.raises(ZeroDivisionError), create(url, overwrite=True, **other) as codes:
        fill(codes, ROWS[:1])
        raise ZeroDivisionError
    with open_store(url, "codes", manifest=None) as store:
        assert store.attributes["settings"]["points"] == 4
    with create(url, overwrite=True, **other) as codes:
        fill(codes, ROWS)
    with open_store(url, "codes", manifest=None) as store:
        assert store.attributes["settings"]["points"] == 5
        assert store.read("code")[:, 0].tolist() == [0, 1, 2]


def test_invalid_store_names_are_refused(tmp_path):
    with (
        pytest.raises(
            UsageError, match=r"is not a name for a store; use \*\.zarr \(a folder\) or \*\.zarr\.zip"
        ),
        create(tmp_path / "codes"),
    ):
        pass
    with (
        pytest.raises(InputError, match="missing: no such folder; make it first"),
        create(tmp_path / "missing/x.zarr"),
    ):
        pass


def test_a_newer_format_is_refused(tmp_path):
    with create(tmp_path / "x.zarr") as codes:
        fill(codes, ROWS)
    zarr.open_group(tmp_path / "x.zarr", mode="r+").attrs["format"] = 9
    with (
        pytest.raises(InputError, match="store format 9, but this sdfkit reads up to 1; update sdfkit"),
        open_store(str(tmp_path / "x.zarr"), manifest=None),
    ):
        pass


def test_a_damaged_chunk_is_reported(tmp_path):
    with create(tmp_path / "x.zarr") as codes:
        fill(codes, ROWS)
    (tmp_path / "x.zarr/code/c/1/0").write_bytes(b"short")
    with (
        open_store(str(tmp_path / "x.zarr"), manifest=None) as store,
        pytest.raises(InputError, match="a chunk of the array code is damaged"),
    ):
        store.read("code")
