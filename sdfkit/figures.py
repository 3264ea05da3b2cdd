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


def draw_curves(
    output: Path, curves: Mapping[str, Curve], *, title: str, x: str, y: str, log: bool, overwrite: bool
) -> None:
    """Write lines by their labels into a PNG of 1,200 by 750 pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for label, curve in curves.items():
        if len(curve.y) == 1:
            axes.axhline(curve.y[0], linestyle="--", color=f"C{len(axes.lines)}", label=label)
        else:
            axes.plot(curve.x, curve.y, marker="." if len(curve.y) < 50 else "", label=label)
    axes.set(title=title, xlabel=x, ylabel=y, yscale="log" if log else "linear")
    axes.grid(alpha=0.3)
    axes.legend()
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
    with open_output(str(output), overwrite=overwrite) as stream:
        stream.write(picture.getvalue())


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
