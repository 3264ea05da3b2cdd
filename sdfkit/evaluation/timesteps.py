"""Loss of a denoiser at each timestep, and errors of its samples.

A sampled code can be wrong because the network is, or because something between training and sampling is: the end of
the schedule, the standardisation, the EMA. Samples alone do not distinguish these causes; the loss at each timestep
does.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdfkit.models.diffusion import add_noise, clean_from, schedule
from sdfkit.models.dit import DiT
from sdfkit.training.dit import Standardizer, predict_codes

# Timesteps of the paper's table.
PAPERS_TIMESTEPS = (0, 50, 100, 200, 300, 450)
# Fractions of the variance, chosen by hand on denoisers that were good, that ignored their condition, and whose sampler
# was wrong: above the first a network ignores its condition; larger differences than the second are faults.
UNINFORMED, TOLERANCE = 0.9, 0.1


@dataclass(frozen=True)
class TimestepLosses:
    """Mean squared errors of standardised clean codes, by timestep.

    Attributes:
        timestep: The timesteps.
        alpha: ᾱ at each timestep.
        loss: Error of the network.
        wrong: Its error given the pictures of another shape, which is no larger if the network ignores its condition.
            None if there is only one shape.
    """

    timestep: Int[np.ndarray, " timestep"]
    alpha: Float[np.ndarray, " timestep"]
    loss: Float[np.ndarray, " timestep"]
    wrong: Float[np.ndarray, " timestep"] | None

    @property
    def implied_noise(self) -> Float[np.ndarray, " timestep"]:
        """The same error in units of the noise ε, which is ᾱ / (1 - ᾱ) times as large."""
        noise: np.ndarray = self.loss * self.alpha / (1 - self.alpha)
        return noise


@dataclass(frozen=True)
class Sampled:
    """Errors of sampled codes.

    Attributes:
        loss: Mean squared error of standardised codes.
        fvu: Fraction of the variance that is unexplained. The mean code leaves 1.
        cosine: Mean cosine similarity to the true codes, not standardised.
        centred: The same after subtracting the mean of the training codes from both.
    """

    loss: float
    fvu: float
    cosine: float
    centred: float


@torch.no_grad()
def measure_timesteps(
    network: DiT,
    standardizer: Standardizer,
    codes: Float[np.ndarray, "shape dim"],
    features: Float[np.ndarray, "shape view patch feature"],
    cameras: Float[np.ndarray, "shape view 4 4"],
    timesteps: Int[np.ndarray, " timestep"],
    *,
    draws: int,
    generator: torch.Generator,
) -> TimestepLosses:
    """Measure the error of the clean codes that a network predicts from noisy ones, at each timestep.

    Args:
        network: A denoiser.
        standardizer: Standardizer of its training codes.
        codes: True codes.
        features: Features of views of the same shapes; all views are used.
        cameras: Their cameras.
        timesteps: Timesteps, within the schedule of the network's target.
        draws: Noise vectors per code; every timestep uses the same ones.
        generator: Source of the noise.
    """
    device = next(network.parameters()).device
    target = network.config.target
    alphas = schedule(target)
    rows = torch.arange(len(codes)).repeat(draws)
    clean = standardizer.apply(torch.from_numpy(codes))[rows]
    noise = torch.randn(clean.shape, generator=generator)
    views = (torch.from_numpy(features), torch.from_numpy(cameras))
    view_mask = torch.ones(len(rows), features.shape[1], dtype=torch.bool)

    def error(timestep: int, shown: Tensor) -> float:
        at = torch.full((len(rows),), timestep)
        alpha = alphas[at]
        noisy = add_noise(clean, noise, alpha)
        inputs = (noisy, at, *(part[shown] for part in views), view_mask)
        output = network(*(part.to(device) for part in inputs)).float().cpu()
        return float((clean_from(target, output, noisy, alpha) - clean).square().mean())

    def errors(shown: Tensor) -> Float[np.ndarray, " timestep"]:
        return np.array([error(int(timestep), shown) for timestep in timesteps])

    return TimestepLosses(
        timestep=timesteps,
        alpha=alphas[timesteps].numpy(),
        loss=errors(rows),
        wrong=errors((rows + 1) % len(codes)) if len(codes) > 1 else None,
    )


def measure_sampling(
    network: DiT,
    standardizer: Standardizer,
    codes: Float[np.ndarray, "shape dim"],
    features: Float[np.ndarray, "shape view patch feature"],
    cameras: Float[np.ndarray, "shape view 4 4"],
    centre: Float[np.ndarray, " dim"],
    *,
    steps: int,
    samples: int,
    seed: int,
) -> Sampled:
    """Sample codes by DDIM with eta 0, and compare them with the true ones.

    Args:
        network: A denoiser.
        standardizer: Standardizer of its training codes.
        codes: True codes.
        features: Features of views of the same shapes; all views are used.
        cameras: Their cameras.
        centre: Mean of the training codes. The standardizer's mean is 0 if codes were not standardised.
        steps: Steps of the sampler; 1 takes the network's prediction from pure noise.
        samples: Samples per shape.
        seed: Seed of the noise; each shape has its own generator.
    """
    generators = [torch.Generator().manual_seed(seed * len(codes) + row) for row in range(len(codes))]
    predicted = torch.from_numpy(
        predict_codes(
            network, standardizer, features, cameras, steps=steps, eta=0.0, guidance=1.0, samples=samples,
            generators=generators,
        )
    )  # fmt: skip
    truth = torch.from_numpy(codes)[:, None].expand_as(predicted)
    mean = torch.from_numpy(centre)
    loss = float((standardizer.apply(predicted) - standardizer.apply(truth)).square().mean())
    return Sampled(
        loss=loss,
        fvu=loss / mean_loss(standardizer, codes, centre),
        cosine=float(torch.cosine_similarity(predicted, truth, dim=-1).mean()),
        centred=float(torch.cosine_similarity(predicted - mean, truth - mean, dim=-1).mean()),
    )


def mean_loss(
    standardizer: Standardizer, codes: Float[np.ndarray, "shape dim"], centre: Float[np.ndarray, " dim"]
) -> float:
    """Return the loss of predicting the mean of the training codes for some codes, standardised."""
    truth, mean = (standardizer.apply(torch.from_numpy(part)) for part in (codes, centre))
    return float((truth - mean).square().mean())


def explain(losses: TimestepLosses, mean_loss: float, one_step: Sampled, walk: Sampled) -> str:
    """Explain in a sentence whether the network or the sampler is at fault.

    Args:
        losses: Losses by timestep; the last timestep is near pure noise.
        mean_loss: Loss of the mean code.
        one_step: Errors of codes sampled in one step.
        walk: Errors of codes sampled in many steps.
    """
    noisiest = int(np.argmin(losses.alpha))
    trained = losses.loss[noisiest] / mean_loss
    mistaken = None if losses.wrong is None else losses.wrong[noisiest] / mean_loss
    if walk.fvu > one_step.fvu + TOLERANCE:
        return (
            f"the sampler adds errors: one step from noise leaves {_share(one_step.fvu)} of the variance, all steps "
            f"leave {_share(walk.fvu)}"
        )
    if one_step.fvu > trained + TOLERANCE:
        return (
            f"training and sampling differ: at t = {losses.timestep[noisiest]} the network leaves {_share(trained)} of "
            f"the variance, but from pure noise {_share(one_step.fvu)}; check standardisation, EMA and schedule"
        )
    if trained > UNINFORMED and mistaken is not None and mistaken > trained + TOLERANCE:
        return (
            f"the model uses the pictures but does not generalise to these shapes: at the noisiest timestep it leaves "
            f"{_share(trained)} of the variance, and {_share(mistaken)} with another shape's pictures; train on more "
            "shapes"
        )
    if trained > UNINFORMED:
        return f"the model ignores the pictures: it leaves {_share(trained)} of the variance at the noisiest timestep"
    return (
        f"model and sampler agree: the network leaves {_share(trained)} of the variance at t = "
        f"{losses.timestep[noisiest]}, the samples {_share(walk.fvu)}"
    )


def _share(part: float) -> str:
    return f"{100 * part:.3g} %"
