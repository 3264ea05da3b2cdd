"""Which predicted mesh belongs to which true one: the door to two inputs at once."""

import logging
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sdfkit.errors import InputError
from sdfkit.manifest import Row
from sdfkit.meshfile import Meshes, MeshRow

log = logging.getLogger(__name__)
Pairing = Literal["auto", "uid", "order"]
Match = tuple[MeshRow, MeshRow | None, int]
# What predict --samples calls several samples of one shape.
SAMPLE = re.compile(r"(.+)_s\d+")


@dataclass(frozen=True, kw_only=True)
class Pair(Row):
    """A true shape, and a mesh that was predicted of it: the `sample`th, None where there is none."""

    truth: MeshRow
    guess: MeshRow | None
    sample: int


class Pairs:
    """Pairs of predicted and true meshes, in the order of the stream where one of the two is a stream.

    A prediction belongs to the true shape with its uid, or, called uid_s0, uid_s1 …, is one of several samples of
    it. `by` says whether uids or places decide, `count` how many pairs there are at most.

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
            if equal and not any(_find(row.uid, names) for row in predicted.rows):
                log.warning("no uid in common: the %d meshes of both sides are paired by order", len(truths))
                self.by = "order"
        self.count = max(len(predicted), len(truths))

    def __iter__(self) -> Iterator[Pair]:
        for index, (truth, guess, sample) in enumerate(self._match()):
            yield Pair(index=index, uid=truth.uid, truth=truth, guess=guess, sample=sample)

    def _match(self) -> Iterator[Match]:
        if self.by == "order":
            return ((truth, guess, 0) for guess, truth in zip(self._predicted, self._truths, strict=True))
        if self._predicted.rows is None:
            return self._as_predictions_come(self._truths.rows or ())
        return self._as_truths_come(self._predicted.rows)

    def _as_predictions_come(self, truths: Sequence[MeshRow]) -> Iterator[Match]:
        by_uid = {row.uid: row for row in truths}
        samples = dict.fromkeys(by_uid, 0)
        strangers: list[str] = []
        for guess in self._predicted:
            uid = _find(guess.uid, by_uid)
            if uid is None:
                strangers.append(guess.uid)
                continue
            yield by_uid[uid], guess, samples[uid]
            samples[uid] += 1
        self._tell(strangers, list(by_uid))
        if len(self._predicted) > 1:
            yield from ((row, None, 0) for row in truths if not samples[row.uid])

    def _as_truths_come(self, predictions: Sequence[MeshRow]) -> Iterator[Match]:
        # Where the truths are a stream, a name that looks like a sample's waits under both of its meanings.
        known = None if self._truths.rows is None else {row.uid for row in self._truths.rows}
        by_uid: dict[str, list[MeshRow]] = {}
        for row in predictions:
            for uid in _readings(row.uid) if known is None else {_find(row.uid, known)} - {None}:
                by_uid.setdefault(str(uid), []).append(row)
        used: set[str] = set()
        told: list[str] = []
        for truth in self._truths:
            told.append(truth.uid)
            guesses = by_uid.get(truth.uid, [])
            used.update(row.uid for row in guesses)
            yield from ((truth, guess, sample) for sample, guess in enumerate(guesses))
            if not guesses and len(predictions) > 1:
                yield truth, None, 0
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


def _readings(uid: str) -> list[str]:
    """The shapes that a prediction of this name may be of, the likelier first."""
    sample = SAMPLE.fullmatch(uid)
    return [uid, sample[1]] if sample else [uid]


def _find(uid: str, known: Container[str]) -> str | None:
    return next((reading for reading in _readings(uid) if reading in known), None)
