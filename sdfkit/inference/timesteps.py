"""Errors of a denoiser at each timestep, and of its samples, on shapes whose codes are known."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import InputError, UsageError
from sdfkit.inference.defaults import DDIM_STEPS, TIMESTEP_DRAWS, TIMESTEP_VIEWS
from sdfkit.inference.predictors import Denoiser, cameras_of, check_features, condition_arrays
from sdfkit.io.models import check_codes, read_vectors
from sdfkit.io.stores.reader import StoreReader

if TYPE_CHECKING:
    from sdfkit.evaluation.timesteps import Sampled, TimestepLosses


@dataclass(frozen=True)
class DenoiserErrors:
    """Errors of a denoiser.

    Attributes:
        model: The denoiser, for the report.
        target: What its network predicts: x0, eps or v.
        floored: Number of dimensions whose standard deviation was raised to the floor.
        shapes: Number of shapes that were measured.
        views: Number of views of each.
        mean: Loss of the mean of the training codes.
        losses: Losses of the network at each timestep.
        one_step: Errors of codes from pure noise in one step.
        sampled: Errors of codes from the whole sampler.
        steps: Number of steps of the sampler.
    """

    model: str
    target: str
    floored: int
    shapes: int
    views: int
    mean: float
    losses: "TimestepLosses"
    one_step: "Sampled"
    sampled: "Sampled"
    steps: int

    def describe(self) -> dict[str, Any]:
        """Return the errors and what they mean, as the JSON report has them."""
        from sdfkit.evaluation.timesteps import explain

        losses = self.losses
        derived = {"implied_noise": losses.implied_noise, "fvu": losses.loss / self.mean}
        return {
            "model": self.model, "shapes": self.shapes, "views": self.views, "target": self.target,
            "mean_predictor": self.mean, "floored": self.floored, "timesteps": asdict(losses) | derived,
            "one_step": asdict(self.one_step), "sampled": asdict(self.sampled) | {"steps": self.steps},
            "verdict": explain(losses, self.mean, self.one_step, self.sampled),
        }  # fmt: skip


def measure_denoiser(
    denoiser: Denoiser,
    features: StoreReader,
    codes: StoreReader | None = None,
    *,
    views: int = TIMESTEP_VIEWS,
    timesteps: Sequence[int] = (),
    draws: int = TIMESTEP_DRAWS,
    steps: int = DDIM_STEPS,
    seed: int = 0,
) -> DenoiserErrors:
    """Measure the errors of a denoiser and of its sampler.

    Args:
        denoiser: The denoiser.
        features: Features of shapes, of the kind that it was trained on.
        codes: True codes of the shapes; the training codes if None.
        views: Number of views of each shape to condition on, evenly chosen from those stored.
        timesteps: Timesteps to measure at; those of the paper if empty.
        draws: Number of noise samples for each code and timestep, and of samples from pure noise for each shape.
        steps: Number of steps of the DDIM sampler.
        seed: Seed of all noise.

    Raises:
        InputError: Features or codes are of another kind, no shape has both, or a shape has fewer views.
        UsageError: A timestep is beyond the end of the denoiser's schedule.
    """
    import torch

    from sdfkit.evaluation.timesteps import PAPERS_TIMESTEPS, mean_loss, measure_sampling, measure_timesteps
    from sdfkit.models.diffusion import schedule

    if codes is None:
        origin, code_rows, vectors = denoiser.name, denoiser.rows, denoiser.codes
    else:
        check_codes(codes, denoiser)
        origin, (code_rows, vectors) = codes.name, read_vectors(codes)
    code_of = {row.uid: code for row, code in zip(code_rows, vectors, strict=True)}
    check_features(features, denoiser)
    rows, arrays = features.read_rows(*condition_arrays(features, denoiser.condition))
    both = [index for index, row in enumerate(rows) if row.uid in code_of]
    if not both:
        raise InputError(
            f"{features.name}: none of its shapes has a code in {origin}; their uids must be the same"
        )
    truth = np.stack([code_of[rows[index].uid] for index in both])
    if truth.shape[1] != denoiser.dim:
        raise InputError(
            f"{origin}: codes of {truth.shape[1]} numbers, but {denoiser.name} makes {denoiser.dim}"
        )
    stored = arrays[denoiser.condition].shape[1]
    if views > stored:
        raise InputError(
            f"{features.name}: {stored} views of a shape, but --views {views} are asked for; ask for fewer"
        )
    # Stored views go around the sphere in order, so evenly chosen ones show all sides.
    chosen = np.linspace(0, stored - 1, views).round().astype(int)
    condition = arrays[denoiser.condition][both][:, chosen]
    condition = condition.reshape(*condition.shape[:2], denoiser.patches, denoiser.feature)
    cameras = cameras_of(arrays, denoiser.condition, 2)[both][:, chosen]
    network, standard = denoiser.network, denoiser.standardizer
    last = len(schedule(network.config.target)) - 1
    late = [timestep for timestep in timesteps if timestep > last]
    if late:
        raise UsageError(f"--timesteps {late[0]}: the schedule of {denoiser.name} ends at {last}")
    inputs = (network, standard, truth, condition, cameras)
    losses = measure_timesteps(
        *inputs, np.array(sorted(set(timesteps)) or PAPERS_TIMESTEPS), draws=draws,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    centre = denoiser.codes.mean(axis=0)
    one_step, sampled = (
        measure_sampling(*inputs, centre, steps=count, samples=draws, seed=seed) for count in (1, steps)
    )
    return DenoiserErrors(
        denoiser.name, network.config.target, standard.floored, len(both), views, mean_loss(standard, truth, centre),
        losses, one_step, sampled, steps,
    )  # fmt: skip
