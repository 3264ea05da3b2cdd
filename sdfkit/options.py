"""The options that mean the same in every command, each written once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

STANDARD = "-"

Meshes = Annotated[
    list[str], typer.Argument(metavar="MESH", help="Mesh files or folders of them; - reads a stream of PLY.")
]
Input = Annotated[
    str, typer.Argument(metavar="STORE", help="A store: folder, zip file or URL; - reads a pipe.")
]
Output = Annotated[
    str, typer.Option("-o", "--output", metavar="PATH", help="Where to write; - is standard output.")
]
Format = Annotated[Literal["ply", "glb", "obj", "stl"], typer.Option(help="What the files of a folder are.")]
Manifest = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A manifest.json whose category, licence and source to use."),
]
Matte = Annotated[
    Literal["auto", "alpha", "plain", "none"],
    typer.Option(help="How the object of a picture file is told from its background."),
]
Jobs = Annotated[int, typer.Option(min=1, show_default="one a core", help="Processes, of one thread each.")]
Timeout = Annotated[
    float, typer.Option(min=0.1, help="Seconds after which a shape counts as failed (--jobs > 1).")
]
Cluster = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler to run the shapes on.")
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first shape that fails.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print the same facts for programs.")]
Curve = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the loss of all steps.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")]
Device = Annotated[Literal["auto", "cpu", "gpu"], typer.Option(help="Where to compute.")]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"],
    typer.Option(help="Of matrix products; auto takes bf16 where it is faster."),
]
