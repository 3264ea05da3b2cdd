"""Numbers and their nouns."""

import re
from pathlib import Path

import pytest

import sdfkit
from sdfkit.wording import agreeing, counted, omitted, pluralise


@pytest.mark.parametrize(
    ("noun", "plural"),
    [
        ("shape", "shapes"),
        ("mesh", "meshes"),
        ("patch", "patches"),
        ("box", "boxes"),
        ("byte", "bytes"),
        ("vertex", "vertices"),
        ("index", "indices"),
        ("inverse bind matrix", "inverse bind matrices"),
        ("empty geometry", "empty geometries"),
        ("entry", "entries"),
        ("ray", "rays"),
        ("convex hull", "convex hulls"),
    ],
)
def test_plurals(noun, plural):
    assert pluralise(noun) == plural
    assert [counted(count, noun) for count in (0, 1, 2)] == [f"0 {plural}", f"1 {noun}", f"2 {plural}"]


def test_verbs_and_words_behind_the_noun():
    assert agreeing(1, "is", "are") == "is"
    assert agreeing(0, "is", "are") == agreeing(2, "is", "are") == "are"
    assert omitted(1, "face", "with fewer than 3 corners") == "1 face with fewer than 3 corners was left out"
    assert (
        omitted(2, "face", "with fewer than 3 corners") == "2 faces with fewer than 3 corners were left out"
    )


def test_plurals_are_made_in_one_place():
    """No other module appends an s to a noun by itself."""
    own = re.compile(r"""(['"])s\1(\[: | \* \(| if )|(['"])\3 if [^\n]+ == 1 else""")
    package = Path(sdfkit.__file__).parent
    assert [path.name for path in package.rglob("*.py") if own.search(path.read_text())] == []
