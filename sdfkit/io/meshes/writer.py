"""Writes meshes: to a stream of PLY, to one file, or to a folder of files."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.io.meshes.formats.ply.elements import write_comment, write_double
from sdfkit.io.meshes.formats.stl_title import LENGTH, write_title
from sdfkit.io.meshes.metadata import MARK
from sdfkit.io.meshes.reader import read_info
from sdfkit.io.streams import open_output, refuse_existing
from sdfkit.options import STANDARD
from sdfkit.rows import LABELS, Row, history_step

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
    """Writes meshes to a folder, a file or a stream, which takes the meshes in the order of their row numbers only."""

    def __init__(
        self,
        output: str,
        count: int,
        settings: Mapping[str, Any],
        seed: int | None,
        stream: BinaryIO | None,
        kind: str,
        overwrite: bool,
    ) -> None:
        self.output = output
        self.count = count
        self.failed: set[int] = set()
        self._names: dict[str, str] = {}
        self._settings = json.loads(json.dumps(dict(settings)))
        self._step = history_step(seed)
        self._stream = stream
        self._kind = kind
        self._is_folder = stream is None
        self._overwrite = overwrite

    def _path(self, uid: str) -> Path:
        # A uid from another program may contain path separators; it must stay a file name.
        safe = "".join(c if c.isalnum() or c in "-_.+ " else "_" for c in uid).lstrip(".") or "_"
        if self._names.setdefault(safe, uid) != uid:
            raise InputError(
                f"{uid} and {self._names[safe]} would share the file name {safe}.{self._kind}; rename one shape"
            )
        return Path(self.output, f"{safe}.{self._kind}")

    def has(self, row: Row) -> bool:
        """Return whether the file of this row exists and was made from the same input with the same settings.

        Raises:
            InputError: The file exists but was made from another input or with other settings.
        """
        if not self._is_folder or self._overwrite or not (path := self._path(row.uid)).exists():
            return False
        info = read_info(path)
        if info.get("settings") == self._settings and info.get("input") == row.identity:
            return True
        raise InputError(f"{path}: was made from another input or with other settings; add --overwrite")

    def write(self, row: Row, *, mesh: "trimesh.Trimesh | None" = None, **more: Any) -> None:
        """Write one mesh with its labels and history; `more` is added to the metadata of the file."""
        info: dict[str, Any] = {"uid": row.uid, **{name: getattr(row, name) for name in LABELS}}
        info |= {
            "history": [*row.history, self._step],
            "settings": self._settings,
            "input": row.identity,
            "origin": row.origin if row.error else row.find_origin(),
            **more,
        }
        if row.sample_of:
            info["sample_of"] = row.sample_of
        if row.error:
            self.failed.add(row.index)
            info["error"] = row.error
        if self._is_folder:
            if mesh is not None:
                with open_output(str(self._path(row.uid)), overwrite=True) as stream:
                    stream.write(encode(mesh, self._kind, info))
            elif self._overwrite:
                # Otherwise the mesh of an earlier run would look like a result of this run.
                self._path(row.uid).unlink(missing_ok=True)
            return
        assert self._stream is not None
        if self.output == STANDARD:
            info |= {"row": row.index, "rows": self.count}
        self._stream.write(encode(mesh, self._kind, info))


@contextmanager
def create_meshes(
    output: str, count: int, *, settings: Mapping[str, Any], seed: int | None, kind: str, overwrite: bool
) -> Iterator[MeshWriter]:
    """Open an output for meshes.

    Args:
        output: `-` for a stream of PLY, a folder (one file per uid), or a file with the suffix of its format.
        count: Number of shapes.
        settings: Settings of the command. An existing file in a folder is kept only if it was made with equal settings.
        seed: Seed to record in the history.
        kind: Format of the files in a folder: ply, glb, obj or stl.
        overwrite: Replace existing files.

    Raises:
        UsageError: Several meshes are to be written to one file, or the format of the file is not supported.
        InputError: The file exists and `overwrite` is false.
    """
    path = Path(output)
    if output == STANDARD:
        with open_output(output, overwrite=overwrite) as stream:
            yield MeshWriter(output, count, settings, seed, stream, "ply", overwrite)
    elif path.is_dir() or output.endswith("/") or (not path.suffix and not path.exists()):
        if not path.is_dir():
            refuse_existing(path, overwrite)
            path.mkdir()
        yield MeshWriter(output, count, settings, seed, None, kind, overwrite)
    else:
        ending = path.suffix[1:].lower() if path.is_file() or not path.exists() else "ply"
        if ending not in WRITTEN:
            raise UsageError(
                f"{output}: is not in a supported mesh format; use {', '.join(WRITTEN)}, or a folder (name/)"
            )
        if count != 1:
            raise UsageError(f"{output}: one file cannot hold {count} meshes; give a folder (name/)")
        with open_output(output, overwrite=overwrite) as stream:
            yield MeshWriter(output, count, settings, seed, stream, ending, overwrite)
