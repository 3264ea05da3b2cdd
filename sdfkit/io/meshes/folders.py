"""Finds mesh files in folders."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from sdfkit.errors import InputError
from sdfkit.io.streams import MESH_SUFFIXES

log = logging.getLogger(__name__)
# Suffixes of other formats that hold meshes, or scenes and solids from which meshes are exported.
FOREIGN = {
    ".3dm", ".3ds", ".3mx", ".abc", ".ac", ".ac3d", ".amf", ".ase", ".b3d", ".blend", ".brep", ".brp", ".c4d",
    ".cob", ".collada", ".ctm", ".drc", ".dwg", ".dxf", ".e57", ".f3d", ".fbx", ".hmp", ".iam", ".ifc", ".iges",
    ".igs", ".ipt", ".irrmesh", ".iv", ".jt", ".las", ".laz", ".lwo", ".lxo", ".ma", ".max", ".mb", ".md2",
    ".md3", ".md5mesh", ".mdl", ".mesh", ".meshb", ".ms3d", ".msh", ".nas", ".nff", ".obj.gz", ".off.gz", ".ogex",
    ".pcd", ".ply.gz", ".prt", ".pts", ".ptx", ".q3d", ".q3o", ".sat", ".scn", ".skp", ".sldasm", ".sldprt",
    ".smd", ".step", ".stl.gz", ".stp", ".ter", ".u3d", ".usd", ".usda", ".usdc", ".usdz", ".vrm", ".vrml",
    ".vtk", ".vtp", ".vtu", ".wrl", ".wrz", ".x", ".x3d", ".x3db", ".x3dv", ".x_b", ".x_t", ".xgl", ".xyz",
}  # fmt: skip


def find_meshes(inputs: Sequence[str]) -> list[Path]:
    """List mesh files. Folders are searched recursively, and the files of each folder are sorted by path.

    Hidden files, hidden folders and stores are skipped, and symbolic links to folders are not followed. Files of other
    formats that may hold shapes are counted in a warning.

    Raises:
        InputError: A folder has no meshes, or is a store.
        FileNotFoundError: The only file does not exist. Of several, a missing file fails as its own shape.
    """
    paths: list[Path] = []
    for name in inputs:
        path = Path(name)
        if not path.is_dir():
            if len(inputs) == 1:
                path.stat()
            paths.append(path)
            continue
        if (path / "zarr.json").exists():
            raise InputError(f"{path}: holds a Zarr store, but meshes are needed")
        skipped = Counter[str]()
        found = sorted(_walk(path, skipped))
        others = count_suffixes(skipped)
        if not found:
            holds = f" but with {others}" if others else ""
            raise InputError(
                f"{path}: is a folder without meshes ({', '.join(MESH_SUFFIXES)}){holds}; give mesh files"
            )
        if others:
            log.warning(
                "%s: %s are skipped, because sdfkit does not read such files; convert them to GLB or OBJ",
                path, others,
            )  # fmt: skip
        paths += found
    return paths


def count_suffixes(skipped: Counter[str]) -> str:
    """Describe how many files of each suffix there are, such as "3 .fbx, 1 .blend"; empty if there are none."""
    return ", ".join(f"{count} {suffix}" for suffix, count in skipped.most_common() if count)


def is_empty(path: str) -> bool:
    """Return whether a path is a folder, but not a store, without a mesh in it or in its subfolders."""
    folder = Path(path)
    return folder.is_dir() and not (folder / "zarr.json").exists() and not any(_walk(folder, Counter()))


def _walk(folder: Path, skipped: Counter[str]) -> Iterator[Path]:
    """Yield the meshes in a folder, and count files of other formats by their suffixes."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and not name.endswith(".zarr")]
        for name in files:
            if name.startswith("."):
                continue
            suffixes = Path(name.lower()).suffixes
            if "".join(suffixes[-1:]) in MESH_SUFFIXES:
                yield Path(parent, name)
                continue
            suffix = "".join(suffixes[-2:] if suffixes[-1:] == [".gz"] else suffixes[-1:])
            skipped[suffix] += suffix in FOREIGN
