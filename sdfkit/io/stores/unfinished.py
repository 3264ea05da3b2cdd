"""Finds what unfinished runs keep beside their outputs; see `outputs` and `remote`."""

import re
from pathlib import Path

from sdfkit.errors import InputError
from sdfkit.io.outputs import beside
from sdfkit.io.stores.layout import local_path
from sdfkit.io.stores.remote import beside_url, is_there
from sdfkit.options import STANDARD
from sdfkit.wording import listed

# Names of stores that a run writes in place of its output, or of the states of a training at a URL.
UNFINISHED = re.compile(r"\.(.+)\.(new|part|state-[01])")


def describe_unfinished(path: str) -> str:
    """Say which unfinished run a store belongs to, or stands beside a store; empty if there is none.

    Args:
        path: A folder, file or URL, which need not exist.
    """
    name = path.rstrip("/").rpartition("/")[2]
    if found := UNFINISHED.fullmatch(name):
        return f"of a run that is going on or was stopped, and that will write {found[1]}"
    others = [Path(other).name for other in _beside(path)]
    if not others:
        return ""
    return (
        f"beside it: {listed(others)}, of a run that is going on or was stopped, and that will write {name}"
    )


def refuse_unfinished(path: str) -> None:
    """Raise InputError if nothing is at a path but an unfinished run has something beside it."""
    place = local_path(path)
    if path == STANDARD or (is_there(path) if place is None else place.exists()):
        return
    if unfinished := describe_unfinished(path):
        raise InputError(f"{path}: is not there yet; {unfinished}")


def _beside(path: str) -> list[str]:
    if path == STANDARD:
        return []
    place = local_path(path)
    if place is not None:
        return [str(other) for what in ("new", "part") if (other := beside(place, what)).exists()]
    others = [beside_url(path, what) for what in ("new", "state-0", "state-1")]
    return [other for other in others if is_there(other)]
