"""Meshes on a page: the stills and the model of each, beside each other in the frame of the first."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import SdfkitError
from sdfkit.io.meshes.columns import PREDICTION, TRUTH
from sdfkit.wording import agreeing

if TYPE_CHECKING:
    from trimesh import Trimesh

    from sdfkit.geometry.distance.tree import TriangleTree
    from sdfkit.images.rendering.paint import Paint
    from sdfkit.io.meshes.columns import MeshCells
    from sdfkit.io.meshes.reader import MeshRow

log = logging.getLogger(__name__)
# Faces of all models of a page together, and of one model: a page of one shape takes less than 1.5 MB, and one of 24
# less than 3 MB. With less than FEWEST faces each, thin parts would be lost, so that pages of more models are larger.
# Of more than MANY meshes, only the first are models, and the others stills.
TOTAL, MOST, FEWEST, MANY = 165_000, 80_000, 2_500, 160
# Texels per unit of length on the surface of one model.
TEXELS, FEWEST_TEXELS = 300.0, 60.0
# Default number of stills of a mesh: they are what browsers without WebGL show.
STILLS = 8


@dataclass(frozen=True)
class MeshOptions:
    """How meshes are shown on a page.

    Attributes:
        views: Number of stills of each mesh.
        size: Pixels along the longer side of a still.
        faces: Largest number of faces of each model; None for stills only.
        texels: Texels per unit of length of each model.
        coloured: Show the colours of the meshes.
        modelled: Number of shapes with models: the first ones. The others have stills only.
        has_truth: Measure the distances between the first mesh of a shape and the others.
    """

    views: int
    size: int
    faces: int | None
    texels: float
    coloured: bool = False
    modelled: int = 0
    has_truth: bool = False

    def of_shape(self, index: int) -> "MeshOptions":
        """Return the options of a shape."""
        return self if index < self.modelled else replace(self, faces=None)


def count_faces(models: int) -> int:
    """Return how many faces each of a number of models on a page may have."""
    return max(FEWEST, min(MOST, TOTAL // max(models, 1)))


def count_texels(models: int) -> float:
    """Return the texels per unit of length for each of a number of models on a page."""
    return max(FEWEST_TEXELS, TEXELS / math.sqrt(max(models, 1)))


@dataclass(frozen=True)
class Reference:
    """A surface to which distances are measured, and what the facts call it."""

    name: str
    tree: "TriangleTree"


def make_reference(name: str, mesh: "Trimesh") -> Reference:
    """Return the surface of a mesh as a reference; `name` is that of its cell."""
    from sdfkit.geometry.distance.tree import TriangleTree

    tree = TriangleTree(np.asarray(mesh.vertices), np.asarray(mesh.faces))
    return Reference(f"the {name}" if name in (TRUTH, PREDICTION) else name, tree)


def draw_cells(row: "MeshCells", *, options: MeshOptions) -> dict[str, Any]:
    """Draw the meshes of a shape, all in the unit frame of the first one.

    If the first one is the truth, the distances of the others to it are measured, and its own to the first of the
    others that can be shown.

    Returns:
        `cells`: for each mesh its `column`, and `pictures`, `facts` and `model`, or an `error`. If there is one mesh,
        its entries themselves. A mesh that is missing has only its column.

    Raises:
        InputError, GeometryError: The first mesh cannot be shown.
    """
    options = options.of_shape(row.index)
    cells: list[dict[str, Any]] = [{"column": name} for name, _ in row.cells]
    frame = truth = guess = draw_truth = None
    measured = options.has_truth and options.faces is not None
    for cell, (name, mesh_row) in zip(cells, row.cells, strict=True):
        if mesh_row is None:
            continue
        try:
            mesh, paint, own = _load(mesh_row, frame, options)
            if measured and frame is None:
                truth, draw_truth = make_reference(name, mesh), partial(draw_mesh, mesh, options, paint=paint)
            else:
                cell |= draw_mesh(mesh, options, paint=paint, reference=truth)
                guess = guess or (make_reference(name, mesh) if truth else None)
        except SdfkitError as error:
            if frame is None:
                raise
            cell["error"] = " ".join(str(error).split())
            continue
        frame = own if frame is None else frame
    if draw_truth is not None:
        cells[0] |= draw_truth(reference=guess)
    return {"cells": cells} if len(cells) > 1 else {k: v for k, v in cells[0].items() if k != "column"}


def _load(
    row: "MeshRow", frame: np.ndarray | None, options: MeshOptions
) -> tuple["Trimesh", "Paint | None", np.ndarray]:
    """Load a mesh in a frame, or else in its own unit frame; return also its colours, if it has any, and the frame."""
    from sdfkit.geometry.frame import from_unit, normalise, to_unit
    from sdfkit.images.rendering.paint import join_parts, load_textures
    from sdfkit.images.scenes.colours import has_colors

    missing: list[str] = []
    if options.coloured:
        parts, missing = row.load_parts(colour=True)
        mesh, colors = join_parts(parts)
    else:
        mesh, colors = row.load(), None
    unit, own = normalise(mesh)
    if frame is not None:
        unit.vertices = to_unit(from_unit(np.asarray(unit.vertices), own), frame)
    paint, unreadable = None, list[str]()
    if colors is not None and has_colors(colors):
        vertices, faces = np.asarray(unit.vertices), np.asarray(unit.faces)
        paint, unreadable = load_textures(colors, vertices, faces, options.texels)
    if missing or unreadable:
        names = ", ".join(sorted({*missing, *unreadable}))
        log.warning(
            "%s: these textures cannot be read, and plain colours are used instead: %s", row.uid, names
        )
    return unit, paint, own if frame is None else frame


def draw_mesh(
    mesh: "Trimesh",
    options: MeshOptions,
    *,
    paint: "Paint | None" = None,
    reference: Reference | None = None,
) -> dict[str, Any]:
    """Draw the stills of a mesh in the unit frame and, unless the options say otherwise, make its model."""
    from sdfkit.images.turntable import draw_turntable

    pictures = draw_turntable(mesh, views=options.views, size=options.size, paint=paint)
    if options.faces is None:
        return {"pictures": pictures, "facts": _describe(mesh, closed=_is_closed(mesh))}
    return {"pictures": pictures, **model_mesh(mesh, options.faces, paint=paint, reference=reference)}


def model_mesh(
    mesh: "Trimesh", faces: int, *, paint: "Paint | None" = None, reference: Reference | None = None
) -> dict[str, Any]:
    """Make the `model` of a mesh in the unit frame, with at most so many faces, and the `facts` about both.

    With a `reference`, the model has the distances of its vertices to that surface.
    """
    from sdfkit.images.scenes.model import make_model

    closed = _is_closed(mesh)
    other = None if reference is None else reference.tree
    model = make_model(mesh, faces=faces, paint=paint, other=other) | {"closed": closed}
    facts = _describe(mesh, closed=closed)
    if model["shown"] < model["given"]:
        facts += f"; shown with {_count(model['shown'])}"
    if reference is not None:
        found = model["distance"]
        name = reference.name + ("" if found["signed"] else ", which is open")
        facts += f"; distance to {name}: mean {found['mean']:.2g}, largest {found['largest']:.2g}"
    return {"model": model, "facts": facts}


def _is_closed(mesh: "Trimesh") -> bool:
    from sdfkit.geometry.topology import join_vertices

    return bool(join_vertices(mesh).is_watertight)


def _describe(mesh: "Trimesh", *, closed: bool) -> str:
    return f"{_count(len(mesh.faces))}, {'closed' if closed else 'open'}"


def _count(faces: int) -> str:
    return f"{faces:,} {agreeing(faces, 'face', 'faces')}"


def describe_models(models: Sequence[dict[str, Any]]) -> str:
    """Say in one sentence by how much the models of a page are simplified."""
    given, shown = (sum(model[name] for model in models) for name in ("given", "shown"))
    rounded = "positions are rounded to 1/32,767 of the extent"
    if shown == given:
        return f"In 3-D, all {_count(given)} are shown; {rounded}."
    return f"In 3-D, {_count(given)} are simplified to {shown:,}; {rounded}."
