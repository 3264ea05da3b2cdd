"""Plots of curves, and of vectors as points of a plane, as PNG files. matplotlib draws them without a display."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sdfkit.errors import UsageError
from sdfkit.io.outputs import open_output
from sdfkit.rows import printable
from sdfkit.wording import counted, duration

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

    from sdfkit.io.stores.contents.vectors import Vectors
    from sdfkit.training.dit.held_out import HeldOutLoss

# Maximum number of points of a plot whose names are written beside them; more names would hide the points.
NAMED = 60
# Number of categories with a colour of their own, the most frequent ones; all others share one colour.
COLOURED = 9


class Curve(NamedTuple):
    """A line of a plot. A curve with a single value is drawn as a horizontal line across the plot."""

    x: Sequence[float]
    y: Sequence[float]


def check_picture(output: Path | None, overwrite: bool) -> None:
    """Check that a PNG, if one is wanted, can be written, before the computation starts.

    An equal one may exist; see `open_output`.

    Raises:
        UsageError: The name of the file does not end in .png.
        InputError: The folder of the file does not exist.
    """
    from sdfkit.io.outputs import refuse_existing

    if output is None:
        return
    if output.suffix.lower() != ".png":
        raise UsageError(f"{output}: plots are written as PNG; choose a name that ends in .png")
    refuse_existing(output, overwrite or output.is_file())


class Panel(NamedTuple):
    """One plot of curves.

    Attributes:
        title: Title.
        x: Label of the x axis.
        y: Label of the y axis.
        curves: The curves by their labels.
        log: Logarithmic axes: "", "x", "y" or "xy".
    """

    title: str
    x: str
    y: str
    curves: Mapping[str, Curve]
    log: str


class Scatter(NamedTuple):
    """One plot of named points, with the same scale on both axes.

    Attributes:
        title: Title.
        x: Label of the x axis.
        y: Label of the y axis.
        groups: The points, as pairs of a name and coordinates, by group. Each group has its own colour.
    """

    title: str
    x: str
    y: str
    groups: Mapping[str, Sequence[tuple[str, tuple[float, float]]]]


def name_axes(shares: tuple[float, float]) -> tuple[str, str]:
    """Return the labels of the axes of a plot over two principal components, given their shares of the variance."""
    first, second = (f"principal component, {share:.0%} of the variance" for share in shares)
    return f"first {first}", f"second {second}"


def paint_panels(panels: Sequence[Panel | Scatter], *, columns: int | None = None) -> bytes:
    """Draw panels, each of 1,200 by 750 pixels, and return the PNG file.

    Args:
        panels: The panels, row by row.
        columns: Number of panels in a row; None puts all panels side by side.
    """
    import warnings

    from matplotlib.figure import Figure

    columns = columns or len(panels)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(8 * columns, 5 * rows), layout="constrained")
    for place, panel in enumerate(panels, 1):
        axes = figure.add_subplot(rows, columns, place)
        # Names of files and shapes are not formulas, even if they contain dollar signs.
        axes.set_title(panel.title, parse_math=False)
        axes.set(xlabel=panel.x, ylabel=panel.y)
        if isinstance(panel, Scatter):
            _scatter(axes, panel)
        else:
            _plot(axes, panel)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            for text in axes.legend().get_texts():
                text.set_parse_math(False)
    picture = BytesIO()
    with warnings.catch_warnings():
        # matplotlib warns of letters that the font lacks, and draws a box.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
    return picture.getvalue()


def _plot(axes: "Axes", panel: Panel) -> None:
    for label, curve in panel.curves.items():
        if len(curve.y) == 1:
            axes.axhline(curve.y[0], linestyle="--", color=f"C{len(axes.lines)}", label=label)
        else:
            axes.plot(curve.x, curve.y, marker="." if len(curve.y) < 50 else "", label=label)
    axes.set_xscale("log" if "x" in panel.log else "linear")
    axes.set_yscale("log" if "y" in panel.log else "linear")


def _scatter(axes: "Axes", panel: Scatter) -> None:
    is_named = sum(map(len, panel.groups.values())) <= NAMED
    for group, points in panel.groups.items():
        x, y = zip(*(place for _, place in points), strict=True)
        # matplotlib leaves labels that begin with an underscore out of the legend.
        label = f" {group}" if len(panel.groups) > 1 else None
        axes.scatter(x, y, s=16 if is_named else 6, label=label)
        for name, place in points if is_named else ():
            axes.annotate(
                printable(name),
                place,
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=6,
                parse_math=False,
            )
    axes.set_aspect("equal", adjustable="datalim")


def draw_panels(output: Path, panels: Sequence[Panel], *, overwrite: bool) -> None:
    """Write panels side by side to a PNG file; see `paint_panels`."""
    with open_output(str(output), overwrite=overwrite) as stream:
        stream.write(paint_panels(panels))


def draw_curves(
    output: Path, curves: Mapping[str, Curve], *, title: str, x: str, y: str, log: bool, overwrite: bool
) -> None:
    """Write one plot of curves to a PNG file of 1,200 by 750 pixels."""
    draw_panels(output, [Panel(title, x, y, curves, "y" if log else "")], overwrite=overwrite)


def smooth(losses: "Sequence[float] | np.ndarray", intervals: int = 500) -> Curve:
    """Average the losses of a training run over up to so many intervals of equal length."""
    import numpy as np

    parts = np.array_split(np.asarray(losses), min(len(losses), intervals))
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return Curve(ends, [float(part.mean()) for part in parts])


def describe_progress(progress: Mapping[str, Any]) -> str:
    """Describe how far an unfinished training was when its state was saved.

    Args:
        progress: The attribute `progress` of its store, and the number of steps taken as `step`.
    """
    step, steps, rate = progress["step"], progress["steps"], progress["steps_per_second"]
    left = f", {duration((steps - step) / rate)} left" if rate else ""
    return f"step {step} of {steps}, {rate:.3g} steps/s{left}; saved {progress['saved']}"


def draw_losses(
    output: Path,
    losses: Sequence[float],
    held_out: "HeldOutLoss | None" = None,
    *,
    title: str,
    overwrite: bool,
) -> None:
    """Write the smoothed losses of a training run to a PNG file, with those of held-out shapes; see `smooth`."""
    curves = {"training": smooth(losses)}
    if held_out is not None:
        steps, values = zip(*held_out.measured, strict=True)
        curves["held out"] = Curve(steps, values)
    draw_curves(output, curves, title=title, x="step", y="loss", log=True, overwrite=overwrite)


def map_vectors(vectors: "Vectors", what: str) -> Scatter:
    """Project a set of vectors onto the plane of its first two principal components, with a colour for each category.

    Args:
        vectors: The set of vectors.
        what: Name of the vectors in the plural, such as "codes", for the title.

    Raises:
        InputError: A vector holds a number that is not finite.
    """
    import numpy as np

    from sdfkit.analysis.plane import fit_plane

    uids = [row.uid for row in vectors.rows]
    plane = fit_plane(vectors.vectors, uids, vectors.name, np.random.default_rng(0))
    common = [category for category, _ in Counter(row.category for row in vectors.rows).most_common(COLOURED)]
    groups: dict[str, list[tuple[str, tuple[float, float]]]] = {category: [] for category in common}
    for row, (x, y) in zip(vectors.rows, plane.coordinates.tolist(), strict=True):
        group = row.category if row.category in groups else "others"
        groups.setdefault(group, []).append((row.uid, (x, y)))
    title = f"{len(vectors.rows)} {what} of {counted(vectors.dim, 'number')} each"
    return Scatter(title, *name_axes(plane.shares), groups)
