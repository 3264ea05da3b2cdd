"""The door to matplotlib: curves as PNG, drawn without a display."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from sdfkit.errors import UsageError
from sdfkit.stream import open_output


class Curve(NamedTuple):
    """A line of a figure; with a single value, a level across it."""

    x: Sequence[float]
    y: Sequence[float]


def check_picture(output: Path, overwrite: bool) -> None:
    """Refuse a path that is no PNG or exists, before any work.

    Raises:
        UsageError: The name does not end in .png.
        InputError: The file exists.
    """
    from sdfkit.stream import refuse_existing

    if output.suffix.lower() != ".png":
        raise UsageError(f"{output}: pictures are written as .png")
    refuse_existing(output, overwrite)


class Panel(NamedTuple):
    """One set of axes with its lines by their labels; the axes named in `log` ("x", "y", "xy") are logarithmic."""

    title: str
    x: str
    y: str
    curves: Mapping[str, Curve]
    log: str


def draw_panels(output: Path, panels: Sequence[Panel], *, overwrite: bool) -> None:
    """Write panels side by side into a PNG, each of 1,200 by 750 pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8 * len(panels), 5), layout="constrained")
    for place, panel in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place)
        for label, curve in panel.curves.items():
            if len(curve.y) == 1:
                axes.axhline(curve.y[0], linestyle="--", color=f"C{len(axes.lines)}", label=label)
            else:
                axes.plot(curve.x, curve.y, marker="." if len(curve.y) < 50 else "", label=label)
        axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
        axes.set_xscale("log" if "x" in panel.log else "linear")
        axes.set_yscale("log" if "y" in panel.log else "linear")
        axes.grid(alpha=0.3)
        axes.legend()
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
    with open_output(str(output), overwrite=overwrite) as stream:
        stream.write(picture.getvalue())


def draw_curves(
    output: Path, curves: Mapping[str, Curve], *, title: str, x: str, y: str, log: bool, overwrite: bool
) -> None:
    """Write lines by their labels into a PNG of 1,200 by 750 pixels."""
    draw_panels(output, [Panel(title, x, y, curves, "y" if log else "")], overwrite=overwrite)


def draw_losses(output: Path, losses: Sequence[float], *, title: str, overwrite: bool) -> None:
    """Write the losses of a training run into a PNG, as means of up to 500 equal runs of steps."""
    import numpy as np

    parts = np.array_split(np.asarray(losses), min(len(losses), 500))
    ends = np.cumsum([len(part) for part in parts]).tolist()
    means = [float(part.mean()) for part in parts]
    draw_curves(
        output,
        {"training": Curve(ends, means)},
        title=title,
        x="step",
        y="loss",
        log=True,
        overwrite=overwrite,
    )
