"""The door to trajectories: codes that were kept at every step from noise to shape, with what each looks like."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from sdfkit.errors import InputError
from sdfkit.rows import Row

if TYPE_CHECKING:
    from sdfkit.io.stores.reader import StoreReader

AXES = {
    "trajectory": ("shape", "step", "dim"),
    "silhouette": ("shape", "step", "row", "column"),
    "truth": ("shape", "row", "column"),
    "picture": ("shape", "row", "column", "channel"),
}
NOISE = {"scaled": "scaled noise", "unit": "unit noise"}


@dataclass(frozen=True)
class Run:
    """What one flow did. Arrays hold the rows that did not fail, in their order."""

    name: str
    noise: str
    """What it began from, in words; empty where the store does not tell."""
    rows: Sequence[Row]
    """All that were asked for, also those that failed."""
    count: int
    """Rows of the store."""
    trajectory: np.ndarray
    silhouette: np.ndarray
    truth: np.ndarray | None
    picture: np.ndarray | None


def holds_trajectories(store: "StoreReader") -> bool:
    return store.kind == "codes" and "trajectory" in store and "silhouette" in store


def read_run(store: "StoreReader", limit: int) -> Run:
    """Read the first rows of an open store of trajectories.

    Raises:
        InputError: Arrays that do not go together, or nothing that did not fail.
    """
    names = [name for name in AXES if name in store]
    shapes = {}
    for name in names:
        array = store.array(name)
        axes = tuple(array.metadata.dimension_names or ())  # type: ignore[union-attr]
        if axes != AXES[name] or (name != "trajectory" and array.dtype != np.uint8):
            wanted = " ".join(AXES[name])
            raise InputError(
                f"{store.name}: {name} has axes {axes} of {array.dtype}, but ({wanted}) are needed"
            )
        shapes[name] = dict(zip(axes, array.shape, strict=True))
    for name, axis in (("silhouette", "step"), ("truth", "row"), ("truth", "column")):
        other = "trajectory" if axis == "step" else "silhouette"
        if name in shapes and shapes[name][axis] != shapes[other][axis]:
            raise InputError(
                f"{store.name}: {name} of {shapes[name][axis]} {axis}s, but {other} of {shapes[other][axis]}; "
                "make the store again"
            )
    rows = list(islice(store.rows(*names), limit))
    good = [row for row in rows if not row.error]
    if not good:
        raise InputError(f"{store.name}: none of its {len(rows)} shapes is usable")
    arrays = {name: np.stack([row.arrays[name] for row in good]) for name in names}
    return Run(
        name=store.name,
        noise=NOISE.get(str(store.attributes.get("settings", {}).get("noise")), ""),
        rows=rows,
        count=len(store),
        trajectory=arrays["trajectory"],
        silhouette=arrays["silhouette"],
        truth=arrays.get("truth"),
        picture=arrays.get("picture"),
    )


def check_runs(runs: Sequence[Run]) -> None:
    """Refuse runs that are not of the same shapes.

    Raises:
        InputError: They are not.
    """
    first = [row.uid for row in runs[0].rows]
    for run in runs[1:]:
        for row, uid in enumerate([row.uid for row in run.rows]):
            if len(run.rows) != len(first) or uid != first[row]:
                raise InputError(
                    f"{run.name}: not the shapes of {runs[0].name} ({len(run.rows)} and {len(first)}, row {row} is "
                    f"{uid}); predict both from the same inputs"
                )


def name_runs(runs: Sequence[Run]) -> list[str]:
    """What tells runs apart: their noise, or where that does not, their files."""
    noises = [run.noise for run in runs]
    return noises if all(noises) and len(set(noises)) == len(noises) else [run.name for run in runs]
