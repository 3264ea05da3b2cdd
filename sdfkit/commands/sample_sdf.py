from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdfkit.options import (
    STANDARD,
    Cluster,
    FailFast,
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

RECYCLE = 8  # shapes after which the process of mesh-to-sdf is replaced: it has slowed tenfold after 70
NAMES = {"normal": "the nearest normal", "winding": "the winding number", "scan": "what is seen from outside"}


def sample_sdf(
    inputs: Meshes = [STANDARD],  # noqa: B006  typer copies it
    *,
    points: Annotated[int, typer.Option(min=100, help="Samples of each shape.")] = 200_000,
    near_share: Annotated[float, typer.Option(min=0, max=1, help="Share of them near the surface.")] = 0.5,
    near_std: Annotated[
        list[float], typer.Option(min=1e-6, max=1, help="How near: standard deviations, in equal parts.")
    ] = [0.07, 0.02, 0.006],  # noqa: B006  typer copies it
    surface_points: Annotated[int, typer.Option(min=0, help="Points on the surface, with normals.")] = 20_000,
    method: Annotated[
        Literal["exact", "scan"],
        typer.Option(help="Measure to the triangles, or to what mesh-to-sdf sees of them through OpenGL."),
    ] = "exact",
    sign: Annotated[
        Literal["normal", "winding", "scan"] | None,
        typer.Option(
            help="Inside by the nearest normal, by the winding number, or what cannot be seen from outside.",
            show_default="winding; normal with --method scan",
        ),
    ] = None,
    agreement: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Refuse a shape on which a second way to tell agrees for less of the points."
        ),
    ] = 0.99,
    seed: Seed = 0,
    manifest: Manifest = None,
    output: Output = STANDARD,
    jobs: Jobs = CORES,
    timeout: Timeout = 600,
    cluster: Cluster = None,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Sample the signed distance of meshes.

    Half of the points lie near the surface (surface points moved by normal draws of the standard deviations
    given, an equal part each), half fill the cube from -1 to 1; they are shuffled, so that any run of
    them is a fair sample. Distances are exact to the triangles, negative inside, in the unit frame.

    Every sign is right on a closed mesh: run watertight first. On others it is a guess, compared with a second one
    (the winding number; for --sign winding the nearest normal), and where the two disagree the shape is refused.
    The best guess on open or messy meshes is --sign scan: a point is outside if it sees the outside in 2 or
    more of 100 directions. It takes ten times as long, and deep crevices count as inside.

    --method scan is mesh-to-sdf, kept for comparison with work that used it. It needs OpenGL (but no display), takes
    a minute a shape, and is off by up to 0.002; 0.6 % of its signs are wrong by normals, 5 % by scans.

    \b
    Examples:
      sdfkit sample-sdf closed/*.ply -o samples.zarr
      sdfkit watertight chair.obj | sdfkit sample-sdf --points 50000 > chair.zarr.zip
      sdfkit sample-sdf raw/*.glb --sign scan --agreement 0.8 -o samples.zarr
    """
    from sdfkit.errors import UsageError
    from sdfkit.io.meshes.reader import open_meshes
    from sdfkit.io.stores.writer import create_store
    from sdfkit.runtime.pool import PoolOptions, compute_rows, report_outcome

    if method == "scan":
        if sign == "winding":
            raise UsageError("--method scan tells the inside by --sign normal or --sign scan, not by winding")
        from sdfkit.runtime.mesh_to_sdf import check_driver

        check_driver()
    options: dict[str, Any] = {
        "points": points,
        "near_share": near_share,
        "near_std": tuple(near_std),
        "surface_points": surface_points,
        "method": method,
        "sign": sign or ("normal" if method == "scan" else "winding"),
        "agreement": agreement,
        "seed": seed,
    }
    with (
        open_meshes(inputs, manifest=manifest) as meshes,
        create_store(
            output, "samples", rows=meshes.rows, count=len(meshes), history=meshes.history, settings=options,
            seed=seed, overwrite=overwrite, resumable=True,
        ) as samples,
    ):  # fmt: skip
        count = len(meshes)
        samples.create_array("to_original", shape=(count, 4, 4), dtype="f8", axes=("shape", "to", "from"))
        samples.create_array("sign_agreement", shape=(count,), dtype="f4", axes=("shape",))
        samples.create_array("point", shape=(count, points, 3), dtype="f4", axes=("shape", "sample", "xyz"))
        samples.create_array("distance", shape=(count, points), dtype="f4", axes=("shape", "sample"))
        samples.create_array("near", shape=(count, points), dtype="bool", axes=("shape", "sample"))
        for name in ("surface_point", "surface_normal"):
            samples.create_array(
                name, shape=(count, surface_points, 3), dtype="f4", axes=("shape", "surface", "xyz")
            )
        recycle = RECYCLE if method == "scan" else None
        workers = PoolOptions(jobs, timeout, cluster, fail_fast, recycle)
        compute_rows(samples, meshes, count, partial(_sample, **options), workers)
    report_outcome(output, f"{points} samples", count, samples.failed)


def _sample(row: "MeshRow", *, seed: int, agreement: float, method: str, **options: Any) -> dict[str, Any]:
    import numpy as np

    from sdfkit.errors import GeometryError
    from sdfkit.geometry.frame import normalise

    unit, to_original = normalise(row.load())
    if "to_original" in row.info:
        to_original = np.array(row.info["to_original"]) @ to_original

    # Imported after the mesh has proved good: a first run compiles here.
    from sdfkit.geometry.sampling import SECOND
    from sdfkit.geometry.sampling import sample_sdf as sample

    sign, second, measure = options["sign"], SECOND[options["sign"]], None
    if method == "scan":
        from sdfkit.runtime.mesh_to_sdf import scan_distances

        second, measure = "winding", partial(scan_distances, sign=sign)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(row.index,)))
    samples = sample(unit, measure=measure, rng=rng, **options)
    if samples.sign_agreement < agreement:
        raise GeometryError(
            f"{row.uid}: {NAMES[sign]} and {NAMES[second]} agree on inside and outside for "
            f"{samples.sign_agreement:.1%} of the points only; run watertight first, or lower --agreement"
        )
    return {**samples._asdict(), "to_original": to_original}
