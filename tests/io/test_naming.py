"""Names of files: what they are in the layouts of common collections, and that they do not depend on other inputs."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.io.naming import FileName, FileNamer, is_stage, tell_apart
from tests.properties import examples

SUFFIXES = (".glb", ".obj", ".off", ".ply", ".stl")


def write_files(folder, names):
    paths = []
    for name in names:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        paths.append(path)
    return paths


def find_uids(paths, own_name=lambda path: ""):
    namer = FileNamer(SUFFIXES, own_name)
    return tell_apart([namer.name(Path(path)) for path in paths])


LAYOUTS = {
    "single files": {"chair.obj": "chair", "table.obj": "table", "a.b.obj": "a.b", "UPPER.OBJ": "UPPER"},
    "ShapeNet": {
        "02691156/a1f0/models/model_normalized.obj": "a1f0",
        "02691156/b2e4/models/model_normalized.obj": "b2e4",
        "03001627/c3d9/models/model_normalized.obj": "c3d9",
    },
    "ModelNet": {
        "chair/train/chair_0001.off": "chair_0001",
        "chair/test/chair_0890.off": "chair_0890",
        "night_stand/train/night_stand_0001.off": "night_stand_0001",
    },
    "Objaverse": {
        "glbs/000-023/8476c4170df24cf5bbe6967222d1a42d.glb": "8476c4170df24cf5bbe6967222d1a42d",
        "glbs/000-041/c9d7e1a3b0f84f0ca3a3b6a2a1c5e001.glb": "c9d7e1a3b0f84f0ca3a3b6a2a1c5e001",
    },
    "ABO": {
        "3dmodels/original/0/B075X4N1JH.glb": "B075X4N1JH",
        "3dmodels/original/1/B07B4MMVLL.glb": "B07B4MMVLL",
    },
    "categories of numbers": {
        "chair/0001.off": "chair_0001",
        "chair/0002.off": "0002",
        "lamp/0001.off": "lamp_0001",
        "lamp/0003.obj": "0003",
    },
    "categories of folders": {"chair/x1/mesh.ply": "x1", "chair/x2/mesh.ply": "x2", "lamp/y1/mesh.obj": "y1"},
    "one file in each folder": {"IKEA_A/chair.obj": "IKEA_A", "IKEA_B/chair.obj": "IKEA_B"},
    "one file in each folder of a folder": {"A/mesh/thing.obj": "A", "B/mesh/thing.obj": "B"},
    "folders named like their files": {"7a/7a.obj": "7a", "7b/7b.obj": "7b"},
    "several files in each folder": {
        "id1/raw_model.obj": "id1_raw_model",
        "id1/normalized_model.obj": "id1_normalized_model",
        "id2/raw_model.obj": "id2_raw_model",
        "id2/normalized_model.obj": "id2_normalized_model",
    },
    "a variant below each object": {
        "002_can/exported_7/textured.obj": "002_can",
        "003_box/exported_7/textured.obj": "003_box",
    },
    "YCB": {
        "002_can/google_16k/textured.obj": "002_can_textured",
        "002_can/google_16k/nontextured.stl": "002_can_nontextured",
        "003_box/google_16k/textured.obj": "003_box",
    },
    "Sketchfab": {"old_chair/scene.glb": "old_chair", "lamp/source/Untitled.obj": "lamp"},
    "stages": {"raw/a.obj": "a", "raw/b.obj": "b"},
    "folders that differ in all files": {"x/a.obj": "a", "y/b.obj": "b"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_of_common_layouts(tmp_path, layout):
    paths = write_files(tmp_path / "data", LAYOUTS[layout])
    assert find_uids(paths) == list(LAYOUTS[layout].values())
    # Each file alone, in any order, and by a relative path from another folder.
    assert [find_uids([path])[0] for path in paths] == list(LAYOUTS[layout].values())
    assert find_uids(paths[::-1]) == list(LAYOUTS[layout].values())[::-1]


@pytest.mark.parametrize("folder", [".", "b2e4", "b2e4/models"])
def test_relative_paths_give_the_same_names(tmp_path, monkeypatch, folder):
    first, second = write_files(tmp_path / "sn", [f"{name}/models/model.obj" for name in ("a1f0", "b2e4")])
    monkeypatch.chdir(tmp_path / "sn" / folder)
    for path in (second, os.path.relpath(second), f"./{os.path.relpath(second)}"):
        assert find_uids([path]) == ["b2e4"]
    assert find_uids([os.path.relpath(first)]) == ["a1f0"]


def test_links_to_folders_are_followed_and_links_to_files_are_files(tmp_path):
    (path,) = write_files(tmp_path / "store", ["a1f0/model.obj"])
    (tmp_path / "link").symlink_to(tmp_path / "store/a1f0", target_is_directory=True)
    assert find_uids([tmp_path / "link/model.obj"]) == ["a1f0"]
    (tmp_path / "chair.obj").symlink_to(path)
    assert find_uids([tmp_path / "chair.obj"]) == ["chair"]


def test_a_generic_name_without_a_folder_that_says_more_is_kept(tmp_path):
    (path,) = write_files(tmp_path, ["tmp/raw/model.obj"])
    assert find_uids([path]) == ["model"]


@pytest.mark.parametrize(
    ("names", "uids"),
    [
        (["x/a.obj", "y/z/a.obj", "b.obj"], ["x_a", "z_a", "b"]),
        (["x/q/a.obj", "y/q/a.obj", "y/q/b.obj"], ["x_a", "y_a", "b"]),
        (["a.obj", "a.ply"], ["a_obj", "a_ply"]),
        (["id1/raw/model.obj", "id1/closed/model.obj"], ["id1_raw", "id1_closed"]),
        (["raw/a.obj", "truth/a.obj"], ["raw_a", "truth_a"]),
    ],
)
def test_files_that_would_share_a_name_get_parts_of_their_paths_with_a_warning(tmp_path, caplog, names, uids):
    paths = write_files(tmp_path / "data", names)
    assert find_uids(paths) == uids
    (message,) = caplog.messages
    changed = sum(uid != find_uids([path])[0] for uid, path in zip(uids, paths, strict=True))
    assert message.startswith(f"{changed} of {len(names)} shapes would share their names (")
    assert message.endswith("depend on which files are given together; a manifest fixes them")


def test_a_file_that_is_given_twice_gets_a_number(tmp_path, caplog):
    (path,) = write_files(tmp_path, ["chair.obj"])
    assert find_uids([path, path]) == ["chair", "chair_2"]
    assert not caplog.messages


def test_a_single_given_uid_is_kept_and_two_are_extended(tmp_path):
    paths = write_files(tmp_path / "data", ["x/a.obj", "y/z/a.obj"])
    given, free = FileName(str(paths[0]), (0,), "a"), FileName(str(paths[1]), (0,))
    assert tell_apart([free, given]) == ["z_a", "a"]
    assert tell_apart([FileName(str(path), (0,), "chair") for path in paths]) == ["x_chair", "z_chair"]


def test_files_that_name_themselves_do_not_rename_their_neighbours(tmp_path):
    ours, made = write_files(tmp_path / "data", ["chairs/a.obj", "chairs_low/a.obj"])
    assert find_uids([ours]) == ["chairs"]
    assert find_uids([ours], own_name=lambda path: "a" * (path == str(made))) == ["a"]
    model, beside = write_files(tmp_path / "data", ["stool/model.obj", "stool/result.ply"])
    assert find_uids([model]) == ["stool_model"]
    assert find_uids([model], own_name=lambda path: "stool" * (path == str(beside))) == ["stool"]


def test_projects_in_the_temporary_folder_do_not_name_each_others_files(tmp_path, monkeypatch):
    from sdfkit.io import naming

    monkeypatch.setattr(naming, "_shared_folders", lambda: (str(tmp_path),))
    paths = write_files(tmp_path, ["project1/chair.obj", "project2/chair.obj"])
    assert [find_uids([path]) for path in paths] == [["chair"], ["chair"]]


def test_rules_that_a_user_chooses(tmp_path):
    (path,) = write_files(tmp_path / "data", ["chair/x1/models/model.obj"])
    namer = FileNamer(SUFFIXES, lambda path: "")
    assert [namer.name(path, rule).uid for rule in ("auto", "stem", "folder")] == ["x1", "model", "x1"]


def test_bytes_that_are_not_text_are_escaped(tmp_path):
    folder = os.fsencode(tmp_path) + b"/d\xe9"
    os.makedirs(folder)  # noqa: PTH103
    for name in (b"caf\xe9.obj", b"x\ny.obj"):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(b"")
    assert find_uids(sorted(Path(os.fsdecode(folder)).iterdir())) == [r"caf\xe9", r"x\ny"]
    (model,) = write_files(os.fsdecode(folder), ["models/model.obj"])
    assert find_uids([model]) == [r"d\xe9"]


def test_formats_stages_and_scratch_folders_name_no_shape():
    for folder in ("models", "GLB", "raw", "tmp.x1", "pytest-12", "test_that_it_works0", "v2", "lod_1"):
        assert is_stage(folder)
    for folder in ("chair", "train", "temple", "test", "7a", "violin"):
        assert not is_stage(folder)


part = st.sampled_from(["a", "b", "chair", "models", "raw"])
stem = st.sampled_from(["a", "0001", "model", "mesh"])
suffix = st.sampled_from([".obj", ".ply"])
tree = st.sets(
    st.builds(
        lambda folders, stem, suffix: "/".join([*folders, stem + suffix]),
        st.lists(part, max_size=3),
        stem,
        suffix,
    ),
    min_size=1,
    max_size=8,
)


@given(names=tree, data=st.data())
@examples(60)
def test_a_name_does_not_depend_on_the_other_files_unless_two_would_share_it(names, data):
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(Path(folder, "data"), sorted(names))
        alone = {path: find_uids([path])[0] for path in paths}
        some = data.draw(st.lists(st.sampled_from(paths), unique=True, min_size=1))
        found = dict(zip(some, find_uids(some), strict=True))
    assert len(set(found.values())) == len(found)
    for path, uid in found.items():
        if sum(alone[path] == alone[other] for other in some) == 1:
            assert uid == alone[path]


def test_a_longer_name_does_not_take_that_of_another_file(tmp_path):
    names = ["a/mesh.obj", "b/a/models/a.obj", "b/a/models/mesh.obj"]
    paths = write_files(tmp_path / "data", names)
    assert find_uids([paths[2]]) == ["a_mesh"]
    assert find_uids(paths) == ["data_a_mesh", "a_models_a", "a_mesh"]
