"""Settings for fitting one network per shape, by preset and kind of network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdfkit.training.epochs import count_steps

FAST_STEPS = 2_000
PAPER_EPOCHS = 200
# Settings of the preset `fast`, by kind of network. A SIREN does not converge at learning rates above 0.0003.
FAST: Mapping[str, Mapping[str, float]] = {
    "relu-pe": {"points": 128, "near": 0.75, "lr": 4e-3},
    "siren": {"points": 128, "near": 0.75, "lr": 3e-4},
}
PAPER: Mapping[str, float] = {"points": 8_192, "near": 0.5, "lr": 1e-4}


@dataclass(frozen=True)
class MLPFitSettings:
    """Settings for fitting the networks.

    Attributes:
        steps: Number of Adam steps. The learning rate follows a cosine schedule from its initial value to 0.
        points: Number of samples per shape and step.
        near: Share of those samples that lie near the surface.
        lr: Initial learning rate.
        clamp: Predicted and true distances are clamped to [-clamp, clamp] before they are compared.
        stop: A shape is fitted no further once its mean error is below this value; None takes all steps.
    """

    steps: int
    points: int
    near: float
    lr: float
    clamp: float
    stop: float | None


def choose_settings(
    network: str, preset: str, samples: int, epochs: float | None, overrides: Mapping[str, Any]
) -> MLPFitSettings:
    """Return the settings of a preset, with some of them replaced.

    Args:
        network: `relu-pe` or `siren`.
        preset: `fast` or `paper`.
        samples: Number of samples per shape, which converts epochs to steps.
        epochs: Number of passes over the samples, in place of the preset's number of steps.
        overrides: Settings that replace those of the preset. None values are ignored.
    """
    recipe: dict[str, Any] = {"steps": FAST_STEPS, **FAST[network]}
    if preset == "paper":
        recipe = {"steps": None, **PAPER}
    recipe |= {name: value for name, value in overrides.items() if value is not None}
    if epochs is not None or recipe["steps"] is None:
        passes = PAPER_EPOCHS if epochs is None else epochs
        recipe["steps"] = count_steps(passes, samples, recipe["points"])
    return MLPFitSettings(**{"stop": None, **recipe})
