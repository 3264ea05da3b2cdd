"""The program as a whole: imports, verbosity and exit statuses."""

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import sdfkit
from sdfkit.cli import STAGES, app, find_commands, with_status
from sdfkit.errors import GeometryError, InputError, MissingError, UsageError


def test_help_imports_no_heavy_packages():
    code = "import sys; sys.argv = ['sdfkit', '--help']\nfrom sdfkit.cli import main"
    code += "\ntry: main()\nexcept SystemExit: pass"
    code += "\nprint([name for name in ('numpy', 'torch', 'zarr', 'trimesh', 'tqdm', 'numba') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_version_prints_the_package_version():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"sdfkit {sdfkit.__version__}\n"


@pytest.mark.parametrize("name", find_commands())
def test_every_command_has_help(name):
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"sdfkit {name}" in result.stdout


def test_every_command_belongs_to_one_stage_and_is_listed_with_its_whole_summary():
    listed = [name for names in STAGES.values() for name in names]
    assert sorted(listed) == sorted(find_commands())
    shown = CliRunner().invoke(app, ["--help"]).stdout.splitlines()
    for name, function in find_commands().items():
        assert f"  {name:13}  {function.__doc__.splitlines()[0].rstrip('.')}" in shown, (
            "one line of 80 columns"
        )


def test_help_of_a_command_is_what_the_option_prints():
    shown = CliRunner().invoke(app, ["help", "render"])
    assert (shown.exit_code, shown.stdout) == (0, CliRunner().invoke(app, ["render", "--help"]).stdout)
    assert CliRunner().invoke(app, ["help"]).stdout == CliRunner().invoke(app, ["--help"]).stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["redner"], "No such command 'redner'. Did you mean 'render'? See sdfkit --help"),
        (
            ["render", "--viewz"],
            "render: No such option: --viewz (Possible options: --size, --views); see sdfkit render --help",
        ),
        (
            ["embed", "x.zarr", "--device", "tpu"],
            "embed: Invalid value for '--device': 'tpu' is not one of 'auto', 'cpu', 'gpu'; see sdfkit embed --help",
        ),
        (["train-dit", "x.zarr"], "train-dit: Missing option '--codes'; see sdfkit train-dit --help"),
        (["render", "--views", "0", "x.ply"], None),
        (
            ["mesh", "a.zarr", "b.zarr"],
            "mesh: Got unexpected extra argument(s) (b.zarr); to join stores, use sdfkit cat; see sdfkit mesh --help",
        ),
        (["help", "nothing"], "No such command 'nothing'; see sdfkit --help"),
    ],
)
def test_usage_errors_are_one_line(words, text):
    result = CliRunner().invoke(app, words, prog_name="sdfkit")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert (
        result.stderr == f"sdfkit: {text}\n" if text else result.stderr.startswith("sdfkit: render: Invalid")
    )


@pytest.mark.parametrize("flag", ["-q", "--quiet", "-v", "--verbose"])
@pytest.mark.parametrize("first", [True, False])
def test_quiet_and_verbose_are_accepted_before_or_after_the_command(flag, first, tmp_path):
    words = ["shapes", "--count", "1", "--resolution", "32", "-o", str(tmp_path / "one.ply")]
    result = CliRunner().invoke(app, [flag, *words] if first else [*words, flag])
    assert result.exit_code == 0, result.stderr
    assert (result.stderr == "") == (flag in ("-q", "--quiet"))


COMPLETED = {
    "commands": ("ren", ["render"]),
    "options": ("train-dit --pr", ["--prediction", "--preset", "--precision"]),
    "presets": ("train-deepsdf --preset ", ["small", "256x4", "512x8"]),
    "kinds of answers": ("embed --pool m", ["mean", "max"]),
    "categories": ("shapes --category ch", ["chain", "chair", "chess_piece"]),
}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("typed", "offered"), COMPLETED.values(), ids=COMPLETED)
def test_shells_complete_commands_options_and_their_values(shell, typed, offered):
    line = f"sdfkit {typed}"
    words = {
        "_SDFKIT_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1),
        "_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }  # fmt: skip
    result = CliRunner().invoke(app, prog_name="sdfkit", env=words)
    found = {
        "bash": str.split,
        "zsh": lambda text: re.findall(r'^(?:.*\(\()?"([\w-]+)"', text, re.MULTILINE),
        "fish": lambda text: [
            line.split("\t")[0] for line in text.splitlines() if "\t" in line or " " not in line
        ],
    }[shell](result.stdout)
    assert sorted(found) == sorted(offered)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UsageError("wrong"), 2, "sdfkit: wrong\n"),
        (InputError("x: cut"), 3, "sdfkit: x: cut\n"),
        (GeometryError("x: open"), 4, "sdfkit: x: open\n"),
        (MissingError("no GPU"), 5, "sdfkit: no GPU\n"),
        (
            FileNotFoundError(2, "No such file or directory", "x.ply"),
            3,
            "sdfkit: x.ply: No such file or directory\n",
        ),
        (OSError(28, "No space left on device"), 1, "sdfkit: standard output: No space left on device\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_one_line_and_an_exit_status(error, status, text):
    import typer

    program = typer.Typer()

    @program.command()
    @with_status
    def fail() -> None:
        raise error

    result = CliRunner().invoke(program, [])
    assert result.exit_code == status
    assert result.stderr == text


def test_unexpected_errors_keep_their_traceback():
    @with_status
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
