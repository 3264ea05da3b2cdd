"""examples/CLAIMS.md: every row has a verdict, a size and a command, and the figures that it quotes are where it says.

Links to examples/LOG.md lead to entries, and its index lists all of them.
"""

import importlib.util
import re
import shlex
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import typer

from sdfkit.cli import app

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "examples/CLAIMS.md").read_text()
ROWS = [re.split(r" ?\| ?", line)[1:-1] for line in TEXT.splitlines() if re.match(r"\| \d", line)]
PROGRAM = typer.main.get_command(app)
VERDICTS = ("reproduced", "not reproduced", "explained otherwise", "not tried")
LINKS = dict(re.findall(r"^\[(\S+)\]: (\S+)$", TEXT, flags=re.MULTILINE))


def numbers(text):
    """Return the numbers in a text, without separators of thousands; 3.10 and 3.1 are different quotations."""
    return set(re.findall(r"\d+(?:\.\d+)?", re.sub(r"(?<=\d)[,_](?=\d{3})", "", text)))


def anchor(heading):
    """Return the anchor that a Markdown heading has on a page."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@cache
def log_entries():
    parts = re.split(r"^## (.*)$", (ROOT / "examples/LOG.md").read_text(), flags=re.MULTILINE)
    return {anchor(heading): text for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


@cache
def computed():
    """Return what examples/claims.py prints."""
    spec = importlib.util.spec_from_file_location("claims", ROOT / "examples/claims.py")
    claims = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(claims)
    return dict(claims.figures())


def sources(how):
    """Return the texts in which the figures of a row must be found; refuse what does not exist."""
    for command in re.findall(r"`([^`]+)`", how):
        words = shlex.split(command)
        if words[0] == "sdfkit":
            function = PROGRAM.get_command(None, words[1])
            assert function is not None, words[1]
            function.make_context(words[1], words[2:])
        elif words[:2] == ["python", "-m"]:
            assert (ROOT / words[2].replace(".", "/")).with_suffix(".py").is_file(), command
        elif words[0] == "pytest":
            path, _, name = words[1].partition("::")
            text = (ROOT / path).read_text()
            assert f"def {name}" in text, command
            yield text
        else:
            assert words[0] in ("sh", "python") and (ROOT / words[1]).is_file(), command
            if words[1] == "examples/claims.py":
                yield " ".join(computed().values())
    for name in re.findall(r"\]\[(\S+)\]", how):
        page, _, place = LINKS[name].partition("#")
        assert page == "LOG.md"
        yield log_entries()[place]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_claim_has_a_verdict_a_size_a_command_and_figures_that_can_be_found(row):
    _, claim, verdict, size, here, how = row
    assert claim and here and verdict in VERDICTS
    assert size or verdict == "not tried"
    assert re.search(r"`(sdfkit|sh|python|pytest) ", how)
    texts = list(sources(how))
    assert texts or verdict == "not tried"
    missing = numbers(here) - numbers(" ".join(texts))
    assert not missing or not texts, f"{sorted(missing)}: neither in the linked entries nor in the output"


def test_claims_are_numbered_and_counted():
    assert [row[0] for row in ROWS] == [str(number) for number in range(1, len(ROWS) + 1)]
    counts = Counter(row[2] for row in ROWS)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    assert f"**{len(ROWS)} claims**: {told}." in TEXT


def test_every_computed_figure_is_quoted():
    quoted = numbers(" ".join(row[4] for row in ROWS if "examples/claims.py" in row[5]))
    for name, value in computed().items():
        assert numbers(value) <= quoted, name


def test_every_link_to_the_log_is_used_and_has_its_entry():
    assert set(re.findall(r"\]\[(\S+)\]", TEXT)) == set(LINKS)
    assert {link.removeprefix("LOG.md#") for link in LINKS.values()} <= set(log_entries())


def test_the_index_of_the_log_lists_all_entries_in_their_order_newest_first():
    dated = [name for name in log_entries() if name != "index"]
    assert dated == sorted(dated, key=lambda name: name[:10], reverse=True)
    assert dated == re.findall(r"^\* \[.*\]\(#(\S+)\):$", log_entries()["index"], flags=re.MULTILINE)


def test_every_link_to_the_log_leads_to_an_entry():
    for page in [ROOT / "README.md", *(ROOT / "examples").rglob("*.md")]:
        own = r"LOG\.md" if page.name != "LOG.md" else ""
        links = re.findall(own + r"#([\w-]+)\)", page.read_text())
        assert set(links) <= set(log_entries()), page.name
