"""Pairs predicted meshes with the true meshes of the same shapes."""

import logging
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

from sdfkit.errors import InputError
from sdfkit.io.meshes.folders import is_empty
from sdfkit.io.meshes.reader import Meshes, MeshRow, open_meshes
from sdfkit.rows import Row
from sdfkit.wording import counted

log = logging.getLogger(__name__)
Pairing = Literal["auto", "uid", "order"]
Match = tuple[MeshRow, tuple[MeshRow, ...]]
# Uids that predict --samples gives to several samples of one shape.
SAMPLE = re.compile(r"(.+)_s\d+")


@dataclass(frozen=True, kw_only=True)
class Pair(Row):
    """A true mesh and its predictions: none, one, or several if they are samples."""

    truth: MeshRow
    guesses: tuple[MeshRow, ...]
    by_uid: bool
    """Whether the meshes were paired by their uids."""

    def find_origin(self) -> str:
        """Return the origin of the true mesh if the meshes were paired by their uids; otherwise an empty string."""
        return self.truth.find_origin() if self.by_uid else ""

    def check(self) -> None:
        """Check that the predictions were made from this mesh, if they say from which file they were made.

        Raises:
            InputError: The meshes were paired by their uids, but a prediction was made from another file.
        """
        for guess in self.guesses if self.by_uid else ():
            truth = self.truth.find_origin() if guess.origin else ""
            if truth not in ("", guess.origin):
                raise InputError(
                    f"the prediction was made from another mesh file than the true mesh (origin {guess.origin[:8]}…, "
                    f"{truth[:8]}…); give the mesh that was predicted, or add --pair order"
                )


@contextmanager
def open_predictions(path: str, *, manifest: Path | None) -> Iterator[Meshes]:
    """Open predicted meshes as `open_meshes` does, but accept a folder without meshes, which has no predictions.

    The command `mesh` writes such a folder if no shape has a surface.
    """
    if is_empty(path):
        log.warning("%s: is a folder without meshes; every true shape counts as not predicted", path)
        yield Meshes([], iter(()), 0, [])
        return
    with open_meshes([path], manifest=manifest) as meshes:
        yield meshes


class MeshPairs:
    """Iterates over true shapes with their predictions.

    The order is that of the predictions if they are a stream, otherwise that of the true shapes. A prediction belongs
    to the true shape whose uid equals the prediction's `sample_of` or, if `sample_of` is empty, the prediction's uid.
    If no true shape has the uid, a prediction named chair_s0, chair_s1, ... is taken for a sample of the shape chair.

    Args:
        predicted: Predicted meshes; may be a stream.
        truths: True meshes; may be a stream if `predicted` is not.
        how: "uid" pairs by uid, "order" by position. "auto" pairs by uid, with two exceptions: a single prediction is
            paired with a single true mesh whatever their uids; and if no uid occurs on both sides, meshes are paired by
            the names of their files, or by order if these have no name in common either and both sides have as many
            meshes. The second exception does not apply to streams, whose uids are not known in advance.
        all_due: Also yield true shapes without a prediction if there is at most one prediction. With more
            predictions such shapes are always yielded.

    Attributes:
        by: Whether meshes are paired by "uid" or by "order".
        count: Number of true shapes.

    Raises:
        InputError: The meshes cannot be paired.
    """

    def __init__(self, predicted: Meshes, truths: Meshes, how: Pairing, *, all_due: bool) -> None:
        self._predicted, self._truths = predicted, truths
        self._all_due = all_due or len(predicted) > 1
        equal = len(predicted) == len(truths)
        if how == "order" and not equal:
            raise InputError(
                f"{len(predicted)} predicted and {len(truths)} true meshes cannot be paired by order; give as many "
                "of each"
            )
        lone = equal and len(truths) == 1
        self.by: Literal["uid", "order"] = "order" if how == "order" or (how == "auto" and lone) else "uid"
        if how == "auto" and predicted.rows is not None and truths.rows is not None and not lone:
            self._find_common(predicted.rows, truths.rows)
        self.count = len(truths)

    def _find_common(self, predicted: Sequence[MeshRow], truths: Sequence[MeshRow]) -> None:
        """Where no uid occurs on both sides, pair by the names of the files, or by order."""
        if _have_common(predicted, truths):
            return
        named = [[_rename(row) for row in rows] for rows in (predicted, truths)]
        if _have_common(*named):
            log.warning(
                "predicted and true meshes have no uid in common; they are paired by their file names"
            )
            self._predicted, self._truths = (Meshes(rows, iter(()), len(rows), []) for rows in named)
        elif len(predicted) == len(truths):
            log.warning(
                "predicted and true meshes have no uid in common; the %d of each are paired by order",
                len(truths),
            )
            self.by = "order"

    def __iter__(self) -> Iterator[Pair]:
        for index, (truth, guesses) in enumerate(self._match()):
            by_uid = self.by == "uid"
            yield Pair(index=index, uid=truth.uid, truth=truth, guesses=guesses, by_uid=by_uid)

    def _match(self) -> Iterator[Match]:
        if self.by == "order":
            return ((truth, (guess,)) for guess, truth in zip(self._predicted, self._truths, strict=True))
        if self._predicted.rows is None:
            return self._as_predictions_come(self._truths.rows or ())
        return self._as_truths_come(self._predicted.rows)

    def _as_predictions_come(self, truths: Sequence[MeshRow]) -> Iterator[Match]:
        by_uid = {row.uid: row for row in truths}
        paired: set[str] = set()
        unmatched: list[str] = []
        # Samples of one shape follow each other.
        for uid, guesses in groupby(self._predicted, lambda row: _find(row, by_uid)):
            if uid is None:
                unmatched += [row.uid for row in guesses]
                continue
            paired.add(uid)
            yield by_uid[uid], tuple(guesses)
        self._report_unmatched(unmatched, list(by_uid))
        if self._all_due:
            yield from ((row, ()) for row in truths if row.uid not in paired)

    def _as_truths_come(self, predictions: Sequence[MeshRow]) -> Iterator[Match]:
        # If the truths are a stream, a uid like chair_s0 is kept as that shape and as a sample of chair.
        known = None if self._truths.rows is None else {row.uid for row in self._truths.rows}
        by_uid: dict[str, list[MeshRow]] = {}
        for row in predictions:
            for uid in _candidates(row) if known is None else {_find(row, known)} - {None}:
                by_uid.setdefault(str(uid), []).append(row)
        used: set[str] = set()
        true_uids: list[str] = []
        for truth in self._truths:
            true_uids.append(truth.uid)
            guesses = tuple(by_uid.get(truth.uid, ()))
            used.update(row.uid for row in guesses)
            if guesses or self._all_due:
                yield truth, guesses
        self._report_unmatched([row.uid for row in predictions if row.uid not in used], true_uids)

    def _report_unmatched(self, unmatched: list[str], truths: list[str]) -> None:
        if not unmatched:
            return
        if len(unmatched) == len(self._predicted):
            raise InputError(
                f"predicted meshes ({unmatched[0]} …) and true meshes ({truths[0]} …) have no uid in common; give the "
                "files equal names, or add --pair order"
            )
        log.warning(
            "left out %d of %s: no true mesh matches (%s …)",
            len(unmatched), counted(len(self._predicted), "predicted mesh"), unmatched[0],
        )  # fmt: skip


def _candidates(row: Row) -> list[str]:
    """List the uids of the shapes that a prediction may belong to, the most likely first.

    sdfkit writes the uid of the shape into the mesh of a sample. If another program has rewritten the mesh, that uid is
    lost, and only the name of the file remains.
    """
    if row.sample_of:
        return [row.sample_of]
    sample = SAMPLE.fullmatch(row.uid)
    return [row.uid, sample[1]] if sample else [row.uid]


def _have_common(predicted: Sequence[Row], truths: Sequence[Row]) -> bool:
    """Return whether a prediction belongs to a true shape, and no two meshes of one side have the same uid."""
    known = {row.uid for row in truths}
    differ = len(known) == len(truths) and len({row.uid for row in predicted}) == len(predicted)
    return differ and any(_find(row, known) for row in predicted)


def _rename(row: MeshRow) -> MeshRow:
    """Return a mesh of another program with the name of its file, without its folders, as its uid."""
    return row if row.info or not row.path else replace(row, uid=Path(row.path).stem)


def _find(row: Row, known: Container[str]) -> str | None:
    return next((uid for uid in _candidates(row) if uid in known), None)
