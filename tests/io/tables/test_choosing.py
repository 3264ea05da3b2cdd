"""Choices depend on uids, labels and the seed only: not on the order of the rows or on what else the input holds."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sdfkit.errors import InputError, UsageError
from sdfkit.io.tables.choosing import Conditions, Filter, choose, hold_out, parse_part
from sdfkit.rows import Row, choose_held_out

SHAPES = [
    Row(index, f"{category}_{index}", category, licence, error="no surface" if index % 4 == 3 else "")
    for index, (category, licence) in enumerate(
        [("chair", "CC0-1.0"), ("table", "CC-BY-4.0"), ("lamp", "")] * 4
    )
]


def uids(rows, **conditions):
    return [rows[position].uid for position in choose(rows, Conditions(**conditions), "s.zarr")]


names = st.lists(st.text("abcdef", min_size=1), min_size=2, max_size=20, unique=True)


def rows_of(uids):
    return [Row(index, uid, category=uid[0]) for index, uid in enumerate(uids)]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"uids": ("lamp_5", "chair_0")}, ["chair_0", "lamp_5"]),
        ({"globs": ("*_1?",)}, ["table_10", "lamp_11"]),
        ({"globs": ("lamp_[25]", "table_1")}, ["table_1", "lamp_2", "lamp_5"]),
        ({"categories": ("lamp",)}, ["lamp_2", "lamp_5", "lamp_8", "lamp_11"]),
        ({"licences": ("CC0-1.0",), "first": 2}, ["chair_0", "chair_3"]),
        ({"status": "failed"}, ["chair_3", "table_7", "lamp_11"]),
        ({"categories": ("chair",), "status": "valid"}, ["chair_0", "chair_6", "chair_9"]),
        ({"categories": ("chair",), "globs": ("*_3", "*_6")}, ["chair_3", "chair_6"]),
        ({"categories": ("chair", "lamp"), "first": 3}, ["chair_0", "lamp_2", "chair_3"]),
        ({"part": (2, 5)}, ["lamp_2", "chair_3"]),
        ({"first": 4, "part": (2, 2)}, ["lamp_2", "chair_3"]),
    ],
)
def test_rows_that_fulfil_all_conditions_are_kept_in_order(conditions, expected):
    assert uids(SHAPES, **conditions) == expected


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (
            {"uids": ("chair_0", "x")},
            "s.zarr: none of its 12 rows has the uid x; sdfkit info lists what is there",
        ),
        ({"uids": tuple("efghi")}, "none of its 12 rows has the uid e, f, g and 2 more; "),
        ({"categories": ("sofa",)}, "none of its 12 rows has the category sofa; "),
        ({"licences": ("MIT",)}, "none of its 12 rows has the licence MIT; "),
        ({"globs": ("chair_*", "sofa_*")}, "no uid of its 12 rows matches sofa_*; "),
        ({"uids": ("chair_0",), "categories": ("lamp",)}, "none of its 12 rows fulfils all conditions; "),
        ({"count": 13}, "has 12 shapes to draw 13 from; lower --count"),
        ({"part": (1, 13)}, "has 12 rows for 13 parts; "),
    ],
)
def test_what_does_not_exist_is_refused_by_name(conditions, message):
    with pytest.raises(InputError) as caught:
        uids(SHAPES, **conditions)
    assert message in str(caught.value)


@pytest.mark.parametrize(("status", "message"), [("failed", "has failed"), ("valid", "is valid")])
def test_an_empty_choice_by_failure_is_refused(status, message):
    rows = [row for row in SHAPES if bool(row.error) != (status == "failed")]
    with pytest.raises(InputError, match=f"none of its {len(rows)} rows {message}"):
        uids(rows, status=status)


def test_a_uid_that_another_condition_excludes_is_not_missing():
    kept = Filter(Conditions(uids=("lamp_2", "chair_0"), categories=("chair",)), "s.zarr")
    assert [row.uid for row in SHAPES if kept.matches(row)] == ["chair_0"]
    kept.check()


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/2/3", "1.5/4"])
def test_a_part_is_a_number_of_a_number(text):
    with pytest.raises(
        UsageError, match="is not a part; give its number and the number of parts, as in 3/16"
    ):
        parse_part(text)


def test_parts_are_counted_from_one():
    assert parse_part("3/16") == (3, 16)
    assert parse_part(None) is None


@given(names, st.integers(1, 20))
def test_the_parts_are_disjoint_and_joined_they_are_the_input(uids_given, count):
    assume(count <= len(uids_given))
    rows = rows_of(uids_given)
    parts = [uids(rows, part=(number, count)) for number in range(1, count + 1)]
    assert [uid for part in parts for uid in part] == uids_given
    assert {len(part) for part in parts} <= {len(rows) // count, -(-len(rows) // count)}


@given(names, st.randoms(use_true_random=False), st.integers(0, 3), st.floats(0, 0.9))
def test_lots_depend_on_uids_and_seed_only(uids_given, random, seed, share):
    shuffled = random.sample(uids_given, len(uids_given))
    rows, others = rows_of(uids_given), rows_of(shuffled)
    drawn = uids(rows, share=share, seed=seed)
    assert sorted(uids(others, share=share, seed=seed)) == sorted(drawn)
    assert len(drawn) == max(1, round(share * len(rows)))
    # A larger count draws the same shapes and more.
    assert set(uids(rows, count=1, seed=seed)) <= set(drawn)


@given(names, st.randoms(use_true_random=False), st.integers(0, 3), st.sampled_from(["instance", "category"]))
def test_a_split_is_the_same_in_any_order_and_neither_set_is_empty(uids_given, random, seed, by):
    rows = rows_of(uids_given)
    assume(by == "instance" or len({row.category for row in rows}) > 1)
    others = rows_of(random.sample(uids_given, len(uids_given)))
    out, again = (hold_out(found, 0.3, by, seed, "s.zarr") for found in (rows, others))
    held_out = {rows[position].uid for position in out}
    assert held_out == {others[position].uid for position in again}
    assert 0 < len(held_out) < len(rows)
    if by == "category":
        assert {rows[position].category for position in out}.isdisjoint(
            row.category for row in rows if row.uid not in held_out
        )


@given(names, st.integers(0, 3), st.floats(0.01, 0.6))
def test_split_select_and_training_hold_out_the_same_shapes(uids_given, seed, share):
    assume(len(uids_given) - max(1, round(share * len(uids_given))) >= 2)
    rows = rows_of(uids_given)
    out = hold_out(rows, share, "instance", seed, "s.zarr")
    assert out == choose(rows, Conditions(share=share, seed=seed), "s.zarr")
    assert out == choose_held_out(uids_given, share, seed)


@given(names, st.integers(0, 3))
def test_samples_of_one_shape_stay_together_and_follow_their_shape(uids_given, seed):
    rows = rows_of(uids_given)
    samples = [Row(0, f"{row.uid}_s{number}", sample_of=row.uid) for row in rows for number in range(3)]
    out = {rows[position].uid for position in hold_out(rows, 0.4, "instance", seed, "s.zarr")}
    found = [samples[position].sample_of for position in hold_out(samples, 0.4, "instance", seed, "c.zarr")]
    assert sorted(found) == sorted([*out] * 3)
    assert uids(samples, uids=(uids_given[0],)) == [f"{uids_given[0]}_s{number}" for number in range(3)]


@pytest.mark.parametrize(
    ("rows", "share", "by", "message"),
    [
        (SHAPES, 1.0, "instance", "--held-out 1 leaves none of 12 shapes to train on; "),
        (SHAPES[:1], 0.1, "instance", "--held-out 0.1 leaves none of 1 shape to train on; "),
        (SHAPES[::3], 0.1, "category", "--held-out 0.1 leaves none of 1 category to train on; "),
        ([Row(0, "a"), Row(1, "b", "chair")], 0.1, "category", "1 row without category (a); give --manifest"),
    ],
)
def test_an_empty_set_is_refused(rows, share, by, message):
    with pytest.raises(InputError) as caught:
        hold_out(rows, share, by, 0, "s.zarr")
    assert str(caught.value).startswith(f"s.zarr: {message}")


def test_seeds_draw_different_shapes():
    rows = [Row(index, f"obj_{index:04d}") for index in range(1000)]
    one, two = (set(choose(rows, Conditions(share=0.1, seed=seed), "s.zarr")) for seed in (0, 1))
    assert len(one & two) < 30


def test_settings_are_the_conditions_that_are_given():
    assert Conditions().describe() == {}
    assert Conditions(seed=3).describe() == {}
    given_all = Conditions(("a",), status="valid", share=0.1, seed=3, part=(1, 2))
    assert given_all.describe() == {
        "uids": ["a"], "status": "valid", "share": 0.1, "seed": 3, "part": [1, 2],
    }  # fmt: skip
    assert given_all.needs_all
    assert not Conditions(("a",), first=3).needs_all
