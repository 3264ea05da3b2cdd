"""Small stores, the commands that copy their rows, and pipes within this process."""

import sys

import numpy as np
import pytest
import zarr

from sdfkit.commands.cat import cat
from sdfkit.commands.select import select
from sdfkit.commands.split import split
from sdfkit.io.stores.writer import create_store
from sdfkit.options import running
from sdfkit.rows import Row

COMMANDS = {"select": select, "split": split, "cat": cat}
COLUMNS = {"uid", "category", "licence", "source", "valid", "error", "origin", "input", "sample_of"}


def make_rows(count, start=0, failed=()):
    return [
        Row(
            index, f"obj_{start + index:04d}", ("chair", "table", "lamp")[index % 3], "CC0-1.0", origin=f"{index:016x}",
            error="no surface" if index in failed else "",
        )
        for index in range(count)
    ]  # fmt: skip


def write_store(
    path, rows, *, known=True, kind="codes", dim=3, attributes=None, decoder=1.0, command="sdfkit fit-code", **settings
):  # fmt: skip
    """Write a store whose arrays follow from the uids, with an array and a group that belong to all rows."""
    axes = ("shape", "row", "column")
    with create_store(
        str(path), kind, rows=rows if known else None, count=len(rows),
        history=[{"version": "1", "command": command}], settings={"steps": 5} | settings,
        attributes={"decoder_sha256": "abc"} if attributes is None else attributes, overwrite=True,
    ) as store:  # fmt: skip
        store.create_array("code", shape=(len(rows), dim), dtype="f4", axes=("shape", "dim"))
        store.create_array("picture", shape=(len(rows), 4, 5), dtype="u1", axes=axes, compress=True)
        store.create_array("loss", data=np.array([3.0, 2.0], np.float32), axes=("step",))
        weight = np.full((2, 2), decoder)
        store.create_group("decoder", attributes={"hidden": 4}, arrays={"layer.weight": weight})
        for row in rows:
            number = int(row.uid[4:8])
            arrays = {"code": np.full(dim, number, np.float32), "picture": np.full((4, 5), number, np.uint8)}
            store.write(row, **({} if row.error else arrays))
    return path


def contents(path, *left_out):
    """Return every array of a store by its name, but for the digests of inputs."""
    store = zarr.storage.ZipStore(path, mode="r") if str(path).endswith(".zip") else path
    group = zarr.open_group(store, mode="r")
    arrays = {name: node for name, node in group.members(max_depth=None) if isinstance(node, zarr.Array)}
    return {
        name: (array.dtype, array.metadata.dimension_names, array[...].tolist())
        for name, array in arrays.items()
        if name not in ("input", *left_out)
    }


def attributes(path):
    return dict(zarr.open_group(path, mode="r").attrs)


def run(command, inputs, output="-", **options):
    """Call a command as the program does, with its options known."""
    if command != "split" or output != "-":
        options["output"] = str(output)
    given = {"inputs": [str(path) for path in inputs], **options}
    with running(COMMANDS[command], given):
        COMMANDS[command](**given)


@pytest.fixture
def pipe(tmp_path, monkeypatch, capfdbinary):
    """Call a command with standard input from bytes, and return the bytes of its standard output."""

    def call(content, command, inputs=("-",), output="-", **options):
        path = tmp_path / "standard_input"
        path.write_bytes(content)
        capfdbinary.readouterr()
        with path.open() as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            run(command, inputs, output, **options)
        return capfdbinary.readouterr().out

    return call
