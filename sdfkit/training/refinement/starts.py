"""Finds training codes whose silhouettes fit some images, as initial codes of a refinement."""

import torch
from jaxtyping import Float
from torch import Tensor

from sdfkit.models.rendering.silhouette import RADIUS, ConditionalField, ball_span, silhouette_loss
from sdfkit.training.flow.pictures import Rays


class CoarseFields:
    """The decoded distances of training codes on a coarse grid, to find those whose silhouettes fit some images.

    The grid is decoded once; then comparing one shape with all training codes takes no evaluation of the decoder.

    Args:
        decoder: Function from codes and points to signed distances.
        codes: Codes of the training shapes.
        cells: Number of cells along a side of the grid, which spans the cube from -1 to 1.
    """

    def __init__(self, decoder: ConditionalField, codes: Float[Tensor, "known code"], cells: int) -> None:
        self.cells = cells
        axis = torch.linspace(-RADIUS, RADIUS, cells + 1, device=codes.device)
        nodes = torch.cartesian_prod(axis, axis, axis)
        inside = nodes.norm(dim=1) < RADIUS + 4 * RADIUS / cells
        self.values = torch.ones(len(codes), len(nodes), device=codes.device)
        with torch.no_grad():
            for values, code in zip(self.values, codes, strict=True):
                values[inside] = decoder(code[None], nodes[None, inside])[0]

    @torch.no_grad()
    def compare(self, rays: Rays, samples: int, temperature: float) -> Float[Tensor, "shape known"]:
        """Return the silhouette loss of every training code on the rays of each shape, as a length.

        Args:
            rays: Rays of the shapes.
            samples: Number of evenly spaced samples on each ray.
            temperature: Temperature of the soft silhouette.
        """
        losses = []
        near, far = ball_span(rays.origins, rays.directions, RADIUS)
        shares = torch.linspace(0, 1, samples, device=near.device)
        depths = near[..., None] + (far - near)[..., None] * shares
        points = rays.origins[:, :, None] + depths[..., None] * rays.directions[:, :, None]
        for own, hits, mask in zip(points, near < far, rays.mask, strict=True):
            distances = self._interpolate(own[hits].flatten(0, 1)).view(len(self.values), -1, samples)
            logits = -distances.amin(dim=2) / temperature
            loss = temperature * silhouette_loss(logits, mask[hits].expand(len(logits), -1))
            losses.append(loss)
        return torch.stack(losses)

    def _interpolate(self, points: Float[Tensor, "point 3"]) -> Float[Tensor, "known point"]:
        """Interpolate all fields linearly."""
        place = ((points / RADIUS + 1) / 2 * self.cells).clamp(0, self.cells - 1e-4)
        corner = place.long()
        share = place - corner
        side = self.cells + 1
        result = torch.zeros(len(self.values), len(points), device=points.device)
        for offset in torch.cartesian_prod(*[torch.arange(2, device=points.device)] * 3):
            weight = torch.where(offset == 1, share, 1 - share).prod(dim=1)
            x, y, z = (corner + offset).T
            result += weight * self.values[:, (x * side + y) * side + z]
        return result
