"""Manifests: uids both ways, paths that move with the folder, and which label wins."""

import hashlib
import json
import re

import pytest
import trimesh

from sdfkit.errors import InputError
from sdfkit.io.manifest_writer import create_manifest, list_shapes
from sdfkit.io.manifests import Entry, label, read_manifest
from sdfkit.io.meshes.reader import open_meshes
from sdfkit.io.meshes.writer import create_meshes
from sdfkit.rows import Row, unique


def write_box(path, size=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.creation.box((size, 1, 1)).export(path)


def write_labelled(folder, uids, **labels):
    folder.parent.mkdir(exist_ok=True)
    settings = {"settings": {}, "seed": None, "kind": "glb", "overwrite": False}
    with create_meshes(f"{folder}/", len(uids), **settings) as meshes:
        for index, uid in enumerate(uids):
            meshes.write(Row(index, uid, **labels), mesh=trimesh.creation.box())


def write(path, inputs, **options):
    settings = {"table": None, "lvis": False, "licence": "", "source": ""} | options
    with create_manifest(str(path), overwrite=False) as manifest:
        manifest.entries += list_shapes([str(name) for name in inputs], path.parent, **settings)
    return read_manifest(path)


def entry(uid, **labels):
    return Entry(
        0, uid, f"{uid}.ply", **{"category": "", "licence": "", "source": "", "sha256": "", **labels}
    )


def test_names_become_unique_and_none_that_is_unique_changes():
    assert unique(["chair", "chair", "lamp"]) == ["chair", "chair_2", "lamp"]
    assert unique(["chair", "chair", "chair_2"]) == ["chair", "chair_3", "chair_2"]


def test_index_and_uid_lead_to_each_other(tmp_path):
    for name in ("c", "a", "b"):
        write_box(tmp_path / f"raw/{name}.ply")
    shapes = write(tmp_path / "manifest.json", [tmp_path / "raw"])
    content = json.loads((tmp_path / "manifest.json").read_text())
    assert [content["shapes"][index]["uid"] for index in range(3)] == ["a", "b", "c"] == list(shapes)
    assert all(content["shapes"][index]["uid"] == uid for uid, index in content["obj_idx"].items())


@pytest.mark.parametrize("linked", [False, True])
def test_manifest_and_meshes_move_together(tmp_path, monkeypatch, linked):
    work, moved = tmp_path / "work", tmp_path / "elsewhere" / "moved"
    for kind in ("chair", "lamp"):
        write_box(work / f"raw/{kind}/a.ply")
    if linked:
        (tmp_path / "link").symlink_to(work, target_is_directory=True)
    shapes = write((tmp_path / "link" if linked else work) / "manifest.json", [work / "raw"])
    assert [shape.path for shape in shapes.values()] == ["raw/chair/a.ply", "raw/lamp/a.ply"]

    moved.parent.mkdir()
    work.rename(moved)
    monkeypatch.chdir(moved / "raw" / "lamp")
    # Without its neighbour, the lamp would be called a.
    (moved / "raw/chair/a.ply").unlink()
    with open_meshes(["a.ply"], manifest=moved / "manifest.json") as meshes:
        assert [(row.uid, row.category) for row in meshes] == [("lamp", "lamp")]


def test_a_files_place_goes_before_the_uid_written_in_it(tmp_path):
    for kind in ("chair", "lamp"):
        write_labelled(tmp_path / f"raw/{kind}", ["a"], category=kind)
    write(tmp_path / "manifest.json", [tmp_path / "raw"])
    names = [str(tmp_path / f"raw/{kind}/a.glb") for kind in ("lamp", "chair")]
    with open_meshes(names, manifest=tmp_path / "manifest.json") as meshes:
        assert [row.uid for row in meshes] == ["lamp_a", "chair_a"]


def test_labels_in_a_file_go_before_its_folder(tmp_path):
    write_labelled(tmp_path / "raw/seats", ["a"], category="chair", licence="CC0-1.0", source="me")
    shape = write(tmp_path / "manifest.json", [tmp_path / "raw"], licence="unknown", source="nobody")["a"]
    assert (shape.category, shape.licence, shape.source) == ("chair", "CC0-1.0", "me")


def test_hidden_folders_and_stores_are_not_searched(tmp_path):
    for name in ("a", ".trash/b", "samples.zarr/c", "deep/er/d"):
        write_box(tmp_path / f"{name}.ply")
    assert list(write(tmp_path / "manifest.json", [tmp_path])) == ["a", "d"]


def test_a_mesh_that_is_named_twice_counts_once(tmp_path):
    write_box(tmp_path / "raw/a.ply")
    assert list(write(tmp_path / "manifest.json", [tmp_path / "raw", tmp_path / "raw/a.ply"])) == ["a"]


def test_labels_of_a_manifest_win_and_gaps_keep_the_old_ones():
    row = Row(0, "a", category="seat", licence="CC0-1.0")
    named = label(row, {"a": entry("a", category="chair", source="me")})
    assert (named.category, named.licence, named.source) == ("chair", "CC0-1.0", "me")
    assert label(row, {"b": entry("b", category="lamp")}) is row


def test_sha256_is_of_the_files_bytes(tmp_path):
    write_box(tmp_path / "a.ply")
    shapes = write(tmp_path / "manifest.json", [tmp_path / "a.ply"])
    assert shapes["a"].sha256 == hashlib.sha256((tmp_path / "a.ply").read_bytes()).hexdigest()


def test_nothing_is_left_where_listing_fails(tmp_path):
    with pytest.raises(InputError, match="a folder without meshes"):
        write(tmp_path / "manifest.json", [tmp_path])
    assert list(tmp_path.iterdir()) == []


SHAPE = {"obj_idx": 0, "uid": "a", "path": "a.ply", "category": "", "licence": "", "source": "", "sha256": ""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a manifest (Expecting value"),
        ("[]", "not a manifest"),
        ("\xff", "not a manifest"),
        ('{"format": 1}', "not a manifest ('shapes'); make one with sdfkit manifest"),
        ({"format": 2, "shapes": []}, "manifest format 2, but this sdfkit reads up to 1; update sdfkit"),
        ({"format": 1, "shapes": [{"uid": "a"}]}, "not a manifest"),
        ({"format": 1, "shapes": [SHAPE | {"category": None}]}, "not a manifest (a label is not a string)"),
        (
            {"format": 1, "shapes": [SHAPE, SHAPE]},
            "lists several shapes with the uid a; give every shape its own uid",
        ),
    ],
)
def test_bad_manifests_are_refused(tmp_path, content, message):
    path = tmp_path / "manifest.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="latin-1")
    with pytest.raises(InputError, match=re.escape(message)):
        read_manifest(path)
