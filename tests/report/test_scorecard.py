import csv
import json

from sdfkit.geometry.metrics import SCORES
from sdfkit.report.scorecard import ScoreCard

GOOD = {
    "chamfer": 0.1, "chamfer_deepsdf": 1.0, "f_score_1": 0.9, "f_score_5": 1.0, "iou": 0.8, "normal_consistency": 0.9,
}  # fmt: skip
BAD = {**GOOD, "chamfer": 0.3, "iou": 0.2}


def score(values, shape, state="predicted"):
    return {"shape": shape, **values, "volume_ratio": 1.0, "pieces": 1, "euler": 2, "state": state}


def card(predictions, baseline):
    shapes = {
        f"obj_{index}": {
            "predictions": [score(one, f"obj_{index}") for one in samples],
            "baselines": {"oracle": score(baseline, "known")},
            "truth": {"pieces": 1, "euler": 2, "reach": 1.0, "trained": index == 0},
            "apart": [0.2] * (len(samples) - 1),
        }
        for index, samples in enumerate(predictions)
    }
    return ScoreCard(shapes, pairing="uid", align="none", points=1000, seed=0, level=-0.05)


def test_sample_scores_are_averaged_and_the_best_is_listed():
    facts = json.loads(card([[GOOD, BAD], [GOOD, BAD]], BAD).as_json())
    assert facts["summary"]["chamfer"]["mean"] == 0.2
    assert facts["baselines"]["best of 2"]["chamfer"]["mean"] == 0.1
    assert (facts["spread"], facts["samples"]) == (0.2, 2)
    assert facts["against"]["oracle"]["iou"]["better"] == 1


def test_notes_state_what_the_scores_do_not_show():
    text = card([[GOOD], [GOOD]], BAD).as_text(every=False)
    assert "1 of 2 true shapes is a training shape; the scores there measure recall" in text
    assert "The mean shape is the level set -0.050 of the mean signed distance" in text
    assert "The prediction beats the oracle on 100 % of shapes by Chamfer distance" in text


def test_csv_has_one_line_for_each_scored_mesh():
    rows = list(csv.DictReader(card([[GOOD], [BAD]], GOOD).as_csv().splitlines()))
    assert [(row["uid"], row["candidate"], row["shape"]) for row in rows] == [
        ("obj_0", "prediction", "obj_0"), ("obj_0", "oracle", "known"),
        ("obj_1", "prediction", "obj_1"), ("obj_1", "oracle", "known"),
    ]  # fmt: skip
    assert [*rows[0]][3:9] == [*SCORES]


def test_pieces_and_euler_numbers_are_compared_with_those_of_the_truth():
    shapes = {}
    for index, (pieces, euler) in enumerate([(1, 2), (2, 2), (3, -24), (0, 0)]):
        guess = score(GOOD, f"obj_{index}") | {"pieces": pieces, "euler": euler}
        truth = {"pieces": 1, "euler": 2, "reach": 1.0, "trained": False}
        shapes[f"obj_{index}"] = {
            "predictions": [guess], "baselines": {"oracle": score(GOOD, "known")}, "truth": truth, "apart": [],
        }  # fmt: skip
    whole = ScoreCard(shapes, pairing="uid", align="none", points=1000, seed=0, level=-0.05)
    facts = json.loads(whole.as_json())["topology"]
    assert facts["truth"] == {"pieces": 1}
    assert facts["prediction"] == {"pieces": 2, "empty": 0.25, "whole": 0.5, "same_euler": 0.5}
    assert facts["oracle"] == {"pieces": 1, "empty": 0, "whole": 1, "same_euler": 1}
    lines = [line.split() for line in whole.as_text(every=False).splitlines()]
    assert ["prediction", "2", "25%", "50%", "50%"] in lines and ["truth", "1"] in lines
