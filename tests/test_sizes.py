"""The limits of size: a file that outgrows them holds two things, and a package that does asks for a sub-package."""

from collections import Counter
from pathlib import Path

import pytest

import sdfkit

PACKAGE = Path(sdfkit.__file__).parent
CHECKOUT = Path(__file__).parents[1]
LINES, LINES_OF_A_COMMAND = 400, 150
MODULES = 12
COMMANDS = PACKAGE / "commands"
FILES = [path for place in (PACKAGE, CHECKOUT / "tests") for path in sorted(place.rglob("*.py"))]


def count_lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(("is_command", "most"), [(True, LINES_OF_A_COMMAND), (False, LINES)])
def test_no_file_is_too_long(is_command, most):
    lengths = {
        str(path.relative_to(CHECKOUT)): count_lines(path)
        for path in FILES
        if (path.parent == COMMANDS) == is_command
    }
    assert {name: length for name, length in lengths.items() if length > most} == {}


def test_no_package_has_too_many_modules():
    """Sub-packages are not counted, and commands has one module for each subcommand."""
    modules = Counter(
        str(path.parent.relative_to(PACKAGE))
        for path in FILES
        if PACKAGE in path.parents and path.parent != COMMANDS and path.name != "__init__.py"
    )
    assert {name: count for name, count in modules.items() if count > MODULES} == {}
