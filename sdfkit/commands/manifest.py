import logging
from pathlib import Path
from typing import Annotated

import typer

from sdfkit.options import ROWS, STANDARD, WHOLE, FilesFrom, Output, Overwrite
from sdfkit.wording import counted

log = logging.getLogger(__name__)


def manifest(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="MESH", help="Mesh files, or folders of mesh files.", show_default=False),
        ROWS,
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    files_from: FilesFrom = None,
    uid: Annotated[
        str,
        typer.Option(
            metavar="auto|stem|folder|COLUMN",
            help="Where uids come from: auto: the mesh file, or its path; stem: the file's name; folder: the name of "
            "its folder; COLUMN: that column of the CSV file.",
        ),
    ] = "auto",
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV file with category, licence and source of the shapes."),
        WHOLE,
    ] = None,
    lvis: Annotated[
        bool,
        typer.Option(
            "--lvis", help="Download the categories (from LVIS), licences and authors of Objaverse shapes."
        ),
    ] = False,
    licence: Annotated[
        str, typer.Option(metavar="TEXT", help="Licence of shapes for which no other is found.")
    ] = "",
    source: Annotated[
        str, typer.Option(metavar="TEXT", help="Source of shapes for which no other is found.")
    ] = "",
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """List meshes with uid, category, licence, source and checksum.

    The manifest is JSON: `shapes` lists the shapes in the order of `obj_idx`, and `obj_idx` maps each uid to its index.
    Paths are relative to the manifest's folder. Other commands take the manifest as --manifest and copy its labels to
    their output; all commands that read shapes have this option, except perturb and timestep-loss.

    Folders are searched recursively. The uid, the unique name of a shape, is the one that sdfkit wrote into the mesh
    file. Files of other programs are named by their path: by the file's name without its suffix (chair.obj: chair),
    preceded by the folder's name if a neighbouring folder contains a file of the same name (chair/0001.off:
    chair_0001), or by the folder's name alone if the file's name is generic (ID/models/model_normalized.obj: ID). All
    commands that read meshes name them in this way, whatever other files are given. If two files would get the same
    uid, parts of their paths are added to both, with a warning. The uids in a manifest stay the same, whatever files a
    later command is given.

    Each label (category, licence, source) is taken from the first of these that has it:

    \b
      1. the CSV file of --csv
      2. Objaverse's metadata, with --lvis
      3. the labels that sdfkit wrote into the mesh file
      4. for the category, without --lvis: the topmost folder below the folder MESH that contains the file; folders
         whose names are part of the uid, and folders such as train, raw or meshes, do not count
      5. --licence and --source

    The CSV file has a column uid, or a column file (the path relative to MESH), and any of the columns category,
    licence and source; for --uid COLUMN it has the columns file and COLUMN. --lvis takes categories from LVIS, the
    labelled subset of Objaverse, by the names of the files. It needs pip install 'sdfkit[lvis]', and its first use
    downloads Objaverse's metadata. sdfkit fetch downloads shapes of LVIS together with such a manifest.

    \b
    Examples:
      sdfkit manifest raw/ -o manifest.json
      sdfkit manifest scans/ --csv labels.csv --licence CC-BY-4.0 -o manifest.json
      sdfkit manifest scans/ --csv labels.csv --uid model_id -o manifest.json
      sdfkit manifest ~/.objaverse/hf-objaverse-v1/glbs --lvis -o manifest.json
    """
    from sdfkit.errors import DoneError
    from sdfkit.io.manifest_writer import create_manifest, list_shapes
    from sdfkit.rows import LABELS

    folder = Path() if output == STANDARD else Path(output).parent
    with create_manifest(output, overwrite=overwrite) as written:
        written.entries += list_shapes(
            inputs, folder, uid=uid, table=csv, lvis=lvis, licence=licence, source=source
        )
    entries = written.entries
    if written.is_kept:
        raise DoneError(f"{output}: is complete, and nothing was to be done")
    place = "standard output" if output == STANDARD else output
    lacking = [f"{sum(not getattr(entry, name) for entry in entries)} without {name}" for name in LABELS]
    log.info("wrote a manifest of %s to %s; %s", counted(len(entries), "shape"), place, ", ".join(lacking))
