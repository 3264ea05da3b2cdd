"""Several stores are read as the one that `sdfkit cat` writes of them."""

import numpy as np
import pytest

from sdfkit.errors import InputError, UsageError
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.store_reader import StoreReader
from sdfkit.io.tables.joined import JoinedStores, open_stores
from tests.io.tables.conftest import make_rows, run, write_store

# What is asked of a store, by the name of the method or property.
QUESTIONS = {
    "length": len,
    "kind": lambda store: store.kind,
    "contains": lambda store: ("code" in store, "other" in store),
    "settings": lambda store: {k: v for k, v in store.attributes["settings"].items() if k != "cat"},
    "network": lambda store: store.attributes_of("decoder"),
    "all_rows": lambda store: store.all_rows(),
    "row": lambda store: store.row(4),
    "rows": lambda store: [(row.columns(row.index), row.identity) for row in store.rows("code", "picture")],
    "read": lambda store: store.read("code", "shape", "dim"),
    "read, for all rows": lambda store: store.read("loss"),
    "read_part": lambda store: store.read_part("code", (4, slice(0, 2))),
    "read_slice": lambda store: store.read_slice("code", slice(1, 5)),
    "read_rows": lambda store: store.read_rows("code"),
    "read_rows, own": lambda store: store.read_rows("code", own=slice(1, None, 2)),
    "read_row": lambda store: store.read_row(5, ["code"]).identity,
    "read_group": lambda store: store.read_group("decoder"),
}


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the stores a, b, c and the three of them joined."""
    folder = tmp_path_factory.mktemp("stores")
    rows = make_rows(7, failed=(2,))
    for name, part in {"a": rows[:3], "b": rows[3:4], "c": rows[4:]}.items():
        write_store(folder / f"{name}.zarr", [row.columns(index) for index, row in enumerate(part)])
    run("cat", [folder / f"{name}.zarr" for name in "abc"], folder / "abc.zarr")
    return folder


def paths(folder, names):
    return [str(folder / f"{name}.zarr") for name in names.split()]


@pytest.mark.parametrize("question", QUESTIONS)
def test_joined_stores_answer_as_the_store_that_cat_writes(folder, question):
    ask = QUESTIONS[question]
    with (
        open_stores(paths(folder, "a b c"), "codes", manifest=None) as joined,
        open_store(str(folder / "abc.zarr"), manifest=None) as whole,
    ):
        assert isinstance(joined, JoinedStores)
        assert same(ask(joined), ask(whole))


def test_every_method_that_reads_rows_is_asked():
    public = {name for name in vars(JoinedStores) if not name.startswith("_")}
    assert public <= {question.split(",")[0] for question in QUESTIONS}
    kept = {"array", "attributes_of", "describe_arrays", "read_group", "read_rows"}
    assert {name for name in vars(StoreReader) if not name.startswith("_")} == public | kept


def test_one_store_is_opened_as_it_is(folder):
    with open_stores(paths(folder, "a"), manifest=None) as store:
        assert not isinstance(store, JoinedStores) and len(store) == 3


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (
            "a a",
            InputError,
            r"two rows with the uid obj_0000; sdfkit cat --rename calls the second one obj",
        ),
        (
            "a other",
            InputError,
            r"other\.zarr: was made with other settings than .*a\.zarr \(.*only stores made in",
        ),
        ("a gone", FileNotFoundError, "gone"),
    ],
)
def test_stores_that_are_not_alike_are_refused_by_name(folder, names, error, message):
    if "other" in names and not (folder / "other.zarr").exists():
        write_store(folder / "other.zarr", make_rows(1, start=9), steps=7)
    with pytest.raises(error, match=message), open_stores(paths(folder, names), manifest=None):
        pass


def test_standard_input_is_not_joined(folder):
    with (
        pytest.raises(UsageError, match="standard input cannot be joined with stores"),
        open_stores(["-", *paths(folder, "a")], manifest=None),
    ):
        pass
