"""Linear layers in 8-bit integers, for encoders on processors that multiply those fastest."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn


class Rounding:
    """Brings inputs to uint8, with one scale and one zero for all their numbers; remembers the last one.

    Query, key and value of an attention are made from the same tensor, which is then rounded once.
    """

    def __init__(self) -> None:
        self._exact: Tensor | None = None
        self._whole = torch.empty(0, 0, dtype=torch.uint8)
        self._scale, self._zero = 1.0, 0

    def apply(self, x: Float[Tensor, "*batch dim"]) -> tuple[UInt8[Tensor, "row dim"], float, int]:
        """Give whole numbers, and the scale and zero with which x = scale · (whole - zero), nearly."""
        if x is not self._exact:
            low, high = (float(bound) for bound in torch.aminmax(x))
            # 0 is met exactly. 254 steps, so that rounding a half up cannot reach 256.
            low, high = min(low, 0.0), max(high, 0.0)
            self._scale = max((high - low) / 254, 1e-12)
            self._zero = round(-low / self._scale)
            offset = torch.tensor(self._zero + 0.5)
            self._whole = torch.add(offset, x.flatten(0, -2), alpha=1 / self._scale).to(torch.uint8)
            self._exact = x
        return self._whole, self._scale, self._zero


class QuantisedLinear(nn.Module):
    """A linear layer with weights in int8, one scale a row, and inputs in uint8.

    PyTorch's own dynamic layer keeps inputs to 7 bits, because processors without VNNI overflow on 8: a cosine
    of 0.9988 to DINOv2-base's exact feature where 8 bits give 0.9995. So this one needs VNNI, see
    `has_int8_units`. One scale a token was no closer (0.9994), and slower.
    """

    def __init__(self, exact: nn.Linear, rounding: Rounding) -> None:
        super().__init__()
        weight = exact.weight.detach().float()
        self.scales = (weight.abs().amax(dim=1) / 127).clamp_min(1e-12)
        self.zeros = torch.zeros(len(weight), dtype=torch.int64)
        whole = torch.round(weight / self.scales[:, None]).to(torch.int8)
        self.packed = torch.ops.onednn.qlinear_prepack(whole, None)
        self.bias = None if exact.bias is None else exact.bias.detach().float()
        self.rounding = rounding

    def forward(self, x: Float[Tensor, "*batch before"]) -> Float[Tensor, "*batch after"]:
        whole, scale, zero = self.rounding.apply(x)
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, scale, zero, self.packed, self.scales, self.zeros, self.bias,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return y.reshape(*x.shape[:-1], -1)


def quantise(network: nn.Module) -> int:
    """Replace every linear layer of a network in place.

    Returns:
        How many there were.
    """
    rounding = Rounding()
    layers = [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]
    for parent, name, layer in layers:
        setattr(parent, name, QuantisedLinear(layer, rounding))
    return len(layers)


def has_int8_units() -> bool:
    """Whether this processor multiplies 8-bit integers into 32-bit sums, as VNNI does."""
    return bool(torch.cpu._is_vnni_supported())
