"""The report of `timestep-loss`: tables and curves of a denoiser's loss at each timestep and of its samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdfkit.report.plots import Curve, Panel, draw_panels
from sdfkit.report.tables import format_table
from sdfkit.wording import counted


def format_timesteps(facts: Mapping[str, Any]) -> str:
    """Return the report as text.

    Args:
        facts: The JSON report; see `inference.timesteps.DenoiserErrors.describe`.
    """
    losses, mean = facts["timesteps"], facts["mean_predictor"]
    wrong = losses["wrong"]
    columns = [
        losses["alpha"], losses["loss"], losses["fvu"], [None] * len(losses["loss"]) if wrong is None else wrong,
        losses["implied_noise"],
    ]  # fmt: skip
    table = format_table(
        ("t", "alpha bar", "MSE(x0)", "FVU", "wrong picture", "implied MSE(eps)", "mean code"),
        [
            (int(timestep), *map(_digits, (*values, mean)))
            for timestep, *values in zip(losses["timestep"], *columns, strict=True)
        ],
    )
    steps = facts["sampled"]["steps"]
    samples = format_table(
        ("from pure noise", "MSE(x0)", "FVU", "cosine", "centred"),
        [
            (name, *(_digits(facts[key][number]) for number in ("loss", "fvu", "cosine", "centred")))
            for name, key in (("in one step", "one_step"), (f"by {counted(steps, 'step')}", "sampled"))
        ],
    )
    counts = f"{counted(facts['shapes'], 'shape')}, {counted(facts['views'], 'view')} each"
    counts += f"; dimensions floored: {facts['floored']}"
    return f"{facts['model']}: {counts}\n\n{table}\n\n{samples}\n\n{facts['verdict']}"


def draw_timesteps(output: Path, facts: Mapping[str, Any], *, overwrite: bool) -> None:
    """Plot the loss at each timestep, and write the plot as a PNG; see `plot_timesteps`."""
    draw_panels(output, [plot_timesteps(facts)], overwrite=overwrite)


def plot_timesteps(facts: Mapping[str, Any]) -> Panel:
    """Plot the loss at each timestep, beside those of the mean code and of codes sampled from pure noise."""
    losses = facts["timesteps"]
    timesteps, wrong = losses["timestep"].tolist(), losses["wrong"]
    curves = {
        "the network": Curve(timesteps, losses["loss"].tolist()),
        **({} if wrong is None else {"with a wrong picture": Curve(timesteps, wrong.tolist())}),
    }
    baselines = {
        "predicting the mean code": facts["mean_predictor"],
        "from pure noise, in one step": facts["one_step"]["loss"],
        f"from pure noise, by {counted(facts['sampled']['steps'], 'step')}": facts["sampled"]["loss"],
    }
    title = f"{facts['model']}: loss by timestep"
    x, y = "timestep; 0: the clean code, 499: pure noise", "mean squared error of the standardised code"
    return Panel(title, x, y, curves, "y", baselines)


def _digits(value: float | None) -> str:
    """Return a number with four significant digits: losses of trained models are far below 1."""
    return "-" if value is None else f"{value:.4g}"
