"""The console blocks of the tutorials give the output that the pages show; blocks of sh are not run.

The pages are run in their order in one folder, since each uses what the first one made.
"""

import doctest
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples import preloaded

FOLDER = Path(__file__).parents[2] / "examples/tutorials"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
CHECKER = doctest.OutputChecker()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Lines that depend on how fast a machine is, and on what it has compiled before.
TIMING = re.compile(r"^sdfkit: (compiling .*|.*\b\d+ / \d+, .* left)\n", re.MULTILINE)
# The machine that a page calls `box` is a folder here. ssh sends the words as one line to the login shell there.
SSH = """\
#!/bin/sh
shift && cd "$BOX" && exec bash -c "$*"
"""


def find_commands(page):
    """Return the commands of a page's console blocks, each with the output that the page shows."""
    for block in re.findall(r"^```console\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = example.splitlines(keepends=True)
            length = 1
            while length < len(lines) and re.match(r">( |$)", lines[length]):
                length += 1
            command = "".join([lines[0], *(line[1:].removeprefix(" ") for line in lines[1:length])])
            yield command, "".join(lines[length:])


def comparable(output, command):
    """Return output without decimals, shares and large numbers and, of pipes, with messages in a fixed order."""
    output = re.sub(r"[-+]?\b(\d+\.\d+(e[+-]?\d+)?|\d{4,}|\d+(?= ?%))", "#", TIMING.sub("", output))
    lines = output.splitlines(keepends=True)
    if "|" in command:
        lines.sort(
            key=lambda line: (line.startswith("sdfkit: "), line if line.startswith("sdfkit: ") else "")
        )
    return "".join(lines)


def agrees(shown, output, command):
    """Whether the output of a command is that which a page shows."""
    return CHECKER.check_output(comparable(shown, command), comparable(output, command), FLAGS)


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    "page", [FOLDER.parents[1] / "README.md", FOLDER / "README.md", *PAGES], ids=lambda page: page.stem
)
def test_links_lead_to_files_and_headings(page):
    for link, anchor in re.findall(r"\]\(([^)#:]+)(?:#([^)]+))?\)", page.read_text()):
        target = page.parent / link
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
            assert anchor in map(slug, headings), f"{link}#{anchor}"


def test_all_tutorials_are_in_the_indices():
    for index in (FOLDER / "README.md", FOLDER.parents[1] / "README.md"):
        assert [page.name for page in PAGES] == re.findall(r"(\d-[\w-]+\.md)\)", index.read_text())


def test_numbers_may_differ_between_machines_and_words_may_not():
    page = "text\n```console\n$ cat <<'END'\n> a\n>\n> END\na\n\n$ ls | wc\n```\n```sh\nssh\n```\n"
    assert list(find_commands(page)) == [("cat <<'END'\na\n\nEND\n", "a\n\n"), ("ls | wc\n", "")]
    shown = "sdfkit: loss 0.25 in 20 steps, 3.5 % left out; ... pieces\n"
    noise = (
        "sdfkit: compiling for this machine; wait\nsdfkit: step 2 / 20, loss 0.2, 1.5 steps/s, 12 s left\n"
    )
    for output, agreed in (
        ("sdfkit: loss -1e-3 in 20 steps, 10 % left out; 7 pieces\n", False),
        ("sdfkit: loss -0.001 in 20 steps, 10 % left out; 7 pieces\n", True),
        (noise + "sdfkit: loss 1.25e-05 in 20 steps, 0.1 % left out; 7 pieces\n", True),
        ("sdfkit: loss 0.25 in 21 steps, 3.5 % left out; 7 pieces\n", False),
        ("sdfkit: loss 0.25 in 20 steps, 3.5 % left in; 7 pieces\n", False),
    ):
        assert agrees(shown, output, "sdfkit train") == agreed, output
    two = "sdfkit: one\nsdfkit: two\n"
    assert agrees(two, "sdfkit: two\nsdfkit: one\n", "one | two")
    assert not agrees(two, "sdfkit: two\nsdfkit: one\n", "one && two")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Return a folder with programs for PATH, whose sdfkit is served by a process that lasts as long as the module."""
    folder = tmp_path_factory.mktemp("programs")
    address = folder / "socket"
    preloaded.write_client(folder / "sdfkit", address)
    (folder / "ssh").write_text(SSH)
    (folder / "ssh").chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, preloaded.__file__, str(address)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert server.stdout.readline() == b"ready\n"
    yield folder
    server.kill()
    server.communicate()


@pytest.mark.slow
def test_the_commands_of_the_tutorials_give_the_output_that_they_show(programs, tmp_path):
    box, here = tmp_path / "box", tmp_path / "here"
    box.mkdir()
    here.mkdir()
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        port = str(unused.getsockname()[1])  # of the scheduler; 8786 may be taken
    environment = {**os.environ, "PATH": path, "BOX": str(box), "COLUMNS": "120"}
    differences = []
    for page in PAGES:
        for command, shown in find_commands(page.read_text()):
            output = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command.replace("8786", port)],
                cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
            ).stdout  # fmt: skip
            if not agrees(shown, output, command):
                differences.append(f"{page.name}: $ {command}shows:\n{shown}\nand printed:\n{output}")
    assert not differences, "\n\n".join(differences)
