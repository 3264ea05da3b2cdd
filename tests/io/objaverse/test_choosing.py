"""Which shapes of Objaverse are chosen: balanced over categories, by licence, the same for the same seed."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdfkit.errors import InputError, UsageError
from sdfkit.io.objaverse.choosing import choose_shapes, find_licence, group_by_category
from tests.properties import examples

FREE, OTHER = "CC-BY-4.0", "CC-BY-NC-4.0"
# The licences of the shapes of each category, by their numbers.
collections = st.dictionaries(
    st.sampled_from("abcde"), st.lists(st.sampled_from([FREE, OTHER]), min_size=1, max_size=6), min_size=1
)


def choose(collection, count, seed=0):
    licences = {
        f"{name}{number}": one for name, all_ in collection.items() for number, one in enumerate(all_)
    }
    asked = []

    def look_up(uids):
        asked.extend(uids)
        return {uid: {"licence": licences[uid], "source": f"author of {uid}"} for uid in uids}

    groups = {name: [f"{name}{number}" for number in range(len(all_))] for name, all_ in collection.items()}
    return choose_shapes(groups, count, seed, (FREE,), look_up), asked


@examples(40)
@given(collections, st.data())
@example({"a": [OTHER, FREE], "b": [FREE]}, None)
def test_categories_are_used_equally_often(collection, data):
    free = {name: licences.count(FREE) for name, licences in collection.items()}
    total = sum(free.values())
    if not total:
        with pytest.raises(InputError, match="has no shapes with one of the licences CC-BY-4.0"):
            choose(collection, 1)
        return
    count = total if data is None else data.draw(st.integers(1, total))
    seed = 0 if data is None else data.draw(st.integers(0, 3))
    choice, asked = choose(collection, count, seed)
    rows = choice.rows
    assert [row.index for row in rows] == list(range(count))
    assert len({row.uid for row in rows}) == count and {row.licence for row in rows} == {FREE}
    assert all(row.uid.startswith(row.category) and row.source == f"author of {row.uid}" for row in rows)
    used = Counter(row.category for row in rows)
    least = min((used[name] for name in free if used[name] < free[name]), default=count)
    assert all(used[name] <= least + 1 for name in used)
    assert len(asked) == len({*asked}) == count + choice.left_out.total()
    # A greater count adds to the choice, and the order of the categories does not matter.
    more, _ = choose(dict(reversed(collection.items())), total, seed)
    assert [row.uid for row in more.rows[:count]] == [row.uid for row in rows]


def test_too_few_shapes_are_an_error_that_says_what_was_left_out():
    told = (
        "--count 5: the choice has only 3 shapes with one of the licences CC-BY-4.0, and leaves out 2 shapes by "
        r"licence \(2 CC-BY-NC-4.0\); lower --count, or add --licence or --category"
    )
    with pytest.raises(InputError, match=told):
        choose({"a": [FREE, OTHER], "b": [FREE, FREE, OTHER]}, 5)


@pytest.mark.parametrize("name", ["by-sa", "BY-SA", "cc-by-sa-4.0"])
def test_licences_have_two_names(name):
    assert find_licence(name) == "CC-BY-SA-4.0"


def test_other_licences_and_categories_are_refused():
    with pytest.raises(
        UsageError, match="^--licence gpl: is not a licence of Objaverse; use cc0, by, by-sa, by-nd"
    ):
        find_licence("gpl")
    categories = {"1": "chair", "0": "chair", "2": "stool"}
    assert group_by_category(categories, []) == {"chair": ["0", "1"], "stool": ["2"]}
    assert group_by_category(categories, ["stool", "stool"]) == {"stool": ["2"]}
    for name, advice in (("chairs", "did you mean chair?"), ("xyz", "--list prints the categories")):
        with pytest.raises(InputError) as error:
            group_by_category(categories, [name])
        assert str(error.value) == f"--category {name}: is not a category of LVIS; {advice}"
