from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdfkit.options import (
    CORES,
    STANDARD,
    Cluster,
    FailFast,
    Jobs,
    Manifest,
    Meshes,
    Output,
    Overwrite,
    Timeout,
)  # fmt: skip

if TYPE_CHECKING:
    from sdfkit.meshfile import MeshRow


def render(
    inputs: Meshes = [STANDARD],  # noqa: B006  typer copies it
    *,
    views: Annotated[int, typer.Option(min=1, help="Pictures of each shape, from a Fibonacci sphere.")] = 64,
    distance: Annotated[float, typer.Option(min=0.1, help="From the camera to the shape's centre.")] = 2.5,
    yfov: Annotated[float, typer.Option(min=1, max=150, help="Vertical field of view in degrees.")] = 60,
    size: Annotated[int, typer.Option(min=8, max=4096, help="Pixels a side.")] = 224,
    flat: Annotated[bool, typer.Option("--flat", help="Shade each face flat.")] = False,
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

    \b
    Examples:
      sdfkit render chair.glb --views 64 | sdfkit embed > features.zarr.zip
      sdfkit render closed/ --views 24 -o views.zarr
    """
    import math

    from sdfkit.images.cameras import check_outside, fibonacci_cameras
    from sdfkit.meshfile import open_meshes
    from sdfkit.parallel import Workers, conclude, fill
    from sdfkit.storewriter import create_store

    engine = _choose(renderer)
    cameras = fibonacci_cameras(views, distance)
    check_outside(cameras)
    settings = {
        "views": views,
        "distance": distance,
        "yfov": yfov,
        "size": size,
        "smooth": not flat,
        "depth": depth,
        "normal": normal,
        "renderer": engine,
    }
    draw = partial(
        _draw, cameras=cameras, yfov=math.radians(yfov), size=size, smooth=not flat, depth=depth, normal=normal,
        engine=engine,
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
    if renderer != "auto":
        return renderer
    from pathlib import Path

    # The GL driver of a machine without a GPU is a slower software renderer than ours.
    return "gl" if Path("/dev/nvidia0").exists() else "cpu"


def _draw(row: "MeshRow", *, cameras: Any, yfov: float, engine: str, **settings: Any) -> dict[str, Any]:
    import numpy as np

    from sdfkit.geometry.frame import normalise

    mesh, _ = normalise(row.load())
    if engine == "gl":
        from sdfkit.gl import render_views_gl as draw
    else:
        from sdfkit.images.render import render_views as draw
    # Faces seen from behind are drawn: of a mesh that is not closed they are the inside of the far wall.
    pictures = draw(mesh, cameras, yfov=yfov, cull=False, **settings)
    arrays = {name: array for name, array in pictures._asdict().items() if array is not None}
    return {"camera_to_world": cameras, "yfov": np.full(len(cameras), yfov, np.float32), **arrays}
