"""Puts stores in their place at URLs, where nothing can be renamed at once.

A store is written in place, and is not complete until its last part is written. If it replaces another store, it is
first written beside it, under the name `.x.zarr.new`, and then moved. A run that is killed while it moves has left the
whole store there, and the next command of this output moves it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sdfkit.errors import InputError
from sdfkit.io.digests import UNKNOWN
from sdfkit.io.reuse import Earlier, describe_difference, describe_refusal, is_longer, refuse_done
from sdfkit.io.stores.layout import open_remote


def beside_url(url: str, what: str) -> str:
    """Return the URL of a hidden store beside another one; see `outputs.beside`."""
    folder, _, name = url.rstrip("/").rpartition("/")
    return f"{folder}/.{name}.{what}"


def find_remote(url: str, kind: str, settings: Mapping[str, Any]) -> Earlier | None:
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
            return Earlier(is_complete, difference, is_shorter=is_longer(stored, settings))
    except InputError:
        return Earlier(is_complete=True, difference="it is damaged")


def is_there(url: str) -> bool:
    """Return whether a store is at a URL."""
    import fsspec

    files, root = fsspec.core.url_to_fs(url)
    return bool(files.exists(f"{root.rstrip('/')}/zarr.json"))


def remove_remote(url: str) -> None:
    """Remove a store at a URL, if it exists."""
    import fsspec

    files, root = fsspec.core.url_to_fs(url)
    first = f"{root.rstrip('/')}/zarr.json"
    if files.exists(first):
        files.rm_file(first)  # what is left if the process is killed now does not look like a store
    if files.exists(root):
        files.rm(root, recursive=True)


def move_remote(source: str, url: str) -> None:
    """Put a whole store in the place of another one. The source stays until everything is in place."""
    import fsspec

    files, old = fsspec.core.url_to_fs(source)
    _, new = fsspec.core.url_to_fs(url)
    remove_remote(url)
    names = [path.removeprefix(old).lstrip("/") for path in files.find(old)]
    # The root comes last: without it, there is no store.
    for name in sorted(names, key=lambda name: name == "zarr.json"):
        target = f"{new.rstrip('/')}/{name}"
        files.makedirs(target.rpartition("/")[0], exist_ok=True)
        files.cp_file(f"{old.rstrip('/')}/{name}", target)
    remove_remote(source)


@contextmanager
def replace_remote(
    url: str, root: Mapping[str, Any], *, overwrite: bool, report: bool, as_folder: bool = False
) -> Iterator[Any]:
    """Yield an empty Zarr store for a store at a URL, which is complete when the block ends without an error.

    Args:
        url: The URL.
        root: Attributes of the root of the store, which the block writes with `complete` false.
        overwrite: Replace a store that was made by another command or from other inputs.
        report: Run the block even if the store is already there.
        as_folder: See `reuse.choose_place`.

    Raises:
        DoneError: The store is already there.
        InputError: There is another store, and `overwrite` is false.
    """
    import zarr

    kind, settings, new = root["kind"], root["settings"], beside_url(url, "new")
    waiting = find_remote(new, kind, settings)
    if waiting is not None and waiting.is_complete and not waiting.difference:
        move_remote(new, url)
    remove_remote(new)
    earlier = find_remote(url, kind, settings)
    is_done = earlier is not None and earlier.is_complete and not earlier.difference
    if is_done and not overwrite and (not report or UNKNOWN in settings.values()):
        refuse_done(url, settings)
    if earlier is not None and earlier.difference and not overwrite:
        raise InputError(describe_refusal(url, earlier, as_folder=as_folder))
    replaces = earlier is not None and (earlier.is_complete or bool(earlier.difference))
    place = new if replaces else url
    remove_remote(place)
    store = open_remote(place)
    yield store
    zarr.open_group(store, mode="r+").attrs.put(dict(root))
    if replaces:
        move_remote(new, url)
