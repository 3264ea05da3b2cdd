"""Writes meshes: to a stream of PLY, to one file, or to a folder of files."""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.io.meshes.formats.ply.writer import write_comment, write_double
from sdfkit.io.meshes.formats.stl_title import LENGTH, write_title
from sdfkit.io.meshes.journal import Journal, compare_info
from sdfkit.io.meshes.metadata import MARK
from sdfkit.io.meshes.reader import read_info
from sdfkit.io.outputs import (
    claim,
    input_paths,
    is_stream,
    open_output,
    refuse_existing,
    replaced_file,
    share,
    sweep_folder,
)
from sdfkit.io.reuse import complete_settings
from sdfkit.io.streams import open_mirror
from sdfkit.io.urls.files import Mirror, is_url
from sdfkit.options import STANDARD, running_command
from sdfkit.rows import LABELS, Row, history_step
from sdfkit.runtime.pool import RemoteWriter

if TYPE_CHECKING:
    import trimesh

WRITTEN = ("ply", "glb", "obj", "stl")


def encode(mesh: "trimesh.Trimesh | None", kind: str, info: Mapping[str, Any]) -> bytes:
    """Encode a mesh and its metadata as the bytes of a file.

    Args:
        mesh: The mesh; None for a failed shape, which becomes a PLY without vertices.
        kind: Format: ply, glb, obj or stl.
        info: Metadata. An STL has room for uid, category, licence and origin only.
    """
    import trimesh

    if mesh is None:
        empty = "ply\nformat binary_little_endian 1.0\nelement vertex 0\nproperty float x\nproperty float y\n"
        empty += "property float z\nelement face 0\nproperty list uchar int vertex_indices\nend_header\n"
        return write_comment(empty.encode(), info)
    is_single = _fits_single(mesh)
    if kind == "glb":

        def put(tree: dict[str, Any]) -> None:
            tree["asset"]["extras"] = {"sdfkit": dict(info)}

        scene = trimesh.Scene()
        if is_single:
            scene.add_geometry(mesh)
        else:
            # The vertices of a GLB are float32, but the matrix of its node is stored with more digits.
            from sdfkit.geometry.frame import normalise

            unit, matrix = normalise(mesh)
            scene.add_geometry(unit, transform=matrix)
        content: bytes = trimesh.exchange.gltf.export_glb(scene, tree_postprocessor=put)
        return content
    file: Any
    if kind == "ply":
        file = mesh.export(file_type=kind) if is_single else write_double(mesh.vertices, mesh.faces)
        return write_comment(file, info)
    if kind == "obj":
        decimals = max(8, 8 - math.floor(math.log10(mesh.extents.max())))
        file = mesh.export(file_type=kind, digits=decimals)
        return b"# " + MARK + json.dumps(info).encode() + b"\n" + str(file).encode()
    if not is_single:
        raise GeometryError(
            "the mesh is too far from the origin for the float32 of an STL; write a PLY, or use --frame unit"
        )
    file = mesh.export(file_type=kind)
    return write_title(info) + bytes(file[LENGTH:])


def _fits_single(mesh: "trimesh.Trimesh") -> bool:
    """Return whether float32 resolves differences of a millionth of the mesh's extent."""
    with np.errstate(over="ignore"):
        spacing = np.spacing(np.abs(mesh.bounds).max().astype(np.float32))
    return bool(spacing <= 2**-20 * mesh.extents.max())


class MeshWriter:
    """Writes meshes to a folder, a file or a stream, which takes the meshes in the order of their row numbers only.

    Attributes:
        failed: Indices of the rows that failed.
        made: Number of rows that this run has made.
        content: The bytes of the only file, which `create_meshes` writes in the end; None if it is kept.
        mirror: The files at a URL that this folder or file stands for, if any.
    """

    def __init__(
        self,
        output: str,
        count: int,
        settings: Mapping[str, Any],
        seed: int | None,
        stream: BinaryIO | None,
        kind: str,
        journal: Journal | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        self.output = output
        self._overwrite = overwrite
        self.count = count
        self.failed: set[int] = set()
        self.made = 0
        self.content: bytes | None = None
        self._names: dict[str, str] = {}
        self._settings = json.loads(json.dumps(dict(settings)))
        self._step = history_step(seed, is_command=running_command() is not None)
        self._stream = stream
        self._kind = kind
        self._journal = journal
        self._inputs = input_files()
        self.mirror: Mirror | None = None
        self._write_file = partial(write_file, output, kind, self._settings, self._step)

    def _path(self, uid: str) -> Path:
        name = own_name(uid, f".{self._kind}", self._names)
        path = Path(self.output, name) if self._journal is not None else Path(self.output)
        if path.resolve() in self._inputs:
            raise InputError(f"{path}: is also an input; choose another folder for the output")
        return path

    def has(self, row: Row) -> bool:
        """Return whether the file of this row exists and was made from the same input with the same settings.

        Raises:
            InputError: The file exists but was made with other settings, or from an unknown input. If it is the only
                file, also if it was made from another input.
        """
        if self._stream is not None:
            return False
        path = self._path(row.uid)
        if self.mirror is not None:
            self.mirror.fetch(path)
        if not path.exists():
            return False
        earlier = compare_info(read_info(path), self._settings, row)
        if self._journal is None:
            if not (earlier.is_same or self._overwrite):
                refuse_existing(path, overwrite=False)
            return not self._overwrite
        return self._journal.keeps(path, earlier, row)

    def write(
        self, row: Row, *, mesh: "trimesh.Trimesh | None" = None, ply: bytes = b"", **more: Any
    ) -> None:
        """Write one mesh with its labels and history; `more` is added to the metadata of the file.

        In place of a mesh, the bytes of a PLY may be given, all of which but the metadata are kept.
        """
        if row.error:
            self.failed.add(row.index)
        if self._journal is not None:
            path = self._path(row.uid)
            if mesh is None:
                self.made += 1
                # The mesh of an earlier run would look like a result of this run.
                path.unlink(missing_ok=True)
            else:
                self._write_file(row, mesh=mesh, **more)
                self.record(row)
            if self.mirror is not None:
                self.mirror.publish(path)
            return
        self.made += 1
        info = describe_mesh(row, self._settings, self._step, more)
        if self._stream is None:
            self.content = encode(mesh, self._kind, info)
            return
        if self.output == STANDARD:
            info |= {"row": row.index, "rows": self.count}
        self._stream.write(write_comment(ply, info) if ply else encode(mesh, self._kind, info))

    def remote(self) -> RemoteWriter | None:
        """Return the writer of files for other machines; None unless the output is a folder that they may reach."""
        if self._journal is None or self.mirror is not None:
            return None
        return RemoteWriter(share(Path(self.output)).check, self._write_file)

    def record(self, row: Row) -> None:
        """Record a row whose file is written."""
        self.made += 1
        if self._journal is not None:
            self._journal.add(row.uid)


def describe_mesh(
    row: Row, settings: Mapping[str, Any], step: Mapping[str, Any], more: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the metadata of the file of a row: its labels, its history with the last `step`, and `more`."""
    info: dict[str, Any] = {"uid": row.uid, **{name: getattr(row, name) for name in LABELS}}
    info |= {
        "history": [*row.history, step],
        "settings": settings,
        "input": row.identity,
        "origin": row.origin if row.error else row.find_origin(),
        **more,
    }
    if row.sample_of:
        info["sample_of"] = row.sample_of
    return info | {"error": row.error} if row.error else info


def write_file(
    folder: str,
    kind: str,
    settings: Mapping[str, Any],
    step: Mapping[str, Any],
    row: Row,
    *,
    mesh: "trimesh.Trimesh",
    **more: Any,
) -> dict[str, Any]:
    """Write the mesh of a row to its file in a folder; see `describe_mesh`. Nothing is left to write."""
    content = encode(mesh, kind, describe_mesh(row, settings, step, more))
    with replaced_file(Path(folder, f"{file_name(row.uid)}.{kind}")) as stream:
        stream.write(content)
    return {}


def file_name(uid: str) -> str:
    """Return the name of the file of a shape, without its suffix.

    A uid from another program may contain path separators; it must stay a file name.
    """
    return "".join(c if c.isalnum() or c in "-_.+ " else "_" for c in uid).lstrip(".") or "_"


def own_name(uid: str, suffix: str, names: dict[str, str]) -> str:
    """Return the name of the file or folder of a shape, with a suffix.

    Args:
        uid: Uid of the shape.
        suffix: End of the name.
        names: The uids whose names were returned, by their names without suffix; this uid is added.

    Raises:
        InputError: Another uid has the same name.
    """
    safe = file_name(uid)
    if names.setdefault(safe, uid) != uid:
        raise InputError(
            f"{uid} and {names[safe]} would share the file name {safe}{suffix}; rename one shape"
        )
    return safe + suffix


def input_files() -> set[Path]:
    """Return the files that the running command reads and that are named one by one, resolved."""
    line = running_command()
    if line is None:
        return set()
    return {Path(name).resolve() for name in input_paths(line) if "://" not in name and Path(name).is_file()}


@contextmanager
def create_meshes(
    output: str,
    count: int,
    *,
    settings: Mapping[str, Any],
    seed: int | None,
    kind: str,
    overwrite: bool,
    unused: Collection[str] = (),
) -> Iterator[MeshWriter]:
    """Open an output for meshes.

    Args:
        output: `-` for a stream of PLY, a folder (one file per uid), or a file with the suffix of its format. Folders
            and files may be at a URL; a run with `overwrite` that is interrupted there begins anew.
        count: Number of shapes.
        settings: Settings that the command derives from its options; see `reuse.complete_settings`. An existing file in
            a folder, or the only file, is kept only if all settings and its input are equal.
        seed: Seed to record in the history.
        kind: Format of the files in a folder: ply, glb, obj or stl.
        overwrite: Replace existing files.
        unused: Options that do not apply with these settings.

    Raises:
        UsageError: Several meshes are to be written to one file, or the format of the file is not supported.
        InputError: The output cannot be made, or another process writes it.
    """
    if is_url(output):
        mirror = open_mirror(output)
        with create_meshes(
            mirror.output, count, settings=settings, seed=seed, kind=kind, overwrite=overwrite,
            unused=unused,
        ) as writer:  # fmt: skip
            writer.mirror = mirror
            yield writer
        if writer.content is not None:
            mirror.publish(mirror.place)
        return
    path = Path(output)
    settings = complete_settings(settings, by_row=True, unused=unused)
    if output == STANDARD:
        with open_output(output, overwrite=overwrite) as stream:
            yield MeshWriter(output, count, settings, seed, stream, "ply")
    elif path.is_dir() or output.endswith("/") or (not path.suffix and not path.exists()):
        with claim(path):
            if not path.is_dir():
                refuse_existing(path, overwrite)
                path.mkdir()
            sweep_folder(path)
            journal = Journal(path, settings, replaces=overwrite)
            yield MeshWriter(output, count, settings, seed, None, kind, journal)
            journal.finish()
    else:
        ending = "ply" if is_stream(path) else path.suffix[1:].lower()
        if ending not in WRITTEN:
            raise UsageError(
                f"{output}: is not in a supported mesh format; use {', '.join(WRITTEN)}, or a folder (name/)"
            )
        if count != 1:
            raise UsageError(f"{output}: one file cannot hold {count} meshes; give a folder (name/)")
        if is_stream(path):
            with open_output(output, overwrite=overwrite) as stream:
                yield MeshWriter(output, count, settings, seed, stream, ending)
            return
        with claim(path):
            refuse_existing(path, overwrite or path.is_file())
            writer = MeshWriter(output, count, settings, seed, None, ending, overwrite=overwrite)
            yield writer
            if writer.content is not None:
                with open_output(output, overwrite=overwrite) as stream:
                    stream.write(writer.content)
