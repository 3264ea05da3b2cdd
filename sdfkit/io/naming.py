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
# Paths are text here: with objects of pathlib, naming 100,000 files took four times as long.
SEPARATOR = os.sep
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
# The file that marks a folder of copies.
NAMED = ".sdfkit"
# Among the folders above a file with a generic name, at most this number may name the shape.
CLIMBED = 3


def mark_named(folder: Path) -> None:
    """Record in a folder that its files are copies which are named by their uids."""
    (folder / NAMED).write_text("The files of this folder are copies by sdfkit, named by their uids.\n")


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

    path: str
    levels: tuple[int, ...]
    given: str = ""
    suffix: bool = False

    @cached_property
    def uid(self) -> str:
        """The uid."""
        words = [self.part(level) for level in self.levels]
        return "_".join([*words, Path(self.path).suffix[1:]] if self.suffix else words)

    def part(self, level: int) -> str:
        """Return a part of the path; empty above the root."""
        if level == 0:
            return self.given or _split(self.path)[1]
        parts = self.path.split(SEPARATOR)
        return parts[-1 - level] if level < len(parts) else ""

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

    Files that name themselves are not counted: what sdfkit writes beside its input does not rename the input. Nor are
    copies that sdfkit made (see `mark_named`), which are named by their stems.

    Attributes:
        suffixes: Suffixes of the files that are compared, in lower case.
        own_name: Returns the uid that a file holds itself; empty if it holds none.
    """

    suffixes: Collection[str]
    own_name: Callable[[str], str]
    # Of folders: the files by their names without suffix; their folders; the names of up to two foreign files.
    _stems: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    _folders: dict[str, list[str]] = field(default_factory=dict)
    _foreign: dict[str, list[str]] = field(default_factory=dict)
    # Of folders of folders: the folders by the names of the files at a place in them.
    _beside: dict[tuple[str, str], dict[str, list[str]]] = field(default_factory=dict)
    _cousins: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    _resolved: dict[str, str] = field(default_factory=dict)
    # Whether the files of a folder are copies that are named by their uids.
    _named: dict[str, bool] = field(default_factory=dict)

    def name(self, path: Path, rule: Rule = "auto") -> FileName:
        """Name a file, by default as described above, or after its stem, or after the nearest folder with a name."""
        name = FileName(self.locate(path), (0,))
        if rule == "stem":
            return name
        if rule == "folder":
            return replace(name, levels=(next(_naming_levels(name), 1),))
        return replace(name, levels=self._find_levels(name))

    def locate(self, path: Path) -> str:
        """Return `canonical_path(path)` as text; the folders of earlier paths are kept."""
        folder = str(path.parent)
        if folder not in self._resolved:
            self._resolved[folder] = str(path.parent.resolve())
        return _join(self._resolved[folder], path.name)

    def _find_levels(self, name: FileName) -> tuple[int, ...]:
        folder, stem = _split(name.path)
        above, _, own = folder.rpartition(SEPARATOR)
        # A mesh that is copied with other files has a folder of its own.
        if self._is_named(folder) or (own == stem and self._is_named(above)):
            return (0,)
        alone = self._is_alone(folder, stem)
        if is_generic(stem):
            levels = list(islice(_naming_levels(name), CLIMBED))
            level = next(
                (level for level in levels if self._find_cousins(name, level)), next(iter(levels), 0)
            )
            return (level,) if alone or not level else (level, 0)
        level = 1
        while name.part(level).casefold() in KINDS:
            level += 1
        if is_stage(name.part(level)):
            return (0,)
        cousins = self._find_cousins(name, level)
        if not cousins:
            return (0,)
        return (level,) if alone and all(self._is_alone(cousin, stem) for cousin in cousins) else (level, 0)

    def _find_cousins(self, name: FileName, level: int) -> list[str]:
        """Find the files that have the same place and name in folders beside the one `level` levels above a file.

        Returns:
            The folders of up to two of these files.
        """
        folder, stem = _split(name.path)
        parts = folder.split(SEPARATOR)
        above, below = (
            SEPARATOR.join(parts[:-level]) or SEPARATOR,
            SEPARATOR.join(parts[len(parts) - level + 1 :]),
        )
        key = (above, below, stem)
        if key not in self._cousins:
            self._cousins[key] = list(islice(self._search_beside(above, below, stem), 3))
        return [cousin for cousin in self._cousins[key] if cousin != folder][:2]

    def _search_beside(self, above: str, below: str, stem: str) -> Iterator[str]:
        if above in _shared_folders():
            return
        if (above, below) not in self._beside:
            found: dict[str, list[str]] = {}
            for name in self._list_folders(above):
                for each in self._list_stems(_join(above, name, below)):
                    found.setdefault(each, []).append(name)
            self._beside[above, below] = found
        for name in self._beside[above, below].get(stem, ()):
            folder = _join(above, name, below)
            files = self._list_stems(folder)[stem]
            if not is_stage(name) and any(not self.own_name(_join(folder, file)) for file in files):
                yield folder

    def _is_alone(self, folder: str, stem: str) -> bool:
        """Return whether all other files of a folder name themselves."""
        if folder not in self._foreign:
            files = (
                (each, _join(folder, name))
                for each, names in self._list_stems(folder).items()
                for name in names
            )
            others = dict.fromkeys(each for each, path in files if not self.own_name(path))
            self._foreign[folder] = list(islice(others, 2))
        return all(other == stem for other in self._foreign[folder])

    def _list_folders(self, folder: str) -> list[str]:
        if folder not in self._folders:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            seen = [name for name in names if not name.startswith(".") and not name.endswith(".zarr")]
            self._folders[folder] = [
                name for name in seen[:SEARCHED] if not self._is_named(_join(folder, name))
            ]
        return self._folders[folder]

    def _is_named(self, folder: str) -> bool:
        if folder not in self._named:
            self._named[folder] = os.path.exists(_join(folder, NAMED))  # noqa: PTH110
        return self._named[folder]

    def _list_stems(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._stems:
            stems: dict[str, list[str]] = {}
            for name in _list_names(folder):
                stem, dot, suffix = name.rpartition(".")
                if stem and not name.startswith(".") and (dot + suffix).lower() in self.suffixes:
                    stems.setdefault(stem, []).append(name)
            self._stems[folder] = stems
        return self._stems[folder]


def _naming_levels(name: FileName) -> Iterator[int]:
    """Yield the folders above a file, the nearest first, that may name it."""
    count = name.path.count(SEPARATOR)
    for level in range(1, count):
        # In /home/NAME, the second part names a person.
        is_person = level == count - 2 and name.part(level + 1) in ("home", "Users")
        if not is_stage(name.part(level)) and not is_person:
            yield level


def _split(path: str) -> tuple[str, str]:
    """Return the folder of a file, and its name without its suffix."""
    folder, _, name = path.rpartition(SEPARATOR)
    stem, _, _ = name.rpartition(".")
    return folder or SEPARATOR, stem or name


def _join(*parts: str) -> str:
    return SEPARATOR.join(part.rstrip(SEPARATOR) for part in parts if part)


def _list_names(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except OSError:  # a folder that does not exist, or that may not be read
        return []


@cache
def _shared_folders() -> tuple[str, ...]:
    """Return the folders whose subfolders belong to different projects, so that their names tell no shapes apart."""
    return tuple(str(Path(folder).resolve()) for folder in (tempfile.gettempdir(), Path.home(), SEPARATOR))


def tell_apart(names: Sequence[FileName]) -> list[str]:
    """Return uids that differ, in the order of the names.

    Names that are equal get as many folders of their paths as are needed to tell them apart, or the suffixes of the
    files if only these differ. A file that is listed twice gets a number.
    """
    groups: dict[str, set[FileName]] = {}
    for name in names:
        groups.setdefault(name.uid, set()).add(name)
    single = {uid for uid, group in groups.items() if len(group) == 1}
    longer = {
        name: new for group in groups.values() if len(group) > 1 for name, new in _extend(group, single)
    }
    if longer:
        first = next(name for name in names if name in longer)
        log.warning(
            "%d of %d shapes would share their names (%s …); parts of their paths are added (%s …). Such names depend "
            "on which files are given together; a manifest fixes them",
            len(longer), len(names), printable(first.uid), printable(longer[first].uid),
        )  # fmt: skip
    return unique([printable(longer.get(name, name).uid) for name in names])


def _extend(group: set[FileName], single: Collection[str]) -> list[tuple[FileName, FileName]]:
    """Make the names of a group differ, also from names that no group shares. A single name that was given is kept."""
    given = [name for name in group if name.given]
    taken = {name.uid for name in given} if len(given) == 1 else set()
    old = sorted((name for name in group if not (taken and name.given)), key=lambda name: name.path)
    new = old

    def differ() -> bool:
        return len({uid for name in new if (uid := name.uid) not in taken and uid not in single}) == len(new)

    for level in range(max(name.path.count(SEPARATOR) for name in old)):
        if differ():
            break
        if len(old) == 1 or len({name.part(level) for name in old}) > 1:
            new = [name.extend(level) for name in new]
    if not differ():
        new = [replace(name, suffix=True) for name in new]
    return list(zip(old, new, strict=True))
