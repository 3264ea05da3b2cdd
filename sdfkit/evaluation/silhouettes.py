"""Errors of the silhouettes and the shading of decoded shapes."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sdfkit.models.rendering.silhouette import silhouette_loss, soft_silhouette
from sdfkit.training.flow.pictures import Pictures, grid_pixels, rays_through, select_conditions
from sdfkit.training.flow.rendering import find_nearest, shading_errors
from sdfkit.training.flow.training import FlowTraining

# Maximum number of shapes to evaluate, and largest side in pixels of the images that are compared.
MAX_SHAPES, SIDE = 64, 64


class SilhouetteErrors(NamedTuple):
    """Errors of the silhouettes and the shading of decoded shapes against the true images, averaged over images."""

    temperature: float
    """Temperature of the soft silhouettes that `loss` compares."""
    loss: float
    """Binary cross-entropy of soft silhouettes with the true masks, over whole images."""
    overlap: float
    """Intersection over union of the decoded and the true silhouettes."""
    shading: float
    """Mean absolute error of grey values, over pixels inside both silhouettes."""


def measure_silhouettes(training: FlowTraining, pictures: Pictures, views: int) -> SilhouetteErrors:
    """Compare silhouettes and shading of decoded shapes with the true images, at 64 × 64 pixels or fewer.

    The first view differs from shape to shape: view 0 of every shape is from above, where silhouettes are easiest to
    predict.

    Args:
        training: Training whose last stage computes the codes.
        pictures: Views of the shapes to evaluate, which need not be training shapes.
        views: Number of evenly spaced views per shape. The code is computed from the first of them. Of more than 64
            shapes, 64 evenly spaced ones are evaluated.
    """
    networks, settings = training.networks, training.settings
    device = training.context.device
    generator = torch.Generator().manual_seed(training.generator.initial_seed())
    available = pictures.rgb.shape[1]
    offsets = torch.arange(views, device=device) * available // views
    pixels = grid_pixels(pictures, max(1, pictures.mask.shape[2] // SIDE)).expand(1, views, -1)
    count = len(pictures.rgb)
    shapes = torch.arange(0, count, -(-count // MAX_SHAPES), device=device)
    noise = torch.randn(len(shapes), training.config.code, generator=generator).to(device)

    def measure(at: int) -> Float[Tensor, " 3"]:
        rows = shapes[at : at + 1]
        chosen = (rows + offsets) % available
        with torch.no_grad():
            conditions = select_conditions(pictures, rows, rows % pictures.conditions)
            codes = training.make_codes(training.stages[-1], conditions, noise[at : at + 1])
            rays = rays_through(pictures, rows, chosen[None], pixels)
            decode, prepared = networks.decoder.decode, networks.decoder.prepare(codes)
            nearest = find_nearest(decode, prepared, rays, exhaustive=settings.exhaustive)
            logits = soft_silhouette(decode, prepared, nearest, settings.temperature)
            loss = silhouette_loss(logits, rays.mask).sum()
        inside, mask = ((part > 0).view(views, -1) for part in (logits, rays.mask))
        overlap = (inside & mask).sum(dim=1) / (inside | mask).sum(dim=1)
        cameras = pictures.cameras[rows[:, None], chosen]
        shading = shading_errors(networks, prepared, rays, nearest, cameras).detach()
        return torch.stack([loss, overlap.mean(), shading.sum()])

    own = range(len(shapes))[training.context.own]
    sums = sum(training.threads.map(measure, own), start=torch.zeros(3, device=device))
    loss, overlap, shading = (training.context.total(sums) / len(shapes)).tolist()
    return SilhouetteErrors(settings.temperature, loss, overlap, shading)
