"""Whether an output on disk is an interrupted run of the same command, which may be continued."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdfkit.errors import InputError
from sdfkit.io.stores.reader import StoreReader, open_store


def find_unfinished(
    path: Path, kind: str, settings: Mapping[str, Any], uids: Sequence[str] | None, *, overwrite: bool
) -> bool:
    """Tell whether a folder holds an interrupted run of the same command, to be continued.

    Raises:
        InputError: It holds anything else, and may not be overwritten.
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
            f"{path}: holds an unfinished run with {difference}; finish that one, or add --overwrite"
        )
    return True


def _refuse_foreign(path: Path) -> None:
    """--overwrite replaces stores, never some other folder that happens to bear the name."""
    if path.is_dir() and any(path.iterdir()) and not (path / "zarr.json").is_file():
        raise InputError(f"{path}: a folder that is no store; it is not overwritten")


def _difference(
    store: StoreReader, kind: str, settings: Mapping[str, Any], uids: Sequence[str] | None
) -> str:
    if store.kind != kind:
        return f"{store.kind}, not {kind}"
    stored = store.attributes.get("settings", {})
    # Through JSON, as they were stored: tuples come back as lists.
    wanted = json.loads(json.dumps(dict(settings)))
    for name in sorted({*stored, *wanted}):
        if stored.get(name) != wanted.get(name):
            return f"{name} {stored.get(name)}, now {wanted.get(name)}"
    if uids is not None and list(uids) != store.read("uid").tolist():
        return "other shapes"
    return ""
