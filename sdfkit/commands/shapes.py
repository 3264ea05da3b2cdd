from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import STANDARD, Cluster, FailFast, Format, Jobs, Output, Overwrite, Seed, Timeout
from sdfkit.runtime.cores import CORES

if TYPE_CHECKING:
    from sdfkit.rows import Row


def shapes(
    *,
    count: Annotated[int, typer.Option(min=1, help="How many shapes.")] = 20,
    category: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only these categories (repeat the option).")
    ] = None,
    seed: Seed = 0,
    resolution: Annotated[int, typer.Option(min=32, help="Cells along a side of the unit cube.")] = 128,
    messy: Annotated[bool, typer.Option("--messy", help="Break the meshes as real ones are broken.")] = False,
    list_categories: Annotated[bool, typer.Option("--list", help="List the categories and stop.")] = False,
    output: Output = STANDARD,
    format: Format = "glb",
    jobs: Jobs = CORES,
    timeout: Timeout = 600,
    cluster: Cluster = None,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Generate labelled shapes with exact geometry.

    Parametric objects (chairs, bottles, spoked wheels, figures, tunnels ...) made by constructive solid geometry;
    every seed gives new ones, the same seed gives the same. No category comes twice before all have come
    once. With --messy they get holes, flipped and doubled faces, hidden inner surfaces and loose vertices,
    as downloaded meshes have them; the file says which. The shapes are in the public domain (CC0).

    \b
    Examples:
      sdfkit shapes --count 24 --messy --seed 1 -o raw/
      sdfkit shapes --category chair --count 1 -o chair.glb
      sdfkit shapes --count 4 | sdfkit sample-sdf -o samples.zarr
    """
    import numpy as np

    from sdfkit.geometry.shapes import CATEGORIES, choose_categories
    from sdfkit.geometry.shapes.catalogue import find_category
    from sdfkit.io.meshes.writer import create_meshes
    from sdfkit.rows import Row
    from sdfkit.runtime.pool import PoolOptions, compute_rows, report_outcome

    if list_categories:
        for known in CATEGORIES.values():
            typer.echo(f"{known.name:<18}{known.group:<12}{known.summary}")
        return
    wanted = [find_category(name).name for name in category or ()]
    chosen = (
        [wanted[index % len(wanted)] for index in range(count)]
        if wanted
        else choose_categories(count, np.random.default_rng(np.random.SeedSequence(seed)))
    )
    rows = [
        Row(index, f"obj_{index:04d}", name, "CC0-1.0", f"sdfkit shapes --seed {seed}")
        for index, name in enumerate(chosen)
    ]
    settings: dict[str, Any] = {"seed": seed, "resolution": resolution, "messy": messy}
    make = partial(_make, **settings)
    with create_meshes(
        output,
        count,
        settings={**settings, "categories": wanted},
        seed=seed,
        kind=format,
        overwrite=overwrite,
    ) as meshes:
        compute_rows(meshes, rows, count, make, PoolOptions(jobs, timeout, cluster, fail_fast))
    report_outcome(output, "meshes", count, meshes.failed)


def _make(row: "Row", *, seed: int, resolution: int, messy: bool) -> dict[str, Any]:
    import numpy as np

    from sdfkit.geometry.shapes import generate, solid_mesh

    # The stream of a shape does not depend on how many there are, nor on who makes it.
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(row.index,)))
    mesh = solid_mesh(generate(row.category, rng), resolution)
    if not messy:
        return {"mesh": mesh}
    from sdfkit.geometry.shapes import break_mesh

    broken, defects = break_mesh(mesh, rng)
    return {"mesh": broken, "defects": list(defects)}
