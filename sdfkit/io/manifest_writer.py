"""Writes manifests: finds mesh files and collects their labels."""

import csv
import hashlib
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from sdfkit.errors import InputError, UsageError
from sdfkit.io.manifests import FORMAT, Entry, canonical_path
from sdfkit.io.meshes.folders import find_meshes
from sdfkit.io.meshes.naming import find_names
from sdfkit.io.meshes.reader import read_info
from sdfkit.io.naming import FileName, Rule, is_generic, is_stage, tell_apart
from sdfkit.io.objaverse.annotations import Annotations
from sdfkit.io.outputs import open_output
from sdfkit.io.streams import MESH_SUFFIXES
from sdfkit.options import STANDARD
from sdfkit.rows import LABELS, printable, printable_json
from sdfkit.wording import counted

log = logging.getLogger(__name__)
# Folders that say for what their shapes are used. They are no categories.
SPLITS = {"dev", "eval", "test", "testing", "train", "training", "val", "valid", "validation"}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class ManifestWriter:
    """A manifest that is being written.

    Attributes:
        entries: Its shapes.
        is_kept: An equal file was there; known in the end.
    """

    entries: list[Entry] = field(default_factory=list)
    is_kept: bool = False


@contextmanager
def create_manifest(output: str, *, overwrite: bool) -> Iterator[ManifestWriter]:
    """Yield a manifest without shapes and write it when the block ends without an error.

    The shapes must be added in the order of `obj_idx`. The file also maps each uid to its `obj_idx`.

    Args:
        output: A file, which appears complete or not at all, or `-` for standard output.
        overwrite: Replace an existing file.

    Raises:
        InputError: The file exists. This is checked before the block begins.
    """
    manifest = ManifestWriter()
    if output == STANDARD:
        yield manifest
        sys.stdout.write(dump_manifest(manifest.entries))
        return
    with open_output(output, overwrite=overwrite) as stream:
        yield manifest
        stream.write(dump_manifest(manifest.entries).encode())
    manifest.is_kept = stream.is_kept


def dump_manifest(entries: Sequence[Entry], failed: Mapping[str, str] | None = None) -> str:
    """Return the content of a manifest.

    Args:
        entries: Its shapes.
        failed: Why there are no files of other shapes, by uid.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "shapes": [asdict(entry) for entry in entries],
        "obj_idx": {entry.uid: entry.obj_idx for entry in entries},
    }
    if failed:
        content["failed"] = dict(failed)
    # The bytes of a path that are not UTF-8 become escapes of JSON, from which readers get the same path.
    return printable_json(json.dumps(content, indent=1, ensure_ascii=False)) + "\n"


def list_shapes(
    inputs: Sequence[str],
    folder: Path,
    *,
    uid: str = "auto",
    table: Path | None,
    lvis: bool,
    licence: str,
    source: str,
) -> list[Entry]:
    """List mesh files with their uids and labels.

    Each label is taken from the first of these that has it: the table, LVIS (Objaverse's categories), the mesh file
    itself. A category that none of them has is the first folder below the input whose name is not one of a kind or
    stage of files, unless the uid is the name of that folder.

    Args:
        inputs: Mesh files, and folders that are searched recursively. A file that is named twice is listed once.
        folder: Folder that the paths of the entries are relative to.
        uid: Where uids come from: "auto" for those in the files, otherwise the names that `FileNamer` finds; "stem" for
            the names of the files, "folder" for those of their folders, or a column of the table.
        table: A CSV file of labels, see `read_table`.
        lvis: Download the labels of Objaverse. The mesh files must be named by their Objaverse uid.
        licence: Licence of shapes that have no licence in the table, in LVIS or in their file.
        source: Source (author, URL) of shapes that have none in the table, in LVIS or in their file.

    Raises:
        InputError: There are no meshes, no row of the table or of LVIS matches a mesh, or the table lacks the uid of a
            mesh.
        MissingError: The package objaverse is not installed, or its annotations cannot be downloaded.
    """
    if STANDARD in inputs:
        raise InputError("standard input: a manifest can list files only; give mesh files or their folder")
    # Paths relative to the given folder. The first of several components is the category.
    relative_paths = {
        canonical_path(path): path.relative_to(name) if Path(name).is_dir() else Path(path.name)
        for name in inputs
        for path in find_meshes([name])
    }
    foreign = next((path for path in relative_paths if path.suffix.lower() not in MESH_SUFFIXES), None)
    if foreign is not None:
        raise InputError(
            f"{foreign.name}: is not a mesh file ({', '.join(MESH_SUFFIXES)}); leave it out, or give its folder"
        )
    files = [printable(relative.as_posix()) for relative in relative_paths.values()]
    rule: Rule = uid if uid in ("stem", "folder") else "auto"  # type: ignore[assignment]
    infos, names = find_names(list(relative_paths), {}, read_info, rule)
    tables = []
    if uid not in get_args(Rule):
        uids, labels = _uids_from_table(table, uid, files)
        tables.append(labels)
    else:
        uids = tell_apart(names)
        tables += [_labels_from_table(table, uids, files)] if table else []
    if lvis:
        labels = _labels_from_objaverse([path.stem for path in relative_paths])
        tables.append(
            {own: labels.get(path.stem, {}) for own, path in zip(uids, relative_paths, strict=True)}
        )
    entries = []
    for index, (own, info, name, (path, relative)) in enumerate(
        zip(uids, infos, names, relative_paths.items(), strict=True)
    ):
        # Objaverse's folders are numbered and carry no category.
        default = {
            "category": "" if lvis else _category_of(relative, name),
            "licence": licence,
            "source": source,
        }
        known: list[Mapping[str, Any]] = [*(labels.get(own, {}) for labels in tables), info, default]
        found = {
            label: printable(next((str(part[label]) for part in known if part.get(label)), ""))
            for label in LABELS
        }
        stored_path = Path(os.path.relpath(path, folder.resolve())).as_posix()
        entries.append(Entry(index, own, stored_path, **found, sha256=digest(path)))
    return entries


def _category_of(relative: Path, name: FileName) -> str:
    """Return the first folder of a relative path that may be a category; empty if there is none."""
    folders = relative.parts[:-1]
    for place, folder in enumerate(folders):
        if not is_stage(folder) and folder.casefold() not in SPLITS:
            names_shape = is_generic(relative.stem) and name.levels[0] == len(folders) - place
            return "" if names_shape or folder == relative.stem else folder
    return ""


def _uids_from_table(
    path: Path | None, column: str, files: Sequence[str]
) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Return the uid of each file from a column of a CSV file whose column `file` names the files; and the labels."""
    if path is None:
        raise UsageError(
            f"--uid {column}: names a column of a CSV file; add --csv FILE, or use auto, stem or folder"
        )
    key, table = read_table(path, (column, *LABELS))
    if key != "file":
        raise InputError(f"{path}: has no column file, which --uid {column} needs; add it")
    lacking = [file for file in files if not table.get(file, {}).get(column)]
    if lacking:
        raise InputError(
            f"{path}: has no {column} for {len(lacking)} of {counted(len(files), 'mesh')} ({lacking[0]} …); add them"
        )
    uids = [printable(table[file].pop(column)) for file in files]
    twice = next((uid for uid, count in Counter(uids).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{path}: gives several meshes the {column} {twice}; give every mesh its own")
    return uids, {uid: table[file] for uid, file in zip(uids, files, strict=True)}


def read_table(path: Path, wanted: Sequence[str] = LABELS) -> tuple[str, dict[str, dict[str, str]]]:
    """Read labels from a CSV file with a column `uid` or `file`, and any of category, licence (license) and source.

    Args:
        path: The file.
        wanted: The columns to read; at least one of them is needed.

    Returns:
        The name of the key column (`uid` or `file`), and a mapping from each value in that column to its labels.

    Raises:
        InputError: The file is not CSV, lacks a column, or has several rows for one shape.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            reader = csv.DictReader(file)
            columns = {("licence" if name == "license" else name): name for name in reader.fieldnames or ()}
            rows = list(reader)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read as CSV ({error}); save it as CSV in UTF-8") from error
    key = next((name for name in ("uid", "file") if name in columns and name not in wanted), None)
    if key is None:
        raise InputError(f"{path}: has no column uid or file, only {list(columns)}; add one of the two")
    labels = [name for name in wanted if name in columns]
    if not labels:
        missing = " or ".join(", ".join(wanted).rsplit(", ", 1))
        raise InputError(f"{path}: has no column {missing}, only {list(columns)}; add one")
    keys = [(row[columns[key]] or "").strip() for row in rows]
    table = {
        value: {name: (row[columns[name]] or "").strip() for name in labels}
        for value, row in zip(keys, rows, strict=True)
    }
    if len(table) < len(rows):
        twice = next(value for value, n in Counter(keys).items() if n > 1)
        raise InputError(f"{path}: has several rows for {twice}; keep one of them")
    return key, table


def _labels_from_table(path: Path, uids: Sequence[str], files: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the labels of a CSV file by uid."""
    key, table = read_table(path)
    names = uids if key == "uid" else files
    found = {uid: table[name] for uid, name in zip(uids, names, strict=True) if name in table}
    unmatched, count = len(set(table) - set(names)), len(table)
    if not found:
        raise InputError(
            f"{path}: no row matches a mesh; each {key} must be that of a mesh, such as {names[0]}"
        )
    if unmatched:
        log.warning(
            "%s: no mesh matches %d of %s; the %s of the first mesh is %s",
            path, unmatched, counted(count, "row"), key, names[0],
        )  # fmt: skip
    return found


def _labels_from_objaverse(uids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Download the LVIS category of each Objaverse shape, and its licence and author from Objaverse's metadata."""
    annotations = Annotations("--lvis", "connect to the network, or use --csv")
    categories = annotations.categories()
    known = [uid for uid in uids if uid in categories]
    if not known:
        raise InputError(f"--lvis: no mesh has the uid of an LVIS shape; the first uid is {uids[0]}")
    return {
        uid: {"category": categories[uid], **credit} for uid, credit in annotations.credits(known).items()
    }
