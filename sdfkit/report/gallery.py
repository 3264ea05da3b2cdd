"""The output of `view`: meshes, stores and vectors as a contact sheet, as plots or as a web page."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdfkit.errors import InputError
from sdfkit.io.stores.layout import PLAIN
from sdfkit.report.contact_sheet import Tile, caption, draw_sheet
from sdfkit.report.diagnostics.training import plot_losses
from sdfkit.report.pages import describe_panel, make_page, pack_film
from sdfkit.report.plots import Panel, Scatter, describe_progress, map_vectors, paint_panels
from sdfkit.report.trajectory_page import CodeMesher, draw_strips, make_stepper
from sdfkit.report.viewer.appearance import SEVERAL, Appearance
from sdfkit.report.viewer.mesh_cells import count_faces, describe_models, draw_cells
from sdfkit.report.viewer.store_cells import count_points, draw_grid, draw_samples, draw_views
from sdfkit.runtime.pool import PoolOptions, compute_rows
from sdfkit.wording import counted

if TYPE_CHECKING:
    from sdfkit.io.meshes.columns import MeshTable
    from sdfkit.io.stores.contents.trajectories import TrajectoryRun
    from sdfkit.io.stores.contents.vectors import Vectors
    from sdfkit.io.stores.store_reader import StoreReader
    from sdfkit.rows import Row

log = logging.getLogger(__name__)
ACROSS = 3  # maximum number of plots in a row of an image
PLURAL = {"code": "codes", "feature": "features", "weights": "weights"}


@dataclass(frozen=True)
class Drawing:
    """The bytes of a PNG or HTML file, the number of shapes in it, and the indices of the rows that failed."""

    content: bytes
    count: int
    failed: set[int]


class Gallery:
    """A sheet or page of images, to which shapes are added one by one.

    Args:
        appearance: How to draw the shapes.
        label: Label of the slider on a page.
        turns: Whether the images of a shape show it from a full turn around it, so that the first follows the last.
        notes: Sentences below the heading.
    """

    def __init__(self, appearance: Appearance, *, label: str, turns: bool, notes: Sequence[str] = ()) -> None:
        self.failed: set[int] = set()
        self._appearance = appearance
        self._label = label
        self._turns = turns
        self._notes = notes
        self._tiles: list[tuple[Row, dict[str, Any]]] = []
        self._models: list[dict[str, Any]] = []

    def has(self, row: "Row") -> bool:
        """Return False: unlike a store, a gallery has no rows of an interrupted run."""
        return False

    def write(self, row: "Row", **values: Any) -> None:
        """Add the `pictures`, `facts` and, for a page, the `model` of a shape, or such `cells`; or its error."""
        if row.error:
            self.failed.add(row.index)
        for cell in values.get("cells", ()):
            if "error" in cell:
                self.failed.add(row.index)
                log.warning("%s: %s: %s", row.uid, cell["column"], cell["error"])
        if self._appearance.is_page:
            # Images are compressed now, because the uncompressed images of all shapes might not fit in memory.
            values = self._pack(values)
        self._tiles.append((row, values))

    def _pack(self, values: dict[str, Any]) -> dict[str, Any]:
        if "cells" in values:
            return {"cells": [self._pack(cell) for cell in values["cells"]]}
        if "model" in values:
            self._models.append(values["model"])
        if "pictures" not in values:
            return values
        rest = {name: value for name, value in values.items() if name != "pictures"}
        return {"film": pack_film(values["pictures"], size=self._appearance.size, lossless=False), **rest}

    def draw(self, total: int) -> Drawing:
        """Draw the shapes that were added, and note how many of the `total` shapes of the input they are."""
        appearance, count = self._appearance, len(self._tiles)
        notes = [describe_count(count, total, len(self.failed)), *self._notes]
        if appearance.is_page:
            tiles = [
                {"uid": row.uid, "category": row.category, "facts": "", "error": row.error, **values}
                for row, values in self._tiles
            ]
            if meshes := [model for model in self._models if model["kind"] == "mesh"]:
                notes.append(describe_models(meshes))
            gallery = {"label": self._label, "turns": self._turns, "tiles": tiles}
            content = {"heading": appearance.heading, "notes": notes, "gallery": gallery}
            page = make_page(appearance.heading, content, models=bool(self._models))
            return Drawing(page, count, self.failed)
        shown = [
            Tile(caption(row), values.get("facts", ""), row.error, values.get("pictures", ()))
            for row, values in self._tiles
        ]
        title = f"{appearance.heading}: {'; '.join(notes)}"
        sheet = draw_sheet(title, [], shown, columns=appearance.columns, size=appearance.size)
        return Drawing(sheet, count, self.failed)

    def fill(
        self, rows: Iterable[Any], total: int, draw: Callable[[Any], dict[str, Any]], options: PoolOptions
    ) -> Drawing:
        """Add the rows up to the limit, each drawn with `draw`, and then draw the gallery."""
        remaining = iter(rows)
        count = min(total, self._appearance.limit)
        compute_rows(self, islice(remaining, count), count, draw, options)
        # Read a pipe to its end, so that a truncated stream is noticed and its writer gets no SIGPIPE.
        deque(remaining, maxlen=0)
        return self.draw(total)


def describe_count(count: int, total: int, failed: int) -> str:
    """Say how many of all shapes are drawn, and how many of these failed."""
    note = counted(total, "shape")
    if count < total:
        note = f"{count} of {total} shapes; raise --limit to show more"
    return note + f"; {failed} failed" * bool(failed)


def draw_meshes(table: "MeshTable", appearance: Appearance, options: PoolOptions) -> Drawing:
    """Draw meshes, scaled to the unit sphere: from one side on a sheet; on a page as models in three dimensions."""
    shown = min(table.count, appearance.limit)
    drawn, notes = appearance.share_faces(shown, len(table.columns), has_truth=table.has_truth)
    gallery = Gallery(appearance, label="turn all", turns=True, notes=notes)
    return gallery.fill(table.rows, table.count, partial(draw_cells, options=drawn), options)


def draw_store(
    path: str,
    appearance: Appearance,
    options: PoolOptions,
    *,
    manifest: Path | None,
    is_pipe: bool,
    truth: str | None = None,
    mesher: CodeMesher | None = None,
) -> Drawing:
    """Draw the content of a store: trajectories, views, slices of samples, the surfaces of grids, or the losses and
    vectors of a model.

    Raises:
        InputError: The store is not complete and has no training losses, or it holds nothing that can be drawn.
    """
    from sdfkit.io.meshes.columns import read_rows
    from sdfkit.io.stores.contents.trajectories import holds_trajectories, read_run
    from sdfkit.io.stores.reader import open_store

    options = replace(options, jobs=1)
    with open_store(path, manifest=manifest, partial=True) as store, ExitStack() as open_files:
        losses = _find_losses(store)
        if not store.attributes.get("complete", False) and not losses:
            raise InputError(
                f"{store.name}: is not complete; run the command that began it again to finish it"
            )
        if truth and store.kind not in ("views", "samples", "grids"):
            raise InputError(
                f"{store.name}: holds {store.kind}; --truth is for meshes, views, samples and grids"
            )
        if mesher is not None and not holds_trajectories(store):
            raise InputError(f"{store.name}: holds {store.kind}; --decoder is for codes with trajectories")
        if holds_trajectories(store):
            if mesher is not None:
                mesher.check(store)
            return draw_runs([read_run(store, appearance.limit)], appearance, mesher)
        shown, meshes = min(len(store), appearance.limit), read_rows(truth) if truth else None
        if store.kind == "views":
            share = appearance.share(shown, on_sheet=SEVERAL)
            gallery = Gallery(appearance, label="view", turns=False, notes=share.notes)
            has_cameras = "camera_to_world" in store and "yfov" in store
            draw = partial(
                draw_views, views=share.views, faces=count_faces(min(shown, share.modelled)),
                modelled=share.modelled if has_cameras else 0, meshes=meshes or {},
            )  # fmt: skip
            arrays = ("rgb", "camera_to_world", "yfov") if has_cameras else ("rgb",)
            return gallery.fill(store.rows(*arrays), len(store), draw, options)
        columns = 1 if meshes is None else 2
        drawn, notes = appearance.share_faces(shown, columns)
        if store.kind == "samples":
            share = appearance.share(shown, columns=columns)
            gallery = Gallery(appearance, label="slice, from back to front", turns=False, notes=share.notes)
            points = count_points(min(shown, share.modelled))
            draw = partial(draw_samples, slices=share.views, points=points, options=drawn, meshes=meshes)
            return gallery.fill(store.rows("point", "distance"), len(store), draw, options)
        if store.kind == "grids":
            gallery = Gallery(appearance, label="turn all", turns=True, notes=notes)
            draw = partial(draw_grid, options=drawn, meshes=meshes)
            return gallery.fill(store.rows("grid"), len(store), draw, options)
        return _draw_model(store, losses, appearance, is_pipe=is_pipe, open_files=open_files)


def _find_losses(store: "StoreReader") -> list[str]:
    """Return the names of the arrays that have one number for each training step."""
    return sorted(
        array["name"]
        for array in store.describe_arrays()
        if array["axes"] == ("step",) and array["shape"][0] and "/" not in array["name"]
    )


def _draw_model(
    store: "StoreReader",
    losses: Sequence[str],
    appearance: Appearance,
    *,
    is_pipe: bool,
    open_files: ExitStack,
) -> Drawing:
    """Draw the training losses of a store, and its vectors as points of a plane; see `map_vectors`."""
    from sdfkit.io.stores.contents.vectors import vectors_of

    count = 1
    curves, settings = {name: store.read(name) for name in losses}, store.attributes.get("settings", {})
    reached = ""
    if (progress := store.attributes.get("progress")) and curves:
        reached = describe_progress({"step": len(next(iter(curves.values()))), **progress})
    panels: list[Panel | Scatter] = [
        panel
        for name, values in curves.items()
        for panel in plot_losses(
            values,
            store.kind,
            settings,
            source=store.name,
            title=f"{name} in training{f': {reached}' * bool(reached)}",
            name=name,
        )
    ]
    array = PLAIN.get(store.kind, "")
    if array and array in store:
        vectors = vectors_of(store, is_pipe=is_pipe, open_files=open_files)
        panels.append(map_vectors(vectors, PLURAL[array]))
        count = len(vectors.rows)
    if not panels:
        raise InputError(
            f"{store.name}: holds {store.kind}, which cannot be drawn; list its content with sdfkit info"
        )
    state = "" if store.attributes.get("complete", False) else ", not complete"
    return Drawing(_make_plots(panels, f"{store.kind}{state}", appearance), count, set())


def draw_vectors(vectors: "Vectors", appearance: Appearance) -> Drawing:
    """Draw vectors as points of a plane; see `map_vectors`."""
    content = _make_plots([map_vectors(vectors, "vectors")], "", appearance)
    return Drawing(content, len(vectors.rows), set())


def _make_plots(panels: Sequence[Panel | Scatter], note: str, appearance: Appearance) -> bytes:
    if not appearance.is_page:
        return paint_panels(panels, columns=min(len(panels), ACROSS))
    heading = appearance.heading
    plots = [describe_panel(panel) for panel in panels]
    return make_page(heading, {"heading": heading, "notes": [note] * bool(note), "plots": plots})


def read_runs(
    paths: Sequence[str], limit: int, *, manifest: Path | None, mesher: CodeMesher | None = None
) -> list["TrajectoryRun"]:
    """Read stores of trajectories of the same shapes.

    Raises:
        InputError: An input is not a store of trajectories, or the stores have different shapes.
    """
    from sdfkit.io.stores.contents.trajectories import check_runs, holds_trajectories, read_run
    from sdfkit.io.stores.reader import open_store
    from sdfkit.io.streams import find_kind

    runs = []
    for path in paths:
        if find_kind(path) != "store":
            raise InputError(
                f"{path}: is not a store; give only meshes, only stores of trajectories, or a store with --truth "
                "MESHES"
            )
        with open_store(path, manifest=manifest) as store:
            if not holds_trajectories(store):
                raise InputError(
                    f"{store.name}: holds {store.kind} without trajectories; give this store alone, or only "
                    "stores with trajectories"
                )
            if mesher is not None:
                mesher.check(store)
            runs.append(read_run(store, limit))
    check_runs(runs)
    return runs


def draw_runs(
    runs: Sequence["TrajectoryRun"], appearance: Appearance, mesher: CodeMesher | None = None
) -> Drawing:
    """Draw trajectories of the same shapes: a sheet with strips of silhouettes, or a page with one step at a time."""
    rows, heading, size = runs[0].rows, appearance.heading, appearance.size
    for run in runs:
        for row in run.rows:
            if row.error:
                log.warning("%s: %s: %s", run.name, row.uid, row.error)
    failed = {row.index for run in runs for row in run.rows if row.error}
    note = describe_count(len(rows), runs[0].count, len(failed))
    if appearance.is_page:
        return Drawing(make_stepper(heading, note, runs, size=size, mesher=mesher), len(rows), failed)
    sheet = draw_strips(f"{heading}: {note}", runs, columns=appearance.columns or 1, size=size)
    return Drawing(sheet, len(rows), failed)
