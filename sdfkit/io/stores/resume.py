"""Detects whether an output folder is an interrupted run of the same command that can be continued."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdfkit.errors import InputError
from sdfkit.io.stores.reader import StoreReader, open_store


def find_unfinished(
    path: Path, kind: str, settings: Mapping[str, Any], uids: Sequence[str] | None, *, overwrite: bool
) -> bool:
    """Return whether a folder holds an interrupted run of the same command with the same settings and shapes.

    Args:
        path: The output folder, which need not exist.
        kind: Kind of the store that the command writes.
        settings: Settings of the command. A run is continued only if its settings are equal to these.
        uids: Uids of the shapes. A run is continued only if its uids are equal to these; None to accept any.
        overwrite: Return False for any existing store, because the caller will replace it.

    Raises:
        InputError: The folder holds a complete store, another run, or no store at all, and must not be overwritten.
    """
    if not path.exists():
        if not path.parent.is_dir():
            raise InputError(f"{path.parent}: no such folder; make it first")
        return False
    if overwrite:
        _refuse_foreign(path)
        return False
    with open_store(str(path), manifest=None, partial=True) as store:
        if store.attributes.get("complete", False):
            raise InputError(f"{path}: exists; choose another name or add --overwrite")
        difference = _difference(store, kind, settings, uids)
    if difference:
        raise InputError(
            f"{path}: holds an unfinished run that differs from this one ({difference}); finish that run with its own "
            "settings, or add --overwrite"
        )
    return True


def _refuse_foreign(path: Path) -> None:
    """Raise InputError for a folder that is not a store: --overwrite replaces only stores."""
    if path.is_dir() and any(path.iterdir()) and not (path / "zarr.json").is_file():
        raise InputError(
            f"{path}: is a folder but not a store, so it is not overwritten; choose another name"
        )


def _difference(
    store: StoreReader, kind: str, settings: Mapping[str, Any], uids: Sequence[str] | None
) -> str:
    if store.kind != kind:
        return f"it writes {store.kind}, this one {kind}"
    stored = store.attributes.get("settings", {})
    # Converted to JSON and back like the stored settings, which turns tuples into lists.
    wanted = json.loads(json.dumps(dict(settings)))
    for name in sorted({*stored, *wanted}):
        if stored.get(name) != wanted.get(name):
            return f"{name}: {stored.get(name)} then, {wanted.get(name)} now"
    if uids is not None and list(uids) != store.read("uid").tolist():
        return "other shapes"
    return ""
