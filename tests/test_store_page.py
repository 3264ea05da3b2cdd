"""sdfkit-store(5), written by hand, against what the commands write.

The arrays are read from the commands' source: every `create_array` and `create_group` there is an entry of
the page, with its axes and type, and every entry is made by a command.
"""

import ast
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

import sdfkit
from sdfkit.io.stores import reader
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row, step

COMMANDS = Path(sdfkit.__file__).parent / "commands"
PAGE = (
    (Path(__file__).parents[1] / "man/man5/sdfkit-reader.5").read_text(encoding="utf-8").replace("\\-", "-")
)


def section(title):
    """The text between a heading and the next one of its rank or above."""
    start = re.search(rf"^\.(SH|SS) {re.escape(title)}$", PAGE, re.MULTILINE)
    assert start, f"the page has no section {title}"
    following = r"^\.S[HS] " if start[1] == "SS" else r"^\.SH "
    return re.split(following, PAGE[start.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def entries(title):
    """Entries of a section: name -> (axes, type) of an array, or None of a group or a word."""
    found = {}
    for name, text in re.findall(r'^\.TP\n\.BR? (\S+)(?: "(.*)")?$', section(title), re.MULTILINE):
        array = re.fullmatch(r" \((.*)\) (\w+)", text)
        found[name] = (tuple(array[1].split(", ")), array[2]) if array else None
    return found


def kinds():
    return re.findall(r"^\.SS (\S+)$", section("KINDS"), re.MULTILINE)


class Made(ast.NodeVisitor):
    """The kinds and arrays that one command's source makes."""

    def __init__(self, path):
        self.path = path
        self.kinds, self.arrays, self.values = set(), {}, {}
        self.visit(ast.parse(path.read_text(encoding="utf-8")))

    def visit_Assign(self, node):
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=True)
            self.values |= {name.id: [value] for name, value in pairs if isinstance(name, ast.Name)}
        self.generic_visit(node)

    def visit_For(self, node):
        if isinstance(node.target, ast.Name) and isinstance(node.iter, ast.Tuple):
            self.values[node.target.id] = node.iter.elts
        self.generic_visit(node)

    def visit_Call(self, node):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        if called == "create_store":
            self.kinds |= set(self.texts(node.args[1]))
        elif called == "create_group":
            self.arrays |= {f"{name}/": None for name in self.texts(node.args[0])}
        elif called == "create_array":
            dtype = named.get("dtype")
            kind = np.dtype(dtype.value).name if isinstance(dtype, ast.Constant) else None
            self.arrays |= {name: (self.axes(named["axes"]), kind) for name in self.texts(node.args[0])}
        self.generic_visit(node)

    def texts(self, node):
        """The strings that an expression may be."""
        if isinstance(node, ast.Constant):
            return [node.value]
        if isinstance(node, ast.IfExp):
            return [*self.texts(node.body), *self.texts(node.orelse)]
        values = self.values.get(node.id, []) if isinstance(node, ast.Name) else []
        assert values, (
            f"{self.path.name}:{node.lineno}: write the name out, so that it can be held against the page"
        )
        return [text for value in values for text in self.texts(value)]

    def axes(self, node):
        if isinstance(node, ast.Name):
            return self.axes(self.values[node.id][0])
        if isinstance(node, ast.Subscript):
            length = node.slice.upper
            return self.axes(node.value)[: length.value]
        assert isinstance(node, ast.Tuple), f"{self.path.name}:{node.lineno}: write the axes out as a tuple"
        return tuple(
            axis
            for part in node.elts
            for axis in (self.axes(part.value) if isinstance(part, ast.Starred) else [part.value])
        )


MADE = {path.stem: made for path in sorted(COMMANDS.glob("*.py")) if (made := Made(path)).kinds}


def test_every_kind_a_command_makes_has_a_section():
    made = {kind for command in MADE.values() for kind in command.kinds}
    assert made <= set(kinds())


@pytest.mark.parametrize("command", MADE)
def test_every_array_a_command_makes_is_on_the_page(command):
    made = MADE[command]
    for kind in made.kinds:
        assert f"sdfkit-{command.replace('_', '-')} (1)" in section(kind)
    # What makes one of two kinds has the arrays of both.
    described = {name: array for kind in made.kinds for name, array in entries(kind).items()}
    for name, array in made.arrays.items():
        assert name in described, f"{' or '.join(made.kinds)}: {name} is not on the page"
        if array is not None:
            axes, dtype = array
            assert described[name][0] == axes
            assert dtype in (None, described[name][1])


@pytest.mark.parametrize("kind", kinds())
def test_the_page_describes_no_array_that_nothing_makes(kind):
    makers = [made for made in MADE.values() if kind in made.kinds]
    named = re.findall(r"^\.BR sdfkit-(\S+) \(1\)", section(kind).split(".TP")[0], re.MULTILINE)
    assert len(named) == len(makers)
    if makers:
        assert set(entries(kind)) <= {name for made in makers for name in made.arrays}


def test_columns_and_root_attributes_are_those_of_the_code(tmp_path):
    assert tuple(entries("Columns")) == (*reader.COLUMNS, "valid", "error")
    with create_store(
        str(tmp_path / "x.zarr"),
        "codes",
        rows=[Row(0, "a")],
        history=[],
        settings={},
        seed=1,
        overwrite=False,
    ) as made:
        assert set(made.group.attrs) == set(entries("Attributes of the root"))
        for name, text in (("uid", "string"), ("valid", "bool"), ("error", "string")):
            dtype = made.group[name].dtype
            assert ("string" if dtype.kind == "T" else dtype.name) == text
            assert f".B {name}\n{text}: " in section("Columns")
            assert made.group[name].metadata.dimension_names == ("shape",)
        made.write(Row(0, "a"))
    assert f"{reader.FORMAT}, the number of this format" in section("Attributes of the root")
    for key in step(seed=1):
        assert re.search(rf"^\.BR? {key}\b", section("Attributes of the root"), re.MULTILINE)


@pytest.mark.parametrize("are_known", [True, False])
def test_a_store_on_a_pipe_has_the_order_of_the_page(tmp_path, are_known):
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
    whole = [f"{name}/c/0" for name in (*reader.COLUMNS * are_known, "loss")]
    assert chunks[: len(whole)] == whole
    by_row = chunks[len(whole) :]
    half = len(by_row) // 2
    assert [name.split("/c/")[1].split("/")[0] for name in by_row] == ["0"] * half + ["1"] * half
    assert by_row[half - 1] == "code/c/0/0"
    assert {"valid/c/0", "error/c/0"} <= set(by_row[: half - 1])
    for member in members:
        assert (member.compress_type, member.flag_bits & 8) == (zipfile.ZIP_STORED, 0)


def test_samples_lie_in_the_chunks_of_the_page(tmp_path):
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


def test_a_mesh_on_a_pipe_carries_what_the_page_says():
    import trimesh

    from sdfkit.io.meshes.ply import read_ply
    from sdfkit.io.meshes.writer import MeshWriter

    stream = io.BytesIO()
    writer = MeshWriter("-", 2, {}, None, stream, "ply", False)
    writer.write(Row(0, "a"), mesh=trimesh.creation.box())
    writer.write(Row(1, "b", error="no surface"))
    reader = io.BufferedReader(io.BytesIO(stream.getvalue()))
    whole, failed = (read_ply(reader, "standard input")[0] for _ in range(2))
    described = section("MESHES ON A PIPE")
    for name in {*whole, *failed} - set(reader.COLUMNS):
        assert re.search(rf"^\.BR? {name}\b", described, re.MULTILINE), name
    assert (whole["row"], whole["rows"], failed["error"]) == (0, 2, "no surface")
