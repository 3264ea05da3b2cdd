"""The files that `compare` writes: the scores as CSV, as plots, or as a page with the meshes of the worst pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdfkit.errors import GeometryError
from sdfkit.geometry.metrics import SCORES
from sdfkit.io.outputs import open_output
from sdfkit.report.diagnostics.comparison import COLUMNS, plot_scores
from sdfkit.report.drawing.formats import is_page
from sdfkit.report.pages import Content, make_page, pack_film
from sdfkit.report.plots import draw_panels
from sdfkit.report.scorecard import ScoreCard
from sdfkit.wording import agreeing, counted

if TYPE_CHECKING:
    import trimesh

# A page has the pictures of this number of shapes, and the scores of this number, the worst first.
PICTURED, LISTED = 100, 2000
# Of a mesh: number of pictures around it, and pixels along a side. At most so many samples of a shape are drawn.
VIEWS, SIZE, SAMPLES = 6, 144, 4


def draw_pair(truth: "trimesh.Trimesh", guesses: "Sequence[trimesh.Trimesh | str]") -> list[Content]:
    """Draw a true mesh and its predictions from the same cameras, as cells of a page.

    Args:
        truth: The true mesh.
        guesses: The predictions, each a mesh or the reason why there is none.
    """
    from sdfkit.geometry.frame import normalise

    unit, to_original = normalise(truth)
    cells = [_draw_cell("truth", unit)]
    for number, guess in enumerate(guesses[:SAMPLES]):
        name = "prediction" if len(guesses) == 1 else f"sample {number}"
        if isinstance(guess, str):
            cells.append({"column": name, "error": guess})
            continue
        placed = guess.copy()
        placed.vertices = (placed.vertices - to_original[:3, 3]) / to_original[0, 0]
        cells.append(_draw_cell(name, placed))
    if len(guesses) > SAMPLES:
        cells[-1]["facts"] = f"of {len(guesses)}; the others are not drawn"
    return cells


def _draw_cell(name: str, mesh: "trimesh.Trimesh") -> Content:
    from sdfkit.images.turntable import draw_turntable

    try:
        pictures = draw_turntable(mesh, views=VIEWS, size=SIZE)
    except GeometryError as error:
        return {"column": name, "error": str(error)}
    return {"column": name, "film": pack_film(pictures, size=SIZE, lossless=False)}


def make_comparison_page(
    heading: str, card: ScoreCard, drawings: Mapping[str, Sequence[Content]], failed: int
) -> bytes:
    """Make a page with the scores of all shapes, the worst first, the pictures of the worst, and the summaries.

    Args:
        heading: Heading of the page.
        card: The scores.
        drawings: The cells of the worst shapes by uid; see `draw_pair`.
        failed: Number of pairs that could not be scored.
    """
    baselines = [name for name in card.candidates if name != "prediction"]
    columns: list[Content] = [{"name": "shape", "kind": "text"}, {"name": "meshes", "kind": "cells"}]
    columns += [{"name": score, "kind": "number"} for score in SCORES]
    columns += [{"name": f"chamfer, {name}", "kind": "number"} for name in baselines]
    is_trained = any("trained" in shape["truth"] for shape in card.shapes.values())
    columns += [{"name": "training shape", "kind": "text"}] * is_trained
    rows: list[list[Any]] = []
    for place, (uid, shape) in enumerate(card.shapes.items()):
        scores = card.candidates["prediction"][place]
        compared = [card.candidates[name][place]["chamfer"] for name in baselines]
        trained = ["yes" if shape["truth"].get("trained") else "no"] * is_trained
        rows.append([uid, list(drawings.get(uid, ())), *scores.values(), *compared, *trained])
    chamfer = 2 + SCORES.index("chamfer")
    rows.sort(key=lambda row: -row[chamfer])
    *texts, definitions = card.list_summaries()
    table = {"columns": columns, "rows": rows[:LISTED], "sorted": chamfer, "below": [definitions]}
    notes = [_describe_extent(len(rows), len(drawings))]
    if failed:
        state = agreeing(failed, "is", "are")
        notes.append(f"{counted(failed, 'pair')} could not be scored and {state} left out")
    content = {"heading": heading, "notes": notes, "table": table, "texts": texts}
    return make_page(heading, content)


def _describe_extent(shapes: int, pictured: int) -> str:
    text = f"{counted(shapes, 'shape')}, the worst first by Chamfer distance"
    if pictured < min(shapes, LISTED):
        text += f"; pictures of the {pictured} worst only"
    if shapes > LISTED:
        text += f"; the scores of the {LISTED} worst only, -o scores.csv writes all"
    return text


def write_comparison(
    output: Path,
    heading: str,
    card: ScoreCard,
    drawings: Mapping[str, Sequence[Content]],
    failed: int,
    *,
    overwrite: bool,
) -> None:
    """Write the scores in the format that the ending of the file names: plots (.png), a page, or otherwise CSV.

    The arguments are those of `make_comparison_page`.
    """
    if output.suffix.lower() == ".png":
        draw_panels(output, plot_scores(card), columns=COLUMNS, overwrite=overwrite)
        return
    with open_output(str(output), overwrite=overwrite) as stream:
        if is_page(output):
            stream.write(make_comparison_page(heading, card, drawings, failed))
        else:
            stream.write(card.as_csv().encode())
