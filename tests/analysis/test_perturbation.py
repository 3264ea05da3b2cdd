import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.analysis.perturbation import (
    DEFINITIONS,
    Level,
    Outcome,
    find_break,
    noise_scale,
    overlap,
    rank_groups,
    summarise,
)

TENSORS = {"weight": slice(0, 3), "bias": slice(3, 4)}
VECTORS = np.array([[1, -2, 2, 4], [3, 0, 0, -4]], dtype=np.float32)


def level(sigma, iou):
    return Level(sigma=sigma, iou=iou, worst=0.0, whole=0.0, same=0.0, pieces=1.0)


@pytest.mark.parametrize(
    ("noise", "first"),
    [
        ("tensor", [3**0.5, 3**0.5, 3**0.5, 4]),
        ("vector", [2.5, 2.5, 2.5, 2.5]),
        ("number", [1, 2, 2, 4]),
        ("spread", [1, 1, 1, 4]),
    ],
)
def test_noise_is_scaled_by_the_statistic_that_its_kind_names(noise, first):
    scale = noise_scale(VECTORS, TENSORS, noise)
    assert scale.dtype == np.float32 and scale[0] == pytest.approx(first)
    assert noise in DEFINITIONS


@given(st.floats(0.1, 10), st.sampled_from(sorted(DEFINITIONS)))
def test_noise_is_proportional_to_the_scale_of_the_vectors(factor, noise):
    scaled = noise_scale((np.float32(factor) * VECTORS).astype(np.float32), TENSORS, noise)
    assert np.allclose(scaled, factor * noise_scale(VECTORS, TENSORS, noise), rtol=1e-5)


def test_overlap_is_the_intersection_over_the_union():
    one, other = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert overlap(one, other) == 1 / 3 and overlap(one, one) == 1
    assert overlap(one & False, one & False) == 0


def test_breaking_noise_is_interpolated_where_the_mean_iou_crosses_the_threshold():
    levels = [level(0.1, 0.9), level(0.3, 0.6), level(0.5, 0.2)]
    assert find_break(levels, 0.5) == pytest.approx(0.35)
    assert find_break(levels, 0.95) == pytest.approx(0.05), "an IoU of 1 without noise"
    assert find_break(levels, 0.1) is None
    assert find_break([level(0.1, 0.4), level(0.2, 0.9)], 0.5) == pytest.approx(1 / 12), "the first time"


def test_a_noise_level_reports_mean_and_worst_iou_over_shapes():
    outcomes = [Outcome(1.0, 1, 2, True), Outcome(0.2, 5, 9, False), Outcome(0.6, 2, 2, True)]
    found = summarise(0.3, outcomes, 0.5)
    assert (found.iou, found.worst) == (pytest.approx(0.6), 0.2)
    assert (found.whole, found.same, found.pieces) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 2)


@given(st.integers(1, 300), st.integers(0, 2**32))
def test_groups_contain_the_dimensions_in_order_of_sensitivity(count, seed):
    sensitivity = np.random.default_rng(seed).random(count)
    groups = rank_groups(sensitivity, (0.01, 0.1, 0.5))
    assert list(groups) == ["0 to 1 %", "1 to 10 %", "10 to 50 %", "50 to 100 %"]
    assert groups["0 to 1 %"][sensitivity.argmax()]
    filled = [mask for mask in groups.values() if mask.any()]
    for before, after in itertools.pairwise(filled):
        assert sensitivity[before].min() >= sensitivity[after].max()
    assert (np.sum(list(groups.values()), axis=0) == 1).all()
    if count >= 50:
        assert groups["50 to 100 %"].sum() == pytest.approx(count / 2, abs=1)
