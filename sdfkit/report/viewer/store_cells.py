"""Samples, grids and views of a store on a page: stills, and points, meshes or cameras in three dimensions."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import GeometryError
from sdfkit.io.meshes.columns import PREDICTION, TRUTH
from sdfkit.report.viewer.mesh_cells import MeshOptions, draw_mesh, make_reference
from sdfkit.wording import agreeing, counted

if TYPE_CHECKING:
    from trimesh import Trimesh

    from sdfkit.io.meshes.reader import MeshRow
    from sdfkit.io.stores.store_reader import ArrayRow

# Points of all models of a page together, and of one model.
TOTAL_POINTS, MOST_POINTS, FEWEST_POINTS = 200_000, 50_000, 3_000


def count_points(models: int) -> int:
    """Return how many points each of a number of models of samples on a page may have."""
    return max(FEWEST_POINTS, min(MOST_POINTS, TOTAL_POINTS // max(models, 1)))


def draw_samples(
    row: "ArrayRow", *, slices: int, points: int, options: MeshOptions, meshes: Mapping[str, "MeshRow"] | None
) -> dict[str, Any]:
    """Draw the samples of a shape: slices and, unless the options say otherwise, a model of up to `points` points.

    With `meshes`, there are two cells, of which the first is the true mesh of the shape.
    """
    from sdfkit.images.slices import draw_slices

    if row.error:
        raise GeometryError(row.error)
    options = options.of_shape(row.index)
    point, distance = row.arrays["point"], row.arrays["distance"]
    facts = f"{len(point):,} {agreeing(len(point), 'sample', 'samples')}"
    drawn: dict[str, Any] = {"pictures": draw_slices(point, distance, slices=slices), "facts": facts}
    if options.faces is not None:
        from sdfkit.images.scenes.cloud import make_cloud

        drawn["model"] = model = make_cloud(point, distance, points=points)
        if model["shown"] < model["given"]:
            drawn["facts"] += f"; {model['shown']:,} shown in 3-D"
    if meshes is None:
        return drawn
    truth = _load_truth(row, meshes)
    first = {} if truth is None else draw_mesh(truth, replace(options, views=1))
    return {"cells": [{"column": TRUTH, **first}, {"column": "samples", **drawn}]}


def draw_grid(
    row: "ArrayRow", *, options: MeshOptions, meshes: Mapping[str, "MeshRow"] | None
) -> dict[str, Any]:
    """Draw the surface of a grid of distances as a mesh.

    With `meshes`, there are two cells, of which the first is the true mesh of the shape, and distances between both.
    """
    from sdfkit.geometry.frame import normalise
    from sdfkit.geometry.isosurface.extraction import mesh_grid

    if row.error:
        raise GeometryError(row.error)
    options, mesh = options.of_shape(row.index), mesh_grid(row.arrays["grid"])
    if meshes is None:
        return draw_mesh(normalise(mesh)[0], options)
    truth = _load_truth(row, meshes)
    to_truth = None if truth is None else make_reference(TRUTH, truth)
    first = {} if truth is None else draw_mesh(truth, options, reference=make_reference(PREDICTION, mesh))
    second = draw_mesh(mesh, options, reference=to_truth)
    return {"cells": [{"column": TRUTH, **first}, {"column": PREDICTION, **second}]}


def _load_truth(row: "ArrayRow", meshes: Mapping[str, "MeshRow"]) -> "Trimesh | None":
    """Return the true mesh of a shape in its unit frame, which is also that of samples and grids."""
    from sdfkit.geometry.frame import normalise

    found = meshes.get(row.shape)
    return None if found is None else normalise(found.load())[0]


def draw_views(
    row: "ArrayRow", *, views: int, meshes: Mapping[str, "MeshRow"], faces: int, modelled: int
) -> dict[str, Any]:
    """Draw some of the images of a shape and, of the first `modelled` shapes, the cameras around the mesh of its uid.

    Raises:
        GeometryError: The shape failed in an earlier step, or its mesh cannot be shown.
    """
    from sdfkit.images.turntable import pick_evenly

    if row.error:
        raise GeometryError(row.error)
    pictures = row.arrays["rgb"]
    shown = pick_evenly(pictures, views)
    drawn: dict[str, Any] = {"pictures": shown, "facts": counted(len(pictures), "view")}
    if row.index >= modelled:
        return drawn
    cameras = np.asarray(row.arrays["camera_to_world"], dtype=np.float64)
    if not np.isfinite(cameras).all():
        return drawn
    picked = np.arange(len(shown)) * len(pictures) // len(shown)
    extent = float(np.linalg.norm(cameras[:, :3, 3], axis=1).max())
    model: dict[str, Any] = {
        "kind": "cameras",
        "cameras": [[float(f"{number:.5g}") for number in camera.T.reshape(-1)] for camera in cameras],
        "yfov": [float(f"{angle:.5g}") for angle in row.arrays["yfov"]],
        "pictures": picked.tolist(),
        "aspect": pictures.shape[2] / pictures.shape[1],
        "scale": 0.85 / max(extent, 1.0),
    }
    if (mesh_row := meshes.get(row.shape)) is not None:
        from sdfkit.geometry.frame import normalise
        from sdfkit.images.scenes.model import make_model

        unit, _ = normalise(mesh_row.load())
        model["mesh"] = make_model(unit, faces=faces) | {"closed": False}
    return drawn | {"model": model}
