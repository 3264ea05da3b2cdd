"""Flow-SDF: what turns pictures into codes without ever seeing a shape.

A conditioner looks at pictures, and a rectified flow carries noise to a code along what it saw. Time runs from 0,
where there is nothing but noise, to 1, where there is a code: z(t) = (1 - t) · noise + t · code, so that the velocity
to be learned is code - noise. The same conditioner, asked for codes directly, is the baseline: an encoder.

Reference: Flow-SDF, its table of components; Liu et al., Flow Straight and Fast (2022), equation 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig
from sdfkit.models.dit import DiT, DiTConfig, modulate, zeros
from sdfkit.models.encodings import embed_timesteps
from sdfkit.models.rendering.shading import lambert

# Pixels a side of the pictures that the convolutions see.
SIZE = 64
TIME_WIDTH = 64
# Times are embedded as a thousand times themselves, as timesteps of a diffusion are.
TICKS = 1000


@dataclass(frozen=True)
class FlowConfig:
    """The shape of a conditioner and a flow.

    Attributes:
        code: Numbers in a code, and in what the conditioner sees.
        channels: Channels of the convolutions, each of which halves the picture.
        hidden: Width of the conditioner's hidden layer.
        feature: Numbers in a feature, where the conditioner is given features in place of pictures.
        patches: Features a view.
        velocity: What tells the velocity: layers modulated by time and condition, or a transformer that attends to
            the pieces of the pictures.
        width: Width of its blocks.
        blocks: How many there are.
    """

    code: int
    channels: Sequence[int]
    hidden: int
    feature: int | None
    patches: int
    velocity: Literal["mlp", "dit"]
    width: int
    blocks: int


class PictureConditioner(nn.Module):
    """What four convolutions see: a vector a picture, or one for each of its 4 × 4 parts.

    The vector's network has 2,919,136 parameters with the paper's widths.
    """

    def __init__(self, config: FlowConfig, pooled: bool) -> None:
        super().__init__()
        widths = [3, *config.channels]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1) for before, after in pairwise(widths)
        )
        side = SIZE >> len(config.channels)
        self.hidden = nn.Linear(side * side * widths[-1], config.hidden) if pooled else None
        self.out = nn.Linear(config.hidden if pooled else widths[-1], config.code)

    def forward(
        self, pictures: Float[Tensor, "batch view 3 row column"]
    ) -> Float[Tensor, "batch view part code"]:
        x = pictures.flatten(0, 1)
        for convolution in self.convolutions:
            x = torch.relu(convolution(x))  # (picture, channel, row, column)
        parts = x.flatten(2).transpose(1, 2)  # (picture, part, channel)
        if self.hidden is not None:
            parts = torch.relu(self.hidden(x.flatten(1)))[:, None]  # (picture, 1, hidden)
        seen: Tensor = self.out(parts)  # (picture, part, code)
        return seen.reshape(*pictures.shape[:2], *seen.shape[1:])


class FeatureConditioner(nn.Module):
    """What a layer makes of the features of a frozen encoder, of pictures or of captions."""

    def __init__(self, config: FlowConfig, pooled: bool) -> None:
        super().__init__()
        assert config.feature is not None
        self.pooled = pooled
        self.norm = nn.LayerNorm(config.feature)
        self.hidden = nn.Linear(config.feature, config.hidden)
        self.out = nn.Linear(config.hidden, config.code)

    def forward(
        self, features: Float[Tensor, "batch view patch feature"]
    ) -> Float[Tensor, "batch view part code"]:
        seen: Tensor = self.out(torch.relu(self.hidden(self.norm(features))))
        return seen.mean(dim=2, keepdim=True) if self.pooled else seen


def build_conditioner(config: FlowConfig, pooled: bool) -> PictureConditioner | FeatureConditioner:
    """A conditioner. An encoder is one that is pooled: what it sees is the code."""
    return (PictureConditioner if config.feature is None else FeatureConditioner)(config, pooled)


class Block(nn.Module):
    """Two layers, modulated by shift, scale and gate."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = zeros(nn.Linear(condition, 3 * width))

    def forward(
        self, x: Float[Tensor, "batch 1 width"], condition: Float[Tensor, "batch 1 condition"]
    ) -> Float[Tensor, "batch 1 width"]:
        shift, scale, gate = self.modulation(condition).chunk(3, dim=2)
        changed: Tensor = x + gate * self.layers(modulate(self.norm(x), shift, scale))
        return changed


class VelocityMLP(nn.Module):
    """The velocity by modulated layers: 3,895,936 parameters with codes of 256 and six blocks of 384.

    The condition of several pictures is the mean of what is seen of each.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        code, width = config.code, config.width
        self.time_in = nn.Sequential(nn.Linear(TIME_WIDTH, code), nn.SiLU(), nn.Linear(code, code))
        self.seen_in = nn.Linear(code, code)
        self.code_in = nn.Linear(code, width)
        self.blocks = nn.ModuleList(Block(width, code) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.out = zeros(nn.Linear(width, code))

    def forward(
        self,
        codes: Float[Tensor, "batch code"],
        times: Float[Tensor, " batch"],
        seen: Float[Tensor, "batch view part code"],
    ) -> Float[Tensor, "batch code"]:
        time = self.time_in(embed_timesteps((TICKS * times).round().long(), TIME_WIDTH))  # (batch, code)
        condition = F.silu(time + self.seen_in(seen.mean(dim=(1, 2))))[:, None]  # (batch, 1, code)
        x = self.code_in(codes)[:, None]  # (batch, 1, width)
        for block in self.blocks:
            x = block(x, condition)
        velocity: Tensor = self.out(self.norm(x))  # (batch, 1, code)
        return velocity[:, 0]


class VelocityDiT(nn.Module):
    """The velocity by a transformer that attends to every part of every picture."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        parts = (SIZE >> len(config.channels)) ** 2 if config.feature is None else config.patches
        self.network = DiT(
            DiTConfig(
                config.code, tokens=1, feature=config.code, patches=parts, width=config.width,
                layers=config.blocks, heads=config.width // 64, ffn=2, gated=True, target="v",
            )
        )  # fmt: skip

    def forward(
        self,
        codes: Float[Tensor, "batch code"],
        times: Float[Tensor, " batch"],
        seen: Float[Tensor, "batch view part code"],
    ) -> Float[Tensor, "batch code"]:
        cameras = codes.new_zeros(*seen.shape[:2], 4, 4)  # unknown
        all_count = torch.ones(seen.shape[:2], dtype=torch.bool, device=codes.device)
        velocity: Tensor = self.network(codes, (TICKS * times).round().long(), seen, cameras, all_count)
        return velocity


class Flow(nn.Module):
    """A rectified flow of codes, given what is seen.

    It runs among standardised codes: noise of spread 1 would drown codes, whose spread is far below it, and the flow
    fall to their mean. `mean` and `spread` are measured on the codes it is to make; 0 and 1 leave that out.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.velocity = VelocityMLP(config) if config.velocity == "mlp" else VelocityDiT(config)
        self.register_buffer("mean", torch.zeros(config.code))
        self.register_buffer("spread", torch.ones(()))

    def standardise(self, codes: Float[Tensor, "batch code"]) -> Float[Tensor, "batch code"]:
        return (codes - self.mean) / self.spread

    def run(
        self,
        noise: Float[Tensor, "batch code"],
        seen: Float[Tensor, "batch view part code"],
        *,
        steps: int,
        guidance: float,
    ) -> Float[Tensor, "step batch code"]:
        """Carry noise to codes by Euler steps of equal length.

        Args:
            noise: Standard normal numbers.
            seen: What the conditioner saw. Zeros stand for nothing.
            steps: Steps, of length 1 / steps.
            guidance: Weight w of u + w (c - u), where c is the velocity with the condition and u without; 1 is c.

        Returns:
            Codes before the first step and after each, in the units of codes.
        """

        def velocity(codes: Tensor, times: Tensor) -> Tensor:
            towards: Tensor = self.velocity(codes, times, seen)
            if guidance == 1:
                return towards
            free: Tensor = self.velocity(codes, times, torch.zeros_like(seen))
            return free + guidance * (towards - free)

        codes: Tensor = self.mean + self.spread * integrate(velocity, noise, steps)
        return codes


def integrate(
    velocity: Callable[[Tensor, Tensor], Tensor], start: Float[Tensor, "batch dim"], steps: int
) -> Float[Tensor, "step batch dim"]:
    """Follow a velocity from time 0 to time 1 by Euler steps; all points on the way, the first and the last too."""
    path = [start]
    for step in range(steps):
        times = torch.full((len(start),), step / steps, device=start.device)
        path.append(path[-1] + velocity(path[-1], times) / steps)
    return torch.stack(path)


class Light(nn.Module):
    """What shapes send back of the lights that sdfkit renders with, which travel with the camera."""

    def __init__(self, directions: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.directions: Tensor
        self.register_buffer("directions", torch.tensor(directions), persistent=False)
        self.intensities = nn.Parameter(torch.full((len(directions),), 0.3))
        self.ambient = nn.Parameter(torch.tensor(0.02))

    def forward(
        self, outward: Float[Tensor, "row view ray 3"], cameras: Float[Tensor, "row view 4 4"]
    ) -> Float[Tensor, "row view ray"]:
        return lambert(outward, cameras, self.directions, self.intensities, self.ambient)


class FlowNetworks(nn.Module):
    """All that Flow-SDF trains: encoder, conditioner, flow, decoder and light."""

    def __init__(self, config: FlowConfig, decoder: DeepSDFConfig, lights: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.encoder = build_conditioner(config, pooled=True)
        self.decoder = DeepSDF(decoder)
        self.conditioner = build_conditioner(config, pooled=config.velocity == "mlp")
        self.flow = Flow(config)
        self.light = Light(lights)
