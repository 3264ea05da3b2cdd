"""Training a denoiser of codes (or weights) given views, and sampling from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdfkit.errors import InputError, SdfkitError
from sdfkit.models.diffusion import add_noise, clean_from, clean_weights, guide, sample_ddim, schedule
from sdfkit.models.dit import DiT, DiTConfig
from sdfkit.training.run import (
    DeviceContext,
    State,
    cosine,
    moments,
    pack,
    pack_clock,
    seeded,
    set_rate,
    unpack,
    unpack_clock,
    update_ema,
)


@dataclass(frozen=True)
class DiTSettings:
    """How a denoiser is trained.

    Attributes:
        steps: Steps in all; the learning rate falls to 0 over them, as a cosine.
        batch: Samples a step, each of a shape drawn anew.
        views: Each sample sees 1 up to this many views of its shape, a number drawn uniformly.
        lr: Learning rate.
        feature_dropout: The share of samples that see no view, so that guidance is possible.
        camera_dropout: The share of samples whose cameras are unknown.
        average: Decay of the averaged network, which is the result; 0 takes the last one.
        min_snr: Limit of what an error of the clean code counts at nearly clean timesteps; see
            `diffusion.clean_weights`. None weighs as the network's target does.
    """

    steps: int
    batch: int
    views: int
    lr: float
    feature_dropout: float
    camera_dropout: float
    average: float
    min_snr: float | None


# By the name of the network in sdfkit.models.dit.PRESETS.
RECIPES = {
    "latent-10m": DiTSettings(
        steps=15_000,
        batch=32,
        views=8,
        lr=3e-4,
        feature_dropout=0.0,
        camera_dropout=0.0,
        average=0.999,
        min_snr=None,
    ),
    # Larger batches at a larger rate: one step sees each of 20 shapes at six timesteps.
    "small": DiTSettings(
        steps=3_000,
        batch=128,
        views=8,
        lr=2e-3,
        feature_dropout=0.0,
        camera_dropout=0.0,
        average=0.999,
        min_snr=None,
    ),
    # The paper's phase 7. It states steps and dropout; batch and rate are those of its denoiser of codes.
    "weights-132m": DiTSettings(
        steps=30_000,
        batch=32,
        views=8,
        lr=3e-4,
        feature_dropout=0.1,
        camera_dropout=0.2,
        average=0.999,
        min_snr=None,
    ),
    "weights-small": DiTSettings(
        steps=2_000,
        batch=32,
        views=8,
        lr=1e-3,
        feature_dropout=0.1,
        camera_dropout=0.2,
        average=0.999,
        min_snr=None,
    ),
}


@dataclass(frozen=True)
class Standard:
    """Mean and spread of each number of a set of vectors.

    Attributes:
        mean: Means.
        std: Standard deviations; those below the floor are raised to it.
        floored: How many were.
    """

    mean: Float[Tensor, " dim"]
    std: Float[Tensor, " dim"]
    floored: int

    def apply(self, vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return (vectors - self.mean) / self.std

    def undo(self, vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return vectors * self.std + self.mean


def measure_standard(vectors: Float[Tensor, "shape dim"], floor: float | None) -> Standard:
    """Mean and standard deviation of each dimension.

    Args:
        vectors: One a shape.
        floor: Spreads below it count as it. The paper found 124 of 54,785 weights below 1e-4 and divided by
            1e-4, which blows up numbers that are nearly constant less than their own spread would. None leaves the
            vectors as they are: mean 0 and spread 1 in all dimensions.
    """
    if floor is None:
        return Standard(torch.zeros_like(vectors[0]), torch.ones_like(vectors[0]), 0)
    std = vectors.std(dim=0, correction=0)
    return Standard(vectors.mean(dim=0), std.clamp_min(floor), int((std < floor).sum()))


class DiTTraining:
    """A denoiser in training.

    Args:
        config: The network.
        settings: How it is trained.
        uids: The shapes, by which messages name them.
        codes: The vector of each shape, not standardised.
        features: Features of views of each shape.
        cameras: Their camera-to-world matrices.
        floor: Smallest spread by which codes are divided; None leaves them as they are, the paper's phase 8.
        context: Where to compute.
        generator: Source of all draws, on the CPU; the training object keeps it.

    Raises:
        InputError: A shape has numbers that are not finite.
    """

    def __init__(
        self,
        config: DiTConfig,
        settings: DiTSettings,
        uids: Sequence[str],
        codes: Float[np.ndarray, "shape dim"],
        features: Float[np.ndarray, "shape view patch feature"],
        cameras: Float[np.ndarray, "shape view 4 4"],
        floor: float | None,
        context: DeviceContext,
        generator: torch.Generator,
    ) -> None:
        for row, uid in enumerate(uids):
            if not (np.isfinite(codes[row]).all() and np.isfinite(features[row]).all()):
                raise InputError(f"{uid}: its code or a feature is not finite: make them again")
        self.config = config
        self.settings = settings
        self.uids = uids
        self.context = context
        self.generator = generator
        self.standard = measure_standard(torch.from_numpy(codes), floor)
        self.codes = self.standard.apply(torch.from_numpy(codes))
        self.features = torch.from_numpy(features)
        self.cameras = torch.from_numpy(cameras)
        self.alphas = schedule(config.target)
        self.weights = clean_weights(config.target, self.alphas, settings.min_snr)

        with seeded(generator):
            network = DiT(config).to(context.device)
        group = {"params": list(network.parameters()), "initial_lr": settings.lr}
        self.optimizers = [torch.optim.Adam([group], fused=True)]
        self.parameters = dict(network.named_parameters())
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.network = network
        self.steps_taken = 0

    def step(self) -> float:
        """Take one step.

        Returns:
            The mean squared error of standardised codes, weighted by timestep; `mean_loss` tells what the
            mean code would score.

        Raises:
            SdfkitError: The loss is not a finite number.

        Reference: equation 4 of the paper.
        """
        context, own = self.context, self.context.own
        rows, *views = self.draw_views()
        clean = self.codes[rows]
        timesteps = torch.randint(len(self.alphas), (len(rows),), generator=self.generator)
        noise = torch.randn(clean.shape, generator=self.generator)
        noisy = add_noise(clean, noise, self.alphas[timesteps])
        # All processes draw the same batch, and each takes its part.
        noisy, clean, now, weights = (
            part[own].to(context.device)
            for part in (noisy, clean, self.alphas[timesteps], self.weights[timesteps])
        )

        set_rate(self.optimizers, cosine(self.steps_taken, self.settings.steps))
        self.optimizers[0].zero_grad()
        with context.autocast():
            output = self.network(noisy, *(part[own].to(context.device) for part in (timesteps, *views)))
        guess = clean_from(self.config.target, output.float(), noisy, now)  # (batch, dim)
        errors = (guess - clean).square().mean(dim=1) * weights  # (batch,)
        context.accelerator.backward(errors.sum() / len(rows))
        context.total_gradients(list(self.network.parameters()))
        loss = (context.total(errors.detach().sum()) / len(rows)).item()
        if not np.isfinite(loss):
            wrong = rows[own][~torch.isfinite(errors.cpu())].tolist()
            name = self.uids[wrong[0]] if wrong else "another process"
            raise SdfkitError(
                f"{name}: the loss at step {self.steps_taken} is {loss}: lower the learning rate"
            )
        self.optimizers[0].step()
        update_ema(self.average, self.parameters, self.settings.average, self.steps_taken)
        self.steps_taken += 1
        return loss

    def draw_views(
        self,
    ) -> tuple[
        Int[Tensor, " batch"],
        Float[Tensor, "batch view patch feature"],
        Float[Tensor, "batch view 4 4"],
        Bool[Tensor, "batch view"],
    ]:
        """Shapes, and for each a random number of its views, of which none is drawn twice."""
        settings, generator = self.settings, self.generator
        available = self.features.shape[1]
        most = min(settings.views, available)
        rows = torch.randint(len(self.codes), (settings.batch,), generator=generator)
        views = torch.rand(settings.batch, available, generator=generator).argsort(dim=1)[:, :most]
        counts = torch.randint(1, most + 1, (settings.batch, 1), generator=generator)
        counts[torch.rand(settings.batch, generator=generator) < settings.feature_dropout] = 0
        seen = torch.arange(most) < counts  # (batch, view)
        cameras = self.cameras[rows[:, None], views]
        cameras[torch.rand(settings.batch, generator=generator) < settings.camera_dropout] = 0
        return rows, self.features[rows[:, None], views], cameras, seen

    def result(self) -> DiT:
        """The averaged network."""
        network = DiT(self.config)
        network.load_state_dict(self.average)
        return network.to(self.context.device).eval()

    def mean_loss(self) -> float:
        """The loss of the mean code, whatever the views: the variance of the standardised codes, weighted.

        It is 1 unless dimensions were floored, codes left as they are or timesteps weighted. A model whose loss stays
        near it has learned nothing.
        """
        return float(self.codes.var(dim=0, correction=0).mean() * self.weights.mean())

    def state(self) -> State:
        """All that the next step depends on; see `sdfkit.training.run`."""
        standard = {"mean": self.standard.mean, "std": self.standard.std}
        return (
            pack("parameters", self.parameters)
            | pack("average", self.average)
            | pack("moments", moments(self.optimizers, self.parameters))
            | pack("standard", standard)
            | {"standard/floored": np.array(self.standard.floored, dtype=np.int64)}
            | pack_clock(self.steps_taken, self.generator)
        )

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a state.

        Raises:
            InputError: The state was saved with another network.
        """
        unpack("parameters", self.parameters, state)
        unpack("average", self.average, state)
        unpack("moments", moments(self.optimizers, self.parameters), state)
        self.steps_taken = unpack_clock(state, self.generator)


@torch.no_grad()
def predict_codes(
    network: DiT,
    standard: Standard,
    features: Float[np.ndarray, "shape view patch feature"],
    cameras: Float[np.ndarray, "shape view 4 4"],
    *,
    steps: int,
    eta: float,
    guidance: float,
    samples: int,
    generators: Sequence[torch.Generator],
) -> Float[np.ndarray, "shape sample dim"]:
    """Sample codes of shapes from their views.

    Args:
        network: A trained denoiser.
        standard: The means and spreads that its codes were standardised by.
        features: Features of views of each shape, all of which are used.
        cameras: Their camera-to-world matrices; zeros where unknown.
        steps: Steps of the sampler; 1 takes the network's guess from pure noise.
        eta: How much of the noise a step renews, from 0 to 1.
        guidance: Weight of classifier-free guidance; 1 is none, and costs half as much as any other.
        samples: Codes a shape.
        generators: One a shape, so that a shape's codes do not depend on the shapes beside it.

    Returns:
        Codes in the units of the training codes.
    """
    device = next(network.parameters()).device
    dim = network.config.dim
    noise = torch.stack(
        [torch.randn(steps, samples, dim, generator=generator) for generator in generators], dim=1
    )  # (step, shape, sample, dim)
    rows = torch.arange(len(features)).repeat_interleave(samples)
    views = torch.from_numpy(features)[rows].to(device)  # (shape · sample, view, feature)
    poses = torch.from_numpy(cameras)[rows].to(device)
    seen = torch.ones(views.shape[:2], dtype=torch.bool, device=device)
    target = network.config.target
    alphas = schedule(target).to(device)

    def predict_clean(noisy: Tensor, timesteps: Tensor) -> Tensor:
        output: Tensor = network(noisy, timesteps, views, poses, seen)
        if guidance != 1:
            output = guide(network(noisy, timesteps, views, poses, ~seen), output, guidance)
        return clean_from(target, output, noisy, alphas[timesteps])

    clean = sample_ddim(predict_clean, noise.flatten(1, 2).to(device), alphas, eta)  # (shape · sample, dim)
    codes: np.ndarray = standard.undo(clean.cpu()).reshape(len(features), samples, dim).numpy()
    return codes
