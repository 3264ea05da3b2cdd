"""Copies some of the meshes of an input to a stream, a file or a folder, without changing them."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from sdfkit.errors import InputError, UsageError
from sdfkit.io.meshes.companions import read_companions
from sdfkit.io.meshes.formats.ply.writer import write_comment
from sdfkit.io.meshes.reader import MeshRow, open_meshes
from sdfkit.io.meshes.writer import create_meshes, file_name
from sdfkit.io.naming import mark_named
from sdfkit.io.outputs import claim, refuse_existing, replaced_file, sweep_folder
from sdfkit.io.streams import NO_FILE, open_mirror
from sdfkit.io.urls.files import is_url
from sdfkit.options import STANDARD
from sdfkit.rows import LABELS

# Metadata that the writer of meshes makes itself, or that say where in a stream a mesh was.
OWN = ("uid", *LABELS, "history", "input", "origin", "sample_of", "error", "row", "rows")


@contextmanager
def open_mesh_table(inputs: Sequence[str], *, manifest: Path | None) -> Iterator[list[MeshRow]]:
    """Open meshes as a table of rows, whose files exist. Those of a stream are saved to temporary files.

    Raises:
        InputError: A file is missing, or standard input is given beside files.
    """
    if STANDARD in inputs and len(inputs) > 1:
        raise UsageError("standard input cannot be joined with mesh files; save its meshes to a folder first")
    with (
        open_meshes(inputs, manifest=manifest) as meshes,
        tempfile.TemporaryDirectory(prefix="sdfkit-") as folder,
    ):
        rows = [_save(row, Path(folder)) for row in meshes]
        missing = next((row.error for row in rows if row.error.endswith(NO_FILE)), None)
        if missing is not None:
            raise InputError(missing)
        yield rows


def _save(row: MeshRow, folder: Path) -> MeshRow:
    if not row.content:
        return row
    path = folder / f"{row.index}.{'ply' if row.content.startswith(b'ply') else 'glb'}"
    path.write_bytes(row.content)
    return replace(row, content=b"", path=str(path))


def copy_meshes(output: str, rows: Sequence[MeshRow], *, overwrite: bool) -> int:
    """Copy meshes.

    To a folder, files are copied byte for byte and named by their uids; a mesh that refers to other files (materials,
    textures) gets a folder of its own. Metadata are changed only in a PLY whose uid or labels are others, or that was
    part of a stream. To a stream, a PLY is copied with its metadata, and other formats are converted to PLY.

    Args:
        output: `-` for a stream of PLY, a folder, or a file, which can hold one mesh; also at a URL.
        rows: The meshes.
        overwrite: Replace existing files.

    Returns:
        The number of files that were written; those that were there with the same content are not counted.

    Raises:
        InputError: A mesh cannot be read, an existing file has another content, or two uids give one file name.
    """
    if is_url(output):
        mirror = open_mirror(output)
        mirror.fetch_all()
        made = copy_meshes(mirror.output, rows, overwrite=overwrite)
        mirror.publish_all()
        return made
    path = Path(output)
    if output == STANDARD or (path.suffix and not path.is_dir() and not output.endswith("/")):
        if len(rows) == 1 and path.suffix.lower() == Path(rows[0].path).suffix.lower():
            return _copy_file(path, rows[0], overwrite=overwrite)
        with create_meshes(
            output, len(rows), settings={}, seed=None, kind="ply", overwrite=overwrite
        ) as meshes:
            for index, row in enumerate(rows):
                meshes.write(replace(row, index=index), **_content(row, is_stream=output == STANDARD))
            return meshes.made
    with claim(path):
        if not path.is_dir():
            refuse_existing(path, overwrite)
            path.mkdir()
        sweep_folder(path)
        if all(entry.name.startswith(".") for entry in path.iterdir()):
            mark_named(path)
        names: dict[Path, str] = {}
        written = 0
        for row in rows:
            if row.error:  # a shape that failed has no mesh
                continue
            for place, content in _files(row, path):
                if names.setdefault(place, row.uid) != row.uid:
                    raise InputError(
                        f"{row.uid} and {names[place]} would share the file {place}; rename one shape"
                    )
                written += _put(place, content, overwrite=overwrite)
        return written


def _copy_file(path: Path, row: MeshRow, *, overwrite: bool) -> int:
    files = list(_files(row, path.parent))
    if len(files) > 1:
        raise UsageError(
            f"{path}: {row.path} refers to other files, which are copied with it; give a folder (name/)"
        )
    with claim(path):
        return _put(path, files[0][1], overwrite=overwrite)


def _content(row: MeshRow, *, is_stream: bool) -> dict[str, Any]:
    """Return what to write of a row, as arguments of `MeshWriter.write`."""
    kept = {name: value for name, value in row.info.items() if name not in OWN}
    kept.setdefault("settings", {})
    if row.error:
        return kept
    content = Path(row.path).read_bytes() if is_stream else b""
    return kept | ({"ply": content} if content.startswith(b"ply") else {"mesh": row.load()})


def _files(row: MeshRow, folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield the paths and contents of the files that make up a mesh."""
    source = Path(row.path)
    content = source.read_bytes()
    name = file_name(row.uid)
    others = read_companions(content, source)
    if others:
        folder = folder / name
    known = {label: row.info.get(label, "") for label in ("uid", *LABELS)}
    labels = {label: getattr(row, label) for label in known}
    if content.startswith(b"ply") and row.info and ("rows" in row.info or known != labels):
        info = {key: value for key, value in row.info.items() if key not in ("row", "rows")}
        content = write_comment(content, info | labels)
    yield folder / f"{name}{source.suffix.lower()}", content
    for reference, other in others:
        relative = PurePosixPath(reference.replace("\\", "/"))
        is_safe = not relative.is_absolute() and ".." not in relative.parts and ":" not in reference
        yield folder / (relative if is_safe else relative.name), other


def _put(path: Path, content: bytes, *, overwrite: bool) -> bool:
    """Write a file, and return whether it was not there before with the same content."""
    if path.exists():
        if path.read_bytes() == content:
            return False
        if not overwrite:
            raise InputError(f"{path}: exists with another content; choose another name or add --overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as stream:
        stream.write(content)
    return True
