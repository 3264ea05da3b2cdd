"""The program itself: light, quiet, and with the right status."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import sdfkit
from sdfkit.cli import app, find_commands, with_status
from sdfkit.errors import GeometryError, InputError, MissingError, UsageError


def test_help_loads_nothing_heavy():
    code = "import sys; sys.argv = ['sdfkit', '--help']\nfrom sdfkit.cli import main"
    code += "\ntry: main()\nexcept SystemExit: pass"
    code += "\nprint([name for name in ('numpy', 'torch', 'zarr', 'trimesh', 'tqdm', 'numba') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_version():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"sdfkit {sdfkit.__version__}\n"


@pytest.mark.parametrize("name", find_commands())
def test_every_command_explains_itself(name):
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"sdfkit {name}" in result.stdout


def test_completion_completes():
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).stdout
    words = {"_SDFKIT_COMPLETE": "complete_bash", "COMP_WORDS": "sdfkit ren", "COMP_CWORD": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "sdfkit"],
        capture_output=True,
        text=True,
        env={**os.environ, **words},
        check=True,
    )
    assert result.stdout.split() == ["render"]


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UsageError("wrong"), 2, "sdfkit: wrong\n"),
        (InputError("x: cut"), 3, "sdfkit: x: cut\n"),
        (GeometryError("x: open"), 4, "sdfkit: x: open\n"),
        (MissingError("no GPU"), 5, "sdfkit: no GPU\n"),
        (
            FileNotFoundError(2, "No such file or directory", "x.ply"),
            1,
            "sdfkit: x.ply: No such file or directory\n",
        ),
        (OSError(28, "No space left on device"), 1, "sdfkit: standard output: No space left on device\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_one_line_and_a_status(error, status, text):
    import typer

    program = typer.Typer()

    @program.command()
    @with_status
    def fail() -> None:
        raise error

    result = CliRunner().invoke(program, [])
    assert result.exit_code == status
    assert result.stderr == text


def test_a_bug_keeps_its_traceback():
    @with_status
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
