"""Sensitivity of shapes to noise on their vectors: scales of noise, summaries by noise level, breaking points."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

Noise = Literal["tensor", "vector", "number", "spread"]

DEFINITIONS: Mapping[str, str] = {
    "tensor": "sigma times the root mean square of the numbers of the same weight matrix or bias",
    "vector": "sigma times the root mean square of all numbers of the vector",
    "number": "sigma times the absolute value of each number",
    "spread": "sigma times each number's standard deviation over the shapes",
}


@dataclass(frozen=True)
class Outcome:
    """Effect of noise on one shape.

    Attributes:
        iou: Volume intersection over union of the clean and the noisy shape.
        pieces: Connected pieces of the noisy mesh; 0 if it has no surface.
        euler: Euler number of the noisy mesh.
        is_same: Whether pieces and Euler number equal those of the clean mesh.
    """

    iou: float
    pieces: int
    euler: int
    is_same: bool


@dataclass(frozen=True)
class Level:
    """Summary of the outcomes of all shapes at one noise level, that is, one value of sigma.

    Attributes:
        sigma: Standard deviation of the noise, in units of the scale that `DEFINITIONS` defines.
        iou: Mean IoU of the clean and the noisy shape.
        worst: Minimum of this IoU.
        whole: Share of shapes that are not broken: whose IoU is at least the criterion passed to `summarise`.
        same: Share of shapes with the number of pieces and the Euler number of the clean mesh.
        pieces: Median number of connected pieces of the noisy meshes.
    """

    sigma: float
    iou: float
    worst: float
    whole: float
    same: float
    pieces: float


def noise_scale(
    vectors: Float[np.ndarray, "shape dim"], tensors: Mapping[str, slice], noise: Noise
) -> Float[np.ndarray, "shape dim"]:
    """Return the standard deviation of the noise at sigma = 1, for each element of each vector.

    Args:
        vectors: The clean vectors.
        tensors: The dimensions of each weight matrix or bias; together they cover the vector.
        noise: Key of the definition in `DEFINITIONS`.
    """
    scale = np.empty_like(vectors)
    if noise in ("number", "spread"):
        scale[:] = np.abs(vectors) if noise == "number" else vectors.std(axis=0)
        return scale
    for part in tensors.values() if noise == "tensor" else [slice(None)]:
        scale[:, part] = np.sqrt(np.square(vectors[:, part]).mean(axis=1, keepdims=True))
    return scale


def overlap(clean: Bool[np.ndarray, " point"], noisy: Bool[np.ndarray, " point"]) -> float:
    """Return the IoU of two shapes, given which points are inside each; 0 if both are empty."""
    either = np.count_nonzero(clean | noisy)
    return np.count_nonzero(clean & noisy) / either if either else 0.0


def summarise(sigma: float, outcomes: Sequence[Outcome], criterion: float) -> Level:
    """Summarise the outcomes of all shapes at one noise level."""
    iou = np.array([outcome.iou for outcome in outcomes])
    return Level(
        sigma=sigma,
        iou=float(iou.mean()),
        worst=float(iou.min()),
        whole=float((iou >= criterion).mean()),
        same=float(np.mean([outcome.is_same for outcome in outcomes])),
        pieces=float(np.median([outcome.pieces for outcome in outcomes])),
    )


def find_break(levels: Sequence[Level], criterion: float) -> float | None:
    """Find the smallest sigma at which the mean IoU falls below a criterion; None if it does not at any level.

    The mean IoU is interpolated linearly between levels, starting from 1 at sigma = 0.
    """
    sigma, iou = 0.0, 1.0
    for level in levels:
        if level.iou < criterion:
            return sigma + (level.sigma - sigma) * (iou - criterion) / (iou - level.iou)
        sigma, iou = level.sigma, level.iou
    return None


def rank_groups(
    sensitivity: Float[np.ndarray, " dim"], shares: Sequence[float]
) -> dict[str, Bool[np.ndarray, " dim"]]:
    """Divide dimensions into groups, in order of decreasing sensitivity.

    Args:
        sensitivity: Sensitivity of each dimension.
        shares: Cumulative shares at which the groups end, ascending, such as (0.01, 0.1); the last group is the rest.

    Returns:
        A mask of the dimensions of each group, by its range, such as "1 to 10 %".
    """
    order = np.argsort(-sensitivity, kind="stable")
    ends = [max(1, round(share * len(order))) for share in shares]
    chosen = np.split(order, ends)
    return {
        f"{100 * begin:g} to {100 * end:g} %": np.isin(np.arange(len(order)), group)
        for (begin, end), group in zip(itertools.pairwise([0.0, *shares, 1.0]), chosen, strict=True)
    }
