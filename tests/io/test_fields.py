"""JSON of unknown origin: what is parsed, and which values fit a field."""

import re

import pytest

from sdfkit.errors import InputError
from sdfkit.io.fields import (
    COUNT,
    DEEPEST,
    FLAG,
    HISTORY,
    INDEX,
    NUMBER,
    SIZE,
    TEXT,
    check_fields,
    one_of,
    parse_json,
)


def test_plain_json_is_parsed():
    assert parse_json('{"a": [1, 2.5, null, true, "é"]}') == {"a": [1, 2.5, None, True, "é"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, f"more than {DEEPEST} levels"),
        ("[" * 100 + "]" * 100, f"more than {DEEPEST} levels"),
        ('{"a": NaN}', "it holds NaN"),
        ('{"a": -Infinity}', "it holds -Infinity"),
        ('{"a": 1e999}', "it holds inf"),
        ("1" * 5000, "4300 digits"),
        ("", "Expecting value"),
    ],
)
def test_json_that_no_file_of_sdfkit_holds_is_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_json(text)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (TEXT, ["", "a"], [None, 1, ["a"]]),
        (FLAG, [True, False], [0, 1, None, "true"]),
        (INDEX, [0, 1, 2**40], [-1, True, 1.0, "1", 2**63, None]),
        (COUNT, [1, 2**40], [0, -1, True, 1.5]),
        (SIZE, [0, 1 << 20], [-1, 1 + (1 << 20), 1.0]),
        (NUMBER, [0, -1.5, 30], [True, "1", 10**400, float("nan"), float("inf")]),
        (HISTORY, [[], [{}], [{"version": "1", "command": "c", "seed": 0}]], [5, {}, [5], [{"command": 5}], None]),
        (one_of("relu", "silu"), ["relu", "silu"], ["tanh", None, ["relu"]]),
    ],
)  # fmt: skip
def test_a_field_accepts_its_type_only(field, good, bad):
    assert [value for value in good if not field.fits(value)] == []
    assert [value for value in bad if field.fits(value)] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (5, "a.ply: its notes are 5, but a JSON object {…} is needed; make it again"),
        ([1, 2], "a.ply: its notes are a list of 2 items, but a JSON object {…} is needed; make it again"),
        (
            {"count": {}},
            "a.ply: count in its notes is an object, but a whole number from 1 is needed; make it again",
        ),
        ({"count": "x" * 10_000}, f'count in its notes is "{"x" * 40}", but a whole number from 1 is needed'),
        (
            {"other": float("nan")},
            "a.ply: its notes cannot be read (it holds nan, which is no number of JSON)",
        ),
    ],
)
def test_a_wrong_field_is_named_in_one_short_line(content, message):
    with pytest.raises(InputError, match=re.escape(message)) as refusal:
        check_fields(content, {"count": COUNT}, "a.ply", "notes", "make it again")
    assert len(str(refusal.value)) < 200


def test_other_and_absent_fields_are_accepted():
    assert check_fields({"other": [None]}, {"count": COUNT}, "a.ply", "notes", "") == {"other": [None]}
