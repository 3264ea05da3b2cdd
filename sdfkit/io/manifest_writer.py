"""The writing half of the door to manifests: mesh files, and what tells their labels."""

import csv
import hashlib
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdfkit.errors import InputError, MissingError
from sdfkit.io.manifests import FORMAT, Entry, place
from sdfkit.io.meshes.reader import find_meshes, read_info
from sdfkit.io.streams import MESH_SUFFIXES, open_output
from sdfkit.options import STANDARD
from sdfkit.rows import LABELS, unique

log = logging.getLogger(__name__)


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def create_manifest(output: str, *, overwrite: bool) -> Iterator[list[Entry]]:
    """A list to fill with shapes, in the order of `obj_idx`; it is written when the block ends without error.

    The file holds the list, and `obj_idx` by uid beside it.

    Args:
        output: A file, which appears whole or not at all, or `-` for standard output.
        overwrite: Replace what is there.

    Raises:
        InputError: The file exists; told before the block begins.
    """
    entries: list[Entry] = []
    if output == STANDARD:
        yield entries
        sys.stdout.write(_dump(entries))
        return
    with open_output(output, overwrite=overwrite) as stream:
        yield entries
        stream.write(_dump(entries).encode())


def _dump(entries: Sequence[Entry]) -> str:
    content = {
        "format": FORMAT,
        "shapes": [asdict(entry) for entry in entries],
        "obj_idx": {entry.uid: entry.obj_idx for entry in entries},
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def list_shapes(
    inputs: Sequence[str], folder: Path, *, table: Path | None, lvis: bool, licence: str, source: str
) -> list[Entry]:
    """Describe mesh files. A label comes from the first that has it: the table, LVIS, the file, its folder.

    Args:
        inputs: Mesh files, and folders of them at any depth; one that is named twice counts once.
        folder: What the paths of the entries begin at.
        table: A CSV of labels, see `read_table`.
        lvis: Ask Objaverse, whose files are named by their uid.
        licence: Of shapes of which nothing else tells it.
        source: Likewise.

    Raises:
        InputError: No meshes, or labels that match none of them.
        MissingError: Objaverse's package or its annotations are not here.
    """
    if STANDARD in inputs:
        raise InputError("standard input: a manifest names files; name them, or their folder")
    # The way to the mesh from the folder that was named: where it has several steps, the first is a category.
    ways = {
        place(path): path.relative_to(name) if Path(name).is_dir() else Path(path.name)
        for name in inputs
        for path in find_meshes([name])
    }
    foreign = next((path for path in ways if path.suffix.lower() not in MESH_SUFFIXES), None)
    if foreign is not None:
        raise InputError(
            f"{foreign.name}: not a mesh by its ending ({', '.join(MESH_SUFFIXES)}); name its folder instead"
        )
    infos = [read_info(path) for path in ways]
    uids = unique(str(info.get("uid") or path.stem) for path, info in zip(ways, infos, strict=True))
    files = [way.as_posix() for way in ways.values()]
    tables = [_match(table, uids, files)] if table else []
    if lvis:
        tables.append(_ask_objaverse(uids))
    entries = []
    for index, (uid, info, (path, way)) in enumerate(zip(uids, infos, ways.items(), strict=True)):
        # Objaverse keeps its files in folders that are mere numbers.
        category = way.parts[0] if len(way.parts) > 1 and not lvis else ""
        default = {"category": category, "licence": licence, "source": source}
        known: list[Mapping[str, Any]] = [*(labels.get(uid, {}) for labels in tables), info, default]
        found = {name: next((str(part[name]) for part in known if part.get(name)), "") for name in LABELS}
        relative = Path(os.path.relpath(path, folder.resolve())).as_posix()
        entries.append(Entry(index, uid, relative, **found, sha256=digest(path)))
    return entries


def read_table(path: Path) -> tuple[str, dict[str, dict[str, str]]]:
    """A CSV with a column `uid` or `file`, and any of category, licence (or license) and source.

    Returns:
        The name of that first column, and the labels by what it holds.

    Raises:
        InputError: Not a CSV, columns that are not there, or two rows about one shape.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            reader = csv.DictReader(file)
            columns = {("licence" if name == "license" else name): name for name in reader.fieldnames or ()}
            rows = list(reader)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read as CSV ({error}); save it as UTF-8") from error
    key = next((name for name in ("uid", "file") if name in columns), None)
    if key is None:
        raise InputError(f"{path}: no column uid or file in {list(columns)}; name it so")
    labels = [name for name in LABELS if name in columns]
    if not labels:
        raise InputError(f"{path}: no column category, licence or source in {list(columns)}; name it so")
    keys = [(row[columns[key]] or "").strip() for row in rows]
    table = {
        about: {name: (row[columns[name]] or "").strip() for name in labels}
        for about, row in zip(keys, rows, strict=True)
    }
    if len(table) < len(rows):
        twice = next(about for about, n in Counter(keys).items() if n > 1)
        raise InputError(f"{path}: {twice}: two rows; keep one")
    return key, table


def _match(path: Path, uids: Sequence[str], files: Sequence[str]) -> dict[str, dict[str, str]]:
    """The labels of a CSV by uid."""
    key, table = read_table(path)
    names = uids if key == "uid" else files
    found = {uid: table[name] for uid, name in zip(uids, names, strict=True) if name in table}
    lost, count = len(set(table) - set(names)), len(table)
    if not found:
        raise InputError(
            f"{path}: none of its {count} rows is about these meshes; a {key} here is {names[0]}"
        )
    if lost:
        log.warning("%s: %d of %d rows are about no mesh; a %s here is %s", path, lost, count, key, names[0])
    return found


def _ask_objaverse(uids: Sequence[str]) -> dict[str, dict[str, str]]:
    """LVIS categories of Objaverse's shapes, and from its metadata their licence and who made them."""
    try:
        import objaverse
    except ImportError as error:
        raise MissingError("--lvis: objaverse is not installed; pip install 'sdfkit[lvis]'") from error
    try:
        with redirect_stdout(sys.stderr):
            lvis: Mapping[str, Sequence[str]] = objaverse.load_lvis_annotations()
            categories = {uid: category for category, members in lvis.items() for uid in members}
            known = [uid for uid in uids if uid in categories]
            facts: Mapping[str, Any] = objaverse.load_annotations(known) if known else {}
    except (OSError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MissingError(
            f"--lvis: Objaverse's annotations did not come ({reason}); connect, or use --csv"
        ) from error
    if not known:
        raise InputError(
            f"--lvis: none of the {len(uids)} meshes bears an LVIS shape's uid; the first is {uids[0]}"
        )
    return {uid: {"category": categories[uid], **_credit(facts.get(uid, {}))} for uid in known}


def _credit(fact: Mapping[str, Any]) -> dict[str, str]:
    """Licence and source of one of Objaverse's shapes; Sketchfab's licences are Creative Commons 4.0."""
    slug = str(fact.get("license") or "").upper()
    licence = {"": "", "CC0": "CC0-1.0"}.get(slug, f"CC-{slug}-4.0")
    author = dict(fact.get("user") or {}).get("username")
    source = ", ".join(str(part) for part in (author, fact.get("viewerUrl")) if part)
    return {"licence": licence, "source": source}
