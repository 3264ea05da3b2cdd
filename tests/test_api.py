"""`import sdfkit`: the functions give what the commands give, and the example of their page runs."""

import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from typer.testing import CliRunner

import sdfkit
from sdfkit import api
from sdfkit.cli import app
from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.geometry.shapes.catalogue import generate
from sdfkit.geometry.shapes.meshing import solid_mesh
from sdfkit.io.models.writer import network_group
from sdfkit.io.stores.layout import AXES
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row
from tests.store_page import entries
from tests.training.octahedra import make_decoder


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def chair(tmp_path):
    path = tmp_path / "chair.ply"
    trimesh.creation.box((1, 2, 0.5)).export(path)
    return path


@pytest.fixture
def decoder(tmp_path):
    """A decoder of octahedra, whose radius is the first number of the code, and its nine codes."""
    network = make_decoder()
    codes = np.random.default_rng(0).uniform(0.3, 0.9, (9, 4)).astype(np.float32)
    rows = [Row(index, f"shape_{index}") for index in range(9)]
    path = tmp_path / "deepsdf.zarr"
    with create_store(str(path), "deepsdf", rows=rows, history=[], settings={}, overwrite=False) as store:
        store.create_array("code", shape=codes.shape, dtype="f4", axes=("shape", "dim"))
        group = network_group(network, network.config)
        store.create_group("decoder", attributes=group.attributes, arrays=group.arrays)
        for row in rows:
            store.write(row, code=codes[row.index])
    return path, codes


def test_importing_sdfkit_loads_nothing_else():
    code = "import sys, sdfkit; print(sorted({'torch', 'numpy', 'typer', 'trimesh'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_the_package_offers_exactly_the_functions_of_the_api():
    assert sdfkit.__all__ == api.__all__
    assert all(getattr(sdfkit, name) is getattr(api, name) for name in api.__all__)
    assert {*api.__all__} <= {*dir(sdfkit)}
    with pytest.raises(AttributeError, match="has no attribute 'marching'"):
        sdfkit.marching  # noqa: B018


@pytest.mark.parametrize("kind", AXES)
def test_axes_agree_with_the_page_of_stores(kind):
    described = {name: entry[0] for name, entry in entries(kind).items() if entry is not None}
    assert AXES[kind].items() <= described.items()


def test_functions_give_what_the_commands_give(chair, tmp_path):
    run("sample-sdf", chair, "--points", 1000, "--seed", 3, "-o", tmp_path / "samples.zarr")
    run("render", chair, "--views", 2, "--renderer", "cpu", "--depth", "-o", tmp_path / "views.zarr")
    run("watertight", chair, "--resolution", 32, "-o", tmp_path / "closed.ply")
    samples = sdfkit.sample_sdf(chair, 1000, seed=3)
    views = sdfkit.render(str(chair), 2, depth=True)
    for name, made in {"samples": samples, "views": views}.items():
        with sdfkit.open_store(tmp_path / f"{name}.zarr", name) as store:
            for array, values in made._asdict().items():
                if values is not None:
                    assert np.array_equal(store.read(array)[0], values), array
    closed = sdfkit.watertight(chair, resolution=32)
    assert np.array_equal(closed.vertices.astype("f4"), trimesh.load(tmp_path / "closed.ply").vertices)
    assert closed.metadata["to_original"].shape == (4, 4)
    scores = sdfkit.compare(closed, tmp_path / "closed.ply", points=500)
    assert scores["iou"] == 1 and scores["pieces"] == 1


def test_codes_become_meshes_and_verdicts(decoder):
    path, codes = decoder
    [one] = sdfkit.mesh(codes[3], path, resolution=16)
    whole = sdfkit.mesh(path, resolution=16)
    assert len(whole) == 9 and whole[3].metadata["uid"] == "shape_3"
    assert np.array_equal(one.vertices, whole[3].vertices)
    assert one.extents == pytest.approx(2 * codes[3, 0], rel=1e-3)
    assert sdfkit.rank(codes[:4], codes)["rows"] == 4
    assert sdfkit.rank(codes)["verdict"]["name"]
    distances = sdfkit.load_model(path)(torch.from_numpy(codes[:2]), torch.zeros(2, 5, 3))
    assert distances.shape == (2, 5)


def test_a_program_is_named_in_the_history_of_what_it_writes(tmp_path):
    code = np.zeros((2, 3), np.float32)
    sdfkit.create_store(tmp_path / "codes.zarr", "codes", ["a", "b"], {"code": code}, categories=["x", "y"])
    sdfkit.create_store(tmp_path / "codes.zarr", "codes", ["a", "b"], {"code": code})  # the same again
    with sdfkit.open_store(tmp_path / "codes.zarr", "codes") as store:
        assert store.history == [{"version": sdfkit.__version__, "command": "a Python program"}]
        assert [(row.uid, row.category) for row in store.all_rows()] == [("a", "x"), ("b", "y")]
    with pytest.raises(InputError, match="exists"):
        sdfkit.create_store(tmp_path / "codes.zarr", "codes", ["a", "b"], {"code": code + 1})
    assert run("info", tmp_path / "codes.zarr").output.startswith(f"{tmp_path / 'codes.zarr'}: codes")


WRONG = {
    "unknown kind": (
        "pictures",
        ["a"],
        {"code": np.zeros((1, 2))},
        "pictures: has no array code; known: no such kind",
    ),
    "unknown array": ("codes", ["a"], {"codes": np.zeros((1, 2))}, "codes: has no array codes; known: code"),
    "axes": ("codes", ["a"], {"code": np.zeros((1, 2, 3))}, r"its axes are \(shape, dim\)"),
    "number of shapes": ("codes", ["a"], {"code": np.zeros((2, 2))}, "with 1 shapes"),
    "same uids": ("codes", ["a", "a"], {"code": np.zeros((2, 2))}, "uids must be unique"),
}


@pytest.mark.parametrize(("kind", "uids", "arrays", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arrays_are_refused_before_anything_is_written(kind, uids, arrays, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        sdfkit.create_store(tmp_path / "x.zarr", kind, uids, arrays)
    assert list(tmp_path.iterdir()) == []


def test_faults_are_the_errors_of_the_commands(decoder, chair, tmp_path):
    path, codes = decoder
    with pytest.raises(FileNotFoundError):
        sdfkit.watertight(tmp_path / "missing.ply")
    with pytest.raises(GeometryError, match="face"):
        sdfkit.render(trimesh.Trimesh(), 1)
    with pytest.raises(UsageError, match="give the path of a mesh file"):
        sdfkit.render(trimesh.load(chair), 1, colour=True)
    with pytest.raises(UsageError, match="needs their decoder"):
        sdfkit.mesh(codes)
    with pytest.raises(InputError, match=r"the decoder of .* needs \(shape, "):
        sdfkit.mesh(codes[:, :3], path)
    with pytest.raises(InputError, match="a matrix with one row each"):
        sdfkit.rank(codes[0])


@pytest.mark.slow
def test_the_lines_of_the_readme_run(tmp_path, monkeypatch):
    readme = Path(__file__).parents[1] / "README.md"
    [lines] = re.findall(r"```python\n(import sdfkit\n.*?)```", readme.read_text(), re.DOTALL)
    trimesh.creation.box((1, 2, 0.5)).export(tmp_path / "chair.glb")
    monkeypatch.chdir(tmp_path)
    made: dict[str, Any] = {}
    exec(lines, made)
    assert made["features"].shape == (4, 1280)
    assert made["closed"].is_watertight
    assert made["samples"].distance.shape == (5000,)


@pytest.mark.slow
def test_the_example_of_the_page_runs(decoder, tmp_path, monkeypatch, capsys):
    _, codes = decoder
    sdfkit.create_store(tmp_path / "codes.zarr", "codes", ["a", "b", "c"], {"code": codes[:3]})
    solid_mesh(generate("chair", np.random.default_rng(0)), 32).export(tmp_path / "raw.ply")
    monkeypatch.chdir(tmp_path)
    exec(textwrap.dedent(inspect.getdoc(api).split("Example:\n")[1]), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("(5000, 3) -") and printed[1] == "['chair'] (1, 4, 1280)"
