"""Rows: texts that can be printed and stored, random streams that follow the uid, and origins of paired rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.errors import InputError
from sdfkit.rows import Row, choose_held_out, printable, require_same_origins, seed_shape


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("chair é 椅 🪑", "chair é 椅 🪑"),
        ("caf\udce9", r"caf\xe9"),
        ("a\nb\tc\0d\x1b[31m", r"a\nb\tc\x00d\x1b[31m"),
        ("\ud800\u2028", r"\ud800\u2028"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_what_cannot_be_printed_is_escaped(text, printed):
    assert printable(text) == printed
    row = Row(0, text, category=text, licence=text, source=text, error=text, sample_of=text)
    assert {row.uid, row.category, row.licence, row.source, row.error, row.sample_of} == {printed}


@given(st.text(st.characters(exclude_categories=())))
def test_every_printable_text_is_one_line_of_utf8(text):
    printed = printable(text)
    printed.encode()
    assert len(printed.splitlines()) <= 1
    assert printable(printed) == printed


def test_streams_follow_the_uid_and_the_key():
    def draw(*words):
        return np.random.default_rng(seed_shape(*words)).random(4).tolist()

    assert draw(0, "chair") == draw(0, "chair")
    others = [draw(1, "chair"), draw(0, "lamp"), draw(0, "chair", 1), draw(0, "chair", 2), draw(0, "")]
    assert len({tuple(numbers) for numbers in [draw(0, "chair"), *others]}) == 6


def test_rows_of_different_files_are_refused_by_name():
    def rows(origins):
        return [Row(index, f"obj_{index}", origin=origin) for index, origin in enumerate(origins)]

    one, other = rows(["a" * 16, "b" * 16, "", "d" * 16]), rows(["a" * 16, "c" * 16, "e" * 16, ""])
    with pytest.raises(InputError) as error:
        require_same_origins(zip(one, other, strict=True), "the features of f.zarr", "the codes of c.zarr")
    assert str(error.value) == (
        "obj_1: the features of f.zarr were made from another mesh file than the codes of c.zarr (origin bbbbbbbb…, "
        "cccccccc…); make both from the same files, or give different shapes different uids with sdfkit manifest"
    )
    require_same_origins(zip(one[:1] + one[2:], other[:1] + other[2:], strict=True), "one", "other")
    with pytest.raises(InputError, match=r"obj_0: .*…\), and 3 more shapes; make both"):
        require_same_origins(zip(rows("abcd"), rows("efgh"), strict=True), "one", "other")


@given(st.integers(5, 40), st.floats(0.1, 0.6), st.integers(0, 9), st.randoms(use_true_random=False))
def test_held_out_shapes_do_not_depend_on_the_order_of_the_rows(count, share, seed, random):
    uids = [f"obj_{index:04d}" for index in range(count)]
    mixed = random.sample(uids, count)
    held_out, others = choose_held_out(uids, share, seed), choose_held_out(mixed, share, seed)
    assert len(held_out) == max(1, round(share * count)) and held_out == sorted(held_out)
    assert {uids[row] for row in held_out} == {mixed[row] for row in others}
    assert choose_held_out(uids, 0, seed) == []


@pytest.mark.parametrize(("count", "share"), [(1, 0.1), (3, 0.5), (10, 0.9)])
def test_held_out_shares_that_leave_too_few_are_refused(count, share):
    with pytest.raises(InputError, match="but two are needed; give a smaller share"):
        choose_held_out([str(index) for index in range(count)], share, 0)
