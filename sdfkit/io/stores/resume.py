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
        settings: Settings that must be equal to continue.
        uids: Uids of the shapes, which must be equal to continue; None to accept any.
        overwrite: Accept any store that is there; it will be replaced.

    Raises:
        InputError: The folder holds something else, which must not be overwritten.
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
            f"{path}: holds an unfinished run with {difference}; finish that run, or add --overwrite"
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
        return f"{store.kind}, not {kind}"
    stored = store.attributes.get("settings", {})
    # Converted to JSON and back, as the stored ones were: tuples become lists.
    wanted = json.loads(json.dumps(dict(settings)))
    for name in sorted({*stored, *wanted}):
        if stored.get(name) != wanted.get(name):
            return f"{name} {stored.get(name)}, now {wanted.get(name)}"
    if uids is not None and list(uids) != store.read("uid").tolist():
        return "other shapes"
    return ""
