import logging
from pathlib import Path
from typing import Annotated

import typer

from sdfkit.options import STANDARD, Output, Overwrite

log = logging.getLogger(__name__)


def manifest(
    inputs: Annotated[list[str], typer.Argument(metavar="MESH...", help="Mesh files, or folders of them.")],
    *,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="A table of labels.")] = None,
    lvis: Annotated[bool, typer.Option("--lvis", help="Fetch the labels of Objaverse's shapes.")] = False,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Where nothing else tells the licence.")] = "",
    source: Annotated[str, typer.Option(metavar="TEXT", help="Where nothing else tells the source.")] = "",
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """List meshes with their uid, category, licence, source and checksum.

    The list is JSON: `shapes` in the order of `obj_idx`, and `obj_idx` by uid. Paths in it begin at its own
    folder. Every command that reads shapes takes it as --manifest.

    Folders are searched at any depth. A uid is the one that sdfkit wrote into the file, else the file's name,
    made unique. Each label comes from the first of these that has it: --csv, --lvis, what sdfkit wrote into
    the file, the name of the folder below the one named here (a category; without --lvis), --licence and
    --source.

    A CSV has a column uid, or file (the path below the folder named here), and any of category, licence and
    source. --lvis needs the extra sdfkit[lvis]; the first time it downloads Objaverse's metadata.

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
