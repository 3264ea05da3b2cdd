"""Judging reconstructed networks: by their weights, which mislead, and by the surfaces of their fields."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdfkit.models.mlp import MLPConfig, MLPs
from sdfkit.training.autoencoder import ShapeSamples
from sdfkit.training.deepsdf import mean_cosine

# Points that pass through a network at a time.
CHUNK = 1 << 15


@dataclass(frozen=True)
class Likeness:
    """How like the original vectors reconstructed ones are.

    Attributes:
        mse: Mean squared error.
        fvu: The share of the variance about the mean that is left unexplained, 1 - R²: the mean itself leaves 1.
        cosine: Of each vector and its reconstruction. It is near 1 for anything near the mean: vectors that share most
            of their length have it with each other, too.
        centred: The same with the mean of the originals taken off both.
        code_cosine: Mean cosine of pairs of codes.
        original_cosine: Mean cosine of pairs of originals, beside which it is to be read.
    """

    mse: float
    fvu: float
    cosine: Float[np.ndarray, " shape"]
    centred: Float[np.ndarray, " shape"]
    code_cosine: float
    original_cosine: float


def compare_vectors(
    originals: Float[Tensor, "shape dim"],
    made: Float[Tensor, "shape dim"],
    codes: Float[Tensor, "shape code"],
) -> Likeness:
    """Compare reconstructed vectors with the originals."""
    mean = originals.mean(dim=0)
    wrong, differs = (made - originals).square().mean(), (originals - mean).square().mean()
    return Likeness(
        mse=float(wrong),
        fvu=float(wrong / differs),
        cosine=torch.cosine_similarity(made, originals).numpy(),
        centred=torch.cosine_similarity(made - mean, originals - mean).numpy(),
        code_cosine=mean_cosine(codes.double()),
        original_cosine=mean_cosine(originals.double()),
    )


@dataclass(frozen=True)
class Surfaces:
    """What the fields of networks have inside.

    Attributes:
        low: The least distance anywhere.
        high: The greatest. Where both have one sign, there is no zero crossing and no surface.
        iou: Of what is inside a field and inside the original's; 0 where one of them has no inside.
        true_iou: Of what is inside a field and inside the true shape, on the samples that were drawn uniformly.
    """

    low: Float[np.ndarray, " shape"]
    high: Float[np.ndarray, " shape"]
    iou: Float[np.ndarray, " shape"]
    true_iou: Float[np.ndarray, " shape"] | None

    @property
    def lost(self) -> Bool[np.ndarray, " shape"]:
        """Those without a zero crossing."""
        lost: np.ndarray = (self.low > 0) | (self.high < 0)
        return lost


@torch.inference_mode()
def compare_surfaces(
    config: MLPConfig,
    originals: Float[Tensor, "shape dim"],
    made: Float[Tensor, "shape dim"],
    samples: ShapeSamples | None,
    resolution: int,
) -> tuple[Surfaces, Surfaces]:
    """What is inside the original networks and inside the reconstructed ones.

    Args:
        config: The networks.
        originals: Their weights; where they lie is where it is computed.
        made: The reconstructed ones.
        samples: True distances, where they are known.
        resolution: Cells along a side of the cube, in whose middles fields are asked.
    """
    middles = (torch.arange(resolution) + 0.5) * (2 / resolution) - 1
    cells = torch.cartesian_prod(middles, middles, middles)  # (cell, 3)
    found: list[list[tuple[float, float, float, float]]] = [[], []]
    for row in range(len(originals)):
        reference: Tensor | None = None
        for vectors, told in zip((originals, made), found, strict=True):
            network = MLPs(config, vectors[row : row + 1])
            distances = _ask(network, cells)
            reference = distances < 0 if reference is None else reference
            true_iou = 0.0
            if samples is not None:
                uniform = ~samples.near[row]
                there = _ask(network, samples.points[row, uniform])
                true_iou = _iou(there < 0, samples.distances[row, uniform] < 0)
            told.append(
                (float(distances.min()), float(distances.max()), _iou(distances < 0, reference), true_iou)
            )
    before, after = (
        Surfaces(low, high, iou, None if samples is None else true_iou)
        for low, high, iou, true_iou in (np.array(told, np.float32).T for told in found)
    )
    return before, after


def _ask(network: MLPs, points: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
    device = network.weights.device
    parts = [network(part[None].to(device))[0].cpu() for part in torch.split(points, CHUNK)]
    return torch.cat(parts)


def _iou(first: Bool[Tensor, " point"], second: Bool[Tensor, " point"]) -> float:
    either = int((first | second).sum())
    return int((first & second).sum()) / either if either else 0.0
