"""The door to manifests: which shape is which, what it is, who made it and under which licence."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from sdfkit.errors import InputError

FORMAT = 1


@dataclass(frozen=True)
class Row:
    """One shape of a table: the columns that every stream carries."""

    index: int
    uid: str
    category: str = ""
    licence: str = ""
    source: str = ""
    error: str = ""


LABELS = ("category", "licence", "source")
R = TypeVar("R", bound=Row)


@dataclass(frozen=True)
class Entry:
    """One shape of a manifest; `obj_idx` is its place, as the paper numbers its shapes."""

    obj_idx: int
    uid: str
    path: str
    category: str
    licence: str
    source: str
    sha256: str


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unique(names: Iterable[str]) -> list[str]:
    """Make names unique in their order: chair, chair -> chair, chair_2.

    A number is taken only where no other name of the list already is that name.
    """
    names = list(names)
    taken, count = set(names), Counter[str]()
    result = []
    for name in names:
        count[name] += 1
        candidate = name
        if count[name] > 1:
            number = count[name]
            while (candidate := f"{name}_{number}") in taken:
                number += 1
            taken.add(candidate)
        result.append(candidate)
    return result


def write_manifest(path: Path, entries: Sequence[Entry], *, overwrite: bool) -> None:
    """Write `manifest.json`, whole or not at all: a list of shapes, and uid -> obj_idx beside it."""
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists; choose another name or add --overwrite")
    content = {
        "format": FORMAT,
        "shapes": [asdict(entry) for entry in entries],
        "obj_idx": {entry.uid: entry.obj_idx for entry in entries},
    }
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def read_manifest(path: Path) -> dict[str, Entry]:
    """The shapes of a manifest by uid, in the order of `obj_idx`.

    Raises:
        InputError: Not JSON, not a manifest, or two shapes share a uid.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] > FORMAT:
            raise InputError(f"{path}: manifest format {content['format']}, this sdfkit reads {FORMAT}; update it")
        entries = [Entry(**shape) for shape in content["shapes"]]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a manifest ({error}); make one with sdfkit manifest") from error
    shapes = {entry.uid: entry for entry in entries}
    if len(shapes) < len(entries):
        twice = next(uid for uid, n in Counter(entry.uid for entry in entries).items() if n > 1)
        raise InputError(f"{path}: {twice}: named twice; a uid names one shape")
    return shapes


def label(row: R, manifest: dict[str, Entry]) -> R:
    """Give a row the labels that a manifest has for its uid; a label the manifest lacks is kept as it is."""
    entry = manifest.get(row.uid)
    if entry is None:
        return row
    return replace(row, **{name: getattr(entry, name) or getattr(row, name) for name in LABELS})


def read_table(path: Path) -> dict[str, dict[str, str]]:
    """A CSV with a column `uid` or `file` and any of category, licence, source, by that first column."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        key = next((name for name in ("uid", "file") if name in (reader.fieldnames or ())), None)
        if key is None:
            raise InputError(f"{path}: no column uid or file in {reader.fieldnames}; name it so")
        return {row[key]: {name: (row.get(name) or "").strip() for name in LABELS} for row in reader}
