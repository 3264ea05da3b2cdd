"""What decides that an earlier result may be kept: digests of inputs, and all options of the command."""

import json
import zipfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import typer

from sdfkit.cli import find_commands
from sdfkit.commands.train_dit import train_dit
from sdfkit.io.digests import UNKNOWN, digest_input
from sdfkit.io.meshes.companions import digest_mesh
from sdfkit.io.reuse import complete_settings, describe_difference
from sdfkit.io.stores.writer import create_store
from sdfkit.options import InputPath, Irrelevant, read_command_line, running
from sdfkit.rows import Row

# The options that change nothing of what is written. A new name here needs a reason.
IRRELEVANT = {
    "output", "overwrite", "retry_failed", "fail_fast", "jobs", "timeout", "cluster", "device", "as_json", "json",
    "curve", "log", "tensorboard", "dry_run", "check_gradients", "every", "list_categories",
    "count",  # of shapes, each of which depends on its number only
    "files_from",  # replaced by the inputs that it names before the command runs
}  # fmt: skip
COMMANDS = find_commands()


def options():
    """Yield command, name and annotation of every option."""
    import inspect

    for command, function in COMMANDS.items():
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.annotation is not typer.Context:
                yield command, name, parameter.annotation


def role_of(annotation):
    return next((mark for mark in annotation.__metadata__ if isinstance(mark, InputPath | Irrelevant)), None)


@pytest.mark.parametrize(("command", "name", "annotation"), list(options()))
def test_every_option_is_a_setting_or_an_input_or_named_here(command, name, annotation):
    role = role_of(annotation)
    assert isinstance(role, Irrelevant) == (name in IRRELEVANT)
    metavar = str(getattr(annotation.__metadata__[0], "metavar", ""))
    names_input = any(
        word in metavar
        for word in (
            "STORE",
            "MESH",
            "INPUT",
            "MODEL",
            "FOLDER",
            "CSV",
            "FILE",
            "DENOISER",
            "PREDICTED",
            "TRUTH",
        )
    )
    assert isinstance(role, InputPath) == (names_input and name not in IRRELEVANT)
    if role is None:
        line = read_command_line(COMMANDS[command], {name: "value"})
        assert line.settings == {name: "value"}
        assert str not in get_args(annotation) or not names_input


def write(path, values, command="sdfkit render"):
    with create_store(
        str(path),
        "codes",
        rows=[Row(0, "a")],
        history=[{"version": "1", "command": command}],
        settings={},
        overwrite=True,
    ) as store:
        store.create_array("code", data=np.array(values, np.float32), axes=("shape", "dim"))
        store.write(Row(0, "a"))
    return str(path)


@pytest.mark.parametrize("name", ["x.zarr", "x.zarr.zip"])
def test_the_digest_of_a_store_depends_on_what_it_holds_only(tmp_path, name):
    first = digest_input(write(tmp_path / name, [[1, 2]]))
    assert digest_input(write(tmp_path / f"other_{name}", [[1, 2]], "sdfkit render --jobs 4")) == first
    assert digest_input(write(tmp_path / name, [[1, 3]])) != first


def test_texts_that_name_no_file_stand_for_themselves(tmp_path):
    assert digest_input("facebook/dinov2-base") == "facebook/dinov2-base"
    assert digest_input("-") == UNKNOWN
    assert digest_input("a" * 5000) == "a" * 5000
    assert digest_input("a\0b") == "a\0b"


def test_a_damaged_archive_has_a_digest(tmp_path):
    path = tmp_path / "x.zarr.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zarr.json", "[" * 100_000)
    whole = digest_input(str(path))
    path.write_bytes(path.read_bytes()[:-5])
    assert digest_input(str(path)) != whole


def test_settings_are_the_options_and_the_digests_of_inputs(tmp_path):
    features, codes = write(tmp_path / "f.zarr", [[1, 2]]), write(tmp_path / "c.zarr", [[3]])
    given = {"features": features, "codes": codes, "seed": 1, "preset": None, "output": "x.zarr", "lr": 0.1}
    with running(train_dit, given):
        found = complete_settings({"lr": 0.2}, by_row=False)
        assert complete_settings({}, by_row=True).keys() == {"codes", "seed", "lr"}
    assert found == {"seed": 1, "lr": 0.2, "features": digest_input(features), "codes": digest_input(codes)}
    write(tmp_path / "c.zarr", [[4]])
    with running(train_dit, given):
        changed = complete_settings({"lr": 0.2}, by_row=False)
    assert describe_difference(found, changed) == "codes: its content has changed"
    assert describe_difference(found, found | {"seed": 2}) == "seed: 1 then, 2 now"
    assert describe_difference(found, json.loads(json.dumps(found))) == ""
    assert complete_settings({"lr": 0.2}, by_row=False) == {"lr": 0.2}  # outside of a command


@pytest.mark.parametrize(
    ("name", "content", "others"),
    [
        (
            "a.gltf",
            '{"buffers": [{"uri": "my%20shape.bin"}], "images": [{"uri": "data:,"}]}',
            ["my shape.bin"],
        ),
        ("a.obj", "mtllib a.mtl\nv 0 0 0\n", ["a.mtl", "wood.png"]),
        ("a.dae", "<image><init_from>file://wood.png</init_from></image>", ["wood.png"]),
        ("a.ply", "ply\ncomment TextureFile wood.png\n", ["wood.png"]),
    ],
)
def test_a_mesh_is_known_with_the_files_it_refers_to(tmp_path, name, content, others):
    path = tmp_path / name
    path.write_text(content)
    alone = digest_mesh(path)
    for other in others:
        (tmp_path / other).write_text("map_Kd -s 1 1 1 wood.png\n" if other == "a.mtl" else "old")
    whole = digest_mesh(path)
    assert whole != alone
    Path(tmp_path, others[-1]).write_text("new")
    assert digest_mesh(path) not in (alone, whole)
    (tmp_path / "unrelated.bin").write_text("")
    assert digest_mesh(path) == digest_mesh(path)
