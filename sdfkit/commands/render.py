from functools import partial
from typing import Annotated, Literal

import typer

from sdfkit.images.rendering.defaults import (
    DEFAULT_CREASE_DEGREES,
    DEFAULT_DISTANCE,
    DEFAULT_SIZE,
    DEFAULT_VIEWS,
    DEFAULT_YFOV_DEGREES,
)
from sdfkit.options import (
    STANDARD,
    Cluster,
    DropSpecks,
    FailFast,
    FilesFrom,
    Jobs,
    Manifest,
    Meshes,
    Output,
    Overwrite,
    RetryFailed,
    Timeout,
    Up,
)
from sdfkit.runtime.cores import CORES  # fmt: skip
from sdfkit.wording import counted


def render(
    inputs: Meshes = [STANDARD],  # noqa: B006  typer copies it
    *,
    files_from: FilesFrom = None,
    views: Annotated[
        int, typer.Option(min=1, help="Number of views of each shape; the cameras are on a Fibonacci sphere.")
    ] = DEFAULT_VIEWS,
    distance: Annotated[
        float, typer.Option(min=0.1, help="Distance of the cameras from the shape's centre.")
    ] = DEFAULT_DISTANCE,
    yfov: Annotated[
        float, typer.Option(min=1, max=150, help="Vertical field of view in degrees.")
    ] = DEFAULT_YFOV_DEGREES,
    size: Annotated[
        int, typer.Option(min=8, max=4096, help="Width and height of the images in pixels.")
    ] = DEFAULT_SIZE,
    crease: Annotated[
        float,
        typer.Option(
            min=0,
            max=180,
            help="Angle in degrees between faces, above which their edge is shaded as sharp. 0: all edges are sharp; "
            "180: none is.",
        ),
    ] = DEFAULT_CREASE_DEGREES,
    colour: Annotated[
        bool,
        typer.Option(
            "--colour", "--color", help="Render meshes in their own colours and textures, not in grey-blue."
        ),
    ] = False,
    depth: Annotated[bool, typer.Option("--depth", help="Also store depth images.")] = False,
    normal: Annotated[
        bool, typer.Option("--normal", help="Also store images of the surface normals.")
    ] = False,
    drop_specks: DropSpecks = False,
    up: Up = "y",
    renderer: Annotated[
        Literal["auto", "cpu", "gl"],
        typer.Option(
            help="Renderer. cpu: needs no graphics driver; gl: OpenGL; auto: gl if there is a GPU, otherwise cpu."
        ),
    ] = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    jobs: Jobs = CORES,
    timeout: Timeout = 600,
    cluster: Cluster = None,
    retry_failed: RetryFailed = False,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Render images of meshes from all directions.

    Shapes are normalised to the unit frame (centred on the bounding box, farthest vertex at distance 1), and rendered
    in grey-blue on black, under a headlight and a rim light. The store also holds masks and cameras. At the default
    distance and field of view no shape is cut off, either by the edge of the image or by the centre crop of DINOv2.
    Rendering needs no display and, with --renderer cpu, no graphics driver.

    --colour needs meshes with colours: render the original files, because the output of sdfkit watertight has none.
    Transparency is ignored. --crease 180 gives the shading of the renderer pyrender, which makes the faces of boxes
    look curved. With --renderer gl, the environment variable PYOPENGL_PLATFORM=osmesa selects OSMesa in place of EGL.
    OSMesa does not antialias edges, so do not mix its images with images of the other renderers in one data set.

    An output without the ending .zarr or .zip is a folder of pictures for NeRF programs such as nerfstudio: for each
    shape pictures/UID/transforms.json, with PNG files whose alpha channel is the mask, and 16-bit PNG files of depth in
    thousandths. sdfkit cat views.zarr -o pictures/ writes the same from a store. See sdfkit-store(5), PICTURES.

    \b
    Examples:
      sdfkit render chair.glb --views 64 | sdfkit embed > features.zarr.zip
      sdfkit render raw/ --colour --views 24 -o coloured.zarr
      sdfkit render closed/ --views 24 -o views.zarr
      sdfkit render closed/ --views 100 --size 800 -o pictures/
    """
    from sdfkit.io.meshes.reader import open_meshes
    from sdfkit.io.stores.writer import create_store
    from sdfkit.preparation.rendering import ViewOptions, check_cameras, create_view_arrays, render_row
    from sdfkit.runtime.opengl import choose_renderer
    from sdfkit.runtime.pool import PoolOptions, compute_rows, report_outcome

    options = ViewOptions(
        views=views, distance=distance, yfov=yfov, size=size, crease=crease, colour=colour, depth=depth,
        normal=normal, drop_specks=drop_specks, renderer=choose_renderer(renderer),
    )  # fmt: skip
    check_cameras(options)
    with (
        open_meshes(inputs, manifest=manifest, up=up) as meshes,
        create_store(
            output, "views", rows=meshes.rows, count=len(meshes), history=meshes.history,
            settings=options.describe() | {"up": up}, overwrite=overwrite, resumable=True,
            retry_failed=retry_failed,
        ) as store,
    ):  # fmt: skip
        create_view_arrays(store, len(meshes), options)
        compute_rows(
            store, meshes, len(meshes), partial(render_row, options=options),
            PoolOptions(jobs, timeout, cluster, fail_fast),
        )  # fmt: skip
    report_outcome(output, counted(views, "view"), len(meshes), store.failed, made=store.made)
