"""Meshes in folders: which files are found, and that files of other formats are counted."""

import pytest

from sdfkit.errors import InputError
from sdfkit.io.meshes.folders import find_meshes, is_empty


def write_files(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_suffixes_in_upper_case_are_found_and_hidden_files_are_not(tmp_path):
    write_files(
        tmp_path, "b.OBJ", "a.Ply", "deep/c.STL", "._b.obj", ".hidden/d.obj", "x.zarr/e.obj", "notes.txt"
    )
    assert [path.name for path in find_meshes([str(tmp_path)])] == ["a.Ply", "b.OBJ", "c.STL"]


def test_files_of_other_formats_are_counted_in_one_warning(tmp_path, caplog):
    write_files(
        tmp_path, "a.obj", "b.fbx", "deep/c.FBX", "d.blend", "e.obj.gz", "f.tar.gz", "a.mtl", "._b.fbx"
    )
    assert [path.name for path in find_meshes([str(tmp_path)])] == ["a.obj"]
    assert caplog.messages == [
        f"{tmp_path}: 2 .fbx, 1 .blend, 1 .obj.gz are skipped, because sdfkit does not read such files; convert them "
        "to GLB or OBJ"
    ]


def test_a_folder_of_other_formats_alone_is_refused_with_their_number(tmp_path):
    write_files(tmp_path, "b.usdz", "c.step")
    with pytest.raises(
        InputError, match=r"is a folder without meshes \(.*\) but with 1 \.\w+, 1 \.\w+; give mesh"
    ):
        find_meshes([str(tmp_path)])
    assert is_empty(str(tmp_path))
