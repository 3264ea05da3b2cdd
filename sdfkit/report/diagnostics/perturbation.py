"""The report of `perturb`: a table, the sigma at which shapes break, and the curves of IoU over sigma.

Sigma is the relative standard deviation of the noise.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdfkit.report.plots import Curve, Panel, draw_panels
from sdfkit.report.tables import format_table


def format_perturbation(facts: Mapping[str, Any]) -> str:
    """Return the report as text.

    Args:
        facts: The JSON report: `noise` (the definition of sigma), `criterion` (minimum IoU of a shape that is not
            broken), and `stores`, each with `name` and `parts`.
    """
    rows: list[tuple[str | float, ...]] = []
    for label, part in _parts(facts):
        for place, level in enumerate(part["levels"]):
            rows.append(
                (
                    "" if place else label, f"{level['sigma']:g}", level["iou"], level["worst"],
                    f"{level['whole']:.0%}", f"{level['same']:.0%}", f"{level['pieces']:g}",
                )
            )  # fmt: skip
    table = format_table(("noise on", "sigma", "iou", "worst", "whole", "same topology", "pieces"), rows)
    limit = facts["criterion"]
    verdicts = [
        f"{label}: does not fall that low at any sigma tried"
        if part["breaks_at"] is None
        else f"{label}: from sigma {part['breaks_at']:.3f}"
        for label, part in _parts(facts)
    ]
    return (
        f"noise: {facts['noise']}; whole: share of shapes with iou at least {limit:g}; same topology: share of shapes "
        f"whose pieces and Euler number do not change\n\n{table}\n\nmean iou below {limit:g}:\n"
        + "\n".join(verdicts)
    )


def draw_perturbation(output: Path, facts: Mapping[str, Any], *, overwrite: bool) -> None:
    """Plot the IoU over sigma, and write the plot as a PNG; see `plot_perturbation`."""
    draw_panels(output, plot_perturbation(facts), overwrite=overwrite)


def plot_perturbation(facts: Mapping[str, Any]) -> list[Panel]:
    """Plot the mean IoU and the worst IoU over sigma, with the criterion; see `format_perturbation`."""
    noise = f"standard deviation of the noise: {facts['noise']}"
    baselines = {f"broken below {facts['criterion']:g}": float(facts["criterion"])}
    panels = []
    for what, key in (("Mean", "iou"), ("Worst", "worst")):
        curves = {
            label: Curve(
                [0.0, *(level["sigma"] for level in part["levels"])],
                [1.0, *(level[key] for level in part["levels"])],
            )
            for label, part in _parts(facts)
        }
        title = f"{what} IoU of noisy and clean shapes"
        panels.append(Panel(title, f"sigma; {noise}", "IoU, from 0 to 1", curves, "", baselines))
    return panels


def _parts(facts: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the label and the results of each part of the dimensions of each store."""
    for store in facts["stores"]:
        for name, part in store["parts"].items():
            yield store["name"] if name == "all" else f"{store['name']}: {name}", part
