"""Rows of stores are copied as they are: arrays, labels, failures, what belongs to all rows, history and settings."""

import io
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from sdfkit.errors import InputError, UsageError
from sdfkit.io.digests import digest_input
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.writer import create_store
from sdfkit.io.tables.stores import settings_of
from tests.io.tables.conftest import attributes, contents, make_rows, run, write_store


def uids(path):
    return contents(path)["uid"][2]


@pytest.mark.parametrize("ending", [".zarr", ".zarr.zip"])
def test_the_parts_joined_are_the_store(tmp_path, ending):
    whole = write_store(tmp_path / f"whole{ending}", make_rows(7, failed=(2,)))
    parts = [tmp_path / f"part{number}{ending}" for number in (1, 2, 3)]
    for number, part in enumerate(parts, 1):
        run("select", [whole], part, part=f"{number}/3")
    run("cat", parts, tmp_path / f"joined{ending}")
    assert contents(tmp_path / f"joined{ending}") == contents(whole)


def test_chosen_rows_keep_everything_but_their_number(tmp_path):
    whole = write_store(tmp_path / "whole.zarr", make_rows(7, failed=(2,)), seed=4)
    run("select", [whole], tmp_path / "some.zarr", uid=["obj_0006", "obj_0002", "obj_0001"])
    before, after = contents(whole), contents(tmp_path / "some.zarr")
    assert after.keys() == before.keys()
    for name, (dtype, axes, values) in before.items():
        kept = values if name in ("loss", "decoder/layer.weight") else [values[row] for row in (1, 2, 6)]
        assert after[name] == (dtype, axes, kept), name
    old, new = attributes(whole), attributes(tmp_path / "some.zarr")
    assert new["decoder_sha256"] == "abc"
    assert new["settings"] == old["settings"] | {"select": {"uids": ["obj_0006", "obj_0002", "obj_0001"]}}
    assert new["history"][:-1] == old["history"]
    with open_store(str(tmp_path / "some.zarr"), manifest=None) as store:
        assert store.attributes_of("decoder") == {"hidden": 4}


def test_the_state_of_training_is_left_out(tmp_path):
    with create_store(
        str(tmp_path / "a.zarr"), "deepsdf", rows=make_rows(2), history=[], settings={}, overwrite=False
    ) as store:
        store.create_group("state", attributes={}, arrays={})
        for row in make_rows(2):
            store.write(row)
    run("select", [tmp_path / "a.zarr"], tmp_path / "b.zarr", first=1)
    assert not (tmp_path / "b.zarr/state").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"kind": "weights"},
            "holds weights, but a.zarr holds codes; only stores made in the same way are joined",
        ),
        ({"dim": 4}, "its array code has rows of float32 (dim 4), but that of a.zarr float32 (dim 3); "),
        ({"steps": 6}, "was made with other settings than a.zarr (steps: 5 there, 6 here); "),
        ({"clamp": 0.1}, "was made with other settings than a.zarr (clamp: None there, 0.1 here); "),
        ({"attributes": {"decoder_sha256": "abd"}}, "its decoder_sha256 is not that of a.zarr; "),
        ({"attributes": {}}, "its decoder_sha256 is not that of a.zarr; "),
        ({"decoder": 2.0}, "its decoder, which belongs to all rows, is not that of a.zarr; "),
    ],
)
def test_unlike_stores_are_refused_by_the_first_difference(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    write_store("a.zarr", make_rows(2))
    write_store("b.zarr", make_rows(2, start=2), **change)
    with pytest.raises(InputError) as caught:
        run("cat", ["a.zarr", "b.zarr"], "c.zarr")
    assert str(caught.value).startswith(f"b.zarr: {message}")
    assert not (tmp_path / "c.zarr").exists()


def test_an_array_that_only_one_store_has_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, arrays in {"a.zarr": ["code"], "b.zarr": ["code", "error_bound"]}.items():
        with create_store(
            name, "codes", rows=make_rows(1), history=[], settings={}, overwrite=False
        ) as store:
            for array in arrays:
                store.create_array(array, shape=(1,), dtype="f4", axes=("shape",))
            store.write(make_rows(1)[0])
    for inputs, message in [
        (["a.zarr", "b.zarr"], "b.zarr: has the array error_bound, unlike a.zarr; "),
        (["b.zarr", "a.zarr"], "a.zarr: has no array error_bound, unlike b.zarr; "),
    ]:
        with pytest.raises(InputError) as caught:
            run("cat", inputs, "c.zarr")
        assert str(caught.value).startswith(message)


def test_inputs_seeds_and_copies_may_differ(tmp_path):
    first = write_store(tmp_path / "a.zarr", make_rows(2), seed=1, samples="sha256:00", select={"first": 2})
    other = write_store(
        tmp_path / "b.zarr", make_rows(2, start=2), seed=2, samples="sha256:11", command="sdfkit fit-code b"
    )
    run("cat", [first, other], tmp_path / "c.zarr")
    facts = attributes(tmp_path / "c.zarr")
    assert facts["settings"] == {"steps": 5, "cat": {"rename": False}}
    commands = [step["command"] for step in facts["history"]]
    # The step of the running program, written by both stores, is there once.
    assert commands[0] == "sdfkit fit-code"
    assert "sdfkit fit-code b" in commands
    assert len(commands) == len({str(step) for step in facts["history"]})


def test_a_number_of_samples_is_no_input():
    facts = {"settings": {"samples": 4, "inputs": "sha256:00", "manifest": "standard input"}}
    assert settings_of(SimpleNamespace(attributes=facts)) == {"samples": 4}


@pytest.mark.parametrize("is_pipe", [False, True])
def test_doubled_uids_are_refused_or_renamed(tmp_path, pipe, is_pipe):
    for name in ("a", "b"):
        write_store(tmp_path / f"{name}.zarr.zip", make_rows(2))
    inputs = [tmp_path / "a.zarr.zip", tmp_path / "b.zarr.zip"]
    content = b"".join(path.read_bytes() for path in inputs)
    given = ["-"] if is_pipe else inputs
    with pytest.raises(
        InputError,
        match="has two rows with the uid obj_0000; sdfkit cat --rename calls the second one obj_0000_2",
    ):
        pipe(content, "cat", given, tmp_path / "c.zarr")
    pipe(content, "cat", given, tmp_path / "d.zarr", rename=True)
    assert uids(tmp_path / "d.zarr") == ["obj_0000", "obj_0001", "obj_0000_2", "obj_0001_2"]


def test_archives_on_a_pipe_are_joined_and_compared(tmp_path, pipe):
    parts = [
        write_store(tmp_path / f"{at}.zarr.zip", make_rows(2, start=at), known=at > 0) for at in (0, 2, 4)
    ]
    content = b"".join(part.read_bytes() for part in parts)
    pipe(content, "cat", ["-"], tmp_path / "joined.zarr")
    run("cat", parts, tmp_path / "same.zarr")
    assert contents(tmp_path / "joined.zarr", "origin") == contents(tmp_path / "same.zarr", "origin")
    for change, message in [
        (
            {"decoder": 2.0},
            "standard input: its decoder, which belongs to all rows, is not that of the store before it",
        ),
        ({"steps": 6}, "was made with other settings than the store before it (steps: 5 there, 6 here)"),
    ]:
        other = write_store(tmp_path / "other.zarr.zip", make_rows(2, start=6), **change)
        with pytest.raises(InputError) as caught:
            pipe(content + other.read_bytes(), "cat", ["-"], tmp_path / "refused.zarr")
        assert message in str(caught.value)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    "conditions",
    [
        {"uid": ["obj_0003", "obj_0005"]},
        {"glob": ["*[0-4]"], "category": ["chair"]},
        {"first": 3},
        {"valid": True},
        {"failed": True},
        {"share": 0.4, "seed": 2},
        {"number": 3},
        {"part": "2/3"},
        {"licence": ["CC0-1.0"], "first": 2},
    ],
    ids=str,
)
def test_a_pipe_gives_what_a_file_gives(tmp_path, pipe, known, conditions):
    whole = write_store(tmp_path / "whole.zarr.zip", make_rows(7, failed=(2, 5)), known=known)
    content = pipe(whole.read_bytes(), "select", **conditions)
    (tmp_path / "piped.zarr.zip").write_bytes(content)
    run("select", [whole], tmp_path / "direct.zarr.zip", **conditions)
    assert contents(tmp_path / "piped.zarr.zip") == contents(tmp_path / "direct.zarr.zip")


def test_a_chain_of_pipes_restores_the_store(tmp_path, pipe):
    whole = write_store(tmp_path / "whole.zarr.zip", make_rows(7, failed=(2,)))
    content = whole.read_bytes()
    parts = [pipe(content, "select", part=f"{number}/2") for number in (1, 2)]
    pipe(b"".join(parts), "cat", output=tmp_path / "x.zarr")
    assert contents(tmp_path / "x.zarr") == contents(whole)


def test_several_archives_are_selected_from_as_one(tmp_path, pipe):
    parts = [write_store(tmp_path / f"{at}.zarr.zip", make_rows(3, start=at)) for at in (0, 3)]
    content = b"".join(part.read_bytes() for part in parts)
    for number, (conditions, expected) in enumerate(
        [
            ({"uid": ["obj_0001", "obj_0004"]}, ["obj_0001", "obj_0004"]),
            ({"uid": ["obj_0004"]}, ["obj_0004"]),
            ({"first": 4}, ["obj_0000", "obj_0001", "obj_0002", "obj_0003"]),
            ({"part": "2/2"}, ["obj_0003", "obj_0004", "obj_0005"]),
        ]
    ):
        pipe(content, "select", ["-"], tmp_path / f"s{number}.zarr", **conditions)
        assert uids(tmp_path / f"s{number}.zarr") == expected


def test_what_a_pipe_does_not_hold_is_refused_and_leaves_no_output(tmp_path, pipe):
    content = write_store(tmp_path / "a.zarr.zip", make_rows(3)).read_bytes()
    for conditions in ({"uid": ["obj_0001", "x"]}, {"glob": ["x*"]}, {"category": ["sofa"]}):
        with pytest.raises(InputError, match="of its 3 rows"):
            pipe(content, "select", ["-"], tmp_path / "b.zarr.zip", **conditions)
        assert not (tmp_path / "b.zarr.zip").exists()
    with pytest.raises(InputError, match="ends early"):
        pipe(content[:-30], "select", ["-"], tmp_path / "b.zarr.zip", first=2)
    assert not (tmp_path / "b.zarr.zip").exists()


@pytest.mark.slow
def test_a_split_holds_out_the_same_shapes_of_every_store(tmp_path, pipe):
    rows = make_rows(9, failed=(1,))
    whole = write_store(tmp_path / "a.zarr.zip", rows)
    other = write_store(tmp_path / "b.zarr", rows[::-1], kind="weights")
    run("split", [whole], tmp_path / "one", held_out=0.3)
    run("split", [other], tmp_path / "two", held_out=0.3)
    pipe(whole.read_bytes(), "split", ["-"], tmp_path / "three", held_out=0.3)
    for name in ("train", "held-out"):
        first, second, third = (
            uids(tmp_path / f"{folder}/{name}.zarr") for folder in ("one", "two", "three")
        )
        assert first == second[::-1] == third
    both = uids(tmp_path / "one/train.zarr") + uids(tmp_path / "one/held-out.zarr")
    assert sorted(both) == [row.uid for row in rows]
    run("split", [whole], tmp_path / "kinds", held_out=0.3, by="category")
    kinds = contents(tmp_path / "kinds/held-out.zarr")["category"][2]
    assert len(set(kinds)) == 1
    assert kinds[0] not in contents(tmp_path / "kinds/train.zarr")["category"][2]


def test_the_same_command_continues_and_then_has_nothing_to_do(tmp_path, caplog):
    caplog.set_level("INFO")
    whole = write_store(tmp_path / "a.zarr", make_rows(4, failed=(3,)))
    output = tmp_path / "b.zarr"
    run("select", [whole], output, first=3)
    before = digest_input(str(output))
    # As if it had been killed before its last row.
    (output / "valid/c/2").unlink()
    (output / "zarr.json").write_text(
        (output / "zarr.json").read_text().replace('"complete": true', '"complete": false')
    )
    run("select", [whole], output, first=3)
    assert digest_input(str(output)) == before
    run("select", [whole], output, first=3)
    assert caplog.messages[-1] == f"{output}: is complete, and nothing was to be done"
    with pytest.raises(InputError, match="other shapes|select: "):
        run("select", [whole], output, first=2)
    run("select", [whole], output, first=2, overwrite=True)
    assert uids(output) == ["obj_0000", "obj_0001"]
    write_store(tmp_path / "a.zarr", make_rows(4, failed=(0,)))
    run("select", [whole], output, first=2)
    assert contents(output)["error"][2] == ["no surface", ""]


def test_inputs_of_several_kinds_and_plain_arrays_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_store("a.zarr", make_rows(2))
    np.save("plain.npy", np.zeros((2, 3)))
    (tmp_path / "m.json").write_text("{}")
    for inputs, message in [
        (["a.zarr", "m.json"], "m.json: holds a manifest, but a.zarr a store; give inputs of one kind"),
        (["plain.npy"], "plain.npy: is a plain NumPy array, whose rows have no uids; give a store"),
    ]:
        with pytest.raises(InputError) as caught:
            run("cat", inputs, "b.zarr")
        assert str(caught.value) == message
    with pytest.raises(UsageError, match="2 stores are given, but one is needed; join them with sdfkit cat"):
        run("select", ["a.zarr", "a.zarr"], "b.zarr", first=1)
    with pytest.raises(UsageError, match="standard input can be read only once"):
        run("cat", ["-", "-"], "b.zarr")
    with create_store("no_rows.zarr", "stats", history=[], settings={}, overwrite=False):
        pass
    with pytest.raises(InputError, match="no_rows.zarr: has stats without rows for shapes"):
        run("select", ["no_rows.zarr"], "b.zarr", first=1)


def test_manifest_labels_replace_those_of_the_store(tmp_path):
    whole = write_store(tmp_path / "a.zarr", make_rows(3))
    shape = {
        "uid": "obj_0001",
        "path": "x.ply",
        "category": "sofa",
        "licence": "",
        "source": "",
        "sha256": "",
    }
    manifest = tmp_path / "m.json"
    manifest.write_text(json.dumps({"format": 1, "shapes": [{"obj_idx": 0, **shape}]}))
    run("select", [whole], tmp_path / "b.zarr", category=["sofa"], manifest=manifest)
    assert contents(tmp_path / "b.zarr")["category"][2] == ["sofa"]


def test_a_stream_is_one_archive_with_all_columns_in_advance(tmp_path, pipe):
    """A second command in a pipe then knows the uids before the rows, and copies them as they arrive."""
    whole = write_store(tmp_path / "a.zarr", make_rows(5))
    content = pipe(b"", "select", [whole], part="1/2")
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert "uid/c/0" in names
    assert "uid/c/1" not in names
