"""Measurements of sampling trajectories: the latent codes at each sampling step, from noise to a shape."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from sdfkit.analysis.plane import fit_plane

# Pixels with at least this coverage, half of 255, belong to a silhouette.
COVERED = 128


@dataclass(frozen=True)
class Trajectories:
    """Measurements of the trajectories of some shapes."""

    coordinates: Float[np.ndarray, "shape step 2"]
    """Coordinates of each code in the plane in which the codes of all steps and shapes vary most."""
    shares: tuple[float, float]
    """Share of the variance along each of the plane's two directions."""
    norm: Float[np.ndarray, "shape step"]
    """Length of each code."""
    moved: Float[np.ndarray, "shape step"]
    """Distance of each code from the code of the previous step; 0 at step 0."""
    iou: Float[np.ndarray, "shape step"] | None
    """IoU of the silhouette of the decoded shape with the true silhouette; None without ground truth."""


def measure_trajectories(
    trajectory: Float[np.ndarray, "shape step dim"],
    silhouette: UInt8[np.ndarray, "shape step row column"],
    truth: UInt8[np.ndarray, "shape row column"] | None,
    uids: Sequence[str],
    name: str,
) -> Trajectories:
    """Measure trajectories of codes.

    Args:
        trajectory: The codes at steps 0 to N.
        silhouette: Coverage of each pixel by the decoded shape, from 0 to 255.
        truth: The same of the true shape, from the same camera; None if it is unknown.
        uids: Name of each shape in the error message.
        name: Name of the set in the error message.

    Raises:
        InputError: A code holds a number that is not finite.
    """
    count, steps, dim = trajectory.shape
    names = [f"{uid}, step {step}" for uid in uids for step in range(steps)]
    # The generator is unused: the result is exact unless there are over 2,048 codes of over 2,048 numbers each.
    plane = fit_plane(trajectory.reshape(-1, dim), names, name, np.random.default_rng(0))
    moved = np.zeros((count, steps))
    moved[:, 1:] = np.linalg.norm(np.diff(trajectory.astype(np.float64), axis=1), axis=-1)
    return Trajectories(
        coordinates=plane.coordinates.reshape(count, steps, 2),
        shares=plane.shares,
        norm=np.linalg.norm(trajectory.astype(np.float64), axis=-1),
        moved=moved,
        iou=None if truth is None else _silhouette_iou(silhouette, truth[:, None]),
    )


def _silhouette_iou(
    silhouette: UInt8[np.ndarray, "shape step row column"], truth: UInt8[np.ndarray, "shape 1 row column"]
) -> Float[np.ndarray, "shape step"]:
    """Compute the intersection over union of the covered pixels; 1 if neither silhouette has any."""
    ours, theirs = silhouette >= COVERED, truth >= COVERED
    both = (ours & theirs).sum(axis=(2, 3))
    either = (ours | theirs).sum(axis=(2, 3))
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)
