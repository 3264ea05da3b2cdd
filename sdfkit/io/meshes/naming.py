"""Names meshes: by a manifest, by the uid in their files, or by their paths."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdfkit.io.naming import FileName, FileNamer, Rule, tell_apart
from sdfkit.io.streams import MESH_SUFFIXES

ReadInfo = Callable[[Path], dict[str, Any]]


def name_meshes(
    paths: Sequence[Path], known: Mapping[Path, str], read_info: ReadInfo
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the metadata and the uid of each mesh file.

    Args:
        paths: The files.
        known: The uids of files that a manifest lists, by their `canonical_path`. Other files have the uid that sdfkit
            wrote into them; those of other programs are named by `FileNamer`.
        read_info: Reads the metadata that sdfkit wrote into a mesh file.

    Returns:
        The metadata and the uids, in the order of the files. No two uids are equal.
    """
    infos, names = find_names(paths, known, read_info)
    return infos, tell_apart(names)


def find_names(
    paths: Sequence[Path], known: Mapping[Path, str], read_info: ReadInfo, rule: Rule = "auto"
) -> tuple[list[dict[str, Any]], list[FileName]]:
    """Return the metadata of mesh files, and their names as `name_meshes` finds them, some of which may be equal.

    With another rule than "auto", the uids in the files are not used.
    """
    infos: dict[str, dict[str, Any]] = {}

    def info_of(path: str) -> dict[str, Any]:
        if path not in infos:
            infos[path] = read_info(Path(path))
        return infos[path]

    def uid_in(path: str) -> str:
        info = info_of(path)
        # An STL has no room for a uid, but sdfkit names the file after it.
        return str(info.get("uid") or Path(path).stem * bool(info))

    def own_name(path: str) -> str:
        try:
            return uid_in(path)
        except OSError:  # a link to nothing, or a file that may not be read
            return ""

    namer = FileNamer(MESH_SUFFIXES, own_name)
    uids = {str(path): uid for path, uid in known.items()}
    places = [namer.locate(path) for path in paths]
    names: dict[str, FileName] = {}
    for place, path in zip(places, paths, strict=True):
        given = uids.get(place, "")
        if rule == "auto":
            given = given or uid_in(place)
        if place not in names:
            names[place] = FileName(place, (0,), given) if given else namer.name(path, rule)
    return [info_of(place) for place in places], [names[place] for place in places]
