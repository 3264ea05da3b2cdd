"""The state of a training in a store: what was joined is read back, and what is damaged is refused."""

import numpy as np
import pytest
import zarr

from sdfkit.errors import InputError
from sdfkit.io.models.training_state import join_state, read_state
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.writer import create_store

STATE = {
    "parameters/a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "step": np.array(7, np.int64),
    "parameters/empty": np.zeros((0, 3), np.float32),
    "generator": np.arange(5, dtype=np.uint8),
    "moments/a.weight/exp_avg": np.full((2, 3), -1, np.float32),
    "moments/a.weight/step": np.array(2, np.float32),
}


@pytest.fixture
def path(tmp_path):
    attributes, arrays = join_state(STATE)
    with create_store(
        str(tmp_path / "x.zarr"), "decoder", rows=[], history=[], settings={}, overwrite=False
    ) as store:
        store.create_group("state", attributes=attributes, arrays=arrays)
    return tmp_path / "x.zarr"


def read(path):
    with open_store(str(path), "decoder", manifest=None) as store:
        return read_state(store)


def test_arrays_are_read_as_they_were_with_one_array_for_each_type(path):
    state = read(path)
    assert list(state) == list(STATE)
    for name, array in STATE.items():
        assert (state[name].dtype, state[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(state[name], array)
    assert sorted(zarr.open_group(path)["state"].array_keys()) == ["float32", "int64", "uint8"]


@pytest.mark.parametrize(
    "entries",
    [
        None, 3, "float32", [3], [["a"]], [["a", "float32", None]], [["a", "float32", [-1]]], [["a", "float64", [3]]],
        [["a", "float32", [1 << 70]]], [["a", "float32", [14]]], [["a", ["float32"], [13]]], [["a", "float32", 13]],
        [["a", "float32", ["13"]]], [[["a"], "float32", [13]]],
    ],
)  # fmt: skip
def test_a_list_that_does_not_describe_the_arrays_is_refused(path, entries):
    zarr.open_group(path)["state"].attrs["entries"] = entries
    with pytest.raises(InputError, match=r"x\.zarr: the state of its training is damaged \(.*train again"):
        read(path)
