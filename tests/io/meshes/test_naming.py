"""Uids of mesh files: those of a manifest, those in the files, and those of their paths; and their origins."""

import hashlib
import json

import pytest
import trimesh

from sdfkit.io.meshes.formats.ply.writer import write_comment
from sdfkit.io.meshes.formats.stl_title import read_title, write_title
from sdfkit.io.meshes.reader import open_meshes, read_info
from sdfkit.io.meshes.writer import create_meshes
from sdfkit.rows import Row

SETTINGS = {"settings": {}, "seed": None, "overwrite": False}


def write_box(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.creation.box().export(path)
    return path


def rows_of(*paths):
    with open_meshes([str(path) for path in paths], manifest=None) as meshes:
        return list(meshes)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@pytest.mark.parametrize("kind", ["ply", "glb", "obj", "stl"])
def test_what_sdfkit_writes_does_not_rename_its_input_and_keeps_the_origin(tmp_path, kind):
    raw = write_box(tmp_path / f"data/chairs/a.{kind}")
    write_box(tmp_path / f"data/chairs/b.{kind}")
    (row, _) = rows_of(raw.parent)
    with create_meshes(f"{tmp_path}/data/low/", 1, kind=kind, **SETTINGS) as meshes:
        meshes.write(row, mesh=trimesh.creation.box())
    assert [row.uid for row in rows_of(raw.parent)] == ["a", "b"]
    (made,) = rows_of(tmp_path / "data/low")
    assert (made.uid, made.find_origin()) == ("a", digest(raw))
    with create_meshes(f"{tmp_path}/data/lower/", 1, kind="ply", **SETTINGS) as meshes:
        meshes.write(made, mesh=trimesh.creation.box())
    assert rows_of(tmp_path / "data/lower")[0].find_origin() == digest(raw)


def test_the_origin_of_a_file_of_an_earlier_version_is_unknown(tmp_path):
    path = write_box(tmp_path / "a.ply")
    path.write_bytes(write_comment(path.read_bytes(), {"uid": "chair"}))
    (row,) = rows_of(path)
    assert (row.uid, row.find_origin()) == ("chair", "")


def test_a_stream_has_the_origin_of_the_file_that_it_came_from(tmp_path):
    path = write_box(tmp_path / "a.ply")
    (row,) = rows_of(path)
    assert row.find_origin() == digest(path)


def test_labels_in_files_are_made_printable(tmp_path):
    path = write_box(tmp_path / "a.ply")
    info = json.loads('{"uid": "a\\nb", "category": "\\ud800", "source": "caf\\udce9"}')
    path.write_bytes(write_comment(path.read_bytes(), info))
    (row,) = rows_of(path)
    assert (row.uid, row.category, row.source) == (r"a\nb", r"\ud800", r"caf\xe9")


@pytest.mark.parametrize("uid", ["a", "é" * 90, "a b c"])
def test_the_title_of_an_stl_has_80_bytes_and_holds_the_origin(uid):
    title = write_title({"uid": uid, "category": "chair", "licence": "CC0-1.0", "origin": "0123456789abcdef"})
    assert (len(title), read_title(title + bytes(4))) == (80, {"origin": "0123456789abcdef"})
    assert read_title(write_title({"uid": uid})) == {"origin": ""}
    assert read_title(b"solid made by another program".ljust(64) + b"0123456789abcdef") == {}


def test_deeply_nested_metadata_counts_as_none(tmp_path):
    path = write_box(tmp_path / "a.obj")
    path.write_bytes(b"# sdfkit " + b"[" * 50_000 + b"\n" + path.read_bytes())
    assert read_info(path) == {}
    assert Row(0, "a").find_origin() == ""
