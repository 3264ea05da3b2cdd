"""Measures the error of a denoiser at each timestep, and the error of its samples, on shapes whose codes are known."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import InputError, UsageError
from sdfkit.inference.defaults import DDIM_STEPS, TIMESTEP_DRAWS, TIMESTEP_VIEWS
from sdfkit.inference.prediction.denoiser import Denoiser
from sdfkit.inference.prediction.predictors import cameras_of, check_features, condition_arrays
from sdfkit.inference.prediction.sampling import seed_generator
from sdfkit.io.models.reader import check_codes, read_vectors
from sdfkit.io.stores.store_reader import StoreReader
from sdfkit.rows import require_same_origins
from sdfkit.wording import counted

if TYPE_CHECKING:
    from sdfkit.evaluation.timesteps import Sampled, TimestepLosses


@dataclass(frozen=True)
class DenoiserErrors:
    """Errors of the latent codes that a denoiser predicts, against the true codes of the shapes.

    A loss is the mean squared error between predicted and true clean codes, after standardisation by the mean and the
    standard deviation of the training codes.

    Attributes:
        model: Name of the denoiser's store, for the report.
        target: What the network predicts: the clean code ("x0"), the noise ("eps") or the velocity ("v").
        floored: Number of dimensions of the code whose standard deviation over the training codes was so small that the
            standardisation uses a minimum value (the floor) in its place.
        shapes: Number of shapes on which the errors were measured.
        views: Number of views of each shape that the denoiser was conditioned on.
        mean: Loss of a constant prediction, the mean of the training codes; the baseline of the other losses.
        losses: Losses of the codes that the network predicts from noisy codes, at each timestep.
        one_step: Errors of codes that are predicted from pure noise in one step.
        sampled: Errors of codes that are sampled from pure noise by all steps of the sampler.
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
        """Return the errors, and a sentence that explains them, in the form of the JSON report."""
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
    """Measure the errors of the codes that a denoiser predicts at each timestep, and of those that it samples.

    Args:
        denoiser: The denoiser.
        features: Features of images of the shapes, of the kind that the denoiser was trained on.
        codes: True latent codes of the shapes; None for the training codes of the denoiser.
        views: Number of views of each shape to condition on, chosen at even intervals from the stored views.
        timesteps: Timesteps to measure at; if empty, those of the table in the paper "image to 3-D from small data".
        draws: Number of noise samples for each code and timestep, and number of codes sampled for each shape.
        steps: Number of steps of the DDIM sampler.
        seed: Seed of all noise.

    Raises:
        InputError: Features or codes are not of the kind that the denoiser needs, no shape has both, or the shapes have
            fewer than `views` views.
        UsageError: A timestep is beyond the last one of the denoiser's schedule.
    """
    import torch

    from sdfkit.evaluation.timesteps import PAPERS_TIMESTEPS, mean_loss, measure_sampling, measure_timesteps
    from sdfkit.models.diffusion import schedule

    if codes is None:
        origin, code_rows, vectors = denoiser.name, denoiser.rows, denoiser.codes
    else:
        check_codes(codes, denoiser)
        origin, (code_rows, vectors) = codes.name, read_vectors(codes)
    place_of = {row.uid: place for place, row in enumerate(code_rows)}
    check_features(features, denoiser)
    rows, arrays = features.read_rows(*condition_arrays(features, denoiser.condition))
    both = [index for index, row in enumerate(rows) if row.uid in place_of]
    if not both:
        raise InputError(
            f"{features.name}: none of its shapes has a code in {origin}; the same uids are needed in both"
        )
    places = [place_of[rows[index].uid] for index in both]
    require_same_origins(
        [(rows[index], code_rows[place]) for index, place in zip(both, places, strict=True)],
        f"the features of {features.name}", f"the codes of {origin}",
    )  # fmt: skip
    truth = vectors[places]
    dim = denoiser.network.config.dim
    if truth.shape[1] != dim:
        raise InputError(
            f"{origin}: its codes have {counted(truth.shape[1], 'number')}, but {denoiser.name} predicts {dim}"
        )
    stored = arrays[denoiser.condition].shape[1]
    if views > stored:
        raise InputError(
            f"{features.name}: has {counted(stored, 'view')} per shape, but --views is {views}; choose a smaller number"
        )
    # Views are stored in an order around the sphere, so views at even intervals show all sides.
    chosen = np.linspace(0, stored - 1, views).round().astype(int)
    condition = arrays[denoiser.condition][both][:, chosen]
    condition = condition.reshape(*condition.shape[:2], denoiser.patches, denoiser.feature)
    cameras = cameras_of(arrays, denoiser.condition, 2)[both][:, chosen]
    network, standard = denoiser.network, denoiser.standardizer
    last = len(schedule(network.config.target)) - 1
    late = [timestep for timestep in timesteps if timestep > last]
    if late:
        raise UsageError(
            f"--timesteps {late[0]}: is too large; the last timestep of {denoiser.name} is {last}"
        )
    inputs = (network, standard, truth, condition, cameras)
    losses = measure_timesteps(
        *inputs, np.array(sorted(set(timesteps)) or PAPERS_TIMESTEPS), draws=draws,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    centre = denoiser.codes.mean(axis=0)
    one_step, sampled = (
        measure_sampling(
            *inputs, centre, steps=count, samples=draws,
            generators=[seed_generator(seed, rows[index].uid) for index in both],
        )
        for count in (1, steps)
    )  # fmt: skip
    return DenoiserErrors(
        denoiser.name, network.config.target, standard.floored, len(both), views, mean_loss(standard, truth, centre),
        losses, one_step, sampled, steps,
    )  # fmt: skip
