"""Flow-SDF: networks from images to codes, trained without ground-truth shapes.

A conditioner encodes images. A rectified flow, conditioned on the output of the conditioner, transforms noise into a
latent code. Time runs from 0, pure noise, to 1, a code: z(t) = (1 - t) · noise + t · code, so the velocity to be
learned is code - noise. The baseline is a conditioner whose output is the code itself; it is called the encoder.

Reference: the table of components in the paper "Flow-SDF"; Liu et al., Flow Straight and Fast (2022), equation 1.
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
from sdfkit.models.dit import DiT, DiTConfig, modulate, zero_initialised
from sdfkit.models.encodings import embed_timesteps
from sdfkit.models.rendering.shading import lambert

# Width and height in pixels of the images that the convolutions take.
SIZE = 64
TIME_WIDTH = 64
# Times are multiplied by this before they are embedded, so that they have the range of the timesteps of a diffusion.
TICKS = 1000


@dataclass(frozen=True)
class FlowConfig:
    """Architecture of a conditioner and a flow.

    Attributes:
        code: Length of a latent code, and of each vector of the condition.
        channels: Output channels of the convolutions, each of which halves the resolution.
        hidden: Width of the conditioner's hidden layer.
        feature: Length of a feature if the conditioner takes features; None if it takes images.
        patches: Number of features per view.
        velocity: Network that computes the velocity. `mlp`: layers modulated by time and condition; `dit`: a
            transformer that attends to the parts of the views.
        width: Width of the blocks of this network.
        blocks: Number of blocks of this network.
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
    """A convolutional network that encodes an image as one vector (pooled), or as one vector for each of 4 × 4 parts.

    The pooled network has 2,919,136 parameters with the widths of Flow-SDF.
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
        condition: Tensor = self.out(parts)  # (picture, part, code)
        return condition.reshape(*pictures.shape[:2], *condition.shape[1:])


class FeatureConditioner(nn.Module):
    """Two layers that encode features of a frozen image or text encoder; if pooled, averaged over patches."""

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
        condition: Tensor = self.out(torch.relu(self.hidden(self.norm(features))))
        return condition.mean(dim=2, keepdim=True) if self.pooled else condition


def build_conditioner(config: FlowConfig, pooled: bool) -> PictureConditioner | FeatureConditioner:
    """Build the network that encodes images or features as the condition of the flow.

    The same network with `pooled`, trained to output codes, is the encoder.
    """
    return (PictureConditioner if config.feature is None else FeatureConditioner)(config, pooled)


class FlowBlock(nn.Module):
    """A residual block of two layers, modulated by shift, scale and gate."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = zero_initialised(nn.Linear(condition, 3 * width))

    def forward(
        self, x: Float[Tensor, "batch 1 width"], condition: Float[Tensor, "batch 1 condition"]
    ) -> Float[Tensor, "batch 1 width"]:
        shift, scale, gate = self.modulation(condition).chunk(3, dim=2)
        y: Tensor = x + gate * self.layers(modulate(self.norm(x), shift, scale))
        return y


class VelocityMLP(nn.Module):
    """A network for the velocity: an MLP modulated by time and condition, averaged over several images.

    The network has 3,895,936 parameters with codes of length 256 and six blocks of width 384.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        code, width = config.code, config.width
        self.time_in = nn.Sequential(nn.Linear(TIME_WIDTH, code), nn.SiLU(), nn.Linear(code, code))
        self.seen_in = nn.Linear(code, code)  # input layer of the condition; stores contain this name
        self.code_in = nn.Linear(code, width)
        self.blocks = nn.ModuleList(FlowBlock(width, code) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.out = zero_initialised(nn.Linear(width, code))

    def forward(
        self,
        codes: Float[Tensor, "batch code"],
        times: Float[Tensor, " batch"],
        condition: Float[Tensor, "batch view part code"],
    ) -> Float[Tensor, "batch code"]:
        time = self.time_in(embed_timesteps((TICKS * times).round().long(), TIME_WIDTH))  # (batch, code)
        modulation = F.silu(time + self.seen_in(condition.mean(dim=(1, 2))))[:, None]  # (batch, 1, code)
        x = self.code_in(codes)[:, None]  # (batch, 1, width)
        for block in self.blocks:
            x = block(x, modulation)
        velocity: Tensor = self.out(self.norm(x))  # (batch, 1, code)
        return velocity[:, 0]


class VelocityDiT(nn.Module):
    """A network for the velocity: a transformer that attends to every part of every image."""

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
        condition: Float[Tensor, "batch view part code"],
    ) -> Float[Tensor, "batch code"]:
        cameras = codes.new_zeros(*condition.shape[:2], 4, 4)  # unknown
        every_view = torch.ones(condition.shape[:2], dtype=torch.bool, device=codes.device)
        velocity: Tensor = self.network(codes, (TICKS * times).round().long(), condition, cameras, every_view)
        return velocity


class Flow(nn.Module):
    """A rectified flow from noise to codes, conditioned on views.

    The flow works on standardised codes. The standard deviation of plain codes is far below 1, so noise of standard
    deviation 1 would hide them, and the flow would predict their mean.

    Attributes:
        mean: Mean of the training codes; 0 for no standardisation.
        spread: Standard deviation of the training codes, one number for all dimensions; 1 for no standardisation.
            Existing stores contain this name.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.velocity = VelocityMLP(config) if config.velocity == "mlp" else VelocityDiT(config)
        self.register_buffer("mean", torch.zeros(config.code))
        self.register_buffer("spread", torch.ones(()))

    def standardise(self, codes: Float[Tensor, "batch code"]) -> Float[Tensor, "batch code"]:
        """Subtract the mean of the training codes, and divide by their standard deviation."""
        return (codes - self.mean) / self.spread

    def run(
        self,
        noise: Float[Tensor, "batch code"],
        condition: Float[Tensor, "batch view part code"],
        *,
        steps: int,
        guidance: float,
    ) -> Float[Tensor, "step batch code"]:
        """Transform noise into codes by Euler steps of equal length.

        Args:
            noise: Standard normal noise.
            condition: Output of the conditioner. Zeros mean no condition.
            steps: Number of steps, each of length 1 / steps.
            guidance: Weight w of classifier-free guidance, u + w (c - u), where c is the velocity with the condition
                and u the velocity without a condition; 1 means no guidance.

        Returns:
            Codes before the first step and after each step, not standardised.
        """

        def velocity(codes: Tensor, times: Tensor) -> Tensor:
            conditional: Tensor = self.velocity(codes, times, condition)
            if guidance == 1:
                return conditional
            unconditional: Tensor = self.velocity(codes, times, torch.zeros_like(condition))
            return unconditional + guidance * (conditional - unconditional)

        codes: Tensor = self.mean + self.spread * integrate(velocity, noise, steps)
        return codes


def integrate(
    velocity: Callable[[Tensor, Tensor], Tensor], start: Float[Tensor, "batch dim"], steps: int
) -> Float[Tensor, "step batch dim"]:
    """Integrate a velocity from time 0 to time 1 by Euler steps, and return all positions, first to last."""
    path = [start]
    for step in range(steps):
        times = torch.full((len(start),), step / steps, device=start.device)
        path.append(path[-1] + velocity(path[-1], times) / steps)
    return torch.stack(path)


class Light(nn.Module):
    """Lambertian shading with learned intensities. The lights are those of the renderer, fixed to the camera."""

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
    """All networks of Flow-SDF: encoder, conditioner, flow, decoder and light."""

    def __init__(self, config: FlowConfig, decoder: DeepSDFConfig, lights: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.encoder = build_conditioner(config, pooled=True)
        self.decoder = DeepSDF(decoder)
        self.conditioner = build_conditioner(config, pooled=config.velocity == "mlp")
        self.flow = Flow(config)
        self.light = Light(lights)
