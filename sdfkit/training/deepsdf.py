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
class DeepSDFSettings:
    """How a decoder is trained.

    Attributes:
        steps: Steps in all; the learning rates fall to 0 over them, as a cosine.
        shapes: Shapes a step; all, if there are fewer.
        points: Points of each of those shapes a step.
        near: The share of those points that lie near the surface.
        first_clamp: Distances, predicted and true, count up to a clamp, which begins here …
        clamp: … and falls to this over the first half of the steps, by the same factor each step. The
            paper's is 0.1 all along.
        matrix_lr: Learning rate of Muon for the decoder's hidden matrices; None trains them by Adam too.
        decoder_lr: Learning rate of Adam for the rest of the decoder.
        code_lr: Learning rate of Adam for the codes.
        code_std: Spread of the codes at the start.
        code_penalty: Weight of the mean squared length of the codes.
        average: Decay of the averaged decoder and codes, which are the result; 0 takes the last ones.
        chunk: Points that pass through the decoder at a time on a CPU, where they should stay in its cache; a
            GPU takes all at once. The gradient is the same but for rounding.
    """

    steps: int
    shapes: int
    points: int
    near: float
    first_clamp: float
    clamp: float
    matrix_lr: float | None
    decoder_lr: float
    code_lr: float
    code_std: float
    code_penalty: float
    average: float
    chunk: int

    def clamp_at(self, step: int) -> float:
        """The clamp of a step."""
        fallen = min(2 * step / self.steps, 1)
        return float(self.first_clamp * (self.clamp / self.first_clamp) ** fallen)


# By the name of the network in sdfkit.models.deepsdf.PRESETS. The first two are the paper's for 20 shapes,
# where an epoch is 5 steps.
RECIPES = {
    "512x8": DeepSDFSettings(
        steps=20_000,
        shapes=4,
        points=8_192,
        near=0.5,
        first_clamp=0.1,
        clamp=0.1,
        matrix_lr=None,
        decoder_lr=5e-4,
        code_lr=1e-3,
        code_std=0.01,
        code_penalty=1e-5,
        average=0.0,
        chunk=1_024,
    ),
    "256x4": DeepSDFSettings(
        steps=4_000,
        shapes=4,
        points=8_192,
        near=0.5,
        first_clamp=0.1,
        clamp=0.1,
        matrix_lr=None,
        decoder_lr=5e-4,
        code_lr=1e-3,
        code_std=0.01,
        code_penalty=1e-5,
        average=0.0,
        chunk=2_560,
    ),
    # Twenty built-in shapes, 60 CPU seconds; IoU, by the signs of points around the shape, in the mean, of a
    # wagon wheel and of a thin floor lamp. Clamp 0.1: 0.966, 0.936, 0.914, and false surfaces in the far
    # field, which is never taught. Clamp 2, beyond every distance in the query cube: 0.963, 0.893, 0.958; far
    # points pull as hard as the spokes. From 2 to 0.1: 0.970, 0.915, 0.958.
    # All 3,000 steps take 230 CPU seconds: mean 0.985, worst 0.941 (a bicycle), L1 up to 0.1 0.00041 and at worst
    # 0.00070, the wheel in one piece with Euler number -24. That needs near points as wide as std 0.07: with
    # 0.02 and 0.005 alone, specks hang between the spokes. Ending at 0.5: mean 0.984, worst 0.932, but an
    # unclamped L1 of 0.009 in place of 0.070.
    "small": DeepSDFSettings(
        steps=3_000,
        shapes=24,
        points=256,
        near=0.9,
        first_clamp=2.0,
        clamp=0.1,
        matrix_lr=0.02,
        decoder_lr=1.5e-3,
        code_lr=3e-3,
        code_std=0.01,
        code_penalty=1e-5,
        average=0.0,
        chunk=8_192,  # all at once: two threads take 70 ms a step, and 85 in parts of 2,560
    ),
}


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
        self.optimizers = build_optimizers(decoder, self.codes, settings)
        self.parameters = dict(decoder.named_parameters(prefix="decoder")) | {"code": self.codes}
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.decoder: nn.Module = machine.accelerator.prepare(decoder)
        self.steps_taken = 0

    def step(self) -> float:
        """Take one step.

        Returns:
            The mean clamped error of the points of this step, and the code penalty.

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
        penalty = settings.code_penalty * self.codes[rows].square().sum(dim=1).mean()
        self.machine.accelerator.backward(penalty)
        errors = torch.zeros(len(rows), device=self.machine.device)  # (shape,)
        on_cpu = self.machine.device.type == "cpu"
        size = max(1, settings.chunk // len(rows)) if on_cpu else settings.points
        for start in range(0, settings.points, size):
            part = slice(start, start + size)
            with self.machine.autocast():
                predicted = self.decoder(self.codes[rows], points[:, part])  # (shape, point)
            error = predicted.float().clamp(-clamp, clamp) - distances[:, part].clamp(-clamp, clamp)
            error = error.abs().sum(dim=1) / settings.points  # (shape,)
            self.machine.accelerator.backward(error.mean())
            errors += error.detach()
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

    def result(self) -> tuple[DeepSDF, Float[Tensor, "shape code"]]:
        """The averaged decoder and codes."""
        decoder = DeepSDF(self.config)
        decoder.load_state_dict(
            {name.removeprefix("decoder."): value for name, value in self.average.items() if name != "code"}
        )
        return decoder.to(self.machine.device), self.average["code"].clone()

    def report(self, samples: int, clamp: float) -> dict[str, float]:
        """How far the result is, judged on the first samples of each shape.

        Returns:
            `sdf_l1_mean` and `sdf_l1_max`: the mean and largest error of a shape; `clamped_l1_mean` and
            `clamped_l1_max`: the same, where distances count up to `clamp`, which is all that a run with that
            clamp has been taught; `code_cosine`: the mean cosine between two codes.
        """
        decoder, codes = self.result()
        points, distances = self.points[:, :samples], self.distances[:, :samples]
        full = field_errors(decoder, codes, points, distances, math.inf, self.settings.chunk)
        clamped = field_errors(decoder, codes, points, distances, clamp, self.settings.chunk)
        return {
            "sdf_l1_mean": full.mean().item(),
            "sdf_l1_max": full.max().item(),
            "clamped_l1_mean": clamped.mean().item(),
            "clamped_l1_max": clamped.max().item(),
            "code_cosine": mean_cosine(codes),
        }

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
    decoder: DeepSDF, codes: nn.Parameter, settings: DeepSDFSettings
) -> list[torch.optim.Optimizer]:
    """Adam, and Muon where it is asked for."""
    hidden = [layer.weight for layer in decoder.hidden if isinstance(layer, nn.Linear)]
    matrices = [] if settings.matrix_lr is None else hidden
    taken = {id(matrix) for matrix in matrices}
    rest = [parameter for parameter in decoder.parameters() if id(parameter) not in taken]
    groups = [
        {"params": rest, "initial_lr": settings.decoder_lr},
        # Codes learn faster: they start near zero and must spread before they can differ.
        {"params": [codes], "initial_lr": settings.code_lr},
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
