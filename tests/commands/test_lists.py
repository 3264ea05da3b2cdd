"""Lists of inputs: --files-from, manifests in place of meshes, folders of folders, and several stores."""

import json

import pytest
import trimesh
import zarr

SMALL = ("--points", 100, "--surface-points", 0, "--jobs", 1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with meshes in folders of categories, and a manifest of them."""
    for number, place in enumerate(["chairs/a", "chairs/old/b", "tables/c"]):
        path = tmp_path / "set" / f"{place}.obj"
        path.parent.mkdir(parents=True, exist_ok=True)
        trimesh.creation.icosphere(1).apply_scale([1, 1, 0.5 + 0.1 * number]).export(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def column(store, name="uid"):
    return zarr.open_group(store, mode="r")[name][:].tolist()


# The content of a list, the further inputs, the uids, the exit status.
LISTS = {
    "lines": ("set/chairs/a.obj\nset/tables/c.obj\n", [], ["a", "c"], 0),
    "no last newline": ("set/chairs/a.obj\n\nset/tables/c.obj", [], ["a", "c"], 0),
    "NUL": ("set/chairs/a.obj\0set/tables/c.obj\0", [], ["a", "c"], 0),
    "a newline in a name": ("set/new\nline.obj\0set/tables/c.obj\0", [], [r"new\x0aline", "c"], 0),
    "behind other inputs": ("set/tables/c.obj\n", ["set/chairs/a.obj"], ["a", "c"], 0),
    "a folder": ("set/chairs\n", [], ["a", "b"], 0),
    "a missing file": ("set/gone.obj\nset/tables/c.obj\n", [], ["gone", "c"], 4),
    "nothing": ("\n\n", [], "list: names no input; write one path a line", 3),
}


@pytest.mark.parametrize("name", LISTS)
def test_inputs_come_from_a_list(sdfkit, folder, name):
    content, others, expected, status = LISTS[name]
    (folder / "list").write_text(content)
    if "\n" in content.strip("\n").split("\0")[0] and "\0" in content:
        (folder / "set/chairs/a.obj").rename(folder / "set/new\nline.obj")
    done = sdfkit("sample-sdf", *others, "--files-from", "list", *SMALL, "-o", "s.zarr")
    assert done.exit_code == status, done.stderr
    if isinstance(expected, str):
        assert expected in done.stderr
        return
    uids = [uid.replace("\\n", "\\x0a") for uid in column("s.zarr")]
    assert uids == expected
    again = sdfkit("sample-sdf", *others, "--files-from", "list", *SMALL, "-o", "s.zarr")
    assert (again.exit_code == status and "nothing was to be done" in again.stderr) or status == 4


PER_MESH = {
    "watertight": ("--resolution", 32, "--jobs", 1, "-o", "out/"),
    "sample-sdf": (*SMALL, "-o", "out.zarr"),
    "render": ("--views", 1, "--size", 32, "--renderer", "cpu", "--jobs", 1, "-o", "out.zarr"),
    "view": ("--size", 32, "--jobs", 1, "-o", "out.png"),
}


@pytest.mark.parametrize("command", PER_MESH)
@pytest.mark.parametrize("how", ["words", "list", "manifest"])
def test_a_missing_mesh_is_one_failed_shape_and_the_others_go_on(sdfkit, folder, command, how):
    meshes = ["set/gone.obj", "set/tables/c.obj"]
    (folder / "list").write_text("\n".join(meshes))
    shapes = [
        {"obj_idx": i, "uid": m[4:-4], "path": m, "category": "", "licence": "", "source": "", "sha256": ""}
        for i, m in enumerate(meshes)
    ]
    (folder / "m.json").write_text(json.dumps({"format": 1, "shapes": shapes}))
    inputs = {"words": meshes, "list": ["--files-from", "list"], "manifest": ["m.json"]}[how]
    done = sdfkit(command, *inputs, *PER_MESH[command])
    assert done.exit_code == 4
    assert "gone: set/gone.obj: no such file" in done.stderr
    assert "1 of 2 shapes failed, for the reasons above; the other 1 is in" in done.stderr


def test_a_manifest_stands_for_its_meshes_with_their_names_and_labels(sdfkit, folder):
    assert sdfkit("manifest", "set/", "--licence", "CC0-1.0", "-o", "m.json").exit_code == 0
    manifest = json.loads((folder / "m.json").read_text())
    for number, shape in enumerate(manifest["shapes"]):
        shape["uid"] = f"shape {number}"
    (folder / "m.json").write_text(json.dumps(manifest))
    line = ("sample-sdf", "m.json", *SMALL, "-o", "s.zarr")
    assert sdfkit(*line).exit_code == 0
    assert column("s.zarr") == ["shape 0", "shape 1", "shape 2"]
    assert column("s.zarr", "category") == ["chairs", "chairs", "tables"]
    assert column("s.zarr", "licence") == ["CC0-1.0"] * 3
    for shape in manifest["shapes"]:
        shape["category"] = "seat"
    (folder / "other.json").write_text(json.dumps(manifest))
    assert sdfkit("sample-sdf", "m.json", "--manifest", "other.json", *SMALL, "-o", "t.zarr").exit_code == 0
    assert column("t.zarr", "category") == ["seat"] * 3
    (folder / "data.json").write_text("{}")
    refused = sdfkit("sample-sdf", "data.json", *SMALL, "-o", "u.zarr")
    assert refused.exit_code == 3 and "data.json: is not a manifest" in refused.stderr


def test_the_meshes_of_a_manifest_are_inputs(sdfkit, folder):
    (folder / "list").write_text("set/tables/c.obj\n")
    assert sdfkit("manifest", "--files-from", "list", "-o", "m.json").exit_code == 0
    line = ("sample-sdf", "m.json", *SMALL, "-o", "s.zarr.zip")
    assert sdfkit(*line).exit_code == 0
    assert "nothing was to be done" in sdfkit(*line).stderr
    trimesh.creation.box().export("set/tables/c.obj")
    changed = sdfkit(*line)
    assert changed.exit_code == 3 and "inputs: its content has changed" in changed.stderr
    over = sdfkit("watertight", "m.json", "--jobs", 1, "-o", "set/tables/c.obj", "--overwrite")
    assert over.exit_code == 3 and "is also an input" in over.stderr


def test_one_more_mesh_in_the_folder_makes_one_more_row(sdfkit, folder):
    line = ("sample-sdf", "set/", *SMALL, "-o", "s.zarr")
    assert sdfkit(*line).exit_code == 0
    trimesh.creation.box().export("set/tables/bench.obj")
    done = sdfkit(*line)
    assert (done.exit_code, "1 shape made, 3 kept from the earlier run" in done.stderr) == (0, True)
    assert sdfkit(*line[:-1], "fresh.zarr").exit_code == 0
    assert column("s.zarr", "distance") == column("fresh.zarr", "distance")
    (folder / "set/tables/bench.obj").unlink()
    refused = sdfkit(*line)
    assert refused.exit_code == 3
    assert (
        "s.zarr: holds 1 shape that the input lacks (bench); add --overwrite to leave them" in refused.stderr
    )
    assert sdfkit(*line, "--overwrite").exit_code == 0
    assert column("s.zarr") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("s.zarr.zip", "inputs: its content has changed"),
        ("s.npz", "inputs: its content has changed"),
        ("memory://one-more/s.zarr", "other shapes"),
    ],
)
def test_other_outputs_say_that_a_folder_keeps_rows(sdfkit, folder, output, reason):
    line = ("sample-sdf", "set/chairs", "set/tables", *SMALL, "-o", output)
    assert sdfkit(*line).exit_code == 0
    assert "nothing was to be done" in sdfkit(*line).stderr
    trimesh.creation.box().export("set/tables/bench.obj")
    refused = sdfkit(*line)
    assert refused.exit_code == 3
    assert refused.stderr == (
        f"sdfkit: {output}: exists; choose another name or add --overwrite (it was made in another way: {reason}); "
        "only a folder on this machine (*.zarr) keeps the rows of inputs that have not changed\n"
    )
    assert sdfkit(*line, "--overwrite").exit_code == 0
    assert "nothing was to be done" in sdfkit(*line).stderr


@pytest.mark.slow
def test_networks_are_kept_with_their_anchor_if_a_shape_is_added(sdfkit, folder):
    fit = ("--steps", 2, "--points", 16, "--batch", 1, "--device", "cpu")
    for name, places in {
        "two": ["chairs"],
        "all": ["chairs", "tables"],
        "last": ["tables", "chairs"],
    }.items():
        meshes = [f"set/{place}" for place in places]
        assert sdfkit("sample-sdf", *meshes, *SMALL, "-o", f"{name}.zarr").exit_code == 0
    assert sdfkit("fit-mlp", "two.zarr", *fit, "-o", "weights.zarr").exit_code == 0
    grown = sdfkit("fit-mlp", "all.zarr", *fit, "-o", "weights.zarr")
    assert "1 shape made, 2 kept from the earlier run" in grown.stderr
    assert sdfkit("fit-mlp", "all.zarr", *fit, "-o", "fresh.zarr").exit_code == 0
    assert column("weights.zarr", "weights") == column("fresh.zarr", "weights")
    # Of another first shape, the anchor is another one.
    other = sdfkit("fit-mlp", "last.zarr", *fit, "-o", "weights.zarr")
    assert (
        "the samples of the anchor have changed since the earlier run, so all fits are made again"
        in other.stderr
    )
    assert "3 shapes made, 0 kept" in other.stderr


@pytest.mark.slow
def test_a_decoder_is_trained_on_several_stores(sdfkit, folder):
    for name in ("chairs", "tables"):
        assert sdfkit("sample-sdf", f"set/{name}", *SMALL, "-o", f"{name}.zarr").exit_code == 0
    assert sdfkit("cat", "chairs.zarr", "tables.zarr", "-o", "all.zarr").exit_code == 0
    train = ("--steps", 2, "--points", 16, "--device", "cpu", "--precision", "fp32")
    assert sdfkit("train-deepsdf", "chairs.zarr", "tables.zarr", *train, "-o", "two.zarr").exit_code == 0
    assert sdfkit("train-deepsdf", "all.zarr", *train, "-o", "one.zarr").exit_code == 0
    assert column("two.zarr", "code") == column("one.zarr", "code")
    assert (
        sdfkit(
            "sample-sdf", "set/tables", "--seed", 1, *SMALL[:-2], "--near-share", 0.3, "-o", "t.zarr"
        ).exit_code
        == 0
    )
    refused = sdfkit("train-deepsdf", "chairs.zarr", "t.zarr", *train, "-o", "x.zarr")
    assert refused.exit_code == 3
    assert (
        "t.zarr: was made with other settings than chairs.zarr (near_share: 0.5 there, 0.3 here)"
        in refused.stderr
    )
