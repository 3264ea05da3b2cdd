"""How much noise a shape's vector takes: noise of a stated kind, and where the shapes that it makes break."""

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
    "number": "sigma times each number's own size",
    "spread": "sigma times each number's standard deviation over the shapes",
}


@dataclass(frozen=True)
class Outcome:
    """What noise made of one shape.

    Attributes:
        iou: Volume inside both the clean and the noisy shape over that inside either.
        pieces: Connected pieces of the noisy mesh; 0 where it has no surface.
        euler: Euler number of the noisy mesh.
        is_same: Whether both numbers are those of the clean mesh.
    """

    iou: float
    pieces: int
    euler: int
    is_same: bool


@dataclass(frozen=True)
class Level:
    """The outcomes of one strength of noise.

    Attributes:
        sigma: The strength.
        iou: Their mean.
        worst: The least of them.
        whole: Share of shapes whose IoU is at least the criterion.
        same: Share of shapes with as many pieces, and the Euler number, of the clean ones.
        pieces: Median number of pieces.
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
    """What a relative noise of 1 is, for each number of each vector, by one of `DEFINITIONS`.

    Args:
        vectors: The clean vectors.
        tensors: Where the parts of a vector lie; they cover it.
        noise: The definition.
    """
    scale = np.empty_like(vectors)
    if noise in ("number", "spread"):
        scale[:] = np.abs(vectors) if noise == "number" else vectors.std(axis=0)
        return scale
    for part in tensors.values() if noise == "tensor" else [slice(None)]:
        scale[:, part] = np.sqrt(np.square(vectors[:, part]).mean(axis=1, keepdims=True))
    return scale


def overlap(clean: Bool[np.ndarray, " point"], noisy: Bool[np.ndarray, " point"]) -> float:
    """IoU of two insides; 0 where neither has any."""
    either = np.count_nonzero(clean | noisy)
    return np.count_nonzero(clean & noisy) / either if either else 0.0


def summarise(sigma: float, outcomes: Sequence[Outcome], criterion: float) -> Level:
    """One line of the report."""
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
    """The strength at which the mean IoU falls below a criterion; None if it does at none of the levels.

    Straight between levels, of which the first stands for no noise at all: there the IoU is 1.
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
    """Dimensions in groups: the most sensitive share, what follows up to the next share, …, and the rest."""
    order = np.argsort(-sensitivity, kind="stable")
    ends = [max(1, round(share * len(order))) for share in shares]
    chosen = np.split(order, ends)
    return {
        f"{100 * begin:g} to {100 * end:g} %": np.isin(np.arange(len(order)), group)
        for (begin, end), group in zip(itertools.pairwise([0.0, *shares, 1.0]), chosen, strict=True)
    }
