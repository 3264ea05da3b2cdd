"""Man pages agree with the commands, are deterministic, and are valid roff."""

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.main import get_command

from sdfkit.cli import app

MAN = Path(__file__).parents[1] / "man"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", MAN / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def program(generate, monkeypatch):
    """A program with one command whose help contains everything that needs escaping."""
    monkeypatch.setattr(generate, "STAGES", {"Cut": ("cut-up",)})
    small = typer.Typer(rich_markup_mode=None)

    @small.callback()
    def main():
        """Cut things."""

    @small.command("cut-up")
    def cut_up(
        inputs: Annotated[list[str], typer.Argument(metavar="MESH", help="What to cut.")] = ["-"],  # noqa: B006
        *,
        depth: Annotated[int, typer.Option(min=1, help="How deep.")] = 3,
        secret: Annotated[int, typer.Option(hidden=True)] = 0,
    ) -> None:
        """Cut a mesh in two.

        It may hurt:
        .hidden files and a back\\slash.

        \b
        Examples:
          cut-up a.ply --depth 2 | grep '\\.x'
            more
        """

    return get_command(small)


def test_committed_man_pages_agree_with_the_commands(generate):
    stale = generate.find_stale(generate.write_pages(get_command(app)), MAN / "man1")
    assert stale == [], "run python man/generate.py"


def test_a_man_page_contains_every_part_of_the_help(generate, program):
    page = generate.write_pages(program)["sdfkit-cut-up.1"]
    parts = [
        ".SH NAME\nsdfkit\\-cut\\-up \\- cut a mesh in two\n",
        ".SH SYNOPSIS\n.B sdfkit cut\\-up\n[OPTIONS] [MESH]...\n",
        ".SH DESCRIPTION\nCut a mesh in two.\n.PP\nIt may hurt:\n\\&.hidden files and a back\\eslash.\n",
        ".SH ARGUMENTS\n.TP\n",
        "What to cut.  [default: \\-]\n",
        ".SH OPTIONS\n.TP\n\\fB\\-\\-depth <int range>\\fR\nHow deep.  [default: 3; x>=1]\n",
        ".SH EXAMPLES\n.nf\ncut\\-up a.ply \\-\\-depth 2 | grep \\(aq\\e.x\\(aq\n  more\n.fi\n",
        ".SH EXIT STATUS\n.TP\n0\nDone.\n",
        "\n.TP\n3\nAn input cannot be used, for example because it is of the wrong kind, truncated or damaged.\n",
    ]
    assert [part for part in parts if part not in page] == []
    places = [page.find(part) for part in parts]
    assert places == sorted(places)
    assert "secret" not in page


def test_the_main_man_page_lists_all_commands(generate, program):
    page = generate.write_pages(program)["sdfkit.1"]
    assert ".SH COMMANDS\n.SS Cut\n.TP\n.BR sdfkit\\-cut\\-up (1)\nCut a mesh in two.\n" in page


def test_outdated_man_pages_are_named(generate, program, tmp_path, monkeypatch, capsys):
    pages = generate.write_pages(program)
    assert generate.find_stale(pages, tmp_path) == ["sdfkit-cut-up.1", "sdfkit.1"]
    for name, text in pages.items():
        (tmp_path / name).write_text(text)
    assert generate.find_stale(pages, tmp_path) == []
    (tmp_path / "sdfkit.1").write_text("old")
    (tmp_path / "sdfkit-gone.1").write_text("old")
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    monkeypatch.setattr(generate, "get_command", lambda _: program)
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == "stale: sdfkit-gone.1, sdfkit.1; run python man/generate.py\n"
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(pages)
    assert generate.main(["--chekc"]) == 2


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_reports_no_warnings(generate, program, tmp_path):
    for name, text in generate.write_pages(program).items():
        (tmp_path / name).write_text(text)
    pages = [*sorted(MAN.glob("man?/*")), *tmp_path.iterdir()]
    result = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-K", "utf8", *pages], capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    assert "back\\slash" in result.stdout
    assert "grep '\\.x'" in result.stdout
