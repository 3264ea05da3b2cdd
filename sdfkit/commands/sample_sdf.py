from dataclasses import asdict
from functools import partial
from typing import Annotated, Literal

import typer

from sdfkit.geometry.defaults import LEAST_AGREEMENT, NEAR_SHARE, NEAR_STD, SAMPLES, SURFACE_POINTS
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
    Seed,
    Timeout,
    Up,
)
from sdfkit.runtime.cores import CORES
from sdfkit.wording import counted


def sample_sdf(
    inputs: Meshes = [STANDARD],  # noqa: B006  typer copies it
    *,
    files_from: FilesFrom = None,
    points: Annotated[int, typer.Option(min=100, help="Number of query points of each shape.")] = SAMPLES,
    near_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the query points near the surface.")
    ] = NEAR_SHARE,
    near_std: Annotated[
        list[float],
        typer.Option(
            min=1e-6,
            max=1,
            help="Standard deviation, per axis, of the noise of points near the surface; repeat for several.",
        ),
    ] = list(NEAR_STD),  # noqa: B006  typer copies it
    surface_points: Annotated[
        int, typer.Option(min=0, help="Number of points on the surface, stored with normals.")
    ] = SURFACE_POINTS,
    method: Annotated[
        Literal["exact", "scan"],
        typer.Option(
            help="exact: distances to the triangles; scan: those of mesh-to-sdf, which needs OpenGL."
        ),
    ] = "exact",
    sign: Annotated[
        Literal["normal", "winding", "scan"] | None,
        typer.Option(
            help="How the sign of a distance is found. normal: from the normal of the nearest face; winding: from the "
            "winding number; scan: from the number of rays from the point that hit nothing.",
            show_default="winding; normal with --method scan",
        ),
    ] = None,
    agreement: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Refuse a shape if the signs of a second method agree at less than this share of points.",
        ),
    ] = LEAST_AGREEMENT,
    drop_specks: DropSpecks = False,
    up: Up = "y",
    seed: Seed = 0,
    manifest: Manifest = None,
    output: Output = STANDARD,
    jobs: Jobs = CORES,
    timeout: Timeout = 600,
    cluster: Cluster = None,
    retry_failed: RetryFailed = False,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Sample the signed distance of meshes.

    A share of the query points (--near-share) are surface points plus Gaussian noise; if there are several --near-std,
    equal numbers of points have each standard deviation. The other query points are uniform in the query cube, from -1
    to 1 along each axis. All are shuffled, so that every contiguous part has the same distribution. Distances to the
    triangles are exact, negative inside, and measured in the unit frame (centred on the bounding box, farthest vertex
    at distance 1).

    On closed meshes all signs are correct: run sdfkit watertight first. On other meshes the signs are estimates. They
    are compared with those of a second method (the winding number or, for --sign winding, the nearest normal), and a
    shape is refused if the two disagree too often. For open or messy meshes, --sign scan is the best estimate: a point
    is outside if at least 2 of 100 rays from it hit nothing. This takes ten times as long, and deep crevices count as
    inside.

    --method scan runs the package mesh-to-sdf, for comparison with work that used it. It needs OpenGL but no display,
    and a minute per shape. Its distances are wrong by up to 0.002; 0.6 % of its signs are wrong with --sign normal, and
    5 % with --sign scan.

    \b
    Examples:
      sdfkit sample-sdf closed/*.ply -o samples.zarr
      sdfkit sample-sdf closed/*.ply --points 20000 -o samples.npz
      sdfkit watertight chair.obj | sdfkit sample-sdf --points 50000 > chair.zarr.zip
      sdfkit sample-sdf raw/*.glb --sign scan --agreement 0.8 -o samples.zarr
    """
    from sdfkit.io.meshes.reader import open_meshes
    from sdfkit.io.stores.writer import create_store
    from sdfkit.preparation.sdf_sampling import SdfOptions, choose_sign, create_sample_arrays, sample_row
    from sdfkit.runtime.pool import PoolOptions, compute_rows, report_outcome

    options = SdfOptions(
        points=points, near_share=near_share, near_std=tuple(near_std), surface_points=surface_points,
        method=method, sign=choose_sign(method, sign), agreement=agreement, drop_specks=drop_specks, seed=seed,
    )  # fmt: skip
    with (
        open_meshes(inputs, manifest=manifest, up=up) as meshes,
        create_store(
            output, "samples", rows=meshes.rows, count=len(meshes), history=meshes.history,
            settings=asdict(options) | {"up": up}, seed=seed, overwrite=overwrite, resumable=True,
            retry_failed=retry_failed,
        ) as samples,
    ):  # fmt: skip
        create_sample_arrays(samples, len(meshes), options)
        compute_rows(
            samples, meshes, len(meshes), partial(sample_row, options=options),
            PoolOptions(jobs, timeout, cluster, fail_fast, options.recycle),
        )  # fmt: skip
    report_outcome(output, counted(points, "sample"), len(meshes), samples.failed, made=samples.made)
