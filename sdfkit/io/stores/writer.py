"""Writes Zarr stores. A store appears when it is complete, or is written in place so that it can be continued."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from sdfkit.errors import InputError, UsageError
from sdfkit.io.digests import UNKNOWN, digest_input
from sdfkit.io.outputs import (
    beside,
    claim,
    is_stream,
    open_output,
    put,
    refuse_existing,
    remove,
    replaced,
    replaced_file,
)
from sdfkit.io.reuse import choose_place, complete_settings, refuse_done
from sdfkit.io.stores.array_files import check_main, holds_store, replace_arrays
from sdfkit.io.stores.earlier_rows import EarlierRows
from sdfkit.io.stores.layout import FORMAT, SUFFIXES, check_url, is_picture_folder, local_path
from sdfkit.io.stores.store_writer import StoreWriter
from sdfkit.options import STANDARD, running_command
from sdfkit.rows import Row, history_step

log = logging.getLogger(__name__)


@contextmanager
def create_store(
    output: str,
    kind: str,
    *,
    rows: Sequence[Row] | None = None,
    count: int | None = None,
    history: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    attributes: Mapping[str, Any] | None = None,
    seed: int | None = None,
    overwrite: bool,
    resumable: bool = False,
    retry_failed: bool = False,
    report: bool = False,
    unused: Collection[str] = (),
) -> Iterator[StoreWriter]:
    """Create a store that appears complete when the block ends without an error, or not at all.

    A `resumable` folder or URL with known `rows` is different: it is written in place, so that the same command can
    continue it after an interruption. Its attribute `complete` is false until the block ends. With `overwrite`, it is
    written beside an existing store, which it replaces in the end.

    Args:
        output: A folder `*.zarr`, a file `*.zip`, a URL, or `-` for standard output; `*.npz` for a file of NumPy
            arrays, `*.npy` for the main array alone; for views also a folder of another name, for pictures.
        kind: Kind of the store, such as "codes"; the manual page sdfkit-store(5) lists all kinds.
        rows: The rows, if they are known in advance.
        count: Number of rows, if only their number is known in advance.
        history: The commands that made the inputs, oldest first; the running command is appended.
        settings: Settings that the command derives from its options; see `reuse.complete_settings`. A later run
            continues this one only if all its settings are equal.
        attributes: Further attributes of the root.
        seed: Seed to record in the history.
        overwrite: Replace an existing store.
        resumable: Keep the rows that are written if the command is interrupted.
        retry_failed: Make the rows of an earlier run again that failed.
        report: The command also prints a report, so the block is run even if the store is already there.
        unused: Options that are no settings of their own.

    Raises:
        DoneError: The output is complete, and was made by the same command from the same inputs.
        InputError: The output exists and was made by another command or from other inputs, or another process writes
            it. If an input comes from standard input, this is found at the end of the block.
        UsageError: The output is not named like a store, is a file or a folder of pictures at a URL, or standard output
            is a terminal.
    """
    number = len(rows) if rows is not None else count
    path = local_path(output)
    is_table = resumable and rows is not None
    in_place = is_table and (path is None or path.suffix == ".zarr")
    is_pipe = output == STANDARD or (path is not None and is_stream(path))
    if path is None:
        check_url(output, kind)
    is_folder = kind == "views" and not is_pipe and is_picture_folder(output)
    root = describe_root(
        kind,
        complete_settings(settings, by_row=in_place or is_pipe or is_folder, unused=unused),
        history,
        seed,
        attributes,
    )
    if is_folder:
        from sdfkit.io.pictures.writer import create_pictures

        with create_pictures(output, root, overwrite=overwrite) as pictures:
            yield cast(StoreWriter, pictures)  # which has what writers of views use
    elif is_pipe:
        with (
            open_output(output, overwrite=overwrite) as stream,
            write_zip(stream, root, rows, number, may_restart=True) as writer,
        ):
            yield writer
    elif path is None and rows is not None and in_place:
        from sdfkit.io.stores.remote import write_rows

        with write_rows(output, root, [row.uid for row in rows], overwrite=overwrite) as remote:
            yield StoreWriter(
                remote.store, {} if remote.continues else {**root, "complete": False}, rows, number, in_order=False,
                tracks_inputs=True, retry_failed=retry_failed, claimed=output,
            )  # fmt: skip
    elif path is None:
        from sdfkit.io.stores.remote import replace_remote

        with replace_remote(output, root, overwrite=overwrite, report=report) as store:
            yield StoreWriter(store, root | {"complete": False}, rows, number, in_order=False, claimed=output)
    elif path is not None and rows is not None and in_place:
        with claim(path):
            yield from _write_in_place(path, root, rows, overwrite=overwrite, retry_failed=retry_failed)
    else:
        check_name(path, SUFFIXES, ", or *.npz" + ", or name/ for pictures" * (kind == "views"))
        check_main(path, kind)
        with claim(path):
            if path.suffix == ".npy" or (path.suffix == ".npz" and not holds_store(path)):
                refuse_existing(path, overwrite)  # such a file does not say how it was made
                with replace_store(path, root, rows, number) as writer:
                    yield writer
                return
            uids = None if rows is None else [row.uid for row in rows]
            place, earlier, _ = choose_place(
                path, kind, root["settings"], uids, overwrite=overwrite, as_folder=is_table
            )
            is_there = earlier is not None and earlier.is_complete and place == path
            if is_there and UNKNOWN in root["settings"].values():
                with _compare_store(path, root, rows, number) as writer:
                    yield writer
                if not (report or writer.failed):
                    refuse_done(path, {})
                return
            if is_there and not report:
                refuse_done(path, root["settings"])
            with replace_store(path, root, rows, number, claimed=path) as writer:
                yield writer


@contextmanager
def _compare_store(
    path: Path, root: Mapping[str, Any], rows: Sequence[Row] | None, number: int | None
) -> Iterator[StoreWriter]:
    """Write a store beside another one, and remove it in the end, when both are found to be equal.

    An input that comes through a pipe is known only once it has been read.

    Raises:
        InputError: They differ.
    """
    new = beside(path, "new")
    try:
        with replace_store(new, root, rows, number) as writer:
            yield writer
        if digest_input(str(new)) != digest_input(str(path)):
            raise InputError(f"{path}: exists with another content; choose another name or add --overwrite")
    finally:
        remove(new)


def describe_root(
    kind: str,
    settings: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    seed: int | None,
    attributes: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the attributes of the root of a store; see `create_store`."""
    return {
        "kind": kind,
        "format": FORMAT,
        "complete": True,
        "history": [*history, history_step(seed, is_command=running_command() is not None)],
        "settings": dict(settings),
        **(attributes or {}),
    }


def check_name(path: Path, suffixes: Collection[str] = (".zarr", ".zip"), more: str = "") -> None:
    """Raise UsageError, which names also `more` possibilities, unless a path has one of the suffixes of stores."""
    if path.suffix not in suffixes:
        raise UsageError(
            f"{path}: is not a name for a store; use *.zarr (a folder) or *.zarr.zip (one file){more}"
        )


@contextmanager
def write_zip(
    stream: BinaryIO,
    root: Mapping[str, Any],
    rows: Sequence[Row] | None,
    number: int | None,
    *,
    may_restart: bool = False,
) -> Iterator[StoreWriter]:
    """Write a store to a stream as a zip archive, which is complete when the block ends without an error."""
    from sdfkit.io.stores.archives.zip_writer import ZipWriter

    zipped = ZipWriter(stream)
    writer = StoreWriter(zipped, root, rows, number, in_order=True, may_restart=may_restart)
    yield writer
    writer.flush()
    zipped.finish()


@contextmanager
def replace_store(
    path: Path,
    root: Mapping[str, Any],
    rows: Sequence[Row] | None,
    number: int | None,
    *,
    claimed: Path | None = None,
) -> Iterator[StoreWriter]:
    """Write a store that replaces what is at a path when the block ends: a folder, zip or NumPy file by its name.

    Other machines may write rows of a folder if this process has `claimed` a path for it.
    """
    if path.suffix in (".npz", ".npy"):
        with replace_arrays(path, root, rows, number) as writer:
            yield writer
        return
    if path.name.removesuffix(".new").endswith(".zip"):  # beside an output, `.x.zarr.zip.new`
        with replaced_file(path) as stream, write_zip(stream, root, rows, number) as writer:
            yield writer
        return
    with replaced(path) as part:
        yield StoreWriter(part, root, rows, number, in_order=False, claimed=claimed)


def _write_in_place(
    path: Path, root: Mapping[str, Any], rows: Sequence[Row], *, overwrite: bool, retry_failed: bool
) -> Iterator[StoreWriter]:
    """Write a folder in place. After an error, the folder is kept if at least one row is complete."""
    place, earlier, source = choose_place(
        path,
        root["kind"],
        root["settings"],
        [row.uid for row in rows],
        overwrite=overwrite,
        takes_over="rows",
    )
    attributes = {} if earlier is not None else {**root, "complete": False}
    kept = None if source is None else EarlierRows(source, retry_failed=retry_failed)
    writer = StoreWriter(
        place,
        attributes,
        rows,
        len(rows),
        in_order=False,
        tracks_inputs=True,
        retry_failed=retry_failed,
        earlier=kept,
        claimed=path,
    )
    try:
        yield writer
    except BaseException:
        if earlier is None and not writer.done:
            remove(place)
        raise
    if not writer.group.attrs["complete"]:
        writer.group.attrs["complete"] = True
    if place != path:
        put(place, path)
    if kept is not None:
        log.info("%s: %s", path, kept.describe(rows, writer.made))
