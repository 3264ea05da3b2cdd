"""The door to manifests: which shape is which, what it is, who made it and under which licence."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from sdfkit.errors import InputError
from sdfkit.rows import LABELS, Row

FORMAT = 1
R = TypeVar("R", bound=Row)


@dataclass(frozen=True)
class Entry:
    """One shape of a manifest; `obj_idx` is its place, as the paper numbers its shapes.

    `path` leads from the manifest's folder to the mesh, so that both may move together.
    """

    obj_idx: int
    uid: str
    path: str
    category: str
    licence: str
    source: str
    sha256: str


def place(path: Path) -> Path:
    """Where a file lies, whatever way leads there; a link to a file is a file of its own."""
    return path.parent.resolve() / path.name


def read_manifest(path: Path) -> dict[str, Entry]:
    """The shapes of a manifest by uid, in the order they stand there.

    Raises:
        InputError: Not JSON, not a manifest, or two shapes share a uid.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] > FORMAT:
            newer = content["format"]
            raise InputError(f"{path}: manifest format {newer}, this sdfkit reads {FORMAT}; update it")
        entries = [Entry(**shape) for shape in content["shapes"]]
        if any(not isinstance(value, str) for entry in entries for value in list(asdict(entry).values())[1:]):
            raise TypeError("a label is not a text")
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a manifest ({error}); make one with sdfkit manifest") from error
    shapes = {entry.uid: entry for entry in entries}
    if len(shapes) < len(entries):
        twice = next(uid for uid, n in Counter(entry.uid for entry in entries).items() if n > 1)
        raise InputError(f"{path}: {twice}: named twice; a uid names one shape")
    return shapes


def label(row: R, manifest: Mapping[str, Entry]) -> R:
    """Give a row the labels that a manifest has for its uid; a label the manifest lacks is kept as it is.

    A sample of a shape has those of the shape.
    """
    entry = manifest.get(row.uid) or manifest.get(row.sample_of)
    if entry is None:
        return row
    return replace(row, **{name: getattr(entry, name) or getattr(row, name) for name in LABELS})
