"""The options that several commands share, each written once, and the options of the command that is running."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from sdfkit.errors import UsageError

STANDARD = "-"


@dataclass(frozen=True)
class InputPath:
    """Marks an option that names an input. Results of an earlier run are kept only if its content is the same.

    Attributes:
        by_row: The input has a row per shape. An output that is written row by row compares it row by row.
    """

    by_row: bool = False


@dataclass(frozen=True)
class Irrelevant:
    """Marks an option that does not change the output. Every other option is a setting of its command."""


ROWS, WHOLE, IRRELEVANT = InputPath(by_row=True), InputPath(), Irrelevant()


class CommandLine(NamedTuple):
    """The options of a running command that decide what it writes.

    Attributes:
        settings: Values of the options, as JSON has them; None is left out.
        inputs: Paths of the inputs that are compared as a whole, by option.
        rows: Paths of the inputs that have a row per shape, by option.
    """

    settings: Mapping[str, Any]
    inputs: Mapping[str, Sequence[str]]
    rows: Mapping[str, Sequence[str]]


_running: ContextVar[CommandLine | None] = ContextVar("running", default=None)


def running_command() -> CommandLine | None:
    """Return the options of the command that is running; None in a program that uses sdfkit as a library."""
    return _running.get()


@contextmanager
def running(command: Callable[..., None], options: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Make `running_command` return the options of a command during a block, which also gets the options."""
    token = _running.set(read_command_line(command, options))
    try:
        yield options
    finally:
        _running.reset(token)


def read_command_line(command: Callable[..., None], options: Mapping[str, Any]) -> CommandLine:
    """Sort the options of a command: all are settings, but for those that are marked as inputs or as irrelevant."""
    parameters = inspect.signature(command).parameters
    settings: dict[str, Any] = {}
    inputs: dict[str, list[str]] = {}
    rows: dict[str, list[str]] = {}
    for name, value in options.items():
        annotation = parameters[name].annotation
        marks = getattr(annotation, "__metadata__", ())
        role = next((mark for mark in marks if isinstance(mark, InputPath | Irrelevant)), None)
        if value is None or isinstance(role, Irrelevant) or annotation is typer.Context:
            continue
        if role is None:
            settings[name] = str(value) if isinstance(value, Path) else value
        else:
            paths = value if isinstance(value, list) else [value]
            (rows if role.by_row else inputs)[name] = [str(path) for path in paths]
    return CommandLine(settings, inputs, rows)


def flatten(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command in which the fields of its bundles of options, such as `Watch`, are options of their own."""
    signature = inspect.signature(command)
    bundles: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.annotation, type) and issubclass(parameter.annotation, tuple)
    }
    if not bundles:
        return command
    flat: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if name in bundles:
            fields = inspect.signature(bundles[name]).parameters.values()
            flat += [field.replace(kind=inspect.Parameter.KEYWORD_ONLY) for field in fields]
        else:
            flat.append(parameter)

    @functools.wraps(command)
    def flattened(**options: Any) -> None:
        given = {
            name: bundle(*(options.pop(field) for field in bundle._fields))
            for name, bundle in bundles.items()
        }
        for bundle in given.values():
            if isinstance(bundle, Length):
                bundle.check()
        command(**options, **given)

    flattened.__signature__ = signature.replace(parameters=flat)  # type: ignore[attr-defined]
    flattened.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return flattened


def preset_option(text: str, *names: str, **limits: Any) -> Any:
    """Return an option whose default is that of the preset, and whose help says so.

    Args:
        text: The help, without the default.
        names: Names of the option; by default, that of the parameter.
        limits: Further arguments of `typer.Option`.
    """
    return typer.Option(*names, help=f"{text}; default: the preset's.", **limits)


# The end of the help of options for the length of a training.
LONGER = "more than those of a complete output train it on, at the learning rate that the longer run has from there"
Steps = Annotated[
    int | None,
    preset_option(f"Number of steps, of each stage if there are several; of a single stage, {LONGER}", min=1),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of epochs, in place of --steps. An epoch uses each training shape once on average; an epoch of "
        "train-flow uses each view once.",
    ),
]


def refuse_two_lengths(steps: int | None, epochs: int | float | None) -> None:
    """Raise UsageError if both --steps and --epochs are given."""
    if steps is not None and epochs is not None:
        raise UsageError("--steps and --epochs both set the length of the training; give only one of them")


class Length(NamedTuple):
    """The options for the length of a training that counts steps; see `flatten`."""

    steps: Steps = None
    epochs: Epochs = None

    def check(self) -> None:
        """Raise UsageError if both are given."""
        refuse_two_lengths(*self)


Meshes = Annotated[
    list[str],
    typer.Argument(
        metavar="MESH",
        help="Mesh files, folders of mesh files, or manifests (of sdfkit manifest); - reads one PLY after another from "
        "standard input.",
    ),
    ROWS,
]
# Read by the program, which puts the paths behind the other inputs before the command runs.
FilesFrom = Annotated[
    str | None,
    typer.Option(
        "--files-from",
        metavar="FILE",
        help="Also read the paths of inputs from a file, one a line or each with a NUL behind it; - reads standard "
        "input.",
    ),
    IRRELEVANT,
]
Input = Annotated[
    str,
    typer.Argument(metavar="STORE", help="Store to read: a folder, zip file or URL; - reads standard input."),
    ROWS,
]
Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="STORE",
        help="Store to read: a folder, zip file or URL; - reads standard input. Several stores that were made in the "
        "same way are read as one.",
    ),
    ROWS,
]
Output = Annotated[
    str,
    typer.Option("-o", "--output", metavar="PATH", help="Path of the output; - writes to standard output."),
    IRRELEVANT,
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
    ROWS,
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
    IRRELEVANT,
]
Timeout = Annotated[
    float,
    typer.Option(min=0.1, help="Seconds after which a shape counts as failed."),
    IRRELEVANT,
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Address of a Dask scheduler, whose workers process the shapes; see sdfkit-cluster(7).",
    ),
    IRRELEVANT,
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
RetryFailed = Annotated[
    bool,
    typer.Option("--retry-failed", help="Also try the shapes again that failed in an earlier run."),
    IRRELEVANT,
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="Stop at the first shape that fails."), IRRELEVANT
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output."), IRRELEVANT]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON."), IRRELEVANT]


class Watch(NamedTuple):
    """The options with which a training is watched, or estimated; see `flatten`."""

    curve: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Plot the training loss of every step. A run that is continued replaces its plot.",
        ),
        IRRELEVANT,
    ] = None
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Table with a row per step: loss, learning rate, steps per second, seconds. A run that is continued "
            "continues its table.",
        ),
        IRRELEVANT,
    ] = None
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the same numbers as events for TensorBoard."),
        IRRELEVANT,
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print all settings, and how much time, memory and disk the training takes, measured in a few steps; "
            "write nothing.",
        ),
        IRRELEVANT,
    ] = False
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report of --dry-run as JSON."), IRRELEVANT
    ] = False


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
    Literal["auto", "cpu", "gpu"],
    typer.Option(help="Device to compute on; auto is the GPU if there is one."),
    IRRELEVANT,
]
Latent = Annotated[
    Literal["global", "grid", "triplane", "hybrid"],
    typer.Option(help="Codes of whole shapes, of places in a grid or in three planes, or of both (hybrid)."),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"],
    typer.Option(
        help="Precision of matrix products; auto is bf16 on hardware with bf16 units, fp32 on other hardware."
    ),
]
EncoderPrecision = Annotated[
    Literal["auto", "fp32", "bf16", "int8"],
    typer.Option(
        help="Precision of matrix products; auto is bf16 on hardware with bf16 units, fp32 on other hardware; int8 "
        "needs a processor with VNNI instructions."
    ),
]
