"""A diffusion transformer that denoises the latent code or the weights of a shape, conditioned on views of the shape.

Reference: Peebles and Xie, DiT (2023), with cross-attention to views in each block. The paper "Small-data
image-to-3-D" states widths, layers, heads and the parameter counts of two models; the block below matches both counts.
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
    """Architecture of a denoiser.

    Attributes:
        dim: Length of the vectors.
        tokens: Number of equal pieces that a vector is split into, or the length of each piece, in order. Each piece is
            one token, zero-padded to the length of the longest.
        feature: Length of a feature vector of a view.
        patches: Number of features per view, each with an embedding of its position; 1 for one feature per view.
        width: Length of a token inside the transformer.
        layers: Number of blocks.
        heads: Number of attention heads; divides `width`.
        ffn: Hidden width of a block's feed-forward network, in units of `width`.
        gated: How the timestep modulates a block. True: shift, scale and gate of self-attention, cross-attention and
            feed-forward network (adaLN-Zero, 9 · width numbers). False: shift and scale of self-attention and
            feed-forward network (4 · width numbers).
        target: Prediction of the network: the clean vector (`x0`), its noise (`eps`), or `diffusion.velocity` (`v`).
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
        """Length of each piece, without padding."""
        if not isinstance(self.tokens, int):
            return list(self.tokens)
        longest = math.ceil(self.dim / self.tokens)
        return [min(longest, max(0, self.dim - longest * piece)) for piece in range(self.tokens)]


def latent_10m(dim: int, feature: int) -> DiTConfig:
    """Return a configuration for codes.

    It has 10,372,288 parameters for codes of length 64 and features of length 768.
    """
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
    """Return a configuration for weights.

    It has 131,242,689 parameters for 54,785 weights and features of length 768.
    """
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
    """Return the configuration of a denoiser of latent codes that trains within minutes on two CPU cores.

    It has 799,424 parameters for codes of length 64 and features of length 1,280.
    """
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
    """Return a configuration for weights on two CPU cores.

    It has 6,886,081 parameters for 54,785 weights and features of length 1,280.
    """
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
    """Multi-head attention from tokens to a context; self-attention if the context is the tokens."""

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
        context_mask: Bool[Tensor, "batch context"] | None,
    ) -> Float[Tensor, "batch token width"]:
        query = self.split(self.query(tokens))  # (batch, head, token, part)
        key, value = map(self.split, self.key_value(context).chunk(2, dim=-1))  # (batch, head, context, part)
        mask = None if context_mask is None else context_mask[:, None, None, :]
        x = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)  # (batch, head, token, part)
        attended: Tensor = self.out(x.transpose(1, 2).flatten(-2))  # (batch, token, width)
        return attended

    def split(self, x: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch head token part"]:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class DiTBlock(nn.Module):
    """Self-attention, cross-attention to the views, and a feed-forward network, modulated by the timestep."""

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
        self.modulation = zero_initialised(nn.Linear(config.width, (9 if config.gated else 4) * config.width))

    def forward(
        self,
        x: Float[Tensor, "batch token width"],
        time: Float[Tensor, "batch width"],
        views: Float[Tensor, "batch view width"],
        view_mask: Bool[Tensor, "batch view"],
    ) -> Float[Tensor, "batch token width"]:
        # A sample without any view is unconditional. Its softmax would divide by zero, so it attends to all views, and
        # the result is multiplied by zero.
        conditional = view_mask.any(dim=1)[:, None, None]
        view_mask = view_mask | ~conditional[:, 0]
        modulation = self.modulation(time)[:, None]  # (batch, 1, 4 or 9 times width)
        if self.gated:
            parts = modulation.chunk(9, dim=-1)
            y = modulate(self.norm(x), parts[0], parts[1])
            x = x + parts[2] * self.self_attention(y, y, None)
            y = modulate(self.norm(x), parts[3], parts[4])
            x = x + parts[5] * conditional * self.cross_attention(y, views, view_mask)
            x = x + parts[8] * self.ffn(modulate(self.norm(x), parts[6], parts[7]))
        else:
            parts = modulation.chunk(4, dim=-1)
            y = modulate(self.norm(x), parts[0], parts[1])
            x = x + self.self_attention(y, y, None)
            x = x + conditional * self.cross_attention(self.norm(x), views, view_mask)
            x = x + self.ffn(modulate(self.norm(x), parts[2], parts[3]))
        return x


class DiT(nn.Module):
    """A transformer that predicts, from a noisy vector and views, the clean vector, the noise or the velocity."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        width, token = config.width, max(config.lengths)
        self.tokens_in = nn.Linear(token, width)
        # If the input is pure noise, a token is identified by its position embedding alone. Noise after the projection
        # has a standard deviation of 0.6 per element, which hides position embeddings with a standard deviation of
        # 0.02, the value in DiT. In an experiment with eight pieces, the prediction for every piece was then the mean
        # of all eight, which leaves 7/8 of their variance unexplained whatever the condition, and training hardly
        # improved it.
        std = 0.02 if len(config.lengths) == 1 else 1.0
        self.position = nn.Parameter(std * torch.randn(len(config.lengths), width))
        self.views_in = nn.Linear(config.feature + CAMERA_WIDTH, width)
        self.place = nn.Parameter(0.02 * torch.randn(config.patches, width)) if config.patches > 1 else None
        self.time_in = nn.Sequential(nn.Linear(TIMESTEP_WIDTH, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(DiTBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        # Initialised to zero, as in DiT: blocks begin without modulation (gated ones as the identity), and the first
        # prediction is the mean.
        self.modulation = zero_initialised(nn.Linear(width, 2 * width))
        self.tokens_out = zero_initialised(nn.Linear(width, token))

    def forward(
        self,
        noisy: Float[Tensor, "batch dim"],
        timesteps: Int[Tensor, " batch"],
        features: Float[Tensor, "batch view patch feature"],
        cameras: Float[Tensor, "batch view 4 4"],
        view_mask: Bool[Tensor, "batch view"],
    ) -> Float[Tensor, "batch dim"]:
        """Denoise vectors.

        Args:
            noisy: Standardised vectors with noise.
            timesteps: Timesteps, from 0 (nearly clean) to the last one of the schedule (pure noise).
            features: Features of views of the shape, one or more per view.
            cameras: Camera-to-world matrices of the views; zeros where unknown.
            view_mask: The views to use, whose number may differ between samples. A sample without any is
                unconditional.

        Returns:
            The prediction that `DiTConfig.target` names, in standardised units.
        """
        lengths = self.config.lengths
        x = torch.stack(
            [F.pad(part, (0, max(lengths) - part.shape[1])) for part in torch.split(noisy, lengths, dim=1)],
            dim=1,
        )
        x = self.tokens_in(x) + self.position  # (batch, token, width)
        poses = embed_cameras(cameras)[:, :, None].expand(-1, -1, features.shape[2], -1)
        views = self.views_in(torch.cat([features, poses], dim=-1))  # (batch, view, patch, width)
        if self.place is not None:
            views = views + self.place
        views = views.flatten(1, 2)  # (batch, view · patch, width)
        view_mask = view_mask.repeat_interleave(features.shape[2], dim=1)
        time = F.silu(self.time_in(embed_timesteps(timesteps, TIMESTEP_WIDTH)))  # (batch, width)
        for block in self.blocks:
            x = block(x, time, views, view_mask)
        shift, scale = self.modulation(time)[:, None].chunk(2, dim=-1)
        pieces: Tensor = self.tokens_out(modulate(self.norm(x), shift, scale))  # (batch, token, number)
        parts = [pieces[:, index, :length] for index, length in enumerate(lengths)]
        return torch.cat(parts, dim=1)  # (batch, dim)


def modulate(
    x: Float[Tensor, "batch token width"],
    shift: Float[Tensor, "batch 1 width"],
    scale: Float[Tensor, "batch 1 width"],
) -> Float[Tensor, "batch token width"]:
    """Scale and shift normalised tokens; zeros leave them unchanged."""
    return x * (1 + scale) + shift


def zero_initialised(layer: nn.Linear) -> nn.Linear:
    """Set the weight and bias of a layer to zero, and return it."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
