"""Which predicted mesh belongs to which true one: the door to two inputs at once."""

import logging
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from sdfkit.errors import InputError
from sdfkit.manifest import Row
from sdfkit.meshfile import Meshes, MeshRow

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


class Pairs:
    """True shapes with what was predicted of them, in the order of the stream where one of the two is a stream.

    A prediction belongs to the true shape with its uid, or is one of several samples of the shape that it names, or,
    called uid_s0, uid_s1 …, seems to. `by` says whether uids or places decide, `count` how many shapes there are.

    Args:
        predicted: What was predicted; may be a stream.
        truths: What is true; may be a stream where `predicted` is none.
        how: "auto" takes one prediction for one truth whatever their names, and pairs by order where uids have
            nothing in common and the numbers are equal; of a stream the uids are not known beforehand.

    Raises:
        InputError: Nothing to pair.
    """

    def __init__(self, predicted: Meshes, truths: Meshes, how: Pairing) -> None:
        self._predicted, self._truths = predicted, truths
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
        if len(self._predicted) > 1:
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
            if guesses or len(predictions) > 1:
                yield truth, guesses
        self._tell([row.uid for row in predictions if row.uid not in used], told)

    def _tell(self, strangers: list[str], truths: list[str]) -> None:
        if len(strangers) == len(self._predicted):
            raise InputError(
                f"no uid in common: predicted {strangers[0]} …, true {truths[0]} …; name the files alike, or add "
                "--pair order"
            )
        if strangers:
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
