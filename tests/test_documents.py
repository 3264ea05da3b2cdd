"""The program accepts every command line in the README, the example scripts and the help texts."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from sdfkit.cli import app, find_commands

ROOT = Path(__file__).parent.parent
PROGRAM = typer.main.get_command(app)


def blocks():
    """Return the shell text in documents, by place."""
    readme = (ROOT / "README.md").read_text()
    yield "README.md", "\n".join(re.findall(r"```sh\n(.*?)```", readme, flags=re.DOTALL))
    for page in sorted((ROOT / "examples/tutorials").glob("*.md")):
        # Console blocks are run by tests/examples/test_tutorials.py.
        yield page.name, "\n".join(re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL))
    for script in sorted((ROOT / "examples").glob("*.sh")):
        yield script.name, script.read_text()
    page = (ROOT / "man/man7/sdfkit-cluster.7").read_text().replace("\\-", "-")
    listings = re.findall(r"^\.nf\n(.*?)^\.fi$", page, flags=re.DOTALL | re.MULTILINE)
    yield "sdfkit-cluster.7", "\n".join(listings)
    for name, function in find_commands().items():
        examples = function.__doc__.split("Examples:\n")[1]
        yield f"sdfkit {name} --help", examples.split("\n\n")[0]


def command_lines(text):
    """Return the sdfkit commands of a shell text, without comments and redirections, split at `&&`, `||` and pipes."""
    text = re.sub(r"\|\s*\n\s*", "| ", text.replace("\\\n", " "))
    # Of a list of numbers, the first.
    known = dict(
        re.findall(r"\b(\w+)=(?:\"(?=\d))?([\w$.]+)", text) + re.findall(r"\bfor (\w+) in ([\w$]+)", text)
    )
    for line in text.splitlines():
        words = shlex.split(line, comments=True, posix=True) if "sdfkit " in line else []
        command = []
        for word in [*words, ";"]:
            if word in ("|", "&&", "||", ";"):
                if command[:1] == ["sdfkit"]:
                    yield command[1:]
                command = []
            elif word == ">" or not word.startswith(">"):
                is_option = word.startswith("-")
                while (expanded := re.sub(r"\$(\w+)", lambda name: known.get(name[1], ""), word)) != word:
                    word = expanded
                # The arguments of a function are not known: $1-$2.ply is no option.
                word = word if is_option else word.lstrip("-")
                command += [word] if word else []
    return


CASES = [(place, words) for place, text in blocks() for words in command_lines(text)]


def test_commands_were_found_in_the_documents():
    assert {"README.md", "quickstart.sh", "furniture.sh"} <= {place for place, _ in CASES}
    assert {words[0] for _, words in CASES} >= set(find_commands())


@pytest.mark.parametrize(
    ("place", "words"), CASES, ids=[f"{place}: {' '.join(words)}" for place, words in CASES]
)
def test_the_program_accepts_every_command_line_in_the_documents(place, words):
    if ">" in words:
        words = words[: words.index(">")]
    if words[0].startswith("--"):
        return
    command = PROGRAM.get_command(None, words[0])
    assert command is not None, f"{place}: no command {words[0]}"
    context = command.make_context(words[0], words[1:], resilient_parsing=False)
    assert context.params


def test_the_readme_has_under_800_words():
    words = [word for word in (ROOT / "README.md").read_text().split() if re.search(r"\w", word)]
    assert len(words) < 800


def test_every_command_is_in_the_readme_and_has_a_man_page():
    readme = (ROOT / "README.md").read_text()
    for name in find_commands():
        assert f"| `{name}` |" in readme
        assert (ROOT / f"man/man1/sdfkit-{name}.1").is_file()
