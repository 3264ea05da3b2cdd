"""Trains Flow-SDF in stages, supervised by silhouettes and shading of images; no 3-D shape is used."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdfkit.models.deepsdf import DeepSDFConfig, slope_errors
from sdfkit.models.flow import FlowConfig, FlowNetworks
from sdfkit.models.rendering.silhouette import RADIUS, bound_loss, silhouette_loss, soft_silhouette
from sdfkit.training.flow.pictures import Pictures, choose_rays, select_conditions
from sdfkit.training.flow.recipes import STAGES, FlowSettings
from sdfkit.training.flow.rendering import eikonal_points, find_nearest, shading_errors
from sdfkit.training.muon import Muon, trained_by_others
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
from sdfkit.training.threads import GradientThreads

# The shapes of a step, and a function that computes the losses of some of them.
Batch: TypeAlias = tuple[Int[Tensor, " row"], Callable[[Int[Tensor, " own"]], Float[Tensor, " own"]]]

# Number of points per shape at which the eikonal loss is computed.
EIKONAL_POINTS = 16
# Number of views per shape whose codes are averaged for the result.
RESULT_VIEWS = 8
# Number of steps over which learning rates grow from 0 in each stage, or a twentieth of the steps if that is less.
WARM_UP = 50
# Radius of the ball that the decoder is first fitted to.
BALL_RADIUS = 0.5


class FlowTraining:
    """Training of a conditioner, a flow and a decoder, stage after stage.

    All processes draw the same random numbers, and each computes its part of the shapes of a step.

    Args:
        config: Conditioner and flow.
        decoder: The decoder.
        settings: Training settings.
        stages: The stages to train.
        lights: Directions towards the lights of the images, in camera space, because the lights move with the camera.
        uids: Names of the shapes for messages.
        pictures: Views of the shapes.
        context: Device, precision and processes.
        generator: Source of all random numbers, on the CPU. The training object keeps it.
    """

    def __init__(
        self,
        config: FlowConfig,
        decoder: DeepSDFConfig,
        settings: FlowSettings,
        stages: Sequence[str],
        lights: Sequence[Sequence[float]],
        uids: Sequence[str],
        pictures: Pictures,
        context: DeviceContext,
        generator: torch.Generator,
    ) -> None:
        self.config = config
        self.settings = settings
        self.stages = [stage for stage in STAGES if stage in stages]
        self.uids = uids
        self.context = context
        self.threads = GradientThreads(context.device)
        self.generator = generator
        self.pictures = pictures.to(context.device)
        with seeded(generator):
            self.networks = FlowNetworks(config, decoder, lights).to(context.device)
        self.tensors = self.networks.state_dict(keep_vars=True)
        self.parameters = dict(self.networks.named_parameters())
        self.steps_taken = 0
        self.current_stage: str | None = None
        self.optimizers: list[torch.optim.Optimizer] = []
        # The codes that the flow is trained on, computed at the beginning of the stage distil.
        self.encoder_codes: Float[Tensor, "shape view code"] = torch.empty(0)

    @property
    def steps(self) -> int:
        """Number of steps of all stages."""
        return sum(self.settings.steps[stage] for stage in self.stages)

    @property
    def reuses_encoder(self) -> bool:
        """Whether the conditioner is the encoder, scaled to standardised codes; the stage distil does not train it."""
        return self.config.velocity == "mlp"

    def locate(self) -> tuple[str, int]:
        """Return the stage of the next step, and the number of steps taken in this stage."""
        step = self.steps_taken
        for stage in self.stages:
            if step < self.settings.steps[stage]:
                return stage, step
            step -= self.settings.steps[stage]
        return self.stages[-1], self.settings.steps[self.stages[-1]]

    @property
    def lr(self) -> float:
        """Learning rate of the first network that the stage trains, in the last step."""
        return float(self.optimizers[-1].param_groups[0]["lr"])

    def step_kinds(self) -> list[StepKind]:
        """Return the stages, and the steps of the first one that fit a ball."""
        kinds, first = [], 0
        for stage in self.stages:
            last = first + self.settings.steps[stage]
            ball = min(first + self.settings.sphere * (stage == "encoder"), last)
            kinds += [(f"{stage}, ball", range(first, ball)), (stage, range(ball, last))]
            first = last
        return [StepKind(name, steps, len(steps)) for name, steps in kinds if steps]

    def facts(self) -> dict[str, str]:
        """Return the stage of the last step."""
        return {"stage": self.current_stage or ""}

    def load_networks(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Load the parameters of an earlier stage."""
        unpack("networks", self.tensors, {f"networks/{name}": value for name, value in parameters.items()})

    def begin_stage(self, stage: str) -> None:
        """Begin a stage with the parameters of the stage before and new optimizers."""
        networks = self.networks
        self.configure_stage(stage)
        if stage == "distil":
            # The conditioner starts as a copy of the encoder, whose layers do nearly what the flow needs. A conditioner
            # that was trained from random parameters remained far worse.
            known = networks.conditioner.state_dict()
            fitting = {
                name: value
                for name, value in networks.encoder.state_dict().items()
                if name in known and known[name].shape == value.shape
            }
            networks.conditioner.load_state_dict(fitting, strict=False)
            flow, out = networks.flow, networks.conditioner.out
            if self.settings.code_scale:
                codes = self.encoder_codes.flatten(0, 1)
                flow.mean.copy_(codes.mean(dim=0))
                flow.spread.copy_((codes - codes.mean(dim=0)).square().mean().sqrt())
            if self.reuses_encoder:
                out.bias.copy_(flow.standardise(out.bias[None])[0])
                out.weight.div_(flow.spread)

    def configure_stage(self, stage: str) -> None:
        """Select the networks that a stage trains, and create its optimizers."""
        settings = self.settings
        rates = {
            "encoder": settings.conditioner_lr, "conditioner": settings.conditioner_lr,
            "flow": settings.flow_lr, "decoder": settings.decoder_lr, "light": settings.decoder_lr,
        }  # fmt: skip
        trained = {
            "encoder": ("encoder", "decoder"),
            "distil": ("flow",) if self.reuses_encoder else ("conditioner", "flow"),
            "joint": ("conditioner", "flow", "decoder"),
            "rgb": ("conditioner", "flow", "decoder", "light"),
        }[stage]
        scale = settings.lr_scale if stage in ("joint", "rgb") else 1.0
        self.trained = {name: list(self.networks.get_submodule(name).parameters()) for name in trained}
        for name, network in self.networks.named_children():
            network.requires_grad_(name in trained)
        groups: list[dict[str, Any]] = []
        self.optimizers = []
        matrices: list[Tensor] = []
        if settings.matrix_lr is not None and "decoder" in trained:
            matrices = self.networks.decoder.matrices
            group = {"params": matrices, "initial_lr": scale * settings.matrix_lr}
            self.optimizers.append(Muon([group]))
        for name, parameters in self.trained.items():
            rest = trained_by_others(parameters, matrices)
            # The light is trained in the last stage only, so its learning rate is not scaled.
            groups.append({"params": rest, "initial_lr": (1.0 if name == "light" else scale) * rates[name]})
        self.optimizers.append(torch.optim.Adam(groups, fused=True))
        if stage == "distil":
            self.encoder_codes = self.encode_all()
        self.current_stage = stage

    def step(self) -> float:
        """Take one step.

        Raises:
            SdfkitError: The loss is not a finite number.
        """
        stage, step = self.locate()
        if self.current_stage != stage:
            self.begin_stage(stage)
        # The first steps of Adam are as long as later ones, whatever the gradient. Without the warm-up they destroy
        # what earlier stages learned.
        steps = self.settings.steps[stage]
        warm = min((step + 1) / min(WARM_UP, steps / 20), 1)
        set_rate(self.optimizers, warm * cosine(step, steps))
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        if stage == "distil":
            rows, compute = self.distil()
        elif stage == "encoder" and step < self.settings.sphere:
            rows, compute = self.fit_ball()
        else:
            rows, compute = self.render(stage, step)
        parameters = [parameter for group in self.trained.values() for parameter in group]
        own = torch.arange(len(rows))[self.context.own]
        losses = self.threads.compute_gradients(compute, own, parameters, len(rows))
        self.context.total_gradients(parameters)
        loss = (self.context.total(losses.sum()) / len(rows)).item()
        check_loss(loss, losses, [self.uids[row] for row in rows[own].tolist()], self.steps_taken)
        self.threads.step(self.optimizers)
        self.steps_taken += 1
        return loss

    def draw_rows(self, count: int) -> Int[Tensor, " row"]:
        """Draw `count` shapes without replacement; if there are fewer, all are repeated in a random order."""
        order = torch.randperm(len(self.uids), generator=self.generator)
        return order[:count] if count <= len(order) else order.repeat(-(-count // len(order)))[:count]

    def draw_conditions(self, rows: Int[Tensor, " row"]) -> Int[Tensor, " row"]:
        """Draw a condition (a view, or a feature) of each shape."""
        return torch.randint(self.pictures.conditions, (len(rows),), generator=self.generator)

    def fit_ball(self) -> Batch:
        """Fit the decoder to the distance field of a ball, for all codes.

        A field without a surface has no silhouette, and hence no gradient that would create one.

        Reference: SDF-SRN, section 3.3, pretrains on a sphere in the same way.
        """
        rows = self.draw_rows(self.settings.shapes)
        chosen = self.draw_conditions(rows)
        points = 2 * RADIUS * torch.rand(len(rows), EIKONAL_POINTS, 3, generator=self.generator) - RADIUS

        def compute(at: Int[Tensor, " own"]) -> Float[Tensor, " own"]:
            places = points[at].to(self.context.device)
            codes = self.encode(select_conditions(self.pictures, rows[at], chosen[at]))
            error = self.networks.decoder(codes, places) - (places.norm(dim=2) - BALL_RADIUS)
            losses: Tensor = error.square().mean(dim=1)
            return losses

        return rows, compute

    def distil(self) -> Batch:
        """Fit the flow to the encoder's codes: its velocity at random times, and the codes after all Euler steps.

        Reference: Flow-SDF, phase 1.
        """
        settings, flow = self.settings, self.networks.flow
        rows = self.draw_rows(settings.batch)
        chosen = self.draw_conditions(rows)
        drawn = (
            torch.randn(len(rows), settings.draws, self.config.code, generator=self.generator),
            torch.rand(len(rows), settings.draws, 1, generator=self.generator),
            torch.rand(len(rows), generator=self.generator) >= settings.dropout,
        )

        def compute(at: Int[Tensor, " own"]) -> Float[Tensor, " own"]:
            noise, times, kept = (part[at].to(self.context.device) for part in drawn)
            codes = flow.standardise(self.encoder_codes[rows[at], chosen[at]])[:, None]  # (own, 1, code)
            with self.context.autocast():
                condition = codes[:, None]  # (own, view, part, code)
                if not self.reuses_encoder:
                    condition = self.networks.conditioner(
                        select_conditions(self.pictures, rows[at], chosen[at])
                    )
                condition = condition * kept[:, None, None, None]
                between = (1 - times) * noise + times * codes
                conditions = condition.repeat_interleave(settings.draws, dim=0)
                velocity = flow.velocity(between.flatten(0, 1), times.flatten(), conditions)
                errors: Tensor = (velocity.view_as(noise) - (codes - noise)).square().mean(dim=(1, 2))
                if settings.sampling:
                    reached = flow.run(noise[:, 0], condition, steps=settings.euler, guidance=1.0)[-1]
                    end_error = (flow.standardise(reached) - codes[:, 0]).square().mean(dim=1)
                    errors = errors + settings.sampling * kept * end_error
            return errors

        return rows, compute

    def render(self, stage: str, step: int) -> Batch:
        """Compare the silhouettes of decoded shapes with the true ones, and in the last stage also their shading."""
        settings, device = self.settings, self.context.device
        rows = self.draw_rows(min(settings.shapes, len(self.uids)))
        chosen = self.draw_conditions(rows)
        available = self.pictures.rgb.shape[1]
        views = torch.rand(len(rows), available, generator=self.generator).argsort(dim=1)[:, : settings.views]
        chances = torch.rand(*views.shape, settings.rays, generator=self.generator)
        noise = torch.randn(len(rows), self.config.code, generator=self.generator)
        elsewhere = torch.randn(len(rows), EIKONAL_POINTS, 3, generator=self.generator)
        temperature = settings.temperature_at(step) if stage == "encoder" else settings.temperature

        def compute(at: Int[Tensor, " own"]) -> Float[Tensor, " own"]:
            mine, theirs = rows[at].to(device), views[at].to(device)
            rays = choose_rays(self.pictures, mine, theirs, chances[at].to(device), edge=settings.edge)
            codes = self.make_codes(
                stage, select_conditions(self.pictures, mine, chosen[at]), noise[at].to(device)
            )
            decode, prepared = self.networks.decoder.decode, self.networks.decoder.prepare(codes)
            nearest = find_nearest(decode, prepared, rays, exhaustive=settings.exhaustive)
            if settings.silhouette == "bce":
                logits = soft_silhouette(decode, prepared, nearest, temperature)
                errors = silhouette_loss(logits, rays.mask)
            else:
                arguments = (decode, prepared, rays.origins, rays.directions)
                errors = bound_loss(*arguments, nearest, rays.mask, rays.sines)
            if settings.eikonal:
                places = eikonal_points(nearest.points, elsewhere[at].to(device))
                errors = errors + settings.eikonal * slope_errors(decode, prepared, places)
            if stage == "rgb":
                cameras = self.pictures.cameras[mine[:, None], theirs]
                grey_errors = shading_errors(self.networks, prepared, rays, nearest, cameras)
                errors = errors + settings.shading * grey_errors
            return errors + settings.code_penalty * codes.square().sum(dim=1)

        return rows, compute

    def make_codes(
        self, stage: str, conditions: Tensor, noise: Float[Tensor, "row code"]
    ) -> Float[Tensor, "row code"]:
        """Return the codes of conditions from `select_conditions`: the encoder's, or in later stages the flow's."""
        if stage == "encoder":
            return self.encode(conditions)
        with self.context.autocast():
            condition = self.networks.conditioner(conditions)
            codes = self.networks.flow.run(noise, condition, steps=self.settings.euler, guidance=1.0)[-1]
        return codes.float()

    def encode(self, conditions: Tensor) -> Float[Tensor, "row code"]:
        """Return the encoder's codes of conditions from `select_conditions`."""
        with self.context.autocast():
            codes: Tensor = self.networks.encoder(conditions)[:, 0, 0]
        return codes.float()

    @torch.no_grad()
    def encode_all(self) -> Float[Tensor, "shape view code"]:
        """Return the encoder's codes of all conditions of each shape."""
        views = torch.arange(self.pictures.conditions, device=self.context.device)
        rows = [torch.full_like(views, row) for row in range(len(self.uids))]
        return torch.stack([self.encode(select_conditions(self.pictures, row, views)) for row in rows])

    def result_conditions(self) -> Iterator[tuple[Int[Tensor, " view"], Int[Tensor, " view"]]]:
        """Yield the conditions of each shape that `result` averages over, evenly spaced: rows and views."""
        count = min(self.pictures.conditions, RESULT_VIEWS)
        views = (
            torch.linspace(0, self.pictures.conditions - 1, count, device=self.context.device).round().long()
        )
        for row in range(len(self.uids)):
            yield torch.full_like(views, row), views

    @torch.no_grad()
    def result(self) -> Float[Tensor, "shape code"]:
        """Return the code of each shape: the mean over several conditions of the encoder's or the flow's codes."""
        generator = torch.Generator().manual_seed(self.generator.initial_seed())
        codes = []
        for rows, views in self.result_conditions():
            noise = torch.randn(len(rows), self.config.code, generator=generator).to(self.context.device)
            conditions = select_conditions(self.pictures, rows, views)
            codes.append(self.make_codes(self.stages[-1], conditions, noise).mean(dim=0))
        return torch.stack(codes)

    def gradient_norms(self) -> dict[str, float]:
        """Return the norm of the last step's gradient for each network that is trained."""
        norms = {}
        for name, parameters in self.trained.items():
            gradients = [parameter.grad.norm() for parameter in parameters if parameter.grad is not None]
            norms[name] = float(torch.stack(gradients).norm())
        return norms

    def state(self) -> State:
        """Return the state from which training can be resumed; see `sdfkit.training.run`."""
        parameters = {name: tensor for name, tensor in self.tensors.items() if tensor.requires_grad}
        return (
            pack("networks", self.tensors)
            | pack("moments", moments(self.optimizers, parameters))
            | {"stage": np.array(STAGES.index(self.current_stage or self.stages[0]), np.int64)}
            | pack_clock(self.steps_taken, self.generator)
        )

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore a state.

        Raises:
            InputError: The state is that of other networks.
        """
        unpack("networks", self.tensors, state)
        self.configure_stage(STAGES[int(state["stage"])])
        parameters = {name: tensor for name, tensor in self.tensors.items() if tensor.requires_grad}
        unpack("moments", moments(self.optimizers, parameters), state)
        self.steps_taken = unpack_clock(state, self.generator)
