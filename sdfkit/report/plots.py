"""Plots of curves, and of vectors as points of a plane, as PNG files. matplotlib draws them without a display."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sdfkit.errors import UsageError
from sdfkit.io.outputs import open_output
from sdfkit.report.drawing.lettering import load_font, wrap
from sdfkit.wording import counted, duration

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

    from sdfkit.io.stores.contents.vectors import Vectors

# Maximum number of points of a plot whose names are written beside them; more names would hide the points.
NAMED = 60
# Number of categories with a colour of their own, the most frequent ones; all others share one colour.
COLOURED = 9
# Colours that remain distinct for people with a colour-vision deficiency, and in grey.
# Reference: Petroff, Accessible Color Sequences for Data Visualization (2021), the sequence of ten.
COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
# Of groups and curves, each also has a marker of its own, so that none is known by its colour alone.
MARKERS = "osD^vPX<>*"
DASHES = ("-", (0, (6, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
# Of baselines, in grey.
GREYS, GREY_DASHES = ("#333333", "#777777"), ("--", ":", "-.")
# Inches: size of a panel, height of a further line of its title or legend, and margin.
WIDTH, HEIGHT, LINE, PAD = 8.0, 5.0, 0.22, 0.1
DOTS_PER_INCH = 150
# Points: size of letters.
TITLE, LABEL, SMALL = 12, 10, 6
# Lines of a title and of an entry of a legend.
TITLE_LINES, ENTRY_LINES = 3, 2


class Curve(NamedTuple):
    """A line of a plot. Values that are not finite leave gaps, and the legend counts them."""

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
        x: Label of the x axis, with its unit.
        y: Label of the y axis, with its unit.
        curves: The curves by their labels.
        log: Logarithmic axes: "", "x", "y" or "xy". An axis with values of 0 or less is linear all the same.
        baselines: What the curves are compared with, by labels: curves, or values that hold for all x. In grey.
    """

    title: str
    x: str
    y: str
    curves: Mapping[str, Curve]
    log: str
    baselines: Mapping[str, Curve | float] = {}


class Scatter(NamedTuple):
    """One plot of named points, with the same scale on both axes.

    Attributes:
        title: Title.
        x: Label of the x axis.
        y: Label of the y axis.
        groups: The points, as pairs of a name and coordinates, by group. Each group has its own colour and marker.
    """

    title: str
    x: str
    y: str
    groups: Mapping[str, Sequence[tuple[str, tuple[float, float]]]]


class Spread(NamedTuple):
    """One plot of values in groups, a line for each group: a point for each value, and the mean with its interval.

    Attributes:
        title: Title.
        x: Label of the x axis, with its unit.
        groups: The values by the name of the group, from top to bottom. The first group has a colour, the others are
            grey.
        means: Mean of each group, and the ends of its interval.
    """

    title: str
    x: str
    groups: Mapping[str, Sequence[float]]
    means: Mapping[str, tuple[float, float, float]]


AnyPanel = Panel | Scatter | Spread


def name_axes(shares: tuple[float, float]) -> tuple[str, str]:
    """Return the labels of the axes of a plot over two principal components, given their shares of the variance."""
    first, second = (f"principal component, {share:.0%} of the variance" for share in shares)
    return f"first {first}", f"second {second}"


def paint_panels(panels: Sequence[AnyPanel], *, columns: int | None = None) -> bytes:
    """Draw panels, each 1,200 pixels wide and 750 high or higher, and return the PNG file.

    Titles and entries of legends are broken into lines, and a row of panels is as much higher as these lines need, so
    that nothing is cut.

    Args:
        panels: The panels, row by row.
        columns: Number of panels in a row; None puts all panels side by side.
    """
    from PIL import Image

    columns = columns or len(panels)
    figures = [compose_figure(panel) for panel in panels]
    rows = [figures[start : start + columns] for start in range(0, len(figures), columns)]
    images = []
    for row in rows:
        height = max(figure.get_figheight() for figure in row)
        images.append([_draw_figure(figure, height) for figure in row])
    sheet = Image.new(
        "RGB", (sum(image.width for image in images[0]), sum(row[0].height for row in images)), "white"
    )
    top = 0
    for row_images in images:
        left = 0
        for image in row_images:
            sheet.paste(image, (left, top))
            left += image.width
        top += row_images[0].height
    picture = BytesIO()
    sheet.save(picture, "png")
    return picture.getvalue()


def _draw_figure(figure: "Figure", height: float) -> "Image":
    """Draw a figure at a height in inches."""
    import warnings

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_figheight(height)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # matplotlib warns of letters that the font lacks, and draws a box.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def compose_figure(panel: AnyPanel) -> "Figure":
    """Draw a panel with matplotlib; see `paint_panels`."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=PAD, h_pad=PAD)
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DOTS_PER_INCH, layout=layout)
    axes = figure.add_subplot()
    entries: dict[str, Artist] = {}
    if isinstance(panel, Scatter):
        entries = _scatter(axes, panel)
    elif isinstance(panel, Spread):
        _spread(axes, panel)
    else:
        entries = _plot(axes, panel)
    if not axes.has_data():
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color="gray")
    axes.grid(alpha=0.3)
    # Names of files and shapes are not formulas, even if they contain dollar signs.
    title = wrap(panel.title, *_measure(WIDTH - 1, TITLE), TITLE_LINES)
    # Not the title of the axes, whose middle is not that of the picture.
    figure.suptitle("\n".join(title), fontsize=TITLE, parse_math=False)
    below = wrap(panel.x, *_measure(WIDTH - 1.5, LABEL), ENTRY_LINES)
    beside = wrap(getattr(panel, "y", ""), *_measure(HEIGHT - 1, LABEL), ENTRY_LINES)
    axes.set_xlabel("\n".join(below), fontsize=LABEL, parse_math=False)
    axes.set_ylabel("\n".join(beside), fontsize=LABEL, parse_math=False)
    more = len(title) + len(below) - 2
    # A single curve that the y axis names needs no legend.
    if len(entries) > 1 or any(not getattr(panel, "y", "").startswith(name) for name in entries):
        more += _add_legend(figure, entries)
    figure.set_figheight(HEIGHT + LINE * more)
    return figure


def _measure(room: float, points: float) -> "tuple[float, FreeTypeFont]":
    """Return a width in inches in pixels, and the font of a size in points, for `wrap`."""
    return room * DOTS_PER_INCH, load_font(points * DOTS_PER_INCH / 72)


def _add_legend(figure: "Figure", entries: "Mapping[str, Artist]") -> int:
    """Add a legend below the axes, and return the number of its lines."""
    width, font = _measure(WIDTH - 1.2, LABEL)
    labels = [wrap(label, width, font, ENTRY_LINES) for label in entries]
    handle = 4.5 * LABEL * DOTS_PER_INCH / 72  # with the gaps beside it
    widest = handle + max(font.getlength(line) for label in labels for line in label)
    columns = max(1, min(len(labels), int((width + handle) / widest)))
    # matplotlib leaves labels that begin with an underscore out of the legend.
    texts = [" " + "\n".join(label) for label in labels]
    legend = figure.legend(
        entries.values(), texts, loc="outside lower center", ncols=columns, fontsize=LABEL, frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return math.ceil(len(labels) / columns) * max(map(len, labels))


def _plot(axes: "Axes", panel: Panel) -> "dict[str, Artist]":
    entries: dict[str, Artist] = {}
    for number, (name, curve) in enumerate(panel.curves.items()):
        missing = sum(not math.isfinite(value) for value in curve.y)
        label = f"{name} ({missing} of {counted(len(curve.y), 'value')} not finite)" if missing else name
        count = len(curve.y)
        (entries[label],) = axes.plot(
            curve.x, curve.y, color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)],
            # All points of a short curve; of a long one some, so that the line remains visible.
            markevery=1 if count < 50 else (number * count // 80, count // 8), markersize=4,
            linestyle=DASHES[number // len(COLOURS) % len(DASHES)],
        )  # fmt: skip
    for number, (name, base) in enumerate(panel.baselines.items()):
        style: dict[str, Any] = {
            "color": GREYS[number % len(GREYS)], "linestyle": GREY_DASHES[number % len(GREY_DASHES)], "linewidth": 1.5,
        }  # fmt: skip
        if isinstance(base, Curve):
            (entries[name],) = axes.plot(base.x, base.y, **style)
        elif math.isfinite(base):
            entries[name] = axes.axhline(base, **style)
    lines = [*panel.curves.values(), *(one for one in panel.baselines.values() if isinstance(one, Curve))]
    flat = [one for one in panel.baselines.values() if not isinstance(one, Curve)]
    for axis, values in (
        ("x", [value for line in lines for value in line.x]),
        ("y", [value for line in lines for value in line.y if math.isfinite(value)] + flat),
    ):
        if axis in panel.log and values and min(values) > 0:
            _scale_by_powers(axes, axis, max(values) / min(values))
    return entries


def _scale_by_powers(axes: "Axes", axis: str, ratio: float) -> None:
    """Make an axis logarithmic, with plain numbers at its ticks, as many as are readable for a ratio of its ends."""
    from matplotlib import ticker

    getattr(axes, f"set_{axis}scale")("log")
    line = getattr(axes, f"{axis}axis")
    if ratio < 10:
        line.set_major_locator(ticker.AutoLocator())
        line.set_minor_locator(ticker.NullLocator())
    elif ratio < 1000:
        line.set_minor_locator(ticker.LogLocator(subs=(2, 5)))
        line.set_minor_formatter("{x:g}")
    else:
        line.set_minor_formatter(ticker.NullFormatter())
    line.set_major_formatter("{x:g}")


def _scatter(axes: "Axes", panel: Scatter) -> "dict[str, Artist]":
    is_named = sum(map(len, panel.groups.values())) <= NAMED
    entries: dict[str, Artist] = {}
    middle = np.mean([place[0] for points in panel.groups.values() for _, place in points] or [0.0])
    for number, (group, points) in enumerate(panel.groups.items()):
        x, y = zip(*(place for _, place in points), strict=True) if points else ((), ())
        entries[group] = axes.scatter(
            x, y, s=24 if is_named else 16, color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)], linewidths=0,
        )  # fmt: skip
        for name, place in points if is_named else ():
            # Towards the middle, so that names stay in the plot.
            is_right = place[0] > middle
            axes.annotate(
                "".join(wrap(name, *_measure(1.2, SMALL), 1)), place, xytext=(-4 if is_right else 4, 3),
                textcoords="offset points", fontsize=SMALL, parse_math=False, ha="right" if is_right else "left",
            )  # fmt: skip
    axes.set_aspect("equal", adjustable="datalim")
    return entries if len(entries) > 1 else {}


def _spread(axes: "Axes", panel: Spread) -> None:
    for number, (group, values) in enumerate(panel.groups.items()):
        color, pale = (GREYS[0], GREYS[1]) if number else (COLOURS[0], COLOURS[0])
        level = np.full(len(values), number)
        axes.plot(values, level, linestyle="", marker="|", markersize=16, color=pale, alpha=0.4)
        if group in panel.means:
            mean, low, high = panel.means[group]
            axes.plot([low, high], [number, number], color=color, linewidth=3)
            axes.plot([mean], [number], marker="o", color=color)
            axes.annotate(
                f"{mean:.3g}", (mean, number), xytext=(0, 10), textcoords="offset points", ha="center",
                fontsize=SMALL + 2,
            )  # fmt: skip
    names = ["\n".join(wrap(name, *_measure(1.6, LABEL), ENTRY_LINES)) for name in panel.groups]
    axes.set_yticks(range(len(names)), names, fontsize=LABEL, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)


def draw_panels(
    output: Path, panels: Sequence[AnyPanel], *, overwrite: bool, columns: int | None = None
) -> None:
    """Write panels to a PNG file; see `paint_panels`."""
    with open_output(str(output), overwrite=overwrite) as stream:
        stream.write(paint_panels(panels, columns=columns))


def smooth(losses: "Sequence[float] | np.ndarray", intervals: int = 500, *, first: int = 0) -> Curve:
    """Average the losses of a training run over up to so many intervals of equal length.

    Args:
        losses: The loss of each step.
        intervals: Maximum number of intervals.
        first: Number of steps before these.

    Returns:
        The last step of each interval, and its mean loss.
    """
    if not len(losses):
        return Curve((), ())
    parts = np.array_split(np.asarray(losses), min(len(losses), intervals))
    ends = (first + np.cumsum([len(part) for part in parts])).tolist()
    return Curve(ends, [float(part.mean()) for part in parts])


def describe_progress(progress: Mapping[str, Any]) -> str:
    """Describe how far an unfinished training was when its state was saved.

    Args:
        progress: The attribute `progress` of its store, and the number of steps taken as `step`.
    """
    step, steps, rate = progress["step"], progress["steps"], progress["steps_per_second"]
    left = f", {duration((steps - step) / rate)} left" if rate else ""
    return f"step {step} of {steps}, {rate:.3g} steps/s{left}; saved {progress['saved']}"


def map_vectors(vectors: "Vectors", what: str) -> Scatter:
    """Project a set of vectors onto the plane of its first two principal components, with a colour for each category.

    Args:
        vectors: The set of vectors.
        what: Name of the vectors in the plural, such as "codes", for the title.

    Raises:
        InputError: A vector holds a number that is not finite.
    """
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
