"""Kernel ridge regression, against functions that are known and against leaving shapes out one by one."""

import numpy as np
import pytest

from sdfkit.analysis import kernel_ridge
from sdfkit.analysis.kernel_ridge import KernelRidge


def data(count, seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 3)) * [1, 10, 100]
    scaled = features / [1, 10, 100]
    targets = np.stack([np.sin(scaled[:, 0]), scaled[:, 1] * scaled[:, 2]], axis=1)
    return features, targets + noise * rng.normal(size=targets.shape)


def test_a_smooth_function_is_learned_whatever_the_units_of_its_features():
    ridge = KernelRidge(*data(400))
    features, targets = data(100, seed=1)
    share = np.square(ridge.predict(features) - targets).mean() / targets.var()
    assert share < 0.1
    assert ridge.error < 0.15


def test_a_number_that_no_known_shape_has_does_not_make_a_query_unknown():
    features, targets = data(100)
    query, _ = data(20, seed=1)
    expected = KernelRidge(features, targets).predict(query)
    constant = np.full(
        (100, 2), [0.0, 0.3], np.float32
    )  # as of a unit of a network that answers no known image
    ridge = KernelRidge(np.hstack([features, constant]), targets)
    assert np.allclose(ridge.predict(np.hstack([query, np.ones((20, 2))])), expected)


def test_features_that_say_nothing_give_the_mean():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(60, 4)) + 5
    ridge = KernelRidge(rng.normal(size=(60, 8)), targets)
    assert 0.9 < ridge.error < 1.1
    predicted = ridge.predict(rng.normal(size=(20, 8)))
    assert np.abs(predicted - targets.mean(axis=0)).max() < 1.0
    far = ridge.predict(np.full((1, 8), 1e3))
    assert np.allclose(far, targets.mean(axis=0))


def test_the_error_is_that_of_leaving_out_each_shape_in_turn():
    features, targets = data(30, noise=0.1)
    whole = KernelRidge(features, targets)
    # The same kernel, scale, and mean: only the weights are computed without the shape.
    kernel = whole._kernel(kernel_ridge.cdist(whole._known, whole._known), whole.bandwidth)
    residual = targets - targets.mean(axis=0)
    errors = []
    for row in range(30):
        others = np.delete(np.arange(30), row)
        weights = np.linalg.solve(
            kernel[np.ix_(others, others)] + whole.penalty * np.eye(29), residual[others]
        )
        errors.append(kernel[row, others] @ weights - residual[row])
    assert whole.error == pytest.approx(np.square(errors).mean() / np.square(residual).mean(), rel=1e-6)


def test_equal_features_and_a_single_shape_do_no_harm():
    assert np.allclose(KernelRidge(np.ones((5, 2)), np.arange(5.0)[:, None]).predict(np.ones((1, 2))), 2.0)
    assert np.allclose(KernelRidge(np.ones((1, 2)), np.full((1, 3), 7.0)).predict(np.zeros((2, 2))), 7.0)
