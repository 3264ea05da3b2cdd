"""Compare the hand-written page sdfkit-store(5) with the code.

All tests of commands check that every array and group that a command creates is on the page, with the same axes and
type: see tests/store_page.py and tests/commands/conftest.py.
"""

import ast
import io
import re
import zipfile
from contextlib import nullcontext

import numpy as np
import pytest

from sdfkit.io.stores import layout
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row, history_step
from tests.store_page import PACKAGE, entries, kinds, section, stores_compared_with_the_page

MAKERS = {
    kind: re.findall(r"^\.BR sdfkit-(\S+) \(1\)", section(kind).split(".TP")[0], re.MULTILINE)
    for kind in kinds()
}


def strings(paths):
    """Return all string literals of modules, except docstrings."""
    return {
        node.value
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


# The models of predict know the kind of their predictions.
ELSEWHERE = {
    "predict": [
        "inference/prediction/denoiser.py",
        "inference/prediction/flow.py",
        "inference/prediction/reconstruction.py",
    ]
}
EVERYWHERE = strings(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("kind", kinds())
def test_the_commands_on_the_page_create_stores_of_the_kind(kind):
    for command in MAKERS[kind]:
        modules = [f"commands/{command.replace('-', '_')}.py", *ELSEWHERE.get(command, [])]
        assert kind in strings(PACKAGE / module for module in modules)


@pytest.mark.parametrize("kind", kinds())
def test_every_array_on_the_page_is_created_by_a_command(kind):
    assert {name.rstrip("/") for name in entries(kind)} <= EVERYWHERE


@pytest.mark.parametrize(
    ("call", "difference"),
    [
        ("create_array('weight', shape=(1, 4), dtype='f4', axes=('shape', 'dim'))", "array weight is not in"),
        ("create_array('code', shape=(1, 4), dtype='f8', axes=('shape', 'dim'))", "array code differs from"),
        ("create_array('code', shape=(1, 4), dtype='f4', axes=('shape', 'view'))", "array code differs from"),
        ("create_group('decoder', attributes={}, arrays={})", "group decoder is not in"),
        ("create_array('code', shape=(1, 4), dtype='f4', axes=('shape', 'dim'))", None),
    ],
)
def test_a_store_that_differs_from_the_page_is_detected(tmp_path, call, difference):
    statement = compile(f"made.{call}", str(PACKAGE / "commands/none.py"), "exec")
    fails = pytest.raises(AssertionError, match=f"codes: {difference}") if difference else nullcontext()
    with (
        stores_compared_with_the_page(),
        create_store(
            str(tmp_path / "x.zarr"), "codes", count=1, history=[], settings={}, overwrite=False
        ) as made,
        fails,
    ):
        exec(statement, {"made": made})


def test_columns_and_root_attributes_agree_with_the_code(tmp_path):
    assert tuple(entries("Columns")) == (*layout.COLUMNS, "valid", "error", "origin", "input")
    with create_store(
        str(tmp_path / "x.zarr"),
        "codes",
        rows=[Row(0, "a")],
        history=[],
        settings={},
        seed=1,
        overwrite=False,
        resumable=True,
    ) as made:
        # Only unfinished trainings have `progress`.
        assert {*made.group.attrs, "progress"} == set(entries("Attributes of the root"))
        for name, text in (
            ("uid", "string"),
            ("valid", "bool"),
            ("error", "string"),
            ("origin", "string"),
            ("input", "string"),
        ):
            dtype = made.group[name].dtype
            assert ("string" if dtype.kind == "T" else dtype.name) == text
            assert f".B {name}\n{text}: " in section("Columns")
            assert made.group[name].metadata.dimension_names == ("shape",)
        made.write(Row(0, "a"))
    assert f"{layout.FORMAT}, the version of this format" in section("Attributes of the root")
    for key in history_step(seed=1, is_command=True):
        assert re.search(rf"^\.BR? {key}\b", section("Attributes of the root"), re.MULTILINE)


@pytest.mark.parametrize("are_known", [True, False])
def test_a_piped_store_has_the_order_on_the_page(tmp_path, are_known):
    path = tmp_path / "x.zarr.zip"
    rows = [Row(0, "a"), Row(1, "b")]
    with create_store(
        str(path),
        "codes",
        rows=rows if are_known else None,
        count=2,
        history=[],
        settings={},
        overwrite=False,
    ) as made:
        made.create_array("loss", data=np.zeros(3, np.float32), axes=("step",))
        made.create_array("code", shape=(2, 4), dtype="f4", axes=("shape", "dim"))
        for row in rows:
            made.write(row, code=np.zeros(4, np.float32))
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    names = [member.filename for member in members]
    chunks = [name for name in names if not name.endswith("zarr.json")]
    assert names[0] == "zarr.json"
    assert names[len(names) - len(chunks) :] == chunks
    whole = [f"{name}/c/0" for name in (*layout.COLUMNS * are_known, "loss")]
    assert chunks[: len(whole)] == whole
    by_row = chunks[len(whole) :]
    half = len(by_row) // 2
    assert [name.split("/c/")[1].split("/")[0] for name in by_row] == ["0"] * half + ["1"] * half
    assert by_row[half - 1] == "code/c/0/0"
    assert {"valid/c/0", "error/c/0"} <= set(by_row[: half - 1])
    for member in members:
        assert (member.compress_type, member.flag_bits & 8) == (zipfile.ZIP_STORED, 0)


def test_samples_have_the_chunks_on_the_page(tmp_path):
    with create_store(
        str(tmp_path / "x.zarr"), "samples", count=1, history=[], settings={}, overwrite=False
    ) as made:
        made.create_array("distance", shape=(1, 20_000), dtype="f4", axes=("shape", "sample"))
        made.create_array("mask", shape=(1, 9), dtype="u1", axes=("shape", "view"), compress=True)
        distance, mask = made.group["distance"], made.group["mask"]
        assert (distance.chunks, distance.shards, distance.compressors) == ((1, 8192), (1, 3 * 8192), ())
        assert "inner chunks hold 8,192 each" in section("CHUNKS")
        assert [type(codec).__name__ for codec in mask.compressors] == ["ZstdCodec"]
        made.write(Row(0, "a"), distance=np.zeros(20_000, np.float32), mask=np.zeros(9, np.uint8))


def test_a_piped_mesh_contains_the_metadata_on_the_page():
    import trimesh

    from sdfkit.io.meshes.formats.ply.elements import read_ply
    from sdfkit.io.meshes.writer import MeshWriter

    stream = io.BytesIO()
    writer = MeshWriter("-", 2, {}, None, stream, "ply")
    writer.write(Row(0, "a"), mesh=trimesh.creation.box())
    writer.write(Row(1, "b", error="no surface"))
    meshes = io.BufferedReader(io.BytesIO(stream.getvalue()))
    whole, failed = (read_ply(meshes, "standard input")[0] for _ in range(2))
    described = section("MESHES ON A PIPE")
    for name in {*whole, *failed} - set(layout.COLUMNS):
        assert re.search(rf"^\.BR? {name}\b", described, re.MULTILINE), name
    assert (whole["row"], whole["rows"], failed["error"]) == (0, 2, "no surface")
