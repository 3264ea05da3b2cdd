"""Makes the meshes of an input watertight."""

import logging
from typing import TYPE_CHECKING, Any, Literal

from sdfkit.preparation.framing import make_frame
from sdfkit.rows import seed_shape

if TYPE_CHECKING:
    from sdfkit.io.meshes.reader import MeshRow

log = logging.getLogger(__name__)

# Settings that apply to one method only.
METHOD_SETTINGS = {"offset": ("gap", "thickness", "keep_parts"), "particles": ("points", "seed")}


def close_row(
    row: "MeshRow",
    *,
    method: Literal["offset", "particles"] = "offset",
    simplify: int | None = None,
    frame: Literal["unit", "original"] = "unit",
    drop_specks: bool = False,
    resolution: int,
    **settings: Any,
) -> dict[str, Any]:
    """Close the mesh of a row, and warn if pieces of it are lost or most of its frame is empty.

    Args:
        row: The mesh.
        method: "offset" calls `make_watertight`, "particles" calls `polygonise_particles`.
        simplify: Maximum number of faces of the result; None to keep all faces.
        frame: Coordinates of the result. "unit": centred on the bounding box, farthest vertex at distance 1.
            "original": as in the input.
        drop_specks: Leave out small pieces far from the rest, see `make_frame`.
        resolution: Cells along a side of the cube from -1 to 1.
        settings: The settings of the method, whose names `METHOD_SETTINGS` lists.

    Returns:
        `mesh`; for the unit frame, `to_original`: the 4 × 4 matrix that maps the mesh to its original coordinates; and,
        with `drop_specks`, `dropped_specks`: their number and the diagonal of the largest one in the original unit.

    Raises:
        GeometryError: The mesh has no faces or no area, or a vertex is not finite.
    """
    from sdfkit.geometry.frame import normalise

    unit, to_original, _, specks = make_frame(row.load(), row.uid, drop_specks=drop_specks)
    if method == "offset":
        from sdfkit.geometry.watertight.closing import make_watertight
        from sdfkit.geometry.watertight.losses import measure_losses

        closed = make_watertight(unit, resolution=resolution, **settings)
        losses = measure_losses(unit, closed, 2.0 / resolution)
        if losses.lost:
            log.warning(
                "%s: %d of %d pieces, with %.3g %% of the area, are about as small as a grid cell and are lost; raise "
                "--resolution%s to keep them", row.uid, losses.lost, losses.pieces, 100 * losses.share,
                "" if settings["keep_parts"] else " or add --keep-parts",
            )  # fmt: skip
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
    more: dict[str, Any] = {"dropped_specks": specks} if drop_specks else {}
    if frame == "original":
        return {"mesh": closed.apply_transform(to_original), **more}
    return {"mesh": closed, "to_original": to_original.tolist(), **more}
