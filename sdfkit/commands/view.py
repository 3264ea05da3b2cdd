from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.options import STANDARD, Jobs, Manifest, Output, Overwrite, Timeout
from sdfkit.runtime.cores import CORES

if TYPE_CHECKING:
    from sdfkit.io.meshes.reader import MeshRow
    from sdfkit.io.stores.reader import ArrayRow, StoreReader
    from sdfkit.io.stores.trajectories import Run
    from sdfkit.io.stores.vectors import Vectors
    from sdfkit.report.plots import Panel, Scatter
    from sdfkit.rows import Row

PAGES = (".html", ".htm")
# Pictures of a shape: on a page, and on a sheet of meshes or samples, or of a views store.
TURNS, ONE, SEVERAL = 24, 1, 6
PLURAL = {"code": "codes", "feature": "features", "weights": "weights"}
# Categories with a colour of their own.
COLOURED = 9


def view(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="STORE|MESH",
            help="A store, meshes, folders of meshes, or a .npy; several stores where they are trajectories of the "
            "same shapes; - reads a pipe.",
        ),
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    form: Annotated[
        Literal["png", "html"] | None,
        typer.Option("--format", help="A picture or a page.", show_default="by the file's ending, else png"),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=120,
            help="Pictures of each shape.",
            show_default=f"{TURNS} on a page; on a sheet {SEVERAL} of a views store, else {ONE}",
        ),
    ] = None,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Pixels a side of a picture.")] = 160,
    columns: Annotated[
        int | None, typer.Option(min=1, help="Shapes in a row of a sheet.", show_default="as it fits")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Shapes to picture, at most; a map has all.")] = 64,
    manifest: Manifest = None,
    output: Output = STANDARD,
    jobs: Jobs = CORES,
    timeout: Timeout = 600,
    overwrite: Overwrite = False,
) -> None:
    """Look at any store or mesh: a picture, or one page for a browser that needs nothing else.

    Meshes and views: a sheet of them with their names; on a page they turn as you drag them. Samples: cuts through
    them, blue inside, orange outside. Codes, weights and features: a map of their first two principal components,
    coloured by category. Models: the curve of the loss, also while they train, and the map of their codes.

    Codes with trajectories, which sdfkit predict --trajectory keeps: on a page a stepper, with the path of the code,
    the silhouette at each step and the truth; as a picture, the silhouettes step by step. Two such stores of the same
    shapes share a page with a switch between them, such as predictions with and without scaled noise. The page's
    address keeps what is shown: #shape=0&step=4&noise=1.

    \b
    Examples:
      sdfkit view chair.glb -o chair.png
      sdfkit view closed/ -o closed.html
      sdfkit view deepsdf.zarr -o deepsdf.png
      sdfkit view scaled.zarr unit.zarr -o stepper.html
    """
    from sdfkit.io.streams import find_kind, open_output
    from sdfkit.runtime.pool import Workers, conclude

    is_page = _choose(output, form) == "html"
    look = _Look(inputs, is_page, views, size, columns, limit, Workers(jobs, timeout, None, fail_fast=False))
    with open_output(output, overwrite=overwrite) as stream:
        kinds = [find_kind(path) for path in inputs]
        if set(kinds) == {"mesh"}:
            shown = _show_meshes(look, manifest)
        elif len(inputs) > 1:
            shown = _show_runs(look, _read_runs(look, manifest))
        elif kinds == ["arrays"]:
            shown = _show_array(look, inputs[0])
        else:
            shown = _show_store(look, inputs[0], manifest)
        if len(shown.failed) < shown.count:
            stream.write(shown.content)
        else:
            conclude(output, "nothing", shown.count, shown.failed)
    conclude(output, "a page" if is_page else "a picture", shown.count, shown.failed)


def _choose(output: str, form: str | None) -> str:
    """png or html, as the option or else the name says.

    Raises:
        UsageError: They contradict each other, or the name is that of something else.
    """
    ending = Path(output).suffix.lower()
    named = "html" if ending in PAGES else "png" if ending == ".png" else None
    if output == STANDARD or (named is None and form is not None):
        return form or "png"
    if named is None:
        raise UsageError(f"{output}: pictures are written as .png, pages as .html; or say --format")
    if form not in (None, named):
        raise UsageError(f"{output}: --format {form} does not go with that name; leave one of them out")
    return named


@dataclass(frozen=True)
class _Look:
    """What the command line says of how to show things."""

    inputs: Sequence[str]
    is_page: bool
    views: int | None
    size: int
    columns: int | None
    limit: int
    workers: Any

    @property
    def heading(self) -> str:
        from sdfkit.io.streams import name_of

        names = [name_of(path) for path in self.inputs]
        return ", ".join(names if len(names) <= 3 else [*names[:2], "…", names[-1]])

    def count(self, sheet: int) -> int:
        """Pictures of each shape, unless told otherwise."""
        return self.views or (TURNS if self.is_page else sheet)


@dataclass(frozen=True)
class _Shown:
    """What is written, and of how many shapes it tells which failed."""

    content: bytes
    count: int
    failed: set[int]


class _Gallery:
    """Takes pictures of shapes as they are made, and puts them on a sheet or a page."""

    def __init__(self, look: _Look, *, label: str, turns: bool) -> None:
        self.failed: set[int] = set()
        self._look = look
        self._label = label
        self._turns = turns
        self._tiles: list[tuple[Row, Any, str]] = []

    def has(self, row: "Row") -> bool:
        return False

    def write(self, row: "Row", **values: Any) -> None:
        from sdfkit.report.pages import film

        pictures = values.get("pictures", ())
        if row.error:
            self.failed.add(row.index)
        kept = pictures
        if self._look.is_page and not row.error:
            kept = film(pictures, size=self._look.size, lossless=False)
        self._tiles.append((row, kept, values.get("facts", "")))

    def draw(self, total: int) -> _Shown:
        from sdfkit.report.contact_sheet import Tile, caption, draw_sheet
        from sdfkit.report.pages import write_page

        look, count = self._look, len(self._tiles)
        note = _tell_count(count, total, len(self.failed))
        if look.is_page:
            tiles = [
                {"uid": row.uid, "category": row.category, "facts": facts, "error": row.error}
                | ({} if row.error else {"film": kept})
                for row, kept, facts in self._tiles
            ]
            gallery = {"label": self._label, "turns": self._turns, "tiles": tiles}
            content = {"heading": look.heading, "notes": [note], "gallery": gallery}
            return _Shown(write_page(look.heading, content), count, self.failed)
        shown = [Tile(caption(row), facts, row.error, kept) for row, kept, facts in self._tiles]
        sheet = draw_sheet(f"{look.heading}: {note}", [], shown, columns=look.columns, size=look.size)
        return _Shown(sheet, count, self.failed)


def _tell_count(count: int, total: int, failed: int) -> str:
    note = f"{total} shape{'s'[: total - 1]}"
    if count < total:
        note = f"{count} of {total} shapes; the others are left out, --limit shows more"
    return note + f"; {failed} failed" * bool(failed)


def _fill(
    gallery: _Gallery, rows: Iterable[Any], total: int, draw: Callable[[Any], Any], look: _Look, workers: Any
) -> _Shown:
    from sdfkit.runtime.pool import fill

    every = iter(rows)
    count = min(total, look.limit)
    fill(gallery, islice(every, count), count, draw, workers)
    # To the end of a pipe: one that is cut is noticed, and who writes it is not cut off.
    deque(every, maxlen=0)
    return gallery.draw(total)


def _show_meshes(look: _Look, manifest: Path | None) -> _Shown:
    from sdfkit.io.meshes.reader import open_meshes

    draw = partial(_draw_mesh, views=look.count(ONE), size=look.size)
    gallery = _Gallery(look, label="turn all", turns=True)
    with open_meshes(look.inputs, manifest=manifest) as meshes:
        return _fill(gallery, meshes, len(meshes), draw, look, look.workers)


def _draw_mesh(row: "MeshRow", *, views: int, size: int) -> dict[str, Any]:
    from sdfkit.geometry.frame import normalise
    from sdfkit.images.turntable import draw_turntable

    mesh = row.load()
    unit, _ = normalise(mesh)
    pictures = draw_turntable(unit, views=views, size=size)
    if not unit.is_watertight:
        # Many formats repeat vertices in one place.
        unit.merge_vertices(merge_tex=True, merge_norm=True)
    state = "closed" if unit.is_watertight else "open"
    return {"pictures": pictures, "facts": f"{len(mesh.faces):,} faces, {state}"}


def _show_store(look: _Look, path: str, manifest: Path | None) -> _Shown:
    from dataclasses import replace

    from sdfkit.io.stores.reader import open_store
    from sdfkit.io.stores.trajectories import holds_trajectories, read_run

    alone = replace(look.workers, jobs=1)
    with open_store(path, manifest=manifest, partial=True) as store, ExitStack() as open_files:
        losses = _list_losses(store)
        if not store.attributes.get("complete", False) and not losses:
            raise InputError(f"{store.name}: not complete; finish it with the command that began it")
        if holds_trajectories(store):
            return _show_runs(look, [read_run(store, look.limit)])
        if store.kind == "views":
            gallery = _Gallery(look, label="view", turns=False)
            draw = partial(_take_views, views=look.count(SEVERAL))
            return _fill(gallery, store.rows("rgb"), len(store), draw, look, alone)
        if store.kind == "samples":
            gallery = _Gallery(look, label="cut, from back to front", turns=False)
            draw = partial(_cut_samples, slices=look.count(ONE))
            return _fill(gallery, store.rows("point", "distance"), len(store), draw, look, alone)
        panels = [_draw_loss(store.read(name), name) for name in losses]
        return _show_panels(look, store, panels, is_pipe=path == STANDARD, open_files=open_files)


def _take_views(row: "ArrayRow", *, views: int) -> dict[str, Any]:
    from sdfkit.images.turntable import spread

    if row.error:
        raise GeometryError(row.error)
    pictures = row.arrays["rgb"]
    return {"pictures": spread(pictures, views), "facts": f"{len(pictures)} view{'s'[: len(pictures) - 1]}"}


def _cut_samples(row: "ArrayRow", *, slices: int) -> dict[str, Any]:
    from sdfkit.images.slices import draw_slices

    if row.error:
        raise GeometryError(row.error)
    point, distance = row.arrays["point"], row.arrays["distance"]
    return {"pictures": draw_slices(point, distance, slices=slices), "facts": f"{len(point):,} samples"}


def _list_losses(store: "StoreReader") -> list[str]:
    """The curves of a training: arrays with one number a step."""
    arrays = dict(store.group.arrays())
    return sorted(name for name, array in arrays.items() if _axes_of(array) == ("step",) and array.shape[0])


def _axes_of(array: Any) -> tuple[str, ...]:
    return tuple(array.metadata.dimension_names or ())


def _draw_loss(losses: Any, name: str) -> "Panel":
    from sdfkit.report.plots import Panel, smooth

    return Panel(f"{name} in training", "step", name, {name: smooth(losses)}, "y")


def _show_panels(
    look: _Look, store: "StoreReader", panels: list[Any], *, is_pipe: bool, open_files: ExitStack
) -> _Shown:
    from sdfkit.io.stores.layout import PLAIN
    from sdfkit.io.stores.vectors import vectors_of

    count, complete = 1, store.attributes.get("complete", False)
    name = PLAIN.get(store.kind, "")
    if name and name in store:
        vectors = vectors_of(store, is_pipe=is_pipe, open_files=open_files)
        panels.append(_draw_map(vectors, PLURAL[name]))
        count = len(vectors.rows)
    if not panels:
        raise InputError(
            f"{store.name}: holds {store.kind}, of which there is no picture; sdfkit info tells what is in it"
        )
    state = "" if complete else ", not complete"
    return _Shown(_write_panels(look, panels, f"{store.kind}{state}"), count, set())


def _show_array(look: _Look, path: str) -> _Shown:
    from sdfkit.io.stores.vectors import open_vectors

    with open_vectors(path, manifest=None) as vectors:
        return _Shown(_write_panels(look, [_draw_map(vectors, "vectors")], ""), len(vectors.rows), set())


def _write_panels(look: _Look, panels: Sequence["Panel | Scatter"], note: str) -> bytes:
    from sdfkit.report.pages import plot, write_page
    from sdfkit.report.plots import paint_panels

    if not look.is_page:
        return paint_panels(panels)
    content = {
        "heading": look.heading,
        "notes": [note] * bool(note),
        "plots": [plot(panel) for panel in panels],
    }
    return write_page(look.heading, content)


def _draw_map(vectors: "Vectors", name: str) -> "Scatter":
    import numpy as np

    from sdfkit.analysis.plane import fit_plane
    from sdfkit.report.plots import Scatter, name_axes

    plane = fit_plane(
        vectors.vectors, [row.uid for row in vectors.rows], vectors.name, np.random.default_rng(0)
    )
    common = [category for category, _ in Counter(row.category for row in vectors.rows).most_common(COLOURED)]
    groups: dict[str, list[tuple[str, tuple[float, float]]]] = {category: [] for category in common}
    for row, (x, y) in zip(vectors.rows, plane.place.tolist(), strict=True):
        group = row.category if row.category in groups else "others"
        groups.setdefault(group, []).append((row.uid, (x, y)))
    title = f"{len(vectors.rows)} {name} of {vectors.dim} numbers each"
    return Scatter(title, *name_axes(plane.shares), groups)


def _read_runs(look: _Look, manifest: Path | None) -> list["Run"]:
    from sdfkit.io.stores.reader import open_store
    from sdfkit.io.stores.trajectories import check_runs, holds_trajectories, read_run
    from sdfkit.io.streams import find_kind

    runs = []
    for path in look.inputs:
        if find_kind(path) != "store":
            raise InputError(f"{path}: no store; meshes are shown together, or stores of trajectories")
        with open_store(path, manifest=manifest) as store:
            if not holds_trajectories(store):
                raise InputError(
                    f"{store.name}: {store.kind} without trajectories; only stores with these are shown together"
                )
            runs.append(read_run(store, look.limit))
    check_runs(runs)
    return runs


def _show_runs(look: _Look, runs: Sequence["Run"]) -> _Shown:
    from sdfkit.report.trajectory_page import draw_strips, write_stepper

    rows = runs[0].rows
    for run in runs:
        for row in run.rows:
            if row.error:
                typer.echo(f"sdfkit: {run.name}: {row.uid}: {row.error}", err=True)
    failed = {row.index for run in runs for row in run.rows if row.error}
    note = _tell_count(len(rows), runs[0].count, len(failed))
    if look.is_page:
        content = write_stepper(look.heading, note, runs, size=look.size)
    else:
        content = draw_strips(f"{look.heading}: {note}", runs, columns=look.columns or 1, size=look.size)
    return _Shown(content, len(rows), failed)
