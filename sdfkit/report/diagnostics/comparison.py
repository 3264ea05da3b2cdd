"""The plots of `compare`: the scores of the predictions and baselines for every shape, and their means."""

from typing import TYPE_CHECKING

from sdfkit.report.plots import Spread

if TYPE_CHECKING:
    from sdfkit.report.scorecard import ScoreCard

# Labels of the axes; see `geometry.metrics.DEFINITIONS`.
AXES = {
    "chamfer": "Chamfer distance, in radii of the unit sphere; lower is better",
    "chamfer_deepsdf": "squared Chamfer distance of DeepSDF, times 1000; lower is better",
    "f_score_1": "F-score at 1 %, from 0 to 1; higher is better",
    "f_score_5": "F-score at 5 %, from 0 to 1; higher is better",
    "iou": "volume IoU, from 0 to 1; higher is better",
    "normal_consistency": "normal consistency, from 0 to 1; higher is better",
}
# Panels in a row.
COLUMNS = 2


def plot_scores(card: "ScoreCard") -> list[Spread]:
    """Plot each score: a mark for every shape, and the mean with its 95 % interval, for predictions and baselines."""
    panels = []
    for score, label in AXES.items():
        groups = {name: [one[score] for one in scores] for name, scores in card.candidates.items()}
        means = {
            name: (summary[score]["mean"], summary[score]["low"], summary[score]["high"])
            for name, summary in card.summaries.items()
            if summary
        }
        title = f"{score}: mean with its 95 % interval, and every shape"
        panels.append(Spread(title, label, groups, means))
    return panels
