"""Puts stores in their place at URLs, where nothing can be renamed at once and nothing can be locked.

A store is written in place, and is not complete until its last part is written. A store of known rows is continued
after an interruption, as a folder is. If a store replaces another one, it is first written beside it, under the name
`.x.zarr.new`, and then moved. A run that is killed while it moves has left the whole store there, and the next command
of this output moves it.

The store must show each object to all readers as soon as it is written, as S3 and its like do.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sdfkit.errors import InputError
from sdfkit.io.digests import UNKNOWN
from sdfkit.io.reuse import Earlier, describe_difference, describe_refusal, is_longer, refuse_done
from sdfkit.io.stores.layout import open_remote
from sdfkit.io.urls.files import open_files


def beside_url(url: str, what: str) -> str:
    """Return the URL of a hidden store beside another one; see `outputs.beside`."""
    folder, _, name = url.rstrip("/").rpartition("/")
    return f"{folder}/.{name}.{what}"


def find_remote(
    url: str, kind: str, settings: Mapping[str, Any], uids: Sequence[str] | None = None
) -> Earlier | None:
    """Compare the store at a URL with that which the running command writes; see `reuse.find_earlier`."""
    from sdfkit.io.stores.reader import open_store

    if not is_there(url):
        return None
    try:
        with open_store(url, manifest=None, partial=True) as store:
            is_complete, stored = (
                bool(store.attributes.get("complete", False)),
                store.attributes.get("settings", {}),
            )
            if store.kind != kind:
                return Earlier(is_complete, f"it writes {store.kind}, this one {kind}")
            difference = describe_difference(stored, settings)
            is_compared = not difference and uids is not None and "uid" in store
            is_same = not is_compared or store.read("uid").tolist() == list(uids or ())
            return Earlier(is_complete, difference, is_same, is_shorter=is_longer(stored, settings))
    except InputError:
        return Earlier(is_complete=True, difference="it is damaged")


def is_there(url: str) -> bool:
    """Return whether a store is at a URL."""
    files, root = open_files(url)
    return bool(files.exists(f"{root}/zarr.json"))


def remove_remote(url: str) -> None:
    """Remove a store at a URL, if it exists."""
    files, root = open_files(url)
    first = f"{root}/zarr.json"
    if files.exists(first):
        files.rm_file(first)  # what is left if the process is killed now does not look like a store
    if files.exists(root):
        files.rm(root, recursive=True)


def move_remote(source: str, url: str) -> None:
    """Put a whole store in the place of another one. The source stays until everything is in place."""
    files, old = open_files(source)
    _, new = open_files(url)
    remove_remote(url)
    names = [path.removeprefix(old).lstrip("/") for path in files.find(old)]
    # The root comes last: without it, there is no store.
    for name in sorted(names, key=lambda name: name == "zarr.json"):
        target = f"{new}/{name}"
        files.makedirs(target.rpartition("/")[0], exist_ok=True)
        files.cp_file(f"{old}/{name}", target)
    remove_remote(source)


@contextmanager
def replace_remote(url: str, root: Mapping[str, Any], *, overwrite: bool, report: bool) -> Iterator[Any]:
    """Yield an empty Zarr store for a store at a URL, which is complete when the block ends without an error.

    Args:
        url: The URL.
        root: Attributes of the root of the store, which the block writes with `complete` false.
        overwrite: Replace a store that was made by another command or from other inputs.
        report: Run the block even if the store is already there.

    Raises:
        DoneError: The store is already there.
        InputError: There is another store, and `overwrite` is false.
    """
    import zarr

    kind, settings, new = root["kind"], root["settings"], beside_url(url, "new")
    _finish_move(url, kind, settings)
    remove_remote(new)
    earlier = find_remote(url, kind, settings)
    is_done = earlier is not None and earlier.is_complete and not earlier.difference
    if is_done and not overwrite and (not report or UNKNOWN in settings.values()):
        refuse_done(url, settings)
    if earlier is not None and earlier.difference and not overwrite:
        raise InputError(describe_refusal(url, earlier))
    replaces = earlier is not None and (earlier.is_complete or bool(earlier.difference))
    place = new if replaces else url
    remove_remote(place)
    store = open_remote(place)
    yield store
    zarr.open_group(store, mode="r+").attrs.put(dict(root))
    if replaces:
        move_remote(new, url)


def _finish_move(url: str, kind: str, settings: Mapping[str, Any]) -> None:
    """Move the whole store of the same command that a killed run has left beside a URL."""
    waiting = find_remote(beside_url(url, "new"), kind, settings)
    if waiting is not None and waiting.is_complete and not waiting.difference:
        move_remote(beside_url(url, "new"), url)


class RemoteRows(NamedTuple):
    """Where the rows of a store at a URL are written, and whether that continues an earlier run."""

    store: Any
    continues: bool


@contextmanager
def write_rows(
    url: str, root: Mapping[str, Any], uids: Sequence[str], *, overwrite: bool
) -> Iterator[RemoteRows]:
    """Yield the Zarr store for rows at a URL, which is complete when the block ends without an error.

    An unfinished run of the same command is continued, and of a complete one the rows are compared with their inputs.

    Args:
        url: The URL.
        root: Attributes of the root of the store, which the block writes with `complete` false.
        uids: Uids of the rows.
        overwrite: Replace a store that was made by another command.

    Raises:
        InputError: There is another store, and `overwrite` is false.
    """
    import zarr

    kind, settings, new = root["kind"], root["settings"], beside_url(url, "new")
    _finish_move(url, kind, settings)
    place, earlier = url, _find_rows(url, kind, settings, uids)
    if earlier is not None and earlier.is_other and not overwrite:
        raise InputError(describe_refusal(url, earlier, as_folder=True))
    if earlier is not None and (earlier.is_other or (overwrite and earlier.is_complete)):
        place, earlier = new, _find_rows(new, kind, settings, uids)
    else:
        remove_remote(new)
    continues = earlier is not None and not earlier.is_other and _has_rows(place)
    if not continues:
        remove_remote(place)
    store = open_remote(place)
    yield RemoteRows(store, continues)
    attributes = zarr.open_group(store, mode="r+").attrs
    attributes.put({**{name: value for name, value in attributes.items() if name != "run"}, "complete": True})
    if place != url:
        move_remote(new, url)


def _find_rows(url: str, kind: str, settings: Mapping[str, Any], uids: Sequence[str]) -> Earlier | None:
    """Compare the store at a URL as `find_remote` does, unless a run was killed there before its first row.

    Such a run may have left only some of the columns, or a column of uids without its content.
    """
    earlier = find_remote(url, kind, settings, uids)
    return None if earlier is not None and not earlier.is_complete and not _has_rows(url) else earlier


def _has_rows(url: str) -> bool:
    files, root = open_files(url)
    return bool(files.exists(f"{root}/valid/c") and files.ls(f"{root}/valid/c", detail=False))
