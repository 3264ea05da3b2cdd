"""Meshes and manifests are chosen, split and joined without a change of their content."""

import io
import json

import pytest
import trimesh

from sdfkit.errors import InputError, UsageError
from sdfkit.io.meshes.formats.ply.elements import read_ply
from sdfkit.io.meshes.reader import open_meshes, read_info
from sdfkit.io.meshes.writer import encode
from tests.io.tables.conftest import run

BOX = trimesh.creation.box()
LABELS = {"category": "chair", "licence": "CC0-1.0", "source": "here"}


def read_stream(content):
    """Return the metadata and the bytes of each PLY of a stream."""
    stream, found = io.BufferedReader(io.BytesIO(content)), []
    while stream.peek(1):
        found.append(read_ply(stream, "stream"))
    return found


@pytest.fixture
def raw(tmp_path):
    """A folder of meshes: of sdfkit as PLY and GLB, of other programs as STL, and as OBJ with a material."""
    folder = tmp_path / "raw"
    for name in ("chair", "lamp"):
        (folder / name).mkdir(parents=True)
    history = [{"version": "1", "command": "sdfkit shapes", "seed": 3}]
    for kind in ("ply", "glb"):
        info = {"uid": f"own_{kind}", **LABELS, "history": history, "settings": {"a": 1}, "origin": "0" * 16}
        (folder / f"own_{kind}.{kind}").write_bytes(encode(BOX, kind, info))
    BOX.export(folder / "lamp/foreign.stl")
    text = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    for name in ("chair", "lamp"):
        (folder / name / "a.obj").write_text(text)
        (folder / name / "a.mtl").write_text(f"newmtl wood\nmap_Kd pictures/{name}.png\n")
        (folder / name / "pictures").mkdir()
        (folder / name / f"pictures/{name}.png").write_bytes(name.encode())
    return folder


def uids(*inputs):
    with open_meshes([str(path) for path in inputs], manifest=None) as meshes:
        return [row.uid for row in meshes]


def test_files_are_copied_byte_for_byte_with_what_they_refer_to(raw, tmp_path):
    names = uids(raw)
    assert names == ["chair_a", "lamp_a", "foreign", "own_glb", "own_ply"]
    output = tmp_path / "out"
    run("select", [raw], output, first=5)
    copies = {
        str(path.relative_to(output)): path.read_bytes() for path in output.rglob("?*.*") if path.is_file()
    }
    originals = {
        "own_ply.ply": "own_ply.ply", "own_glb.glb": "own_glb.glb", "foreign.stl": "lamp/foreign.stl",
        "chair_a/chair_a.obj": "chair/a.obj", "chair_a/a.mtl": "chair/a.mtl",
        "chair_a/pictures/chair.png": "chair/pictures/chair.png",
        "lamp_a/lamp_a.obj": "lamp/a.obj", "lamp_a/a.mtl": "lamp/a.mtl",
        "lamp_a/pictures/lamp.png": "lamp/pictures/lamp.png",
    }  # fmt: skip
    assert copies == {name: (raw / path).read_bytes() for name, path in originals.items()}
    assert sorted(uids(output)) == sorted(names)
    run("select", [raw], output, first=5)  # nothing is to be done
    (output / "foreign.stl").write_bytes(b"other")
    with pytest.raises(
        InputError, match=r"foreign.stl: exists with another content; choose another name or add --over"
    ):
        run("select", [raw], output, uid=["foreign"])
    run("select", [raw], output, uid=["foreign"], overwrite=True)
    assert (output / "foreign.stl").read_bytes() == (raw / "lamp/foreign.stl").read_bytes()


OBJ = b"mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
FOLDERS = {
    # files of the input, uids: the copies beside it are named by them, and rename nothing.
    "names of their own": (["a.stl", "b.stl"], ["a", "b"]),
    "one name in two folders": (["chair/a.stl", "lamp/a.stl", "lamp/c.stl"], ["chair_a", "lamp_a", "c"]),
    "generic names": (["ID1/model.stl", "ID2/model.stl"], ["ID1", "ID2"]),
    "a name below the same name": (["x.stl", "deep/x.stl"], ["deep_x", "in_x"]),
    "two formats": (["a.stl", "a.off"], ["a_off", "a_stl"]),
    "materials": (["x.obj", "model.obj", "cup/model.obj"], ["in_model", "cup", "x"]),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_copies_beside_their_originals_rename_nothing_and_keep_their_names(case, tmp_path):
    names, expected = FOLDERS[case]
    for name in names:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".obj":
            path.write_bytes(OBJ)
            (path.parent / "a.mtl").write_bytes(b"newmtl wood\n")
        else:
            BOX.copy().apply_scale(len(str(path))).export(path)
    assert sorted(uids(tmp_path / "in")) == sorted(expected)
    (tmp_path / "more").mkdir()
    for output in ("few", "more"):
        run("select", [tmp_path / "in"], tmp_path / output, first=9)
    for folder in ("in", "few", "more"):
        assert sorted(uids(tmp_path / folder)) == sorted(expected)
    before = sorted((tmp_path / "few").rglob("*"))
    run("select", [tmp_path / "in"], tmp_path / "few", first=9)
    assert sorted((tmp_path / "few").rglob("*")) == before


def test_a_stream_of_chosen_meshes_keeps_their_bytes_and_histories(raw, pipe, tmp_path):
    content = pipe(b"", "select", [raw], uid=["own_ply", "own_glb"])
    meshes = read_stream(content)
    assert [(info["uid"], info["row"], info["rows"]) for info, _ in meshes] == [
        ("own_glb", 0, 2),
        ("own_ply", 1, 2),
    ]
    for info, _ in meshes:
        assert [step.get("seed") for step in info["history"]] == [3, None]
        assert {name: info[name] for name in LABELS} == LABELS
        assert (info["settings"], info["origin"]) == ({"a": 1}, "0" * 16)
    ply, original = meshes[1][1], (raw / "own_ply.ply").read_bytes()
    assert ply[ply.index(b"end_header") :] == original[original.index(b"end_header") :]
    # Saved from a stream, the file has its labels, but not its place in the stream.
    pipe(content, "select", ["-"], tmp_path / "saved", uid=["own_ply"])
    info = read_info(tmp_path / "saved/own_ply.ply")
    assert info["uid"] == "own_ply"
    assert not {"row", "rows"} & info.keys()


def test_a_shape_that_failed_stays_in_a_stream_and_has_no_file(pipe, tmp_path):
    stream = encode(BOX, "ply", {"uid": "a", "row": 0, "rows": 2})
    stream += encode(None, "ply", {"uid": "b", "row": 1, "rows": 2, "error": "no surface"})
    ((info, _),) = read_stream(pipe(stream, "select", failed=True))
    assert (info["uid"], info["error"], info["rows"]) == ("b", "no surface", 1)
    ((info, _),) = read_stream(pipe(stream, "select", valid=True))
    assert info["uid"] == "a"
    pipe(stream, "cat", ["-"], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("*.*ly")] == ["a.ply"]


def test_one_mesh_is_copied_to_a_file_or_converted(raw, tmp_path, pipe):
    run("select", [raw], tmp_path / "one.stl", uid=["foreign"])
    assert (tmp_path / "one.stl").read_bytes() == (raw / "lamp/foreign.stl").read_bytes()
    run("select", [raw], tmp_path / "one.glb", uid=["own_ply"])
    assert read_info(tmp_path / "one.glb")["uid"] == "own_ply"
    assert trimesh.load_mesh(tmp_path / "one.glb").is_watertight
    with pytest.raises(
        UsageError, match=r"one\.obj: \S+a\.obj refers to other files, which are copied with it; give a fo"
    ):
        run("select", [raw], tmp_path / "one.obj", uid=["chair_a"])
    with pytest.raises(UsageError, match="one file cannot hold 2 meshes"):
        run("select", [raw], tmp_path / "two.ply", first=2)
    with pytest.raises(UsageError, match="standard input cannot be joined with mesh files"):
        pipe(encode(BOX, "ply", {}), "cat", ["-", raw], tmp_path / "two.ply")
    with pytest.raises(InputError, match=r"missing\.ply: no such file"):
        run("cat", [raw / "own_ply.ply", raw / "missing.ply"], tmp_path / "joined")


def test_meshes_and_their_manifest_are_split_alike(raw, tmp_path, sdfkit_manifest):
    run("split", [raw], tmp_path / "meshes", held_out=0.4, seed=1)
    run("split", [sdfkit_manifest], tmp_path / "lists", held_out=0.4, seed=1)
    for name in ("train", "held-out"):
        listed = json.loads((tmp_path / f"lists/{name}.json").read_text())
        assert sorted(listed["obj_idx"]) == sorted(uids(tmp_path / "meshes" / name))
        assert [shape["obj_idx"] for shape in listed["shapes"]] == list(range(len(listed["shapes"])))


@pytest.fixture
def sdfkit_manifest(raw, tmp_path):
    from sdfkit.io.manifest_writer import create_manifest, list_shapes

    path = tmp_path / "manifest.json"
    with create_manifest(str(path), overwrite=False) as manifest:
        manifest.entries += list_shapes([str(raw)], tmp_path, table=None, lvis=False, licence="", source="")
    return path


def test_manifests_are_selected_and_joined_with_paths_that_still_lead_to_the_files(sdfkit_manifest, tmp_path):
    (tmp_path / "lists").mkdir()
    for number in (1, 2):
        run("select", [sdfkit_manifest], tmp_path / f"lists/{number}.json", part=f"{number}/2")
    first = json.loads((tmp_path / "lists/1.json").read_text())["shapes"]
    assert all((tmp_path / "lists" / shape["path"]).is_file() for shape in first)
    run("cat", [tmp_path / "lists/1.json", tmp_path / "lists/2.json"], tmp_path / "joined.json")
    assert json.loads((tmp_path / "joined.json").read_text()) == json.loads(sdfkit_manifest.read_text())
    twice = [sdfkit_manifest, sdfkit_manifest]
    with pytest.raises(InputError, match="has two rows with the uid chair_a; sdfkit cat --rename"):
        run("cat", twice, tmp_path / "twice.json")
    run("cat", twice, tmp_path / "twice.json", rename=True)
    assert "chair_a_2" in json.loads((tmp_path / "twice.json").read_text())["obj_idx"]
    with pytest.raises(InputError, match="none of its 5 rows has failed"):
        run("select", [sdfkit_manifest], tmp_path / "none.json", failed=True)


def test_a_folder_that_is_a_file_is_refused_before_anything_is_written(raw, tmp_path):
    (tmp_path / "sets").write_text("")
    with pytest.raises(InputError, match="sets: exists; choose another name"):
        run("split", [raw], tmp_path / "sets", held_out=0.2)
    with pytest.raises(InputError, match="no such folder; make it first"):
        run("split", [raw], tmp_path / "missing/sets", held_out=0.2)
