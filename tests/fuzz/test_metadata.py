"""Any value of the JSON in a store or a mesh is replaced by one of another type: the program ends in one line."""

import copy
import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sdfkit.cli import app
from sdfkit.io.meshes.writer import encode
from sdfkit.io.stores.writer import create_store
from sdfkit.models.layers import MLPConfig, count_parameters
from sdfkit.rows import Row
from tests.properties import examples
from tests.training.balls import ball_grid

FUZZ = settings(
    examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
INFO = {
    "uid": "a", "category": "chair", "origin": "0" * 16, "history": [{"version": "1", "command": "x", "seed": 0}],
    "settings": {"points": 5}, "rows": 1, "row": 0,
    "to_original": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
}  # fmt: skip
others = st.sampled_from(
    [None, True, 0, 5, -1, 1.5, 2**40, 10**30, float("nan"), "", "x", "\0", [], [1], [[1]], {}, {"a": 1}]
)


def places(value, path=()):
    """List the paths to all values in a JSON value."""
    found = [path]
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            found += places(value[key], (*path, key))
    return found


def replaced(value, path, other):
    if not path:
        return other
    whole = part = copy.deepcopy(value)
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = other
    return whole


def run(*words):
    return CliRunner().invoke(app, ["-q", *map(str, words)], catch_exceptions=False)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A store of samples, one of weights and one of grids."""
    folder = tmp_path_factory.mktemp("stores")
    rows = [Row(index, f"obj_{index}") for index in range(3)]
    options = {"rows": rows, "history": INFO["history"], "settings": {"points": 5}, "overwrite": False}
    with create_store(str(folder / "s.zarr"), "samples", **options) as store:
        store.create_array("point", data=np.zeros((3, 5, 3), np.float32), axes=("shape", "sample", "xyz"))
        store.create_array("distance", data=np.eye(3, 5, dtype=np.float32), axes=("shape", "sample"))
        for row in rows:
            store.write(row)
    network = MLPConfig("relu-pe", bands=1, hidden=4, layers=2, frequency=30.0)
    vectors = np.random.default_rng(0).standard_normal((3, count_parameters(network)), np.float32)
    attributes = {"network": asdict(network)}
    with create_store(str(folder / "w.zarr"), "weights", attributes=attributes, **options) as store:
        store.create_array("weights", data=vectors, axes=("shape", "parameter"))
        for row in rows:
            store.write(row)
    with create_store(str(folder / "g.zarr"), "grids", **options) as store:
        grids = np.stack([ball_grid(np.zeros(3), 0.5, 9)] * 3)
        store.create_array("grid", data=grids, axes=("shape", "x", "y", "z"))
        for row in rows:
            store.write(row)
    return folder


def ends_in_one_line(result, inputs=1):
    assert result.exit_code in (0, 3, 4)
    assert len(result.stderr.splitlines()) <= inputs
    return True


@pytest.mark.slow
@FUZZ
@given(st.data(), others, st.sampled_from(["ply", "obj", "glb"]))
def test_a_mesh_with_any_value_of_its_metadata_replaced(tmp_path, data, other, kind):
    info = replaced(INFO, data.draw(st.sampled_from(places(INFO))), other)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(
        encode(trimesh.creation.box(), kind, info if isinstance(info, dict) else {"history": info})
    )
    for words in (
        ("info", path),
        ("info", "--json", path),
        ("manifest", path, "-o", tmp_path / "m.json", "--overwrite"),
    ):
        assert ends_in_one_line(run(*words))


@pytest.mark.slow
@FUZZ
@given(st.data(), others)
def test_a_store_with_any_value_of_its_metadata_replaced(stores, tmp_path, data, other):
    name, commands = data.draw(
        st.sampled_from([("s", ["info", "view"]), ("w", ["info", "weight-stats"]), ("g", ["mesh", "view"])]),
        label="store",
    )
    store = tmp_path / "mutated.zarr"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(stores / f"{name}.zarr", store)
    path = data.draw(st.sampled_from(sorted(store.rglob("zarr.json"))))
    content = json.loads(path.read_text())
    place = data.draw(st.sampled_from(places(content)))
    path.write_text(json.dumps(replaced(content, place, other)))
    for command in commands:
        options = {
            "view": ("-o", tmp_path / "out.png", "--overwrite", "--size", 32),
            "mesh": ("-o", tmp_path / "meshes", "--overwrite", "--resolution", 16, "--device", "cpu"),
        }.get(command, ())
        # Each of the three grids may fail on its own.
        assert ends_in_one_line(run(command, store, *options), 4 if name == "g" else 1)


@pytest.mark.parametrize("length", [2**40, 2**63, 10**30])
@pytest.mark.parametrize("name", ["valid", "uid", "point"])
def test_arrays_longer_than_any_array_are_described_or_refused(stores, tmp_path, name, length):
    shutil.copytree(stores / "s.zarr", tmp_path / "s.zarr")
    path = tmp_path / f"s.zarr/{name}/zarr.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"shape": [length, *content["shape"][1:]]}))
    for words in (("info",), ("info", "--json"), ("view", "-o", tmp_path / "page.html")):
        assert ends_in_one_line(run(words[0], tmp_path / "s.zarr", *words[1:]))
