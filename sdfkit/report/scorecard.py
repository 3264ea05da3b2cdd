"""What `compare` has found, as a table for people, as JSON for programs, and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from sdfkit.geometry.metrics import DEFINITIONS, SCORES, compare_pairwise, summarise
from sdfkit.io.meshes.pairs import Pair
from sdfkit.report.tables import format_table
from sdfkit.rows import Row

LONG = 30  # shapes beyond which only the worst have a line of their own
WORST = 10
INFORMATION = ("volume_ratio", "pieces", "euler")
Shape = dict[str, Any]


class Tally:
    """Takes what is judged pair by pair, and keeps it by shape, but not the meshes.

    `judged` counts the predictions. A shape has `predictions` (scores, one a sample), `baselines` (scores by name),
    what there is to know of the `truth`, and how far its samples are `apart`, one number a pair of them.
    """

    def __init__(self) -> None:
        self.failed: set[int] = set()
        self.judged = 0
        self._shapes: dict[tuple[int, str], Shape] = {}

    def has(self, row: Row) -> bool:
        return False

    def write(self, row: Row, **values: Any) -> None:
        assert isinstance(row, Pair)
        if row.error:
            self.failed.add(row.index)
            return
        self.judged += len(values["predictions"])
        empty = {"truth": values["truth"], "predictions": [], "baselines": values["baselines"], "apart": []}
        shape = self._shapes.setdefault((row.truth.index, row.uid), empty)
        shape["predictions"] += values["predictions"]
        shape["apart"] += values["apart"]

    @property
    def shapes(self) -> dict[str, Shape]:
        """By uid, in the order of the truths."""
        return {uid: self._shapes[index, uid] for index, uid in sorted(self._shapes)}


class ScoreCard:
    """The scores of many shapes, summed up.

    Args:
        shapes: As a `Tally` keeps them.
        pairing: What paired them: uid or order.
        align: How predictions were aligned: none or icp.
        points: How many on each surface.
        seed: Of all draws.
        level: The level of the mean signed distance that the mean shape is; None without baselines.
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
        """The six scores of every shape, by who gave the answer."""
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
        """Mean, interval, median and worst by candidate and score."""
        uids = list(self.shapes)
        result: dict[str, dict[str, dict[str, Any]]] = {}
        for name, scores in self.candidates.items():
            result[name] = {}
            for score, line in summarise(scores, self._rng()).items():
                row = int(line.pop("worst_row"))
                result[name][score] = {**line, "worst_uid": uids[row]}
        return result

    @cached_property
    def duels(self) -> dict[str, dict[str, dict[str, float]]]:
        """The prediction against each baseline, shape by shape."""
        ours = self.candidates["prediction"]
        return {name: compare_pairwise(ours, self.candidates[name], self._rng()) for name in self._baselines}

    @cached_property
    def spread(self) -> float | None:
        """How far samples of one shape are from each other, mean over shapes; None where none has several."""
        means = [np.mean(shape["apart"]) for shape in self.shapes.values() if shape["apart"]]
        return float(np.mean(means)) if means else None

    def _rng(self) -> np.random.Generator:
        # All candidates are resampled alike, so that their intervals can be compared.
        return np.random.default_rng(self.settings["seed"])

    def count(self, state: str) -> int:
        """How many shapes have a prediction that is `missing`, `failed` or `predicted`."""
        return sum(
            any(one["state"] == state for one in shape["predictions"]) for shape in self.shapes.values()
        )

    @cached_property
    def notes(self) -> list[str]:
        """What must be known to read the table, one sentence each."""
        shapes, count = self.shapes, len(self.shapes)
        notes = []
        if self.settings["align"] == "icp":
            notes.append(
                "Everything judged was first turned and moved onto the truth by iterative closest points (from four "
                "headings, without scaling): a wrong pose costs nothing here."
            )
        if self.samples > 1:
            notes.append(
                f"A prediction's scores are the mean of its samples. best of {self.samples} is chosen by its Chamfer "
                "distance to the truth, which a user does not have."
            )
        if self.spread is not None:
            notes.append(
                f"Samples of one shape are {self.spread:.3g} apart (mean Chamfer distance of pairs, from points to "
                "faces: 0 where all are equal)."
            )
        open_truths = [
            uid for uid, shape in shapes.items() if shape["predictions"][0]["volume_ratio"] is None
        ]
        if open_truths:
            notes.append(
                f"{len(open_truths)} of {count} true shapes have no inside ({open_truths[0]} …): "
                "their IoU says nothing."
            )
        odd = {uid: shape["truth"]["reach"] for uid, shape in shapes.items()}
        odd = {uid: reach for uid, reach in odd.items() if abs(reach - 1) > 0.01}
        if odd:
            uid = next(iter(odd))
            notes.append(
                f"{len(odd)} of {count} true shapes are not in the unit frame ({uid} reaches to {odd[uid]:.4g}): their "
                "distances and F-scores are in a unit of their own."
            )
        if self._level is not None:
            trained = sum(shape["truth"]["trained"] for shape in shapes.values())
            if trained:
                notes.append(
                    f"{trained} of {count} true shapes are training shapes: of these, this is recall."
                )
            notes.append(
                f"The mean shape is the level {self._level:+.3f} of the mean signed distance, where it has the "
                "training shapes' mean volume."
            )
        return notes

    def as_json(self) -> str:
        """All facts."""
        import json

        shapes = {
            uid: {**scores, **shape}
            for (uid, shape), scores in zip(self.shapes.items(), self.candidates["prediction"], strict=True)
        }
        facts = {
            **self.settings, "samples": self.samples, "spread": self.spread,
            "not_predicted": self.count("missing"),
            "failed": self.count("failed"), "shapes": shapes, "summary": self.summaries["prediction"],
            "baselines": {name: line for name, line in self.summaries.items() if name != "prediction"},
            "against": self.duels, "notes": self.notes, "definitions": DEFINITIONS,
        }  # fmt: skip
        return json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)

    def as_csv(self) -> str:
        """One line for each mesh that was judged: predictions, then baselines, shape by shape."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(
            ["uid", "candidate", "shape", *SCORES, *INFORMATION, "true_pieces", "true_euler", "trained"]
        )
        for uid, shape in self.shapes.items():
            truth = shape["truth"]
            judged = [("prediction", one) for one in shape["predictions"]] + list(shape["baselines"].items())
            for name, one in judged:
                numbers = [None if one[key] is None else f"{one[key]:.6g}" for key in (*SCORES, *INFORMATION)]
                about = [truth["pieces"], truth["euler"], truth.get("trained")]
                table.writerow([uid, name, one["shape"], *numbers, *about])
        return text.getvalue()

    def as_text(self, every: bool) -> str:
        """The table for people; `every` lists all shapes however many they are."""
        parts = [self._list_shapes(every)]
        if len(self.shapes) > 1 or len(self.candidates) > 1:
            parts.append(self._sum_up())
        if self.duels and self.shapes:
            parts += [
                self._list_duels(),
                "\n".join(_tell_duel(name, duel) for name, duel in self.duels.items()),
            ]
        settings = self.settings
        counts = (
            f"{len(self.shapes)} shapes, {self.count('missing')} of them not predicted, {self.count('failed')} failed; "
            f"paired by {settings['pairing']}; {settings['points']} points, seed {settings['seed']}; "
            f"alignment: {settings['align']}"
        )
        return "\n\n".join([*filter(None, parts), "\n".join([counts, *self.notes]), DEFINITIONS])

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

    def _sum_up(self) -> str:
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

    def _list_duels(self) -> str:
        rows: list[list[Any]] = [
            [f"against {name}" if not place else "", score, *line.values()]
            for name, duel in self.duels.items()
            for place, (score, line) in enumerate(duel.items())
        ]
        return format_table(["", "", "better", "difference", "from", "to"], rows)


def _mean(predictions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in predictions])) for name in SCORES}


def _tell_duel(name: str, duel: Mapping[str, Mapping[str, float]]) -> str:
    chamfer, iou = duel["chamfer"], duel["iou"]
    article = "the " if name != "retrieval" else ""
    return (
        f"The prediction beats {article}{name} on {100 * chamfer['better']:.0f} % of shapes by Chamfer distance and on "
        f"{100 * iou['better']:.0f} % by IoU; mean IoU difference {iou['difference']:+.3f} "
        f"(95 %: {iou['low']:+.3f} to {iou['high']:+.3f})."
    )
