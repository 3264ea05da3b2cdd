"""Plots of the losses of a training run: a panel for each stage, as stages have losses that cannot be compared."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sdfkit.io.fields import COUNT, INDEX, TEXT, check_fields
from sdfkit.report.plots import Curve, Panel, smooth

# What the loss of a model is, by the kind of its store; of a flow, by the stage.
UNITS = {
    "deepsdf": "mean absolute error of clamped distances, in radii of the unit sphere, and penalty of the codes",
    "recon": "mean absolute error of clamped distances, in radii of the unit sphere",
    "denoiser": "weighted mean squared error of standardised codes",
    "ball": "mean squared error of distances to a ball",
    "encoder": "error of silhouettes",
    "distil": "mean squared error of velocity and sampled codes",
    "joint": "error of silhouettes",
    "rgb": "error of silhouettes and shading",
}


def split_stages(steps: int, settings: Mapping[str, Any], source: str) -> Iterator[tuple[str, slice]]:
    """Yield the name of each stage that a training began, and its steps; one without a name if there are no stages.

    Steps beyond the last stage have no name either.

    Args:
        steps: Number of steps taken.
        settings: Settings of the store: of a flow, `steps` of each stage, `stage`, which is all or one of them, and
            `sphere`, the number of first steps of the stage encoder, which fit a ball.
        source: Name of the store in messages.

    Raises:
        InputError: A setting is of another type.
    """
    stages = settings.get("steps")
    if not isinstance(stages, Mapping):
        yield "", slice(0, steps)
        return
    remedy = "train the model again"
    check_fields(stages, dict.fromkeys(stages, COUNT), source, "steps", remedy)
    check_fields(settings, {"stage": TEXT, "sphere": INDEX}, source, "settings", remedy)
    chosen, first = settings.get("stage", "all"), 0
    for stage, count in stages.items():
        if chosen not in ("all", stage):
            continue
        ball = min(settings.get("sphere", 0), count) if stage == "encoder" else 0
        for name, length in (("ball", ball), (stage, count - ball)):
            if length and first < steps:
                yield name, slice(first, min(first + length, steps))
            first += length
    if first < steps:
        yield "", slice(first, steps)


def plot_losses(
    losses: Sequence[float] | np.ndarray,
    kind: str,
    settings: Mapping[str, Any],
    *,
    source: str,
    title: str,
    name: str = "loss",
    held_out: Sequence[tuple[int, float]] = (),
    baselines: Mapping[str, float] = {},
) -> list[Panel]:
    """Plot the smoothed losses of a training run, a panel for each stage; see `smooth`.

    Args:
        losses: The loss of each step.
        kind: Kind of the model's store.
        settings: Settings of the store; see `split_stages`.
        source: Name of the store in messages.
        title: Title of the panels, which the name of the stage follows.
        name: Name of the losses.
        held_out: Steps and losses of held-out shapes.
        baselines: Losses that need no training.

    Raises:
        InputError: A setting is of another type.
    """
    panels = []
    for stage, steps in split_stages(len(losses), settings, source):
        unit = UNITS.get(stage or kind, "") if name == "loss" else ""
        if kind == "autoencoder":
            unit = _describe_autoencoder(settings)
        curves = {"training" if held_out else name: smooth(losses[steps], first=steps.start)}
        if held_out:
            curves["held-out shapes"] = Curve(*zip(*held_out, strict=True))
        label = f"{name}: {unit}" if unit else name
        heading = f"{title}, stage {stage}" if stage else title
        panels.append(Panel(heading, "step", label, curves, "y", baselines))
    return panels


def _describe_autoencoder(settings: Mapping[str, Any]) -> str:
    return {
        "weights": "share of the variance of the weights that is not explained",
        "field": "mean absolute error of clamped distances, in radii of the unit sphere",
    }.get(str(settings.get("loss")), "")
