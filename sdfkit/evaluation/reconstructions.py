"""Errors of per-shape networks that an autoencoder reconstructed: of their weights, and of their distance fields.

Errors of the weights alone are misleading: networks with similar weights can have very different surfaces.
"""

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

# Number of points that pass through a network at once.
CHUNK = 1 << 15


@dataclass(frozen=True)
class VectorSimilarity:
    """Similarity of reconstructed vectors of weights to the originals.

    Attributes:
        mse: Mean squared error of the reconstructed vectors.
        fvu: Fraction of variance unexplained, 1 - R²: the mean squared error over the variance of the originals. It is
            1 if every reconstruction is the mean of the originals.
        cosine: Cosine similarity of each vector and its reconstruction. If the originals have much in common, it is
            near 1 for any reconstruction near their mean.
        centred: Cosine similarity after subtracting the mean of the originals from both.
        code_cosine: Mean cosine similarity of pairs of latent codes.
        original_cosine: Mean cosine similarity of pairs of originals, to which `cosine` should be compared.
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
        low: Smallest distance of each field in the query cube, from -1 to 1 along each axis.
        high: Largest distance of each field there. If both have the same sign, the field has no surface.
        iou: Intersection over union of the interior of each field and that of the original field; 0 if both are empty.
        true_iou: Intersection over union of the interior of each field and that of the true shape, estimated at the
            samples that were drawn uniformly; None without samples.
    """

    low: Float[np.ndarray, " shape"]
    high: Float[np.ndarray, " shape"]
    iou: Float[np.ndarray, " shape"]
    true_iou: Float[np.ndarray, " shape"] | None

    @property
    def lost(self) -> Bool[np.ndarray, " shape"]:
        """Whether each field has no surface, because its distances have one sign."""
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
        config: Architecture of the networks.
        originals: Original weights of each network, on the device of the computation.
        reconstructed: Reconstructed weights of each network.
        samples: Points of each shape with true distances; None if there are none.
        resolution: Number of grid cells along a side of the query cube; fields are evaluated at the centres of cells.

    Returns:
        Value ranges and interiors of the fields of the original networks, and those of the reconstructed networks.
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
    """Errors of all networks that an autoencoder reconstructed.

    Attributes:
        vectors: Similarity of the reconstructed to the original weights.
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
        """Mean IoU of the true shapes with the original (before) and the reconstructed (after) fields, if measured."""
        if self.before.true_iou is None or self.after.true_iou is None:
            return {}
        return {"before": float(self.before.true_iou.mean()), "after": float(self.after.true_iou.mean())}

    def attributes(self, uids: list[str]) -> dict[str, Any]:
        """Return the report that is written into the attributes of an autoencoder's store; see sdfkit-store(5).

        Args:
            uids: The uids of the shapes, by which the report names them.
        """
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
        resolution: Number of grid cells along a side of the query cube; see `compare_fields`.
    """
    _, codes, reconstructed = training.result()
    originals = training.vectors.to(reconstructed.device)
    before, after = compare_fields(
        training.networks.config, originals, reconstructed, training.samples, resolution
    )
    return Reconstructions(compare_vectors(originals, reconstructed, codes), before, after)
