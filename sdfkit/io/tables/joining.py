"""Joins the rows of several stores: which stores may be joined, and what their common settings and history are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from sdfkit.errors import InputError
from sdfkit.io.reuse import describe_difference
from sdfkit.io.stores.store_reader import StoreReader
from sdfkit.io.tables.stores import (
    StoreTable,
    describe_array,
    further_attributes,
    groups_of,
    settings_of,
)
from sdfkit.rows import Row, free_uid

R = TypeVar("R", bound=Row)
# Attributes and settings in which joined stores may differ: paths of models, whose content is compared by other
# attributes, and the seed, because the random numbers of a shape depend on its uid.
PATHS, SEED = ("denoiser", "decoder"), "seed"


def require_alike(first: StoreTable, other: StoreTable) -> None:
    """Check that the rows of two stores can be rows of one: kind, arrays, settings, networks.

    Raises:
        InputError: They differ; the message names the first difference.
    """
    one, two = first.store, other.store
    if one.kind != two.kind:
        _refuse(two, one, f"holds {two.kind}, but %s holds {one.kind}")
    for name in sorted({*first.arrays} ^ {*other.arrays}):
        _refuse(two, one, f"has {'no' if name in first.arrays else 'the'} array {name}, unlike %s")
    if ("sample_of" in one) != ("sample_of" in two):
        _refuse(two, one, f"has {'no' if 'sample_of' in one else 'the'} column sample_of, unlike %s")
    for name in first.arrays:
        here, there = (_describe_rows(store, name) for store in (two, one))
        if here != there:
            _refuse(two, one, f"its array {name} has rows of {here}, but that of %s {there}")
    difference = describe_difference(_compared(settings_of(one), SEED), _compared(settings_of(two), SEED))
    if difference:
        name, _, values = difference.partition(": ")
        values = values.replace(" then, ", " there, ").replace(" now", " here")
        _refuse(two, one, f"was made with other settings than %s ({name}: {values})")
    attributes = [_compared(further_attributes(store), *PATHS) for store in (one, two)]
    for name in sorted({*attributes[0], *attributes[1]}):
        if attributes[0].get(name) != attributes[1].get(name):
            _refuse(two, one, f"its {name} is not that of %s")
    groups = [groups_of(store) for store in (one, two)]
    for name in sorted({*groups[0], *groups[1], *first.constant, *other.constant}):
        if not (name in one and name in two and _is_same(first, other, name)):
            _refuse(two, one, f"its {name}, which belongs to all rows, is not that of %s")


def _refuse(store: StoreReader, first: StoreReader, fault: str) -> None:
    there = "the store before it" if store.name == first.name else first.name
    raise InputError(
        f"{store.name}: {fault.replace('%s', there)}; only stores made in the same way are joined"
    )


def _describe_rows(store: StoreReader, name: str) -> str:
    array = describe_array(store, name)
    sizes = ", ".join(
        f"{axis} {size}" for axis, size in zip(array["axes"][1:], array["shape"][1:], strict=True)
    )
    noun = "string" if array["dtype"].kind == "T" else array["dtype"].name
    return f"{noun} ({sizes})" if sizes else noun


def _compared(facts: Mapping[str, Any], *left_out: str) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in left_out}


def _is_same(first: StoreTable, other: StoreTable, name: str) -> bool:
    """Return whether an array or group that belongs to all rows is the same in two stores."""
    is_group = name not in first.constant
    if is_group != (name not in other.constant):
        return False
    if is_group and first.store.attributes_of(name) != other.store.attributes_of(name):
        return False
    here, there = first.read_constant(name), other.read_constant(name)
    return here.keys() == there.keys() and all(np.array_equal(here[key], there[key]) for key in here)


def join_settings(stores: Sequence[StoreReader]) -> dict[str, Any]:
    """Return the settings that all stores share: those of the first, without the seed if it differs."""
    settings = settings_of(stores[0])
    if any(settings_of(store).get(SEED) != settings.get(SEED) for store in stores):
        settings.pop(SEED, None)
    return settings


def join_histories(histories: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the steps of several histories, one after another, each step once."""
    joined: list[dict[str, Any]] = []
    for step in [dict(step) for history in histories for step in history]:
        if step not in joined:
            joined.append(step)
    return joined


def with_own_uids(rows: Iterator[R], *, rename: bool, name: str) -> Iterator[R]:
    """Yield rows, and check that no uid occurs twice.

    Args:
        rows: The rows.
        rename: Append a number to a uid that has occurred before.
        name: What holds the rows, in messages.

    Raises:
        InputError: A uid occurs twice, and `rename` is false.
    """
    taken: set[str] = set()
    for row in rows:
        uid = free_uid(row.uid, taken)
        if uid != row.uid and not rename:
            raise InputError(
                f"{name}: has two rows with the uid {row.uid}; sdfkit cat --rename calls the second one {uid}, or "
                "leave one of them out with sdfkit select"
            )
        taken.add(uid)
        yield row if uid == row.uid else replace(row, uid=uid)
