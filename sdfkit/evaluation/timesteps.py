"""Loss of a denoiser at each timestep, and errors of the latent codes that are sampled from it.

A sampled code can be wrong because the network predicts badly, or because sampling does not match training: in the end
of the noise schedule, the standardisation or the EMA of the weights. Samples alone do not distinguish these causes; the
loss at each timestep does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdfkit.models.diffusion import add_noise, clean_from, schedule
from sdfkit.models.dit import DiT
from sdfkit.training.dit.training import Standardizer, predict_codes

# Timesteps of the table in the paper "Small-data image-to-3-D".
PAPERS_TIMESTEPS = (0, 50, 100, 200, 300, 450)
# Thresholds on the fraction of variance unexplained, chosen by hand on good denoisers, on denoisers that ignored their
# condition, and on denoisers with a wrong sampler. A network that leaves more than UNINFORMED unexplained does not use
# its condition; differences above TOLERANCE are faults.
UNINFORMED, TOLERANCE = 0.9, 0.1


@dataclass(frozen=True)
class TimestepLosses:
    """Mean squared errors of the clean codes that a network predicts, in standardised units, by timestep.

    Attributes:
        timestep: The timesteps.
        alpha: ᾱ at each timestep, the share of the clean code in the variance of the noisy code.
        loss: Error of the network, given images of the right shape.
        wrong: Error of the network, given images of another shape. If it equals `loss`, the network ignores its images.
            None if there is only one shape.
    """

    timestep: Int[np.ndarray, " timestep"]
    alpha: Float[np.ndarray, " timestep"]
    loss: Float[np.ndarray, " timestep"]
    wrong: Float[np.ndarray, " timestep"] | None

    @property
    def implied_noise(self) -> Float[np.ndarray, " timestep"]:
        """The loss as an error of the noise ε, which is ᾱ / (1 - ᾱ) times the error of the clean code."""
        noise: np.ndarray = self.loss * self.alpha / (1 - self.alpha)
        return noise


@dataclass(frozen=True)
class Sampled:
    """Errors of sampled codes against the true codes.

    Attributes:
        loss: Mean squared error of standardised codes.
        fvu: Fraction of variance unexplained: `loss` over the loss of predicting the mean of the training codes.
        cosine: Mean cosine similarity of sampled and true codes, not standardised.
        centred: Mean cosine similarity after subtracting the mean of the training codes from both.
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
        standardizer: Standardizer of the codes that the network was trained on.
        codes: True code of each shape.
        features: Features of views of the same shapes; all views are used.
        cameras: Camera-to-world matrices of the views.
        timesteps: Timesteps, within the schedule of the network's target.
        draws: Number of noise vectors per code; every timestep uses the same ones.
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
    generators: Sequence[torch.Generator],
) -> Sampled:
    """Sample codes by DDIM with eta 0, and compare them with the true codes.

    Args:
        network: A denoiser.
        standardizer: Standardizer of the codes that the network was trained on.
        codes: True code of each shape.
        features: Features of views of the same shapes; all views are used.
        cameras: Camera-to-world matrices of the views.
        centre: Mean of the training codes. `standardizer.mean` cannot replace it: it is 0 if codes were not
            standardised.
        steps: Number of sampling steps; 1 returns the network's prediction from pure noise.
        samples: Number of codes to sample per shape.
        generators: Generator of the noise of each shape.
    """
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
    """Return the mean squared error of predicting the mean of the training codes, in standardised units."""
    truth, mean = (standardizer.apply(torch.from_numpy(part)) for part in (codes, centre))
    return float((truth - mean).square().mean())


def explain(losses: TimestepLosses, mean_loss: float, one_step: Sampled, all_steps: Sampled) -> str:
    """Explain in a sentence whether the network or the sampler is at fault.

    Args:
        losses: Losses by timestep; the last timestep is near pure noise.
        mean_loss: Loss of predicting the mean of the training codes.
        one_step: Errors of codes sampled in one step.
        all_steps: Errors of codes sampled in all steps of the sampler.
    """
    noisiest = int(np.argmin(losses.alpha))
    trained = losses.loss[noisiest] / mean_loss
    mistaken = None if losses.wrong is None else losses.wrong[noisiest] / mean_loss
    if all_steps.fvu > one_step.fvu + TOLERANCE:
        return (
            f"the sampler adds errors: codes sampled in one step leave {_share(one_step.fvu)} of the variance "
            f"unexplained, but codes sampled in all steps leave {_share(all_steps.fvu)}"
        )
    if one_step.fvu > trained + TOLERANCE:
        return (
            f"training and sampling differ: at t = {losses.timestep[noisiest]} the network leaves {_share(trained)} of "
            f"the variance unexplained, but one step from pure noise leaves {_share(one_step.fvu)}; check the "
            "standardisation, the EMA of the weights and the noise schedule"
        )
    if trained > UNINFORMED and mistaken is not None and mistaken > trained + TOLERANCE:
        return (
            f"the model uses the images but does not generalise to these shapes: at the noisiest timestep it leaves "
            f"{_share(trained)} of the variance unexplained, and {_share(mistaken)} with another shape's images; "
            "train on more shapes"
        )
    if trained > UNINFORMED:
        return (
            f"the model ignores the images: at the noisiest timestep it leaves {_share(trained)} of the variance "
            "unexplained"
        )
    return (
        f"model and sampler agree: at t = {losses.timestep[noisiest]} the network leaves {_share(trained)} of the "
        f"variance unexplained, and the sampled codes leave {_share(all_steps.fvu)}"
    )


def _share(part: float) -> str:
    return f"{100 * part:.3g} %"
