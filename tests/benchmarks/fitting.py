"""Compare fitting many small networks at once with a plain loop over shapes, by the time to an equal loss.

    python -m tests.benchmarks.fitting [SAMPLES.zarr]

Prints CPU seconds per shape, with one thread. The plain loop uses nn.Sequential, autograd, torch.optim.Adam, a clamped
L1 loss, random points and a cosine schedule of the learning rate. Each shape starts from the same anchor. The loop
takes 1,024 or 256 points per step, at the best of three learning rates. Both methods fit the same shapes with growing
numbers of steps. The time that a method needs to reach a median loss is interpolated between its runs, linearly in the
logarithms of time and loss. If no store is given, samples of generated shapes are made.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import itertools
import math
import sys
import time

import numpy as np
import torch
from torch import Tensor, nn

from sdfkit.evaluation.field_errors import mlp_errors
from sdfkit.geometry.sampling import sample_sdf
from sdfkit.geometry.shapes import choose_categories, generate, solid_mesh
from sdfkit.models.encodings import encode_points
from sdfkit.models.mlp import PRESETS, draw_weights, unflatten_weights
from sdfkit.training.mlp.fitting import fit_mlps
from sdfkit.training.mlp.recipes import FAST, MLPFitSettings

CONFIG = PRESETS["relu-pe"]
SHAPES, HELD = 8, 10_000
LOSS = 0.00185  # the median loss in the paper on weight space
OURS = (250, 500, 1_000, 2_000)
LOOP = {1_024: (250, 500, 1_000), 256: (500, 1_000, 2_000)}
RATES = (5e-4, 1e-3, 2e-3)

Samples = tuple[Tensor, Tensor, Tensor]


def generated() -> Samples:
    rng = np.random.default_rng(1)
    found = [
        sample_sdf(
            solid_mesh(generate(category, rng), 128), points=100_000, near_share=0.5,
            near_std=(0.07, 0.02, 0.006), surface_points=0, sign="winding", measure=None, rng=rng,
        )
        for category in choose_categories(SHAPES + 1, rng)
    ]  # fmt: skip
    return tuple(
        torch.from_numpy(np.stack([getattr(one, name) for one in found]))
        for name in ("point", "distance", "near")
    )  # type: ignore[return-value]


def stored(path: str) -> Samples:
    import zarr

    store = zarr.open_group(path, mode="r")
    return tuple(
        torch.from_numpy(np.stack([store[name][row] for row in range(SHAPES + 1)]))
        for name in ("point", "distance", "near")
    )  # type: ignore[return-value]


def settings(steps: int) -> MLPFitSettings:
    return MLPFitSettings(steps=steps, **FAST["relu-pe"], clamp=0.1, stop=None)


def plain_loop(start: Tensor, points: Tensor, distances: Tensor, steps: int, batch: int, lr: float) -> Tensor:
    modules: list[nn.Module] = []
    for weight, bias in unflatten_weights(start[None], CONFIG):
        linear = nn.Linear(weight.shape[2], weight.shape[1])
        linear.weight.data, linear.bias.data = weight[0].clone(), bias[0].clone()
        modules += [linear, nn.ReLU()]
    network = nn.Sequential(*modules[:-1])
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(points), (batch,))
        predicted = network(encode_points(points[chosen], CONFIG.bands))[:, 0]
        loss = (predicted.clamp(-0.1, 0.1) - distances[chosen].clamp(-0.1, 0.1)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def measure(name: str, samples: Samples, fit: "object") -> tuple[float, float]:
    points, distances, _ = samples
    began = time.process_time()
    weights = fit()  # type: ignore[operator]
    seconds = (time.process_time() - began) / len(points)
    losses = mlp_errors(CONFIG, weights, points[:, -HELD:], distances[:, -HELD:], 0.1, 2_000)
    middle = losses.median().item()
    print(
        f"{name:36} {seconds:7.2f} CPU s a shape, {3600 / seconds:7.0f} shapes an hour; loss median {middle:.5f}, "
        f"p95 {losses.quantile(0.95):.5f}, max {losses.max():.5f}",
        flush=True,
    )
    return seconds, middle


def seconds_for(loss: float, curve: list[tuple[float, float]]) -> float | None:
    """CPU seconds at which a curve of (seconds, loss) reaches a loss; None if no two runs enclose the loss."""
    curve = sorted(curve)
    for (early, high), (late, low) in itertools.pairwise(curve):
        if high >= loss >= low:
            share = math.log(high / loss) / math.log(high / low)
            return math.exp(math.log(early) + share * math.log(late / early))
    return None


def main(arguments: list[str]) -> None:
    torch.manual_seed(0)
    samples = stored(arguments[0]) if arguments else generated()
    known: Samples = tuple(part[:, :-HELD] for part in samples)  # type: ignore[assignment]
    first: Samples = tuple(part[:1] for part in known)  # type: ignore[assignment]
    anchor = fit_mlps(
        CONFIG, draw_weights(CONFIG, 1, torch.Generator().manual_seed(0)), *first, settings(2_000)
    )
    start = anchor.weights.expand(SHAPES, -1)
    shapes: Samples = tuple(part[1:] for part in samples)  # type: ignore[assignment]
    rest: Samples = tuple(part[1:] for part in known)  # type: ignore[assignment]
    ours = [
        measure(
            f"sdfkit, {steps} x {FAST['relu-pe']['points']}", shapes,
            lambda steps=steps: fit_mlps(CONFIG, start, *rest, settings(steps)).weights,
        )
        for steps in OURS
    ]  # fmt: skip
    loops: dict[int, list[tuple[float, float]]] = {}
    for batch, counts in LOOP.items():
        # The learning rate is chosen by the shortest runs, which are cheapest; longer runs use the same rate.
        runs = {}
        for lr in RATES:
            runs[lr] = loop(
                f"loop, {counts[0]} x {batch}, lr {lr:g}", shapes, rest, start, counts[0], batch, lr
            )
        best = min(runs, key=lambda lr: runs[lr][1])
        loops[batch] = [runs[best]]
        for steps in counts[1:]:
            loops[batch].append(
                loop(f"loop, {steps} x {batch}, lr {best:g}", shapes, rest, start, steps, batch, best)
            )
    for loss in (LOSS, max(curve[-1][1] for curve in (ours, *loops.values()))):
        for batch, curve in loops.items():
            own, theirs = seconds_for(loss, ours), seconds_for(loss, curve)
            ratio = f"{theirs / own:.1f} times the shapes" if own and theirs else "not reached by both"
            print(f"loss {loss:.5f}: sdfkit {own}, loop at {batch} {theirs}: {ratio}")


def loop(
    name: str, shapes: Samples, rest: Samples, start: Tensor, steps: int, batch: int, lr: float
) -> tuple[float, float]:
    return measure(
        name, shapes,
        lambda: torch.stack(
            [
                plain_loop(begin, points, distances, steps, batch, lr)
                for begin, points, distances in zip(start, *rest[:2], strict=True)
            ]
        ),
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
