"""A store of other shapes keeps the rows whose inputs are equal: added, removed, moved and changed shapes."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zarr

from sdfkit.errors import InputError
from sdfkit.io.digests import digest_input
from sdfkit.io.stores.earlier_rows import EarlierRows
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row


@dataclass(frozen=True)
class Shape(Row):
    """A row with a number as its data; 0 fails."""

    number: int = 1

    @property
    def identity(self):
        return str(self.number)


def shapes(text):
    """Make rows of a text such as "a1 b2": their uids and numbers."""
    return [
        Shape(index, word[0], category=f"kind {word[0]}", number=int(word[1:]))
        for index, word in enumerate(text.split())
    ]


def refuse(*_):
    raise OSError("no links here")


def run(output, text, *, overwrite=False, stop=None, groups=False, retry_failed=False):
    """Write a row of each shape that the store does not have, and return the uids of these. Stop before one."""
    rows, made = shapes(text), []
    with create_store(
        str(output), "samples", rows=rows, history=[], settings={"points": 3}, overwrite=overwrite, resumable=True,
        retry_failed=retry_failed,
    ) as store:  # fmt: skip
        # One row a file, in shards, and many rows a file.
        axes = ("shape", "sample", "xyz")
        store.create_array("point", shape=(len(rows), 9000, 3), dtype="f4", axes=axes)
        store.create_array("code", shape=(len(rows), 2), dtype="f8", axes=("shape", "dim"))
        store.create_array("loss", shape=(len(rows),), dtype="f4", axes=("shape",))
        for row in rows:
            if row.uid == stop:
                raise KeyboardInterrupt
            if store.has(row):
                continue
            made.append(row.uid)
            value = np.full((9000, 3), row.number, np.float32)
            if row.number == 0:
                store.write(Shape(**vars(row) | {"error": "is flat"}))
            else:
                store.write(row, point=value, code=value[0, :2], loss=value[0, 0])
        assert store.made == len(made)
        assert store.failed == {row.index for row in rows if row.number == 0}
    return "".join(made)


CASES = {
    # earlier shapes, shapes now: which are made, and what is said; "" is a refusal without --overwrite
    "added last": ("a1 b2", "a1 b2 c3", "c", "1 shape made, 2 kept from the earlier run"),
    "added first": ("b2 c3", "a1 b2 c3", "a", "1 shape made, 2 kept from the earlier run"),
    "added and changed": ("b2 c3", "a1 b4 c3", "ab", "2 shapes made, 1 kept from the earlier run"),
    "moved": ("a1 b2 c3", "c3 a1 b2", "", "0 shapes made, 3 kept from the earlier run"),
    "a failed one kept": ("a0 b2", "a0 b2 c3", "c", "1 shape made, 2 kept from the earlier run"),
    "removed": ("a1 b2 c3", "a1 c3", "", None),
    "removed and added": ("a1 b2 c3", "d4 c3", "d", None),
    "all others": ("a1 b2", "c3 d4", "cd", None),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_of_equal_inputs_are_kept(tmp_path, caplog, name):
    before, after, made, said = CASES[name]
    caplog.set_level("INFO")
    output, fresh = tmp_path / "x.zarr", tmp_path / "fresh.zarr"
    run(output, before)
    old = digest_input(str(output))
    if said is None:
        with pytest.raises(
            InputError, match=r"holds .* that the input lacks \(.*add --overwrite to leave them"
        ):
            run(output, after)
        assert digest_input(str(output)) == old
    last = after.split()[-1][0]
    with pytest.raises(KeyboardInterrupt):
        run(output, after, stop=last, overwrite=said is None)
    assert digest_input(str(output)) == old, "the old store stays until the new one is complete"
    rest = run(output, after, overwrite=said is None)
    assert made.endswith(rest)
    lost = {word[0] for word in before.split()} - {word[0] for word in after.split()}
    assert (
        f"{len(lost)} left out" in caplog.text
        if said is None
        else f"x.zarr: {len(rest)} shape" in caplog.text
    )
    run(fresh, after)
    assert digest_input(str(output)) == digest_input(str(fresh))
    assert run(output, after) == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh.zarr", "x.zarr"]


@pytest.mark.parametrize("name", ["added last", "added first", "moved", "removed"])
def test_a_finished_run_says_how_many_rows_it_kept(tmp_path, caplog, name):
    before, after, made, said = CASES[name]
    caplog.set_level("INFO")
    run(tmp_path / "x.zarr", before)
    assert run(tmp_path / "x.zarr", after, overwrite=said is None) == made
    assert (said or "0 shapes made, 2 kept from the earlier run, 1 left out") in caplog.text


def test_rows_of_an_unfinished_run_are_kept_too(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "x.zarr", "a1 b2 c3", stop="c")
    assert run(tmp_path / "x.zarr", "a1 b2 c3 d4") == "cd"


def test_failed_rows_are_tried_again_if_that_is_wanted(tmp_path):
    run(tmp_path / "x.zarr", "a0 b2")
    assert run(tmp_path / "x.zarr", "a0 b2 c3", retry_failed=True) == "ac"


def test_kept_rows_take_no_space_and_the_earlier_store_is_not_written(tmp_path, monkeypatch):
    run(tmp_path / "x.zarr", "a1 b2")
    points = tmp_path / "x.zarr/point/c"
    inode = (points / "1/0/0").stat().st_ino
    run(tmp_path / "x.zarr", "b2 a1 c3")
    assert (points / "0/0/0").stat().st_ino == inode
    monkeypatch.setattr("sdfkit.io.stores.earlier_rows.os", SimpleNamespace(link=refuse))
    run(tmp_path / "x.zarr", "b2 a1 c3 d4")
    assert (points / "0/0/0").stat().st_ino != inode
    assert zarr.open_group(tmp_path / "x.zarr", mode="r")["point"][:, 0, 0].tolist() == [2, 1, 3, 4]
    assert not list(Path(tmp_path).rglob(".*"))


@pytest.mark.parametrize("links", [True, False])
def test_a_run_that_was_killed_while_it_copied_a_row_is_continued(tmp_path, monkeypatch, links):
    output, copy = tmp_path / "x.zarr", EarlierRows.copy
    run(output, "a1 b2")
    old = digest_input(str(output))

    def stop(self, index, arrays, folder, row):
        copy(self, index, {name: array for name, array in arrays.items() if name != "valid"}, folder, row)
        raise KeyboardInterrupt

    if not links:
        monkeypatch.setattr("sdfkit.io.stores.earlier_rows.os", SimpleNamespace(link=refuse))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(EarlierRows, "copy", stop)
        run(output, "c3 b2 a1")
    assert digest_input(str(output)) == old
    assert run(output, "c3 b2 a1") == ""
    run(tmp_path / "fresh.zarr", "c3 b2 a1")
    assert digest_input(str(output)) == digest_input(str(tmp_path / "fresh.zarr"))
