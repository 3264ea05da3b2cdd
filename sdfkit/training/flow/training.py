"""Training Flow-SDF by silhouettes: encoder, distilled flow, the whole chain, and shades. No shape is ever seen."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sdfkit.errors import SdfkitError
from sdfkit.models.deepsdf import DeepSDFConfig, slope_errors
from sdfkit.models.flow import FlowConfig, FlowNetworks
from sdfkit.models.rendering.silhouette import (
    RADIUS,
    bound_loss,
    silhouette_loss,
    soft_silhouette,
)
from sdfkit.training.flow.pictures import Pictures, choose_rays, look
from sdfkit.training.flow.recipes import STAGES, FlowSettings
from sdfkit.training.flow.rendering import find_nearest, shading_errors
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
)
from sdfkit.training.workers import Workers

# Shapes of a step, and what gives the losses of some of them.
Work: TypeAlias = tuple[Int[Tensor, " row"], Callable[[Int[Tensor, " own"]], Float[Tensor, " own"]]]

# Points a shape at which the field's slope is held to 1.
SLOPES = 16
# Views of a shape whose codes tell the shape's own.
SEVERAL = 8
# Steps of a stage until its learning rates are whole, or a twentieth of it.
WARM_UP = 50
# Radius of the ball that a decoder begins as.
BALL = 0.5


class FlowTraining:
    """A conditioner, a flow and a decoder in training, stage after stage.

    All processes draw the same numbers, and each computes its part of a step's shapes.

    Args:
        config: Conditioner and flow.
        decoder: The decoder.
        settings: How they are trained.
        stages: Which stages, in their order.
        lights: Directions towards the lights of the pictures, which travel with the camera, in its space.
        uids: The shapes.
        pictures: What there is to see of them.
        context: Where to compute.
        generator: Source of all draws, on the CPU; the training object keeps it.
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
        self.workers = Workers(context.device)
        self.generator = generator
        self.pictures = pictures.to(context.device)
        with seeded(generator):
            self.networks = FlowNetworks(config, decoder, lights).to(context.device)
        self.tensors = self.networks.state_dict(keep_vars=True)
        self.steps_taken = 0
        self.entered: str | None = None
        self.optimizers: list[torch.optim.Optimizer] = []
        # What the flow is to learn, once it begins to.
        self.known: Float[Tensor, "shape view code"] = torch.empty(0)

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(self.settings.steps[stage] for stage in self.stages)

    @property
    def copied(self) -> bool:
        """Whether the conditioner begins as the encoder, told in standardised codes: then distillation leaves it so."""
        return self.config.velocity == "mlp"

    def locate(self) -> tuple[str, int]:
        """The stage of the next step, and how many of its steps were taken."""
        step = self.steps_taken
        for stage in self.stages:
            if step < self.settings.steps[stage]:
                return stage, step
            step -= self.settings.steps[stage]
        return self.stages[-1], self.settings.steps[self.stages[-1]]

    def load_networks(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Begin with what an earlier stage has learned."""
        unpack("networks", self.tensors, {f"networks/{name}": value for name, value in parameters.items()})

    def enter(self, stage: str) -> None:
        """Begin a stage: from what the one before has learned, with an optimizer of its own."""
        networks = self.networks
        self.prepare(stage)
        if stage == "distil":
            # What sees codes already is nearly what the flow must see: started cold it stays worse by far.
            known = networks.conditioner.state_dict()
            fitting = {
                name: value
                for name, value in networks.encoder.state_dict().items()
                if name in known and known[name].shape == value.shape
            }
            networks.conditioner.load_state_dict(fitting, strict=False)
            flow, out = networks.flow, networks.conditioner.out
            if self.settings.code_scale:
                codes = self.known.flatten(0, 1)
                flow.mean.copy_(codes.mean(dim=0))
                flow.spread.copy_((codes - codes.mean(dim=0)).square().mean().sqrt())
            if self.copied:
                out.bias.copy_(flow.standardise(out.bias[None])[0])
                out.weight.div_(flow.spread)

    def prepare(self, stage: str) -> None:
        """Choose what a stage trains, and make its optimizer."""
        settings = self.settings
        rates = {
            "encoder": settings.conditioner_lr, "conditioner": settings.conditioner_lr,
            "flow": settings.flow_lr, "decoder": settings.decoder_lr, "light": settings.decoder_lr,
        }  # fmt: skip
        trained = {
            "encoder": ("encoder", "decoder"),
            "distil": ("flow",) if self.copied else ("conditioner", "flow"),
            "joint": ("conditioner", "flow", "decoder"),
            "rgb": ("conditioner", "flow", "decoder", "light"),
        }[stage]
        share = settings.lr_scale if stage in ("joint", "rgb") else 1.0
        self.trained = {name: list(self.networks.get_submodule(name).parameters()) for name in trained}
        for name, network in self.networks.named_children():
            network.requires_grad_(name in trained)
        groups: list[dict[str, Any]] = []
        self.optimizers = []
        matrices: list[Tensor] = []
        if settings.matrix_lr is not None and "decoder" in trained:
            matrices = self.networks.decoder.matrices
            group = {"params": matrices, "initial_lr": share * settings.matrix_lr}
            self.optimizers.append(Muon([group]))
        taken = {id(matrix) for matrix in matrices}
        for name, parameters in self.trained.items():
            rest = [parameter for parameter in parameters if id(parameter) not in taken]
            known = 1.0 if name == "light" else share  # light is learned from nothing
            groups.append({"params": rest, "initial_lr": known * rates[name]})
        self.optimizers.append(torch.optim.Adam(groups, fused=True))
        if stage == "distil":
            self.known = self.encode_all()
        self.entered = stage

    def step(self) -> float:
        """Take one step.

        Raises:
            SdfkitError: The loss is not a finite number.
        """
        stage, step = self.locate()
        if self.entered != stage:
            self.enter(stage)
        # Adam's first steps are as long as any, whatever the gradient: at full rates they undo what was learned before.
        steps = self.settings.steps[stage]
        warm = min((step + 1) / min(WARM_UP, steps / 20), 1)
        set_rate(self.optimizers, warm * cosine(step, steps))
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        if stage == "distil":
            rows, compute = self.distil()
        elif stage == "encoder" and step < self.settings.sphere:
            rows, compute = self.shape_ball()
        else:
            rows, compute = self.render(stage, step)
        parameters = [parameter for group in self.trained.values() for parameter in group]
        own = torch.arange(len(rows))[self.context.own]
        losses = self.workers.descend(compute, own, parameters, len(rows))
        self.context.total_gradients(parameters)
        loss = (self.context.total(losses.sum()) / len(rows)).item()
        if not np.isfinite(loss):
            wrong = rows[own][~torch.isfinite(losses.cpu())].tolist()
            name = self.uids[wrong[0]] if wrong else "another process"
            raise SdfkitError(
                f"{name}: the loss at step {self.steps_taken} is {loss}: lower the learning rate"
            )
        self.workers.update(self.optimizers)
        self.steps_taken += 1
        return loss

    def draw_rows(self, count: int) -> Int[Tensor, " row"]:
        order = torch.randperm(len(self.uids), generator=self.generator)
        return order[:count] if count <= len(order) else order.repeat(-(-count // len(order)))[:count]

    def draw_seen(self, rows: Int[Tensor, " row"]) -> Int[Tensor, " row"]:
        """A view of each shape for the conditioner."""
        return torch.randint(self.pictures.seen, (len(rows),), generator=self.generator)

    def shape_ball(self) -> Work:
        """Teach the decoder a ball, whatever the code: a field without a surface has no gradient to find one.

        Reference: SDF-SRN, section 3.3, pretrains to a sphere likewise.
        """
        rows = self.draw_rows(self.settings.shapes)
        seen = self.draw_seen(rows)
        points = 2 * RADIUS * torch.rand(len(rows), SLOPES, 3, generator=self.generator) - RADIUS

        def compute(at: Int[Tensor, " own"]) -> Float[Tensor, " own"]:
            places = points[at].to(self.context.device)
            codes = self.encode(look(self.pictures, rows[at], seen[at]))
            error = self.networks.decoder(codes, places) - (places.norm(dim=2) - BALL)
            missed: Tensor = error.square().mean(dim=1)
            return missed

        return rows, compute

    def distil(self) -> Work:
        """Teach the flow the encoder's codes: its velocity anywhere, and where its Euler steps end.

        Reference: Flow-SDF, phase 1.
        """
        settings, flow = self.settings, self.networks.flow
        rows = self.draw_rows(settings.batch)
        seen = self.draw_seen(rows)
        drawn = (
            torch.randn(len(rows), settings.draws, self.config.code, generator=self.generator),
            torch.rand(len(rows), settings.draws, 1, generator=self.generator),
            torch.rand(len(rows), generator=self.generator) >= settings.dropout,
        )

        def compute(at: Int[Tensor, " own"]) -> Float[Tensor, " own"]:
            noise, times, kept = (part[at].to(self.context.device) for part in drawn)
            codes = flow.standardise(self.known[rows[at], seen[at]])[:, None]  # (own, 1, code)
            with self.context.autocast():
                condition = codes[:, None]  # (own, view, part, code)
                if not self.copied:
                    condition = self.networks.conditioner(look(self.pictures, rows[at], seen[at]))
                condition = condition * kept[:, None, None, None]
                between = (1 - times) * noise + times * codes
                conditions = condition.repeat_interleave(settings.draws, dim=0)
                velocity = flow.velocity(between.flatten(0, 1), times.flatten(), conditions)
                errors: Tensor = (velocity.view_as(noise) - (codes - noise)).square().mean(dim=(1, 2))
                if settings.sampling:
                    reached = flow.run(noise[:, 0], condition, steps=settings.euler, guidance=1.0)[-1]
                    missed = (flow.standardise(reached) - codes[:, 0]).square().mean(dim=1)
                    errors = errors + settings.sampling * kept * missed
            return errors

        return rows, compute

    def render(self, stage: str, step: int) -> Work:
        """Compare silhouettes of decoded shapes with the true ones; in the last stage, shades too."""
        settings, device = self.settings, self.context.device
        rows = self.draw_rows(min(settings.shapes, len(self.uids)))
        seen = self.draw_seen(rows)
        available = self.pictures.rgb.shape[1]
        views = torch.rand(len(rows), available, generator=self.generator).argsort(dim=1)[:, : settings.views]
        chances = torch.rand(*views.shape, settings.rays, generator=self.generator)
        noise = torch.randn(len(rows), self.config.code, generator=self.generator)
        elsewhere = torch.randn(len(rows), SLOPES, 3, generator=self.generator)
        temperature = settings.temperature_at(step) if stage == "encoder" else settings.temperature

        def compute(at: Int[Tensor, " own"]) -> Float[Tensor, " own"]:
            mine, theirs = rows[at].to(device), views[at].to(device)
            rays = choose_rays(self.pictures, mine, theirs, chances[at].to(device), edge=settings.edge)
            codes = self.make_codes(stage, look(self.pictures, mine, seen[at]), noise[at].to(device))
            decoder = self.networks.decoder
            nearest = find_nearest(decoder, codes, rays, exhaustive=settings.exhaustive)
            if settings.silhouette == "bce":
                logits = soft_silhouette(decoder, codes, nearest, temperature)
                errors = silhouette_loss(logits, rays.mask)
            else:
                asked = (decoder, codes, rays.origins, rays.directions)
                errors = bound_loss(*asked, nearest, rays.mask, rays.sines)
            if settings.eikonal:
                # Half beside the rays' nearest points, where the surface is taught, and half anywhere in the ball.
                middle = SLOPES // 2
                near = nearest.points[:, :middle] + 0.05 * elsewhere[at, :middle].to(device)
                far = F.normalize(elsewhere[at, middle:].to(device), dim=2)
                far = far * RADIUS * torch.linspace(0.1, 1, SLOPES - middle, device=device)[None, :, None]
                errors = errors + settings.eikonal * slope_errors(
                    decoder, codes, torch.cat([near, far], dim=1)
                )
            if stage == "rgb":
                cameras = self.pictures.cameras[mine[:, None], theirs]
                shades = shading_errors(self.networks, codes, rays, nearest, cameras)
                errors = errors + settings.shading * shades
            return errors + settings.code_penalty * codes.square().sum(dim=1)

        return rows, compute

    def make_codes(
        self, stage: str, seen: Tensor, noise: Float[Tensor, "row code"]
    ) -> Float[Tensor, "row code"]:
        """Codes from what `look` gave: the encoder's, or in the later stages the flow's."""
        if stage == "encoder":
            return self.encode(seen)
        with self.context.autocast():
            condition = self.networks.conditioner(seen)
            codes = self.networks.flow.run(noise, condition, steps=self.settings.euler, guidance=1.0)[-1]
        return codes.float()

    def encode(self, seen: Tensor) -> Float[Tensor, "row code"]:
        """The encoder's codes of what `look` gave."""
        with self.context.autocast():
            codes: Tensor = self.networks.encoder(seen)[:, 0, 0]
        return codes.float()

    @torch.no_grad()
    def encode_all(self) -> Float[Tensor, "shape view code"]:
        """The encoder's codes of all views."""
        views = torch.arange(self.pictures.seen, device=self.context.device)
        rows = [torch.full_like(views, row) for row in range(len(self.uids))]
        return torch.stack([self.encode(look(self.pictures, row, views)) for row in rows])

    def places(self) -> Iterator[tuple[Int[Tensor, " view"], Int[Tensor, " view"]]]:
        """Several views of what the conditioner can look at, evenly chosen, shape by shape."""
        count = min(self.pictures.seen, SEVERAL)
        views = torch.linspace(0, self.pictures.seen - 1, count, device=self.context.device).round().long()
        for row in range(len(self.uids)):
            yield torch.full_like(views, row), views

    @torch.no_grad()
    def result(self) -> Float[Tensor, "shape code"]:
        """The code of each shape: the mean over several views, of the encoder's or of what the flow draws for each."""
        generator = torch.Generator().manual_seed(self.generator.initial_seed())
        codes = []
        for rows, views in self.places():
            noise = torch.randn(len(rows), self.config.code, generator=generator).to(self.context.device)
            codes.append(
                self.make_codes(self.stages[-1], look(self.pictures, rows, views), noise).mean(dim=0)
            )
        return torch.stack(codes)

    def gradient_norms(self) -> dict[str, float]:
        """The length of the last step's gradient of each network that is trained."""
        return {
            name: float(
                torch.stack(
                    [parameter.grad.norm() for parameter in parameters if parameter.grad is not None]
                ).norm()
            )
            for name, parameters in self.trained.items()
        }

    def state(self) -> State:
        """All that the next step depends on; see `sdfkit.training.run`."""
        parameters = {name: tensor for name, tensor in self.tensors.items() if tensor.requires_grad}
        return (
            pack("networks", self.tensors)
            | pack("moments", moments(self.optimizers, parameters))
            | {"stage": np.array(STAGES.index(self.entered or self.stages[0]), np.int64)}
            | pack_clock(self.steps_taken, self.generator)
        )

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a state.

        Raises:
            InputError: The state was saved with other networks.
        """
        unpack("networks", self.tensors, state)
        self.prepare(STAGES[int(state["stage"])])
        parameters = {name: tensor for name, tensor in self.tensors.items() if tensor.requires_grad}
        unpack("moments", moments(self.optimizers, parameters), state)
        self.steps_taken = unpack_clock(state, self.generator)
