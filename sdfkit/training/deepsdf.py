"""Training a DeepSDF decoder together with one code a shape."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sdfkit.errors import InputError, SdfkitError
from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig
from sdfkit.training.deepsdf_recipes import DeepSDFSettings
from sdfkit.training.muon import Muon
from sdfkit.training.run import (
    Machine,
    State,
    cosine,
    moments,
    pack,
    pack_clock,
    seeded,
    set_rate,
    unpack,
    unpack_clock,
    update_average,
)


@dataclass(frozen=True)
class Report:
    """How far a trained decoder's distances are from the true ones.

    Attributes:
        sdf_l1: Mean absolute error of each shape.
        clamped_l1: The same, with distances up to a clamp.
        code_cosine: Mean cosine between two codes.
    """

    sdf_l1: Float[np.ndarray, " shape"]
    clamped_l1: Float[np.ndarray, " shape"]
    code_cosine: float


class DeepSDFTraining:
    """A decoder and codes in training.

    Args:
        config: The decoder.
        settings: How it is trained.
        points: Query points of each shape.
        distances: Their distances, negative inside.
        near: Which of them were drawn near the surface.
        machine: Where to compute.
        generator: Source of all draws, on the CPU; the training object keeps it.

    Raises:
        InputError: A shape has distances that are not finite, or lacks a kind of points that is asked for.
    """

    def __init__(
        self,
        config: DeepSDFConfig,
        settings: DeepSDFSettings,
        points: Float[np.ndarray, "shape sample 3"],
        distances: Float[np.ndarray, "shape sample"],
        near: Bool[np.ndarray, "shape sample"],
        machine: Machine,
        generator: torch.Generator,
    ) -> None:
        self.config = config
        self.settings = settings
        self.machine = machine
        self.generator = generator
        self.points = torch.from_numpy(points)
        self.distances = torch.from_numpy(distances)
        self.order, self.near_counts = order_near_first(distances, near, settings)

        with seeded(generator):
            decoder = DeepSDF(config).to(machine.device)
        codes = settings.code_std * torch.randn(len(points), config.code, generator=generator)
        self.codes = nn.Parameter(codes.to(machine.device))
        self.parameters = dict(decoder.named_parameters(prefix="decoder")) | {"code": self.codes}
        self.log_spread: nn.Parameter | None = None
        if settings.kl:
            self.log_spread = nn.Parameter(torch.full_like(self.codes, math.log(settings.code_std)))
            self.parameters["log_spread"] = self.log_spread
        own = [parameter for name, parameter in self.parameters.items() if not name.startswith("decoder.")]
        self.optimizers = build_optimizers(decoder, own, settings)
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.decoder: nn.Module = machine.accelerator.prepare(decoder)
        self.steps_taken = 0

    def step(self) -> float:
        """Take one step.

        Returns:
            The mean clamped error of the points of this step, and what its codes and slopes are charged.

        Raises:
            SdfkitError: The loss is not a finite number.

        Reference: equation 5 of the paper and 9 of DeepSDF, as a mean over shapes and points.
        """
        settings = self.settings
        rows, points, distances = self.draw()
        clamp = settings.clamp_at(self.steps_taken)
        set_rate(self.optimizers, cosine(self.steps_taken, settings.steps))
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        drawn, penalty = self.draw_codes(rows)
        # The decoder is run in parts, and each part's gradient is added up here before it goes on to the codes.
        codes = drawn.detach().requires_grad_()
        errors = torch.zeros(len(rows), device=self.machine.device)  # (shape,)
        on_cpu = self.machine.device.type == "cpu"
        size = max(1, settings.chunk // len(rows)) if on_cpu else settings.points
        for start in range(0, settings.points, size):
            part = slice(start, start + size)
            with self.machine.autocast():
                predicted = self.decoder(codes, points[:, part])  # (shape, point)
            error = predicted.float().clamp(-clamp, clamp) - distances[:, part].clamp(-clamp, clamp)
            error = error.abs().sum(dim=1) / settings.points  # (shape,)
            self.machine.accelerator.backward(error.mean())
            errors += error.detach()
        if settings.eikonal:
            unlike = settings.eikonal * self.slope_error(
                codes, points[:, round(settings.near * settings.points) :]
            )
            self.machine.accelerator.backward(unlike.mean())
            errors += unlike.detach()
        torch.autograd.backward([drawn, penalty], [codes.grad, torch.ones_like(penalty)])
        loss = errors.mean().item() + penalty.item()
        if not np.isfinite(loss):
            row = int(rows[(~torch.isfinite(errors.cpu())).int().argmax()])
            raise SdfkitError(
                f"row {row}: the loss at step {self.steps_taken} is {loss}: lower the learning rate, "
                "or go on from an earlier save"
            )
        for optimizer in self.optimizers:
            optimizer.step()
        update_average(self.average, self.parameters, settings.average, self.steps_taken)
        self.steps_taken += 1
        return loss

    def draw(
        self,
    ) -> tuple[Int[Tensor, " row"], Float[Tensor, "row point 3"], Float[Tensor, "row point"]]:
        """The shapes of a step, and points of each with their distances, near ones first."""
        settings = self.settings
        rows = torch.randperm(len(self.points), generator=self.generator)[: settings.shapes]
        places = torch.rand(len(rows), settings.points, generator=self.generator)  # (row, point)
        split = round(settings.near * settings.points)
        counts = self.near_counts[rows, None]
        places[:, :split] *= counts
        places[:, split:] = counts + places[:, split:] * (self.points.shape[1] - counts)
        # Rounding may carry a place to the end of its range.
        places = places.long().clamp_max(self.points.shape[1] - 1)
        samples = self.order[rows[:, None], places].long()  # (row, point)
        device = self.machine.device
        points, distances = self.points[rows[:, None], samples], self.distances[rows[:, None], samples]
        return rows.to(device), points.to(device), distances.to(device)

    def draw_codes(self, rows: Int[Tensor, " row"]) -> tuple[Float[Tensor, "row code"], Float[Tensor, ""]]:
        """The codes that a step decodes, and what they are charged for where they are."""
        settings = self.settings
        codes = self.codes[rows]
        if settings.latent_noise:
            noise = torch.randn(codes.shape, generator=self.generator).to(codes.device)
            codes = codes + settings.latent_noise * self.codes.detach().std() * noise
        if self.log_spread is not None:
            noise = torch.randn(codes.shape, generator=self.generator).to(codes.device)
            log_spread = self.log_spread[rows]
            variance = (2 * log_spread).exp()
            divergence = 0.5 * (variance + self.codes[rows].square() - 1 - 2 * log_spread).sum(dim=1)
            return codes + variance.sqrt() * noise, settings.kl * divergence.mean()
        weight = settings.code_penalty * min(1.0, (self.steps_taken + 1) / max(settings.penalty_ramp, 1))
        return codes, weight * self.codes[rows].square().sum(dim=1).mean()

    def slope_error(
        self, codes: Float[Tensor, "row code"], points: Float[Tensor, "row point 3"]
    ) -> Float[Tensor, " row"]:
        """How far the field's slope is from 1 at points, squared, in the mean of each shape.

        Reference: Gropp et al., Implicit Geometric Regularization (2020), equation 2.
        """
        places = points.detach().requires_grad_()
        with self.machine.autocast():
            predicted = self.decoder(codes, places)
        (slope,) = torch.autograd.grad(predicted.float().sum(), places, create_graph=True)
        unlike: Tensor = (slope.norm(dim=2) - 1).square().mean(dim=1)  # (row,)
        return unlike

    def result(self) -> tuple[DeepSDF, Float[Tensor, "shape code"]]:
        """The averaged decoder and codes."""
        decoder = DeepSDF(self.config)
        decoder.load_state_dict(
            {
                name.removeprefix("decoder."): value
                for name, value in self.average.items()
                if name.startswith("decoder.")
            }
        )
        return decoder.to(self.machine.device), self.average["code"].clone()

    def report(self, samples: int, clamp: float) -> Report:
        """How far the result is, judged on the first samples of each shape.

        Args:
            samples: How many of them.
            clamp: Distances count up to it in one of the errors, which is all that a run with that clamp has been
                taught.
        """
        decoder, codes = self.result()
        points, distances = self.points[:, :samples], self.distances[:, :samples]
        full, clamped = (
            field_errors(decoder, codes, points, distances, limit, self.settings.chunk).cpu().numpy()
            for limit in (math.inf, clamp)
        )
        return Report(full, clamped, mean_cosine(codes))

    def state(self) -> State:
        """All that the next step depends on; see `sdfkit.training.run`."""
        return (
            pack("parameters", self.parameters)
            | pack("average", self.average)
            | pack("moments", moments(self.optimizers, self.parameters))
            | pack_clock(self.steps_taken, self.generator)
        )

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a state.

        Raises:
            InputError: The state was saved with another network or number of shapes.
        """
        unpack("parameters", self.parameters, state)
        unpack("average", self.average, state)
        unpack("moments", moments(self.optimizers, self.parameters), state)
        self.steps_taken = unpack_clock(state, self.generator)


def build_optimizers(
    decoder: DeepSDF, codes: list[nn.Parameter], settings: DeepSDFSettings
) -> list[torch.optim.Optimizer]:
    """Adam, and Muon where it is asked for."""
    hidden = [layer.weight for layer in decoder.hidden if isinstance(layer, nn.Linear)]
    matrices = [] if settings.matrix_lr is None else hidden
    taken = {id(matrix) for matrix in matrices}
    rest = [parameter for parameter in decoder.parameters() if id(parameter) not in taken]
    groups = [
        {"params": rest, "initial_lr": settings.decoder_lr},
        # Codes learn faster: they start near zero and must spread before they can differ.
        {"params": codes, "initial_lr": settings.code_lr},
    ]
    adam = torch.optim.Adam(groups, fused=True)
    if settings.matrix_lr is None:
        return [adam]
    return [adam, Muon([{"params": matrices, "initial_lr": settings.matrix_lr}])]


def order_near_first(
    distances: Float[np.ndarray, "shape sample"],
    near: Bool[np.ndarray, "shape sample"],
    settings: DeepSDFSettings,
) -> tuple[Int[Tensor, "shape sample"], Int[Tensor, " shape"]]:
    """Each shape's samples, those near the surface first, and how many these are.

    Raises:
        InputError: A shape has a distance that is not finite, or lacks a kind of points that a step asks for.
    """
    counts = near.sum(axis=1)
    asked = round(settings.near * settings.points)
    for row, count in enumerate(counts):
        if not np.isfinite(distances[row]).all():
            raise InputError(f"row {row}: a distance is not a finite number: sample it again")
        if count == 0 < asked:
            raise InputError(f"row {row}: has no points near its surface, but a step asks for {asked}")
        if count == near.shape[1] and asked < settings.points:
            others = settings.points - asked
            raise InputError(
                f"row {row}: has only points near its surface, but a step asks for {others} others"
            )
    order = np.argsort(~near, axis=1, kind="stable").astype(np.int32)
    return torch.from_numpy(order), torch.from_numpy(counts.astype(np.int64))


@torch.no_grad()
def field_errors(
    decoder: DeepSDF,
    codes: Float[Tensor, "shape code"],
    points: Float[Tensor, "shape sample 3"],
    distances: Float[Tensor, "shape sample"],
    clamp: float,
    chunk: int,
) -> Float[Tensor, " shape"]:
    """The mean absolute error of each shape's distances, which count up to `clamp`; infinity counts all."""
    errors = []
    for code, own_points, own_distances in zip(codes, points, distances, strict=True):
        parts = [decoder(code[None], part[None])[0] for part in own_points.to(code.device).split(chunk)]
        error = torch.cat(parts).clamp(-clamp, clamp) - own_distances.to(code.device).clamp(-clamp, clamp)
        errors.append(error.abs().mean())
    return torch.stack(errors)


def mean_cosine(codes: Float[Tensor, "shape code"]) -> float:
    """The mean cosine between two different codes; 0 for a single one."""
    directions = nn.functional.normalize(codes, dim=1)
    pairs = len(codes) * (len(codes) - 1)
    return (directions.sum(dim=0).square().sum().item() - len(codes)) / max(pairs, 1)
