"""Which predicted mesh belongs to which true one: the door to two inputs at once."""

import logging
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from sdfkit.errors import InputError
from sdfkit.io.meshes.reader import Meshes, MeshRow, is_empty, open_meshes
from sdfkit.rows import Row

log = logging.getLogger(__name__)
Pairing = Literal["auto", "uid", "order"]
Match = tuple[MeshRow, tuple[MeshRow, ...]]
# What predict --samples calls several samples of one shape.
SAMPLE = re.compile(r"(.+)_s\d+")


@dataclass(frozen=True, kw_only=True)
class Pair(Row):
    """A true shape, and the meshes that were predicted of it: several where they are samples, or none."""

    truth: MeshRow
    guesses: tuple[MeshRow, ...]


@contextmanager
def open_predictions(path: str, *, manifest: Path | None) -> Iterator[Meshes]:
    """Open what was predicted, as `open_meshes` does; a folder without meshes predicts nothing.

    Such a folder is what `mesh` leaves where no shape has a surface.
    """
    if is_empty(path):
        log.warning("%s: a folder without meshes; every true shape counts as not predicted", path)
        yield Meshes([], iter(()), 0, [])
        return
    with open_meshes([path], manifest=manifest) as meshes:
        yield meshes


class Pairs:
    """True shapes with what was predicted of them, in the order of the stream where one of the two is a stream.

    A prediction belongs to the true shape with its uid, or is one of several samples of the shape that it names, or,
    called uid_s0, uid_s1 …, seems to. `by` says whether uids or places decide, `count` how many shapes there are.

    Args:
        predicted: What was predicted; may be a stream.
        truths: What is true; may be a stream where `predicted` is none.
        how: "auto" takes one prediction for one truth whatever their names, and pairs by order where uids have
            nothing in common and the numbers are equal; of a stream the uids are not known beforehand.
        all_due: Every true shape should have a prediction. Else of one prediction alone only its own truth counts.

    Raises:
        InputError: Nothing to pair.
    """

    def __init__(self, predicted: Meshes, truths: Meshes, how: Pairing, *, all_due: bool) -> None:
        self._predicted, self._truths = predicted, truths
        self._all_due = all_due or len(predicted) > 1
        equal = len(predicted) == len(truths)
        if how == "order" and not equal:
            raise InputError(
                f"{len(predicted)} predicted meshes and {len(truths)} true ones; by order there must be as many"
            )
        lone = equal and len(truths) == 1
        self.by: Literal["uid", "order"] = "order" if how == "order" or (how == "auto" and lone) else "uid"
        if how == "auto" and predicted.rows is not None and truths.rows is not None and not lone:
            names = {row.uid for row in truths.rows}
            if equal and not any(_find(row, names) for row in predicted.rows):
                log.warning("no uid in common: the %d meshes of both sides are paired by order", len(truths))
                self.by = "order"
        self.count = len(truths)

    def __iter__(self) -> Iterator[Pair]:
        for index, (truth, guesses) in enumerate(self._match()):
            yield Pair(index=index, uid=truth.uid, truth=truth, guesses=guesses)

    def _match(self) -> Iterator[Match]:
        if self.by == "order":
            return ((truth, (guess,)) for guess, truth in zip(self._predicted, self._truths, strict=True))
        if self._predicted.rows is None:
            return self._as_predictions_come(self._truths.rows or ())
        return self._as_truths_come(self._predicted.rows)

    def _as_predictions_come(self, truths: Sequence[MeshRow]) -> Iterator[Match]:
        by_uid = {row.uid: row for row in truths}
        met: set[str] = set()
        strangers: list[str] = []
        # Samples of one shape come one behind the other.
        for uid, guesses in groupby(self._predicted, lambda row: _find(row, by_uid)):
            if uid is None:
                strangers += [row.uid for row in guesses]
                continue
            met.add(uid)
            yield by_uid[uid], tuple(guesses)
        self._tell(strangers, list(by_uid))
        if self._all_due:
            yield from ((row, ()) for row in truths if row.uid not in met)

    def _as_truths_come(self, predictions: Sequence[MeshRow]) -> Iterator[Match]:
        # Where the truths are a stream, a name that looks like a sample's waits under both of its meanings.
        known = None if self._truths.rows is None else {row.uid for row in self._truths.rows}
        by_uid: dict[str, list[MeshRow]] = {}
        for row in predictions:
            for uid in _readings(row) if known is None else {_find(row, known)} - {None}:
                by_uid.setdefault(str(uid), []).append(row)
        used: set[str] = set()
        told: list[str] = []
        for truth in self._truths:
            told.append(truth.uid)
            guesses = tuple(by_uid.get(truth.uid, ()))
            used.update(row.uid for row in guesses)
            if guesses or self._all_due:
                yield truth, guesses
        self._tell([row.uid for row in predictions if row.uid not in used], told)

    def _tell(self, strangers: list[str], truths: list[str]) -> None:
        if not strangers:
            return
        if len(strangers) == len(self._predicted):
            raise InputError(
                f"no uid in common: predicted {strangers[0]} …, true {truths[0]} …; name the files alike, or add "
                "--pair order"
            )
        log.warning(
            "%d of %d predicted meshes have no true shape (%s …) and are left aside",
            len(strangers), len(self._predicted), strangers[0],
        )  # fmt: skip


def _readings(row: Row) -> list[str]:
    """The shapes that a prediction may be of, the likelier first.

    A mesh of ours says of which shape it is a sample. One that a tool has written again has only its name.
    """
    if row.sample_of:
        return [row.sample_of]
    sample = SAMPLE.fullmatch(row.uid)
    return [row.uid, sample[1]] if sample else [row.uid]


def _find(row: Row, known: Container[str]) -> str | None:
    return next((reading for reading in _readings(row) if reading in known), None)
