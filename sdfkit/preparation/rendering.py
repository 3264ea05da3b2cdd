"""Renders the rows of a views store, and creates its arrays."""

import logging
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from sdfkit.errors import GeometryError
from sdfkit.images.rendering.cameras import check_outside, fibonacci_cameras, silhouette_share
from sdfkit.io.stores.contents.posed_views import create_posed_arrays
from sdfkit.preparation.framing import make_frame

if TYPE_CHECKING:
    from sdfkit.io.meshes.reader import MeshRow
    from sdfkit.io.stores.store_writer import StoreWriter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ViewOptions:
    """How meshes are rendered.

    Attributes:
        views: Number of cameras.
        distance: Distance of the cameras from the centre of the shape, whose farthest vertex is at distance 1.
        yfov: Vertical field of view in degrees.
        size: Width and height of the images in pixels.
        crease: Angle in degrees between two adjacent faces, above which their common edge is shaded sharp.
        colour: Use the colours and textures of the meshes; otherwise all meshes are grey.
        depth: Also store depth images.
        normal: Also store normal images.
        drop_specks: Leave out small pieces far from the rest, see `make_frame`.
        renderer: A return value of `runtime.opengl.choose_renderer`.
    """

    views: int
    distance: float
    yfov: float
    size: int
    crease: float
    colour: bool
    depth: bool
    normal: bool
    drop_specks: bool
    renderer: str

    @cached_property
    def cameras(self) -> Float[np.ndarray, "view 4 4"]:
        """Camera-to-world matrices."""
        return fibonacci_cameras(self.views, self.distance)

    def describe(self) -> dict[str, Any]:
        """Return the settings that the views store records."""
        from sdfkit.images.rendering.rasteriser import describe_shading

        return {**asdict(self), "look": describe_shading()}


def check_cameras(options: ViewOptions) -> None:
    """Check that the cameras are outside the unit sphere, and warn if the images cannot contain the whole sphere.

    Raises:
        GeometryError: The distance of the cameras is too small.
    """
    check_outside(options.cameras)
    share = silhouette_share(
        options.distance, math.radians(options.yfov), options.size, options.size, (1.0, 1.0)
    )
    if share < 1:
        degrees = math.degrees(2 * math.asin(1 / options.distance))
        log.warning(
            "--yfov %g cuts off up to %.1f %% of a shape's silhouette at distance %g; use --yfov %.1f or more",
            options.yfov, 100 * (1 - share), options.distance, math.ceil(10 * degrees) / 10,
        )  # fmt: skip


def create_view_arrays(store: "StoreWriter", count: int, options: ViewOptions) -> None:
    """Create the arrays of a views store for `count` shapes."""
    axes, lead = ("shape", "view", "row", "column"), (count, options.views)
    shape = (*lead, options.size, options.size)
    create_posed_arrays(store, count, options.views, options.size)
    if options.depth:
        store.create_array("depth", shape=shape, dtype="f4", axes=axes, compress=True)
    if options.normal:
        store.create_array("normal", shape=(*shape, 3), dtype="f4", axes=(*axes, "xyz"), compress=True)


def render_row(row: "MeshRow", *, options: ViewOptions) -> dict[str, Any]:
    """Render the mesh of a row from all cameras.

    Returns:
        The arrays of its row in the views store.

    Raises:
        GeometryError: The mesh has no faces, or none with an area.
    """
    from sdfkit.images.rendering.paint import join_parts, keep_faces, load_textures
    from sdfkit.images.rendering.rasteriser import NOT_VISIBLE, pixels_per_unit

    if options.renderer == "cpu":
        from sdfkit.images.rendering.rasteriser import render_views as render
    else:
        from sdfkit.runtime.opengl import render_views_gl as render
    yfov = math.radians(options.yfov)
    paint = None
    if options.colour:
        parts, missing = row.load_parts(colour=True)
        mesh, colors = join_parts(parts)
        unit, _, kept, _ = make_frame(mesh, row.uid, drop_specks=options.drop_specks)
        colors = keep_faces(colors, np.asarray(mesh.faces), kept)
        scale = pixels_per_unit(options.cameras, yfov, options.size)
        paint, unreadable = load_textures(colors, np.asarray(unit.vertices), np.asarray(unit.faces), scale)
        if missing or unreadable:
            names = ", ".join(sorted({*missing, *unreadable}))
            log.warning(
                "%s: these textures cannot be read, and plain colours are used instead: %s", row.uid, names
            )
    else:
        unit, *_ = make_frame(row.load(), row.uid, drop_specks=options.drop_specks)
    # Back faces are drawn too: in a mesh with openings they show the inner side of its walls.
    views = render(
        unit, options.cameras, yfov=yfov, size=options.size, crease=math.radians(options.crease), cull=False,
        depth=options.depth, normal=options.normal, paint=paint,
    )  # fmt: skip
    if not views.mask.any():
        raise GeometryError(NOT_VISIBLE)
    arrays = {name: array for name, array in views._asdict().items() if array is not None}
    return {
        "camera_to_world": options.cameras,
        "yfov": np.full(options.views, yfov, np.float32),
        **arrays,
    }
