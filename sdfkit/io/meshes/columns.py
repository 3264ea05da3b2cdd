"""Meshes of the same shapes from several inputs, such as truth and predictions, shape by shape."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sdfkit.io.meshes.pairs import MeshPairs
from sdfkit.io.meshes.reader import Meshes, MeshRow, Up, open_meshes, read_info
from sdfkit.io.streams import name_of
from sdfkit.rows import Row, unique
from sdfkit.wording import counted

log = logging.getLogger(__name__)
# Names of columns.
TRUTH, PREDICTION = "truth", "prediction"


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
    that no input has are left out. Without it, several folders that have uids in common are columns, and so are several
    files into which sdfkit has written the same uid; all other inputs are one list of shapes.

    Args:
        inputs: Paths as for `open_meshes`.
        truth: Path of the true meshes, of which predictions are paired with as by `sdfkit compare`.
        manifest: A manifest with the labels of the meshes; None for none.
        up: The axis that points up in files that do not record it.
        beside: Whether inputs may be columns without a truth.

    Raises:
        InputError: An input has no meshes, or none that belongs to a true shape.
    """
    with ExitStack() as stack:

        def enter(paths: Sequence[str]) -> Meshes:
            return stack.enter_context(open_meshes(paths, manifest=manifest, up=up))

        folders = [path for path in inputs if Path(path).is_dir()]
        if truth is None:
            if beside and len(inputs) > 1 and (len(folders) == len(inputs) or _record_one_uid(inputs)):
                parts = [enter([path]) for path in inputs]
                if _share_uids(parts):
                    names = [_name(path) for path in inputs]
                    yield _join_by_uid(parts, names if len(set(names)) == len(names) else list(inputs))
                    return
            meshes = enter(inputs)
            yield MeshTable((_alone(row) for row in meshes), len(meshes), [""], has_truth=False)
            return
        files = [path for path in inputs if path not in folders]
        groups = [*([files] if files else []), *([path] for path in folders)]
        names = [PREDICTION] if len(groups) == 1 else [_name(group[0]) for group in groups]
        yield _pair_with_truth(enter([truth]), [enter(group) for group in groups], [TRUTH, *names])


def read_rows(path: str) -> dict[str, MeshRow]:
    """Return the meshes at a path by their uids."""
    with open_meshes([path], manifest=None) as meshes:
        return {row.uid: row for row in meshes.rows or ()}


def _name(path: str) -> str:
    return Path(path).name or name_of(path)


def _record_one_uid(inputs: Sequence[str]) -> bool:
    """Return whether sdfkit has written the same uid into all files. Equal names say little: many are `model.obj`."""
    if not all(Path(path).is_file() for path in inputs):
        return False
    uids = {str(read_info(Path(path)).get("uid", "")) for path in inputs}
    return len(uids) == 1 and "" not in uids


def _alone(row: MeshRow) -> MeshCells:
    return _make_row(row.index, row, (("", row),))


def _make_row(index: int, row: Row, cells: tuple[tuple[str, MeshRow | None], ...]) -> MeshCells:
    return MeshCells(index=index, uid=row.uid, category=row.category, cells=cells)


def _share_uids(parts: Sequence[Meshes]) -> bool:
    known = [{row.uid for row in part} for part in parts]
    return all(known[0] & others for others in known[1:])


def _join_by_uid(parts: Sequence[Meshes], names: Sequence[str]) -> MeshTable:
    """Put the meshes of all inputs that have the same uid into one row."""
    columns = [{row.uid: row for row in part} for part in parts]
    firsts = {uid: row for column in reversed(columns) for uid, row in column.items()}
    uids = list(dict.fromkeys(uid for column in columns for uid in column))
    names = unique(list(names))
    named = list(zip(names, columns, strict=True))
    rows = (
        _make_row(index, firsts[uid], tuple((name, column.get(uid)) for name, column in named))
        for index, uid in enumerate(uids)
    )
    return MeshTable(rows, len(uids), names, has_truth=False)


def _pair_with_truth(truth: Meshes, others: Sequence[Meshes], names: Sequence[str]) -> MeshTable:
    """Put each true mesh and the predictions of its shape into one row; several samples are several columns."""
    names = unique(list(names))
    found: list[dict[str, tuple[MeshRow, ...]]] = []
    truths: dict[str, MeshRow] = {}
    for meshes in others:
        pairs = [pair for pair in MeshPairs(meshes, truth, "auto", all_due=False) if pair.guesses]
        found.append({pair.uid: pair.guesses for pair in pairs})
        truths |= {pair.uid: pair.truth for pair in pairs}
    widths = [max(map(len, column.values())) for column in found]
    if len(truths) < len(truth):
        log.warning(
            "left out %d of %s, of which there is no prediction",
            len(truth) - len(truths), counted(len(truth), "true shape"),
        )  # fmt: skip
    columns = [names[0]]
    for name, width in zip(names[1:], widths, strict=True):
        columns += [f"{name} {sample + 1}" for sample in range(width)] if width > 1 else [name]

    def rows() -> Iterator[MeshCells]:
        for index, row in enumerate(sorted(truths.values(), key=lambda row: row.index)):
            meshes: list[MeshRow | None] = [row]
            for column, width in zip(found, widths, strict=True):
                guesses = column.get(row.uid, ())
                meshes += [*guesses, *[None] * (width - len(guesses))]
            yield _make_row(index, row, tuple(zip(columns, meshes, strict=True)))

    return MeshTable(rows(), len(truths), columns, has_truth=True)
