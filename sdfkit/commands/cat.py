from typing import Annotated

import typer

from sdfkit.options import ROWS, STANDARD, FilesFrom, Manifest, Output, Overwrite


def cat(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Stores, mesh files or folders of them, or manifests; - reads standard input.",
        ),
        ROWS,
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    files_from: FilesFrom = None,
    rename: Annotated[
        bool, typer.Option("--rename", help="Append a number to a uid that occurs again: chair, chair_2.")
    ] = False,
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Join stores, meshes or manifests, one after another.

    Stores must be of one kind and made in the same way: with the same arrays, settings, encoder, decoder or network.
    Only the number of rows, the inputs and --seed may differ. The first difference is reported. The history of the
    result is that of all stores, each step once. Standard input may hold several stores, one after another.

    A uid that occurs twice is an error, unless --rename is given. Meshes are named as by all commands that read meshes:
    if two files would get the same uid, parts of their paths are added to both.

    Mesh files are copied to a folder byte for byte, as by sdfkit select, and a manifest gets new values of obj_idx.

    A single store is copied, also to another format: *.npz is a file for NumPy, and views become a folder of pictures
    with transforms.json if the output has no ending of a store. Such files and folders are also read.

    \b
    Examples:
      sdfkit cat part*.zarr -o samples.zarr
      sdfkit cat views.zarr -o pictures/
      sdfkit cat codes.zarr -o codes.npz
      sdfkit cat samples.zarr more.zarr | sdfkit train-deepsdf -o deepsdf.zarr
      cat a.zarr.zip b.zarr.zip | sdfkit cat -o both.zarr
    """
    from sdfkit.io.tables.copying import CopyOptions, join

    options = CopyOptions("cat", {"rename": rename}, ("rename",), None, manifest, overwrite)
    join(inputs, output, options, rename=rename)
