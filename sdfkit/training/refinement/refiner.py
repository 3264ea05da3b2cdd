"""Refines the codes of shapes: chooses initial codes, moves them, and keeps the best."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdfkit.models.rendering.silhouette import ConditionalField
from sdfkit.training.flow.pictures import Pictures
from sdfkit.training.refinement.descent import CodePrior, Refinement, RefinementSettings, draw_fixed_rays
from sdfkit.training.refinement.starts import CoarseFields

SETTINGS = RefinementSettings(
    steps=60, rays=192, checked=384, edge=4.0, samples=8, rounds=3, refine=2, reuse=1, first_temperature=0.05,
    temperature=0.01, lr=0.2, prior=3e-5, narrow=15, interval=10, patience=2, least=0.01,
)  # fmt: skip
# Number of training codes that are compared in detail, and number of initial codes that are refined.
NEAREST, STARTS = 4, 3
# Cells of the coarse grid of the training codes, samples on a ray there, and the temperature.
CELLS, COARSE_SAMPLES, COARSE_TEMPERATURE = 16, 24, 0.05


class CodeRefiner:
    """Refines codes of a decoder.

    Args:
        decoder: Function from prepared codes and points to signed distances.
        codes: Codes of the training shapes, on the device of the decoder.
        settings: Settings of the refinement.
        prepare: Function that prepares codes for the decoder, see `DeepSDF.prepare`; None if it takes plain codes.
    """

    def __init__(
        self,
        decoder: ConditionalField,
        codes: Float[Tensor, "known code"],
        settings: RefinementSettings = SETTINGS,
        prepare: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.decoder, self.settings, self.prepare = decoder, settings, prepare
        self.codes, self.device = codes, codes.device
        self.prior = CodePrior(self.codes)

    @cached_property
    def _fields(self) -> CoarseFields:
        def decode(codes: Tensor, points: Tensor) -> Tensor:
            return self.decoder(codes if self.prepare is None else self.prepare(codes), points)

        return CoarseFields(decode, self.codes, CELLS)

    def refine(
        self,
        images: Pictures,
        samples: Float[Tensor, "shape sample code"] | None,
        generators: Sequence[torch.Generator],
    ) -> tuple[Float[Tensor, "shape code"], Float[Tensor, " shape"]]:
        """Find the codes of shapes.

        The initial codes are samples of a model, the training codes whose silhouettes fit the images best, and the
        mean code; those of them that fit best are refined.

        Args:
            images: Views of the shapes; of their arrays, the masks, distances and cameras are used.
            samples: Codes that a model sampled for each shape; None without a model.
            generators: Source of the random numbers of each shape.

        Returns:
            The codes, and the intersection over union of their silhouettes with the masks.
        """
        pictures = images.to(self.device)
        starts = [
            self.prior.mean.expand(len(pictures.mask), 1, -1),
            self.codes[self._find_nearest(pictures)],
        ]
        if samples is not None:
            starts.append(samples.to(self.device))
        refinement = Refinement(
            self.decoder, self.prior, pictures, torch.cat(starts, dim=1), self.settings, generators,
            self.prepare,
        )  # fmt: skip
        refinement.keep(STARTS)
        while not refinement.finished:
            refinement.step()
        codes = refinement.result()
        return codes, refinement.measure_overlap(codes)

    def _find_nearest(self, pictures: Pictures) -> Int[Tensor, "shape nearest"]:
        """Return the indices of the training codes whose silhouettes fit best, the best first."""
        rows = torch.arange(len(pictures.mask), device=self.device)
        rays = draw_fixed_rays(pictures, rows, self.settings.checked, edge=1.0)
        losses = self._fields.compare(rays, COARSE_SAMPLES, COARSE_TEMPERATURE)
        return losses.topk(min(NEAREST, losses.shape[1]), dim=1, largest=False).indices
