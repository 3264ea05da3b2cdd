"""Trains an autoencoder of the weights of one small network per shape.

The loss is the error of the reconstructed weights, or that of the distances that networks with these weights compute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.func import functional_call

from sdfkit.errors import InputError
from sdfkit.models.autoencoder import Autoencoder, AutoencoderConfig
from sdfkit.models.layers import MLPConfig
from sdfkit.models.mlp import MLPs
from sdfkit.training.epochs import count_steps
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
)


@dataclass(frozen=True)
class AutoencoderSettings:
    """Training settings of an autoencoder.

    Attributes:
        loss: `weights`: mean squared error of the weights, in units of the variance of the training weights; `field`:
            mean absolute error of the distances that networks with the reconstructed weights compute.
        epochs: Average number of times that each shape is used. The learning rate follows a cosine schedule from its
            initial value to 0.
        batch: Number of shapes per step, or all shapes if there are fewer.
        lr: Learning rate.
        points: Number of samples per shape and step, for the loss `field`.
        clamp: For the loss `field`, predicted and true distances are clamped to [-clamp, clamp] before they are
            compared.
    """

    loss: Literal["weights", "field"]
    epochs: int
    batch: int
    lr: float
    points: int
    clamp: float


# By the name of the network in sdfkit.models.autoencoder.PRESETS. "Small-data image-to-3-D" states epochs and
# learning rate, but not the batch.
RECIPES = {
    "small": AutoencoderSettings(loss="weights", epochs=1_000, batch=32, lr=1e-3, points=1024, clamp=0.1),
    "1024x3": AutoencoderSettings(loss="weights", epochs=2_000, batch=32, lr=3e-4, points=1024, clamp=0.1),
}


class ShapeSamples(NamedTuple):
    """Points of each shape, their true distances, and whether each was drawn near the surface."""

    points: Float[Tensor, "shape sample 3"]
    distances: Float[Tensor, "shape sample"]
    near: Bool[Tensor, "shape sample"]


class AutoencoderTraining:
    """Training of an autoencoder.

    Args:
        config: The autoencoder.
        settings: Training settings.
        uids: Names of the shapes for messages.
        vectors: Weights of the network of each shape.
        networks: Architecture of these networks.
        samples: Samples of the same shapes, which the loss `field` needs; None for the loss `weights`.
        context: Device, precision and processes.
        generator: Source of all random numbers, on the CPU. The training object keeps it.

    Raises:
        InputError: A weight or sample is not finite, or all shapes have the same weights.
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
                raise InputError(
                    f"{uid}: its weights or samples hold numbers that are not finite; make them again"
                )
        if (vectors == vectors[0]).all():
            raise InputError(
                f"{uids[0]}: all other shapes have the same weights as this one, so there is nothing to encode"
            )
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
        # One module for all shapes: `functional_call` replaces its weights.
        self.networks = MLPs(networks, self.vectors[:1]).to(context.device).requires_grad_(False)
        group = {"params": list(self.network.parameters()), "initial_lr": settings.lr}
        self.optimizers = [torch.optim.Adam([group], fused=True)]
        self.parameters = dict(self.network.named_parameters())
        self.steps_taken = 0

    @property
    def steps(self) -> int:
        """Total number of steps."""
        return count_steps(self.settings.epochs, len(self.vectors), self.batch)

    @property
    def batch(self) -> int:
        """Number of shapes per step."""
        return min(self.settings.batch, len(self.vectors))

    def step(self) -> float:
        """Take one step.

        Returns:
            The mean loss over the shapes of this step. The loss `weights` is the fraction of variance unexplained
            (FVU), which is 1 if every reconstruction is the mean of all weights.

        Raises:
            SdfkitError: The loss is not a finite number.
        """
        context = self.context
        # All processes draw the same batch, and each computes its part of it.
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
            losses = errors
        else:
            errors, losses = self.field_losses(made.float(), rows, points)
        context.accelerator.backward(losses.sum() / self.batch)
        context.total_gradients(list(self.network.parameters()))
        loss = (context.total(errors.detach().sum()) / self.batch).item()
        check_loss(loss, errors, [self.uids[row] for row in rows.tolist()], self.steps_taken)
        self.optimizers[0].step()
        self.steps_taken += 1
        return loss

    def field_losses(
        self, weights: Float[Tensor, "shape dim"], rows: Tensor, points: Tensor
    ) -> tuple[Float[Tensor, " shape"], Float[Tensor, " shape"]]:
        """Return the mean error of the distances of each network, and a loss whose gradient reduces this error.

        The gradient is that of |f - clamp(d)| wherever the clamped distances differ, for the reason that
        `training.mlp.fitting.BatchedMLP.step` gives: a field that is positive everywhere would stay positive.

        Reference: De Luigi et al., inr2vec (2023), section 3, whose loss compares fields, not weights.
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

    @property
    def lr(self) -> float:
        """Learning rate of the last step."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    def step_kinds(self) -> list[StepKind]:
        """Return the only kind of steps."""
        return [StepKind("", range(self.steps), self.steps)]

    def facts(self) -> dict[str, float]:
        """Return the loss of decoding the mean weights, which is 1, for the loss `weights`."""
        return {"mean weights": 1.0} if self.settings.loss == "weights" else {}

    @torch.no_grad()
    def result(self) -> tuple[Autoencoder, Float[Tensor, "shape code"], Float[Tensor, "shape dim"]]:
        """Return the autoencoder, the codes of the shapes, and the weights that it decodes from them."""
        network = self.network.eval()
        codes = network.encode(self.vectors.to(self.context.device))
        return network, codes, network.decode(codes)

    def state(self) -> State:
        """Return the state from which training can be resumed; see `sdfkit.training.run`."""
        return (
            pack("parameters", self.parameters)
            | pack("moments", moments(self.optimizers, self.parameters))
            | pack_clock(self.steps_taken, self.generator)
        )

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore a state.

        Raises:
            InputError: The state is that of another network.
        """
        unpack("parameters", self.parameters, state)
        unpack("moments", moments(self.optimizers, self.parameters), state)
        self.steps_taken = unpack_clock(state, self.generator)
