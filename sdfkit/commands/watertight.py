from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdfkit.options import (
    STANDARD,
    Cluster,
    FailFast,
    Format,
    Jobs,
    Manifest,
    Meshes,
    Output,
    Overwrite,
    Seed,
    Timeout,
)
from sdfkit.runtime.cores import CORES  # fmt: skip

if TYPE_CHECKING:
    from sdfkit.io.meshes.reader import MeshRow


# Options that only one method has.
ONLY = {"offset": ("gap", "thickness", "keep_parts"), "particles": ("points", "seed")}


def watertight(
    context: typer.Context,
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
    simplify: Annotated[
        int | None, typer.Option(min=4, metavar="N", help="Reduce the result to at most N faces.")
    ] = None,
    method: Annotated[
        Literal["offset", "particles"], typer.Option(help="How the surface is found; see above.")
    ] = "offset",
    points: Annotated[int, typer.Option(min=1000, help="Particles (--method particles).")] = 1_000_000,
    seed: Seed = 0,
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
    """Close meshes: any triangles to their outer surface.

    Holes, flipped, doubled and hidden faces do not matter: what the outside cannot reach becomes solid, and
    sheets get a thickness, so that every result is a closed 2-manifold. Openings narrower than --gap do not count
    where they lead into a wider cavity, so a cage with finer bars than that becomes solid: lower --gap for it. A wider
    opening is closed where it looks like a missing piece of a hull without thickness: up to about 4 % of what
    encloses the cavity. A cup or a vase stays open. --gap 0 closes nothing.

    Shapes are brought into the unit frame (centred, farthest vertex at distance 1); the matrix that undoes this is
    kept in the file, and --frame original applies it. Doubling --resolution takes about five times as long.

    --simplify takes away the faces that flat and gently curved regions do not need. The result stays closed, with
    all its handles and pieces; where N faces cannot hold them, it has as few as can.

    --method particles is kept for comparison with work that used it: particles are scattered on the surface, and
    the boundary of the balls around them is taken. It doubles every wall: a sphere becomes two shells with 7 % of its
    volume, half of their area hidden inside; furniture 2 to 60 pieces, 0.01 off the surface. Only it has --points
    and --seed; only --method offset has --gap, --thickness and --keep-parts.

    \b
    Examples:
      sdfkit watertight raw/*.glb --manifest manifest.json -o closed/
      sdfkit watertight chair.obj --simplify 5000 --frame original -o chair.stl
      sdfkit watertight scan.ply | sdfkit sample-sdf -o samples.zarr
    """
    from sdfkit.errors import UsageError
    from sdfkit.io.meshes.reader import open_meshes
    from sdfkit.io.meshes.writer import create_meshes
    from sdfkit.runtime.pool import PoolOptions, compute_rows, report_outcome

    other = "particles" if method == "offset" else "offset"
    for name in ONLY[other]:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--{name.replace('_', '-')}: only --method {other} has this option")
    how: dict[str, Any] = {"resolution": resolution}
    if method == "offset":
        how |= {"gap": gap, "thickness": thickness, "keep_parts": keep_parts}
    else:
        how |= {"points": points, "seed": seed}
    settings = {"method": method, "simplify": simplify, "frame": frame, **how}
    with (
        open_meshes(inputs, manifest=manifest) as meshes,
        create_meshes(
            output,
            len(meshes),
            settings=settings,
            seed=seed if method == "particles" else None,
            kind=format,
            overwrite=overwrite,
        ) as closed,
    ):
        compute_rows(
            closed,
            meshes,
            len(meshes),
            partial(_close, **settings),
            PoolOptions(jobs, timeout, cluster, fail_fast),
        )
    report_outcome(output, "closed meshes", len(meshes), closed.failed)


def _close(row: "MeshRow", *, method: str, simplify: int | None, frame: str, **how: Any) -> dict[str, Any]:
    from sdfkit.geometry.frame import normalise

    unit, to_original = normalise(row.load())
    if method == "offset":
        from sdfkit.geometry.watertight.closing import make_watertight

        closed = make_watertight(unit, **how)
    else:
        import numpy as np

        from sdfkit.geometry.watertight.particles import polygonise_particles

        rng = np.random.default_rng(np.random.SeedSequence(how.pop("seed"), spawn_key=(row.index,)))
        closed = polygonise_particles(unit, **how, rng=rng)
    if simplify is not None:
        from sdfkit.geometry.simplify import simplify as reduce_faces

        closed = reduce_faces(closed, simplify)
    closed, to_unit = normalise(closed)
    to_original = to_original @ to_unit
    if frame == "original":
        return {"mesh": closed.apply_transform(to_original)}
    return {"mesh": closed, "to_original": to_original.tolist()}
