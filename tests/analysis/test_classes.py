"""The sentence that says how many predictions are of each class."""

import numpy as np
import pytest

from sdfkit.analysis.classes import count_classes, describe_classes


@pytest.mark.parametrize(
    ("classes", "has_truths", "sentence"),
    [
        (["new"] * 24, False, "none of the 24 predictions matches a known vector"),
        (["new"], False, "the prediction matches no known vector"),
        (["new", "new"], True, "all 2 predictions are in no other class"),
        (["copy"], False, "the prediction is copied from the training set"),
        (
            ["mean", "recalled", "mean", "noise"],
            True,
            "of the 4 predictions, 1 is recalled, 2 are close to the mean of the training vectors and 1 is unrelated "
            "to the truth",
        ),
    ],
)
def test_classes_are_counted_in_a_sentence(classes, has_truths, sentence):
    assert describe_classes(np.array(classes), has_truths) == sentence


def test_only_classes_that_occur_are_counted_in_order_of_precedence():
    assert count_classes(np.array(["noise", "copy", "noise"])) == {"copy": 1, "noise": 2}
