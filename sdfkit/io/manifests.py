"""Manifests: JSON files that list shapes with their uid, category, licence, source and checksum."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from sdfkit.errors import InputError
from sdfkit.io.fields import INDEX, parse_json
from sdfkit.rows import LABELS, Row, printable

FORMAT = 1
R = TypeVar("R", bound=Row)


@dataclass(frozen=True)
class Entry:
    """One shape of a manifest.

    `obj_idx` is the index of the shape in the list; the paper "image to 3-D from small data" numbers its shapes in this
    way. `path` is relative to the manifest's folder, so that manifest and meshes can be moved together.
    """

    obj_idx: int
    uid: str
    path: str
    category: str
    licence: str
    source: str
    sha256: str


def canonical_path(path: Path) -> Path:
    """Resolve the folder of a path, so that two paths of one file compare equal.

    A symbolic link to a file counts as a file of its own, so the last component is not resolved.
    """
    return path.parent.resolve() / path.name


def uids_by_path(shapes: Mapping[str, Entry], manifest: Path | None) -> dict[Path, str]:
    """Return the uids of the shapes of a manifest by the `canonical_path` of their files."""
    folder = manifest.parent if manifest else Path()
    return {canonical_path(folder / entry.path): entry.uid for entry in shapes.values()}


def is_manifest(path: str) -> bool:
    """Return whether an input is the file of a manifest, by its name."""
    return path.lower().endswith(".json") and Path(path).is_file()


def expand_manifests(inputs: Sequence[str]) -> tuple[list[str], dict[Path, Entry]]:
    """Replace the manifests among inputs by the mesh files that they list.

    Returns:
        The paths, and the shapes of the manifests by the `canonical_path` of their files.

    Raises:
        InputError: A file that ends in .json is not a manifest, or lists no shape.
    """
    paths: list[str] = []
    entries: dict[Path, Entry] = {}
    for name in inputs:
        if not is_manifest(name):
            paths.append(name)
            continue
        shapes = read_manifest(Path(name)).values()
        if not shapes:
            raise InputError(f"{name}: lists no shape")
        files = [Path(name).parent / entry.path for entry in shapes]
        entries |= dict(zip(map(canonical_path, files), shapes, strict=True))
        paths += map(str, files)
    return paths, entries


def with_listed(inputs: Sequence[str]) -> list[str]:
    """Return inputs, followed by the mesh files that the manifests among them list, as far as they can be read."""
    listed: list[str] = []
    for name in filter(is_manifest, inputs):
        with suppress(InputError):  # another kind of JSON; or a manifest that its reader refuses
            listed += expand_manifests([name])[0]
    return [*inputs, *listed]


def read_manifest(path: Path) -> dict[str, Entry]:
    """Read a manifest: its shapes by uid, in the order of the file. The uids and labels are `printable`.

    Raises:
        InputError: The file is not a manifest, its format is newer than this sdfkit, or two of its shapes share a uid.
    """
    return parse_manifest(path.read_bytes(), str(path))


def parse_manifest(text: bytes, path: str) -> dict[str, Entry]:
    """Parse the content of a manifest; see `read_manifest`. `path` is its name in messages."""
    try:
        content: Any = parse_json(text.decode("utf-8"))
        if not INDEX.fits(content["format"]):
            raise TypeError(f"format must be {INDEX.needed}")
        if content["format"] > FORMAT:
            newer = content["format"]
            raise InputError(
                f"{path}: has manifest format {newer}, but this sdfkit reads up to {FORMAT}; update sdfkit"
            )
        entries = [Entry(**shape) for shape in content["shapes"]]
        if any(not isinstance(value, str) for entry in entries for value in list(asdict(entry).values())[1:]):
            raise TypeError("a label is not a string")
        if any("\0" in entry.path for entry in entries):
            raise ValueError("a path contains a NUL character")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is not a manifest ({error}); make one with sdfkit manifest") from error
    entries = [_make_printable(entry) for entry in entries]
    shapes = {entry.uid: entry for entry in entries}
    if len(shapes) < len(entries):
        twice = next(uid for uid, n in Counter(entry.uid for entry in entries).items() if n > 1)
        raise InputError(f"{path}: lists several shapes with the uid {twice}; give every shape its own uid")
    return shapes


def _make_printable(entry: Entry) -> Entry:
    texts: dict[str, Any] = {name: printable(getattr(entry, name)) for name in ("uid", *LABELS)}
    return replace(entry, **texts)


def label(row: R, manifest: Mapping[str, Entry]) -> R:
    """Return a row with the labels that a manifest has for the row's uid.

    Where the manifest has an empty label, the row keeps its own. A row that is one of several samples of a shape takes
    the labels of that shape.
    """
    entry = manifest.get(row.uid) or manifest.get(row.sample_of)
    if entry is None:
        return row
    return replace(row, **{name: getattr(entry, name) or getattr(row, name) for name in LABELS})
