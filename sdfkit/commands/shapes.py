from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.geometry.defaults import SHAPE_RESOLUTION
from sdfkit.options import (
    IRRELEVANT,
    STANDARD,
    Cluster,
    FailFast,
    Format,
    Jobs,
    Output,
    Overwrite,
    Seed,
    Timeout,
)
from sdfkit.runtime.cores import CORES

if TYPE_CHECKING:
    from sdfkit.rows import Row


def complete_category(incomplete: str) -> list[str]:
    """Return the categories that begin with what has been typed, for the completion of a shell."""
    from sdfkit.geometry.shapes.catalogue import CATEGORIES

    return [name for name in CATEGORIES if name.startswith(incomplete)]


def shapes(
    *,
    count: Annotated[int, typer.Option(min=1, help="Number of shapes to generate."), IRRELEVANT] = 20,
    category: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_category,
            help="Generate only this category; repeat for several.",
        ),
    ] = None,
    seed: Seed = 0,
    resolution: Annotated[
        int, typer.Option(min=32, help="Grid cells along a side of the cube from -1 to 1.")
    ] = SHAPE_RESOLUTION,
    messy: Annotated[
        bool, typer.Option("--messy", help="Add defects of downloaded meshes, see above.")
    ] = False,
    list_categories: Annotated[
        bool, typer.Option("--list", help="Print the categories and exit."), IRRELEVANT
    ] = False,
    output: Output = STANDARD,
    format: Format = "glb",
    jobs: Jobs = CORES,
    timeout: Timeout = 600,
    cluster: Cluster = None,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Generate labelled shapes with exact geometry.

    Makes parametric objects (chairs, bottles, spoked wheels, figures, tunnels ...) by constructive solid geometry.
    Equal seeds give equal shapes. Without --category, no category is repeated before all others have been used equally
    often. --messy adds holes, flipped and doubled faces, hidden inner surfaces and unused vertices, as downloaded
    meshes have them; the mesh file lists the defects that were added. The shapes are in the public domain (CC0).

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
    from sdfkit.rows import Row, digest_text
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
        Row(
            index, f"obj_{index:04d}", name, "CC0-1.0", f"sdfkit shapes --seed {seed}",
            origin=digest_text(f"sdfkit shapes {seed} {name} {index}"),
        )
        for index, name in enumerate(chosen)
    ]  # fmt: skip
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
    report_outcome(output, "meshes", count, meshes.failed, made=meshes.made)


def _make(row: "Row", *, seed: int, resolution: int, messy: bool) -> dict[str, Any]:
    import numpy as np

    from sdfkit.geometry.shapes import generate, solid_mesh

    # The random numbers of a shape depend neither on the number of shapes nor on the process that makes it.
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(row.index,)))
    mesh = solid_mesh(generate(row.category, rng), resolution)
    if not messy:
        return {"mesh": mesh}
    from sdfkit.geometry.shapes import break_mesh

    broken, defects = break_mesh(mesh, rng)
    return {"mesh": broken, "defects": list(defects)}
