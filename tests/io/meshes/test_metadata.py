"""The metadata of sdfkit in mesh files: read in every format, and refused by the name of the wrong field."""

import io
import json
import re

import numpy as np
import pytest
import trimesh

from sdfkit.errors import InputError
from sdfkit.io.meshes.metadata import check_info, find_comment
from sdfkit.io.meshes.reader import MeshRow, open_meshes, read_info
from sdfkit.io.meshes.writer import encode

BOX = trimesh.creation.box()
MATRIX = [[2, 0, 0, 1], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]
GOOD = {
    "uid": "a", "category": "chair", "licence": "", "source": "", "error": "", "sample_of": "", "origin": "0" * 16,
    "input": "", "row": 0, "rows": 1, "history": [{"version": "1", "command": "sdfkit"}], "settings": {"points": 5},
    "to_original": MATRIX, "other": None,
}  # fmt: skip
BAD = [
    *((name, value) for name in ("uid", "category", "licence", "source", "error", "origin") for value in (5, None, [])),
    *(("row", value) for value in (-1, "0", 0.0, True, None, 10**30)),
    *(("rows", value) for value in (0, -1, "x", None, [], 10**30)),
    *(("history", value) for value in (5, {}, [5], [[]], "x", [{"command": 5}])),
    *(("settings", value) for value in (5, [], "x", None)),
    *(
        ("to_original", value)
        for value in (
            5, "x", None, [[1]], np.zeros((4, 4)).tolist(), np.eye(3).tolist(), [[None] * 4] * 4, [[1e308] * 4] * 4,
            np.diag([1e-310, 1e-310, 1e-310, 1]).tolist(), np.diag([1, 1, 1, 2]).tolist(), [[1, 2], [3]],
            [[10**400, 0, 0, 0], *MATRIX[1:]],
        )
    ),
]  # fmt: skip


def test_good_metadata_pass_as_they_are():
    assert check_info(GOOD, "a.ply") == GOOD
    assert check_info({}, "a.ply") == {}


@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_wrong_field_is_refused_by_name(field, value):
    with pytest.raises(
        InputError, match=rf"a\.ply: {field} in its metadata is .* needed; make the file again"
    ):
        check_info(GOOD | {field: value}, "a.ply")


@pytest.mark.parametrize("kind", ["ply", "obj", "glb"])
@pytest.mark.parametrize("info", [{"history": 5}, {"uid": 5}, {"to_original": [[1]]}])
def test_a_file_with_damaged_metadata_fails_alone_when_it_is_loaded(tmp_path, kind, info):
    (tmp_path / f"bad.{kind}").write_bytes(encode(BOX, kind, info))
    (tmp_path / f"good.{kind}").write_bytes(encode(BOX, kind, GOOD))
    with open_meshes([str(tmp_path)], manifest=None) as meshes:
        bad, good = meshes
    (field,) = info
    with pytest.raises(InputError, match=re.escape(f"bad.{kind}: {field} in its metadata is")):
        bad.load()
    assert (bad.uid, good.uid, len(good.load().faces)) == ("bad", "a", 12)


@pytest.mark.parametrize(
    "comment", ["5", "[]", "{", "[" * 100_000, '{"rows": NaN}', '{"seed": 1e999}', "1" * 5000, ""]
)
def test_a_comment_that_is_no_such_object_is_refused(tmp_path, comment):
    path = tmp_path / "a.obj"
    path.write_bytes(encode(BOX, "obj", {}).replace(b"# sdfkit {}", b"# sdfkit " + comment.encode()))
    assert read_info(path) == {}
    with pytest.raises(InputError, match=r"a\.obj: its metadata (are|cannot be read)"):
        MeshRow(0, "a", path=str(path)).load()


def test_long_metadata_are_read_whole(tmp_path):
    info = {"history": [{"version": "1", "command": "x" * 100_000}]}
    for kind in ("ply", "obj", "glb"):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(encode(BOX, kind, info))
        assert read_info(path) == info


def test_comments_of_other_programs_are_no_metadata():
    assert find_comment(io.BytesIO(b"# made by sdfkit {}\nv 0 0 0\n"), "a.obj") is None
    late = b"v 0 0 0\n" * 20 + b"# sdfkit 5\n"
    assert find_comment(io.BytesIO(late), "a.obj") is None


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"rows": "x"}, 'standard input: rows in its metadata is "x", but a whole number from 1 is needed'),
        ({"rows": 0}, "standard input: rows in its metadata is 0, but a whole number from 1 is needed"),
        ({"rows": 2, "row": None}, "standard input: row in its metadata is null"),
        ({"rows": 1, "history": 5}, "standard input: history in its metadata is 5"),
        ({"rows": 2**40, "row": 0}, f"standard input: ends after 1 of {2**40} meshes"),
    ],
)
@pytest.mark.parametrize("kind", ["ply", "glb"])
def test_a_stream_with_damaged_metadata_is_refused(monkeypatch, info, message, kind):
    stream = io.BufferedReader(io.BytesIO(encode(BOX, kind, json.loads(json.dumps(info)))))
    monkeypatch.setattr("sdfkit.io.meshes.reader.open_input", lambda _: stream)
    with pytest.raises(InputError, match=re.escape(message)), open_meshes(["-"], manifest=None) as meshes:
        for _ in meshes:  # not `list`, which would ask for room for all
            pass
