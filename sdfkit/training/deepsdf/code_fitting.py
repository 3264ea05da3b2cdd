"""Fits latent codes of new shapes to a trained decoder, whose parameters stay fixed."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdfkit.errors import GeometryError, SdfkitError
from sdfkit.models.deepsdf import DeepSDF


@dataclass(frozen=True)
class FitSettings:
    """Settings for fitting latent codes.

    Attributes:
        steps: Number of Adam steps. The learning rate falls to a tenth after half of them.
        batch: Number of samples per shape and step.
        lr: Learning rate.
        clamp: Predicted and true distances are clamped to [-clamp, clamp] before they are compared.
        penalty: Weight of the mean square of the numbers of a code, after standardising them with the mean and the
            standard deviation of the training codes.
        chunk: Number of points that pass through the decoder at once on a CPU, so that activations stay in the cache.
    """

    steps: int
    batch: int
    lr: float
    clamp: float
    penalty: float
    chunk: int


def fit_codes(
    decoder: DeepSDF,
    points: Float[Tensor, "shape sample 3"],
    distances: Float[Tensor, "shape sample"],
    centre: Float[Tensor, " code"],
    std: Float[Tensor, " code"],
    settings: FitSettings,
) -> Float[Tensor, "shape code"]:
    """Find, for each shape, the code whose decoded distances are nearest to the sampled distances.

    All shapes are fitted in one batch, each starting from `centre`; the result of a shape does not depend on the
    others. A step takes the next samples of each shape. Samples must be in random order, as `sample-sdf` writes them.

    Args:
        decoder: A trained decoder, whose parameters need no gradient.
        points: Sample points of each shape. They may be few, or cover only a part of the shape.
        distances: Signed distances of the points, negative inside.
        centre: Initial code and target of the penalty: the mean of the training codes.
        std: Standard deviation of the training codes in each dimension.
        settings: Fit settings.

    Raises:
        SdfkitError: A fitted code is not finite.

    Reference: Park et al., DeepSDF (2019), equation 10, with the published settings except for three. In DeepSDF, a
        fit starts from N(0, 0.01²) and penalises the distance from 0, because training codes are distributed about 0
        equally in all directions. Here a fit starts from the mean of the training codes, and the penalty uses their
        mean and standard deviation. DeepSDF's loss |clamp(f) - clamp(d)| has no gradient where f is beyond the clamp,
        even on the wrong side of the surface, so that a code without a surface would keep none. Here the gradient at
        such points is that of |f - clamp(d)|.
    """
    device = next(decoder.parameters()).device
    codes = centre.to(device).repeat(len(points), 1).requires_grad_()
    centre, std = centre.to(device), std.to(device)
    optimizer = torch.optim.Adam([codes], lr=settings.lr, fused=True)
    batch = min(settings.batch, points.shape[1])
    size = max(1, settings.chunk // len(points)) if device.type == "cpu" else batch
    for step in range(settings.steps):
        if step == settings.steps // 2:
            for group in optimizer.param_groups:
                group["lr"] = settings.lr / 10
        optimizer.zero_grad()
        # Sums, not means, over shapes, so that the result of a shape does not depend on the number of shapes.
        penalty = settings.penalty * ((codes - centre) / std).square().mean(dim=1).sum()
        penalty.backward()  # type: ignore[no-untyped-call]
        own_prepared = decoder.prepare(codes)
        prepared = own_prepared.detach().requires_grad_()
        begin = (step * batch) % (points.shape[1] - batch + 1)
        for start in range(begin, begin + batch, size):
            part = slice(start, min(start + size, begin + batch))
            predicted = decoder.decode(prepared, points[:, part].to(device))  # (shape, point)
            wanted = distances[:, part].to(device).clamp(-settings.clamp, settings.clamp)
            error = predicted.clamp(-settings.clamp, settings.clamp) - wanted
            is_lost = (predicted.abs() > settings.clamp) & (predicted * wanted < 0)
            error = torch.where(is_lost, predicted - wanted, error)
            (error.abs().sum() / batch).backward()  # type: ignore[no-untyped-call]
        torch.autograd.backward([own_prepared], [prepared.grad])
        optimizer.step()
    if not torch.isfinite(codes).all():
        raise SdfkitError("a fitted latent code holds numbers that are not finite; lower the learning rate")
    return codes.detach()


def keep_known(
    points: Float[np.ndarray, "sample 3"],
    distances: Float[np.ndarray, " sample"],
    known: Bool[np.ndarray, " sample"],
    count: int,
) -> tuple[Float[np.ndarray, "known 3"], Float[np.ndarray, " known"]]:
    """Return the first `count` known samples of a shape; if there are fewer, they are repeated.

    Raises:
        GeometryError: No sample is known.
    """
    places = np.flatnonzero(known)[:count]
    if not len(places):
        raise GeometryError(
            "no sample lies in the half-space to which the code is fitted; choose another half-space"
        )
    places = np.resize(places, count)
    return points[places], distances[places]
