"""File names: bytes that are not UTF-8, and results that do not depend on the files beside a file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
import zarr
from PIL import Image

BAD = os.fsdecode(b"caf\xe9")


@pytest.fixture
def meshes(tmp_path):
    """A folder whose name is not UTF-8, with three meshes; of their names, one is not, and one has a newline."""
    folder = tmp_path / BAD
    folder.mkdir()
    for name, scale in ((f"{BAD}.obj", 1), ("x\ny.obj", 2), ("ok.obj", 3)):
        mesh = trimesh.creation.icosphere(1)
        mesh.apply_scale([1, 1, scale])
        (folder / name).write_text(mesh.export(file_type="obj"))
    return folder


UIDS = [r"caf\xe9", "ok", r"x\ny"]


def uids(path):
    return sorted(zarr.open_group(path, mode="r")["uid"][:].tolist())


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_meshes_with_names_that_are_not_text_are_sampled_and_rendered(sdfkit, meshes, tmp_path, jobs):
    few = ("--points", 100, "--surface-points", 10, "--agreement", 0, "--jobs", jobs)
    assert sdfkit("sample-sdf", meshes, *few, "-o", tmp_path / "s.zarr").exit_code == 0
    assert uids(tmp_path / "s.zarr") == UIDS
    few = ("--views", 1, "--size", 16, "--jobs", jobs)
    assert sdfkit("render", meshes, *few, "-o", tmp_path / "v.zarr").exit_code == 0
    assert uids(tmp_path / "v.zarr") == UIDS


def test_closed_meshes_keep_the_printable_names(sdfkit, meshes, tmp_path):
    closed = tmp_path / "closed"
    assert sdfkit("watertight", meshes, "--resolution", 16, "--jobs", 1, "-o", f"{closed}/").exit_code == 0
    assert sorted(path.name for path in closed.iterdir()) == ["caf_xe9.ply", "ok.ply", "x_ny.ply"]
    facts = [json.loads(line) for line in sdfkit("info", closed, "--json").stdout.splitlines()]
    assert sorted(fact["uid"] for fact in facts) == UIDS


@pytest.mark.parametrize("output", ["m.json", "-"])
def test_a_manifest_finds_files_whose_names_are_not_text(sdfkit, meshes, tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    done = sdfkit("manifest", meshes, "--uid", "stem", "-o", output)
    text = done.stdout if output == "-" else Path(output).read_text(encoding="utf-8")
    content = json.loads(text)
    assert [shape["uid"] for shape in content["shapes"]] == [r"caf\xe9", "ok", r"x\ny"]
    Path("m.json").write_text(text, encoding="utf-8")
    content["shapes"][0]["uid"] = "coffee"
    Path("m.json").write_text(json.dumps(content))
    done = sdfkit(
        "render", meshes, "--views", 1, "--size", 16, "--jobs", 1, "--manifest", "m.json", "-o", "v.zarr"
    )
    assert done.exit_code == 0
    assert uids("v.zarr") == ["coffee", "ok", r"x\ny"]


@pytest.mark.parametrize("output", ["page.html", "sheet.png"])
def test_meshes_with_names_that_are_not_text_are_shown(sdfkit, meshes, tmp_path, output):
    assert sdfkit("view", meshes, "-o", tmp_path / output).exit_code == 0
    assert (tmp_path / output).stat().st_size > 1000


def test_a_damaged_file_whose_name_is_not_text_fails_in_one_line_and_loses_no_other(sdfkit, meshes, tmp_path):
    (meshes / f"{BAD}.obj").write_bytes(b"v 0 0 0\n")
    done = sdfkit("render", meshes, "--views", 1, "--size", 16, "--jobs", 1, "-o", tmp_path / "v.zarr")
    assert done.exit_code == 4
    (line,) = [line for line in done.stderr.splitlines() if line.startswith(r"sdfkit: caf\xe9: ")]
    assert line.isprintable()
    group = zarr.open_group(tmp_path / "v.zarr", mode="r")
    assert group["valid"][:].tolist() == [False, True, True]
    assert group["origin"][:].tolist()[0] == ""


def test_messages_about_files_whose_names_are_not_text_are_printable(sdfkit, tmp_path):
    done = sdfkit("info", tmp_path / f"{BAD}.obj")
    assert done.exit_code == 3
    assert done.stderr == f"sdfkit: {tmp_path}/caf\\xe9.obj: No such file or directory\n"


@pytest.mark.slow
def test_the_program_itself_reads_and_prints_such_names(meshes):
    for words in (
        ["info", meshes, "--json"],
        ["manifest", meshes],
        ["compare", meshes, meshes, "--points", "1000"],
    ):
        command = [sys.executable, "-m", "sdfkit", *words]
        done = subprocess.run(
            command, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
        )
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        done.stdout.decode()


def test_pictures_with_names_that_are_not_text_are_found(tmp_path):
    from sdfkit.io.image_files import find_images

    for name in (f"{BAD}.png", "ok.PNG"):
        Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG")
    rows = find_images([str(tmp_path)], manifest=None)
    assert [row.uid for row in rows] == [r"caf\xe9", "ok"]
    assert [len(row.load()) for row in rows] == [1, 1]


def test_samples_of_a_shape_do_not_depend_on_the_shapes_beside_it(sdfkit, tmp_path):
    for index, size in enumerate(((1, 2, 3), (2, 1, 1), (1, 1, 4))):
        trimesh.creation.box(size).export(tmp_path / f"box_{index}.ply")

    def sample(name, *boxes):
        paths = [tmp_path / f"box_{box}.ply" for box in boxes]
        few = ("--points", 200, "--surface-points", 20, "--jobs", 1)
        assert sdfkit("sample-sdf", *paths, *few, "-o", tmp_path / name).exit_code == 0
        group = zarr.open_group(tmp_path / name, mode="r")
        return {uid: group["point"][row] for row, uid in enumerate(group["uid"][:])}

    together, alone, turned = sample("a.zarr", 0, 1, 2), sample("b.zarr", 2), sample("c.zarr", 2, 0)
    assert np.array_equal(together["box_2"], alone["box_2"])
    assert all(np.array_equal(together[uid], points) for uid, points in turned.items())
    assert not np.array_equal(together["box_0"], together["box_1"])


def test_equal_names_in_different_folders_stay_with_their_shapes(sdfkit, tmp_path):
    sizes = {"a1f0": (1, 1, 1), "b2e4": (1, 3, 1), "c3d9": (4, 1, 1)}
    paths = [tmp_path / f"data/{name}/models/model_normalized.obj" for name in sizes]
    for path, size in zip(paths, sizes.values(), strict=True):
        path.parent.mkdir(parents=True)
        trimesh.creation.box(size).export(path)
    few = ("--points", 100, "--surface-points", 10, "--jobs", 1)
    assert sdfkit("sample-sdf", *paths, *few, "-o", tmp_path / "s.zarr").exit_code == 0
    assert (
        sdfkit(
            "render", *paths[1:], "--views", 1, "--size", 16, "--jobs", 1, "-o", tmp_path / "v.zarr"
        ).exit_code
        == 0
    )
    samples, views = (zarr.open_group(tmp_path / name, mode="r") for name in ("s.zarr", "v.zarr"))
    assert samples["uid"][:].tolist() == ["a1f0", "b2e4", "c3d9"]
    assert views["uid"][:].tolist() == ["b2e4", "c3d9"]
    assert views["origin"][:].tolist() == samples["origin"][:].tolist()[1:]
    assert len(set(samples["origin"][:].tolist())) == 3
