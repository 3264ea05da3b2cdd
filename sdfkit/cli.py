"""The program: finds the commands, sets up logging, and turns errors into an exit status. Imports nothing heavy."""

import os

# OpenMP threads that spin while they wait take the core from the process at the other end of a pipe. This must be set
# before any library that loads OpenMP is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import codecs
import functools
import importlib
import inspect
import io
import logging
import pkgutil
import signal
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

import sdfkit
from sdfkit import commands
from sdfkit.errors import DoneError, InputError, OtherProcessError, ReportInstead, SdfkitError
from sdfkit.io.streams import forget_copies, read_list, spool
from sdfkit.io.urls.files import connection_errors, describe_server_error, restore_url
from sdfkit.options import STANDARD, flatten, read_command_line, running
from sdfkit.report.presets import preset_table
from sdfkit.rows import PrintableFormatter, printable
from sdfkit.runtime.torchrun.messages import is_first_process, may_report
from sdfkit.wording import original_names

# The commands in the order of the work, as --help and the manual list them.
STAGES = {
    "Prepare meshes": ("shapes", "fetch", "manifest", "watertight", "sample-sdf"),
    "Choose and join shapes": ("select", "split", "cat"),
    "Turn them into pictures and features": ("render", "embed"),
    "Learn": ("train-deepsdf", "fit-code", "fit-mlp", "train-ae", "train-dit", "train-flow", "train-recon"),
    "Predict": ("pose", "predict", "mesh"),
    "Judge": ("compare", "rank"),
    "Diagnose": ("timestep-loss", "weight-stats", "perturb", "interpolate"),
    "Inspect": ("info", "view", "doctor", "plan"),
}
# Errors of the system that mean that an input, or the folder of an output, is not what is needed.
UNREADABLE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
# After SIGTERM, a command that does not end within this time is killed.
SECONDS_TO_END = 3.0
QUIET, VERBOSE = ("-q", "--quiet"), ("-v", "--verbose")


class Program(TyperGroup):
    """The group of all commands, with `help COMMAND`, -q and -v in any position, and usage errors in one line."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        if words[:1] == ["help"]:
            words = [*words[1:2], "--help"]
        # What follows -- is never an option.
        end = words.index("--") if "--" in words else len(words)
        flags = [word for word in words[:end] if word in (*QUIET, *VERBOSE)]
        words = [*flags, *(word for word in words[:end] if word not in flags), *words[end:]]
        try:
            code = super().main(words, *rest, **options | {"standalone_mode": False})
        except TyperException as error:
            context = getattr(error, "ctx", None)
            text = error.format_message().replace(": Value error, ", ": ")  # of pydantic, which typer uses
            if "\n" not in text:  # else it is the whole help, of a command line without any word
                where = context.command_path if context is not None else "sdfkit"
                command = where.removeprefix("sdfkit").strip()
                if "unexpected extra argument" in text and ".zarr" in text:
                    text = f"{text.rstrip('.')}; to join stores, use sdfkit cat"
                text = f"{text} See" if text.endswith("?") else f"{text.rstrip('.')}; see"
                text = f"sdfkit: {f'{command}: ' * bool(command)}{text} {where} --help"
            typer.echo(text, err=True)
            code = error.exit_code
        sys.exit(code or 0)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all commands in the order in which they are used."""
        return sorted(self.commands, key=[name for stage in STAGES.values() for name in stage].index)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands under headings, one for each stage of the work, each with its whole summary."""
        for stage, names in STAGES.items():
            with formatter.section(stage):
                formatter.write_dl([(f"{name:13}", summarise(self.commands[name])) for name in names])


def summarise(command: Any) -> str:
    """Return the first sentence of a command's help, without its full stop."""
    return " ".join(command.help.split("\n\n")[0].split()).rstrip(".")


app = typer.Typer(
    name="sdfkit",
    cls=Program,
    help="Small programs, joined by pipes: from messy meshes to a model that turns an image into a 3-D shape.",
    epilog="sdfkit help COMMAND explains one command; man sdfkit-store describes the stores.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help"], "max_content_width": 100},
)


def escape(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding cannot represent, such as a byte of a file name that is not UTF-8, by an escape."""
    assert isinstance(error, UnicodeEncodeError)
    text = printable(error.object[error.start : error.end])
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("printable", escape)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sdfkit {sdfkit.__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option(*QUIET, help="Print nothing but errors on standard error; also after COMMAND.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option(*VERBOSE, help="Print what libraries log, too; also after COMMAND.")
    ] = False,
) -> None:
    # backslashreplace escapes as JSON does.
    for stream, errors in ((sys.stdout, "backslashreplace"), (sys.stderr, "printable")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level, force=True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(PrintableFormatter("sdfkit: %(message)s"))
    # zarr reads several things at once. After the first error, it does not ask for the others, and asyncio, or Python
    # when it discards them, would print them.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # logs what is also an exception
    level = logging.WARNING if quiet else logging.INFO
    logging.getLogger("sdfkit").setLevel(level if is_first_process() else logging.ERROR)


class Terminated(
    BaseException
):  # no Exception, as KeyboardInterrupt, so that no row takes it for its own failure
    """SIGTERM has arrived."""


def prepare_inputs(function: Callable[..., None], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a command with the inputs that --files-from names, and without named pipes.

    Named pipes, and files at URLs, are replaced by temporary files; see `streams.spool`.
    """
    forget_copies()
    found = dict(options)
    if found.get("files_from") is not None:
        given = [path for path in found["inputs"] if path != STANDARD]
        found |= {"inputs": [*given, *read_list(found["files_from"])], "files_from": None}
    line = read_command_line(function, found)
    for name in (*line.inputs, *line.rows):
        value = found[name]
        found[name] = (
            [spool(path) for path in value]
            if isinstance(value, list)
            else type(value)(spool(restore_url(value)))
        )
    return found


def report_error(text: str, *, follows: bool = False) -> None:
    """Print the error that ends the command, in one of its processes; see `messages.may_report`."""
    if may_report(follows=follows):
        typer.echo(f"sdfkit: {printable(original_names(text))}", err=True)


def with_status(function: Callable[..., None]) -> Callable[..., None]:
    """Turn the errors of a command into one line and an exit status (typer handles Ctrl-C with status 130)."""

    @functools.wraps(function)
    def command(**options: Any) -> None:
        try:
            with running(function, prepare_inputs(function, options)) as given:
                function(**given)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has left, as head does. Nothing may be written any more, not even at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(141) from None
        except Terminated as end:
            report_error("stopped by a signal; the same command continues what it can", follows=True)
            raise typer.Exit(128 + end.args[0]) from None
        except ReportInstead as report:
            typer.echo(str(report))
        except DoneError as error:
            logging.getLogger(__name__).info("%s", error)
        except SdfkitError as error:
            report_error(str(error), follows=isinstance(error, OtherProcessError))
            raise typer.Exit(error.status) from None
        except connection_errors() as error:
            report_error(describe_server_error(error))
            raise typer.Exit(1) from None
        except OSError as error:
            if text := describe_server_error(error):
                report_error(text)
                raise typer.Exit(1) from None
            if error.errno is None:
                raise
            subject = error.filename if error.filename is not None else "standard output"
            report_error(f"{subject}: {error.strerror}")
            raise typer.Exit(InputError.status if isinstance(error, UNREADABLE) else 1) from None

    return command


def find_commands() -> dict[str, Callable[..., None]]:
    """Return the subcommands by name: each file of `commands` contains a function with the name of the file."""
    found = {}
    for module in pkgutil.iter_modules(commands.__path__):
        function = getattr(importlib.import_module(f"sdfkit.commands.{module.name}"), module.name)
        found[module.name.replace("_", "-")] = flatten(function)
    return found


def write_help(name: str, function: Callable[..., None]) -> str:
    """Return a command's docstring, with the table of its presets before the examples."""
    description, mark, examples = inspect.cleandoc(function.__doc__ or "").rpartition("\n\n\b\nExamples:")
    table = preset_table(name)
    presets = f"\n\n\b\nPresets:\n{textwrap.indent(table, '  ')}" if table else ""
    return description + presets + mark + examples


for _name, _function in find_commands().items():
    app.command(_name, help=write_help(_name, _function))(with_status(_function))


def terminate(number: int, frame: FrameType | None) -> NoReturn:
    """End the command on SIGTERM as on Ctrl-C: what is half written is removed, and the workers end."""
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    timer = threading.Timer(SECONDS_TO_END, os._exit, [128 + number])  # libraries may wait for their threads
    timer.daemon = True
    timer.start()
    raise Terminated(number)


def main() -> None:
    signal.signal(signal.SIGTERM, terminate)
    app(prog_name="sdfkit")
