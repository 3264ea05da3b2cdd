"""Chooses shapes of Objaverse by category and licence."""

import difflib
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from sdfkit.errors import InputError, UsageError
from sdfkit.io.objaverse.annotations import LICENCES
from sdfkit.rows import Row, shuffle
from sdfkit.wording import counted

# Licences that permit both changed copies and commercial use.
FREE = ("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0")
LookUp = Callable[[Sequence[str]], Mapping[str, Mapping[str, str]]]


class Choice(NamedTuple):
    """Chosen shapes.

    Attributes:
        rows: The shapes, with their labels.
        left_out: Number of shapes that were left out because of their licence, by licence.
    """

    rows: list[Row]
    left_out: Counter[str]

    def describe_left_out(self) -> str:
        """Describe what was left out, such as "2 shapes by licence (2 CC-BY-NC-4.0)"."""
        parts = [f"{count} {licence or 'unknown'}" for licence, count in self.left_out.most_common()]
        return f"{counted(self.left_out.total(), 'shape')} by licence ({', '.join(parts)})"


def find_licence(name: str) -> str:
    """Return a licence by its name or the short name of Sketchfab, whatever the case.

    Raises:
        UsageError: There is no such licence.
    """
    known = {short.upper(): licence for short, licence in LICENCES.items()}
    known |= {licence.upper(): licence for licence in LICENCES.values()}
    if name.upper() not in known:
        raise UsageError(f"--licence {name}: is not a licence of Objaverse; use {', '.join(LICENCES)}")
    return known[name.upper()]


def group_by_category(categories: Mapping[str, str], wanted: Sequence[str]) -> dict[str, list[str]]:
    """Return the uids of each category, sorted.

    Args:
        categories: The category of each shape.
        wanted: Names of categories; empty for all.

    Raises:
        InputError: A wanted category does not exist.
    """
    groups: dict[str, list[str]] = {}
    for uid, category in sorted(categories.items()):
        groups.setdefault(category, []).append(uid)
    unknown = next((name for name in wanted if name not in groups), None)
    if unknown is not None:
        similar = difflib.get_close_matches(unknown, groups, n=3)
        advice = f"did you mean {' or '.join(similar)}?" if similar else "--list prints the categories"
        raise InputError(f"--category {unknown}: is not a category of LVIS; {advice}")
    return {name: groups[name] for name in sorted(set(wanted or groups))}


def choose_shapes(
    groups: Mapping[str, Sequence[str]],
    count: int,
    seed: int,
    licences: Collection[str],
    look_up: LookUp,
) -> Choice:
    """Choose shapes at random, so that no category is used again before all others have been used equally often.

    A greater count with the same seed chooses the same shapes and more.

    Args:
        groups: The uids of each category.
        count: Number of shapes.
        seed: Seed of the choice.
        licences: Licences that the shapes may have.
        look_up: Returns licence and source of shapes. It is called for no more shapes than are needed.

    Raises:
        InputError: There are fewer shapes with these licences.
    """
    names = list(groups)
    order = [names[index] for index in shuffle(names, seed)]
    waiting = {name: deque(groups[name][index] for index in shuffle(groups[name], seed)) for name in order}
    found: list[Row] = []
    left_out = Counter[str]()
    while len(found) < count and waiting:
        # Categories wait in a queue, and one that had a shape waits at its end. Licences are looked up for as many at
        # once as shapes are missing.
        part = [*waiting][: count - len(found)]
        rest = [*waiting][len(part) :]
        taken: dict[str, Row] = {}
        searched = part
        while searched:
            heads = {name: waiting[name].popleft() for name in searched if waiting[name]}
            credits = look_up([*heads.values()])
            for name, uid in heads.items():
                credit = credits[uid]
                if credit["licence"] in licences:
                    taken[name] = Row(0, uid, name, credit["licence"], credit["source"])
                else:
                    left_out[credit["licence"]] += 1
            searched = [name for name in heads if name not in taken]
        served = [name for name in part if name in taken]
        found += [taken[name] for name in served]
        waiting = {name: waiting[name] for name in (*rest, *served)}
    choice = Choice([row.columns(index) for index, row in enumerate(found)], left_out)
    if len(found) < count:
        hint = f", and leaves out {choice.describe_left_out()}" if left_out else ""
        number = f"only {len(found)}" if found else "no"
        raise InputError(
            f"--count {count}: the choice has {number} shapes with one of the licences {', '.join(licences)}{hint}; "
            "lower --count, or add --licence or --category"
        )
    return choice
