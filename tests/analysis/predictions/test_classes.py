"""The sentence that states how many predictions belong to each class."""

import numpy as np
import pytest

from sdfkit.analysis.predictions.classes import count_classes, describe_classes


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
def test_describe_classes_states_the_number_of_predictions_in_each_class(classes, has_truths, sentence):
    assert describe_classes(np.array(classes), has_truths) == sentence


def test_count_classes_leaves_out_empty_classes_and_sorts_by_precedence():
    assert count_classes(np.array(["noise", "copy", "noise"])) == {"copy": 1, "noise": 2}
