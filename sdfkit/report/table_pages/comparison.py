"""The files that `compare` writes: the scores as CSV, as plots, or as a page with the meshes of the worst pairs."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import GeometryError
from sdfkit.geometry.metrics import SCORES
from sdfkit.io.meshes.columns import PREDICTION, TRUTH
from sdfkit.io.outputs import open_output
from sdfkit.report.diagnostics.comparison import COLUMNS, plot_scores
from sdfkit.report.drawing.formats import is_page
from sdfkit.report.pages import Content, make_page, pack_film
from sdfkit.report.plots import draw_panels
from sdfkit.report.scorecard import ScoreCard
from sdfkit.report.viewer.mesh_cells import (
    MeshOptions,
    count_faces,
    describe_models,
    draw_mesh,
    make_reference,
    model_mesh,
)
from sdfkit.wording import agreeing, counted

if TYPE_CHECKING:
    import trimesh

# A page has the models of this number of shapes, the pictures of this number, and the scores of this number, the worst
# first. With all of them, and one prediction of each, it takes less than 5 MB.
MODELLED, PICTURED, LISTED = 24, 100, 2000
# Of a mesh: number of pictures around it, and pixels along a side. At most so many samples of a shape are drawn.
VIEWS, SIZE, SAMPLES = 6, 144, 4


def draw_pair(truth: "trimesh.Trimesh", guesses: "Sequence[trimesh.Trimesh | str]") -> list[Content]:
    """Draw a true mesh and its predictions from the same cameras, as cells of a page.

    Args:
        truth: The true mesh.
        guesses: The predictions, each a mesh or the reason why there is none.
    """
    options, cells = MeshOptions(VIEWS, SIZE, faces=None, texels=0), list[Content]()
    unit, others = _place(truth, guesses)
    for name, mesh in [(TRUTH, unit), *others]:
        cell: Content = {"column": name}
        cells.append(cell)
        try:
            drawn: Content = {"error": mesh} if isinstance(mesh, str) else draw_mesh(mesh, options)
        except GeometryError as error:
            drawn = {"error": str(error)}
        if "pictures" in drawn:
            cell["film"] = pack_film(drawn.pop("pictures"), size=SIZE, lossless=False)
        cell |= drawn
    return cells


def model_pair(
    truth: "trimesh.Trimesh", guesses: "Sequence[trimesh.Trimesh | str]", meshes: int
) -> list[Content]:
    """Make the models of a true mesh and its predictions, with the distances between the truth and the others.

    Args:
        truth: The true mesh.
        guesses: The predictions, each a mesh or the reason why there is none.
        meshes: Number of models on the page; the more, the fewer faces each has.

    Returns:
        What is to be added to each cell that `draw_pair` makes: nothing if its mesh cannot be shown.
    """
    faces = count_faces(meshes)
    unit, others = _place(truth, guesses)
    cells: list[Content] = [{} for _ in range(1 + len(others))]
    reference, found = make_reference(TRUTH, unit), None
    for cell, (name, mesh) in zip(cells[1:], others, strict=True):
        if not isinstance(mesh, str):
            with suppress(GeometryError):  # of which the cell tells already
                cell |= model_mesh(mesh, faces, reference=reference)
                found = found or make_reference(name, mesh)
    with suppress(GeometryError):
        cells[0] |= model_mesh(unit, faces, reference=found)
    return cells


def _place(
    truth: "trimesh.Trimesh", guesses: "Sequence[trimesh.Trimesh | str]"
) -> "tuple[trimesh.Trimesh, list[tuple[str, trimesh.Trimesh | str]]]":
    """Return the true mesh and, by the names of their cells, the predictions to draw, all in its unit frame."""
    from sdfkit.geometry.frame import normalise, to_unit

    unit, to_original = normalise(truth)
    placed = []
    for number, guess in enumerate(guesses[:SAMPLES]):
        name = PREDICTION if len(guesses) == 1 else f"sample {number}"
        if number + 1 == SAMPLES < len(guesses):
            name += f"; {len(guesses) - SAMPLES} more are not drawn"
        if not isinstance(guess, str):
            guess = guess.copy()
            guess.vertices = to_unit(np.asarray(guess.vertices), to_original)
        placed.append((name, guess))
    return unit, placed


def make_comparison_page(
    heading: str, card: ScoreCard, drawings: Mapping[str, Sequence[Content]], failed: int
) -> bytes:
    """Make a page with the scores of all shapes, the worst first, the pictures of the worst, and the summaries.

    Args:
        heading: Heading of the page.
        card: The scores.
        drawings: The cells of the worst shapes by uid; see `draw_pair` and `model_pair`.
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
    models = [[cell["model"] for cell in cells if "model" in cell] for cells in drawings.values()]
    modelled = sum(map(bool, models))
    notes = [_describe_extent(len(rows), len(drawings), modelled)]
    if modelled:
        notes.append(describe_models(list(chain(*models))))
    if failed:
        state = agreeing(failed, "is", "are")
        notes.append(f"{counted(failed, 'pair')} could not be scored and {state} left out")
    content = {"heading": heading, "notes": notes, "table": table, "texts": texts}
    return make_page(heading, content, models=modelled > 0)


def _describe_extent(shapes: int, pictured: int, modelled: int) -> str:
    text = f"{counted(shapes, 'shape')}, the worst first by Chamfer distance"
    if 0 < modelled < min(shapes, LISTED):
        text += f"; in 3-D the {modelled} worst only"
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
