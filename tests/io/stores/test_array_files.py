"""Stores as NumPy files: readable without sdfkit and without pickle, and read back as the same store."""

import numpy as np
import pytest

from sdfkit.errors import DoneError, InputError, UsageError
from sdfkit.io.stores.array_files import BLOCK
from sdfkit.io.stores.contents.vectors import open_vectors
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.writer import create_store
from sdfkit.io.streams import find_kind
from sdfkit.rows import Row

ROWS = [Row(0, "sofa", category="seat"), Row(1, "cup", error="no surface"), Row(2, "café", licence="CC0-1.0")]
COMMON = {"rows": ROWS, "history": [{"command": "x"}], "settings": {"dim": 4}, "overwrite": False}


def create(output, kind="codes", **changed):
    return create_store(str(output), kind, **(COMMON | changed))


def fill(store, rows=ROWS):
    store.create_array("code", shape=(3, 4), dtype="f4", axes=("shape", "dim"))
    store.create_array("loss", data=np.array([3.0, 2, 1]), axes=("step",))
    store.create_group(
        "decoder", attributes={"layers": 2}, arrays={"layer.weight": np.eye(3, dtype=np.float32)}
    )
    for row in rows:
        store.write(row, **({} if row.error else {"code": np.full(4, row.index, np.float32)}))


def test_all_arrays_in_one_file(tmp_path):
    with create(tmp_path / "x.npz") as store:
        fill(store)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert arrays["code"].tolist() == [[0] * 4, [0] * 4, [2] * 4]
        assert arrays["uid"].tolist() == ["sofa", "cup", "café"]
        assert arrays["valid"].tolist() == [True, False, True]
        assert arrays["error"].tolist() == ["", "no surface", ""]
        assert np.array_equal(arrays["decoder/layer.weight"], np.eye(3))
        assert arrays["loss"].dtype == np.float64
    assert find_kind(str(tmp_path / "x.npz")) == "store"
    with open_store(str(tmp_path / "x.npz"), "codes", manifest=None) as store:
        assert [(row.uid, row.category, row.licence, row.error) for row in store.all_rows()] == [
            ("sofa", "seat", "", ""), ("cup", "", "", "no surface"), ("café", "", "CC0-1.0", ""),
        ]  # fmt: skip
        assert store.read("code", "shape", "dim").tolist() == [[0] * 4, [0] * 4, [2] * 4]
        assert store.attributes["settings"] == {"dim": 4} and store.history[0] == {"command": "x"}
        assert store.attributes_of("decoder") == {"layers": 2}
        assert np.array_equal(store.read_group("decoder")["layer.weight"], np.eye(3))
    with open_vectors(str(tmp_path / "x.npz"), "codes", manifest=None) as vectors:
        assert vectors.has_uids and [row.uid for row in vectors.rows] == ["sofa", "café"]


def test_equal_stores_are_equal_files(tmp_path):
    for name in ("a.npz", "b.npz"):
        with create(tmp_path / name) as store:
            fill(store)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_main_array_alone(tmp_path, caplog):
    """A shape that failed is NaN, because nothing else would mark it."""
    with create(tmp_path / "x.npy") as store:
        fill(store)
    code = np.load(tmp_path / "x.npy", allow_pickle=False)
    assert np.array_equal(code, [[0] * 4, [np.nan] * 4, [2] * 4], equal_nan=True)
    assert "x.npy: the rows of shapes that failed hold NaN: [1]" in caplog.text
    with pytest.raises(
        UsageError, match=r"s\.npy: samples are more than one array, but a \.npy holds one; use s\.npz"
    ):
        create(tmp_path / "s.npy", "samples").__enter__()


def test_an_array_of_several_blocks(tmp_path):
    rows = [Row(index, f"row_{index}") for index in range(5)]
    width = BLOCK // 8 + 1  # two rows a block
    with create(tmp_path / "x.npz", rows=rows) as store:
        store.create_array("code", shape=(5, width), dtype="f4", axes=("shape", "dim"))
        for row in rows:
            store.write(row, code=np.full(width, row.index, np.float32))
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["code"].shape == (5, width)
        assert (arrays["code"] == np.arange(5)[:, None]).all()


def test_a_file_that_is_there(tmp_path):
    with create(tmp_path / "x.npz") as store:
        fill(store)
    with pytest.raises(DoneError, match="is complete, and nothing was to be done"):
        create(tmp_path / "x.npz").__enter__()
    with pytest.raises(InputError, match=r"it was made in another way: dim: 4 then, 5 now"):
        create(tmp_path / "x.npz", settings={"dim": 5}).__enter__()
    with create(tmp_path / "x.npz", settings={"dim": 5}, overwrite=True) as store:
        fill(store)
    for name in ("other.npz", "other.npy"):
        np.savez(tmp_path / name, a=np.ones(3)) if name.endswith("z") else np.save(
            tmp_path / name, np.ones(3)
        )
        with pytest.raises(InputError, match=f"{name}: exists; choose another name or add --overwrite"):
            create(tmp_path / name).__enter__()
        with create(tmp_path / name, overwrite=True) as store:
            fill(store)


def test_nothing_of_a_run_that_failed(tmp_path):
    with pytest.raises(ZeroDivisionError), create(tmp_path / "x.npz") as store:
        fill(store, ROWS[:1])
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"sdfkit": "{"}, "its attributes are not JSON"),
        ({"sdfkit": "3"}, "its attributes are 3, but a JSON object"),
        ({"sdfkit": '{"kind": "codes", "axes": [1]}'}, "axes in its attributes is a list of 1 items"),
        ({"sdfkit": '{"kind": "codes", "complete": true}'}, "has codes without the array uid"),
        (
            {"sdfkit": '{"complete": true, "axes": {"a": ["x", "y"]}}', "a": np.ones(3)},
            "an array cannot be read",
        ),
    ],
)
def test_damaged_files(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with (
        pytest.raises(InputError, match=message),
        open_store(str(tmp_path / "x.npz"), manifest=None) as store,
    ):
        store.all_rows()
