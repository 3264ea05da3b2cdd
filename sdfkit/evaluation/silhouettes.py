"""How well the silhouettes and shades of decoded shapes match pictures."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sdfkit.models.rendering.silhouette import silhouette_loss, soft_silhouette
from sdfkit.training.flow.pictures import Pictures, grid_pixels, look, rays_through
from sdfkit.training.flow.rendering import find_nearest, shading_errors
from sdfkit.training.flow.training import FlowTraining

# Shapes that silhouettes are judged by, at most, and pixels a side of their pictures, evenly spread.
JUDGED, SIDE = 64, 64


class Score(NamedTuple):
    """How well silhouettes are met."""

    temperature: float
    loss: float
    """Binary cross-entropy over whole pictures, at that temperature."""
    overlap: float
    """Intersection over union of silhouettes, the mean over pictures."""
    shading: float
    """Mean absolute error of grey where both silhouettes are."""


def score(training: FlowTraining, pictures: Pictures, views: int) -> Score:
    """Judge silhouettes over whole pictures, at most 64 × 64 pixels of each.

    Shapes are each judged from elsewhere: first views are all from above, where outlines are at their easiest.

    Args:
        training: What was trained, as its last stage makes codes.
        pictures: Of the shapes to judge by, which need not be those it was trained on.
        views: How many views of each shape, evenly chosen, the first of which is seen; of up to 64 shapes, evenly
            chosen too.
    """
    networks, settings = training.networks, training.settings
    device = training.context.device
    generator = torch.Generator().manual_seed(training.generator.initial_seed())
    available = pictures.rgb.shape[1]
    spread = torch.arange(views, device=device) * available // views
    pixels = grid_pixels(pictures, max(1, pictures.mask.shape[2] // SIDE)).expand(1, views, -1)
    count = len(pictures.rgb)
    judged = torch.arange(0, count, -(-count // JUDGED), device=device)
    noise = torch.randn(len(judged), training.config.code, generator=generator).to(device)

    def judge(at: int) -> Float[Tensor, " 3"]:
        rows = judged[at : at + 1]
        chosen = (rows + spread) % available
        with torch.no_grad():
            seen = look(pictures, rows, rows % pictures.seen)
            codes = training.make_codes(training.stages[-1], seen, noise[at : at + 1])
            rays = rays_through(pictures, rows, chosen[None], pixels)
            nearest = find_nearest(networks.decoder, codes, rays, exhaustive=settings.exhaustive)
            logits = soft_silhouette(networks.decoder, codes, nearest, settings.temperature)
            loss = silhouette_loss(logits, rays.mask).sum()
        inside, mask = ((part > 0).view(views, -1) for part in (logits, rays.mask))
        overlap = (inside & mask).sum(dim=1) / (inside | mask).sum(dim=1)
        cameras = pictures.cameras[rows[:, None], chosen]
        shading = shading_errors(networks, codes, rays, nearest, cameras).detach()
        return torch.stack([loss, overlap.mean(), shading.sum()])

    own = range(len(judged))[training.context.own]
    sums = sum(training.workers.map(judge, own), start=torch.zeros(3, device=device))
    loss, overlap, shading = (training.context.total(sums) / len(judged)).tolist()
    return Score(settings.temperature, loss, overlap, shading)
