"""`sdfkit info` for complete, incomplete and damaged stores and meshes."""

import json
import subprocess
import sys

import numpy as np
import pytest
import trimesh
import zarr

from sdfkit.io.meshes.writer import create_meshes
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row

ROWS = [
    Row(0, "obj_0000", category="chair"),
    Row(1, "obj_0001", error="no surface: distances never cross 0"),
    Row(2, "obj_0002"),
]
STEP = {"version": "0.0.1", "command": "sdfkit embed views.zarr", "seed": 7}


def write_store(path, written=3, stop=False):
    """Write codes of three shapes, one of which failed; with `stop`, as a run interrupted after `written` shapes."""
    try:
        with create_store(
            str(path), "codes", rows=ROWS, history=[STEP], settings={"dim": 4},
            attributes={"encoder": {"name": "dino"}}, overwrite=False, resumable=True,
        ) as store:  # fmt: skip
            store.create_array("code", shape=(3, 4), dtype="f4", axes=("shape", "dim"))
            store.create_group(
                "decoder",
                attributes={},
                arrays={"0.weight": np.ones((4, 5), "f4"), "0.bias": np.ones(5, "f4")},
            )
            for row in ROWS[:written]:
                store.write(row, **({} if row.error else {"code": np.ones(4, np.float32)}))
            if stop:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    return path


def facts_of(result):
    assert (result.exit_code, result.stderr) == (0, "")
    return [json.loads(line) for line in result.stdout.splitlines()]


UNFINISHED = "of a run that is going on or was stopped, and that will write codes.zarr"


@pytest.mark.parametrize(
    ("there", "asked", "status", "message"),
    [
        (["codes.zarr"], "codes.zarr", 0, ""),
        (["codes.zarr", ".codes.zarr.new"], "codes.zarr", 0, f"beside it: .codes.zarr.new, {UNFINISHED}"),
        (["codes.zarr", ".codes.zarr.new"], ".codes.zarr.new", 0, UNFINISHED),
        (
            [".codes.zarr.part"],
            "codes.zarr",
            3,
            f"is not there yet; beside it: .codes.zarr.part, {UNFINISHED}",
        ),
        ([], "codes.zarr", 3, "No such file"),
    ],
)
@pytest.mark.parametrize("where", ["", "memory://"])
def test_info_names_what_an_unfinished_run_has_beside_a_store(
    sdfkit, tmp_path, monkeypatch, where, there, asked, status, message
):
    monkeypatch.chdir(tmp_path)
    if where:
        where += f"{tmp_path.name}/"
        there = [name.replace(".part", ".state-1") for name in there]
        message = message.replace(".part", ".state-1")
    for name in there:
        zarr.create_group(where + name, attributes={"kind": "codes"})
    result = sdfkit("info", where + asked)
    assert result.exit_code == status
    assert message in result.stdout + result.stderr
    assert message or "run that is going on" not in result.stdout


@pytest.mark.parametrize("name", ["codes.zarr", "codes.zarr.zip"])
def test_info_lists_kind_rows_arrays_settings_and_history_of_a_store(sdfkit, tmp_path, name):
    path = write_store(tmp_path / name)
    (facts,) = facts_of(sdfkit("info", path, "--json"))
    assert (facts["name"], facts["kind"], facts["format"], facts["complete"]) == (str(path), "codes", 1, True)
    failed = [{"uid": "obj_0001", "error": "no surface: distances never cross 0"}]
    assert facts["rows"] == {"count": 3, "valid": 2, "missing": 0, "failed": failed}
    arrays = {array.pop("name"): array for array in facts["arrays"]}
    assert arrays["code"] == {"axes": ["shape", "dim"], "shape": [3, 4], "dtype": "float32", "bytes": 48}
    assert arrays["uid"] == {"axes": ["shape"], "shape": [3], "dtype": "string", "bytes": None}
    assert arrays["decoder/0.weight"]["shape"] == [4, 5]
    assert len(arrays) == 10 + (name == "codes.zarr")  # which also has digests of inputs
    assert (facts["settings"], facts["attributes"]) == ({"dim": 4}, {"encoder": {"name": "dino"}})
    assert facts["history"][0] == STEP


def test_the_text_report_states_the_facts_of_the_json_report(sdfkit, tmp_path):
    path = write_store(tmp_path / "codes.zarr")
    lines = sdfkit("info", path).stdout.splitlines()
    assert lines[0] == f"{path}: codes, complete, 3 shapes, 1 of them failed"
    assert lines[2:4] == ["failed", "obj_0001  no surface: distances never cross 0"]
    assert [line.split() for line in lines[5:8]] == [
        ["array", "axes", "shape", "type", "size"],
        ["code", "shape", "dim", "3×4", "float32", "48", "B"],
        ["decoder/", "2", "arrays", "float32", "100", "B"],
    ]
    assert "0.0.1    sdfkit embed views.zarr" in "\n".join(lines)
    assert any(line.endswith("seed 7") for line in lines)


def test_an_incomplete_store_is_described_with_its_finished_rows(sdfkit, tmp_path):
    path = write_store(tmp_path / "codes.zarr", written=2, stop=True)
    (facts,) = facts_of(sdfkit("info", path, "--json"))
    assert facts["complete"] is False
    assert (facts["rows"]["valid"], facts["rows"]["missing"], len(facts["rows"]["failed"])) == (1, 1, 1)
    title = f"{path}: codes, not complete, 3 shapes, 1 of them missing, 1 of them failed"
    assert sdfkit("info", path).stdout.splitlines()[0] == title


def test_a_truncated_zip_is_reported_as_truncated(sdfkit, tmp_path):
    path = write_store(tmp_path / "codes.zarr.zip")
    path.write_bytes(path.read_bytes()[:-30])
    result = sdfkit("info", path)
    assert (result.exit_code, result.stdout) == (3, "")
    assert (
        result.stderr
        == f"sdfkit: {path}: cannot be read as a zip file (File is not a zip file); it is truncated or damaged\n"
    )


def test_zarr_stores_of_other_programs_are_described(sdfkit, tmp_path):
    group = zarr.create_group(tmp_path / "other.zarr")
    group.create_array("temperature", data=np.zeros((2, 3)), dimension_names=("day", "hour"))
    (facts,) = facts_of(sdfkit("info", tmp_path / "other.zarr", "--json"))
    assert (facts["kind"], facts["complete"], facts["rows"]) == ("unknown", None, None)
    assert facts["arrays"][0]["axes"] == ["day", "hour"]
    assert sdfkit("info", tmp_path / "other.zarr").stdout.startswith(f"{tmp_path / 'other.zarr'}: unknown\n")


def test_npy_and_npz_files_are_described(sdfkit, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4)))
    np.savez(tmp_path / "b.npz", x=np.zeros(2, np.uint8), y=np.zeros((1, 1), bool))
    one, two = facts_of(sdfkit("info", tmp_path / "a.npy", tmp_path / "b.npz", "--json"))
    assert one["arrays"] == [{"name": "", "axes": None, "shape": [2, 3, 4], "dtype": "float64", "bytes": 192}]
    assert [(array["name"], array["dtype"]) for array in two["arrays"]] == [("x", "uint8"), ("y", "bool")]
    assert "(array)        2×3×4  float64  192 B" in sdfkit("info", tmp_path / "a.npy").stdout


SHAPES = {
    "sphere": (trimesh.creation.icosphere(subdivisions=2), True, 2, 1),
    "torus": (trimesh.creation.torus(1, 0.3), True, 0, 1),
    "two": (trimesh.creation.box() + trimesh.creation.box().apply_translation([3, 0, 0]), True, 4, 2),
    "sheet": (trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]]), False, 1, 1),
}


@pytest.mark.parametrize("ending", ["ply", "stl", "glb", "obj"])
@pytest.mark.parametrize("name", SHAPES)
def test_topology_is_reported_for_every_mesh_format(sdfkit, tmp_path, name, ending):
    mesh, closed, euler, pieces = SHAPES[name]
    mesh.export(tmp_path / f"{name}.{ending}")
    (facts,) = facts_of(sdfkit("info", tmp_path / f"{name}.{ending}", "--json"))
    assert (facts["kind"], facts["uid"], facts["faces"]) == ("mesh", name, len(mesh.faces))
    assert (facts["watertight"], facts["euler_number"], facts["pieces"]) == (closed, euler, pieces)
    assert np.allclose(facts["bounds"], mesh.bounds, atol=1e-6)
    assert facts["error"] == ""


def write_meshes(output, rows, kind="ply"):
    with create_meshes(
        str(output), len(rows), settings={"gap": 0.1}, seed=3, kind=kind, overwrite=False
    ) as meshes:
        for row in rows:
            meshes.write(row, mesh=None if row.error else SHAPES["sphere"][0])


def test_labels_and_history_of_a_mesh_from_sdfkit_are_shown(sdfkit, tmp_path):
    write_meshes(tmp_path / "chair.glb", [Row(0, "obj_0042", "chair", "CC0-1.0", "catalogue")], "glb")
    (facts,) = facts_of(sdfkit("info", tmp_path / "chair.glb", "--json"))
    labels = [facts[name] for name in ("uid", "category", "licence", "source")]
    assert labels == ["obj_0042", "chair", "CC0-1.0", "catalogue"]
    assert facts["settings"] == {"gap": 0.1}
    assert facts["history"][-1]["seed"] == 3
    text = sdfkit("info", tmp_path / "chair.glb").stdout
    for line in (
        "licence       CC0-1.0",
        "watertight    yes",
        "Euler number  2",
        "faces         320",
    ):
        assert line in text.splitlines()
    assert "bounds        -1 -1 -1 to 1 1 1" in text


def test_a_folder_is_listed_with_one_line_per_mesh(sdfkit, tmp_path):
    write_meshes(tmp_path / "out/", [Row(0, "a", "chair"), Row(1, "b", "table")])
    lines = sdfkit("info", tmp_path / "out").stdout.splitlines()
    assert lines[0].split() == ["uid", "vertices", "faces", "closed", "Euler", "pieces", "extent", "category",
                                "licence", "error"]  # fmt: skip
    assert lines[1].split() == ["a", "162", "320", "yes", "2", "1", "2", "2", "2", "chair"]
    assert lines[2].split() == ["b", "162", "320", "yes", "2", "1", "2", "2", "2", "table"]


def test_other_meshes_are_listed_beside_an_unreadable_one(sdfkit, tmp_path):
    SHAPES["sphere"][0].export(tmp_path / "b.ply")
    (tmp_path / "a.ply").write_bytes((tmp_path / "b.ply").read_bytes()[:-5])
    result = sdfkit("info", tmp_path, "--json")
    bad, good = (json.loads(line) for line in result.stdout.splitlines())
    assert bad["error"].startswith(f"{tmp_path / 'a.ply'}: a PLY ends early; ")
    assert good["watertight"]
    assert result.exit_code == 3
    assert (
        result.stderr
        == "sdfkit: 1 of the mesh files cannot be read, for the reasons above; make them again\n"
    )
    alone = sdfkit("info", tmp_path / "a.ply")
    assert (alone.exit_code, alone.stdout) == (3, "")
    assert alone.stderr.startswith(f"sdfkit: {tmp_path / 'a.ply'}: a PLY ends early; ")


def test_defects_of_a_mesh_are_reported_without_an_error(sdfkit, tmp_path):
    (tmp_path / "nan.off").write_text("OFF\n3 1 0\n0 0 nan\n1 0 0\n0 1 0\n3 0 1 2\n")
    trimesh.PointCloud([[0, 0, 0], [1, 1, 1]]).export(tmp_path / "points.ply")
    nan, points = facts_of(sdfkit("info", tmp_path, "--json"))
    assert (nan["faces"], nan["error"]) == (1, "1 of 3 vertices is not finite")
    assert points["error"].endswith(
        "points.ply: holds a point cloud of 2 points and no faces; sdfkit needs a surface"
    )
    assert "watertight" not in nan
    alone = sdfkit("info", tmp_path / "points.ply")
    assert alone.exit_code == 0
    assert "holds a point cloud of 2 points and no faces; sdfkit needs a surface\nfaces  0" in alone.stdout


@pytest.mark.parametrize(
    ("name", "content", "status", "message"),
    [
        ("notes.txt", b"hello", 3, "holds data in an unknown format; give a Zarr store, a mesh or a .npy"),
        ("empty.npy", b"", 3, "is empty; did the command that wrote it fail?"),
        ("cut.npy", b"\x93NUMPY\x01\x00v\x00{'descr'", 3, "is not a NumPy array of numbers"),
        ("absent.ply", None, 3, "No such file or directory"),
        ("empty.zarr/", None, 3, "is not a Zarr store; a store is needed"),
        ("folder/", None, 3, "is a folder without meshes"),
    ],
)
def test_a_file_that_is_neither_store_nor_mesh_is_refused(sdfkit, tmp_path, name, content, status, message):
    path = tmp_path / name
    if name.endswith("/"):
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    result = sdfkit("info", path)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (status, "", 1)
    assert result.stderr.startswith(f"sdfkit: {path}: {message}")


def pipe(content, *words):
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-c",
        "from sdfkit.cli import main; main()",
        "info",
        *words,
    ]
    result = subprocess.run(command, input=content, capture_output=True, check=False)
    talk = [line for line in result.stderr.decode().splitlines() if not line.startswith("import time:")]
    modules = {line.split("|")[-1].strip().split(".")[0] for line in result.stderr.decode().splitlines()}
    return result, talk, modules


def test_a_piped_store_gives_the_same_facts_as_a_file_without_importing_torch(sdfkit, tmp_path):
    path = write_store(tmp_path / "codes.zarr.zip")
    result, talk, modules = pipe(path.read_bytes(), "--json")
    assert (result.returncode, talk) == (0, [])
    assert not modules & {"torch", "scipy", "trimesh"}
    (facts,) = facts_of(sdfkit("info", path, "--json"))
    assert json.loads(result.stdout) == facts | {"name": "standard input"}


def test_a_truncated_pipe_is_an_error(tmp_path):
    content = write_store(tmp_path / "codes.zarr.zip").read_bytes()
    result, talk, _ = pipe(content[:-30])
    assert (result.returncode, result.stdout) == (3, b"")
    assert talk == ["sdfkit: standard input: ends early; the command that wrote it did not finish"]


def test_a_failed_mesh_in_a_pipe_is_listed_as_failed(tmp_path):
    write_meshes(tmp_path / "out/", [Row(0, "a")])
    failed = b'ply\nformat binary_little_endian 1.0\ncomment sdfkit {"uid": "b", "error": "no surface"}\n'
    failed += b"element vertex 0\nproperty float x\nproperty float y\nproperty float z\nelement face 0\n"
    failed += b"property list uchar int vertex_indices\nend_header\n"
    result, talk, modules = pipe((tmp_path / "out" / "a.ply").read_bytes() + failed, "--json")
    assert (result.returncode, talk) == (0, [])
    assert "torch" not in modules
    one, two = (json.loads(line) for line in result.stdout.splitlines())
    assert (one["uid"], one["name"], one["watertight"]) == ("a", "standard input", True)
    assert (two["uid"], two["error"]) == ("b", "no surface")
