"""Makes the meshes of an input watertight."""

from typing import TYPE_CHECKING, Any, Literal

from sdfkit.rows import seed_shape

if TYPE_CHECKING:
    from sdfkit.io.meshes.reader import MeshRow

# Settings that apply to one method only.
METHOD_SETTINGS = {"offset": ("gap", "thickness", "keep_parts"), "particles": ("points", "seed")}


def close_row(
    row: "MeshRow",
    *,
    method: Literal["offset", "particles"] = "offset",
    simplify: int | None = None,
    frame: Literal["unit", "original"] = "unit",
    resolution: int,
    **settings: Any,
) -> dict[str, Any]:
    """Close the mesh of a row.

    Args:
        row: The mesh.
        method: "offset" calls `make_watertight`, "particles" calls `polygonise_particles`.
        simplify: Maximum number of faces of the result; None to keep all faces.
        frame: Coordinates of the result. "unit": centred on the bounding box, farthest vertex at distance 1.
            "original": as in the input.
        resolution: Cells along a side of the cube from -1 to 1.
        settings: The settings of the method, whose names `METHOD_SETTINGS` lists.

    Returns:
        `mesh` and, for the unit frame, `to_original`: the 4 × 4 matrix that maps the mesh to its original coordinates.

    Raises:
        GeometryError: The mesh has no faces or no area, or a vertex is not finite.
    """
    from sdfkit.geometry.frame import normalise

    unit, to_original = normalise(row.load())
    if method == "offset":
        from sdfkit.geometry.watertight.closing import make_watertight

        closed = make_watertight(unit, resolution=resolution, **settings)
    else:
        import numpy as np

        from sdfkit.geometry.watertight.particles import polygonise_particles

        rng = np.random.default_rng(seed_shape(settings["seed"], row.uid))
        closed = polygonise_particles(unit, resolution=resolution, points=settings["points"], rng=rng)
    if simplify is not None:
        from sdfkit.geometry.simplify import simplify as reduce_faces

        closed = reduce_faces(closed, simplify)
    closed, to_unit = normalise(closed)
    to_original = to_original @ to_unit
    if frame == "original":
        return {"mesh": closed.apply_transform(to_original)}
    return {"mesh": closed, "to_original": to_original.tolist()}
