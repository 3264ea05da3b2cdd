"""The options that several commands share, each written once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

STANDARD = "-"

Meshes = Annotated[
    list[str],
    typer.Argument(
        metavar="MESH", help="Mesh files, or folders of them; - reads PLY after PLY from standard input."
    ),
]
Input = Annotated[
    str, typer.Argument(metavar="STORE", help="A store: folder, zip file or URL; - reads standard input.")
]
Output = Annotated[
    str, typer.Option("-o", "--output", metavar="PATH", help="Where to write; - writes to standard output.")
]
Format = Annotated[
    Literal["ply", "glb", "obj", "stl"], typer.Option(help="Format of the files in an output folder.")
]
Manifest = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A manifest.json to take category, licence and source from."),
]
Matte = Annotated[
    Literal["auto", "alpha", "plain", "none"],
    typer.Option(help="How to separate the object in a picture file from its background."),
]
Jobs = Annotated[
    int,
    typer.Option("-j", "--jobs", min=1, show_default="one per core", help="Processes, of one thread each."),
]
Timeout = Annotated[
    float, typer.Option(min=0.1, help="Seconds after which a shape counts as failed (with --jobs above 1).")
]
Cluster = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Address of a Dask scheduler to run the shapes on.")
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first shape that fails.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Curve = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Plot the loss of every step.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")]
Device = Annotated[
    Literal["auto", "cpu", "gpu"], typer.Option(help="Where to compute; auto takes a GPU if there is one.")
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"],
    typer.Option(help="Precision of matrix products; auto takes bf16 where the hardware has units for it."),
]
