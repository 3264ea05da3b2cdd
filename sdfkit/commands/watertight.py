from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import (
    CORES,
    STANDARD,
    Cluster,
    FailFast,
    Format,
    Jobs,
    Manifest,
    Meshes,
    Output,
    Overwrite,
    Timeout,
)  # fmt: skip

if TYPE_CHECKING:
    from sdfkit.meshfile import MeshRow


class Frame(StrEnum):
    unit = "unit"
    original = "original"


def watertight(
    inputs: Meshes = [STANDARD],  # noqa: B006  typer copies it
    *,
    resolution: Annotated[
        int, typer.Option(min=16, max=1024, help="Cells along a side of the unit cube.")
    ] = 256,
    gap: Annotated[
        float, typer.Option(min=0, max=1, help="Openings narrower than this are closed (unit frame).")
    ] = 0.06,
    thickness: Annotated[
        float, typer.Option(min=0, max=1, help="What a sheet without thickness is given (unit frame).")
    ] = 0.02,
    keep_parts: Annotated[
        bool, typer.Option("--keep-parts", help="Keep loose pieces of less than two cells.")
    ] = False,
    frame: Annotated[Frame, typer.Option(help="Coordinates of the result.")] = Frame.unit,
    manifest: Manifest = None,
    output: Output = STANDARD,
    format: Format = "ply",
    jobs: Jobs = CORES,
    timeout: Timeout = 600,
    cluster: Cluster = None,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Close meshes: any triangles to the surface that is seen from outside.

    Holes, flipped, doubled and hidden faces do not matter: what the outside cannot reach becomes solid, and
    sheets get a thickness, so that every result is a closed 2-manifold. Openings narrower than --gap do not count
    where they lead into a wider cavity, so a cage with finer bars than that becomes solid: lower --gap for it.

    Shapes are brought into the unit frame (centred, farthest vertex at distance 1); the matrix that undoes this is
    kept in the file, and --frame original applies it. Doubling --resolution takes about five times as long.

    \b
    Examples:
      sdfkit watertight raw/*.glb --manifest manifest.json -o closed/
      sdfkit watertight chair.obj --frame original -o chair.stl
      sdfkit watertight scan.ply | sdfkit sample-sdf -o samples.zarr
    """
    from sdfkit.meshfile import open_meshes
    from sdfkit.meshwriter import create_meshes
    from sdfkit.parallel import Workers, conclude, fill

    settings: dict[str, Any] = {
        "resolution": resolution,
        "gap": gap,
        "thickness": thickness,
        "keep_parts": keep_parts,
        "frame": str(frame),
    }
    with (
        open_meshes(inputs, manifest=manifest) as meshes,
        create_meshes(
            output, len(meshes), settings=settings, seed=None, kind=format, overwrite=overwrite
        ) as closed,
    ):
        fill(
            closed,
            meshes,
            len(meshes),
            partial(_close, **settings),
            Workers(jobs, timeout, cluster, fail_fast),
        )
    conclude(output, "closed meshes", len(meshes), closed.failed)


def _close(row: "MeshRow", *, frame: str, **settings: Any) -> dict[str, Any]:
    from sdfkit.geometry.frame import normalise
    from sdfkit.geometry.watertight import make_watertight

    unit, to_original = normalise(row.load())
    closed, to_unit = normalise(make_watertight(unit, **settings))
    to_original = to_original @ to_unit
    if frame == Frame.original:
        return {"mesh": closed.apply_transform(to_original)}
    return {"mesh": closed, "to_original": to_original.tolist()}
