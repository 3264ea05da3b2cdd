"""Reads trajectories: the latent codes of a flow at every step from noise to shape, each with a silhouette."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from sdfkit.errors import InputError
from sdfkit.rows import Row

if TYPE_CHECKING:
    from sdfkit.io.stores.store_reader import StoreReader

AXES = {
    "trajectory": ("shape", "step", "dim"),
    "silhouette": ("shape", "step", "row", "column"),
    "truth": ("shape", "row", "column"),
    "picture": ("shape", "row", "column", "channel"),
}
NOISE = {"scaled": "scaled noise", "unit": "unit noise"}


@dataclass(frozen=True)
class TrajectoryRun:
    """The trajectories of one store. The arrays have an entry for each row that did not fail, in the order of rows."""

    name: str
    noise: str
    """Kind of the initial noise, "scaled noise" or "unit noise"; empty if the store does not record it."""
    rows: Sequence[Row]
    """All rows that were read, including those that failed."""
    count: int
    """Number of rows in the store."""
    trajectory: np.ndarray
    silhouette: np.ndarray
    truth: np.ndarray | None
    picture: np.ndarray | None


def holds_trajectories(store: "StoreReader") -> bool:
    """Return whether a store has codes with trajectories and silhouettes."""
    return store.kind == "codes" and "trajectory" in store and "silhouette" in store


def read_run(store: "StoreReader", limit: int) -> TrajectoryRun:
    """Read the first `limit` rows of an open store of trajectories.

    Raises:
        InputError: An array has other axes, another type or another size than needed, or all rows that were read
            failed.
    """
    names = [name for name in AXES if name in store]
    shapes = {}
    for name in names:
        array = store.array(name)
        axes = tuple(array.metadata.dimension_names or ())  # type: ignore[union-attr]
        if axes != AXES[name] or (name != "trajectory" and array.dtype != np.uint8):
            wanted = " ".join(AXES[name])
            raise InputError(
                f"{store.name}: the array {name} has the axes {axes} and the type {array.dtype}; the axes ({wanted}) "
                "are needed, and the type uint8 for images"
            )
        shapes[name] = dict(zip(axes, array.shape, strict=True))
    for name, axis in (("silhouette", "step"), ("truth", "row"), ("truth", "column")):
        other = "trajectory" if axis == "step" else "silhouette"
        if name in shapes and shapes[name][axis] != shapes[other][axis]:
            raise InputError(
                f"{store.name}: the array {name} has {shapes[name][axis]} {axis}s, but {other} has "
                f"{shapes[other][axis]}; make the store again"
            )
    rows = list(islice(store.rows(*names), limit))
    good = [row for row in rows if not row.error]
    if not good:
        raise InputError(f"{store.name}: all its shapes failed in an earlier step")
    arrays = {name: np.stack([row.arrays[name] for row in good]) for name in names}
    return TrajectoryRun(
        name=store.name,
        noise=NOISE.get(str(store.attributes.get("settings", {}).get("noise")), ""),
        rows=rows,
        count=len(store),
        trajectory=arrays["trajectory"],
        silhouette=arrays["silhouette"],
        truth=arrays.get("truth"),
        picture=arrays.get("picture"),
    )


def check_runs(runs: Sequence[TrajectoryRun]) -> None:
    """Check that all runs have the same shapes in the same order.

    Raises:
        InputError: A run has other shapes, or the same shapes in another order.
    """
    first = [row.uid for row in runs[0].rows]
    for run in runs[1:]:
        for row, uid in enumerate([row.uid for row in run.rows]):
            if len(run.rows) != len(first) or uid != first[row]:
                raise InputError(
                    f"{run.name}: has other shapes than {runs[0].name} ({len(run.rows)} and {len(first)} rows; "
                    f"row {row} is {uid}); predict both from the same inputs"
                )


def name_runs(runs: Sequence[TrajectoryRun]) -> list[str]:
    """Return names that distinguish the runs: the kinds of noise if all differ, otherwise the names of the files."""
    noises = [run.noise for run in runs]
    return noises if all(noises) and len(set(noises)) == len(noises) else [run.name for run in runs]
