"""The program: finds commands, turns errors into an exit status. Imports nothing heavy."""

import os

# Threads that spin while they wait take the core from the process at the other end of the pipe; must be set
# before any library that brings OpenMP.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import functools
import importlib
import logging
import pkgutil
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

import sdfkit
from sdfkit import commands
from sdfkit.errors import SdfkitError

app = typer.Typer(
    name="sdfkit",
    help="Small programs, joined by pipes: from messy meshes to a model that turns an image into a 3-D shape.",
    epilog="sdfkit COMMAND --help explains one command; man sdfkit-store tells what flows between them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help"], "max_content_width": 100},
)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sdfkit {sdfkit.__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors on standard error.")] = False,
) -> None:
    logging.basicConfig(format="sdfkit: %(message)s", stream=sys.stderr, level=logging.WARNING, force=True)
    # Of the processes that torchrun starts, the first one speaks.
    silent = quiet or os.environ.get("RANK", "0") != "0"
    logging.getLogger("sdfkit").setLevel(logging.WARNING if silent else logging.INFO)


def with_status(function: Callable[..., None]) -> Callable[..., None]:
    """Turn the errors of a command into one line and an exit status (130, for Ctrl-C, is typer's)."""

    @functools.wraps(function)
    def command(**options: Any) -> None:
        try:
            function(**options)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has left, as head does. Nothing may be written any more, not even at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(141) from None
        except SdfkitError as error:
            typer.echo(f"sdfkit: {error}", err=True)
            raise typer.Exit(error.status) from None
        except OSError as error:
            if error.errno is None:
                raise
            subject = error.filename if error.filename is not None else "standard output"
            typer.echo(f"sdfkit: {subject}: {error.strerror}", err=True)
            raise typer.Exit(1) from None

    return command


def find_commands() -> dict[str, Callable[..., None]]:
    """Every subcommand by name: each file of `commands` holds a function that bears its name."""
    found = {}
    for module in pkgutil.iter_modules(commands.__path__):
        function = getattr(importlib.import_module(f"sdfkit.commands.{module.name}"), module.name)
        found[module.name.replace("_", "-")] = function
    return found


for _name, _function in find_commands().items():
    app.command(_name)(with_status(_function))


def main() -> None:
    app(prog_name="sdfkit")
