"""Trajectories as a page to step through, or as strips of silhouettes."""

from collections.abc import Iterator, Sequence
from typing import Any

from sdfkit.analysis.trajectories import Trajectories, measure_trajectories
from sdfkit.io.stores.trajectories import Run, name_runs
from sdfkit.report.contact_sheet import Tile, caption, draw_sheet
from sdfkit.report.pages import film, numbers, write_page
from sdfkit.report.plots import name_axes

STILLS = ("truth", "picture")


def draw_strips(title: str, runs: Sequence[Run], *, columns: int, size: int) -> bytes:
    """Draw the silhouettes of each shape step by step beside its truth, and those of every run below, as a PNG."""
    tiles = []
    measured = list(zip(runs, name_runs(runs), map(_measure, runs), strict=True))
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


def write_stepper(heading: str, note: str, runs: Sequence[Run], *, size: int) -> bytes:
    """Write the page that steps through runs of the same shapes, with a switch between them."""
    shapes = [
        {"uid": row.uid, "category": row.category, **dict(_find_stills(runs, place, size))}
        for place, row in enumerate(runs[0].rows)
    ]
    told = []
    for run, name in zip(runs, name_runs(runs), strict=True):
        found = _measure(run)
        told.append({
            "name": name, "axes": name_axes(found.shares), "shapes": list(_tell_paths(run, found, size))
        })  # fmt: skip
    content = {"heading": heading, "notes": [note], "stepper": {"shapes": shapes, "runs": told}}
    return write_page(heading, content)


def _measure(run: Run) -> Trajectories:
    uids = [row.uid for row in run.rows if not row.error]
    return measure_trajectories(run.trajectory, run.silhouette, run.truth, uids, run.name)


def _places(run: Run) -> dict[int, int]:
    """Where the arrays of a run hold a row, by its place among all rows."""
    good = [index for index, row in enumerate(run.rows) if not row.error]
    return {index: place for place, index in enumerate(good)}


def _find_stills(runs: Sequence[Run], index: int, size: int) -> Iterator[tuple[str, Any]]:
    """Truth and picture of a row, from the first run that has them."""
    for name in STILLS:
        for run in runs:
            place, array = _places(run).get(index), getattr(run, name)
            if place is not None and array is not None:
                yield name, film(array[place : place + 1], size=size, lossless=name == "truth")
                break


def _tell_paths(run: Run, found: Trajectories, size: int) -> Iterator[dict[str, Any]]:
    places = _places(run)
    for index, row in enumerate(run.rows):
        if row.error:
            yield {"error": row.error}
            continue
        place = places[index]
        yield {
            "path": numbers(found.place[place]),
            "norm": numbers(found.norm[place]),
            "moved": numbers(found.moved[place]),
            "iou": None if found.iou is None else numbers(found.iou[place]),
            "film": film(run.silhouette[place], size=size, lossless=True),
        }
