"""Names shapes after their files. A name depends on the file's path and on what lies beside it, not on other inputs."""

import logging
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

from sdfkit.rows import printable, unique

log = logging.getLogger(__name__)
Rule = Literal["auto", "stem", "folder"]
# File names that do not tell one shape from another.
STEMS = {
    "3d", "3d-asset", "3dmodel", "asset", "base", "collision", "default", "export", "exported", "file", "final",
    "fused", "geom", "geometry", "gt", "image", "img", "input", "isosurface", "main", "manifold", "mesh",
    "mesh_textured", "model", "model_normalized", "model_watertight", "nontextured", "normalized_model", "obj",
    "object", "out", "output", "photo", "pic", "picture", "poisson", "poly", "polygon", "pred", "prediction",
    "preview", "raw_model", "recon", "reconstruction", "render", "rendered", "result", "rgb", "rgba", "root",
    "scan", "scene", "shape", "simplified", "surface", "texture_mesh", "textured", "textured_mesh",
    "textured_simple", "thumbnail", "untitled", "view", "visual", "watertight",
}  # fmt: skip
# Folders that say what is in their files: formats and kinds of files.
KINDS = {
    "3mf", "asset", "assets", "collada", "dae", "file", "files", "geometry", "glb", "glbs", "gltf", "image",
    "images", "mesh", "meshes", "model", "models", "obj", "objs", "off", "ply", "plys", "stl", "stls", "visual",
    "visuals",
}  # fmt: skip
# Folders that say how far their files have come. The same name in two of them means the same shape.
STAGES = {
    "cache", "clean", "cleaned", "closed", "color", "colour", "data", "dataset", "datasets", "decimated", "depth",
    "desktop", "documents", "downloads", "export", "exports", "final", "fixed", "ground_truth", "groundtruth",
    "gt", "home", "input", "inputs", "manifold", "masks", "media", "mnt", "normal", "normalised", "normalized",
    "normals", "original", "originals", "out", "output", "outputs", "photos", "pictures", "poisson", "pred",
    "predicted", "prediction", "predictions", "preds", "processed", "raw", "recon", "reconstructed",
    "reconstruction", "reconstructions", "ref", "reference", "references", "remeshed", "rendered", "renders",
    "repaired", "result", "results", "rgb", "rgba", "root", "scan", "scans", "scratch", "simplified", "source",
    "src", "target", "targets", "textured", "tmp", "true", "truth", "tsdf", "users", "views", "watertight", "work",
}  # fmt: skip
VARIANT = re.compile(
    r"tmp.*|temp(?:[-_.\d].*)?|pytest.*|popen-gw\d+|test_.+\d|google_\d+k|lod[-_]?\d+|v\d+|\d{3}-\d{3}"
)
# At most this number of folders beside that of a file are searched for files of the same name.
SEARCHED = 256
# Among the folders above a file with a generic name, at most this number may name the shape.
CLIMBED = 3


def is_stage(folder: str) -> bool:
    """Return whether the name of a folder says only what its files are, not which shape or category they show."""
    name = folder.casefold()
    return not name or name in KINDS or name in STAGES or bool(VARIANT.fullmatch(name))


def is_generic(stem: str) -> bool:
    """Return whether the name of a file, without its suffix, does not tell one shape from another."""
    return stem.casefold() in STEMS


@dataclass(frozen=True)
class FileName:
    """The name of a shape, and the parts of its path that the name consists of.

    Attributes:
        path: The file, with its folder resolved.
        levels: Parts of the path, outermost first: 0 is the file's name without its suffix, 1 its folder, and so on.
        given: A uid that does not come from the path and stands for part 0; empty if there is none.
        suffix: Whether the name ends with the file's suffix.
    """

    path: Path
    levels: tuple[int, ...]
    given: str = ""
    suffix: bool = False

    @cached_property
    def uid(self) -> str:
        """The uid."""
        words = [self.part(level) for level in self.levels]
        return "_".join([*words, self.path.suffix[1:]] if self.suffix else words)

    def part(self, level: int) -> str:
        """Return a part of the path; empty above the root."""
        if level == 0:
            return self.given or self.path.stem
        return self.path.parents[level - 1].name if level <= len(self.path.parents) else ""

    def extend(self, level: int) -> "FileName":
        """Return the same name with one more part of the path."""
        return replace(self, levels=tuple(sorted({*self.levels, level}, reverse=True)))


@dataclass
class FileNamer:
    """Names files by their paths.

    The name is the file's name without its suffix. If a folder beside the file's folder holds a file of the same name,
    the folder is put before it (chair/0001.off is chair_0001). If the file's name is generic (model.obj), or each of
    these folders holds only that one file, the folder's name stands for it. Generic names take the nearest folder whose
    name is not one of a kind or stage of files (ID/models/model_normalized.obj is ID).

    Files that name themselves are not counted: what sdfkit writes beside its input does not rename the input.

    Attributes:
        suffixes: Suffixes of the files that are compared, in lower case.
        own_name: Returns the uid that a file holds itself; empty if it holds none.
    """

    suffixes: Collection[str]
    own_name: Callable[[Path], str]
    _stems: dict[Path, dict[str, list[str]]] = field(default_factory=dict)
    _folders: dict[Path, list[str]] = field(default_factory=dict)
    _beside: dict[tuple[Path, Path], dict[str, list[str]]] = field(default_factory=dict)
    _cousins: dict[tuple[Path, Path, str], list[tuple[str, bool]]] = field(default_factory=dict)
    _resolved: dict[Path, Path] = field(default_factory=dict)

    def name(self, path: Path, rule: Rule = "auto") -> FileName:
        """Name a file, by default as described above, or after its stem, or after the nearest folder with a name."""
        path = self.locate(path)
        if rule == "stem":
            return FileName(path, (0,))
        if rule == "folder":
            return FileName(path, (next(self._naming_levels(path), 1),))
        return FileName(path, self._find_levels(path))

    def locate(self, path: Path) -> Path:
        """Return `canonical_path(path)`; the folders of earlier paths are kept."""
        if path.parent not in self._resolved:
            self._resolved[path.parent] = path.parent.resolve()
        return self._resolved[path.parent] / path.name

    def _find_levels(self, path: Path) -> tuple[int, ...]:
        alone = self._is_alone(path)
        if is_generic(path.stem):
            levels = list(islice(self._naming_levels(path), CLIMBED))
            level = next(
                (level for level in levels if self._find_cousins(path, level)), next(iter(levels), 0)
            )
            return (level,) if alone or not level else (level, 0)
        level = 1
        while path.parents[level - 1].name.casefold() in KINDS:
            level += 1
        if is_stage(path.parents[level - 1].name):
            return (0,)
        cousins = self._find_cousins(path, level)
        if not cousins:
            return (0,)
        return (level,) if alone and all(alone for _, alone in cousins) else (level, 0)

    def _naming_levels(self, path: Path) -> Iterator[int]:
        """Yield the folders above a file, the nearest first, that may name it."""
        count = len(path.parents)
        for level in range(1, count):
            # In /home/NAME, the second part names a person.
            is_person = level == count - 2 and path.parents[count - 2].name in ("home", "Users")
            if not is_stage(path.parents[level - 1].name) and not is_person:
                yield level

    def _find_cousins(self, path: Path, level: int) -> list[tuple[str, bool]]:
        """Find folders beside the folder `level` levels above a file in which a file has the same place and name.

        Returns:
            The name of each folder, and whether the file in it is the only one.
        """
        folder = path.parents[level - 1]
        above, below = folder.parent, path.parent.relative_to(folder)
        key = (above, below, path.stem)
        if key not in self._cousins:
            self._cousins[key] = list(islice(self._search_beside(above, below, path.stem), CLIMBED * 3))
        return [cousin for cousin in self._cousins[key] if cousin[0] != folder.name]

    def _search_beside(self, above: Path, below: Path, stem: str) -> Iterator[tuple[str, bool]]:
        if above in _shared_folders():
            return
        if (above, below) not in self._beside:
            found: dict[str, list[str]] = {}
            for name in self._list_folders(above):
                for each in self._list_stems(above / name / below):
                    found.setdefault(each, []).append(name)
            self._beside[above, below] = found
        for name in self._beside[above, below].get(stem, ()):
            folder = above / name / below
            files = self._list_stems(folder).get(stem, ())
            if not is_stage(name) and any(not self.own_name(folder / file) for file in files):
                yield name, self._is_alone(folder / files[0])

    def _is_alone(self, path: Path) -> bool:
        """Return whether no file of another name lies beside a file."""
        others = (files for stem, files in self._list_stems(path.parent).items() if stem != path.stem)
        return all(self.own_name(path.parent / file) for files in others for file in files)

    def _list_folders(self, folder: Path) -> list[str]:
        if folder not in self._folders:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            seen = [name for name in names if not name.startswith(".") and not name.endswith(".zarr")]
            self._folders[folder] = seen[:SEARCHED]
        return self._folders[folder]

    def _list_stems(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._stems:
            stems: dict[str, list[str]] = {}
            for name in _list_names(folder):
                file = Path(name)
                if file.suffix.lower() in self.suffixes and not name.startswith("."):
                    stems.setdefault(file.stem, []).append(name)
            self._stems[folder] = stems
        return self._stems[folder]


def _list_names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except OSError:  # a folder that does not exist, or that may not be read
        return []


@cache
def _shared_folders() -> tuple[Path, ...]:
    """Return the folders whose subfolders belong to different projects, so that their names tell no shapes apart."""
    return tuple(Path(folder).resolve() for folder in (tempfile.gettempdir(), Path.home(), os.sep))


def tell_apart(names: Sequence[FileName]) -> list[str]:
    """Return uids that differ, in the order of the names.

    Names that are equal get as many folders of their paths as are needed to tell them apart, or the suffixes of the
    files if only these differ. A file that is listed twice gets a number.
    """
    groups: dict[str, set[FileName]] = {}
    for name in names:
        groups.setdefault(name.uid, set()).add(name)
    longer = {name: new for group in groups.values() if len(group) > 1 for name, new in _extend(group)}
    if longer:
        first = next(name for name in names if name in longer)
        log.warning(
            "%d of %d shapes would share their names (%s …); parts of their paths are added (%s …). Such names depend "
            "on which files are given together; a manifest fixes them",
            len(longer), len(names), printable(first.uid), printable(longer[first].uid),
        )  # fmt: skip
    return unique([printable(longer.get(name, name).uid) for name in names])


def _extend(group: set[FileName]) -> list[tuple[FileName, FileName]]:
    """Make the names of a group differ. A single name that was given is kept."""
    given = [name for name in group if name.given]
    taken = {name.uid for name in given} if len(given) == 1 else set()
    old = sorted((name for name in group if not (taken and name.given)), key=lambda name: name.path)
    new = old

    def differ() -> bool:
        return len({name.uid for name in new} - taken) == len(new)

    for level in range(max(len(name.path.parents) for name in old)):
        if differ():
            break
        if len(old) == 1 or len({name.part(level) for name in old}) > 1:
            new = [name.extend(level) for name in new]
    if not differ():
        new = [replace(name, suffix=True) for name in new]
    return list(zip(old, new, strict=True))
