"""The door to matplotlib: curves as PNG, drawn without a display."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sdfkit.errors import UsageError
from sdfkit.io.streams import open_output
from sdfkit.report.tables import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    from sdfkit.io.streams import refuse_existing

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


class Scatter(NamedTuple):
    """One set of axes of equal scale, with named points by their group; names are written where they are few."""

    title: str
    x: str
    y: str
    groups: Mapping[str, Sequence[tuple[str, tuple[float, float]]]]


def name_axes(shares: tuple[float, float]) -> tuple[str, str]:
    """What stands at the axes of a map of principal components, by their shares of the variance."""
    first, second = (f"principal component, {share:.0%} of the variance" for share in shares)
    return f"first {first}", f"second {second}"


NAMED = 60  # Beyond as many points, names hide them.


def paint_panels(panels: Sequence[Panel | Scatter]) -> bytes:
    """Draw panels side by side as a PNG, each of 1,200 by 750 pixels."""
    import warnings

    from matplotlib.figure import Figure

    figure = Figure(figsize=(8 * len(panels), 5), layout="constrained")
    for place, panel in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place)
        # Names of files and shapes are no formulas, whatever dollar signs they hold.
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
        # A letter that the font lacks is drawn as a box.
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
        # A label that begins with an underscore would be left out.
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
    """Write panels side by side into a PNG; see `paint_panels`."""
    with open_output(str(output), overwrite=overwrite) as stream:
        stream.write(paint_panels(panels))


def draw_curves(
    output: Path, curves: Mapping[str, Curve], *, title: str, x: str, y: str, log: bool, overwrite: bool
) -> None:
    """Write lines by their labels into a PNG of 1,200 by 750 pixels."""
    draw_panels(output, [Panel(title, x, y, curves, "y" if log else "")], overwrite=overwrite)


def smooth(losses: Sequence[float]) -> Curve:
    """The losses of a training run as means of up to 500 equal runs of steps."""
    import numpy as np

    parts = np.array_split(np.asarray(losses), min(len(losses), 500))
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return Curve(ends, [float(part.mean()) for part in parts])


def draw_losses(output: Path, losses: Sequence[float], *, title: str, overwrite: bool) -> None:
    """Write the losses of a training run into a PNG; see `smooth`."""
    curves = {"training": smooth(losses)}
    draw_curves(output, curves, title=title, x="step", y="loss", log=True, overwrite=overwrite)
