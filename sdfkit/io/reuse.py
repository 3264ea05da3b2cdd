"""Decides what of an earlier output may be kept: what was made with the same settings from inputs of the same content.

The settings of a command are all its options (see `options.CommandLine`), with the digest of each input in place of its
path. They are stored in the output. An output that is written row by row also stores the digest of each row's input.
"""

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sdfkit.errors import DoneError, InputError
from sdfkit.io.digests import MARK, UNKNOWN, digest_input
from sdfkit.io.manifests import with_listed
from sdfkit.io.outputs import beside, remove
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.store_reader import StoreReader
from sdfkit.options import STANDARD, running_command
from sdfkit.rows import printable
from sdfkit.wording import counted, listed

# Settings that say how long a training is.
LENGTHS = ("steps", "epochs")
CHANGED = "its content has changed"
FOLDER_KEEPS = "; only a folder on this machine (*.zarr) keeps the rows of inputs that have not changed"


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
        # --manifest has only labels, but a manifest among the inputs stands for the meshes that it lists.
        name: "+".join(
            stream() if path == STANDARD else _digest_named(path)
            for path in (paths if name == "manifest" else with_listed(paths))
        )
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
            return f"{name}: {CHANGED}"
        return f"{name}: {then} then, {now} now"
    return ""


class Earlier(NamedTuple):
    """A store at the path of an output.

    Attributes:
        is_complete: Whether the run that wrote it has finished.
        difference: How that run differs from this one, but for its shapes; empty if it does not.
        has_same_shapes: Whether it holds the shapes of this run, in the same order.
        lost: Uids of the shapes in it that this run does not have.
        is_shorter: Whether this run differs from it only in that it trains for more steps.
    """

    is_complete: bool
    difference: str
    has_same_shapes: bool = True
    lost: Sequence[str] = ()
    is_shorter: bool = False

    @property
    def is_other(self) -> bool:
        """Whether it is not a store of this run, finished or not."""
        return bool(self.difference) or not self.has_same_shapes


class Place(NamedTuple):
    """Where a run writes.

    Attributes:
        path: The store to write: the output, or a store beside it that will replace it.
        earlier: The store at that path that the run continues, or whose rows it checks; None if there is none.
        source: The output, if it stays until then and the run takes over what is equal of it: rows, or the state of a
            training. None if there is nothing to take over.
    """

    path: Path
    earlier: Earlier | None
    source: Path | None = None


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
        found = None if is_empty else _compare(store, kind, settings, uids)
    if found is None:
        remove(path)  # the run was killed before its first row
        return None
    return found._replace(is_complete=is_complete)


def _has_no_rows(path: Path) -> bool:
    rows = path / "valid" / "c"
    return path.is_dir() and not (rows.is_dir() and any(row.name.isdecimal() for row in rows.iterdir()))


def _compare(
    store: StoreReader, kind: str, settings: Mapping[str, Any], uids: Sequence[str] | None
) -> Earlier:
    if store.kind != kind:
        return Earlier(False, f"it writes {store.kind}, this one {kind}")
    stored = store.attributes.get("settings", {})
    difference = describe_difference(stored, settings)
    there = [] if difference or uids is None else store.read("uid").tolist()
    lost = sorted({*there} - {*(uids or ())})
    is_same = bool(difference) or uids is None or there == list(uids)
    return Earlier(False, difference, is_same, lost, is_longer(stored, settings))


def is_longer(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether the settings of a training differ from those of an earlier one only in that it is longer."""
    wanted = json.loads(json.dumps(dict(wanted)))
    if describe_difference(_without(stored, LENGTHS), _without(wanted, LENGTHS)):
        return False
    lengths = [(stored[name], wanted[name]) for name in LENGTHS if name in stored and name in wanted]
    # Trainings in several stages have a number of steps for each of them.
    steps = [
        (then[stage], now[stage]) if isinstance(then, dict) else (then, now)
        for then, now in lengths
        for stage in (then if isinstance(then, dict) else ("",))
    ]
    return any(then < now for then, now in steps) and all(then <= now for then, now in steps)


def _without(settings: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


def choose_place(
    path: Path,
    kind: str,
    settings: Mapping[str, Any],
    uids: Sequence[str] | None,
    *,
    overwrite: bool,
    takes_over: Literal["nothing", "rows", "steps"] = "nothing",
    as_folder: bool = False,
) -> Place:
    """Choose where to write, and what of an earlier run to continue; see `Place`.

    An unfinished run of the same command is continued, with `overwrite` too. What else is at the path stays until a
    new store beside it is complete. The caller holds the output; see `outputs.claim`.

    Args:
        path: The output.
        kind: Kind of the store.
        settings: All settings of the command.
        uids: Uids of the shapes; None to compare without them.
        overwrite: Replace an output that was made in another way.
        takes_over: What of an output that was made in nearly the same way is taken over. rows: those of the same
            shapes, from an output of other shapes; if shapes would be lost, only with `overwrite`. steps: those of a
            complete shorter training, unless `overwrite` is given.
        as_folder: A folder would keep the rows whose inputs are equal; said if the inputs differ.

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
    if earlier is None or not (earlier.is_other or (overwrite and earlier.is_complete)):
        remove(new)
        return Place(path, earlier)
    keeps_rows = (
        takes_over == "rows" and path.is_dir() and not earlier.difference and not earlier.has_same_shapes
    )
    keeps_steps = takes_over == "steps" and earlier.is_complete and earlier.is_shorter and not overwrite
    if keeps_rows and earlier.lost and not overwrite:
        raise InputError(
            f"{path}: holds {counted(len(earlier.lost), 'shape')} that the input lacks ({listed(earlier.lost)}); add "
            "--overwrite to leave them out, which keeps the others, or choose another name"
        )
    if not (overwrite or keeps_rows or keeps_steps):
        raise InputError(describe_refusal(path, earlier, as_folder=as_folder))
    try:
        begun = find_earlier(new, kind, settings, uids)
    except InputError:
        begun = Earlier(is_complete=False, difference="it is damaged")
    if begun is not None and begun.is_other:
        remove(new)
        begun = None
    return Place(new, begun, path if keeps_rows or keeps_steps else None)


def describe_refusal(path: str | Path, earlier: Earlier, *, as_folder: bool = False) -> str:
    """Say why an output is not overwritten; see `choose_place`."""
    difference = earlier.difference or "other shapes"
    if earlier.is_complete:
        is_of_shapes = not earlier.difference or difference.endswith(CHANGED)
        hint = FOLDER_KEEPS if as_folder and is_of_shapes else ""
        reason = f"it was made in another way: {difference}"
        return f"{path}: exists; choose another name or add --overwrite ({reason}){hint}"
    return (
        f"{path}: holds an unfinished run that differs from this one ({difference}); finish that run with its own "
        "settings, or add --overwrite"
    )


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
