"""Decides what of an earlier output may be kept: what was made with the same settings from inputs of the same content.

The settings of a command are all its options (see `options.CommandLine`), with the digest of each input in place of its
path. They are stored in the output. An output that is written row by row also stores the digest of each row's input.
"""

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sdfkit.errors import DoneError, InputError
from sdfkit.io.digests import MARK, UNKNOWN, digest_input
from sdfkit.io.outputs import beside, remove
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.store_reader import StoreReader
from sdfkit.options import STANDARD, running_command
from sdfkit.rows import printable


def complete_settings(
    own: Mapping[str, Any],
    *,
    by_row: bool,
    stream: Callable[[], str] = lambda: UNKNOWN,
    unused: Collection[str] = (),
) -> dict[str, Any]:
    """Return all settings of the running command.

    Args:
        own: Settings that the command derives from its options, such as those of a preset. They replace options of the
            same name, but not the digest of an input of the same name.
        by_row: Whether the output stores the digest of each row's input. If not, the inputs that have a row per shape
            are compared as a whole.
        unused: Options that do not apply with these settings.
        stream: Function that returns the digest of standard input, if the command has read it.
    """
    line = running_command()
    if line is None:
        return dict(own)
    inputs = {**line.inputs, **({} if by_row else line.rows)}
    digests = {
        name: "+".join(stream() if path == STANDARD else _digest_named(path) for path in paths)
        for name, paths in inputs.items()
    }
    options = {name: value for name, value in line.settings.items() if name not in unused}
    known = {name: digest for name, digest in digests.items() if UNKNOWN not in digest or name not in own}
    return {**options, **digests, **own, **known}


def _digest_named(path: str) -> str:
    """Return the digest of an input, with the name of a mesh or picture, which may become the name of a shape."""
    named = Path(path).suffix.lower() not in ("", ".zarr", ".zip", ".npy", ".npz", ".json", ".csv")
    return f"{digest_input(path)} {printable(Path(path).name)}" if named else digest_input(path)


def describe_difference(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Describe the first setting that differs; empty if all are equal."""
    # Converted to JSON and back like the stored settings, which turns tuples into lists.
    wanted = json.loads(json.dumps(dict(wanted)))
    differing = [name for name in sorted({*stored, *wanted}) if stored.get(name) != wanted.get(name)]
    # Options come first: a digest may differ because an option does.
    for name in sorted(differing, key=lambda name: str(wanted.get(name)).startswith(MARK)):
        then, now = stored.get(name), wanted.get(name)
        if str(then).startswith(MARK) and str(now).startswith(MARK):
            return f"{name}: its content has changed"
        return f"{name}: {then} then, {now} now"
    return ""


class Earlier(NamedTuple):
    """A store at the path of an output.

    Attributes:
        is_complete: Whether the run that wrote it has finished.
        difference: How that run differs from this one; empty if it does not.
    """

    is_complete: bool
    difference: str


class Place(NamedTuple):
    """Where a run writes.

    Attributes:
        path: The store to write: the output, or a store beside it that will replace it.
        earlier: The store at that path that the run continues, or whose rows it checks; None if there is none.
    """

    path: Path
    earlier: Earlier | None


def find_earlier(
    path: Path, kind: str, settings: Mapping[str, Any], uids: Sequence[str] | None
) -> Earlier | None:
    """Compare the store at a path with that which the running command writes.

    Args:
        path: A folder or file, which need not exist.
        kind: Kind of the store that the command writes.
        settings: All settings of the command.
        uids: Uids of the shapes; None to compare without them.

    Raises:
        InputError: The path holds no store, or a damaged one.
    """
    if not path.exists():
        return None
    if path.is_dir() and not (path / "zarr.json").exists():
        if any(name for _, _, files in os.walk(path) for name in files if not name.endswith(".partial")):
            raise InputError(
                f"{path}: is a folder but not a store, so it is not overwritten; choose another name"
            )
        remove(path)  # the run was killed before its first file was whole
        return None
    with open_store(str(path), manifest=None, partial=True) as store:
        is_complete = bool(store.attributes.get("complete", False))
        is_empty = "history" in store.attributes and not is_complete and _has_no_rows(path)
        difference = "" if is_empty else _describe_other(store, kind, settings, uids)
    if is_empty:
        remove(path)  # the run was killed before its first row
        return None
    return Earlier(is_complete, difference)


def _has_no_rows(path: Path) -> bool:
    rows = path / "valid" / "c"
    return path.is_dir() and not (rows.is_dir() and any(row.name.isdecimal() for row in rows.iterdir()))


def _describe_other(
    store: StoreReader, kind: str, settings: Mapping[str, Any], uids: Sequence[str] | None
) -> str:
    if store.kind != kind:
        return f"it writes {store.kind}, this one {kind}"
    difference = describe_difference(store.attributes.get("settings", {}), settings)
    if not difference and uids is not None and list(uids) != store.read("uid").tolist():
        return "other shapes"
    return difference


def choose_place(
    path: Path, kind: str, settings: Mapping[str, Any], uids: Sequence[str] | None, *, overwrite: bool
) -> Place:
    """Choose where to write, and what of an earlier run to continue; see `Place`.

    An unfinished run of the same command is continued, with `overwrite` too. What else is at the path stays until a
    new store beside it is complete. The caller holds the output; see `outputs.claim`.

    Raises:
        InputError: The output exists, was made by another command or from other inputs, and must not be overwritten.
    """
    new = beside(path, "new")
    try:
        earlier = find_earlier(path, kind, settings, uids)
    except InputError:
        if not overwrite or _is_foreign(path):
            raise
        earlier = Earlier(is_complete=True, difference="it is damaged")
    if earlier is None or not (earlier.difference or (overwrite and earlier.is_complete)):
        remove(new)
        return Place(path, earlier)
    if not overwrite:
        if earlier.is_complete:
            raise InputError(
                f"{path}: exists; choose another name or add --overwrite (it was made in another way: "
                f"{earlier.difference})"
            )
        raise InputError(
            f"{path}: holds an unfinished run that differs from this one ({earlier.difference}); finish that run with "
            "its own settings, or add --overwrite"
        )
    try:
        begun = find_earlier(new, kind, settings, uids)
    except InputError:
        begun = Earlier(is_complete=False, difference="it is damaged")
    if begun is not None and begun.difference:
        remove(new)
        begun = None
    return Place(new, begun)


def _is_foreign(path: Path) -> bool:
    """Return whether a path holds something else than a store, which is never overwritten."""
    return path.is_dir() and not (path / "zarr.json").exists()


def refuse_done(path: str | Path, settings: Mapping[str, Any]) -> None:
    """Raise an error for an output that is complete and was made with the same settings.

    Raises:
        DoneError: It was made from the same inputs.
        InputError: An input comes from standard input, so whether it is the same is not known.
    """
    if UNKNOWN in settings.values():
        raise InputError(f"{path}: exists; choose another name or add --overwrite")
    raise DoneError(f"{path}: is complete, and nothing was to be done")
