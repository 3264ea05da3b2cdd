"""What a denoiser loses at each timestep, beside what its sampler makes of it.

A sampled code can be wrong because the network is, or because something between training and sampling is: the
schedule's end, the standardisation, the average. The two look alike in the samples and differ here.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdfkit.models.diffusion import add_noise, clean_from, schedule
from sdfkit.models.dit import DiT
from sdfkit.training.dit import Standard, predict_codes

# Those of the paper's table.
PAPERS_TIMESTEPS = (0, 50, 100, 200, 300, 450)
# Shares of the variance, judged by eye on denoisers that were good, blind, and sampled wrongly.
BLIND, MARKEDLY = 0.9, 0.1


@dataclass(frozen=True)
class TimestepLosses:
    """Mean squared errors of standardised clean codes, by timestep.

    Attributes:
        timestep: The timesteps.
        alpha: ᾱ there.
        loss: Error of the network.
        wrong: Its error with the pictures of another shape: what it would be if it did not look. None where
            there is one shape.
    """

    timestep: Int[np.ndarray, " timestep"]
    alpha: Float[np.ndarray, " timestep"]
    loss: Float[np.ndarray, " timestep"]
    wrong: Float[np.ndarray, " timestep"] | None

    @property
    def implied_noise(self) -> Float[np.ndarray, " timestep"]:
        """The same error as one of ε, ᾱ / (1 - ᾱ) times as large: no evidence of its own."""
        noise: np.ndarray = self.loss * self.alpha / (1 - self.alpha)
        return noise


@dataclass(frozen=True)
class Sampled:
    """How far sampled codes are from the true ones.

    Attributes:
        loss: Mean squared error of standardised codes.
        fvu: The share of the variance that is left unexplained: 1 is what the mean code leaves.
        cosine: Mean cosine of the codes, not standardised.
        centred: The same with the mean of the training codes taken off both.
    """

    loss: float
    fvu: float
    cosine: float
    centred: float


@torch.no_grad()
def measure_timesteps(
    network: DiT,
    standard: Standard,
    codes: Float[np.ndarray, "shape dim"],
    features: Float[np.ndarray, "shape view patch feature"],
    cameras: Float[np.ndarray, "shape view 4 4"],
    timesteps: Int[np.ndarray, " timestep"],
    *,
    draws: int,
    generator: torch.Generator,
) -> TimestepLosses:
    """Noise true codes to each timestep and see how well the network finds them again.

    Args:
        network: A denoiser.
        standard: What its codes were standardised by.
        codes: True codes.
        features: Features of views of the same shapes, all of which are used.
        cameras: Their cameras.
        timesteps: Where to look; each within the schedule of the network's target.
        draws: Noises a code and timestep; the same ones at every timestep.
        generator: Source of the noise.
    """
    device = next(network.parameters()).device
    target = network.config.target
    alphas = schedule(target)
    rows = torch.arange(len(codes)).repeat(draws)
    clean = standard.apply(torch.from_numpy(codes))[rows]
    noise = torch.randn(clean.shape, generator=generator)
    views = (torch.from_numpy(features), torch.from_numpy(cameras))
    seen = torch.ones(len(rows), features.shape[1], dtype=torch.bool)

    def error(timestep: int, shown: Tensor) -> float:
        at = torch.full((len(rows),), timestep)
        alpha = alphas[at]
        noisy = add_noise(clean, noise, alpha)
        inputs = (noisy, at, *(part[shown] for part in views), seen)
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
    standard: Standard,
    codes: Float[np.ndarray, "shape dim"],
    features: Float[np.ndarray, "shape view patch feature"],
    cameras: Float[np.ndarray, "shape view 4 4"],
    centre: Float[np.ndarray, " dim"],
    *,
    steps: int,
    samples: int,
    seed: int,
) -> Sampled:
    """Sample codes by DDIM without renewed noise, and compare them with the true ones.

    Args:
        network: A denoiser.
        standard: What its codes were standardised by.
        codes: True codes.
        features: Features of views of the same shapes, all of which are used.
        cameras: Their cameras.
        centre: The mean of the training codes, of which the standard knows nothing where codes are left as they are.
        steps: Steps of the sampler; 1 is the network's guess from nothing but noise.
        samples: Samples a shape.
        seed: Of the noise, row by row.
    """
    generators = [torch.Generator().manual_seed(seed * len(codes) + row) for row in range(len(codes))]
    predicted = torch.from_numpy(
        predict_codes(
            network, standard, features, cameras, steps=steps, eta=0.0, guidance=1.0, samples=samples,
            generators=generators,
        )
    )  # fmt: skip
    truth = torch.from_numpy(codes)[:, None].expand_as(predicted)
    mean = torch.from_numpy(centre)
    loss = float((standard.apply(predicted) - standard.apply(truth)).square().mean())
    return Sampled(
        loss=loss,
        fvu=loss / mean_loss(standard, codes, centre),
        cosine=float(torch.cosine_similarity(predicted, truth, dim=-1).mean()),
        centred=float(torch.cosine_similarity(predicted - mean, truth - mean, dim=-1).mean()),
    )


def mean_loss(
    standard: Standard, codes: Float[np.ndarray, "shape dim"], centre: Float[np.ndarray, " dim"]
) -> float:
    """What predicting the mean of the training codes loses on some codes, standardised."""
    truth, mean = (standard.apply(torch.from_numpy(part)) for part in (codes, centre))
    return float((truth - mean).square().mean())


def explain(losses: TimestepLosses, mean_loss: float, one_step: Sampled, walk: Sampled) -> str:
    """Say in a sentence where the fault lies, if there is one.

    Args:
        losses: By timestep, the last of them near pure noise.
        mean_loss: What the mean code loses.
        one_step: Codes guessed in one step from noise.
        walk: Codes sampled in many steps.
    """
    noisiest = int(np.argmin(losses.alpha))
    trained = losses.loss[noisiest] / mean_loss
    mistaken = None if losses.wrong is None else losses.wrong[noisiest] / mean_loss
    if walk.fvu > one_step.fvu + MARKEDLY:
        return (
            f"the sampler spoils it: one step from noise leaves {_share(one_step.fvu)} of the variance, the whole walk "
            f"{_share(walk.fvu)}"
        )
    if one_step.fvu > trained + MARKEDLY:
        return (
            f"training and sampling differ: at t = {losses.timestep[noisiest]} the network leaves {_share(trained)} of "
            f"the variance, but from pure noise {_share(one_step.fvu)}; look at standardisation, average and schedule"
        )
    if trained > BLIND and mistaken is not None and mistaken > trained + MARKEDLY:
        return (
            f"the model looks, but does not know these shapes: it leaves {_share(trained)} of the variance where noise "
            f"hides the code, and {_share(mistaken)} with another shape's pictures; train on more shapes"
        )
    if trained > BLIND:
        return (
            f"the model does not use the pictures: it leaves {_share(trained)} of the variance where noise hides "
            "the code"
        )
    return (
        f"model and sampler agree: {_share(trained)} of the variance is left by the network at t = "
        f"{losses.timestep[noisiest]}, {_share(walk.fvu)} by the samples"
    )


def _share(part: float) -> str:
    return f"{100 * part:.3g} %"
