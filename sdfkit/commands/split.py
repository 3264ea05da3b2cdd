from typing import Annotated, Literal

import typer

from sdfkit.options import IRRELEVANT, ROWS, STANDARD, FilesFrom, Manifest, Overwrite, Seed


def split(
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
    held_out: Annotated[
        float,
        typer.Option(
            "--held-out",
            min=0,
            max=1,
            metavar="SHARE",
            help="Share of the shapes, or categories, to hold out.",
        ),
    ],
    by: Annotated[
        Literal["instance", "category"],
        typer.Option(help="What is held out. instance: single shapes; category: all shapes of a category."),
    ] = "instance",
    seed: Seed = 0,
    manifest: Manifest = None,
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="FOLDER", help="Folder or URL for the two sets."),
        IRRELEVANT,
    ],
    overwrite: Overwrite = False,
) -> None:
    """Split shapes into a training set and a held-out set.

    The folder holds train and held-out: train.zarr and held-out.zarr for a store, the folders train and held-out for
    meshes, train.json and held-out.json for a manifest. Each shape is in one of them, in the order of the input. At
    least one shape or category is held out, and one remains.

    What is held out depends only on --seed and the uids, or the categories. The split is therefore the same for every
    store, folder of meshes and manifest of the same shapes, in any order: split samples and views alike, or split the
    meshes and go on from there. Samples of one shape (predict --samples) stay together, and shapes that failed are
    split as all others. sdfkit select --share chooses the same shapes. train-dit and train-deepsdf have a --held-out of
    their own, which needs no split.

    \b
    Examples:
      sdfkit split closed/ --held-out 0.1 -o sets/
      sdfkit split samples.zarr --held-out 0.25 --by category --manifest manifest.json -o sets/
    """
    from sdfkit.io.tables.copying import CopyOptions, copy_split

    settings = {"held_out": held_out, "by": by, "seed": seed}
    options = CopyOptions("split", settings, tuple(settings), seed, manifest, overwrite)
    copy_split(inputs, output, held_out, by, options)
