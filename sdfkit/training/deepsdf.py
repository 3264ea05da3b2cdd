"""Training a DeepSDF decoder together with one code a shape."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sdfkit.errors import SdfkitError
from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig, slope_errors
from sdfkit.training.deepsdf_recipes import DeepSDFSettings
from sdfkit.training.muon import Muon
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
from sdfkit.training.samples import Samples

# Steps that are drawn beforehand, in a thread of their own, where samples may have to be read.
AHEAD = 2


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


class Draw(NamedTuple):
    """What a step is made of in this process.

    Attributes:
        rows: The shapes, counted among this process's own.
        points: Points of each.
        distances: Their distances.
        noise: Standard normal noise for their codes, where it is needed.
        total: Shapes of the step in all processes.
    """

    rows: Int[Tensor, " row"]
    points: Float[Tensor, "row point 3"]
    distances: Float[Tensor, "row point"]
    noise: Float[Tensor, "row code"] | None
    total: int


class DeepSDFTraining:
    """A decoder and codes in training.

    Of several processes each owns every so-manieth shape, `context.own`: their samples, and their codes. All of
    them draw the same numbers, and only the decoder's gradients travel. A step of all shapes is that of one process.

    What a step draws depends on the seed and the step's number alone, so that steps can be drawn beforehand.

    Args:
        config: The decoder.
        settings: How it is trained.
        samples: Samples of the shapes of this process.
        uids: The shapes of all processes.
        context: Where to compute.
        generator: Source of all draws, on the CPU; the training object keeps it.
    """

    def __init__(
        self,
        config: DeepSDFConfig,
        settings: DeepSDFSettings,
        samples: Samples,
        uids: Sequence[str],
        context: DeviceContext,
        generator: torch.Generator,
    ) -> None:
        self.config = config
        self.uids = uids
        self.shapes = shapes = len(uids)
        self.settings = settings
        self.context = context
        self.generator = generator
        self.samples = samples
        self.thread = ThreadPoolExecutor(1)
        self.ahead: dict[int, Future[Draw]] = {}

        with seeded(generator):
            decoder = DeepSDF(config).to(context.device)
        codes = settings.code_std * torch.randn(shapes, config.code, generator=generator)
        self.codes = nn.Parameter(codes[context.own].to(context.device))
        self.parameters = dict(decoder.named_parameters(prefix="decoder")) | {"code": self.codes}
        self.log_spread: nn.Parameter | None = None
        if settings.kl:
            self.log_spread = nn.Parameter(torch.full_like(self.codes, math.log(settings.code_std)))
            self.parameters["log_spread"] = self.log_spread
        own = [parameter for name, parameter in self.parameters.items() if not name.startswith("decoder.")]
        self.optimizers = build_optimizers(decoder, own, settings)
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.decoder = decoder
        self.forward: Callable[[Tensor, Tensor], Tensor] = decoder
        self.steps_taken = 0

    def compile(self) -> None:
        """Let PyTorch compile the decoder at the first step, for a GPU, where it merges what is not a product.

        On two CPU cores a step in parts that stay in the cache was a third faster than a compiled one.
        """
        self.forward = torch.compile(self.decoder)

    def step(self) -> float:
        """Take one step.

        Returns:
            The mean clamped error of the points of this step, and what its codes and slopes are charged.

        Raises:
            SdfkitError: The loss is not a finite number.

        Reference: equation 5 of the paper and 9 of DeepSDF, as a mean over shapes and points.
        """
        settings, context = self.settings, self.context
        drawn = self.drawn()
        rows, points, distances = drawn.rows, drawn.points, drawn.distances
        clamp = settings.clamp_at(self.steps_taken)
        set_rate(self.optimizers, cosine(self.steps_taken, settings.steps))
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        own_codes, penalties = self.draw_codes(drawn)
        # The decoder is run in parts, and each part's gradient is added up here before it goes on to the codes.
        codes = own_codes.detach().requires_grad_()
        errors = torch.zeros(len(rows), device=context.device)  # (shape,)
        size = settings.points
        if context.device.type == "cpu":
            size = max(1, settings.chunk // max(len(rows), 1))
        for start in range(0, settings.points, size):
            part = slice(start, start + size)
            with context.autocast():
                predicted = self.forward(codes, points[:, part])  # (shape, point)
            error = predicted.float().clamp(-clamp, clamp) - distances[:, part].clamp(-clamp, clamp)
            error = error.abs().sum(dim=1) / settings.points  # (shape,)
            context.accelerator.backward(error.sum() / drawn.total)
            errors += error.detach()
        if settings.eikonal:
            far = points[:, round(settings.near * settings.points) :]
            with context.autocast():
                unlike = settings.eikonal * slope_errors(self.decoder, codes, far)
            context.accelerator.backward(unlike.sum() / drawn.total)
            errors += unlike.detach()
        charge = penalties.sum() / drawn.total
        torch.autograd.backward([own_codes, charge], [codes.grad, torch.ones_like(charge)])
        context.total_gradients(list(self.decoder.parameters()))
        errors += penalties.detach()
        loss = (context.total(errors.sum()) / drawn.total).item()
        if not np.isfinite(loss):
            wrong = rows[~torch.isfinite(errors)].tolist()
            name = self.uids[wrong[0] * context.processes + context.process] if wrong else "another process"
            raise SdfkitError(
                f"{name}: the loss at step {self.steps_taken} is {loss}: lower the learning rate"
            )
        for optimizer in self.optimizers:
            optimizer.step()
        update_ema(self.average, self.parameters, settings.average, self.steps_taken)
        self.steps_taken += 1
        return loss

    def drawn(self) -> Draw:
        """The draw of this step; those of the next ones are begun."""
        wanted = range(self.steps_taken, self.steps_taken + AHEAD + 1)
        for step in wanted:
            if step not in self.ahead and step < max(self.settings.steps, wanted.start + 1):
                self.ahead[step] = self.thread.submit(self.draw, step)
        return self.ahead.pop(self.steps_taken).result()

    def draw(self, step: int) -> Draw:
        """The shapes of a step, points of each with their distances, near ones first, and noise for their codes."""
        settings, processes = self.settings, self.context.processes
        # The seed is that of the run, also where it goes on: a generator's state holds the seed it began with.
        seed = np.random.SeedSequence([self.generator.initial_seed(), step]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(seed[0] >> np.uint64(1)))
        order = torch.randperm(self.shapes, generator=generator)
        owner = order % processes
        taken = torch.zeros(self.shapes, dtype=torch.bool)
        for process in range(processes):
            theirs = torch.nonzero(owner == process)[:, 0]
            taken[theirs[: max(1, settings.shapes // processes)]] = True
        count = int(taken.sum())
        own = owner[taken] == self.context.process
        shapes = order[taken][own]
        # Another window at every step: one that stayed for a while would be fitted for that while.
        windows = torch.randint(self.samples.windows, (count,), generator=generator)[own]
        places = torch.rand(count, settings.points, generator=generator)[own]  # (row, point)
        noise = None
        if settings.latent_noise or settings.kl:
            noise = torch.randn(count, self.config.code, generator=generator)[own]
        split = round(settings.near * settings.points)
        points, distances = [], []
        for shape, index, place in zip(shapes.tolist(), windows.tolist(), places, strict=True):
            window = self.samples.window(shape // processes, index)
            others = len(window.distances) - window.near
            place[:split] *= window.near
            place[split:] = window.near + place[split:] * others
            # Rounding may carry a place to the end of its range.
            samples = place.long().clamp_max(len(window.distances) - 1)
            points.append(window.points[samples])
            distances.append(window.distances[samples])
        device = self.context.device
        return Draw(
            (shapes // processes).to(device),
            torch.stack(points).to(device),  # (row, point, 3)
            torch.stack(distances).to(device),  # (row, point)
            None if noise is None else noise.to(device),
            count,
        )

    def draw_codes(self, drawn: Draw) -> tuple[Float[Tensor, "row code"], Float[Tensor, " row"]]:
        """The codes that a step decodes, and what each is charged for where it is."""
        settings = self.settings
        codes = self.codes[drawn.rows]
        weight = settings.code_penalty * min(1.0, (self.steps_taken + 1) / max(settings.penalty_ramp, 1))
        penalties = weight * codes.square().sum(dim=1)
        if self.log_spread is not None and drawn.noise is not None:
            log_spread = self.log_spread[drawn.rows]
            variance = (2 * log_spread).exp()
            penalties = settings.kl * 0.5 * (variance + codes.square() - 1 - 2 * log_spread).sum(dim=1)
            return codes + variance.sqrt() * drawn.noise, penalties
        if drawn.noise is not None:
            codes = codes + settings.latent_noise * self.codes.detach().std() * drawn.noise
        return codes, penalties

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
        codes = self.context.whole(self.average["code"], self.shapes)
        return decoder.to(self.context.device), codes.clone()

    def report(self, samples: int, clamp: float) -> Report:
        """How far the result is, judged on the first windows of each shape.

        Args:
            samples: How many samples they must have together, where there are so many.
            clamp: Distances count up to it in one of the errors, which is all that a run with that clamp has been
                taught.
        """
        decoder, codes = self.result()
        windows = [
            index
            for index in range(self.samples.windows)
            if index == 0 or self.samples.bounds[index] < samples
        ]
        errors = torch.zeros(len(self.samples.uids), 2, device=self.context.device)
        for row, code in enumerate(codes[self.context.own]):
            parts = [self.samples.window(row, index) for index in windows]
            points, distances = (
                torch.cat([part.points for part in parts]),
                torch.cat([part.distances for part in parts]),
            )
            errors[row] = field_errors(
                decoder, code[None], points[None], distances[None], (math.inf, clamp), self.settings.chunk
            )[0]
        full, clamped = self.context.whole(errors, self.shapes).T.cpu().numpy()
        return Report(full, clamped, mean_cosine(codes))

    def state(self) -> State:
        """All that the next step depends on, of all processes; see `sdfkit.training.run`."""

        def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: self.context.whole(tensor, self.shapes) if is_of_shapes(name, tensor) else tensor
                for name, tensor in tensors.items()
            }

        return (
            pack("parameters", whole(self.parameters))
            | pack("average", whole(self.average))
            | pack("moments", whole(moments(self.optimizers, self.parameters)))
            | pack_clock(self.steps_taken, self.generator)
        )

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a state, with as many processes as there are now.

        Raises:
            InputError: The state was saved with another network or number of shapes.
        """
        own = {
            key: array[self.context.own] if is_of_shapes(key.partition("/")[2], array) else array
            for key, array in state.items()
        }
        unpack("parameters", self.parameters, own)
        unpack("average", self.average, own)
        unpack("moments", moments(self.optimizers, self.parameters), own)
        self.ahead.clear()
        self.steps_taken = unpack_clock(state, self.generator)


def is_of_shapes(name: str, array: Tensor | np.ndarray) -> bool:
    """Whether a part of the state has a row a shape."""
    return name.split("/")[0] in ("code", "log_spread") and array.ndim == 2


def build_optimizers(
    decoder: DeepSDF, codes: list[nn.Parameter], settings: DeepSDFSettings
) -> list[torch.optim.Optimizer]:
    """Adam, and Muon where it is asked for."""
    matrices = [] if settings.matrix_lr is None else decoder.matrices
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


@torch.no_grad()
def field_errors(
    decoder: DeepSDF,
    codes: Float[Tensor, "shape code"],
    points: Float[Tensor, "shape sample 3"],
    distances: Float[Tensor, "shape sample"],
    clamps: Sequence[float],
    chunk: int,
) -> Float[Tensor, "shape clamp"]:
    """The mean absolute error of each shape's distances, which count up to each of `clamps`; infinity counts all."""
    errors = []
    for code, own_points, own_distances in zip(codes, points, distances, strict=True):
        parts = [decoder(code[None], part[None].to(code.device))[0] for part in own_points.split(chunk)]
        predicted, true = torch.cat(parts), own_distances.to(code.device)
        errors += [(predicted.clamp(-to, to) - true.clamp(-to, to)).abs().mean() for to in clamps]
    return torch.stack(errors).reshape(len(codes), len(clamps))


def mean_cosine(codes: Float[Tensor, "shape code"]) -> float:
    """The mean cosine between two different codes; 0 for a single one."""
    directions = nn.functional.normalize(codes, dim=1)
    pairs = len(codes) * (len(codes) - 1)
    return (directions.sum(dim=0).square().sum() - directions.square().sum()).item() / max(pairs, 1)
