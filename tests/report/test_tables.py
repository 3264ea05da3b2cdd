"""Tables as text and as JSON."""

import json

import numpy as np

from sdfkit.report.tables import format_json, format_table


def test_text_is_aligned_left_and_numbers_right():
    table = format_table(
        ("shape", "faces", "cosine", "note"), [("a", 5, np.float32(0.25), ""), ("chair", 12000, None, "worn")]
    )
    assert table.splitlines() == [
        "shape  faces  cosine  note",
        "a          5  0.2500",
        "chair  12000       -  worn",
    ]


def test_a_table_without_rows_consists_of_its_header():
    assert format_table(("uid", "faces"), []) == "uid  faces"


def test_a_table_without_header_consists_of_its_rows():
    assert format_table((), [("faces", 3), ("vertices", 12)]) == "faces      3\nvertices  12"


def test_control_characters_in_names_are_escaped():
    assert format_table(("uid",), [("a\x1b[2J\nb",)]).splitlines() == ["uid", r"a\x1b[2J\nb"]


def test_json_preserves_the_digits_of_float32():
    facts = {
        "cosine": np.float32(0.9871),
        "rank": np.int64(3),
        "near": np.array([0.1, 0.2], np.float32),
        "no": None,
    }
    text = format_json(facts)
    assert text == '{"cosine": 0.9871, "rank": 3, "near": [0.1, 0.2], "no": null}'
    assert json.loads(text)["cosine"] == 0.9871
