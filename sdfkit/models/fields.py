"""The distance functions that codes and weights stand for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sdfkit.models.autoencoder import Autoencoder
from sdfkit.models.deepsdf import DeepSDF
from sdfkit.models.mlp import MLPConfig, MLPs, count_parameters

Field: TypeAlias = Callable[[Float[Tensor, "1 point 3"]], Float[Tensor, "1 point"]]


@dataclass(frozen=True)
class Fields:
    """Distance functions, one for each vector.

    Attributes:
        width: Numbers in a vector.
        of: The function that a vector stands for.
    """

    width: int
    of: Callable[[Float[Tensor, " dim"]], Field]


def fields_of_codes(decoder: DeepSDF) -> Fields:
    """What a decoder makes of codes, wherever it lies."""
    return Fields(decoder.config.code, lambda code: partial(decoder, code[None]))


def fields_of_weights(config: MLPConfig) -> Fields:
    """Networks of one description, each of which is a vector."""
    return Fields(count_parameters(config), lambda weights: MLPs(config, weights[None]).requires_grad_(False))


def fields_of_autoencoder(autoencoder: Autoencoder, config: MLPConfig) -> Fields:
    """Networks of one description, whose weights an autoencoder makes of codes."""
    return Fields(
        autoencoder.config.code,
        lambda code: MLPs(config, autoencoder.decode(code[None])).requires_grad_(False),
    )


def ask_field(field: Field, points: Float[np.ndarray, "point 3"], device: str) -> Float[np.ndarray, " point"]:
    """Distances of points, as arrays; `device` is where the field computes."""
    with torch.inference_mode():
        return field(torch.from_numpy(points)[None].to(device))[0].cpu().numpy()


def field_normals(field: Field, points: Float[Tensor, "point 3"], batch: int) -> Float[Tensor, "point 3"]:
    """Directions in which distances grow fastest, of length 1: outward on the surface. Zero where a field is flat.

    By automatic differentiation, `batch` points at once: exact, and half the time of differences.
    """
    parts = []
    for part in torch.split(points, batch):
        here = part.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(field(here[None]).sum(), here)
        parts.append(F.normalize(gradient, dim=1))
    return torch.cat(parts)  # (point, xyz)
