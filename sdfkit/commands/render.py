from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdfkit.errors import GeometryError, MissingError
from sdfkit.options import STANDARD, Cluster, FailFast, Jobs, Manifest, Meshes, Output, Overwrite, Timeout
from sdfkit.runtime.cores import CORES  # fmt: skip

if TYPE_CHECKING:
    from sdfkit.io.meshes.reader import MeshRow


def render(
    inputs: Meshes = [STANDARD],  # noqa: B006  typer copies it
    *,
    views: Annotated[int, typer.Option(min=1, help="Pictures of each shape, from a Fibonacci sphere.")] = 64,
    distance: Annotated[float, typer.Option(min=0.1, help="From the camera to the shape's centre.")] = 2.5,
    yfov: Annotated[float, typer.Option(min=1, max=150, help="Vertical field of view in degrees.")] = 60,
    size: Annotated[int, typer.Option(min=8, max=4096, help="Pixels a side.")] = 224,
    crease: Annotated[
        float,
        typer.Option(
            min=0, max=180, help="Degrees between faces from which an edge is sharp: 0 flat, 180 all round."
        ),
    ] = 40,
    colour: Annotated[
        bool, typer.Option("--colour", help="The mesh's own colours and textures, not gray-blue.")
    ] = False,
    depth: Annotated[bool, typer.Option("--depth", help="Also keep depth.")] = False,
    normal: Annotated[bool, typer.Option("--normal", help="Also keep normals.")] = False,
    renderer: Annotated[
        Literal["auto", "cpu", "gl"], typer.Option(help="cpu needs no driver; auto takes gl on a GPU.")
    ] = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    jobs: Jobs = CORES,
    timeout: Timeout = 600,
    cluster: Cluster = None,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Take pictures of meshes from all around.

    Gray-blue shapes on black, under a headlight and a rim light, with their masks and cameras. Shapes are
    brought into the unit frame first. At the default distance and field of view nothing is cut, neither here nor
    by the crop of DINOv2. No display and no graphics driver is needed.

    --colour needs meshes that have colours: render the raw files, for watertight surfaces carry none. Nothing is
    drawn transparent. --crease 180 shades as pyrender does, which makes pillows of boxes. With --renderer gl,
    PYOPENGL_PLATFORM=osmesa takes OSMesa in place of EGL; its edges are jagged, so mix it with nothing else.

    \b
    Examples:
      sdfkit render chair.glb --views 64 | sdfkit embed > features.zarr.zip
      sdfkit render raw/ --colour --views 24 -o coloured.zarr
      sdfkit render closed/ --views 24 -o views.zarr
    """
    import logging
    import math

    from sdfkit.images.rendering.cameras import check_outside, fibonacci_cameras, silhouette_share
    from sdfkit.images.rendering.rasteriser import describe_look
    from sdfkit.io.meshes.reader import open_meshes
    from sdfkit.io.stores.writer import create_store
    from sdfkit.runtime.pool import Workers, conclude, fill

    engine = _choose(renderer)
    cameras = fibonacci_cameras(views, distance)
    check_outside(cameras)
    share = silhouette_share(distance, math.radians(yfov), size, size, (1.0, 1.0))
    if share < 1:
        whole = math.degrees(2 * math.asin(1 / distance))
        logging.getLogger(__name__).warning(
            "--yfov %g cuts up to %.1f %% of a shape's silhouette off at distance %g; from %.1f on nothing is cut",
            yfov, 100 * (1 - share), distance, math.ceil(10 * whole) / 10,
        )  # fmt: skip
    settings = {
        "views": views,
        "distance": distance,
        "yfov": yfov,
        "size": size,
        "crease": crease,
        "colour": colour,
        "depth": depth,
        "normal": normal,
        "renderer": engine,
        "look": describe_look(),
    }
    draw = partial(
        _draw, cameras=cameras, yfov=math.radians(yfov), size=size, crease=math.radians(crease), colour=colour,
        depth=depth, normal=normal, engine=engine,
    )  # fmt: skip
    with (
        open_meshes(inputs, manifest=manifest) as meshes,
        create_store(
            output, "views", rows=meshes.rows, count=len(meshes), history=meshes.history, settings=settings,
            overwrite=overwrite, resumable=True,
        ) as pictures,
    ):  # fmt: skip
        count, axes = len(meshes), ("shape", "view", "row", "column")
        shape = (count, views, size, size)
        pictures.create_array(
            "camera_to_world", shape=(count, views, 4, 4), dtype="f4", axes=(*axes[:2], "to", "from")
        )
        pictures.create_array("yfov", shape=(count, views), dtype="f4", axes=axes[:2])
        pictures.create_array("rgb", shape=(*shape, 3), dtype="u1", axes=(*axes, "channel"), compress=True)
        pictures.create_array("mask", shape=shape, dtype="u1", axes=axes, compress=True)
        if depth:
            pictures.create_array("depth", shape=shape, dtype="f4", axes=axes, compress=True)
        if normal:
            pictures.create_array("normal", shape=(*shape, 3), dtype="f4", axes=(*axes, "xyz"), compress=True)
        fill(pictures, meshes, count, draw, Workers(jobs, timeout, cluster, fail_fast))
    conclude(output, f"{views} view{'s'[: views - 1]}", count, pictures.failed)


def _choose(renderer: str) -> str:
    """The renderer, as the store tells it: cpu, or gl with its driver."""
    from pathlib import Path

    # The GL driver of a machine without a GPU is a slower software renderer than ours.
    if renderer == "cpu" or (renderer == "auto" and not Path("/dev/nvidia0").exists()):
        return "cpu"
    from sdfkit.runtime.opengl import REMEDY, choose_driver

    try:
        return f"gl {choose_driver(REMEDY)}"
    except MissingError:
        if renderer == "gl":
            raise
        return "cpu"


def _draw(
    row: "MeshRow", *, cameras: Any, yfov: float, colour: bool, engine: str, **settings: Any
) -> dict[str, Any]:
    import logging

    import numpy as np

    from sdfkit.geometry.frame import normalise
    from sdfkit.images.rendering.paint import join_painted

    if engine == "cpu":
        from sdfkit.images.rendering.rasteriser import render_views as draw
    else:
        from sdfkit.runtime.opengl import render_views_gl as draw
    paint = None
    if colour:
        parts, missing = row.load_parts()
        mesh, paint, unreadable = join_painted(parts)
        if missing or unreadable:
            names = ", ".join(sorted({*missing, *unreadable}))
            logging.getLogger(__name__).warning(
                "%s: plain colours stand in for what cannot be read: %s", row.uid, names
            )
    else:
        mesh = row.load()
    unit, _ = normalise(mesh)
    # Faces seen from behind are drawn: of a mesh that is not closed they are the inside of the far wall.
    pictures = draw(unit, cameras, yfov=yfov, cull=False, paint=paint, **settings)
    if not pictures.mask.any():
        raise GeometryError("no picture shows any of it: have its faces no area?")
    arrays = {name: array for name, array in pictures._asdict().items() if array is not None}
    return {"camera_to_world": cameras, "yfov": np.full(len(cameras), yfov, np.float32), **arrays}
