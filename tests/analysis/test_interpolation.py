"""Pairs, straight paths between vectors, and what is said of the shapes along them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.analysis.interpolation import (
    ShapePath,
    Solid,
    draw_pairs,
    excess,
    interpolate,
    judge_path,
)
from sdfkit.errors import InputError

UIDS = ["d", "b", "a", "c", "e"]


def rng():
    return np.random.default_rng(0)


@given(st.integers(2, 9))
def test_all_pairs_are_drawn_once(count):
    pairs = draw_pairs([str(number) for number in range(count)], None, 100, rng())
    assert sorted(map(tuple, pairs.tolist())) == list(itertools.combinations(range(count), 2))


@given(st.permutations(range(5)))
def test_pairs_do_not_depend_on_the_order_of_the_shapes(order):
    expected = [[UIDS[index] for index in pair] for pair in draw_pairs(UIDS, None, 4, rng())]
    moved = [UIDS[index] for index in order]
    assert [[moved[index] for index in pair] for pair in draw_pairs(moved, None, 4, rng())] == expected


def test_pairs_within_categories_have_one_category():
    pairs = draw_pairs(UIDS, ["cup", "car", "cup", "", ""], 9, rng())
    assert [sorted(UIDS[index] for index in pair) for pair in pairs] == [["a", "d"]]


@pytest.mark.parametrize(
    ("uids", "categories", "message"),
    [
        (["a"], None, "has one shape, but a path joins two"),
        (["a", "b", "c"], ["cup", "car", ""], "has no two shapes of one category"),
    ],
)
def test_without_pairs_nothing_is_drawn(uids, categories, message):
    with pytest.raises(InputError, match=message):
        draw_pairs(uids, categories, 1, rng())


def test_a_path_is_straight_even_and_exact_at_its_ends():
    start, end = (np.float32([0.1, -2, 3e7]), np.float32([1e-3, 5, -1]))
    path = interpolate(start, end, 3)
    assert np.array_equal(path[0], start) and np.array_equal(path[-1], end)
    assert np.allclose(np.diff(path, axis=0), (end - start) / 4, rtol=1e-5)


@pytest.mark.parametrize(("value", "expected"), [(1.0, 0.25), (2.0, 0), (3.0, 0), (4.0, 0), (5.0, 0.25)])
def test_the_excess_is_relative_to_the_greater_end(value, expected):
    assert excess(value, (4.0, 2.0)) == expected


BALL = Solid(1, 2, 1.0, 1.0)
PAIR = Solid(2, 4, 2.0, 4.0)
PATHS = {
    "regular": (
        [BALL, Solid(2, 3, 1.5, 4.1), PAIR],
        [1.0, 1.0],
        {"surface": 1, "one_piece": 0, "few_pieces": 1, "euler": 1, "volume": 1, "area": 1, "volume_excess": 0,
         "area_excess": 0.025, "longest_step": 1, "detour": 1, "ends_one_piece": 0.5},
    ),
    "broken": (
        [BALL, Solid(5, 6, 3.0, 2.0), Solid(1, 0, 1.0, 2.0), PAIR],
        [1.0, 4.0, 1.0],
        {"surface": 1, "one_piece": 0.5, "few_pieces": 0.5, "euler": 0, "volume": 0.5, "area": 1,
         "volume_excess": 0.25, "area_excess": 0, "longest_step": 2, "detour": 3, "ends_one_piece": 0.5},
    ),
    "a gap": (
        [BALL, BALL, None, PAIR],
        [1.0, None, None],
        {"surface": 0.5, "one_piece": 0.5, "few_pieces": 0.5, "euler": 0.5, "volume": 0.5, "area": 0.5,
         "volume_excess": 0, "area_excess": 0, "ends_one_piece": 0.5},
    ),
    "nothing between": (
        [BALL, None, PAIR],
        [None, None],
        {"surface": 0, "one_piece": 0, "few_pieces": 0, "euler": 0, "volume": 0, "area": 0, "ends_one_piece": 0.5},
    ),
    "no end": ([BALL, BALL, None], [0.0, None], {"surface": 1, "one_piece": 1, "ends_one_piece": 0.5}),
}  # fmt: skip


@pytest.mark.parametrize("name", PATHS)
def test_each_path_is_judged_by_its_ends(name):
    shapes, steps, expected = PATHS[name]
    distance = None if None in (shapes[0], shapes[-1]) else 2.0
    assert judge_path(ShapePath(("a", "b"), shapes, steps, distance), 0.05) == pytest.approx(expected)
