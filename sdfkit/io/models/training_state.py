"""The state of a training in a store: its arrays joined to one for each data type.

A state has hundreds of small arrays. As files of their own, they took most of the time of a save, on a network file
system even more.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sdfkit.errors import InputError
from sdfkit.io.stores.store_reader import StoreReader

STATE = "state"


def join_state(state: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Join the arrays of a state by their types.

    Returns:
        The attributes and the arrays of the group. The attribute `entries` lists the name, type and shape of each
        array, in the order in which they are joined.
    """
    entries = [[name, array.dtype.name, list(array.shape)] for name, array in state.items()]
    kinds = dict.fromkeys(array.dtype.name for array in state.values())
    joined = {
        kind: np.concatenate([array.ravel() for array in state.values() if array.dtype.name == kind])
        for kind in kinds
    }
    return {"entries": entries}, joined


def read_state(store: StoreReader) -> dict[str, np.ndarray]:
    """Read the arrays of a state by their names.

    Raises:
        InputError: The list of the arrays does not describe what is stored.
    """
    joined = store.read_group(STATE)
    begin = dict.fromkeys(joined, 0)
    state = {}
    try:
        for name, kind, shape in store.attributes_of(STATE)["entries"]:
            end = begin[kind] + math.prod(shape)
            state[name] = joined[kind][begin[kind] : end].reshape(shape)
            begin[kind] = end
    except (LookupError, TypeError, ValueError) as error:
        raise _damaged(store, str(error)) from error
    if any(len(array) != begin[kind] for kind, array in joined.items()):
        raise _damaged(store, "not all numbers belong to an array")
    return state


def _damaged(store: StoreReader, reason: str) -> InputError:
    return InputError(
        f"{store.name}: the state of its training is damaged ({reason}); train again with --overwrite"
    )
