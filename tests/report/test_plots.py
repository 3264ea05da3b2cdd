"""Pictures of reports: nothing is cut or hidden, whatever the names and values are."""

import io
import itertools
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from sdfkit.analysis.statistics import measure_statistics
from sdfkit.errors import InputError
from sdfkit.report.diagnostics.comparison import plot_scores
from sdfkit.report.diagnostics.perturbation import plot_perturbation
from sdfkit.report.diagnostics.ranking import plot_ranking
from sdfkit.report.diagnostics.statistics import plot_statistics
from sdfkit.report.diagnostics.timesteps import plot_timesteps
from sdfkit.report.diagnostics.training import plot_losses, split_stages
from sdfkit.report.drawing.lettering import load_font, wrap
from sdfkit.report.pages import describe_panel
from sdfkit.report.plots import (
    COLOURS,
    DASHES,
    GREYS,
    MARKERS,
    Curve,
    Panel,
    Scatter,
    Spread,
    compose_figure,
    paint_panels,
    smooth,
)
from tests.report.test_scorecard import BAD, GOOD, card

NAMES = {
    "path": "/home/someone/" + "a_long_folder/" * 12 + "deepsdf.zarr",
    "one word": "W" * 300,
    "formula": "_$x_$ \\frac{1} \x1b[31m",
    "letters without a glyph": "椅子" * 60,
}
STEPS = {"encoder": 6, "distil": 2, "joint": 3, "rgb": 1}


def make_perturbation(name):
    levels = [{"sigma": sigma, "iou": 1 - sigma, "worst": 0.9 - sigma} for sigma in (0.1, 0.5)]
    parts = {f"layer {number} weight": {"levels": levels} for number in range(14)}
    return plot_perturbation({"noise": name, "criterion": 0.5, "stores": [{"name": name, "parts": parts}]})


def make_timesteps(name):
    losses = {"timestep": np.array([0, 450]), "loss": np.array([0.1, np.nan]), "wrong": np.array([0.0, 2])}
    sampled = {"loss": 0.5, "steps": 10}
    facts = {
        "model": name,
        "timesteps": losses,
        "mean_predictor": 1.0,
        "one_step": sampled,
        "sampled": sampled,
    }
    return [plot_timesteps(facts)]


def make_ranking(name):
    row = {
        "to_mean": 0.1,
        "nearest": {"distance": 0.1, "leave_one_out": 0.0},
        "neighbours": [{"cosine": 0.9}],
    }
    truth = {"cosine": 0.8, "mean_cosine": 0.1}
    return plot_ranking(
        {
            "name": name,
            "verdict": {"name": "recall"},
            "predictions": [{**row, "truth": truth}, {**row, "truth": None}],
        }
    )


def make_statistics(name):
    vectors = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    rng = np.random.default_rng(0)
    return plot_statistics([name], [measure_statistics(vectors, "abcde", "x", [], 0.0, 5, rng)])


def make_losses(name):
    losses = np.geomspace(1, 0.1, 12)
    settings = {"stage": "all", "steps": STEPS, "sphere": 4}
    return plot_losses(
        losses,
        "flow",
        settings,
        source="x",
        title=name,
        held_out=[(3, np.inf)],
        baselines={f"mean {name}": 0.3},
    )


KINDS = {
    "perturb": make_perturbation,
    "timestep-loss": make_timesteps,
    "rank": make_ranking,
    "weight-stats": make_statistics,
    "training": make_losses,
    "compare": lambda name: plot_scores(card([[GOOD], [BAD]], BAD))[:1],
    "map": lambda name: [Scatter(name, name, name, {name: [(name, (0, 0)), (name, (9, 1))], "": [("", (5, 1))]})],
    "spread": lambda name: [Spread(name, name, {name: [0.1, np.nan], "none": []}, {name: (0.1, 0, 1)})],
    "empty": lambda name: [Panel(name, name, name, {name: Curve((), ())}, "xy")],
    "one value": lambda name: [Panel(name, name, name, {name: smooth([0.0])}, "xy")],
}  # fmt: skip


def find_cut(panel):
    """Return what of a panel reaches beyond its picture, or into another text, or is too small."""
    figure = compose_figure(panel)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        canvas.draw()
    width, height = canvas.get_width_height()
    (axes,) = figure.axes
    drawn = figure.get_tightbbox(canvas.get_renderer()).transformed(figure.dpi_scale_trans)
    is_cut = bool(min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) < 0)
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = {text: text.get_window_extent() for text in texts}
    legend = figure.legends[0].get_texts() if figure.legends else []
    around = [*figure.texts, axes.xaxis.label, axes.yaxis.label, *legend]
    hidden = [
        (one.get_text(), other.get_text())
        for one, other in itertools.combinations([text for text in around if text in boxes], 2)
        if boxes[one].overlaps(boxes[other])
    ]
    inside = axes.get_window_extent()
    return (
        ["the edge"] * is_cut + hidden + ["the axes"] * int(inside.width < 0.6 * width or inside.height < 400)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_a_picture_is_cut(kind):
    panels = KINDS[kind](NAMES["path"] + NAMES["one word"])[:2]
    assert {panel.title: find_cut(panel) for panel in panels if find_cut(panel)} == {}
    assert all(panel.x and getattr(panel, "y", "y") for panel in panels)


@pytest.mark.parametrize("name", ["formula", "letters without a glyph"])
def test_any_name_can_be_drawn(name):
    panels = [*KINDS["map"](NAMES[name]), Panel(NAMES[name], "x", "y", {NAMES[name]: Curve([1], [2])}, "")]
    with Image.open(io.BytesIO(paint_panels(panels, columns=1))) as picture:
        assert picture.width == 1200 and picture.height >= 1500


def test_long_texts_are_broken_into_lines_and_lose_their_middle():
    font = load_font(20)
    lines = wrap(NAMES["path"], 400, font, 3)
    assert len(lines) == 3 and all(font.getlength(line) <= 400 for line in lines)
    assert (
        lines[0].startswith("/home/someone/") and lines[-1].endswith("deepsdf.zarr") and "…" in "".join(lines)
    )
    assert wrap("two words", 1000, font, 1) == ["two words"]
    assert wrap("", 10, font, 1) == [""]


def test_curves_differ_in_more_than_their_colour_and_baselines_are_grey():
    styles = [
        (MARKERS[n % len(MARKERS)], DASHES[n // len(COLOURS) % len(DASHES)]) for n in range(4 * len(COLOURS))
    ]
    assert len({*styles}) == len(styles)
    figure = compose_figure(
        Panel("", "", "", {"a": Curve([1, 2], [1, 2])}, "", {"b": 3, "c": Curve([1], [1])})
    )
    assert [line.get_color() for line in figure.axes[0].lines] == [COLOURS[0], *GREYS]


def test_a_line_that_a_logarithmic_axis_would_hide_makes_it_linear():
    for values, scale in (([1, 0.1], "log"), ([1, 0], "linear"), ([np.nan, np.nan], "linear")):
        figure = compose_figure(Panel("", "", "", {"a": Curve([1, 2], values)}, "y"))
        assert figure.axes[0].get_yscale() == scale
    assert figure.legends[0].get_texts()[0].get_text() == " a (2 of 2 values not finite)"


def test_the_losses_of_the_stages_of_a_flow_are_not_joined():
    """The losses of the stages are of different kinds."""
    settings = {"stage": "all", "steps": STEPS, "sphere": 4}
    whole = {name: (part.start, part.stop) for name, part in split_stages(12, settings, "x")}
    assert whole == {"ball": (0, 4), "encoder": (4, 6), "distil": (6, 8), "joint": (8, 11), "rgb": (11, 12)}
    assert [*split_stages(5, settings, "x")] == [("ball", slice(0, 4)), ("encoder", slice(4, 5))]
    assert [*split_stages(3, {**settings, "stage": "joint"}, "x")] == [("joint", slice(0, 3))]
    assert [*split_stages(7, {"steps": 7}, "x")] == [("", slice(0, 7))]
    assert [*split_stages(14, settings, "x")][-1] == ("", slice(12, 14))
    for wrong in ({"sphere": "4"}, {"stage": []}, {"steps": {"encoder": -1}}):
        with pytest.raises(InputError, match=r"x: (sphere|stage|encoder) in its (settings|steps) is "):
            [*split_stages(12, settings | wrong, "x")]
    panels = make_losses("x")
    assert [list(panel.curves["training"].x) for panel in panels] == [
        [1, 2, 3, 4],
        [5, 6],
        [7, 8],
        [9, 10, 11],
        [12],
    ]
    assert len({panel.title for panel in panels}) == 5


def test_a_page_shows_baselines_as_lines():
    panel = Panel("", "", "", {"a": Curve([1, 5], [1, 2])}, "", {"b": 3.0, "c": Curve([2], [4])})
    assert describe_panel(panel)["lines"][1:] == [
        {"name": "b", "x": [1, 5], "y": [3, 3]}, {"name": "c", "x": [2], "y": [4]},
    ]  # fmt: skip
