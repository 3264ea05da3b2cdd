from functools import partial
from typing import Annotated, Any, Literal

import typer

from sdfkit.geometry.defaults import GAP, PARTICLES, THICKNESS, WATERTIGHT_RESOLUTION
from sdfkit.options import (
    STANDARD,
    Cluster,
    DropSpecks,
    FailFast,
    FilesFrom,
    Format,
    Jobs,
    Manifest,
    Meshes,
    Output,
    Overwrite,
    Seed,
    Timeout,
    Up,
)
from sdfkit.runtime.cores import CORES


def watertight(
    context: typer.Context,
    inputs: Meshes = [STANDARD],  # noqa: B006  typer copies it
    *,
    files_from: FilesFrom = None,
    resolution: Annotated[
        int, typer.Option(min=16, max=1024, help="Grid cells along a side of the cube from -1 to 1.")
    ] = WATERTIGHT_RESOLUTION,
    gap: Annotated[
        float, typer.Option(min=0, max=1, help="Close openings narrower than this (unit frame).")
    ] = GAP,
    thickness: Annotated[
        float, typer.Option(min=0, max=1, help="Thickness given to sheets without thickness (unit frame).")
    ] = THICKNESS,
    keep_parts: Annotated[
        bool, typer.Option("--keep-parts", help="Keep separate pieces smaller than two grid cells.")
    ] = False,
    simplify: Annotated[
        int | None, typer.Option(min=4, metavar="N", help="Reduce each result to at most N faces.")
    ] = None,
    method: Annotated[
        Literal["offset", "particles"], typer.Option(help="How the surface is found, see above.")
    ] = "offset",
    points: Annotated[
        int, typer.Option(min=1000, help="Number of particles, for --method particles.")
    ] = PARTICLES,
    seed: Seed = 0,
    drop_specks: DropSpecks = False,
    up: Up = "y",
    frame: Annotated[Literal["unit", "original"], typer.Option(help="Coordinates of the result.")] = "unit",
    manifest: Manifest = None,
    output: Output = STANDARD,
    format: Format = "ply",
    jobs: Jobs = CORES,
    timeout: Timeout = 600,
    cluster: Cluster = None,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Make meshes watertight: replace them by their outer surface.

    --method offset, the default, accepts any triangle mesh, even with holes, or with flipped, doubled or hidden faces.
    Every region that is not connected to the outside becomes solid, and sheets without thickness become plates of
    --thickness, so that every result is a closed 2-manifold.

    An opening narrower than --gap is closed if it leads into a cavity wider than the opening. A cage whose bars are
    closer together than --gap therefore becomes solid: lower --gap for it. A wider opening is closed only in a shape of
    sheets without thickness, and only if its area is at most about 4 % of the area of the walls around the cavity: it
    then counts as a missing piece. Cups and vases stay open. With --gap 0 only openings of less than about two grid
    cells are closed; sheets still become plates.

    Shapes are normalised to the unit frame (centred on the bounding box, farthest vertex at distance 1). The file
    stores the matrix that maps the unit frame to the original coordinates; --frame original applies this matrix.
    Doubling --resolution takes about five times as long.

    The unit frame contains all faces. A speck far away, or a large sheet around a shape, therefore makes the rest of
    the shape small in the frame, and leaves it fewer grid cells. A
    warning is printed if the shape extends over less than half of the frame. --drop-specks leaves out specks, prints
    how many, and records their number and the size of the largest one in the file. Another warning gives the number of
    pieces that are lost because they are as small as a grid cell.

    --simplify removes faces that flat and slightly curved regions do not need. The result stays closed and keeps all
    handles and pieces; if N faces are too few for that, the result has the smallest number of faces that keeps them.

    --method particles is for comparison with work that used it: particles are scattered on the surface, and the
    boundary of the balls around them is extracted. Every wall becomes double. A sphere becomes two shells that enclose
    7 % of its volume, and half of their area is hidden inside; a piece of furniture becomes 2 to 60 pieces, whose
    surface is 0.01 away from the true surface. --points and --seed apply only to this method; --gap, --thickness and
    --keep-parts apply only to --method offset.

    \b
    Examples:
      sdfkit watertight raw/*.glb --manifest manifest.json -o closed/
      sdfkit watertight chair.obj --simplify 5000 --frame original -o chair.stl
      sdfkit watertight scan.ply | sdfkit sample-sdf -o samples.zarr
    """
    from sdfkit.errors import UsageError
    from sdfkit.io.meshes.reader import open_meshes
    from sdfkit.io.meshes.writer import create_meshes
    from sdfkit.preparation.closing import METHOD_SETTINGS, close_row
    from sdfkit.runtime.pool import PoolOptions, compute_rows, report_outcome

    given: dict[str, Any] = {
        "gap": gap, "thickness": thickness, "keep_parts": keep_parts, "points": points, "seed": seed
    }  # fmt: skip
    other = "particles" if method == "offset" else "offset"
    for name in METHOD_SETTINGS[other]:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--{name.replace('_', '-')}: applies only to --method {other}")
    settings: dict[str, Any] = {
        "method": method, "simplify": simplify, "frame": frame, "drop_specks": drop_specks,
        "resolution": resolution,
        **{name: given[name] for name in METHOD_SETTINGS[method]},
    }  # fmt: skip
    with (
        open_meshes(inputs, manifest=manifest, up=up) as meshes,
        create_meshes(
            output,
            len(meshes),
            settings=settings | {"up": up},
            seed=settings.get("seed"),
            kind=format,
            overwrite=overwrite,
            unused=METHOD_SETTINGS[other],
        ) as closed,
    ):
        compute_rows(
            closed, meshes, len(meshes), partial(close_row, **settings),
            PoolOptions(jobs, timeout, cluster, fail_fast),
        )  # fmt: skip
    report_outcome(output, "closed meshes", len(meshes), closed.failed, made=closed.made)
