"""`sdfkit manifest`: sources of labels, and errors."""

import json
import sys
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import trimesh


@pytest.fixture
def raw(tmp_path):
    """A folder of two categories with a file of the same name in each."""
    for name in ("chair/a", "chair/b", "lamp/a"):
        path = tmp_path / f"raw/{name}.obj"
        path.parent.mkdir(parents=True, exist_ok=True)
        trimesh.creation.box().export(path)
    (tmp_path / "raw/chair/a.mtl").write_text("newmtl wood\n")
    return tmp_path / "raw"


@pytest.fixture
def labels(sdfkit, tmp_path):
    """Run the command, and return the category, licence and source of each uid."""

    def run(*words):
        path = tmp_path / "manifest.json"
        result = sdfkit("manifest", *words, "-o", path, "--overwrite")
        assert result.exit_code == 0, result.stderr
        shapes = json.loads(path.read_text())["shapes"]
        return {shape["uid"]: (shape["category"], shape["licence"], shape["source"]) for shape in shapes}

    return run


def table(tmp_path, *lines):
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def objaverse(monkeypatch):
    """A stand-in for the package objaverse: two LVIS shapes, one of them without an author."""
    facts = {
        "a": {
            "license": "by-nc",
            "user": {"username": "ann"},
            "viewerUrl": "https://sketchfab.com/3d-models/a",
        },
        "b": {"license": "cc0", "user": None},
    }

    def load_lvis_annotations():
        sys.stdout.write("a library that prints\n")
        return {"armchair": ["a", "x"], "stool": ["b"]}

    module = SimpleNamespace(
        load_lvis_annotations=load_lvis_annotations,
        load_annotations=lambda uids: {uid: facts[uid] for uid in uids},
    )
    monkeypatch.setitem(sys.modules, "objaverse", module)
    return module


def test_folders_become_categories_and_uids_are_unique(labels, raw):
    assert labels(raw) == {
        "chair_a": ("chair", "", ""),
        "b": ("chair", "", ""),
        "lamp_a": ("lamp", "", ""),
    }


def test_a_file_named_on_the_command_line_gets_no_category_from_its_folder(labels, raw):
    assert labels(raw / "lamp/a.obj", "--licence", "CC0-1.0") == {"lamp_a": ("", "CC0-1.0", "")}


def test_csv_labels_match_by_uid_and_options_fill_the_gaps(labels, raw, tmp_path):
    csv = table(tmp_path, "uid,license,category", "lamp_a,CC-BY-4.0,light", "b,,stool")
    assert labels(raw, "--csv", csv, "--licence", "CC0-1.0", "--source", "me") == {
        "chair_a": ("chair", "CC0-1.0", "me"),
        "b": ("stool", "CC0-1.0", "me"),
        "lamp_a": ("light", "CC-BY-4.0", "me"),
    }


def test_csv_labels_match_by_file(labels, raw, tmp_path):
    csv = table(tmp_path, "source,file", "ann,lamp/a.obj", "bob,chair/a.obj")
    assert labels(raw, "--csv", csv) == {
        "chair_a": ("chair", "", "bob"),
        "b": ("chair", "", ""),
        "lamp_a": ("lamp", "", "ann"),
    }


def test_csv_rows_without_a_mesh_are_counted(sdfkit, raw, tmp_path):
    csv = table(tmp_path, "uid,category", "chair_a,seat", "x,seat", "y,seat")
    result = sdfkit("manifest", raw, "--csv", csv, "-o", tmp_path / "m.json")
    assert result.exit_code == 0
    assert f"{csv}: no mesh matches 2 of 3 rows; the uid of the first mesh is chair_a" in result.stderr
    assert "wrote a manifest of 3 shapes" in result.stderr
    assert "0 without category, 3 without licence, 3 without source" in result.stderr


def test_lvis_annotations_give_category_licence_and_source(labels, raw, objaverse, tmp_path):
    by_ann = "ann, https://sketchfab.com/3d-models/a"
    assert labels(raw, "--lvis", "--licence", "unknown") == {
        "chair_a": ("armchair", "CC-BY-NC-4.0", by_ann),
        "b": ("stool", "CC0-1.0", ""),
        "lamp_a": ("armchair", "CC-BY-NC-4.0", by_ann),
    }
    csv = table(tmp_path, "uid,category", "chair_a,seat")
    assert labels(raw, "--lvis", "--csv", csv)["chair_a"] == ("seat", "CC-BY-NC-4.0", by_ann)


def test_standard_output_is_json_with_paths_relative_to_the_current_folder(
    sdfkit, raw, objaverse, monkeypatch
):
    monkeypatch.chdir(raw.parent)
    result = sdfkit("manifest", "raw", "--lvis")
    assert result.exit_code == 0
    assert [shape["path"] for shape in json.loads(result.stdout)["shapes"]] == [
        "raw/chair/a.obj",
        "raw/chair/b.obj",
        "raw/lamp/a.obj",
    ]


def test_an_existing_manifest_is_not_overwritten(sdfkit, raw, tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text("mine")
    result = sdfkit("manifest", raw, "-o", path)
    assert result.exit_code == 3
    assert result.stderr == f"sdfkit: {path}: exists; choose another name or add --overwrite\n"
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["uid,category", "z,chair"],
            "no row matches a mesh; each uid must be that of a mesh, such as chair_a",
        ),
        (
            ["file,category", "a.obj,chair"],
            "no row matches a mesh; each file must be that of a mesh, such as chair/a.obj",
        ),
        (
            ["uid,category"],
            "no row matches a mesh; each uid must be that of a mesh, such as chair_a",
        ),
        (["uid;category", "a;chair"], "has no column uid or file, only ['uid;category']; add one"),
        (["uid,kind", "a,chair"], "has no column category, licence or source, only ['uid', 'kind']; add one"),
        (["uid,category", "a,chair", "a,lamp"], "has several rows for a; keep one"),
        (["uid,category", 'a,"' + 200_000 * "x"], "cannot be read as CSV"),
        ([""], "has no column uid or file, only []; add one"),
    ],
)
def test_csv_tables_with_errors_are_refused(sdfkit, raw, tmp_path, lines, message):
    csv = table(tmp_path, *lines)
    result = sdfkit("manifest", raw, "--csv", csv, "-o", tmp_path / "m.json")
    assert result.exit_code == 3
    assert result.stderr.startswith(f"sdfkit: {csv}: {message}")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "m.json").exists()


def test_a_csv_table_that_is_not_utf_8_is_refused(sdfkit, raw, tmp_path):
    csv = tmp_path / "labels.csv"
    csv.write_bytes("uid,source\na,Zoë\n".encode("latin-1"))
    result = sdfkit("manifest", raw, "--csv", csv)
    assert result.exit_code == 3
    assert "cannot be read as CSV" in result.stderr
    assert "save it as CSV in UTF-8" in result.stderr


def test_files_and_streams_that_are_not_meshes_are_refused(sdfkit, raw):
    result = sdfkit("manifest", raw / "chair/a.obj", raw / "chair/a.mtl")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("sdfkit: a.mtl: is not a mesh file (.3mf")
    result = sdfkit("manifest", "-")
    assert result.exit_code == 3
    assert (
        result.stderr
        == "sdfkit: standard input: a manifest can list files only; give mesh files or their folder\n"
    )


def test_a_missing_objaverse_package_is_reported(sdfkit, raw, monkeypatch):
    monkeypatch.setitem(sys.modules, "objaverse", None)
    result = sdfkit("manifest", raw, "--lvis")
    assert result.exit_code == 5
    assert (
        result.stderr
        == "sdfkit: --lvis: the package objaverse is not installed; pip install 'sdfkit[lvis]'\n"
    )


def test_a_missing_internet_connection_is_reported(sdfkit, raw, objaverse):
    def load():
        raise URLError("no route to host")

    objaverse.load_lvis_annotations = load
    result = sdfkit("manifest", raw, "--lvis")
    assert result.exit_code == 5
    assert (
        "annotations cannot be downloaded (<urlopen error no route to host>); connect to the network, or use --csv"
        in result.stderr
    )


def test_meshes_without_lvis_uids_are_refused(sdfkit, raw, objaverse):
    objaverse.load_lvis_annotations = lambda: {"armchair": ["x"]}
    result = sdfkit("manifest", raw, "--lvis")
    assert result.exit_code == 3
    assert "no mesh has the uid of an LVIS shape; the first uid is a" in result.stderr
