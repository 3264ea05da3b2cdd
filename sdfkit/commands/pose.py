from typing import Annotated, Any, Literal

import typer

from sdfkit.options import (
    ROWS,
    STANDARD,
    WHOLE,
    FailFast,
    FilesFrom,
    Manifest,
    Output,
    Overwrite,
    RetryFailed,
)
from sdfkit.wording import counted


def pose(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Image files or folders of them, or a views store, whose cameras are ignored; - reads standard input.",
        ),
        ROWS,
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    files_from: FilesFrom = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="STORE", help="Store that train-recon wrote, whose training shapes are compared."
        ),
        WHOLE,
    ],
    matte: Annotated[
        Literal["auto", "alpha", "plain"],
        typer.Option(
            help="How to separate the object in an image file from its background. alpha: by the alpha channel; plain: "
            "from a background of one colour; auto: by the first of these that applies."
        ),
    ] = "auto",
    lowest: Annotated[
        float, typer.Option(min=-90, max=90, help="Lowest elevation of a camera in degrees; 0 is level.")
    ] = -15,
    highest: Annotated[
        float, typer.Option(min=-90, max=90, help="Highest elevation of a camera in degrees.")
    ] = 75,
    manifest: Manifest = None,
    output: Output = STANDARD,
    retry_failed: RetryFailed = False,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Estimate the cameras of photos, for models that need cameras.

    The silhouette of the object is compared with those of the training shapes from directions all around and from
    --lowest to --highest elevation. The best of them are refined in small steps of direction, roll, size and place, and
    the image is cropped as the estimated camera sees the object. The result is a views store, which sdfkit predict
    (with a network of train-recon, or --refine), fit-code and mesh --views read like one of sdfkit render. The model
    must know similar shapes: a camera is found by a training shape that looks like the object, and the distance of the
    camera is taken to be that of sdfkit render.

    Each image file is one shape; several photos of one object go into a subfolder, and the same training shapes must
    explain all of them. The object must stand upright before a background of one colour, or be cut out (PNG with
    transparency).

    The expected error of each camera, in degrees, is the mean angle from the estimated direction to all candidates,
    weighted by how well they agree. It is printed, and stored as pose_error. It is large for round shapes, where the
    azimuth does not matter, and for shapes that look alike from opposite sides, where it does.

    \b
    Examples:
      sdfkit pose cup.jpg --model recon.zarr | sdfkit predict recon.zarr | sdfkit mesh > cup.ply
      sdfkit pose photos/ --model recon.zarr -o views.zarr
      sdfkit render new.glb --views 1 | sdfkit pose --model recon.zarr | sdfkit predict recon.zarr -o grids.zarr
    """
    import logging
    import math

    from sdfkit.errors import UsageError
    from sdfkit.images.rendering.defaults import DEFAULT_DISTANCE, DEFAULT_SIZE, DEFAULT_YFOV_DEGREES
    from sdfkit.inference.prediction.pose import create_pose_arrays, estimate_cameras, load_search
    from sdfkit.io.object_images import open_object_images
    from sdfkit.io.stores.contents.posed_views import repeat_views
    from sdfkit.io.stores.writer import create_store
    from sdfkit.report.camera_summary import describe_cameras, summarise_cameras, warn_ambiguous
    from sdfkit.runtime.pool import PoolOptions, compute_rows, report_outcome

    log = logging.getLogger(__name__)
    if [model, *inputs].count(STANDARD) > 1:
        raise UsageError("standard input can be read only once; give files for the other inputs")
    if lowest > highest:
        raise UsageError(f"--lowest {lowest:g} is above --highest {highest:g}; exchange them")
    cameras: dict[str, Any] = {}
    with open_object_images(inputs, matte=matte, manifest=manifest) as source:
        search = load_search(model, lowest=math.radians(lowest), highest=math.radians(highest))
        settings = {"distance": DEFAULT_DISTANCE, "yfov": DEFAULT_YFOV_DEGREES, "size": DEFAULT_SIZE}

        def estimate(row: Any) -> dict[str, Any]:
            arrays = estimate_cameras(source.load(row), search, row.uid)
            cameras[row.uid] = summarise_cameras(arrays)
            return repeat_views(arrays, source.views)

        with create_store(
            output, "views", rows=source.known, count=source.count, history=source.history, settings=settings,
            overwrite=overwrite, resumable=True, retry_failed=retry_failed,
        ) as views:  # fmt: skip
            create_pose_arrays(views, source.count, source.views)
            compute_rows(
                views, source.rows, source.count, estimate, PoolOptions(1, math.inf, None, fail_fast)
            )
    for line in describe_cameras(cameras):
        log.info("%s", line)
    if warning := warn_ambiguous(cameras):
        log.warning("%s", warning)
    shown = f"{counted(source.views, 'view')} with estimated cameras"
    report_outcome(output, shown, source.count, views.failed, made=views.made)
