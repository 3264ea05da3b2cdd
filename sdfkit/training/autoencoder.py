"""Training an autoencoder of per-shape networks, by the error of their weights or by that of the fields they make."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.func import functional_call

from sdfkit.errors import InputError, SdfkitError
from sdfkit.models.autoencoder import Autoencoder, AutoencoderConfig
from sdfkit.models.mlp import MLPConfig, MLPs
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
)


@dataclass(frozen=True)
class AutoencoderSettings:
    """How an autoencoder is trained.

    Attributes:
        loss: `weights`, the mean squared error of the weights, in units of their variance about the mean; or `field`,
            the mean error of the distances that the networks give.
        epochs: How often each shape is seen, on the average; the learning rate falls to 0 over them, as a cosine.
        batch: Shapes a step; all of them where there are fewer.
        lr: Learning rate.
        points: Samples of each shape a step, for the loss of fields.
        clamp: Distances count up to it, there.
    """

    loss: Literal["weights", "field"]
    epochs: int
    batch: int
    lr: float
    points: int
    clamp: float


# By the name of the network in sdfkit.models.autoencoder.PRESETS. The paper states epochs and rate, not the batch.
RECIPES = {
    "small": AutoencoderSettings(loss="weights", epochs=1_000, batch=32, lr=1e-3, points=1024, clamp=0.1),
    "1024x3": AutoencoderSettings(loss="weights", epochs=2_000, batch=32, lr=3e-4, points=1024, clamp=0.1),
}


class ShapeSamples(NamedTuple):
    """Points with their true distances, and which of them were drawn near the surface, of each shape."""

    points: Float[Tensor, "shape sample 3"]
    distances: Float[Tensor, "shape sample"]
    near: Bool[Tensor, "shape sample"]


class AutoencoderTraining:
    """An autoencoder in training.

    Args:
        config: The autoencoder.
        settings: How it is trained.
        uids: The shapes, by which messages name them.
        vectors: Their weights.
        networks: What these are the weights of.
        samples: Of the same shapes; only the loss of fields asks for them.
        context: Where to compute.
        generator: Source of all draws, on the CPU; the training object keeps it.

    Raises:
        InputError: A shape has numbers that are not finite, or there is nothing to tell shapes apart.
    """

    def __init__(
        self,
        config: AutoencoderConfig,
        settings: AutoencoderSettings,
        uids: Sequence[str],
        vectors: Float[np.ndarray, "shape dim"],
        networks: MLPConfig,
        samples: ShapeSamples | None,
        context: DeviceContext,
        generator: torch.Generator,
    ) -> None:
        for row, uid in enumerate(uids):
            finite = np.isfinite(vectors[row]).all()
            if samples is not None:
                finite &= bool(
                    samples.points[row].isfinite().all() and samples.distances[row].isfinite().all()
                )
            if not finite:
                raise InputError(f"{uid}: its weights or samples are not finite: make them again")
        if (vectors == vectors[0]).all():
            raise InputError(f"{uids[0]}: all shapes have these same weights, so there is nothing to encode")
        self.config = config
        self.settings = settings
        self.uids = uids
        self.context = context
        self.generator = generator
        self.samples = samples
        self.vectors = torch.from_numpy(vectors)
        with seeded(generator):
            network = Autoencoder(config)
        network.centre(self.vectors)
        self.network = network.to(context.device)
        # One module for all shapes: it is called with other weights in place of these.
        self.networks = MLPs(networks, self.vectors[:1]).to(context.device).requires_grad_(False)
        group = {"params": list(self.network.parameters()), "initial_lr": settings.lr}
        self.optimizers = [torch.optim.Adam([group], fused=True)]
        self.parameters = dict(self.network.named_parameters())
        self.steps_taken = 0

    @property
    def steps(self) -> int:
        """Steps in all."""
        return math.ceil(self.settings.epochs * len(self.vectors) / self.batch)

    @property
    def batch(self) -> int:
        return min(self.settings.batch, len(self.vectors))

    def step(self) -> float:
        """Take one step.

        Returns:
            The loss of its shapes. That of weights is the share of their variance that is left unexplained: the mean
            leaves 1, so that no raw number has to be read beside another.

        Raises:
            SdfkitError: The loss is not a finite number.
        """
        context = self.context
        # All processes draw the same batch, and each takes its part.
        rows = torch.randperm(len(self.vectors), generator=self.generator)[: self.batch]
        points = torch.randint(
            1 if self.samples is None else self.samples.points.shape[1],
            (len(rows), self.settings.points),
            generator=self.generator,
        )
        rows, points = rows[context.own], points[context.own]
        wanted = self.vectors[rows].to(context.device)
        set_rate(self.optimizers, cosine(self.steps_taken, self.steps))
        self.optimizers[0].zero_grad()
        with context.autocast():
            made = self.network(wanted)
        if self.settings.loss == "weights":
            errors = ((made.float() - wanted) / self.network.scale).square().mean(dim=1)  # (shape,)
            slopes = errors
        else:
            errors, slopes = self.field_errors(made.float(), rows, points)
        context.accelerator.backward(slopes.sum() / self.batch)
        context.total_gradients(list(self.network.parameters()))
        loss = (context.total(errors.detach().sum()) / self.batch).item()
        if not np.isfinite(loss):
            wrong = rows[~torch.isfinite(errors.detach().cpu())].tolist()
            name = self.uids[wrong[0]] if wrong else "another process"
            raise SdfkitError(
                f"{name}: the loss at step {self.steps_taken} is {loss}: lower the learning rate"
            )
        self.optimizers[0].step()
        self.steps_taken += 1
        return loss

    def field_errors(
        self, weights: Float[Tensor, "shape dim"], rows: Tensor, points: Tensor
    ) -> tuple[Float[Tensor, " shape"], Float[Tensor, " shape"]]:
        """Mean errors of the distances that networks give, and what has the gradient to learn them by.

        That is of |f - clamp(d)| wherever the clamped distances differ, as `training.mlp.BatchedMLP.step` explains: a shape
        whose field is positive everywhere would never come back from there.

        Reference: De Luigi et al., inr2vec (2023), section 3, compares fields in place of weights.
        """
        assert self.samples is not None
        device, clamp = self.context.device, self.settings.clamp
        chosen = rows[:, None], points
        there = functional_call(
            self.networks, {"weights": weights}, (self.samples.points[chosen].to(device),)
        )  # (shape, point)
        wanted = self.samples.distances[chosen].to(device).clamp(-clamp, clamp)
        errors = (there.clamp(-clamp, clamp) - wanted).abs()
        return errors.mean(dim=1), ((there - wanted).abs() * (errors.detach() > 0)).mean(dim=1)

    @torch.no_grad()
    def result(self) -> tuple[Autoencoder, Float[Tensor, "shape code"], Float[Tensor, "shape dim"]]:
        """The autoencoder, the codes of the shapes, and the weights that it makes of these."""
        network = self.network.eval()
        codes = network.encode(self.vectors.to(self.context.device))
        return network, codes, network.decode(codes)

    def state(self) -> State:
        """All that the next step depends on; see `sdfkit.training.run`."""
        return (
            pack("parameters", self.parameters)
            | pack("moments", moments(self.optimizers, self.parameters))
            | pack_clock(self.steps_taken, self.generator)
        )

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a state.

        Raises:
            InputError: The state was saved with another network.
        """
        unpack("parameters", self.parameters, state)
        unpack("moments", moments(self.optimizers, self.parameters), state)
        self.steps_taken = unpack_clock(state, self.generator)
