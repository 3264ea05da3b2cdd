"""Trains a network that reconstructs signed distance fields from images with known cameras."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Int, UInt8
from torch import Tensor

from sdfkit.models.recon.neighbours import Neighbours, retrieve, shrink_silhouettes
from sdfkit.models.recon.network import Recon, ReconConfig
from sdfkit.models.recon.posed_views import PosedViews, turn_matrices, turn_views
from sdfkit.training.muon import Muon, trained_by_others
from sdfkit.training.recon.coarse_grids import make_grids
from sdfkit.training.run import (
    DeviceContext,
    State,
    StepKind,
    check_loss,
    constant_loss,
    cosine,
    moments,
    pack,
    pack_clock,
    seeded,
    set_rate,
    step_generator,
    unpack,
    unpack_clock,
    update_ema,
)
from sdfkit.training.samples import SampleReader
from sdfkit.training.threads import GradientThreads

# Steps in which the learning rate rises from 0.
WARM_UP = 100
# Smallest and largest share of the training shapes among which `ReconSettings.fewer` looks for neighbours, and the
# largest number of candidates in all cases.
FEWER, CANDIDATES = (0.03, 0.5), 1024
# Learning rate of Adam, as a multiple of that of Muon.
OTHERS = 0.2
# Largest norm of the gradient of all parameters.
LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class ReconSettings:
    """Training settings of a reconstruction network.

    Attributes:
        steps: Number of steps. The learning rate follows a cosine schedule to 0.
        shapes: Number of shapes per step, drawn at random with replacement.
        points: Number of points of each shape per step.
        near: Share of these points near the surface.
        views: Maximum number of views per shape.
        single: Share of the steps that see one view of each shape. The others see the same random number of views of
            all shapes, from 2 to the maximum.
        fewer: Share of shapes whose neighbours are chosen from a few random training shapes, not from all. It makes
            neighbours as dissimilar as they are for new kinds of shapes.
        turned: Share of shapes that are turned, with their cameras, about the vertical axis by a random angle. With
            more, shapes of new kinds are reconstructed better from many views, and known kinds worse from one.
        clamp: True and predicted distances are limited to this absolute value before they are compared.
        lr: Learning rate of Muon for the weights of the hidden layers. Adam trains all other parameters with `OTHERS`
            times this rate.
        ema_decay: Decay of the exponential moving average (EMA) of the parameters, which is the trained network.
    """

    steps: int
    shapes: int
    points: int
    near: float
    views: int
    single: float
    fewer: float
    turned: float
    clamp: float
    lr: float
    ema_decay: float


# By the name of the network in sdfkit.models.recon.network.PRESETS.
RECIPES = {
    "small": ReconSettings(
        steps=8_000,
        shapes=8,
        points=1024,
        near=0.5,
        views=8,
        single=0.4,
        fewer=0.3,
        turned=0.5,
        clamp=0.1,
        lr=0.01,
        ema_decay=0.998,
    ),
    "large": ReconSettings(
        steps=60_000,
        shapes=32,
        points=4096,
        near=0.5,
        views=8,
        single=0.4,
        fewer=0.3,
        turned=0.5,
        clamp=0.1,
        lr=0.01,
        ema_decay=0.999,
    ),
}


class TrainingViews(NamedTuple):
    """Views of all training shapes, in the types in which they are kept in memory; see `PosedViews`."""

    pictures: UInt8[Tensor, "shape view 4 row column"]
    outlines: Float16[Tensor, "shape view row column"]
    cameras: Float[Tensor, "shape view 4 4"]
    yfov: Float[Tensor, "shape view"]

    def select(
        self, rows: Int[Tensor, " row"], views: Int[Tensor, "row view"], device: torch.device
    ) -> PosedViews:
        """Return some views of some shapes, on a device."""
        pictures, outlines, cameras, yfov = (part[rows[:, None], views].to(device) for part in self)
        return PosedViews(pictures.float() / 255, outlines.float(), cameras, yfov)


class Draw(NamedTuple):
    """The random choices of one step."""

    rows: Int[Tensor, " row"]
    views: Int[Tensor, "row view"]
    mirrored: Bool[Tensor, " row"]
    angles: Float[Tensor, " row"]
    neighbours: Int[Tensor, "row neighbour"]
    overlaps: Float[Tensor, "row neighbour"]
    points: Float[Tensor, "row point 3"]
    distances: Float[Tensor, "row point"]


class ReconTraining:
    """Training of a reconstruction network. The draws of a step depend on the seed and the step's number alone.

    Each process holds all views and samples, and computes its part of each batch.

    Args:
        config: The network.
        settings: Training settings.
        views: Views of the training shapes.
        samples: Samples of the same shapes.
        uids: Names of the shapes for messages.
        context: Device, precision and processes.
        generator: Source of all random numbers, on the CPU. The training object keeps it.
    """

    def __init__(
        self,
        config: ReconConfig,
        settings: ReconSettings,
        views: TrainingViews,
        samples: SampleReader,
        uids: Sequence[str],
        context: DeviceContext,
        generator: torch.Generator,
    ) -> None:
        self.config, self.settings, self.views, self.samples = config, settings, views, samples
        self.uids, self.context, self.generator = uids, context, generator
        self.masks = shrink_silhouettes(views.pictures[:, :, 3] / 255)  # (shape, view, pixel)
        self.grids = torch.from_numpy(make_grids(samples, len(uids)))
        with seeded(generator):
            self.network = Recon(config).to(context.device)
        self.parameters = dict(self.network.named_parameters())
        self.threads = GradientThreads(context.device)
        self.optimizers = build_optimizers(self.network, settings.lr, self.threads.count)
        self.ema = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.steps_taken = 0

    def step(self) -> float:
        """Take one step.

        Returns:
            The mean absolute error of the clamped distances.

        Raises:
            SdfkitError: The loss is not a finite number.
        """
        settings, context = self.settings, self.context
        drawn = self.draw(self.steps_taken)
        own = torch.arange(settings.shapes)[context.own]
        parameters = list(self.parameters.values())
        errors = self.threads.compute_gradients(
            lambda rows: self.errors(Draw(*(part[rows] for part in drawn))), own, parameters, settings.shapes
        )
        context.total_gradients(parameters)
        loss = (context.total(errors.sum()) / settings.shapes).item()
        check_loss(loss, errors, [self.uids[row] for row in drawn.rows[own].tolist()], self.steps_taken)
        torch.nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
        warm = min(1.0, (self.steps_taken + 1) / WARM_UP)
        set_rate(self.optimizers, warm * cosine(self.steps_taken, settings.steps))
        self.threads.step(self.optimizers)
        update_ema(self.ema, self.parameters, settings.ema_decay, self.steps_taken)
        self.steps_taken += 1
        return loss

    def draw(self, step: int) -> Draw:
        """Draw shapes, views, transformations and samples."""
        settings = self.settings
        generator = step_generator(self.generator, step)
        count, available = settings.shapes, self.views.yfov.shape[1]
        rows = torch.randint(len(self.uids), (count,), generator=generator)
        most = min(settings.views, available)
        number = 1
        if most > 1 and torch.rand((), generator=generator) >= settings.single:
            number = int(torch.randint(2, most + 1, (), generator=generator))
        views = torch.rand(count, available, generator=generator).argsort(dim=1)[:, :number]
        mirrored = torch.rand(count, generator=generator) < 0.5
        turned = torch.rand(count, generator=generator) < settings.turned
        angles = 2 * math.pi * torch.rand(count, generator=generator) * turned
        neighbours, overlaps = self.find_neighbours(rows, views, generator)
        windows = torch.randint(self.samples.windows, (count,), generator=generator)
        places = torch.rand(count, settings.points, generator=generator)  # (row, point)
        points, distances = self.samples.draw(rows, windows, places, round(settings.near * settings.points))
        return Draw(rows, views, mirrored, angles, neighbours, overlaps, points, distances)

    def find_neighbours(
        self, rows: Int[Tensor, " row"], views: Int[Tensor, "row view"], generator: torch.Generator
    ) -> tuple[Int[Tensor, "row neighbour"], Float[Tensor, "row neighbour"]]:
        """For each of some training shapes, find others whose silhouettes in its views are similar."""
        low, high = FEWER
        found = []
        for row, seen in zip(rows, views, strict=True):
            others = torch.randperm(len(self.uids), generator=generator)
            others = others[others != row]
            share, chance = torch.rand(2, generator=generator).tolist()
            count = CANDIDATES
            if chance < self.settings.fewer:
                count = max(self.config.neighbours, int(len(others) * (low + (high - low) * share)))
            candidates = others[:count]
            known = self.masks[candidates[:, None], seen]
            found.append(retrieve(self.masks[row, seen], known, candidates, self.config.neighbours))
        neighbours, overlaps = zip(*found, strict=True)
        return torch.stack(neighbours), torch.stack(overlaps)

    def with_views(self, drawn: Draw, views: Int[Tensor, "row view"]) -> Draw:
        """Replace the views of a draw."""
        generator = torch.Generator().manual_seed(0)
        neighbours, overlaps = self.find_neighbours(drawn.rows, views, generator)
        return drawn._replace(views=views, neighbours=neighbours, overlaps=overlaps)

    def inputs(self, drawn: Draw) -> tuple[PosedViews, Neighbours, Float[Tensor, "row point 3"]]:
        """Return the views, neighbours and points of a draw, mirrored and turned."""
        device = self.context.device
        turns = turn_matrices(drawn.mirrored, drawn.angles).to(device)
        views = turn_views(
            self.views.select(drawn.rows, drawn.views, device), drawn.mirrored.to(device), turns
        )
        grids = self.grids[drawn.neighbours].to(device)
        return views, Neighbours(grids, drawn.overlaps.to(device), turns), drawn.points.to(device) @ turns.mT

    def errors(self, drawn: Draw) -> Float[Tensor, " row"]:
        """Return the mean absolute error of the clamped distances of each shape."""
        clamp = self.settings.clamp
        views, neighbours, points = self.inputs(drawn)
        with self.context.autocast():
            predicted = self.network(self.network.encode(views, neighbours), points)
        truth = drawn.distances.to(points.device).clamp(-clamp, clamp)
        errors: Tensor = (predicted.float().clamp(-clamp, clamp) - truth).abs().mean(dim=1)
        return errors

    @property
    def lr(self) -> float:
        """Learning rate of Muon in the last step."""
        return float(self.optimizers[1].param_groups[0]["lr"])

    def step_kinds(self) -> list[StepKind]:
        """Return the only kind of steps."""
        return [StepKind("", range(self.settings.steps), self.settings.steps)]

    def facts(self) -> dict[str, float]:
        """Return the loss of predicting the best constant at the points of the last step."""
        distances = self.draw(self.steps_taken - 1).distances
        return {"best constant": constant_loss(distances, self.settings.clamp)}

    def result(self) -> Recon:
        """Return the EMA of the network."""
        network = Recon(self.config)
        network.load_state_dict(self.ema)
        return network.to(self.context.device).eval()

    def state(self) -> State:
        """Return the state from which training can be resumed; see `sdfkit.training.run`."""
        return (
            pack("parameters", self.parameters)
            | pack("average", self.ema)
            | pack("moments", moments(self.optimizers, self.parameters))
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
        self.steps_taken = unpack_clock(state, self.generator)


def build_optimizers(network: Recon, lr: float, threads: int) -> list[torch.optim.Optimizer]:
    """Create Adam, and Muon for the weights of the hidden layers in so many parts of about equal cost."""
    matrices = sorted(network.matrices, key=torch.numel)
    rest = {"params": trained_by_others(network.parameters(), matrices), "initial_lr": OTHERS * lr}
    adam = torch.optim.Adam([rest], fused=True)
    parts = [{"params": matrices[thread::threads], "initial_lr": lr} for thread in range(threads)]
    return [adam, *(Muon([part]) for part in parts)]
