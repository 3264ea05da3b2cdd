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
    Seed,
    Timeout,
)  # fmt: skip

if TYPE_CHECKING:
    from sdfkit.meshfile import MeshRow


def sample_sdf(
    inputs: Meshes = [STANDARD],  # noqa: B006  typer copies it
    *,
    points: Annotated[int, typer.Option(min=100, help="Samples of each shape.")] = 200_000,
    near_share: Annotated[float, typer.Option(min=0, max=1, help="Share of them near the surface.")] = 0.5,
    near_std: Annotated[
        list[float], typer.Option(min=1e-6, max=1, help="How near: standard deviations, in equal parts.")
    ] = [0.07, 0.02, 0.006],  # noqa: B006  typer copies it
    surface_points: Annotated[int, typer.Option(min=0, help="Points on the surface, with normals.")] = 20_000,
    sign: Annotated[
        Literal["normal", "winding"],
        typer.Option(help="Inside by the winding number, or by the nearest normal."),
    ] = "winding",
    agreement: Annotated[
        float,
        typer.Option(min=0, max=1, help="Refuse a shape on which the two agree for less of the points."),
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
    them is a fair sample. Distances are exact to the triangles, negative inside, in the unit frame. Signs need a
    closed mesh: run watertight first. Where two ways to tell them disagree, the shape is refused.

    \b
    Examples:
      sdfkit sample-sdf closed/*.ply -o samples.zarr
      sdfkit watertight chair.obj | sdfkit sample-sdf --points 50000 > chair.zarr.zip
    """
    from sdfkit.meshfile import open_meshes
    from sdfkit.parallel import Workers, conclude, fill
    from sdfkit.storewriter import create_store

    options: dict[str, Any] = {
        "points": points,
        "near_share": near_share,
        "near_std": tuple(near_std),
        "surface_points": surface_points,
        "sign": sign,
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
        fill(samples, meshes, count, partial(_sample, **options), Workers(jobs, timeout, cluster, fail_fast))
    conclude(output, f"{points} samples", count, samples.failed)


def _sample(row: "MeshRow", *, seed: int, agreement: float, **options: Any) -> dict[str, Any]:
    import numpy as np

    from sdfkit.errors import GeometryError
    from sdfkit.geometry.frame import normalise
    from sdfkit.geometry.sampling import sample_sdf as sample

    unit, to_original = normalise(row.load())
    if "to_original" in row.info:
        to_original = np.array(row.info["to_original"]) @ to_original
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(row.index,)))
    samples = sample(unit, rng=rng, **options)
    if samples.sign_agreement < agreement:
        raise GeometryError(
            f"{row.uid}: inside and outside are clear for {samples.sign_agreement:.1%} of the points only; "
            "run watertight first, or lower --agreement"
        )
    return {**samples._asdict(), "to_original": to_original}
