"""The distance functions that codes and weights stand for, by the kind of store they lie in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig
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


def build_fields(
    kind: str, config: Mapping[str, Any], parameters: Mapping[str, Float[Tensor, "..."]], device: str
) -> Fields:
    """The networks of a kind of store.

    Args:
        kind: `deepsdf`, whose one decoder reads codes; or `weights`, where a vector is a whole network.
        config: The fields of DeepSDFConfig or MLPConfig.
        parameters: The decoder's, by name; none for weights.
        device: Where it will run, as torch names it.

    Raises:
        TypeError: `config` has not those fields.
    """
    if kind == "weights":
        shape = MLPConfig(**config)
        return Fields(
            count_parameters(shape), lambda weights: MLPs(shape, weights[None]).requires_grad_(False)
        )
    decoder = DeepSDF(DeepSDFConfig(**config))
    decoder.load_state_dict(dict(parameters))
    decoder.to(device).eval().requires_grad_(False)
    return Fields(decoder.config.code, lambda code: partial(decoder, code[None]))


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
