"""Errors of the distances that trained networks compute, at sample points with known true distances."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sdfkit.models.deepsdf import DeepSDF
from sdfkit.models.layers import MLPConfig
from sdfkit.models.mlp import MLPs
from sdfkit.training.deepsdf.code_fitting import FitSettings, fit_codes
from sdfkit.training.deepsdf.training import DeepSDFTraining
from sdfkit.training.samples import SampleChunk

# The fit of codes to held-out shapes: the defaults of fit-code, with half of its steps.
HELD_OUT_FIT = FitSettings(steps=400, batch=1_024, lr=5e-3, clamp=0.1, penalty=1e-4, chunk=8_192)


@dataclass(frozen=True)
class DecoderErrors:
    """Errors of a trained decoder on the samples that it was trained on.

    Attributes:
        sdf_l1: Mean absolute error of the decoded distances, per shape.
        clamped_l1: The same error after clamping the decoded and the true distances.
        code_cosine: Mean cosine similarity of the latent codes of two different shapes.
    """

    sdf_l1: Float[np.ndarray, " shape"]
    clamped_l1: Float[np.ndarray, " shape"]
    code_cosine: float


def measure_decoder(training: DeepSDFTraining, samples: int, clamp: float) -> DecoderErrors:
    """Measure the errors of a trained decoder on the first windows of samples of each shape.

    In a distributed run, every process must call this function.

    Args:
        training: Training whose result is measured.
        samples: Minimum number of samples per shape to measure on; all samples if a shape has fewer.
        clamp: Bound of the distances for `clamped_l1`. A decoder that was trained with this clamp has not learned
            distances beyond it.
    """
    decoder, codes = training.result()
    reader, context = training.samples, training.context
    windows = [index for index in range(reader.windows) if index == 0 or reader.bounds[index] < samples]
    errors = torch.zeros(len(reader.uids), 2, device=context.device)
    for row, code in enumerate(codes[context.own]):
        parts = [reader.window(row, index) for index in windows]
        points = torch.cat([part.points for part in parts])
        distances = torch.cat([part.distances for part in parts])
        errors[row] = decoder_errors(
            decoder, code[None], points[None], distances[None], (math.inf, clamp), training.settings.chunk
        )[0]
    full, clamped = context.whole(errors, training.shapes).T.cpu().numpy()
    return DecoderErrors(full, clamped, mean_cosine(codes))


def measure_held_out(
    training: DeepSDFTraining, samples: Sequence[SampleChunk]
) -> Float[np.ndarray, " shape"]:
    """Fit codes to half of the samples of held-out shapes, and measure the decoded distances of the other half.

    Args:
        training: Training whose decoder is measured.
        samples: Samples of each held-out shape, in random order and equally many.

    Returns:
        The mean absolute error of distances clamped at `HELD_OUT_FIT.clamp`, per shape.
    """
    if not samples:
        return np.zeros(0)
    decoder, codes = training.result()
    decoder.requires_grad_(False)
    points, distances = (
        torch.from_numpy(np.stack([getattr(one, name) for one in samples]))
        for name in ("points", "distances")
    )
    half = points.shape[1] // 2
    centre, std = codes.mean(dim=0), codes.std(dim=0, correction=0).clamp_min(1e-4)
    fitted = fit_codes(decoder, points[:, :half], distances[:, :half], centre, std, HELD_OUT_FIT)
    errors = decoder_errors(
        decoder, fitted, points[:, half:], distances[:, half:], (HELD_OUT_FIT.clamp,), HELD_OUT_FIT.chunk
    )
    return np.asarray(errors[:, 0].cpu().numpy())


@torch.no_grad()
def decoder_errors(
    decoder: DeepSDF,
    codes: Float[Tensor, "shape code"],
    points: Float[Tensor, "shape sample 3"],
    distances: Float[Tensor, "shape sample"],
    clamps: Sequence[float],
    chunk: int,
) -> Float[Tensor, "shape clamp"]:
    """Return the mean absolute error of decoded distances, for each shape and clamp.

    Args:
        decoder: A decoder.
        codes: The latent code of each shape.
        points: Sample points of each shape.
        distances: True signed distances of the points.
        clamps: Bounds to which decoded and true distances are clamped; infinity for no bound.
        chunk: Number of points that pass through the decoder at once.
    """
    errors = []
    for code, own_points, own_distances in zip(codes, points, distances, strict=True):
        prepared = decoder.prepare(code[None])
        parts = [decoder.decode(prepared, part[None].to(code.device))[0] for part in own_points.split(chunk)]
        predicted, true = torch.cat(parts), own_distances.to(code.device)
        errors += [(predicted.clamp(-to, to) - true.clamp(-to, to)).abs().mean() for to in clamps]
    return torch.stack(errors).reshape(len(codes), len(clamps))


@torch.inference_mode()
def mlp_errors(
    config: MLPConfig,
    weights: Float[Tensor, "shape parameter"],
    points: Float[Tensor, "shape sample 3"],
    distances: Float[Tensor, "shape sample"],
    clamp: float,
    chunk: int,
) -> Float[Tensor, " shape"]:
    """Return the mean absolute error of the distances of per-shape networks.

    Args:
        config: The network of each shape.
        weights: Weights of the network of each shape, on the device of the computation.
        points: Sample points of each shape.
        distances: True signed distances of the points.
        clamp: Bound to which computed and true distances are clamped.
        chunk: Number of points that pass through a network at once.
    """
    networks = MLPs(config, weights).requires_grad_(False)
    parts = [networks(part.to(weights.device)) for part in torch.split(points, chunk, dim=1)]
    error = torch.cat(parts, dim=1).clamp(-clamp, clamp) - distances.to(weights.device).clamp(-clamp, clamp)
    return error.abs().mean(dim=1)


def mean_cosine(codes: Float[Tensor, "shape code"]) -> float:
    """Return the mean cosine similarity of all pairs of codes; 0 if there is only one code."""
    directions = nn.functional.normalize(codes, dim=1)
    pairs = len(codes) * (len(codes) - 1)
    return (directions.sum(dim=0).square().sum() - directions.square().sum()).item() / max(pairs, 1)
