"""Trains a DeepSDF decoder together with one latent code per shape."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig, slope_errors
from sdfkit.training.deepsdf.recipes import DeepSDFSettings
from sdfkit.training.muon import Muon, trained_by_others
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

# Number of steps whose samples a background thread draws in advance, because samples may have to be read from a file.
AHEAD = 2
# The interpolation loss is computed at one of so many points of a step.
SPARSE = 4


class Draw(NamedTuple):
    """The random choices of one step, for the shapes of this process.

    Attributes:
        rows: Shapes, as indices among the shapes of this process.
        points: Points of each of these shapes.
        distances: True signed distances of the points.
        noise: Standard normal noise for the codes, or None if it is not needed.
        partners: Another shape for each of these, as indices among all shapes, or None if they are not needed.
        shares: Where the interpolated code lies from the shape's code, at 0, to the other one, at 1; or None.
        total: Number of shapes in the step over all processes.
    """

    rows: Int[Tensor, " row"]
    points: Float[Tensor, "row point 3"]
    distances: Float[Tensor, "row point"]
    noise: Float[Tensor, "row code"] | None
    partners: Int[Tensor, " row"] | None
    shares: Float[Tensor, " row"] | None
    total: int


class DeepSDFTraining:
    """Training of a decoder and of one latent code per shape.

    Process k of n holds the samples and codes of shapes k, k + n, … (`context.own`). All processes draw the same random
    numbers, and only gradients of the decoder are exchanged. The result of a step does not depend on the number of
    processes. Of a step with few of the shapes, the share of each process varies: to even it out would change the draw.

    The draws of a step depend on the seed and the step's number alone, so that steps can be drawn in advance.

    Args:
        config: The decoder.
        settings: Training settings.
        samples: Samples of the shapes of this process.
        uids: Names of the shapes of all processes.
        context: Device, precision and processes.
        generator: Source of all random numbers, on the CPU. The training object keeps it.
    """

    def __init__(
        self,
        config: DeepSDFConfig,
        settings: DeepSDFSettings,
        samples: SampleReader,
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
        self.log_std: nn.Parameter | None = None
        if settings.kl:
            self.log_std = nn.Parameter(torch.full_like(self.codes, math.log(settings.code_std)))
            self.parameters["log_spread"] = self.log_std
        own = [parameter for name, parameter in self.parameters.items() if not name.startswith("decoder.")]
        self.optimizers = build_optimizers(decoder, own, settings)
        self.ema = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.decoder = decoder
        self.decode: Callable[[Tensor, Tensor], Tensor] = decoder.decode
        self.steps_taken = 0

    def compile(self) -> None:
        """Compile the decoder with `torch.compile` at the first step, which fuses element-wise operations on a GPU.

        On two CPU cores, a step in chunks that stay in the cache was a third faster than a compiled step.
        """
        self.decode = torch.compile(self.decoder.decode)

    def step(self) -> float:
        """Take one step.

        Returns:
            The mean clamped error of this step's points plus its penalties on codes, gradients and interpolated shapes.

        Raises:
            SdfkitError: The loss is not a finite number.

        Reference: equation 5 of "Small-data image-to-3-D" and equation 9 of DeepSDF, as a mean over shapes and points.
        """
        settings, context = self.settings, self.context
        drawn = self.drawn()
        rows, points, distances = drawn.rows, drawn.points, drawn.distances
        clamp = settings.clamp_at(self.steps_taken)
        set_rate(self.optimizers, cosine(self.steps_taken, settings.steps))
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        own_codes, penalties = self.draw_codes(drawn)
        # The decoder runs on one chunk of points after the other. The gradients with respect to the prepared codes are
        # summed over chunks and propagated once.
        with context.autocast():
            own_prepared = self.decoder.prepare(own_codes)
        prepared = own_prepared.detach().requires_grad_()
        errors = torch.zeros(len(rows), device=context.device)  # (shape,)
        size = settings.points
        if context.device.type == "cpu":
            size = max(1, settings.chunk // max(len(rows), 1))
        for start in range(0, settings.points, size):
            part = slice(start, start + size)
            with context.autocast():
                predicted = self.decode(prepared, points[:, part])  # (shape, point)
            error = predicted.float().clamp(-clamp, clamp) - distances[:, part].clamp(-clamp, clamp)
            error = error.abs().sum(dim=1) / settings.points  # (shape,)
            context.accelerator.backward(error.sum() / drawn.total)
            errors += error.detach()
        if settings.eikonal:
            far = points[:, round(settings.near * settings.points) :]
            with context.autocast():
                deviation = settings.eikonal * slope_errors(self.decoder.decode, prepared, far)
            context.accelerator.backward(deviation.sum() / drawn.total)
            errors += deviation.detach()
        if settings.interpolation:
            deviation = self.interpolation_errors(drawn)
            context.accelerator.backward(deviation.sum() / drawn.total)
            errors += deviation.detach()
        penalty = penalties.sum() / drawn.total
        torch.autograd.backward([own_prepared, penalty], [prepared.grad, torch.ones_like(penalty)])
        context.total_gradients(list(self.decoder.parameters()))
        errors += penalties.detach()
        loss = (context.total(errors.sum()) / drawn.total).item()
        own_uids = self.uids[context.own]
        check_loss(loss, errors, [own_uids[row] for row in rows.tolist()], self.steps_taken)
        for optimizer in self.optimizers:
            optimizer.step()
        update_ema(self.ema, self.parameters, settings.ema_decay, self.steps_taken)
        self.steps_taken += 1
        return loss

    def interpolation_errors(self, drawn: Draw) -> Float[Tensor, " row"]:
        """Compute the interpolation loss of a step: the weighted eikonal loss at codes between those of two shapes.

        Of a shape between two others no distance is known, but each distance function has gradients of length 1. The
        code lies anywhere on the line between the codes of the step's shape and of another; the points are some of the
        step's. Only the decoder learns from this loss: codes could lower it by moving together.

        References: Gropp et al., Implicit Geometric Regularization (2020), equation 2, for the loss; Gulrajani et al.,
            Improved Training of Wasserstein GANs (2017), equation 3, for the same penalty on random lines between two
            sets of inputs.
        """
        assert drawn.partners is not None and drawn.shares is not None
        codes = self.codes.detach()
        others = self.context.whole(codes, self.shapes)[drawn.partners]
        with self.context.autocast():
            between = self.decoder.prepare(torch.lerp(codes[drawn.rows], others, drawn.shares[:, None]))
            errors = slope_errors(self.decoder.decode, between, drawn.points[:, ::SPARSE])
        return self.settings.interpolation * errors

    def drawn(self) -> Draw:
        """Return the random choices of this step, and compute those of the next steps in the background."""
        wanted = range(self.steps_taken, self.steps_taken + AHEAD + 1)
        for step in wanted:
            if step not in self.ahead and step < max(self.settings.steps, wanted.start + 1):
                self.ahead[step] = self.thread.submit(self.draw, step)
        return self.ahead.pop(self.steps_taken).result()

    def draw(self, step: int) -> Draw:
        """Draw the shapes of a step, samples of each (those near the surface first), and noise for the codes."""
        settings, processes = self.settings, self.context.processes
        generator = step_generator(self.generator, step)
        order = torch.randperm(self.shapes, generator=generator)[: settings.shapes]
        count = len(order)
        own = order % processes == self.context.process
        shapes = order[own]
        # A new window at every step. If a window were used for many steps, the decoder would fit the samples of this
        # window alone during these steps.
        windows = torch.randint(self.samples.windows, (count,), generator=generator)[own]
        places = torch.rand(count, settings.points, generator=generator)[own]  # (row, point)
        noise = None
        if settings.latent_noise or settings.kl:
            noise = torch.randn(count, self.config.code, generator=generator)[own]
        partners = shares = None
        if settings.interpolation:
            others = torch.randint(1, max(self.shapes, 2), (count,), generator=generator)
            partners = ((order + others) % self.shapes)[own]
            shares = torch.rand(count, generator=generator)[own]
        split = round(settings.near * settings.points)
        points, distances = self.samples.draw(shapes // processes, windows, places, split)
        device = self.context.device
        return Draw(
            (shapes // processes).to(device),
            points.to(device),
            distances.to(device),
            None if noise is None else noise.to(device),
            None if partners is None else partners.to(device),
            None if shares is None else shares.to(device),
            count,
        )

    def draw_codes(self, drawn: Draw) -> tuple[Float[Tensor, "row code"], Float[Tensor, " row"]]:
        """Return the codes that a step decodes, with noise if the settings ask for it, and each code's penalty."""
        settings = self.settings
        codes = self.codes[drawn.rows]
        weight = settings.code_penalty * min(1.0, (self.steps_taken + 1) / max(settings.penalty_ramp, 1))
        penalties = weight * codes.square().sum(dim=1)
        if self.log_std is not None and drawn.noise is not None:
            log_std = self.log_std[drawn.rows]
            variance = (2 * log_std).exp()
            penalties = settings.kl * 0.5 * (variance + codes.square() - 1 - 2 * log_std).sum(dim=1)
            return codes + variance.sqrt() * drawn.noise, penalties
        if drawn.noise is not None:
            std = self.context.whole(self.codes.detach(), self.shapes).std()
            codes = codes + settings.latent_noise * std * drawn.noise
        return codes, penalties

    @property
    def lr(self) -> float:
        """Learning rate of the decoder in the last step."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    def step_kinds(self) -> list[StepKind]:
        """Return the only kind of steps."""
        return [StepKind("", range(self.settings.steps), self.settings.steps)]

    def facts(self) -> dict[str, float]:
        """Return the loss of predicting the best constant at the points of the last step."""
        distances = self.draw(self.steps_taken - 1).distances
        if not len(distances):  # this process has none of the step's shapes
            return {}
        return {"best constant": constant_loss(distances, self.settings.clamp_at(self.steps_taken - 1))}

    def result(self) -> tuple[DeepSDF, Float[Tensor, "shape code"]]:
        """Return the EMA of the decoder and of the codes of all shapes."""
        decoder = DeepSDF(self.config)
        decoder.load_state_dict(
            {
                name.removeprefix("decoder."): value
                for name, value in self.ema.items()
                if name.startswith("decoder.")
            }
        )
        codes = self.context.whole(self.ema["code"], self.shapes)
        return decoder.to(self.context.device), codes.clone()

    def state(self) -> State:
        """Return the state of all processes from which training can be resumed; see `sdfkit.training.run`."""

        def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: self.context.whole(tensor, self.shapes) if is_of_shapes(name, tensor) else tensor
                for name, tensor in tensors.items()
            }

        # The state format calls the EMA `average`, and log_std `log_spread`.
        return (
            pack("parameters", whole(self.parameters))
            | pack("average", whole(self.ema))
            | pack("moments", whole(moments(self.optimizers, self.parameters)))
            | pack_clock(self.steps_taken, self.generator)
        )

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore a state, which may have been saved with another number of processes.

        Raises:
            InputError: The state is that of another network or number of shapes.
        """
        own = {
            key: array[self.context.own] if is_of_shapes(key.partition("/")[2], array) else array
            for key, array in state.items()
        }
        unpack("parameters", self.parameters, own)
        unpack("average", self.ema, own)
        unpack("moments", moments(self.optimizers, self.parameters), own)
        self.ahead.clear()
        self.steps_taken = unpack_clock(state, self.generator)


def is_of_shapes(name: str, array: Tensor | np.ndarray) -> bool:
    """Return whether an array of the state has one row per shape."""
    return name.split("/")[0] in ("code", "log_spread") and array.ndim == 2


def build_optimizers(
    decoder: DeepSDF, codes: list[nn.Parameter], settings: DeepSDFSettings
) -> list[torch.optim.Optimizer]:
    """Create Adam, and Muon for the hidden matrices if `matrix_lr` is given."""
    matrices = [] if settings.matrix_lr is None else decoder.matrices
    groups = [
        {"params": trained_by_others(decoder.parameters(), matrices), "initial_lr": settings.decoder_lr},
        # Codes learn faster than the decoder: they all start near zero and must move apart.
        {"params": codes, "initial_lr": settings.code_lr},
    ]
    adam = torch.optim.Adam(groups, fused=True)
    if settings.matrix_lr is None:
        return [adam]
    return [adam, Muon([{"params": matrices, "initial_lr": settings.matrix_lr}])]
