from typing import Annotated

import typer

from sdfkit.options import ROWS, STANDARD, FilesFrom, Manifest, Output, Overwrite, Seed


def select(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="A store, mesh files or folders of them, or a manifest; - reads standard input.",
        ),
        ROWS,
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    files_from: FilesFrom = None,
    uid: Annotated[list[str], typer.Option(help="Uid of a shape; repeat for several.")] = [],  # noqa: B006
    glob: Annotated[
        list[str],
        typer.Option(metavar="PATTERN", help="Pattern of uids, such as 'chair_*'; repeat for several."),
    ] = [],  # noqa: B006
    category: Annotated[list[str], typer.Option(help="Category; repeat for several.")] = [],  # noqa: B006
    licence: Annotated[list[str], typer.Option(help="Licence; repeat for several.")] = [],  # noqa: B006
    valid: Annotated[bool, typer.Option("--valid", help="Leave out shapes that failed.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Keep only shapes that failed.")] = False,
    share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the shapes to draw at random, at least one.")
    ] = None,
    number: Annotated[
        int | None, typer.Option("--count", min=1, help="Number of shapes to draw at random.")
    ] = None,
    first: Annotated[int | None, typer.Option(min=1, help="Number of rows to keep, from the first.")] = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Part K of N equal parts, each a range of rows; 1/N is the first."),
    ] = None,
    seed: Seed = 0,
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Choose shapes by uid, labels, failure, number or at random.

    The output is of the kind of the input: a store, meshes or a manifest. A shape is kept if it fulfils all conditions.
    They are applied in the order of the list below: --category chair --count 10 draws ten chairs, and --first 5
    --part 1/5 is the first of these five rows. The input's order is kept.

    What --share and --count draw depends only on --seed and the uids, so that the same shapes are drawn from every
    store, folder or manifest of the same shapes, in any order. --share draws the shapes that sdfkit split --held-out
    holds out. Samples of one shape (predict --samples) are drawn together. sdfkit cat joins the results of --part 1/N
    to N/N in the order of the input.

    A uid, pattern, category or licence that no shape has is an error, and so is an empty result. Shapes that failed
    are copied as such.

    Mesh files are copied to a folder byte for byte, each named by its uid, which it keeps: a hidden file, .sdfkit,
    marks the folder. A mesh that refers to other files, such as materials, is copied with them into a folder of its
    own. In a stream, meshes of other formats become PLY, without colours.

    On a pipe, --uid, --glob, --category, --licence and --first copy the rows of a store as they arrive, if its uids are
    known in advance. Otherwise the input is first saved to a temporary file.

    \b
    Examples:
      sdfkit select samples.zarr --category chair --valid -o chairs.zarr
      sdfkit select raw/ --count 20 --seed 1 -o subset/
      sdfkit select raw/ --part 3/16 | sdfkit watertight | sdfkit sample-sdf -o part3.zarr
      sdfkit select views.zarr --glob 'lamp_*' | sdfkit embed -o features.zarr
    """
    from sdfkit.errors import UsageError
    from sdfkit.io.tables.choosing import Conditions, choose, parse_part
    from sdfkit.io.tables.copying import CopyOptions, copy_chosen, copy_matching, kind_of

    if valid and failed:
        raise UsageError("--valid and --failed exclude each other; leave one out")
    if share is not None and number is not None:
        raise UsageError("--share and --count exclude each other; leave one out")
    conditions = Conditions(
        tuple(uid), tuple(glob), tuple(category), tuple(licence),
        "valid" if valid else "failed" if failed else "any", share, number, seed, first, parse_part(part),
    )  # fmt: skip
    settings = conditions.describe()
    if not settings:
        raise UsageError("no condition is given; add --category, --uid or another, or copy with sdfkit cat")
    unused = (
        "uid", "glob", "category", "licence", "valid", "failed", "share", "number", "first", "part", "seed"
    )  # fmt: skip
    options = CopyOptions("select", settings, unused, settings.get("seed"), manifest, overwrite)
    if inputs == [STANDARD] and not conditions.needs_all and kind_of(inputs) == "store":
        copy_matching(STANDARD, conditions, output, options)
    else:
        copy_chosen(inputs, lambda rows, name: {output: choose(rows, conditions, name)}, options)
