"""Chooses shapes by what is known of them (uid, labels, failure) and by lot, and splits them into two sets.

A choice by lot depends on the seed and the names of the shapes only. It is the same in every store, folder of meshes
and manifest of the same shapes, whatever their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, Literal

from sdfkit.errors import InputError, UsageError
from sdfkit.rows import Row, draw
from sdfkit.wording import counted, listed

By = Literal["instance", "category"]


@dataclass(frozen=True)
class Conditions:
    """Which rows to choose: those that fulfil all conditions. `choose` applies them in the order of the attributes.

    Attributes:
        uids: Uids of the rows. That of a shape also stands for the rows that are samples of it.
        globs: Patterns of the shell, one of which the uid must match.
        categories: Categories, one of which the shape must have.
        licences: Licences, one of which the shape must have.
        status: Whether the shape must have failed.
        share: Share of the shapes to draw by lot, at least one shape.
        count: Number of shapes to draw by lot.
        seed: Seed of the lots.
        first: Number of rows to keep, from the first one.
        part: Part k of n, counted from 1. The parts are ranges of rows of equal length, or with one row more.
    """

    uids: Sequence[str] = ()
    globs: Sequence[str] = ()
    categories: Sequence[str] = ()
    licences: Sequence[str] = ()
    status: Literal["any", "valid", "failed"] = "any"
    share: float | None = None
    count: int | None = None
    seed: int = 0
    first: int | None = None
    part: tuple[int, int] | None = None

    @property
    def needs_all(self) -> bool:
        """Whether all rows must have arrived before the first one can be chosen."""
        return self.status != "any" or not (self.share is None and self.count is None and self.part is None)

    def describe(self) -> dict[str, Any]:
        """Return the conditions that are given, as settings of a store."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        by_lot = self.share is not None or self.count is not None
        return {
            name: list(value) if isinstance(value, tuple | list) else value
            for name, value in given.items()
            if value not in (None, (), [], "any") and (name != "seed" or by_lot)
        }


def parse_part(text: str | None) -> tuple[int, int] | None:
    """Parse a part such as "3/16"; None for None.

    Raises:
        UsageError: The text is not of this form, or the number is not from 1 to the number of parts.
    """
    if text is None:
        return None
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"--part {text}: is not a part; give its number and the number of parts, as in 3/16")
    return int(number), int(count)


class Filter:
    """Tests rows one by one against the conditions that concern single rows, and notes which were never met."""

    def __init__(self, conditions: Conditions, name: str) -> None:
        self._conditions, self._name = conditions, name
        self._missing: dict[str, set[str]] = {
            "uid": set(conditions.uids),
            "category": set(conditions.categories),
            "licence": set(conditions.licences),
        }
        self._unmatched = set(conditions.globs)
        self._count = 0

    def matches(self, row: Row) -> bool:
        """Return whether a row fulfils the conditions."""
        conditions = self._conditions
        self._count += 1
        self._missing["uid"] -= {row.uid, row.shape}
        self._missing["category"].discard(row.category)
        self._missing["licence"].discard(row.licence)
        globs = [pattern for pattern in conditions.globs if fnmatchcase(row.uid, pattern)]
        self._unmatched.difference_update(globs)
        return (
            (not conditions.uids or row.uid in conditions.uids or row.shape in conditions.uids)
            and (not conditions.globs or bool(globs))
            and (not conditions.categories or row.category in conditions.categories)
            and (not conditions.licences or row.licence in conditions.licences)
            and (conditions.status == "any" or bool(row.error) == (conditions.status == "failed"))
        )

    def check(self) -> None:
        """Check that each uid, pattern, category and licence was met, after all rows were tested.

        Raises:
            InputError: One was not.
        """
        for label, missing in self._missing.items():
            if missing:
                raise InputError(
                    f"{self._name}: none of its {counted(self._count, 'row')} has the {label} "
                    f"{listed(sorted(missing))}; sdfkit info lists what is there"
                )
        if self._unmatched:
            raise InputError(
                f"{self._name}: no uid of its {counted(self._count, 'row')} matches {listed(sorted(self._unmatched))}; "
                "in a pattern, * stands for any text"
            )


def choose(rows: Sequence[Row], conditions: Conditions, name: str) -> list[int]:
    """Choose rows.

    Args:
        rows: All rows of an input.
        conditions: The conditions, applied in the order of their attributes: the first rows are those of the shapes
            drawn by lot, and a part is one of the rows that are left.
        name: Name of the input in messages.

    Returns:
        The positions of the chosen rows in `rows`, ascending.

    Raises:
        InputError: A uid, pattern, category or licence matches no row, no row fulfils all conditions, or more shapes
            are to be drawn than there are.
    """
    kept = Filter(conditions, name)
    found = [position for position, row in enumerate(rows) if kept.matches(row)]
    kept.check()
    if not found:
        of = f"{name}: none of its {counted(len(rows), 'row')}"
        if conditions.describe() == {"status": conditions.status}:
            raise InputError(f"{of} {'has failed' if conditions.status == 'failed' else 'is valid'}")
        raise InputError(f"{of} fulfils all conditions; give fewer")
    if conditions.share is not None or conditions.count is not None:
        names = list(dict.fromkeys(rows[position].shape for position in found))
        count = conditions.count
        if count is None:
            count = _number_of(names, conditions.share or 0)
        if count > len(names):
            raise InputError(
                f"{name}: has {counted(len(names), 'shape')} to draw {count} from; lower --count"
            )
        drawn = _draw_names(names, count, conditions.seed)
        found = [position for position in found if rows[position].shape in drawn]
    if conditions.first is not None:
        found = found[: conditions.first]
    if conditions.part is not None:
        number, parts = conditions.part
        if parts > len(found):
            raise InputError(
                f"{name}: has {counted(len(found), 'row')} for {parts} parts; give at most as many parts as rows"
            )
        found = found[(number - 1) * len(found) // parts : number * len(found) // parts]
    return found


def _number_of(names: Sequence[str], share: float) -> int:
    return max(1, round(share * len(names)))


def _draw_names(names: Sequence[str], count: int, seed: int) -> set[str]:
    return {names[index] for index in draw(names, count, seed)}


def hold_out(rows: Sequence[Row], share: float, by: By, seed: int, name: str) -> list[int]:
    """Choose the rows of shapes that are held out of training.

    All samples of one shape are held out, or none. By instance, the same shapes are chosen as by `Conditions.share`.

    Args:
        rows: All rows of an input.
        share: Share of the shapes, or of the categories, to hold out: at least one.
        by: instance: draw shapes; category: draw whole categories.
        seed: Seed of the lots.
        name: Name of the input in messages.

    Returns:
        The positions of these rows in `rows`, ascending.

    Raises:
        InputError: No shape or category would remain, or a shape has no category.
    """
    if by == "category":
        unlabelled = [row.uid for row in rows if not row.category]
        if unlabelled:
            raise InputError(
                f"{name}: {counted(len(unlabelled), 'row')} without category ({listed(sorted(unlabelled))}); give "
                "--manifest, or split by instance"
            )
    groups = [row.category if by == "category" else row.shape for row in rows]
    names = list(dict.fromkeys(groups))
    count = _number_of(names, share)
    if count >= len(names):
        noun = "shape" if by == "instance" else "category"
        raise InputError(
            f"{name}: --held-out {share:g} leaves none of {counted(len(names), noun)} to train on; give a smaller "
            "share, or more of them"
        )
    drawn = _draw_names(names, count, seed)
    return [position for position, group in enumerate(groups) if group in drawn]
