"""Folders of meshes: what files are called, and what they carry."""

import pickle

import pytest
import trimesh

from sdfkit.errors import InputError
from sdfkit.io.meshes.reader import read_info
from sdfkit.io.meshes.writer import create_meshes
from sdfkit.rows import Row

BOX = trimesh.creation.box()


def writer(folder, **changed):
    return create_meshes(
        f"{folder}/", 2, **({"settings": {}, "seed": None, "kind": "ply", "overwrite": False} | changed)
    )


def test_a_uid_never_leads_out_of_the_folder(tmp_path):
    with writer(tmp_path / "out") as meshes:
        meshes.write(Row(0, "../../etc/passwd"), mesh=BOX)
        meshes.write(Row(1, ".hidden/ü ß"), mesh=BOX)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "_.._etc_passwd.ply",
        "hidden_ü ß.ply",
    ]
    assert read_info(tmp_path / "out/_.._etc_passwd.ply")["uid"] == "../../etc/passwd"


def test_two_uids_do_not_share_a_file(tmp_path):
    with writer(tmp_path / "out") as meshes:
        meshes.write(Row(0, "a/b"), mesh=BOX)
        with pytest.raises(InputError, match=r"a_b and a/b would share the file name a_b\.ply; rename one"):
            meshes.write(Row(1, "a_b"), mesh=BOX)


def test_a_shape_that_failed_leaves_no_file(tmp_path):
    with writer(tmp_path / "out") as meshes:
        meshes.write(Row(0, "a", error="no surface"))
    assert list((tmp_path / "out").iterdir()) == []
    assert meshes.failed == {0}
    with writer(tmp_path / "out") as meshes:
        meshes.write(Row(0, "a"), mesh=BOX)
        meshes.write(Row(1, "b"), mesh=BOX)
    # Nor the one of an earlier run, where that is to be replaced.
    with writer(tmp_path / "out", overwrite=True) as meshes:
        meshes.write(Row(0, "a", error="no surface"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.ply"]


def test_nothing_half_written_after_an_error(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        create_meshes(
            str(tmp_path / "x.glb"), 1, settings={}, seed=None, kind="ply", overwrite=False
        ) as meshes,
    ):
        meshes.write(Row(0, "a"), mesh=BOX)
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_not_made_deep(tmp_path):
    with (
        pytest.raises(InputError, match="missing: no such folder; make it first"),
        writer(tmp_path / "missing/out"),
    ):
        pass


def test_files_that_workers_write_are_kept_by_the_same_command(tmp_path):
    rows = [Row(0, "a"), Row(1, "b", error="no surface")]
    for place in ("local", "far"):
        with pytest.raises(KeyboardInterrupt), writer(tmp_path / place, overwrite=True) as meshes:
            if place == "local":
                meshes.write(rows[0], mesh=BOX, defects=["hole"])
            else:
                remote = pickle.loads(pickle.dumps(meshes.remote()))
                left = remote.write_result(rows[0], function=lambda row: {"mesh": BOX, "defects": ["hole"]})
                meshes.record(rows[0], **left)
            meshes.write(rows[1])
            assert (meshes.made, meshes.failed) == (2, {1})
            raise KeyboardInterrupt
        with writer(tmp_path / place, overwrite=True) as meshes:
            assert meshes.has(rows[0])
    assert (tmp_path / "far/a.ply").read_bytes() == (tmp_path / "local/a.ply").read_bytes()
    with create_meshes(
        str(tmp_path / "one.ply"), 1, settings={}, seed=None, kind="ply", overwrite=False
    ) as one:
        assert one.remote() is None
        one.write(rows[0], mesh=BOX)
