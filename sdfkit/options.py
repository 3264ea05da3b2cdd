"""The options that several commands share, each written once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

STANDARD = "-"

Meshes = Annotated[
    list[str],
    typer.Argument(
        metavar="MESH",
        help="Mesh files, or folders of mesh files; - reads one PLY after another from standard input.",
    ),
]
Input = Annotated[
    str,
    typer.Argument(metavar="STORE", help="Store to read: a folder, zip file or URL; - reads standard input."),
]
Output = Annotated[
    str,
    typer.Option("-o", "--output", metavar="PATH", help="Path of the output; - writes to standard output."),
]
Format = Annotated[
    Literal["ply", "glb", "obj", "stl"], typer.Option(help="Format of the mesh files in an output folder.")
]
Manifest = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Manifest (of sdfkit manifest) whose categories, licences and sources replace those of the input.",
    ),
]
Matte = Annotated[
    Literal["auto", "alpha", "plain", "none"],
    typer.Option(
        help="How to separate the object in an image file from its background. alpha: by the alpha channel; plain: "
        "from a background of one colour; none: not at all; auto: by the first of these that applies."
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        "-j",
        "--jobs",
        min=1,
        show_default="one per core",
        help="Number of parallel processes, each with one thread.",
    ),
]
Timeout = Annotated[
    float, typer.Option(min=0.1, help="Seconds after which a shape counts as failed; needs --jobs above 1.")
]
Cluster = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Address of a Dask scheduler that processes the shapes.")
]
Up = Annotated[
    Literal["y", "z"],
    typer.Option(
        help="Axis that points up in files that do not record it (OBJ, OFF, PLY, STL, 3MF). z: rotate them to +Y up."
    ),
]
DropSpecks = Annotated[
    bool,
    typer.Option(
        "--drop-specks",
        help="Leave out small pieces that lie far from the rest of the shape: farther than half the diagonal of the "
        "bounding box of the pieces that hold 90 % of the area.",
    ),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first shape that fails.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Curve = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Plot the training loss of every step.")]
HeldOut = Annotated[
    float,
    typer.Option(
        "--held-out",
        min=0,
        max=0.9,
        metavar="SHARE",
        help="Share of the shapes to keep out of training, chosen by uid and --seed, and to report errors of.",
    ),
]
Ema = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Decay of the moving average (EMA) of what is trained; 0: none; default: the preset's.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")]
Device = Annotated[
    Literal["auto", "cpu", "gpu"], typer.Option(help="Device to compute on; auto is the GPU if there is one.")
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"],
    typer.Option(
        help="Precision of matrix products; auto is bf16 on hardware with bf16 units, fp32 on other hardware."
    ),
]
