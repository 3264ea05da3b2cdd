"""Transforms the mesh of a row to its unit frame, and warns if the frame is too wide."""

import logging
from typing import NamedTuple

import numpy as np
import trimesh
from jaxtyping import Bool, Float

from sdfkit.wording import counted

log = logging.getLogger(__name__)


class Frame(NamedTuple):
    """A mesh in the unit frame."""

    unit: trimesh.Trimesh
    """The mesh, without its specks if they are dropped."""
    to_original: Float[np.ndarray, "4 4"]
    """The matrix that maps points of `unit` to the original frame."""
    kept: Bool[np.ndarray, " face"]
    """Which faces of the original mesh are in `unit`."""
    specks: dict[str, float]
    """`count`: number of specks that were dropped; `largest`: diagonal of the largest one, in the original unit."""


def make_frame(mesh: trimesh.Trimesh, uid: str, *, drop_specks: bool = False) -> Frame:
    """Transform a mesh to its unit frame, and warn in one line if most of the frame is empty.

    Args:
        mesh: Any mesh.
        uid: Name of the shape in warnings.
        drop_specks: Leave out small pieces far from the rest, as `geometry.pieces.find_specks` defines them, and report
            how many.

    Raises:
        GeometryError: The mesh has no frame; see `geometry.frame.normalise`.
    """
    from sdfkit.geometry.frame import describe_frame, normalise
    from sdfkit.geometry.pieces import find_specks

    unit, to_original = normalise(mesh)
    kept, dropped = np.ones(len(mesh.faces), dtype=bool), {"count": 0, "largest": 0.0}
    if drop_specks:
        specks = find_specks(unit)
        if specks.number:
            kept, dropped = (
                ~specks.faces,
                {"count": specks.number, "largest": specks.largest * to_original[0, 0]},
            )
            rest = mesh.copy()
            rest.update_faces(kept)
            unit, to_original = normalise(rest)
            count = counted(specks.number, "speck")
            log.warning("%s: dropped %s, at most %.3g wide", uid, count, dropped["largest"])
    reason = describe_frame(unit, to_original[0, 0])
    if reason:
        log.warning("%s: %s", uid, reason)
    return Frame(unit, to_original, kept, dropped)
