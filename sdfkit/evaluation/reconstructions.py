"""Errors of reconstructed per-shape networks: of their weights, which mislead, and of the surfaces of their fields."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdfkit.evaluation.field_errors import mean_cosine
from sdfkit.models.layers import MLPConfig
from sdfkit.models.mlp import MLPs
from sdfkit.training.autoencoder import AutoencoderTraining, ShapeSamples

# Points that pass through a network at once.
CHUNK = 1 << 15


@dataclass(frozen=True)
class VectorSimilarity:
    """Similarity of reconstructed vectors to the originals.

    Attributes:
        mse: Mean squared error.
        fvu: Fraction of the variance about the mean that is unexplained, 1 - R². The mean itself leaves 1.
        cosine: Cosine similarity of each vector and its reconstruction. It is near 1 for any vector near the mean, as
            vectors that have much in common have high similarities with each other too.
        centred: Cosine similarity after subtracting the mean of the originals from both.
        code_cosine: Mean cosine similarity of pairs of codes.
        original_cosine: Mean cosine similarity of pairs of originals, the baseline of `cosine`.
    """

    mse: float
    fvu: float
    cosine: Float[np.ndarray, " shape"]
    centred: Float[np.ndarray, " shape"]
    code_cosine: float
    original_cosine: float


def compare_vectors(
    originals: Float[Tensor, "shape dim"],
    reconstructed: Float[Tensor, "shape dim"],
    codes: Float[Tensor, "shape code"],
) -> VectorSimilarity:
    """Compare reconstructed vectors with the originals."""
    mean = originals.mean(dim=0)
    error, variance = (reconstructed - originals).square().mean(), (originals - mean).square().mean()
    return VectorSimilarity(
        mse=float(error),
        fvu=float(error / variance),
        cosine=torch.cosine_similarity(reconstructed, originals).numpy(),
        centred=torch.cosine_similarity(reconstructed - mean, originals - mean).numpy(),
        code_cosine=mean_cosine(codes.double()),
        original_cosine=mean_cosine(originals.double()),
    )


@dataclass(frozen=True)
class FieldSurfaces:
    """Value ranges and interiors of the distance fields of networks.

    Attributes:
        low: Smallest distance in the query cube.
        high: Largest distance. If both have the same sign, there is no zero crossing and no surface.
        iou: Intersection over union of the interiors of a field and of the original field; 0 if both are empty.
        true_iou: Intersection over union of the interiors of a field and of the true shape, by the samples that were
            drawn uniformly; None without samples.
    """

    low: Float[np.ndarray, " shape"]
    high: Float[np.ndarray, " shape"]
    iou: Float[np.ndarray, " shape"]
    true_iou: Float[np.ndarray, " shape"] | None

    @property
    def lost(self) -> Bool[np.ndarray, " shape"]:
        """Whether each field has no zero crossing."""
        lost: np.ndarray = (self.low > 0) | (self.high < 0)
        return lost


@torch.inference_mode()
def compare_fields(
    config: MLPConfig,
    originals: Float[Tensor, "shape dim"],
    reconstructed: Float[Tensor, "shape dim"],
    samples: ShapeSamples | None,
    resolution: int,
) -> tuple[FieldSurfaces, FieldSurfaces]:
    """Evaluate the fields of original and reconstructed networks on a grid, and at the samples if there are any.

    Args:
        config: The networks.
        originals: Original weights, on the device of the computation.
        reconstructed: Reconstructed weights.
        samples: True distances at points of each shape.
        resolution: Grid cells along a side of the query cube; fields are evaluated at their centres.

    Returns:
        The surfaces of the original networks and of the reconstructed ones.
    """
    centres = (torch.arange(resolution) + 0.5) * (2 / resolution) - 1
    cells = torch.cartesian_prod(centres, centres, centres)  # (cell, 3)
    found: list[list[tuple[float, float, float, float]]] = [[], []]
    for row in range(len(originals)):
        reference: Tensor | None = None
        for vectors, values in zip((originals, reconstructed), found, strict=True):
            network = MLPs(config, vectors[row : row + 1])
            distances = _evaluate(network, cells)
            reference = distances < 0 if reference is None else reference
            true_iou = 0.0
            if samples is not None:
                uniform = ~samples.near[row]
                predicted = _evaluate(network, samples.points[row, uniform])
                true_iou = _iou(predicted < 0, samples.distances[row, uniform] < 0)
            values.append(
                (float(distances.min()), float(distances.max()), _iou(distances < 0, reference), true_iou)
            )
    before, after = (
        FieldSurfaces(low, high, iou, None if samples is None else true_iou)
        for low, high, iou, true_iou in (np.array(values, np.float32).T for values in found)
    )
    return before, after


def _evaluate(network: MLPs, points: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
    device = network.weights.device
    parts = [network(part[None].to(device))[0].cpu() for part in torch.split(points, CHUNK)]
    return torch.cat(parts)


def _iou(first: Bool[Tensor, " point"], second: Bool[Tensor, " point"]) -> float:
    either = int((first | second).sum())
    return int((first & second).sum()) / either if either else 0.0


@dataclass(frozen=True)
class Reconstructions:
    """Evaluation of all reconstructions of an autoencoder.

    Attributes:
        vectors: Similarity of the weights.
        before: Surfaces of the original networks.
        after: Surfaces of the reconstructed networks.
    """

    vectors: VectorSimilarity
    before: FieldSurfaces
    after: FieldSurfaces

    @property
    def summaries(self) -> dict[str, dict[str, float]]:
        """Mean, median and minimum of the cosine similarities and of the intersections over union."""
        values = (
            ("cosine", self.vectors.cosine),
            ("centred", self.vectors.centred),
            ("iou", self.after.iou),
        )
        return {
            name: {
                "mean": float(shapes.mean()),
                "median": float(np.median(shapes)),
                "min": float(shapes.min()),
            }
            for name, shapes in values
        }

    @property
    def true_iou(self) -> dict[str, float]:
        """Mean intersection over union with the true shapes, before and after; empty without samples."""
        if self.before.true_iou is None or self.after.true_iou is None:
            return {}
        return {"before": float(self.before.true_iou.mean()), "after": float(self.after.true_iou.mean())}

    def attributes(self, uids: list[str]) -> dict[str, Any]:
        """Return the values that the store of an autoencoder holds as its report; see sdfkit-store(5)."""
        report: dict[str, Any] = {
            "mse": self.vectors.mse, "fvu": self.vectors.fvu, **self.summaries,
            "code_cosine": self.vectors.code_cosine, "original_cosine": self.vectors.original_cosine,
            "lost": [uids[row] for row in np.flatnonzero(self.after.lost).tolist()],
            "lost_before": [uids[row] for row in np.flatnonzero(self.before.lost).tolist()],
        }  # fmt: skip
        return report | ({"true_iou": self.true_iou} if self.true_iou else {})


def evaluate_autoencoder(training: AutoencoderTraining, resolution: int) -> Reconstructions:
    """Evaluate how well an autoencoder reconstructs the networks that it was trained on.

    Args:
        training: The training of the autoencoder.
        resolution: Grid cells along a side of the query cube; see `compare_fields`.
    """
    _, codes, reconstructed = training.result()
    originals = training.vectors.to(reconstructed.device)
    before, after = compare_fields(
        training.networks.config, originals, reconstructed, training.samples, resolution
    )
    return Reconstructions(compare_vectors(originals, reconstructed, codes), before, after)
