"""Fitting one small network to each shape, many side by side."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sdfkit.models.encodings import encode_points
from sdfkit.models.mlp import MLPConfig, MLPs, unflatten_weights
from sdfkit.training.run import cosine, set_rate

# Steps over whose mean error a shape is judged to be done.
WATCHED = 100


@dataclass(frozen=True)
class MLPFitSettings:
    """How networks are fitted.

    Attributes:
        steps: Steps of Adam; the learning rate falls to 0 over them, as a cosine.
        points: Samples of each shape a step.
        near: The share of them that lie near the surface.
        lr: Learning rate at the beginning.
        clamp: Distances count up to it.
        stop: A shape whose mean error falls below it is done early; None fits all to the end.
    """

    steps: int
    points: int
    near: float
    lr: float
    clamp: float
    stop: float | None


@dataclass(frozen=True)
class Fits:
    """Fitted networks.

    Attributes:
        weights: One vector a shape; not finite where a fit ran away.
        steps: Steps that each shape took.
    """

    weights: Float[Tensor, "shape parameter"]
    steps: Int[Tensor, " shape"]


def fit_mlps(
    config: MLPConfig,
    start: Float[Tensor, "shape parameter"],
    points: Float[Tensor, "shape sample 3"],
    distances: Float[Tensor, "shape sample"],
    near: Bool[Tensor, "shape sample"],
    settings: MLPFitSettings,
) -> Fits:
    """Fit a network to the distances of each shape.

    No shape depends on those beside it: each has its own error, and Adam works on every number alone, so that a shape
    fitted among others is, but for rounding, the shape fitted by itself. Nothing is drawn: a step sees the next samples
    of each shape, near ones and others, which must lie in random order, as `sample-sdf` leaves them.

    Args:
        config: The network.
        start: The weights that each shape begins from; where they lie is where it is computed.
        points: Samples of each shape.
        distances: Their distances, negative inside.
        near: Which of them were drawn near the surface. Every shape needs both kinds, as far as `settings.near` asks
            for them.
        settings: How to fit.

    Reference: section 3 of the paper. Its loss is the mean of |clamp(f) - clamp(d)|, DeepSDF's; see `BatchedMLP.step`
        for where the gradient departs from it.
    """
    device = start.device
    # Near ones first; point and distance side by side, so that one gather fetches both.
    order = torch.argsort((~near).to(torch.uint8), dim=1, stable=True)
    samples = torch.cat([points, distances[..., None]], dim=2)  # (shape, sample, 4)
    samples = torch.gather(samples, 1, order[..., None].expand(-1, -1, 4)).to(device)
    nears = near.sum(dim=1).to(device)
    stack, going = BatchedMLP(config, start, settings), torch.arange(len(start), device=device)
    weights, taken = start.clone(), torch.full((len(start),), settings.steps)
    watched = torch.zeros(len(start), device=device)
    for step in range(settings.steps):
        chosen = _choose(step, nears[going], samples.shape[1], settings)
        batch = samples[going[:, None], chosen]  # (shape, point, 4)
        watched += stack.step(batch[..., :3], batch[..., 3], settings.lr * cosine(step, settings.steps))
        if settings.stop is None or (step + 1) % WATCHED:
            continue
        # Those that are done leave and the batch shrinks: a step of one shape costs hardly more than its share of a
        # step of eight (0.36 ms against 0.26), so that nothing is gained by letting others in.
        done = watched / WATCHED < settings.stop
        if done.any():
            weights[going[done]] = stack.weights.detach()[done]
            taken[going[done].cpu()] = step + 1
            going = going[~done]
            if not len(going):
                break
            stack.keep(~done)
        watched = torch.zeros(len(going), device=device)
    if len(going):
        weights[going] = stack.weights.detach()
    return Fits(weights, taken)


def _choose(
    step: int, nears: Int[Tensor, " shape"], count: int, settings: MLPFitSettings
) -> Int[Tensor, "shape point"]:
    """Places of the samples of a step, where those near the surface stand first."""
    split = round(settings.near * settings.points)
    places = torch.arange(settings.points, device=nears.device)
    first = (step * split + places[:split]) % nears[:, None].clamp_min(1)
    others = settings.points - split
    rest = (step * others + places[split:] - split) % (count - nears[:, None]).clamp_min(1)
    return torch.cat([first, nears[:, None] + rest], dim=1)


class BatchedMLP:
    """The networks of several shapes on their way, with their gradient worked out by hand.

    All parameters are one matrix, so that one fused Adam moves them, and matrix products write into buffers that stay:
    through autograd, whose views of that matrix each bring a gradient of the size of all of it, a step of 8 shapes with
    64 points took 0.70 ms a shape in place of 0.26; `vmap` and `torch.compile` gave nothing more on a CPU.
    """

    def __init__(
        self, config: MLPConfig, start: Float[Tensor, "shape parameter"], settings: MLPFitSettings
    ) -> None:
        self.config = config
        self.settings = settings
        self._adopt(start.clone(), {})

    def _adopt(self, weights: Tensor, state: dict[str, Tensor]) -> None:
        self.weights = nn.Parameter(weights)
        self.weights.grad = torch.zeros_like(weights)
        self.optimizer = torch.optim.Adam([{"params": [self.weights], "initial_lr": 1.0}], fused=True)
        if state:
            self.optimizer.state[self.weights] = state
        self.layers = unflatten_weights(self.weights.detach(), self.config)
        self.gradients = unflatten_weights(self.weights.grad, self.config)
        size = (len(weights), self.settings.points, self.config.hidden)
        self.sums = [weights.new_empty(size) for _ in range(self.config.layers)]
        self.outputs = self.sums
        if self.config.kind == "siren":
            self.outputs = [weights.new_empty(size) for _ in range(self.config.layers)]
        self.slopes = [weights.new_empty(size) for _ in range(2)]

    def keep(self, kept: Bool[Tensor, " shape"]) -> None:
        """Go on with some of the shapes only."""
        memory = self.optimizer.state[self.weights]
        state = {name: value if value.ndim == 0 else value[kept] for name, value in memory.items()}
        self._adopt(self.weights.detach()[kept], state)

    @torch.no_grad()
    def step(
        self, points: Float[Tensor, "shape point 3"], distances: Float[Tensor, "shape point"], lr: float
    ) -> Float[Tensor, " shape"]:
        """Take one step.

        The gradient is that of |f - clamp(d)| wherever the clamped distances differ. DeepSDF's own gives none where f
        lies beyond the clamp, on the wrong side too, and so can never leave there: from an anchor, 1 of 8 shapes had
        nothing but such points from the first step on, and stayed as it was.

        Returns:
            The mean clamped error of each shape's points before it.
        """
        inputs = encode_points(points, self.config.bands)  # (shape, point, encoded)
        predicted = self._forward(inputs)  # (shape, point)
        clamp = self.settings.clamp
        error = predicted.clamp(-clamp, clamp) - distances.clamp(-clamp, clamp)
        self._backward(inputs, error.sign() / error.shape[1])
        set_rate([self.optimizer], lr)
        self.optimizer.step()
        return error.abs().mean(dim=1)

    def _forward(self, x: Float[Tensor, "shape point encoded"]) -> Float[Tensor, "shape point"]:
        for (weight, bias), total, output in zip(self.layers[:-1], self.sums, self.outputs, strict=True):
            torch.bmm(x, weight.transpose(1, 2), out=total)  # (shape, point, hidden)
            total.add_(bias[:, None])
            if self.config.kind == "siren":
                torch.sin(total.mul_(self.config.frequency), out=output)
            else:
                total.relu_()
            x = output
        weight, bias = self.layers[-1]
        return torch.baddbmm(bias[:, None], x, weight.transpose(1, 2)).squeeze(-1)

    def _backward(
        self, inputs: Float[Tensor, "shape point encoded"], slope: Float[Tensor, "shape point"]
    ) -> None:
        """Fill the gradient, given that of the loss by the predictions."""
        above = slope[..., None]  # (shape, point, output)
        for index in range(self.config.layers, -1, -1):
            (weight, _), (by_weight, by_bias) = self.layers[index], self.gradients[index]
            below = self.outputs[index - 1] if index else inputs
            torch.bmm(above.transpose(1, 2), below, out=by_weight)
            torch.sum(above, dim=1, out=by_bias)
            if not index:
                return
            passed = torch.bmm(above, weight, out=self.slopes[index % 2])  # (shape, point, hidden)
            if self.config.kind == "siren":
                passed.mul_(self.sums[index - 1].cos_()).mul_(self.config.frequency)
            else:
                # What autograd calls: a product with (below > 0) would take a seventh of the whole step.
                torch.ops.aten.threshold_backward.grad_input(passed, below, 0, grad_input=passed)
            above = passed


@torch.inference_mode()
def field_errors(
    config: MLPConfig,
    weights: Float[Tensor, "shape parameter"],
    points: Float[Tensor, "shape sample 3"],
    distances: Float[Tensor, "shape sample"],
    clamp: float,
    chunk: int,
) -> Float[Tensor, " shape"]:
    """The mean absolute error of each shape's distances, which count up to `clamp`; `chunk` points at a time."""
    networks = MLPs(config, weights).requires_grad_(False)
    parts = [networks(part.to(weights.device)) for part in torch.split(points, chunk, dim=1)]
    error = torch.cat(parts, dim=1).clamp(-clamp, clamp) - distances.to(weights.device).clamp(-clamp, clamp)
    return error.abs().mean(dim=1)
