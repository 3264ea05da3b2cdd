"""Reads mesh files, and streams of PLY or GLB meshes.

Files written by sdfkit contain the labels and history of their shape: in a comment of a PLY, in `asset.extras` of a
GLB, in the first comment of an OBJ.
"""

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sdfkit.errors import GeometryError, InputError
from sdfkit.images.rendering.appearance import Part
from sdfkit.io.manifests import (
    Entry,
    canonical_path,
    expand_manifests,
    label,
    read_manifest,
    uids_by_path,
)
from sdfkit.io.meshes.companions import digest_mesh
from sdfkit.io.meshes.folders import find_meshes
from sdfkit.io.meshes.formats.collada.reader import read_dae
from sdfkit.io.meshes.formats.gltf.document import info_of, take_glb
from sdfkit.io.meshes.formats.gltf.reader import read_gltf
from sdfkit.io.meshes.formats.obj.reader import read_obj
from sdfkit.io.meshes.formats.off import read_off
from sdfkit.io.meshes.formats.ply.elements import read_ply
from sdfkit.io.meshes.formats.ply.reader import read_ply_mesh
from sdfkit.io.meshes.formats.source import Source
from sdfkit.io.meshes.formats.stl import read_stl
from sdfkit.io.meshes.formats.stl_title import LENGTH, read_title
from sdfkit.io.meshes.formats.threemf.reader import read_3mf
from sdfkit.io.meshes.metadata import find_comment
from sdfkit.io.meshes.naming import name_meshes
from sdfkit.io.streams import NO_FILE, name_of, open_input, sniff
from sdfkit.options import STANDARD
from sdfkit.rows import LABELS, Row, unique
from sdfkit.wording import counted

if TYPE_CHECKING:
    import trimesh

READERS: dict[str, Callable[[bytes, Source], list[Part]]] = {
    "3mf": read_3mf, "dae": read_dae, "glb": read_gltf, "gltf": read_gltf, "obj": read_obj, "off": read_off,
    "ply": read_ply_mesh, "stl": read_stl,
}  # fmt: skip
Up = Literal["y", "z"]
# Formats whose files say which axis points up; their readers return +Y up.
SAY_UP = ("glb", "gltf", "dae")


@dataclass(frozen=True)
class MeshRow(Row):
    """One mesh of an input: its labels, and its path or its bytes.

    The mesh itself is loaded only by `load`, which may run in a worker process.
    """

    info: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    content: bytes = field(default=b"", repr=False)
    up: Up = "y"
    """The axis that points up in files that do not record it; see `open_meshes`."""

    @property
    def history(self) -> list[dict[str, Any]]:
        return list(self.info.get("history", []))

    @cached_property
    def identity(self) -> str:
        if not self.content and not (self.path and Path(self.path).exists()):
            return ""
        digest = (
            hashlib.sha256(self.content).hexdigest()[:16] if self.content else digest_mesh(Path(self.path))
        )
        return digest if self.up == "y" else f"{digest}-{self.up}"

    def find_origin(self) -> str:
        """Return the origin that sdfkit wrote into the file, or the digest of a file of another program."""
        if self.info or not self.identity:
            return self.origin
        return hashlib.sha256(self.content or Path(self.path).read_bytes()).hexdigest()[:16]

    def load(self) -> "trimesh.Trimesh":
        """Load the mesh, with all its parts in one object and its vertices unchanged (equal vertices are not merged).

        Raises:
            InputError: The file cannot be read.
            GeometryError: The shape failed in an earlier step.
        """
        import trimesh

        parts, _ = self.load_parts(colour=False)
        first = np.cumsum([0, *(len(part.vertices) for part in parts)])
        vertices = np.concatenate([np.zeros((0, 3)), *(part.vertices for part in parts)])
        faces = [part.faces + start for part, start in zip(parts, first[:-1], strict=True)]
        return trimesh.Trimesh(vertices, np.concatenate([np.zeros((0, 3), int), *faces]), process=False)

    def load_parts(self, *, colour: bool) -> tuple[list[Part], list[str]]:
        """Load the parts of the mesh, and log in one line what of the file was left out.

        Args:
            colour: Read materials, textures and colours too. Without it, no picture is read or decoded.

        Returns:
            The parts, and the names of files (materials, textures) to which the mesh refers but which are missing.

        Raises:
            InputError: The file cannot be read.
            GeometryError: The shape failed in an earlier step.
        """
        if self.error:
            raise GeometryError(self.error)
        name = self.path or self.uid
        folder = Path(self.path).parent if self.path else None
        source = Source(name, folder, colour)
        if self.content:
            kind, content = _kind(self.content), self.content
        else:
            kind = Path(self.path).suffix[1:].lower()
            with open_input(self.path) as stream:
                found = sniff(stream, name)
                kind = found if found in ("ply", "glb") else kind
                content = stream.read()
        if kind == "obj":
            find_comment(io.BytesIO(content), name)  # which the readers of PLY and GLB check themselves
        parts = READERS[kind](content, source)
        source.warn()
        if self.up == "z" and kind not in SAY_UP:
            parts = [replace(part, vertices=part.vertices[:, [0, 2, 1]] * [1, 1, -1]) for part in parts]
        return parts, source.missing


def _kind(content: bytes) -> str:
    return "ply" if content.startswith(b"ply") else "glb"


def read_info(path: Path) -> dict[str, Any]:
    """Read the metadata that sdfkit wrote into a mesh file, without loading the mesh.

    The result is empty for files of other programs, and if the metadata are damaged, which `load` reports: one such
    file in a folder fails as one row.
    """
    if not path.exists():
        return {}
    with path.open("rb") as file:
        start = file.read(20)
        try:
            if start[:4] == b"glTF":
                # At most the size of the file, because `read` allocates what the header declares.
                content = file.read(min(int.from_bytes(start[12:16], "little"), path.stat().st_size))
                return info_of(json.loads(content), str(path))
            file.seek(0)
            found = find_comment(file, str(path))
        except (InputError, ValueError, RecursionError):
            return {}
        if found is not None:
            return found
        file.seek(0)
        return read_title(file.read(LENGTH))


class Meshes:
    """The meshes of an input, in order.

    Args:
        rows: The meshes if they are known in advance; None for a stream.
        stream: The meshes of a stream, used if `rows` is None.
        count: Number of meshes.
        history: The commands that made the first mesh, oldest first. It stands for all meshes of the input.
    """

    def __init__(
        self,
        rows: Sequence[MeshRow] | None,
        stream: Iterator[MeshRow],
        count: int,
        history: Sequence[dict[str, Any]],
    ) -> None:
        self.rows = rows
        self.count = count
        self.history = list(history)
        self._stream = stream

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[MeshRow]:
        return iter(self.rows) if self.rows is not None else self._stream


@contextmanager
def open_meshes(inputs: Sequence[str], *, manifest: Path | None, up: Up = "y") -> Iterator[Meshes]:
    """Open meshes for reading: files, folders of files, manifests, or `-` for a stream of PLY (or GLB).

    Args:
        inputs: Paths. The shapes of a manifest have its uids and labels.
        manifest: A manifest with the labels of the meshes; None for none.
        up: The axis that points up in files that do not record it (OBJ, OFF, PLY, STL, 3MF). "z" rotates them to +Y up.

    Raises:
        InputError: The stream or a folder has no meshes.
        FileNotFoundError: The only file does not exist.
    """
    labels = read_manifest(manifest) if manifest else {}
    if list(inputs) == [STANDARD]:
        yield from _open_stream(labels, up)
        return
    files, entries = expand_manifests(inputs)
    paths = find_meshes(files)
    known = {path: entry.uid for path, entry in entries.items()} | uids_by_path(labels, manifest)
    infos, uids = name_meshes(paths, known, read_info)
    places = [canonical_path(path) for path in paths] if entries else []
    own = {uid: entries[place] for uid, place in zip(uids, places, strict=False) if place in entries}
    rows = [
        label(_row(index, uid, info, own, path=str(path), up=up), labels)
        for index, (uid, info, path) in enumerate(zip(uids, infos, paths, strict=True))
    ]
    rows = [row if Path(row.path).exists() else replace(row, error=f"{row.path}: {NO_FILE}") for row in rows]
    yield Meshes(rows, iter(()), len(rows), rows[0].history)


def _row(
    index: int, uid: str, info: Mapping[str, Any], labels: Mapping[str, Entry], **source: Any
) -> MeshRow:
    names = (*LABELS, "sample_of", "error", "origin")
    columns: dict[str, Any] = {name: str(info.get(name, "")) for name in names}
    return label(MeshRow(index=index, uid=uid, info=info, **columns, **source), labels)


def _open_stream(labels: dict[str, Entry], up: Up) -> Iterator[Meshes]:
    stream = open_input(STANDARD)
    name = name_of(STANDARD)
    kind = sniff(stream, name)
    if kind not in ("ply", "glb"):
        holds = {"zarr": "a Zarr store", "arrays": "a store", "npy": "an array", "npz": "an array"}.get(
            kind, "neither PLY nor GLB"
        )
        raise InputError(f"{name}: holds {holds}, but meshes are needed")
    first = _next_mesh(stream, name)
    assert first is not None
    if "rows" in first[0]:
        rows_to_come = _stream_rows(first, stream, name, labels, up)
        yield Meshes(None, rows_to_come, int(first[0]["rows"]), first[0].get("history", []))
        return
    # The number of meshes is unknown: they are saved to temporary files and counted.
    with tempfile.TemporaryDirectory(prefix="sdfkit-") as folder:
        rows: list[MeshRow] = []
        mesh: tuple[dict[str, Any], bytes] | None = first
        while mesh is not None:
            info, content = mesh
            path = Path(folder, f"mesh_{len(rows):04d}.{_kind(content)}")
            path.write_bytes(content)
            rows.append(_row(len(rows), str(info.get("uid", path.stem)), info, labels, path=str(path), up=up))
            mesh = _next_mesh(stream, name)
        names = unique([row.uid for row in rows])
        named = [replace(row, uid=uid) for row, uid in zip(rows, names, strict=True)]
        yield Meshes(named, iter(()), len(named), named[0].history)


def _stream_rows(
    first: tuple[dict[str, Any], bytes],
    stream: io.BufferedReader,
    name: str,
    labels: dict[str, Entry],
    up: Up,
) -> Iterator[MeshRow]:
    mesh: tuple[dict[str, Any], bytes] | None = first
    count = int(first[0]["rows"])
    for index in range(count):
        if mesh is None:
            raise InputError(
                f"{name}: ends after {index} of {counted(count, 'mesh')}; the command that wrote it did not finish"
            )
        info, content = mesh
        if info.get("row", index) != index:
            raise InputError(
                f"{name}: has mesh {info.get('row')} in place of mesh {index}; were two streams mixed?"
            )
        yield _row(index, str(info.get("uid", f"mesh_{index:04d}")), info, labels, content=content, up=up)
        mesh = _next_mesh(stream, name) if index + 1 < count else None
    if stream.peek(1):
        raise InputError(
            f"{name}: has more meshes than the {count} that its first header declares; were two streams joined?"
        )


def _next_mesh(stream: io.BufferedReader, name: str) -> tuple[dict[str, Any], bytes] | None:
    """Read the next mesh of a stream: the metadata that sdfkit wrote, and the bytes. None at the end of the stream."""
    start = stream.peek(1)
    if not start:
        return None
    if start.startswith(b"g"):  # At the end of the buffer, `peek` returns as little as one byte.
        return take_glb(stream, name)
    return read_ply(stream, name)
