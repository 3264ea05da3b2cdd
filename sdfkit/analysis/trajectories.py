"""Paths of codes from noise to shapes: where they lead, how far each step goes, and what its silhouette is worth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from sdfkit.analysis.plane import fit_plane

# Pixels of which at least half is covered belong to a silhouette.
COVERED = 128


@dataclass(frozen=True)
class Trajectories:
    """What the steps of some shapes tell."""

    place: Float[np.ndarray, "shape step 2"]
    """In the plane in which the codes of all steps and shapes vary most."""
    shares: tuple[float, float]
    """Of that variance, along each of the plane's two directions."""
    norm: Float[np.ndarray, "shape step"]
    """Length of the code."""
    moved: Float[np.ndarray, "shape step"]
    """Distance from the code one step before; 0 at step 0."""
    iou: Float[np.ndarray, "shape step"] | None
    """Of the silhouette and the true one; None where no truth is known."""


def measure_trajectories(
    trajectory: Float[np.ndarray, "shape step dim"],
    silhouette: UInt8[np.ndarray, "shape step row column"],
    truth: UInt8[np.ndarray, "shape row column"] | None,
    uids: Sequence[str],
    name: str,
) -> Trajectories:
    """Measure paths through the space of codes.

    Args:
        trajectory: The codes at steps 0 to N.
        silhouette: Coverage by the decoded shapes, 255 where all of a pixel is.
        truth: That of the shapes themselves, from the same camera.
        uids: What the message calls a shape.
        name: What the message calls the set.

    Raises:
        InputError: A code holds a number that is not finite.
    """
    count, steps, dim = trajectory.shape
    names = [f"{uid}, step {step}" for uid in uids for step in range(steps)]
    # More codes than are decomposed exactly, each longer than that, do not occur: any draw will do.
    plane = fit_plane(trajectory.reshape(-1, dim), names, name, np.random.default_rng(0))
    moved = np.zeros((count, steps))
    moved[:, 1:] = np.linalg.norm(np.diff(trajectory.astype(np.float64), axis=1), axis=-1)
    return Trajectories(
        place=plane.place.reshape(count, steps, 2),
        shares=plane.shares,
        norm=np.linalg.norm(trajectory.astype(np.float64), axis=-1),
        moved=moved,
        iou=None if truth is None else _overlap(silhouette, truth[:, None]),
    )


def _overlap(
    silhouette: UInt8[np.ndarray, "shape step row column"], truth: UInt8[np.ndarray, "shape 1 row column"]
) -> Float[np.ndarray, "shape step"]:
    """Intersection over union of what is covered; 1 where nothing is in either."""
    ours, theirs = silhouette >= COVERED, truth >= COVERED
    both = (ours & theirs).sum(axis=(2, 3))
    either = (ours | theirs).sum(axis=(2, 3))
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)
