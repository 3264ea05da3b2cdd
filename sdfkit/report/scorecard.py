"""The report of `compare`, as text, as JSON and as CSV: scores of predicted meshes against the true meshes."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from sdfkit.geometry.metrics import DEFINITIONS, SCORES, compare_pairwise, summarise
from sdfkit.report.tables import format_table
from sdfkit.wording import agreeing, counted

# With more than LONG shapes, the table lists only the WORST shapes with the largest Chamfer distances.
LONG, WORST = 30, 10
INFORMATION = ("volume_ratio", "pieces", "euler")
TOPOLOGY = ("empty", "whole", "same_euler")
Shape = dict[str, Any]


class ScoreCard:
    """The scores of the predictions and baselines for many true shapes, and summaries of them.

    Args:
        shapes: The scores by the uid of the true shape; see `shapes` of `inference.comparison.scores.ComparisonResult`.
        pairing: Whether predictions were paired with true shapes by "uid" or by "order".
        align: How predictions were aligned with the true meshes: "none" or "icp".
        points: Number of points on each surface.
        seed: Seed of all random numbers.
        level: Value of the mean signed distance at which the surface of the mean shape is extracted; None without
            baselines.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        *,
        pairing: str,
        align: str,
        points: int,
        seed: int,
        level: float | None,
    ) -> None:
        self.shapes = shapes
        self.settings: dict[str, Any] = {"pairing": pairing, "align": align, "points": points, "seed": seed}
        self.samples = max((len(shape["predictions"]) for shape in shapes.values()), default=1)
        self._level = level
        self._baselines: list[str] = [*next(iter(shapes.values()))["baselines"]] if shapes else []

    @cached_property
    def candidates(self) -> dict[str, list[dict[str, float]]]:
        """The six scores for every true shape, by candidate: the predictions, and each baseline."""
        shapes = self.shapes.values()
        columns = {"prediction": [_mean(shape["predictions"]) for shape in shapes]}
        if self.samples > 1:
            best = [min(shape["predictions"], key=lambda one: one["chamfer"]) for shape in shapes]
            columns[f"best of {self.samples}"] = [{name: one[name] for name in SCORES} for one in best]
        for name in self._baselines:
            columns[name] = [{score: shape["baselines"][name][score] for score in SCORES} for shape in shapes]
        return columns

    @cached_property
    def summaries(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Mean, 95 % interval of the mean, median and worst value of each score over the shapes, by candidate."""
        uids = list(self.shapes)
        result: dict[str, dict[str, dict[str, Any]]] = {}
        for name, scores in self.candidates.items():
            result[name] = {}
            for score, line in summarise(scores, self._rng()).items():
                row = int(line.pop("worst_row"))
                result[name][score] = {**line, "worst_uid": uids[row]}
        return result

    @cached_property
    def against(self) -> dict[str, dict[str, dict[str, float]]]:
        """For each baseline and score, the differences between predictions and baseline on the same shapes."""
        ours = self.candidates["prediction"]
        return {name: compare_pairwise(ours, self.candidates[name], self._rng()) for name in self._baselines}

    @cached_property
    def sample_distance(self) -> float | None:
        """Mean Chamfer distance between two samples of a shape, averaged over shapes; None without two samples."""
        means = [np.mean(shape["apart"]) for shape in self.shapes.values() if shape["apart"]]
        return float(np.mean(means)) if means else None

    @cached_property
    def topology(self) -> dict[str, dict[str, float]]:
        """Whether meshes are whole, by candidate: see `_summarise_topology`; `truth` has the number of pieces only."""
        shapes = list(self.shapes.values())
        if not shapes:
            return {}
        result = {"truth": {"pieces": float(np.median([shape["truth"]["pieces"] for shape in shapes]))}}
        result["prediction"] = _summarise_topology([shape["predictions"] for shape in shapes], shapes)
        for name in self._baselines:
            result[name] = _summarise_topology([[shape["baselines"][name]] for shape in shapes], shapes)
        return result

    def _rng(self) -> np.random.Generator:
        # The bootstrap has the same seed for all candidates, so that their intervals can be compared.
        return np.random.default_rng(self.settings["seed"])

    def count(self, state: str) -> int:
        """Return how many shapes have a prediction whose state is `missing`, `failed` or `predicted`."""
        return sum(
            any(one["state"] == state for one in shape["predictions"]) for shape in self.shapes.values()
        )

    @cached_property
    def notes(self) -> list[str]:
        """Remarks of one or two sentences each that are necessary to read the table correctly."""
        shapes, count = self.shapes, len(self.shapes)
        notes = []
        if self.settings["align"] == "icp":
            notes.append(
                "All meshes were first rotated and translated onto the truth by iterative closest points (from four "
                "initial headings, without scaling), so a wrong pose does not lower the scores."
            )
        if self.samples > 1:
            notes.append(
                f"The scores of a prediction are the mean over its samples. best of {self.samples} is chosen by the "
                "Chamfer distance to the truth, which is unknown in practice."
            )
        if self.sample_distance is not None:
            notes.append(
                f"Samples of one shape are {self.sample_distance:.3g} apart (mean Chamfer distance of all pairs, from "
                "points to faces; 0 if all are equal)."
            )
        open_truths = [
            uid for uid, shape in shapes.items() if shape["predictions"][0]["volume_ratio"] is None
        ]
        if open_truths:
            notes.append(
                f"{len(open_truths)} of {counted(count, 'true mesh')} {agreeing(len(open_truths), 'is', 'are')} "
                f"open and without an inside ({open_truths[0]} …); IoU is meaningless there."
            )
        radii = {uid: shape["truth"]["reach"] for uid, shape in shapes.items()}
        odd = {uid: radius for uid, radius in radii.items() if abs(radius - 1) > 0.01}
        if odd:
            uid = next(iter(odd))
            notes.append(
                f"{len(odd)} of {counted(count, 'true shape')} {agreeing(len(odd), 'is', 'are')} not in the unit frame "
                f"({uid} has the radius {odd[uid]:.4g}, not 1); distances and F-scores there cannot be compared with "
                "those of others."
            )
        if self._level is not None:
            trained = sum(shape["truth"]["trained"] for shape in shapes.values())
            if trained:
                notes.append(
                    f"{trained} of {counted(count, 'true shape')} "
                    f"{agreeing(trained, 'is a training shape', 'are training shapes')}; the scores there measure "
                    "recall, not generalisation."
                )
            notes.append(
                f"The mean shape is the level set {self._level:+.3f} of the mean signed distance; at this level its "
                "volume is the mean volume of the training shapes."
            )
        return notes

    def as_json(self) -> str:
        """Return all scores, summaries and notes as JSON."""
        import json

        shapes = {
            uid: {**scores, **shape}
            for (uid, shape), scores in zip(self.shapes.items(), self.candidates["prediction"], strict=True)
        }
        facts = {
            **self.settings, "samples": self.samples, "spread": self.sample_distance,
            "not_predicted": self.count("missing"),
            "failed": self.count("failed"), "shapes": shapes, "summary": self.summaries["prediction"],
            "baselines": {name: line for name, line in self.summaries.items() if name != "prediction"},
            "against": self.against, "topology": self.topology, "notes": self.notes, "definitions": DEFINITIONS,
        }  # fmt: skip
        return json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)

    def as_csv(self) -> str:
        """Return a CSV table with one line for each scored mesh: for each shape the predictions, then the baselines."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(
            ["uid", "candidate", "shape", *SCORES, *INFORMATION, "true_pieces", "true_euler", "trained"]
        )
        for uid, shape in self.shapes.items():
            truth = shape["truth"]
            scored = [("prediction", one) for one in shape["predictions"]] + list(shape["baselines"].items())
            for name, one in scored:
                numbers = [None if one[key] is None else f"{one[key]:.6g}" for key in (*SCORES, *INFORMATION)]
                facts = [truth["pieces"], truth["euler"], truth.get("trained")]
                table.writerow([uid, name, one["shape"], *numbers, *facts])
        return text.getvalue()

    def as_text(self, every: bool) -> str:
        """Return the report as text. With `every`, all shapes are listed even if there are many."""
        return "\n\n".join(filter(None, [self._list_shapes(every), *self.list_summaries()]))

    def list_summaries(self) -> list[str]:
        """Return the parts of the report that follow the scores of single shapes."""
        parts = []
        if len(self.shapes) > 1 or len(self.candidates) > 1:
            parts.append(self._list_summaries())
        if self.against and self.shapes:
            parts += [
                self._list_differences(),
                "\n".join(_describe_difference(name, scores) for name, scores in self.against.items()),
            ]
        if self.shapes:
            parts.append(self._list_topology())
        settings = self.settings
        counts = (
            f"{counted(len(self.shapes), 'shape')}, {self.count('missing')} of them not predicted, "
            f"{self.count('failed')} failed; "
            f"paired by {settings['pairing']}; {settings['points']} points per surface, seed {settings['seed']}; "
            f"alignment: {settings['align']}"
        )
        return [*filter(None, parts), "\n".join([counts, *self.notes]), DEFINITIONS]

    def _list_shapes(self, every: bool) -> str:
        rows: list[list[Any]] = [
            [uid, *scores.values()]
            for uid, scores in zip(self.shapes, self.candidates["prediction"], strict=True)
        ]
        title = ""
        if len(rows) > LONG and not every:
            title = f"the {WORST} worst of {len(rows)} by Chamfer distance (--all prints all)\n"
            rows = sorted(rows, key=lambda row: -row[1])[:WORST]
        return title + format_table(["uid", *SCORES], rows)

    def _list_summaries(self) -> str:
        header = ["", "", "mean", "from", "to", "median", "worst", "worst shape"]
        rows: list[list[Any]] = [
            [score if not place else "", name, *summary[score].values()]
            for score in SCORES
            for place, (name, summary) in enumerate(self.summaries.items())
            if summary
        ]
        if len(self.summaries) == 1:
            header, rows = header[1:], [[row[0], *row[2:]] for row in rows]
        return format_table(header, rows) if rows else ""

    def _list_topology(self) -> str:
        header = (
            "whole meshes",
            "median pieces",
            "no surface",
            "at most twice the pieces",
            "same Euler number",
        )
        rows = [
            (
                name,
                f"{facts['pieces']:g}",
                *(f"{facts[share]:.0%}" if share in facts else "" for share in TOPOLOGY),
            )
            for name, facts in self.topology.items()
        ]
        return format_table(header, rows)

    def _list_differences(self) -> str:
        rows: list[list[Any]] = [
            [f"against {name}" if not place else "", score, *line.values()]
            for name, scores in self.against.items()
            for place, (score, line) in enumerate(scores.items())
        ]
        return format_table(["", "", "better", "difference", "from", "to"], rows)


def _summarise_topology(
    meshes: Sequence[Sequence[Mapping[str, Any]]], shapes: Sequence[Shape]
) -> dict[str, float]:
    """Compare pieces and Euler numbers of meshes with those of the true meshes.

    Args:
        meshes: For each shape, the scores of one or more meshes.
        shapes: The shapes.

    Returns:
        The median number of pieces of the meshes that have a surface; and shares of all meshes: without surface
        (`empty`), with a surface in at most twice as many pieces as the truth (`whole`), and with the Euler number of
        the truth (`same_euler`). Shapes count alike, whatever the number of their meshes.
    """
    pieces = [one["pieces"] for each in meshes for one in each if one["pieces"]]

    def share(holds: Callable[[Mapping[str, Any], Mapping[str, Any]], bool]) -> float:
        by_shape = [
            np.mean([holds(one, shape["truth"]) for one in each])
            for each, shape in zip(meshes, shapes, strict=True)
        ]
        return float(np.mean(by_shape))

    return {
        "pieces": float(np.median(pieces)) if pieces else 0.0,
        "empty": share(lambda one, truth: not one["pieces"]),
        "whole": share(lambda one, truth: 0 < one["pieces"] <= 2 * truth["pieces"]),
        "same_euler": share(lambda one, truth: one["pieces"] > 0 and one["euler"] == truth["euler"]),
    }


def _mean(predictions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in predictions])) for name in SCORES}


def _describe_difference(name: str, scores: Mapping[str, Mapping[str, float]]) -> str:
    chamfer, iou = scores["chamfer"], scores["iou"]
    article = "the " if name in ("mean shape", "oracle", "visual hull") else ""
    return (
        f"The prediction beats {article}{name} on {100 * chamfer['better']:.0f} % of shapes by Chamfer distance and on "
        f"{100 * iou['better']:.0f} % by IoU; mean IoU difference {iou['difference']:+.3f} "
        f"(95 %: {iou['low']:+.3f} to {iou['high']:+.3f})."
    )
