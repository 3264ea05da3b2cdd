"""A diffusion transformer that denoises a shape's vector (its code, or its weights) given views of the shape.

Reference: Peebles and Xie, DiT (2023), with cross-attention to views in each block. The paper names widths,
layers, heads and totals; the block below is the one whose parameters count up to both of its totals.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sdfkit.models.diffusion import Target
from sdfkit.models.encodings import CAMERA_WIDTH, embed_cameras, embed_timesteps

TIMESTEP_WIDTH = 256


@dataclass(frozen=True)
class DiTConfig:
    """The shape of a denoiser.

    Attributes:
        dim: Numbers in the vector that is denoised.
        tokens: How many equal pieces the vector is cut into, or the length of each piece, in order. Pieces are padded
            with zeros to the longest.
        feature: Numbers in an image's feature.
        patches: Features of a view, which differ by their place in it; 1 where a view has one feature.
        width: Numbers in a token inside the transformer.
        layers: Blocks.
        heads: Attention heads; divides `width`.
        ffn: Hidden width of a block's feed-forward part, in units of `width`.
        gated: Modulate all three parts of a block by shift, scale and gate (adaLN-Zero, 9 · width), and not
            only self-attention and feed-forward by shift and scale (4 · width).
        target: What is predicted: the clean vector, its noise, or `diffusion.velocity`.
    """

    dim: int
    tokens: int | Sequence[int]
    feature: int
    patches: int
    width: int
    layers: int
    heads: int
    ffn: int
    gated: bool
    target: Target

    @property
    def lengths(self) -> list[int]:
        """Numbers in each piece, without padding."""
        if not isinstance(self.tokens, int):
            return list(self.tokens)
        longest = math.ceil(self.dim / self.tokens)
        return [min(longest, max(0, self.dim - longest * piece)) for piece in range(self.tokens)]


def latent_10m(dim: int, feature: int) -> DiTConfig:
    """For codes: 10,372,288 parameters with 64 numbers in a code and 768 in a feature."""
    return DiTConfig(
        dim,
        tokens=1,
        feature=feature,
        patches=1,
        width=384,
        layers=4,
        heads=6,
        ffn=2,
        gated=False,
        target="x0",
    )


def weights_132m(dim: int, feature: int) -> DiTConfig:
    """For weights: 131,242,689 parameters with 54,785 weights and 768 numbers in a feature."""
    return DiTConfig(
        dim,
        tokens=8,
        feature=feature,
        patches=1,
        width=768,
        layers=8,
        heads=12,
        ffn=4,
        gated=True,
        target="x0",
    )


def small(dim: int, feature: int) -> DiTConfig:
    """For codes, on two CPU cores: 799,424 parameters with 64 numbers in a code and 1,280 in a feature."""
    return DiTConfig(
        dim,
        tokens=1,
        feature=feature,
        patches=1,
        width=128,
        layers=2,
        heads=4,
        ffn=2,
        gated=False,
        target="x0",
    )


def weights_small(dim: int, feature: int) -> DiTConfig:
    """For weights, on two CPU cores: 6,886,081 parameters with 54,785 weights and 1,280 numbers in a feature."""
    return DiTConfig(
        dim,
        tokens=8,
        feature=feature,
        patches=1,
        width=256,
        layers=2,
        heads=4,
        ffn=2,
        gated=True,
        target="x0",
    )


PRESETS: dict[str, Callable[[int, int], DiTConfig]] = {
    "small": small,
    "latent-10m": latent_10m,
    "weights-small": weights_small,
    "weights-132m": weights_132m,
}


class Attention(nn.Module):
    """Tokens gather from a context, which may be themselves."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        context: Float[Tensor, "batch context width"],
        seen: Bool[Tensor, "batch context"] | None,
    ) -> Float[Tensor, "batch token width"]:
        query = self.split(self.query(tokens))  # (batch, head, token, part)
        key, value = map(self.split, self.key_value(context).chunk(2, dim=-1))  # (batch, head, context, part)
        mask = None if seen is None else seen[:, None, None, :]
        x = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)  # (batch, head, token, part)
        gathered: Tensor = self.out(x.transpose(1, 2).flatten(-2))  # (batch, token, width)
        return gathered

    def split(self, x: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch head token part"]:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Block(nn.Module):
    """Self-attention, cross-attention to the views, and feed-forward, modulated by the timestep."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.gated = config.gated
        self.norm = nn.LayerNorm(config.width, eps=1e-6, elementwise_affine=False)
        self.self_attention = Attention(config.width, config.heads)
        self.cross_attention = Attention(config.width, config.heads)
        self.ffn = nn.Sequential(
            nn.Linear(config.width, config.ffn * config.width),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.ffn * config.width, config.width),
        )
        self.modulation = zeros(nn.Linear(config.width, (9 if config.gated else 4) * config.width))

    def forward(
        self,
        x: Float[Tensor, "batch token width"],
        time: Float[Tensor, "batch width"],
        views: Float[Tensor, "batch view width"],
        seen: Bool[Tensor, "batch view"],
    ) -> Float[Tensor, "batch token width"]:
        # A sample without any view is unconditional. Its softmax would divide by zero, so it looks at all
        # views, and what it saw is thrown away.
        some = seen.any(dim=1)[:, None, None]
        seen = seen | ~some[:, 0]
        modulation = self.modulation(time)[:, None]  # (batch, 1, 4 or 9 times width)
        if self.gated:
            parts = modulation.chunk(9, dim=-1)
            y = modulate(self.norm(x), parts[0], parts[1])
            x = x + parts[2] * self.self_attention(y, y, None)
            y = modulate(self.norm(x), parts[3], parts[4])
            x = x + parts[5] * some * self.cross_attention(y, views, seen)
            x = x + parts[8] * self.ffn(modulate(self.norm(x), parts[6], parts[7]))
        else:
            parts = modulation.chunk(4, dim=-1)
            y = modulate(self.norm(x), parts[0], parts[1])
            x = x + self.self_attention(y, y, None)
            x = x + some * self.cross_attention(self.norm(x), views, seen)
            x = x + self.ffn(modulate(self.norm(x), parts[2], parts[3]))
        return x


class DiT(nn.Module):
    """What a noisy vector was made of, given views of the shape."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        width, token = config.width, max(config.lengths)
        self.tokens_in = nn.Linear(token, width)
        # Behind pure noise nothing but its position tells which piece of the vector a token is. Noise enters with 0.6 a
        # number: beside it positions of 0.02, as in DiT, drown. All pieces were then guessed alike, as the mean of the
        # eight, which leaves 7/8 of their variance whatever the pictures show; training hardly left that place.
        apart = 0.02 if len(config.lengths) == 1 else 1.0
        self.position = nn.Parameter(apart * torch.randn(len(config.lengths), width))
        self.views_in = nn.Linear(config.feature + CAMERA_WIDTH, width)
        self.place = nn.Parameter(0.02 * torch.randn(config.patches, width)) if config.patches > 1 else None
        self.time_in = nn.Sequential(nn.Linear(TIMESTEP_WIDTH, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        # Zeros, as in DiT: blocks begin unmodulated (gated ones as the identity), and the first guess is
        # the mean.
        self.modulation = zeros(nn.Linear(width, 2 * width))
        self.tokens_out = zeros(nn.Linear(width, token))

    def forward(
        self,
        noisy: Float[Tensor, "batch dim"],
        timesteps: Int[Tensor, " batch"],
        features: Float[Tensor, "batch view patch feature"],
        cameras: Float[Tensor, "batch view 4 4"],
        seen: Bool[Tensor, "batch view"],
    ) -> Float[Tensor, "batch dim"]:
        """Denoise vectors.

        Args:
            noisy: Standardised vectors with noise.
            timesteps: How noisy, from 0 (hardly) to the last step of the schedule (nothing but noise).
            features: Features of views of the shape, one or several a view.
            cameras: Their camera-to-world matrices; zeros where unknown.
            seen: The views that count. Their number may differ from sample to sample; none at all makes a
                sample unconditional.

        Returns:
            What the model was trained to predict, standardised.
        """
        lengths = self.config.lengths
        parts = torch.split(noisy, lengths, dim=1)
        x = torch.stack([F.pad(part, (0, max(lengths) - part.shape[1])) for part in parts], dim=1)
        x = self.tokens_in(x) + self.position  # (batch, token, width)
        poses = embed_cameras(cameras)[:, :, None].expand(-1, -1, features.shape[2], -1)
        views = self.views_in(torch.cat([features, poses], dim=-1))  # (batch, view, patch, width)
        if self.place is not None:
            views = views + self.place
        views = views.flatten(1, 2)  # (batch, view · patch, width)
        seen = seen.repeat_interleave(features.shape[2], dim=1)
        time = F.silu(self.time_in(embed_timesteps(timesteps, TIMESTEP_WIDTH)))  # (batch, width)
        for block in self.blocks:
            x = block(x, time, views, seen)
        shift, scale = self.modulation(time)[:, None].chunk(2, dim=-1)
        pieces: Tensor = self.tokens_out(modulate(self.norm(x), shift, scale))  # (batch, token, number)
        return torch.cat(
            [pieces[:, place, :length] for place, length in enumerate(lengths)], dim=1
        )  # (batch, dim)


def modulate(
    x: Float[Tensor, "batch token width"],
    shift: Float[Tensor, "batch 1 width"],
    scale: Float[Tensor, "batch 1 width"],
) -> Float[Tensor, "batch token width"]:
    """Scale and shift normalised tokens; zeros leave them as they are."""
    return x * (1 + scale) + shift


def zeros(layer: nn.Linear) -> nn.Linear:
    """The layer, with nothing but zeros in it."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
