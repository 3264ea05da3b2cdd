"""Manifests as tables of rows: some of their shapes, or all shapes of several, in another manifest."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sdfkit.io.manifest_writer import create_manifest
from sdfkit.io.manifests import Entry, canonical_path, label, parse_manifest, read_manifest
from sdfkit.io.streams import name_of, open_input
from sdfkit.options import STANDARD
from sdfkit.rows import Row


def read_entries(path: str, *, manifest: Path | None) -> list[tuple[Row, Entry]]:
    """Read the shapes of a manifest, with their labels and paths, which become absolute.

    Args:
        path: The manifest; `-` for standard input, whose paths are relative to the working folder.
        manifest: Manifest whose labels replace those of the first one.

    Raises:
        InputError: The file is not a manifest.
    """
    if path == STANDARD:
        entries = parse_manifest(open_input(path).read(), name_of(path))
        folder = Path()
    else:
        entries = read_manifest(Path(path))
        folder = Path(path).parent
    labels = read_manifest(manifest) if manifest else {}
    found = []
    for index, entry in enumerate(entries.values()):
        row = label(Row(index, entry.uid, entry.category, entry.licence, entry.source), labels)
        found.append((row, replace(entry, path=str(canonical_path(folder / entry.path)))))
    return found


def write_entries(output: str, shapes: Sequence[tuple[Row, Entry]], *, overwrite: bool) -> int:
    """Write a manifest of shapes, numbered from 0, with paths relative to its folder.

    Returns:
        The number of shapes; 0 if an equal file was there.
    """
    folder = (Path() if output == STANDARD else Path(output).parent).resolve()
    with create_manifest(output, overwrite=overwrite) as manifest:
        manifest.entries += [
            Entry(
                index, row.uid, Path(os.path.relpath(entry.path, folder)).as_posix(), row.category, row.licence,
                row.source, entry.sha256,
            )
            for index, (row, entry) in enumerate(shapes)
        ]  # fmt: skip
    return 0 if manifest.is_kept else len(shapes)
