from typing import Annotated

import typer

from sdfkit.options import ROWS, STANDARD, Json, Manifest


def info(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="STORE|MESH",
            help="Stores, mesh files, folders of mesh files or of pictures with transforms.json, .npy or .npz files; - "
            "reads standard input.",
        ),
        ROWS,
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    as_json: Json = False,
    manifest: Manifest = None,
) -> None:
    """Describe a store or mesh: contents, completeness, history.

    For a store, the report lists kind, number of rows, failed shapes with the reasons, arrays, settings and history. If
    the writing of a store was interrupted, the report covers the rows written so far. A store beside it that an
    unfinished run will put in its place is named. For a mesh, the report lists
    vertices, faces, whether the mesh is closed, Euler number, connected pieces, bounds, labels and history. If a mesh
    is not closed, vertices at equal positions are merged before counting, because many file formats repeat them. --json
    prints one JSON object per line.

    \b
    Examples:
      sdfkit info samples.zarr
      sdfkit info closed/ --json | jq -r 'select(.watertight | not).uid'
      sdfkit render chair.glb | sdfkit info
    """
    from sdfkit.errors import InputError
    from sdfkit.report.description import describe_inputs, format_mesh, format_meshes, format_store
    from sdfkit.report.tables import format_json

    several, unreadable = [], 0
    for facts in describe_inputs(inputs, manifest):
        unreadable += facts.get("unreadable", False)
        if as_json:
            printed = {name: fact for name, fact in facts.items() if name not in ("of", "unreadable")}
            typer.echo(format_json(printed))
        elif facts["kind"] != "mesh":
            typer.echo(format_store(facts))
        elif facts["of"] == 1:
            typer.echo(format_mesh(facts))
        else:
            several.append(facts)
    if several:
        typer.echo(format_meshes(several))
    if unreadable:
        raise InputError(
            f"{unreadable} of the mesh files cannot be read, for the reasons above; make them again"
        )
