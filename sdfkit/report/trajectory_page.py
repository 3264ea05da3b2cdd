"""Sampling trajectories of a flow, as a web page that shows step after step, or as strips of silhouettes."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sdfkit.analysis.trajectories import Trajectories, measure_trajectories
from sdfkit.io.stores.contents.trajectories import TrajectoryRun, name_runs
from sdfkit.report.contact_sheet import Tile, caption, draw_sheet
from sdfkit.report.pages import make_page, pack_film, round_numbers
from sdfkit.report.plots import name_axes
from sdfkit.report.viewer.mesh_cells import TOTAL

if TYPE_CHECKING:
    from trimesh import Trimesh

    from sdfkit.io.stores.store_reader import StoreReader

STILLS = ("truth", "picture")
# Faces of the mesh of one step.
MOST_FACES, FEWEST_FACES = 20_000, 800


class CodeMesher(Protocol):
    """What meshes the steps of trajectories; see `inference.meshing.CodeMesher`."""

    def check(self, store: "StoreReader") -> None: ...

    def mesh(self, code: np.ndarray) -> "Trimesh | None": ...


def draw_strips(title: str, runs: Sequence[TrajectoryRun], *, columns: int, size: int) -> bytes:
    """Draw the silhouettes of each shape at all steps, and the true silhouette, in one strip per run.

    Args:
        title: Title above the sheet.
        runs: Runs of the same shapes.
        columns: Number of strips in a row.
        size: Pixels along the longer side of each image.

    Returns:
        The bytes of the PNG file.
    """
    tiles = []
    measured = list(zip(runs, name_runs(runs), map(_measure_run, runs), strict=True))
    for index in range(len(runs[0].rows)):
        for run, name, found in measured:
            row, place = run.rows[index], _places(run).get(index)
            if place is None:
                tiles.append(Tile(caption(row), name, row.error, ()))
                continue
            stills = [array[place] for array in (run.truth, run.picture) if array is not None]
            facts = name if found.iou is None else f"{name}, IoU {found.iou[place, -1]:.3f}"
            tiles.append(Tile(caption(row), facts, "", [*run.silhouette[place], *stills]))
    labels = [f"step {step}" for step in range(runs[0].silhouette.shape[1])]
    labels += [name for name in STILLS if getattr(runs[0], name) is not None]
    return draw_sheet(title, labels, tiles, columns=columns, size=size)


def make_stepper(
    heading: str,
    note: str,
    runs: Sequence[TrajectoryRun],
    *,
    size: int,
    mesher: CodeMesher | None = None,
) -> bytes:
    """Make the page that shows runs of the same shapes step after step, with a switch between the runs.

    Args:
        heading: Heading and title of the page.
        note: Line below the heading.
        runs: Runs of the same shapes.
        size: Pixels along the longer side of each image; larger images are scaled down.
        mesher: Also show the mesh of each step, which takes about a second for each.

    Returns:
        The bytes of the HTML file.
    """
    shapes = [
        {"uid": row.uid, "category": row.category, **dict(_find_stills(runs, place, size))}
        for place, row in enumerate(runs[0].rows)
    ]
    described = []
    for run, name in zip(runs, name_runs(runs), strict=True):
        found = _measure_run(run)
        shapes_of_run = list(_describe_paths(run, found, size))
        if mesher is not None:
            steps = sum(run.trajectory.shape[0] * run.trajectory.shape[1] for run in runs)
            faces = max(FEWEST_FACES, min(MOST_FACES, TOTAL // steps))
            for index, place in _places(run).items():
                shapes_of_run[index]["models"] = _mesh_steps(run.trajectory[place], mesher, faces)
        described.append({"name": name, "axes": name_axes(found.shares), "shapes": shapes_of_run})
    content = {"heading": heading, "notes": [note], "stepper": {"shapes": shapes, "runs": described}}
    return make_page(heading, content, models=mesher is not None)


def _mesh_steps(codes: np.ndarray, mesher: CodeMesher, faces: int) -> list[dict[str, Any] | None]:
    """Return the model of each code (step dim); None where a code has no surface."""
    from sdfkit.images.scenes.model import make_model

    meshes = map(mesher.mesh, codes)
    return [
        None if mesh is None else make_model(mesh, faces=faces) | {"closed": mesh.is_watertight}
        for mesh in meshes
    ]


def _measure_run(run: TrajectoryRun) -> Trajectories:
    uids = [row.uid for row in run.rows if not row.error]
    return measure_trajectories(run.trajectory, run.silhouette, run.truth, uids, run.name)


def _places(run: TrajectoryRun) -> dict[int, int]:
    """Map the index of each row that did not fail to the position of its entry in the arrays of the run."""
    good = [index for index, row in enumerate(run.rows) if not row.error]
    return {index: place for place, index in enumerate(good)}


def _find_stills(runs: Sequence[TrajectoryRun], index: int, size: int) -> Iterator[tuple[str, Any]]:
    """Yield the true silhouette and the input image of a row, each from the first run that has it."""
    for name in STILLS:
        for run in runs:
            place, array = _places(run).get(index), getattr(run, name)
            if place is not None and array is not None:
                yield name, pack_film(array[place : place + 1], size=size, lossless=name == "truth")
                break


def _describe_paths(run: TrajectoryRun, found: Trajectories, size: int) -> Iterator[dict[str, Any]]:
    places = _places(run)
    for index, row in enumerate(run.rows):
        if row.error:
            yield {"error": row.error}
            continue
        place = places[index]
        yield {
            "path": round_numbers(found.coordinates[place]),
            "norm": round_numbers(found.norm[place]),
            "moved": round_numbers(found.moved[place]),
            "iou": None if found.iou is None else round_numbers(found.iou[place]),
            "film": pack_film(run.silhouette[place], size=size, lossless=True),
        }
