"""Meshes of the same shapes from several inputs, such as truth and predictions, shape by shape."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sdfkit.io.meshes.pairs import MeshPairs
from sdfkit.io.meshes.reader import Meshes, MeshRow, Up, open_meshes
from sdfkit.io.streams import name_of
from sdfkit.rows import Row, unique
from sdfkit.wording import counted

log = logging.getLogger(__name__)
TRUTH = "truth"


@dataclass(frozen=True, kw_only=True)
class MeshCells(Row):
    """The meshes of one shape: each with the name of its column, and None where a column lacks the shape."""

    cells: tuple[tuple[str, MeshRow | None], ...]


@dataclass(frozen=True)
class MeshTable:
    """Shapes as rows and inputs as columns.

    Attributes:
        rows: The shapes.
        count: Their number.
        columns: Names of the inputs; one empty name if there is one input.
        has_truth: Whether the first column is the ground truth.
    """

    rows: Iterator[MeshCells]
    count: int
    columns: Sequence[str]
    has_truth: bool


@contextmanager
def open_table(
    inputs: Sequence[str], *, truth: str | None, manifest: Path | None, up: Up, beside: bool = True
) -> Iterator[MeshTable]:
    """Open meshes side by side.

    With `truth`, each folder of the inputs is a column beside the truth, and all single files together are one; shapes
    that no input has are left out. Without it, several folders that have uids in common are columns, and all other
    inputs are one list of shapes.

    Args:
        inputs: Paths as for `open_meshes`.
        truth: Path of the true meshes, of which predictions are paired with as by `sdfkit compare`.
        manifest: A manifest with the labels of the meshes; None for none.
        up: The axis that points up in files that do not record it.
        beside: Whether folders may be columns.

    Raises:
        InputError: An input has no meshes, or none that belongs to a true shape.
    """
    with ExitStack() as stack:

        def enter(paths: Sequence[str]) -> Meshes:
            return stack.enter_context(open_meshes(paths, manifest=manifest, up=up))

        folders = [path for path in inputs if Path(path).is_dir()]
        if truth is None:
            if beside and len(folders) == len(inputs) > 1:
                parts = [enter([path]) for path in inputs]
                if _share_uids(parts):
                    yield _line_up(parts[0], parts[1:], [_name(path) for path in inputs], has_truth=False)
                    return
            meshes = enter(inputs)
            yield MeshTable((_alone(row) for row in meshes), len(meshes), [""], has_truth=False)
            return
        files = [path for path in inputs if path not in folders]
        groups = [*([files] if files else []), *([path] for path in folders)]
        names = ["prediction"] if len(groups) == 1 else [_name(group[0]) for group in groups]
        yield _line_up(enter([truth]), [enter(group) for group in groups], [TRUTH, *names], has_truth=True)


def read_rows(path: str) -> dict[str, MeshRow]:
    """Return the meshes at a path by their uids."""
    with open_meshes([path], manifest=None) as meshes:
        return {row.uid: row for row in meshes.rows or ()}


def _name(path: str) -> str:
    return Path(path).name or name_of(path)


def _alone(row: MeshRow) -> MeshCells:
    return _make_row(row.index, row, (("", row),))


def _make_row(index: int, row: Row, cells: tuple[tuple[str, MeshRow | None], ...]) -> MeshCells:
    return MeshCells(index=index, uid=row.uid, category=row.category, cells=cells)


def _share_uids(parts: Sequence[Meshes]) -> bool:
    known = [{row.uid for row in part} for part in parts]
    return all(known[0] & others for others in known[1:])


def _line_up(first: Meshes, others: Sequence[Meshes], names: Sequence[str], *, has_truth: bool) -> MeshTable:
    """Pair the meshes of each input with those of the first one."""
    names = unique(list(names))
    found: list[dict[str, tuple[MeshRow, ...]]] = []
    truths: dict[str, MeshRow] = {}
    for meshes in others:
        pairs = list(MeshPairs(meshes, first, "auto", all_due=False))
        found.append({pair.uid: pair.guesses for pair in pairs})
        truths |= {pair.uid: pair.truth for pair in pairs}
    if not has_truth:
        truths = {row.uid: row for row in first}
    kept = [uid for uid in truths if not has_truth or any(column.get(uid) for column in found)]
    widths = [max([1, *(len(column.get(uid, ())) for uid in kept)]) for column in found]
    if has_truth and len(kept) < len(first):
        log.warning(
            "left out %d of %s, of which there is no prediction",
            len(first) - len(kept),
            counted(len(first), "true shape"),
        )
    columns = [names[0]]
    for name, width in zip(names[1:], widths, strict=True):
        columns += [f"{name} {sample + 1}" for sample in range(width)] if width > 1 else [name]

    def rows() -> Iterator[MeshCells]:
        for index, uid in enumerate(kept):
            meshes: list[MeshRow | None] = [truths[uid]]
            for column, width in zip(found, widths, strict=True):
                guesses = column.get(uid, ())
                meshes += [*guesses, *[None] * (width - len(guesses))]
            yield _make_row(index, truths[uid], tuple(zip(columns, meshes, strict=True)))

    return MeshTable(rows(), len(kept), columns, has_truth)
