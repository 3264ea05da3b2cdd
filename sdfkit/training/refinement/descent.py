"""Refinement of latent codes: codes move until the silhouettes of the decoded shapes agree with those of posed images.

The decoder is fixed. Each shape is refined from several initial codes, and the best code by the images is the result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdfkit.errors import SdfkitError
from sdfkit.models.rendering.silhouette import (
    ConditionalField,
    Nearest,
    march_bounded,
    silhouette_loss,
    soft_silhouette,
)
from sdfkit.training.flow.pictures import Pictures, Rays, choose_rays

# Number of rays per shape on which the overlap of silhouettes is measured.
OVERLAP_RAYS = 1024
# Decay of the moments of Adam, and the term that keeps its steps finite.
DECAYS, EPSILON = (0.9, 0.99), 1e-12


@dataclass(frozen=True)
class RefinementSettings:
    """Settings of the refinement.

    Attributes:
        steps: Largest number of Adam steps.
        rays: Number of rays per shape and step, over all of its views.
        checked: Number of rays per shape that judge a code, over all of its views. They are the same at every check.
        edge: How many times as likely a ray near the silhouette's edge is drawn as another ray.
        samples, rounds, refine: Samples on each ray, see `march_bounded`.
        reuse: Number of steps that use the same rays and their nearest points. These move little from step to step, and
            finding them takes five times as many evaluations of the decoder as a step with known ones.
        first_temperature, temperature: Temperature of the soft silhouette at the first and at the last step, in between
            it changes by the same factor each step; codes are judged at the last one.
        lr: Learning rate at the first step, in standard deviations of the training codes; it falls linearly to a tenth.
        prior: Weight of the mean square of a whitened code, see `CodePrior`.
        narrow: Step after which only the best start of each shape is continued.
        interval: Number of steps between checks.
        patience: A shape is finished if this many checks in a row have improved its best code by less than `least`.
        least: See `patience`; a share of the loss.
    """

    steps: int
    rays: int
    checked: int
    edge: float
    samples: int
    rounds: int
    refine: int
    reuse: int
    first_temperature: float
    temperature: float
    lr: float
    prior: float
    narrow: int
    interval: int
    patience: int
    least: float

    def temperature_at(self, step: int) -> float:
        """Return the temperature of the soft silhouette at a step."""
        share = min(step / max(self.steps - 1, 1), 1)
        return float(self.first_temperature * (self.temperature / self.first_temperature) ** share)


class CodePrior:
    """The normal distribution of training codes.

    Its covariance is shrunk towards its diagonal by the share d / (d + n) for n codes of length d, so that it can be
    inverted with fewer codes than numbers in a code.

    Args:
        codes: Codes of the training shapes.
    """

    def __init__(self, codes: Float[Tensor, "known code"]) -> None:
        known, dim = codes.shape
        self.mean = codes.mean(dim=0)
        centred = (codes - self.mean).double()
        covariance = centred.T @ centred / known
        diagonal = covariance.diagonal().clamp_min(1e-8)
        share = dim / (dim + known)
        shrunk = (1 - share) * covariance + share * torch.diag(diagonal)
        self.factor = torch.linalg.cholesky(shrunk).float()

    def whiten(self, codes: Float[Tensor, "*row code"]) -> Float[Tensor, "*row code"]:
        """Return codes as vectors whose numbers are independent and of variance 1 over the training codes."""
        centred = (codes - self.mean).flatten(0, -2)
        white: Tensor = torch.linalg.solve_triangular(self.factor, centred.T, upper=False).T
        return white.reshape(codes.shape)

    def color(self, white: Float[Tensor, "*row code"]) -> Float[Tensor, "*row code"]:
        """Return the codes of whitened vectors."""
        codes: Tensor = self.mean + white @ self.factor.T
        return codes


class Refinement:
    """Refinement of the codes of some shapes.

    Args:
        decoder: Function from prepared codes and points to signed distances.
        prepare: Function that prepares codes for the decoder, see `DeepSDF.prepare`; None if it takes plain codes.
        prior: Distribution of the training codes.
        pictures: Views of the shapes; of their arrays, the masks, distances and cameras are used.
        starts: Initial codes of each shape.
        settings: Settings.
        generators: Source of the random numbers of each shape, so that its result does not depend on other shapes.

    Attributes:
        steps_taken: Number of steps.
        best: Whitened code with the smallest loss of each start.
        losses: Loss of these codes.
    """

    def __init__(
        self,
        decoder: ConditionalField,
        prior: CodePrior,
        pictures: Pictures,
        starts: Float[Tensor, "shape start code"],
        settings: RefinementSettings,
        generators: Sequence[torch.Generator],
        prepare: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.decoder, self.prior, self.pictures, self.settings = decoder, prior, pictures, settings
        self.prepare = prepare or torch.nn.Identity()
        self.generators = generators
        shapes, count, _ = starts.shape
        self.white = prior.whiten(starts).flatten(0, 1)  # (row, code); a row is one start of a shape
        self.moments = torch.zeros(2, *self.white.shape, device=starts.device)
        self.shape_of = torch.arange(shapes, device=starts.device).repeat_interleave(count)
        self.active = torch.ones(len(self.white), dtype=torch.bool, device=starts.device)
        self.patience = torch.zeros(shapes, device=starts.device)
        self.steps_taken = 0
        self._known: tuple[Rays, Nearest] | None = None
        self.best = self.white.clone()
        self.losses = torch.full((len(self.white),), torch.inf, device=starts.device)
        self.check()

    @property
    def finished(self) -> bool:
        """Whether all steps are taken or no shape improves any more."""
        return self.steps_taken >= self.settings.steps or not bool(self.active.any())

    def step(self) -> Float[Tensor, " active"]:
        """Take one Adam step with every code that is still refined, and return their losses before it.

        Raises:
            SdfkitError: A loss is not a finite number.
        """
        settings, step = self.settings, self.steps_taken
        rows = self.active.nonzero()[:, 0]
        white = self.white[rows].requires_grad_()
        if step % settings.reuse == 0 or self._known is None or len(self._known[0].mask) != len(rows):
            rays = self._draw_rays(self.shape_of[rows])
            self._known = rays, self._march(self.decodable(white), rays)
        losses = self.measure(white, *self._known, settings.temperature_at(step))
        if not torch.isfinite(losses).all():
            raise SdfkitError("the loss of the refinement is not finite; lower its learning rate")
        (gradient,) = torch.autograd.grad(losses.sum(), white)
        moments = self.moments[:, rows]
        for moment, decay, value in zip(moments, DECAYS, (gradient, gradient.square()), strict=True):
            moment.lerp_(value, 1 - decay)
        self.moments[:, rows] = moments
        mean, square = (
            moment / (1 - decay ** (step + 1)) for moment, decay in zip(moments, DECAYS, strict=True)
        )
        rate = settings.lr * (1 - 0.9 * step / max(settings.steps - 1, 1))
        self.white[rows] = white.detach() - rate * mean / (square.sqrt() + EPSILON)
        self.steps_taken += 1
        if self.steps_taken == settings.narrow:
            self.check()
            self.keep(1)
        elif self.steps_taken % settings.interval == 0 or self.steps_taken == settings.steps:
            self.check()
        return losses.detach()

    @torch.no_grad()
    def check(self) -> None:
        """Measure the loss of the codes on fixed rays, remember the best, and stop shapes that do not improve."""
        settings = self.settings
        rows = self.active.nonzero()[:, 0]
        rays = draw_fixed_rays(self.pictures, self.shape_of[rows], settings.checked, edge=settings.edge)
        white = self.white[rows]
        nearest = self._march(self.decodable(white), rays)
        losses = self.measure(white, rays, nearest, settings.temperature)
        before = self.losses[rows]
        better = losses < before
        self.best[rows] = torch.where(better[:, None], self.white[rows], self.best[rows])
        self.losses[rows] = torch.where(better, losses, before)
        gained = losses < (1 - settings.least) * before
        improved = torch.zeros_like(self.patience).index_add(0, self.shape_of[rows], gained.float()) > 0
        self.patience = torch.where(improved, 0, self.patience + 1)
        self.active &= (self.patience < settings.patience)[self.shape_of]

    def _draw_rays(self, shapes: Int[Tensor, " row"]) -> Rays:
        """Draw rays for rows. The rows of one shape get the same rays."""
        views = self.pictures.mask.shape[1]
        drawn = [
            torch.rand(views, max(self.settings.rays // views, 1), generator=generator)
            for generator in self.generators
        ]
        chances = torch.stack(drawn).to(shapes.device)[shapes]
        every = torch.arange(views, device=shapes.device).expand(len(shapes), -1)
        return choose_rays(self.pictures, shapes, every, chances, edge=self.settings.edge)

    def measure(
        self, white: Float[Tensor, "row code"], rays: Rays, nearest: Nearest, temperature: float
    ) -> Float[Tensor, " row"]:
        """Return the loss of whitened codes on some rays: that of the soft silhouette, as a length, plus the prior.

        Args:
            white: Whitened codes.
            rays: Rays for each code.
            nearest: The point of each ray that is nearest to the decoded shape.
            temperature: Temperature of the soft silhouette.
        """
        codes = self.decodable(white)
        logits = soft_silhouette(self.decoder, codes, nearest, temperature)
        # The cross-entropy times the temperature is a length: the distance by which rays are on the wrong side. So the
        # weight of the prior means the same at every temperature.
        fit = temperature * silhouette_loss(logits, rays.mask)
        return fit + self.settings.prior * white.square().mean(dim=1)

    def keep(self, count: int) -> None:
        """Continue only the `count` starts of each shape with the smallest losses."""
        losses = self.losses.view(len(self.patience), -1)
        order = losses.argsort(dim=1, stable=True).argsort(dim=1)
        self.active &= (order < count).flatten()

    def result(self) -> Float[Tensor, "shape code"]:
        """Return the code of each shape with the smallest loss over all starts and checks."""
        chosen = self.losses.view(len(self.patience), -1).argmin(dim=1)
        rows = torch.arange(len(chosen), device=chosen.device) * (len(self.losses) // len(chosen)) + chosen
        return self.prior.color(self.best[rows])

    def decodable(self, white: Float[Tensor, "row code"]) -> Float[Tensor, "row value"]:
        """Return the prepared codes of whitened codes."""
        prepared: Tensor = self.prepare(self.prior.color(white))
        return prepared

    @torch.no_grad()
    def measure_overlap(self, codes: Float[Tensor, "shape code"]) -> Float[Tensor, " shape"]:
        """Return the intersection over union of silhouettes of codes with the masks, over rays of all views."""
        rows = torch.arange(len(codes), device=codes.device)
        rays = draw_fixed_rays(self.pictures, rows, OVERLAP_RAYS, edge=1.0)
        nearest = self._march(self.prepare(codes), rays)
        inside = nearest.hits & (nearest.distances < 0)
        share: Tensor = (inside & rays.mask).sum(dim=1) / (inside | rays.mask).sum(dim=1).clamp(min=1)
        return share

    @torch.no_grad()
    def _march(self, codes: Float[Tensor, "row value"], rays: Rays) -> Nearest:
        settings = self.settings
        return march_bounded(
            self.decoder, codes.detach(), rays.origins, rays.directions,
            samples=settings.samples, rounds=settings.rounds, refine=settings.refine,
        )  # fmt: skip


def draw_fixed_rays(pictures: Pictures, shapes: Int[Tensor, " row"], count: int, *, edge: float) -> Rays:
    """Return about `count` rays for each row, evenly spread over all views, the same at every call.

    Args:
        pictures: Views of shapes.
        shapes: The shape of each row.
        count: Number of rays.
        edge: See `choose_rays`.
    """
    views = pictures.mask.shape[1]
    every = torch.arange(views, device=shapes.device).expand(len(shapes), -1)
    middle = torch.full((len(shapes), views, max(count // views, 1)), 0.5, device=shapes.device)
    return choose_rays(pictures, shapes, every, middle, edge=edge)
