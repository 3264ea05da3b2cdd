"""`sdfkit fetch`, with a stand-in for the package objaverse: choice, resumption, checksums and errors."""

import inspect
import json
import re
import struct
import sys
from urllib.error import HTTPError

import pytest
import trimesh

from sdfkit.io.manifests import read_manifest
from tests.io.objaverse import stand_in

GLB = trimesh.creation.box().export(file_type="glb")
# Two shapes of each of four categories; one of each pair may not be used commercially.
SHAPES = [
    (f"{name}{number}", name, ("by", "by-nc")[number], f"author of {name}", GLB)
    for name in ("chair", "lamp", "stool", "vase")
    for number in range(2)
]


@pytest.fixture
def package(monkeypatch, tmp_path):
    """The stand-in, with the shapes on its server and an empty cache; the working folder is empty."""
    monkeypatch.setitem(sys.modules, "objaverse", stand_in)
    monkeypatch.setattr(stand_in, "BASE_PATH", str(tmp_path / "cache"))
    for name, value in (("server", {}), ("halved", set()), ("requests", [])):
        monkeypatch.setattr(stand_in, name, value)
    stand_in.publish(SHAPES)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return stand_in


@pytest.fixture
def fetch(sdfkit):
    return lambda *words: sdfkit("fetch", *words, "--jobs", 1, "-o", "raw")


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def path_of(uid):
    return next(name for name in stand_in.server if name.endswith(f"/{uid}.glb"))


def test_shapes_are_chosen_by_licence_and_described(sdfkit, fetch, package, tmp_path):
    done = fetch("--count", 4)
    assert (done.exit_code, done.stdout) == (0, "")
    left = re.search(
        r"left out (\d) shapes? by licence \(\1 CC-BY-NC-4.0\); --licence chooses others", done.stderr
    )
    assert left or "left out" not in done.stderr
    assert done.stderr.endswith("sdfkit: wrote meshes of 4 shapes to raw\n")
    raw = tmp_path / "work/raw"
    shapes = read_manifest(raw / "manifest.json")
    assert {*shapes} == {"chair0", "lamp0", "stool0", "vase0"}
    assert files(raw) == sorted(["manifest.json", *(f"{uid}.glb" for uid in shapes)])
    assert sdfkit("manifest", "raw", "--lvis", "-o", "raw/other.json").exit_code == 0
    others = read_manifest(raw / "other.json")
    for uid, entry in shapes.items():
        assert (entry.category, entry.licence) == (uid[:-1], "CC-BY-4.0")
        assert entry.source == f"author of {uid[:-1]}, https://example.org/{uid}"
        same = ("path", "category", "licence", "source", "sha256")
        assert [getattr(entry, name) for name in same] == [getattr(others[uid], name) for name in same]
    assert sdfkit("info", "raw/manifest.json").stdout.count("CC-BY-4.0\n") == 4


def test_the_same_command_continues_and_then_has_nothing_to_do(fetch, package, tmp_path):
    raw, last = tmp_path / "work/raw", path_of("vase0")
    package.server[last] = KeyboardInterrupt()
    assert fetch("--count", 4).exit_code == 130
    there = {name.removesuffix(".glb") for name in files(raw) if name.endswith(".glb")}
    assert there == {
        name.split("/")[-1].removesuffix(".glb") for name in package.requests if "glb" in name
    } - {"vase0"}
    assert files(raw) == sorted([".manifest.json.run", *(f"{uid}.glb" for uid in there)])
    package.server[last] = GLB
    (raw / ".vase0.glb.part").write_bytes(b"of a killed run")
    with (raw / ".manifest.json.run").open("a") as file:
        file.write("0123")  # of a killed run, too
    package.requests.clear()
    done = fetch("--count", 4)
    assert done.exit_code == 0, done.stderr
    assert {name.split("/")[-1] for name in package.requests} == {
        f"{uid}.glb" for uid in {"chair0", "lamp0", "stool0", "vase0"} - there
    }
    assert files(raw) == ["chair0.glb", "lamp0.glb", "manifest.json", "stool0.glb", "vase0.glb"]
    before = {path: path.stat().st_mtime_ns for path in raw.iterdir()}
    package.server.clear()  # what is there needs no network
    again = fetch("--count", 4)
    assert (again.exit_code, again.stderr.splitlines()[-1]) == (
        0, "sdfkit: raw: is complete, and nothing was to be done"
    )  # fmt: skip
    assert before == {path: path.stat().st_mtime_ns for path in raw.iterdir()}


def test_a_file_that_has_changed_is_fetched_again(fetch, package, tmp_path):
    mesh, cache = tmp_path / "work/raw/lamp0.glb", tmp_path / "cache/hf-objaverse-v1"
    assert fetch("--category", "lamp", "--count", 1).exit_code == 0
    mesh.write_bytes(GLB[:-1] + b"x")
    package.requests.clear()
    done = fetch("--category", "lamp", "--count", 1)
    assert done.exit_code == 0
    assert "raw/lamp0.glb: has changed since it was fetched, and is fetched again" in done.stderr
    assert mesh.read_bytes() == GLB and package.requests == []
    # The package's copy has changed in the same way: it is downloaded anew.
    for path in (mesh, cache / path_of("lamp0")):
        path.write_bytes(GLB[:-1] + b"x")
    assert fetch("--category", "lamp", "--count", 1).exit_code == 0
    assert mesh.read_bytes() == GLB and package.requests == [path_of("lamp0")]
    # The server has another file.
    for path in (mesh, cache / path_of("lamp0")):
        path.unlink()
    package.server[path_of("lamp0")] = GLB[:-1] + b"x"
    done = fetch("--category", "lamp", "--count", 1)
    assert (done.exit_code, files(mesh.parent)) == (3, [".manifest.json.run", "manifest.json"][1:])
    assert "lamp0: the downloaded file is not the file that was fetched before" in done.stderr


def test_a_download_that_fails_is_listed_and_the_others_go_on(fetch, package, tmp_path):
    raw = tmp_path / "work/raw"
    package.server[path_of("lamp0")] = HTTPError("https://example.org", 404, "Not Found", None, None)
    package.server[path_of("stool0")] = GLB[:-8]
    package.halved.add(path_of("vase0"))
    done = fetch("--count", 4)
    reasons = {
        "lamp0": "cannot be downloaded (HTTP Error 404: Not Found); run the same command again",
        "stool0": f"the downloaded file has {len(GLB) - 8:,} of {len(GLB):,} bytes; run the same command again, or "
        "choose other shapes",
        "vase0": "cannot be downloaded (<urlopen error retrieval incomplete>); run the same command again",
    }
    for uid, reason in reasons.items():
        assert f"sdfkit: {uid}: {reason}\n" in done.stderr
    told = "3 of 4 shapes failed, for the reasons above; the other 1 is in raw"
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (4, f"sdfkit: {told}")
    assert files(raw) == ["chair0.glb", "manifest.json"]
    assert json.loads((raw / "manifest.json").read_text())["failed"] == reasons
    assert {*read_manifest(raw / "manifest.json")} == {"chair0"}
    package.halved.clear()
    stand_in.publish(SHAPES)
    assert fetch("--count", 4).exit_code == 0
    assert "failed" not in json.loads((raw / "manifest.json").read_text())
    assert len(read_manifest(raw / "manifest.json")) == 4


def test_annotations_of_a_killed_download_are_downloaded_again(fetch, package, tmp_path):
    name = "lvis-annotations.json.gz"
    package.halved.add(name)
    assert fetch("--count", 1).exit_code == 5  # leaves half of the file, as the package does
    package.halved.clear()
    done = fetch("--count", 1)
    assert done.exit_code == 0
    assert (
        "hf-objaverse-v1: removed 1 incomplete file of an interrupted download; downloading again"
        in done.stderr
    )


def test_the_categories_are_listed(sdfkit, package):
    listed = sdfkit("fetch", "--list")
    assert listed.stdout.split() == ["chair", "2", "lamp", "2", "stool", "2", "vase", "2"]


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (
            ("--count", 0),
            2,
            "Invalid value for '--count': Input should be greater than or equal to 1; see",
        ),
        (
            ("--count", 5),
            3,
            "--count 5: the choice has only 4 shapes with one of the licences CC0-1.0, CC-BY-4.0, ",
        ),
        (
            ("--licence", "cc0"),
            3,
            "has no shapes with one of the licences CC0-1.0, and leaves out 8 shapes by ",
        ),
        (
            ("--licence", "gpl"),
            2,
            "--licence gpl: is not a licence of Objaverse; use cc0, by, by-sa, by-nd, by-nc",
        ),
        (("--category", "lamps"), 3, "--category lamps: is not a category of LVIS; did you mean lamp?"),
    ],
)
def test_choices_without_shapes_are_refused(fetch, package, tmp_path, words, status, told):
    refused = fetch(*words)
    assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (status, "", 1)
    assert told in refused.stderr
    assert files(tmp_path / "work") == []


def test_outputs_that_cannot_be_folders_are_refused_before_anything_is_downloaded(
    sdfkit, fetch, package, tmp_path
):
    (tmp_path / "work/raw").write_text("a file")
    refused = fetch()
    assert (refused.exit_code, refused.stderr) == (3, "sdfkit: raw: is not a folder; choose another name\n")
    refused = sdfkit("fetch", "-o", "none/raw")
    assert (refused.exit_code, refused.stderr) == (3, "sdfkit: none: no such folder; make it first\n")
    refused = sdfkit("fetch")
    told = "sdfkit: no folder is given for the meshes; add -o FOLDER\n"
    assert (refused.exit_code, refused.stderr) == (2, told)
    assert package.requests == []


def test_a_folder_with_other_meshes_is_refused(fetch, package, tmp_path):
    (tmp_path / "work/raw").mkdir()
    (tmp_path / "work/raw/mine.glb").write_bytes(GLB)
    refused = fetch("--count", 1)
    told = (
        "raw: holds 1 mesh that this command does not choose (mine.glb); choose another folder, or move them"
    )
    assert (refused.exit_code, told in refused.stderr) == (3, True)
    assert files(tmp_path / "work/raw") == ["mine.glb"]


def test_a_machine_without_package_or_network_is_reported(fetch, package, monkeypatch):
    package.server.clear()
    refused = fetch()
    told = "fetch: Objaverse's annotations cannot be downloaded (<urlopen error no network>); connect to the network"
    assert (refused.exit_code, refused.stderr) == (5, f"sdfkit: {told}\n")
    monkeypatch.setitem(sys.modules, "objaverse", None)
    refused = fetch()
    told = "fetch: the package objaverse is not installed; pip install 'sdfkit[lvis]'"
    assert (refused.exit_code, refused.stderr) == (5, f"sdfkit: {told}\n")


def test_a_glb_is_as_long_as_its_header_says():
    assert struct.unpack("<I", GLB[8:12])[0] == len(GLB)


def test_the_stand_in_has_the_functions_of_the_package():
    import objaverse

    for name in ("load_lvis_annotations", "load_annotations", "load_objects"):
        ours, theirs = (inspect.signature(getattr(module, name)) for module in (stand_in, objaverse))
        assert [(one.name, one.default) for one in ours.parameters.values()] == [
            (one.name, one.default) for one in theirs.parameters.values()
        ]
    assert isinstance(objaverse.BASE_PATH, str)
