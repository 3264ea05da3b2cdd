import numpy as np

from sdfkit.analysis.interpolation import DEFINITIONS
from sdfkit.inference.interpolation import summarise_paths


def test_measures_are_averaged_over_the_paths_that_have_them():
    summary = summarise_paths([{"surface": 0.0, "detour": 3.0}, {"surface": 1.0}], np.random.default_rng(0))
    assert list(summary) == list(DEFINITIONS)
    assert summary["surface"].mean == 0.5 and (summary["surface"].low, summary["surface"].high) == (0, 1)
    assert summary["detour"] == (3, 3, 3, 1) and summary["area"] is None
