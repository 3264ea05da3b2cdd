"""Copies rows of an input, a store, meshes or a manifest, to outputs of the same kind."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sdfkit.errors import InputError, UsageError
from sdfkit.io.outputs import refuse_existing
from sdfkit.io.stores.layout import local_path
from sdfkit.io.stores.store_reader import StoreReader
from sdfkit.io.stores.store_writer import StoreWriter
from sdfkit.io.stores.writer import create_store
from sdfkit.io.streams import find_kind, name_of, open_input, sniff
from sdfkit.io.tables.choosing import By, Conditions, Filter, choose, hold_out
from sdfkit.io.tables.joining import join_histories, join_settings, require_alike, with_own_uids
from sdfkit.io.tables.stores import (
    StoreTable,
    create_arrays,
    further_attributes,
    numbered,
    open_table,
    settings_of,
    write_row,
)
from sdfkit.options import STANDARD
from sdfkit.rows import Row
from sdfkit.runtime.progress import progress
from sdfkit.wording import counted

log = logging.getLogger(__name__)
Kind = Literal["store", "meshes", "manifest"]
# Returns the positions of the rows of each output. The name of the input is for messages.
Chooser = Callable[[Sequence[Row], str], Mapping[str, Sequence[int]]]


@dataclass(frozen=True)
class CopyOptions:
    """What all outputs of a command that copies rows have in common.

    Attributes:
        command: Name of the command, under which its settings are stored.
        settings: Settings of the command.
        unused: Names of its options, which are not stored one by one: the settings of a store remain those of the
            command that computed the rows.
        seed: Seed to record in the history; None for a command without random numbers.
        manifest: Manifest whose labels replace those of the input.
        overwrite: Replace existing outputs.
    """

    command: str
    settings: Mapping[str, Any]
    unused: Sequence[str]
    seed: int | None
    manifest: Path | None
    overwrite: bool

    def create(
        self, output: str, first: StoreTable, history: Sequence[Mapping[str, Any]], **rows: Any
    ) -> AbstractContextManager[StoreWriter]:
        """Open an output for rows of a store; see `create_store`. `settings` are by default those of the store."""
        settings = rows.pop("settings", None) or settings_of(first.store)
        return create_store(
            output, first.store.kind, history=history, settings=settings | {self.command: dict(self.settings)},
            attributes=further_attributes(first.store), seed=self.seed, overwrite=self.overwrite, resumable=True,
            unused=self.unused, **rows,
        )  # fmt: skip


def kind_of(inputs: Sequence[str]) -> Kind:
    """Return the kind of the rows of an input: a store, meshes, or a manifest.

    Raises:
        InputError: It is something else, or the inputs are of several kinds.
    """
    kinds = [_kind_of(path) for path in inputs]
    other = next((path for path, kind in zip(inputs, kinds, strict=True) if kind != kinds[0]), None)
    if other is not None:
        nouns = {"store": "a store", "meshes": "meshes", "manifest": "a manifest"}
        raise InputError(
            f"{name_of(other)}: holds {nouns[kinds[inputs.index(other)]]}, but {name_of(inputs[0])} "
            f"{nouns[kinds[0]]}; give inputs of one kind"
        )
    return kinds[0]


def _kind_of(path: str) -> Kind:
    if path == STANDARD:
        stream = open_input(path)
        if sniff(stream, name_of(path)) == "unknown" and stream.peek(64).lstrip().startswith(b"{"):
            return "manifest"
    elif Path(path).suffix.lower() == ".json" and Path(path).is_file():
        return "manifest"
    kind = find_kind(path)
    if kind == "arrays":
        raise InputError(f"{name_of(path)}: is a plain NumPy array, whose rows have no uids; give a store")
    return "store" if kind == "store" else "meshes"


def copy_chosen(inputs: Sequence[str], choose_rows: Chooser, options: CopyOptions) -> None:
    """Copy rows of an input to one or more outputs.

    Args:
        inputs: One store or manifest, or meshes; `-` for standard input.
        choose_rows: Chooses the rows of each output.
        options: What the outputs have in common.

    Raises:
        UsageError: Several stores or manifests are given.
        InputError: The input cannot be read, or an output exists and was made in another way.
    """
    kind = kind_of(inputs)
    if kind == "meshes":
        # Imported here, because the readers of meshes take four times as long to import as all that stores need.
        from sdfkit.io.tables.meshes import copy_meshes, open_mesh_table

        with open_mesh_table(inputs, manifest=options.manifest) as rows:
            for output, chosen in choose_rows(rows, name_of(inputs[0])).items():
                found = [rows[position] for position in chosen]
                made = copy_meshes(output, found, overwrite=options.overwrite)
                _report(output, found, len(rows), "mesh", made=made)
        return
    if len(inputs) > 1:
        nouns = "stores" if kind == "store" else "manifests"
        raise UsageError(f"{len(inputs)} {nouns} are given, but one is needed; join them with sdfkit cat")
    if kind == "manifest":
        from sdfkit.io.tables.manifests import read_entries, write_entries

        shapes = read_entries(inputs[0], manifest=options.manifest)
        rows_of = [row for row, _ in shapes]
        for output, chosen in choose_rows(rows_of, name_of(inputs[0])).items():
            made = write_entries(output, [shapes[row] for row in chosen], overwrite=options.overwrite)
            _report(output, [rows_of[row] for row in chosen], len(shapes), "shape", made=made)
        return
    with open_table(inputs[0], manifest=options.manifest, needs="all") as table:
        _copy_from_store(table, choose_rows, options)


def _copy_from_store(table: StoreTable, choose_rows: Chooser, options: CopyOptions) -> None:
    assert table.known is not None
    outputs = choose_rows(table.known, table.store.name)
    place = {position: output for output, chosen in outputs.items() for position in chosen}
    with ExitStack() as stack:
        writers, indices = {}, dict.fromkeys(outputs, 0)
        for output, chosen in outputs.items():
            rows = numbered([table.known[position] for position in chosen])
            writers[output] = stack.enter_context(
                options.create(output, table, table.store.history, rows=rows)
            )
            create_arrays(writers[output], table, len(rows))
        positions = sorted(place)
        bar = stack.enter_context(progress(len(positions), "row"))
        for position, row in zip(positions, table.read(positions), strict=True):
            output = place[position]
            write_row(writers[output], row, indices[output])
            indices[output] += 1
            bar.update()
    for output, chosen in outputs.items():
        rows = [table.known[position] for position in chosen]
        made = writers[output].made
        _report(output, rows, len(table.known), "row", f"of {table.store.kind}", made=made)


def copy_split(inputs: Sequence[str], folder: str, share: float, by: By, options: CopyOptions) -> None:
    """Copy the rows of an input to `train` and `held-out` in a folder, which is made if it does not exist.

    Args:
        inputs: As in `copy_chosen`.
        folder: The folder; a URL for stores and meshes.
        share: Share to hold out; see `choosing.hold_out`.
        by: What is held out.
        options: What the outputs have in common, with the seed.

    Raises:
        InputError: One of the two sets would be empty, or the folder is a file.
    """
    place = local_path(folder)
    ending = {"store": ".zarr", "meshes": "/", "manifest": ".json"}[kind_of(inputs)]

    def choose_rows(rows: Sequence[Row], name: str) -> dict[str, list[int]]:
        held_out = hold_out(rows, share, by, options.seed or 0, name)
        train = sorted({*range(len(rows))} - {*held_out})
        if place is not None and not place.is_dir():
            refuse_existing(place, overwrite=False)
            place.mkdir()
        start = folder.rstrip("/")
        return {f"{start}/train{ending}": train, f"{start}/held-out{ending}": held_out}

    copy_chosen(inputs, choose_rows, options)


def copy_matching(path: str, conditions: Conditions, output: str, options: CopyOptions) -> None:
    """Copy the rows of a store on a pipe that fulfil conditions which concern single rows, as they arrive.

    Raises:
        InputError: No row fulfils them, or one of them was never met.
    """
    with open_table(path, manifest=options.manifest, needs="labels") as table:
        if table.is_whole:
            _copy_from_store(table, lambda rows, name: {output: choose(rows, conditions, name)}, options)
            return
        name = table.store.name
        expected, kept = Filter(conditions, name), Filter(conditions, name)
        most = conditions.first
        count = sum(expected.matches(row) for row in table.known or ())
        written: list[Row] = []
        total = 0
        count = count if most is None else min(count, most)
        with options.create(output, table, table.store.history, count=count) as writer:
            create_arrays(writer, table, count)
            for row in table.read(check=lambda store: _check_following(table, store)):
                total += 1
                # All rows are read, so that the command at the other end of the pipe does not fail.
                if kept.matches(row) and (most is None or len(written) < most):
                    writer.write(replace(row, index=len(written)), **row.arrays)
                    written.append(row.columns(len(written)))
            kept.check()
            if not written:
                raise InputError(
                    f"{name}: none of its {counted(total, 'row')} fulfils all conditions; give fewer"
                )
        _report(output, written, total, "row", f"of {table.store.kind}")


def _check_following(first: StoreTable, store: StoreReader) -> None:
    require_alike(first, StoreTable(store, None, is_whole=False, is_stream=True))


def join(inputs: Sequence[str], output: str, options: CopyOptions, *, rename: bool) -> None:
    """Copy all rows of several inputs of one kind, one input after another.

    Args:
        inputs: Stores, manifests, or meshes; one may be `-`, which holds one store or several, one after another.
        output: The output.
        options: What to write into the output.
        rename: Append a number to a uid that occurs again.

    Raises:
        InputError: The inputs differ in more than their rows, or a uid occurs twice.
    """
    if list(inputs).count(STANDARD) > 1:
        raise UsageError("standard input can be read only once; give files for the other inputs")
    kind = kind_of(inputs)
    if kind == "meshes":
        from sdfkit.io.tables.meshes import copy_meshes, open_mesh_table

        with open_mesh_table(inputs, manifest=options.manifest) as meshes:
            made = copy_meshes(output, meshes, overwrite=options.overwrite)
            _report(output, meshes, len(meshes), "mesh", made=made)
    elif kind == "manifest":
        from sdfkit.io.tables.manifests import read_entries, write_entries

        shapes = [pair for path in inputs for pair in read_entries(path, manifest=options.manifest)]
        rows = list(with_own_uids(iter([row for row, _ in shapes]), rename=rename, name=_listed(inputs)))
        entries = [entry for _, entry in shapes]
        made = write_entries(output, list(zip(rows, entries, strict=True)), overwrite=options.overwrite)
        _report(output, rows, len(rows), "shape", made=made)
    else:
        _join_stores(inputs, output, options, rename=rename)


def _listed(inputs: Sequence[str]) -> str:
    return ", ".join(name_of(path) for path in inputs[:3]) + ", …" * (len(inputs) > 3)


def _join_stores(inputs: Sequence[str], output: str, options: CopyOptions, *, rename: bool) -> None:
    with ExitStack() as stack:
        tables = [
            stack.enter_context(open_table(path, manifest=options.manifest, needs="nothing"))
            for path in inputs
        ]
        first = tables[0]
        for other in tables[1:]:
            require_alike(first, other)
        name = _listed(inputs)
        known = [row for table in tables for row in table.known or ()]
        rows: dict[str, Any] = {"count": sum(map(len, tables))}
        if all(table.is_whole for table in tables):
            rows = {"rows": numbered(list(with_own_uids(iter(known), rename=rename, name=name)))}
        stores = [table.store for table in tables]
        written: list[Row] = []
        writer = stack.enter_context(
            options.create(
                output, first, join_histories([store.history for store in stores]),
                settings=join_settings(stores), **rows,
            )
        )  # fmt: skip
        create_arrays(writer, first, sum(map(len, tables)))
        arriving = (
            row for table in tables for row in table.read(check=lambda store: _check_following(first, store))
        )
        bar = stack.enter_context(progress(sum(map(len, tables)), "row"))
        for index, row in enumerate(with_own_uids(arriving, rename=rename, name=name)):
            write_row(writer, row, index)
            written.append(row.columns(index))
            bar.update()
    _report(output, written, len(written), "row", f"of {first.store.kind}", made=writer.made)


def _report(
    output: str, rows: Sequence[Row], total: int, noun: str, rest: str = "", *, made: int | None = None
) -> None:
    """Log in one sentence what was copied; `noun` and `rest` are those of `counted`.

    Args:
        output: The output.
        rows: Its rows.
        total: Number of rows of the input.
        noun: What the rows are.
        rest: Words that follow the noun.
        made: Number of rows or files that this run has copied, if an earlier run may have copied others.
    """
    place = "standard output" if output == STANDARD else output
    if made == 0:
        log.info("%s: is complete, and nothing was to be done", place)
        return
    failed = sum(bool(row.error) for row in rows)
    among = f"{len(rows)} of " if len(rows) < total else ""
    note = f"; {failed} of them failed in an earlier step" if failed else ""
    log.info("copied %s%s to %s%s", among, counted(total, noun, rest), place, note)
