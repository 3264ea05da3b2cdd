"""Trains a denoiser of latent codes, or of the weights of one network per shape, and samples from it.

The denoiser is conditioned on features of views of the shape.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdfkit.errors import InputError
from sdfkit.models.diffusion import add_noise, clean_from, clean_weights, guide, sample_ddim, schedule
from sdfkit.models.dit import DiT, DiTConfig
from sdfkit.training.dit.held_out import HeldOutLoss
from sdfkit.training.dit.recipes import DiTSettings
from sdfkit.training.run import (
    DeviceContext,
    State,
    StepKind,
    check_loss,
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

# Lower bound of the standard deviations by which the dimensions of codes are divided.
STD_FLOOR = 1e-4


@dataclass(frozen=True)
class Standardizer:
    """Mean and standard deviation of each dimension of a set of vectors.

    Attributes:
        mean: Mean of each dimension.
        std: Standard deviation of each dimension; values below a floor are raised to the floor.
        floored: Number of standard deviations that were raised to the floor.
    """

    mean: Float[Tensor, " dim"]
    std: Float[Tensor, " dim"]
    floored: int

    def apply(self, vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Standardise vectors."""
        return (vectors - self.mean) / self.std

    def undo(self, vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Bring standardised vectors back to the original units."""
        return vectors * self.std + self.mean


def fit_standardizer(vectors: Float[Tensor, "shape dim"], floor: float | None) -> Standardizer:
    """Compute the mean and the standard deviation of each dimension.

    Args:
        vectors: One vector per shape.
        floor: Lower bound of the standard deviations. In "Small-data image-to-3-D", 124 of 54,785 weights had a
            standard deviation below 1e-4 and were divided by 1e-4; dividing these nearly constant weights by their own
            standard deviations would amplify them more. None leaves vectors unchanged: mean 0 and standard deviation 1
            in all dimensions.
    """
    if floor is None:
        return Standardizer(torch.zeros_like(vectors[0]), torch.ones_like(vectors[0]), 0)
    std = vectors.std(dim=0, correction=0)
    return Standardizer(vectors.mean(dim=0), std.clamp_min(floor), int((std < floor).sum()))


# Codes, features (shape, view, patch, feature) and cameras (shape, view, 4, 4) of held-out shapes.
HeldOutShapes = tuple[np.ndarray, np.ndarray, np.ndarray]


class DiTTraining:
    """Training of a denoiser.

    Args:
        config: The network.
        settings: Training settings.
        uids: Names of the shapes for messages.
        codes: The latent code or vector of weights of each shape, not standardised.
        features: Features of views of each shape.
        cameras: Camera-to-world matrices of the views; zeros where unknown.
        floor: Lower bound of the standard deviations that codes are divided by. None does not standardise codes, as in
            phase 8 of "Small-data image-to-3-D".
        context: Device, precision and processes.
        generator: Source of all random numbers, on the CPU. The training object keeps it.
        held_out: Codes, features and cameras of shapes that are kept out of training. Their loss is measured during
            training, and the result is the network whose loss on them is the lowest. None for no such shapes.

    Raises:
        InputError: A code or feature is not finite.
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
        held_out: HeldOutShapes | None = None,
    ) -> None:
        for row, uid in enumerate(uids):
            if not (np.isfinite(codes[row]).all() and np.isfinite(features[row]).all()):
                raise InputError(
                    f"{uid}: its latent code or a feature holds numbers that are not finite; make them again"
                )
        self.config = config
        self.settings = settings
        self.uids = uids
        self.context = context
        self.generator = generator
        self.standardizer = fit_standardizer(torch.from_numpy(codes), floor)
        self.codes = self.standardizer.apply(torch.from_numpy(codes))
        self.features = torch.from_numpy(features)
        self.cameras = torch.from_numpy(cameras)
        self.alphas = schedule(config.target)
        self.weights = clean_weights(config.target, self.alphas, settings.min_snr)

        with seeded(generator):
            network = DiT(config).to(context.device)
        group = {"params": list(network.parameters()), "initial_lr": settings.lr}
        self.optimizers = [torch.optim.Adam([group], fused=True)]
        self.parameters = dict(network.named_parameters())
        self.ema = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.network = network
        self.steps_taken = 0
        self.held_out: HeldOutLoss | None = None
        if held_out is not None:
            vectors, conditions, poses = (torch.from_numpy(array) for array in held_out)
            self.held_out = HeldOutLoss(
                self.standardizer.apply(vectors), conditions, poses, settings.views, self.alphas, self.weights,
                settings.steps, generator.initial_seed(),
            )  # fmt: skip

    def step(self) -> float:
        """Take one step.

        Returns:
            The mean squared error of standardised codes, weighted by timestep. `mean_loss` returns the loss of
            predicting the mean code, for comparison.

        Raises:
            SdfkitError: The loss is not a finite number.

        Reference: "Small-data image-to-3-D", equation 4.
        """
        context, own = self.context, self.context.own
        rows, *views = self.draw_views()
        clean = self.codes[rows]
        timesteps = torch.randint(len(self.alphas), (len(rows),), generator=self.generator)
        noise = torch.randn(clean.shape, generator=self.generator)
        noisy = add_noise(clean, noise, self.alphas[timesteps])
        # All processes draw the same batch, and each computes its part of it.
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
        check_loss(loss, errors, [self.uids[row] for row in rows[own].tolist()], self.steps_taken)
        self.optimizers[0].step()
        update_ema(self.ema, self.parameters, self.settings.ema_decay, self.steps_taken)
        self.steps_taken += 1
        if self.held_out is not None and self.held_out.is_due(self.steps_taken):
            self.held_out.measure(self._network_of(self.ema), self.config.target, self.steps_taken, self.ema)
        return loss

    def draw_views(
        self,
    ) -> tuple[
        Int[Tensor, " batch"],
        Float[Tensor, "batch view patch feature"],
        Float[Tensor, "batch view 4 4"],
        Bool[Tensor, "batch view"],
    ]:
        """Draw the shapes of a batch, and for each a random number of different views.

        Returns:
            The rows of the shapes, features and cameras of their views (cameras are zeros if dropped), and a mask of
            the views that the network may use.
        """
        settings, generator = self.settings, self.generator
        available = self.features.shape[1]
        most = min(settings.views, available)
        rows = torch.randint(len(self.codes), (settings.batch,), generator=generator)
        views = torch.rand(settings.batch, available, generator=generator).argsort(dim=1)[:, :most]
        counts = torch.randint(1, most + 1, (settings.batch, 1), generator=generator)
        counts[torch.rand(settings.batch, generator=generator) < settings.feature_dropout] = 0
        view_mask = torch.arange(most) < counts  # (batch, view)
        cameras = self.cameras[rows[:, None], views]
        cameras[torch.rand(settings.batch, generator=generator) < settings.camera_dropout] = 0
        return rows, self.features[rows[:, None], views], cameras, view_mask

    @property
    def lr(self) -> float:
        """Learning rate of the last step."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    def step_kinds(self) -> list[StepKind]:
        """Return plain steps, and those that also measure the loss of held-out shapes, if there are any."""
        steps = self.settings.steps
        if self.held_out is None:
            return [StepKind("", range(steps), steps)]
        every = self.held_out.every
        measuring = steps // every
        kinds = [
            StepKind("plain", range(every - 1), steps - measuring),
            StepKind("with held-out loss", range(every - 1, steps, every), measuring),
        ]
        return [kind for kind in kinds if kind.steps]

    def facts(self) -> dict[str, float]:
        """Return the loss of predicting the mean code, and the last loss of held-out shapes."""
        facts = {"mean code": self.mean_loss()}
        if self.held_out is not None and self.held_out.measured:
            facts["held out"] = self.held_out.measured[-1][1]
        return facts

    def result(self) -> DiT:
        """Return the EMA of the network; with held-out shapes, that of the step at which their loss was the lowest."""
        return self._network_of((self.held_out and self.held_out.best) or self.ema)

    def _network_of(self, parameters: Mapping[str, Tensor]) -> DiT:
        network = DiT(self.config)
        network.load_state_dict(parameters)
        return network.to(self.context.device).eval()

    def mean_loss(self) -> float:
        """Return the loss of predicting the mean code for all views: the weighted variance of standardised codes.

        This loss is 1 unless dimensions are floored, codes are not standardised or timesteps are weighted. A model
        whose loss stays near it has learned nothing.
        """
        return float(self.codes.var(dim=0, correction=0).mean() * self.weights.mean())

    def state(self) -> State:
        """Return the state from which training can be resumed; see `sdfkit.training.run`."""
        standard = {"mean": self.standardizer.mean, "std": self.standardizer.std}
        # The state format calls the EMA `average`.
        return (
            pack("parameters", self.parameters)
            | pack("average", self.ema)
            | pack("moments", moments(self.optimizers, self.parameters))
            | pack("standard", standard)
            | {"standard/floored": np.array(self.standardizer.floored, dtype=np.int64)}
            | ({} if self.held_out is None else self.held_out.state())
            | pack_clock(self.steps_taken, self.generator)
        )

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore a state.

        Raises:
            InputError: The state is that of another network.
        """
        unpack("parameters", self.parameters, state)
        unpack("average", self.ema, state)
        unpack("moments", moments(self.optimizers, self.parameters), state)
        if self.held_out is not None:
            self.held_out.load_state(state, self.ema)
        self.steps_taken = unpack_clock(state, self.generator)


@torch.no_grad()
def predict_codes(
    network: DiT,
    standardizer: Standardizer,
    features: Float[np.ndarray, "shape view patch feature"],
    cameras: Float[np.ndarray, "shape view 4 4"],
    *,
    steps: int,
    eta: float,
    guidance: float,
    samples: int,
    generators: Sequence[torch.Generator],
) -> Float[np.ndarray, "shape sample dim"]:
    """Sample codes of shapes, conditioned on their views.

    Args:
        network: A trained denoiser.
        standardizer: Standardizer of the training codes.
        features: Features of views of each shape; all views are used.
        cameras: Camera-to-world matrices of the views; zeros where unknown.
        steps: Number of DDIM steps; 1 returns the network's prediction from pure noise.
        eta: Share of the noise that a step renews, from 0 (deterministic) to 1.
        guidance: Weight of classifier-free guidance; 1 is no guidance and takes half the time of any other value.
        samples: Number of codes per shape.
        generators: Random generator of each shape, so that the codes of a shape do not depend on the other shapes.

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
    view_mask = torch.ones(views.shape[:2], dtype=torch.bool, device=device)
    target = network.config.target
    alphas = schedule(target).to(device)

    def predict_clean(noisy: Tensor, timesteps: Tensor) -> Tensor:
        output: Tensor = network(noisy, timesteps, views, poses, view_mask)
        if guidance != 1:
            output = guide(network(noisy, timesteps, views, poses, ~view_mask), output, guidance)
        return clean_from(target, output, noisy, alphas[timesteps])

    clean = sample_ddim(predict_clean, noise.flatten(1, 2).to(device), alphas, eta)  # (shape · sample, dim)
    codes: np.ndarray = standardizer.undo(clean.cpu()).reshape(len(features), samples, dim).numpy()
    return codes
