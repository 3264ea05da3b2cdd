"""Writes trained networks to stores."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sdfkit.io.models.training_state import STATE, join_state
from sdfkit.io.stores.store_writer import StoreWriter
from sdfkit.io.stores.writer import create_store, describe_root, replace_store

if TYPE_CHECKING:
    import torch
    from _typeshed import DataclassInstance

    from sdfkit.rows import Row


class ModelOutput(NamedTuple):
    """The store that a training run writes, and the facts about the run that the store records.

    Attributes:
        path: Store to write; see `stores.writer.create_store`.
        kind: Kind of the store.
        rows: The training shapes.
        history: The commands that made the inputs, oldest first.
        settings: Settings of the run. An interrupted run is continued only if they are equal.
        seed: Seed of all random numbers of the run.
        overwrite: Replace an existing store.
        may_grow: A run of fewer steps can be continued, because it has a single schedule.
    """

    path: str
    kind: str
    rows: "Sequence[Row]"
    history: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    seed: int
    overwrite: bool
    may_grow: bool = True


class Group(NamedTuple):
    """A Zarr group of a model store: the parameters of a network, with its configuration as attributes."""

    attributes: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


class ModelContents(NamedTuple):
    """What a model store holds, apart from its rows, the losses and the state of training.

    Attributes:
        vectors: Arrays with one row per training shape, such as the latent codes, or grids over the query cube.
        groups: The networks, by name.
        attributes: Attributes of the store's root group.
    """

    vectors: Mapping[str, np.ndarray]
    groups: Mapping[str, Group]
    attributes: Mapping[str, Any]


def network_group(network: "torch.nn.Module", config: "DataclassInstance | None") -> Group:
    """Make the Zarr group of a network: its configuration as attributes, its parameters as arrays."""
    parameters = {name: value.cpu().numpy() for name, value in network.state_dict().items()}
    return Group({} if config is None else asdict(config), parameters)


def save_model(
    target: ModelOutput, contents: ModelContents, losses: Sequence[float], state: Mapping[str, np.ndarray]
) -> None:
    """Write a finished model to a store; see `save_model_at`."""
    with create_store(
        target.path, target.kind, rows=target.rows, history=target.history, settings=target.settings, seed=target.seed,
        attributes=contents.attributes, overwrite=target.overwrite,
    ) as model:  # fmt: skip
        _write_model(model, target.rows, contents, losses, state)


def save_model_at(
    place: Path,
    target: ModelOutput,
    contents: ModelContents,
    losses: Sequence[float],
    state: Mapping[str, np.ndarray],
    *,
    complete: bool,
) -> None:
    """Write a model store, or a checkpoint, that replaces what is at a path when it is whole.

    Args:
        place: A folder or zip file: the output, or a store beside it.
        target: The rows, settings and history of the run.
        contents: Latent codes and networks.
        losses: The training loss of each step.
        state: State of the training (such as that of the optimizer), from which an interrupted run continues.
        complete: False for a checkpoint. Other commands refuse a checkpoint; the command that wrote it continues it.
    """
    root = describe_root(target.kind, target.settings, target.history, target.seed, contents.attributes)
    with replace_store(place, root | {"complete": complete}, target.rows, len(target.rows)) as model:
        _write_model(model, target.rows, contents, losses, state)


def _write_model(
    model: StoreWriter,
    rows: "Sequence[Row]",
    contents: ModelContents,
    losses: Sequence[float],
    state: Mapping[str, np.ndarray],
) -> None:
    for name, vectors in contents.vectors.items():
        axes = ("shape", "x", "y", "z") if vectors.ndim == 4 else ("shape", "dim")[: vectors.ndim]
        model.create_array(name, data=vectors, axes=axes)
    model.create_array("loss", data=np.array(losses, np.float32), axes=("step",))
    for name, group in contents.groups.items():
        model.create_group(name, attributes=group.attributes, arrays=group.arrays)
    attributes, arrays = join_state(state)
    model.create_group(STATE, attributes=attributes, arrays=arrays)
    for row in rows:
        model.write(row)


def fingerprint(parameters: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of the named parameters of a network.

    Stores of latent codes record this digest of their decoder, to refuse other decoders.
    """
    content = hashlib.sha256()
    for name in sorted(parameters):
        content.update(name.encode() + np.ascontiguousarray(parameters[name]).tobytes())
    return content.hexdigest()
