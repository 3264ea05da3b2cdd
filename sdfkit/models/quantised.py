"""Linear layers in 8-bit integers, for encoders on CPUs with VNNI (instructions that multiply 8-bit integers)."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

# Values of ONEDNN_MAX_CPU_ISA with which oneDNN does not use VNNI.
WITHOUT_VNNI = ("SSE41", "AVX", "AVX2", "AVX512_CORE")


class InputQuantiser:
    """Quantises inputs to uint8, with one scale and one zero point per tensor, and caches the last result.

    The query, key and value layers of an attention have the same input, which is quantised only once.
    """

    def __init__(self) -> None:
        self._exact: Tensor | None = None
        self._integers = torch.empty(0, 0, dtype=torch.uint8)
        self._scale, self._zero = 1.0, 0

    def apply(self, x: Float[Tensor, "*batch dim"]) -> tuple[UInt8[Tensor, "row dim"], float, int]:
        """Return integers, and the scale and zero point for which x ≈ scale · (integer - zero point)."""
        if x is not self._exact:
            low, high = (float(bound) for bound in torch.aminmax(x))
            # The range includes 0, which is represented exactly. 254 steps, because rounding up must not reach 256.
            low, high = min(low, 0.0), max(high, 0.0)
            self._scale = max((high - low) / 254, 1e-12)
            self._zero = round(-low / self._scale)
            offset = torch.tensor(self._zero + 0.5)
            self._integers = torch.add(offset, x.flatten(0, -2), alpha=1 / self._scale).to(torch.uint8)
            self._exact = x
        return self._integers, self._scale, self._zero


class QuantisedLinear(nn.Module):
    """A linear layer with weights in int8, one scale per row, and inputs in uint8.

    The dynamic quantised layer of PyTorch limits inputs to 7 bits, because products of 8 bits overflow on processors
    without VNNI. With 7 bits, the feature of DINOv2-base has a cosine of 0.9988 with the feature in fp32; with 8 bits,
    0.9995. This layer therefore uses 8 bits and needs VNNI, see `has_int8_units`. One scale per token was not more
    accurate (0.9994), and slower.

    The public API of torch has no product of 8-bit integers, so this layer uses `torch.ops.onednn`, which is not
    public. A test compares its results with those in float32, and pyproject.toml limits the version of torch.
    """

    def __init__(self, exact: nn.Linear, inputs: InputQuantiser) -> None:
        super().__init__()
        weight = exact.weight.detach().float()
        self.scales = (weight.abs().amax(dim=1) / 127).clamp_min(1e-12)
        self.zeros = torch.zeros(len(weight), dtype=torch.int64)
        integers = torch.round(weight / self.scales[:, None]).to(torch.int8)
        self.packed = torch.ops.onednn.qlinear_prepack(integers, None)
        self.bias = None if exact.bias is None else exact.bias.detach().float()
        self.inputs = inputs

    def forward(self, x: Float[Tensor, "*batch before"]) -> Float[Tensor, "*batch after"]:
        integers, scale, zero = self.inputs.apply(x)
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            integers, scale, zero, self.packed, self.scales, self.zeros, self.bias,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return y.reshape(*x.shape[:-1], -1)


def quantise(network: nn.Module) -> int:
    """Replace every linear layer of a network by a `QuantisedLinear`, in place.

    Returns:
        The number of replaced layers.
    """
    inputs = InputQuantiser()
    layers = [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]
    for parent, name, layer in layers:
        setattr(parent, name, QuantisedLinear(layer, inputs))
    return len(layers)


def has_int8_units() -> bool:
    """Return whether oneDNN uses VNNI here, which adds products of 8-bit integers to 32-bit sums.

    Without VNNI the sums have 16 bits and saturate. The environment variable ONEDNN_MAX_CPU_ISA can keep oneDNN from
    using what the processor has. Older torch has no `torch.cpu.get_capabilities`; the result is then False.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    if limit.upper() in WITHOUT_VNNI:
        return False
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_vnni", False))
