from typing import Annotated

import typer

from sdfkit.options import STANDARD, Json, Manifest


def info(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="STORE|MESH",
            help="Stores, meshes, folders of meshes, .npy or .npz; - reads standard input.",
        ),
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    as_json: Json = False,
    manifest: Manifest = None,
) -> None:
    """Describe a store or mesh: contents, completeness, history.

    For a store: its kind, number of rows, failed shapes with their reasons, arrays, settings and history. A store whose
    creation was interrupted is described as far as it exists. For a mesh: vertices, faces, whether it is closed, Euler
    number, pieces, bounds, labels and history. If the faces of a file do not close, vertices at equal positions are
    merged first, since many formats repeat them. --json prints one object a line.

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
        raise InputError(f"{unreadable} of the meshes cannot be read, for the reasons above; make them again")
