import logging
from pathlib import Path
from typing import Annotated

import typer

from sdfkit.options import STANDARD, Output, Overwrite

log = logging.getLogger(__name__)


def manifest(
    inputs: Annotated[list[str], typer.Argument(metavar="MESH...", help="Mesh files, or folders of them.")],
    *,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="A CSV file of labels.")] = None,
    lvis: Annotated[bool, typer.Option("--lvis", help="Download the labels of Objaverse's shapes.")] = False,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Licence of shapes without any other.")] = "",
    source: Annotated[str, typer.Option(metavar="TEXT", help="Source of shapes without any other.")] = "",
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """List meshes with uid, category, licence, source and checksum.

    The manifest is JSON: `shapes` lists the shapes in the order of `obj_idx`, and `obj_idx` maps each uid to its
    index. Paths are relative to the manifest's folder. Every command that reads shapes takes it as --manifest.

    Folders are searched recursively. The uid is the one that sdfkit wrote into the file, otherwise the file's name
    without its suffix, made unique. Each label is taken from the first of these sources that has it: --csv, --lvis,
    the labels that sdfkit wrote into the file, the first folder between MESH and the file (as the category; not with
    --lvis), --licence and --source.

    The CSV file has a column uid, or a column file (the path relative to MESH), and any of category, licence and
    source. --lvis needs the extra sdfkit[lvis]; its first use downloads Objaverse's metadata.

    \b
    Examples:
      sdfkit manifest raw/ -o manifest.json
      sdfkit manifest scans/ --csv labels.csv --licence CC-BY-4.0 -o manifest.json
      sdfkit manifest ~/.objaverse/hf-objaverse-v1/glbs --lvis -o manifest.json
    """
    from sdfkit.io.manifest_writer import create_manifest, list_shapes
    from sdfkit.rows import LABELS

    folder = Path() if output == STANDARD else Path(output).parent
    with create_manifest(output, overwrite=overwrite) as entries:
        entries += list_shapes(inputs, folder, table=csv, lvis=lvis, licence=licence, source=source)
    place = "standard output" if output == STANDARD else output
    lacking = [f"{sum(not getattr(entry, name) for entry in entries)} without {name}" for name in LABELS]
    count = f"{len(entries)} shape{'s'[: len(entries) != 1]}"
    log.info("wrote a manifest of %s to %s; %s", count, place, ", ".join(lacking))
