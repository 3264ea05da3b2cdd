"""Fitting codes of unseen shapes to a decoder that stays as it is."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdfkit.errors import GeometryError, SdfkitError
from sdfkit.models.deepsdf import DeepSDF


@dataclass(frozen=True)
class FitSettings:
    """How codes are fitted.

    Attributes:
        steps: Steps of Adam; at half of them the learning rate falls to a tenth.
        batch: Samples of each shape a step.
        lr: Learning rate.
        clamp: Distances, predicted and true, count up to it.
        penalty: Weight of the mean square of a code's numbers, centred and in units of their spread.
        chunk: Points that pass through the decoder at a time, for the cache of a CPU.
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
    spread: Float[Tensor, " code"],
    settings: FitSettings,
) -> Float[Tensor, "shape code"]:
    """Find the code of each shape whose decoded distances are nearest to its samples.

    All shapes are fitted side by side, each from `centre`, and none depends on another. A step sees the next
    samples of each shape; they must lie in random order, as `sample-sdf` leaves them.

    Args:
        decoder: A trained decoder, whose parameters need no gradient.
        points: Samples of each shape, which may be few, or of a part of the shape only.
        distances: Their distances, negative inside.
        centre: Where codes begin and are drawn to: the mean of the training codes.
        spread: How far training codes lie from it.
        settings: How to fit.

    Raises:
        SdfkitError: An error is not a finite number.

    Reference: Park et al., DeepSDF (2019), equation 10, with their published settings but for two: they begin at
        N(0, 0.01²) and draw to 0, as all directions were alike to them; here the codes seen in training tell
        where codes are.
    """
    device = next(decoder.parameters()).device
    codes = centre.to(device).repeat(len(points), 1).requires_grad_()
    centre, spread = centre.to(device), spread.to(device)
    optimizer = torch.optim.Adam([codes], lr=settings.lr, fused=True)
    batch = min(settings.batch, points.shape[1])
    size = max(1, settings.chunk // len(points)) if device.type == "cpu" else batch
    for step in range(settings.steps):
        if step == settings.steps // 2:
            for group in optimizer.param_groups:
                group["lr"] = settings.lr / 10
        optimizer.zero_grad()
        # Sums over shapes, so that none depends on how many lie beside it.
        penalty = settings.penalty * ((codes - centre) / spread).square().mean(dim=1).sum()
        penalty.backward()  # type: ignore[no-untyped-call]
        begin = (step * batch) % (points.shape[1] - batch + 1)
        for start in range(begin, begin + batch, size):
            part = slice(start, min(start + size, begin + batch))
            predicted = decoder(codes, points[:, part].to(device))  # (shape, point)
            wanted = distances[:, part].to(device)
            error = predicted.clamp(-settings.clamp, settings.clamp) - wanted.clamp(
                -settings.clamp, settings.clamp
            )
            (error.abs().sum() / batch).backward()
        optimizer.step()
    if not torch.isfinite(codes).all():
        raise SdfkitError("a fitted code is not finite: lower the learning rate")
    return codes.detach()


def keep_known(
    points: Float[np.ndarray, "sample 3"],
    distances: Float[np.ndarray, " sample"],
    known: Bool[np.ndarray, " sample"],
    count: int,
) -> tuple[Float[np.ndarray, "known 3"], Float[np.ndarray, " known"]]:
    """The first `count` samples of a shape that are known, in their order, over again where there are fewer.

    Raises:
        GeometryError: None is known.
    """
    places = np.flatnonzero(known)[:count]
    if not len(places):
        raise GeometryError("no known samples: none of them lies in the half-space")
    places = np.resize(places, count)
    return points[places], distances[places]
