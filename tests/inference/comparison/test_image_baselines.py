"""Baselines that use the images of the shapes."""

import numpy as np
import pytest

from sdfkit.errors import InputError
from sdfkit.inference.comparison.image_baselines import Pictures, Retrieval
from sdfkit.rows import Row


@pytest.mark.parametrize("kind", ["images", "features"])
def test_baselines_refuse_images_of_other_meshes_than_the_true_ones(kind):
    known = {"a": Row(0, "a", origin="1" * 16), "b": Row(1, "b", origin="2" * 16)}
    if kind == "images":
        empty = (
            np.zeros((2, 1, 4, 4), np.uint8),
            np.zeros((2, 1, 4, 4), np.float32),
            np.zeros((2, 1), np.float32),
        )
        baseline = Pictures("views.zarr", {"a": 0, "b": 1}, *empty, known)
    else:
        baseline = Retrieval("features.zarr", {"a": 0, "b": 0}, known)
    rows = [Row(0, "a", origin="1" * 16), Row(1, "b"), Row(1, "b", origin="3" * 16)]
    assert list(baseline.require(rows[:2])) == rows[:2]
    with pytest.raises(
        InputError, match=rf"b: the {kind} of {baseline.name} were made from another mesh file than the true"
    ):
        list(baseline.require(rows))
