"""The page that `compare` writes: what it holds and what it leaves out."""

import numpy as np
import trimesh

from sdfkit.inference.comparison.scores import _ScoreCollector
from sdfkit.io.meshes.pairs import Pair
from sdfkit.io.meshes.reader import MeshRow
from sdfkit.report.table_pages import comparison
from tests.commands.view_files import EVIL, content_of
from tests.report.test_scorecard import BAD, GOOD, card, score


def test_a_page_says_what_it_leaves_out(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "LISTED", 2)
    scores = card([[GOOD], [BAD], [GOOD]], BAD)
    page = comparison.make_comparison_page("x", scores, {"obj_1": [{"column": "truth", "error": EVIL}]}, 1)
    (tmp_path / "x.html").write_bytes(page)
    content = content_of(tmp_path / "x.html")
    assert [row[0] for row in content["table"]["rows"]] == ["obj_1", "obj_0"]
    assert content["notes"] == [
        "3 shapes, the worst first by Chamfer distance; pictures of the 1 worst only; the scores of the 2 worst "
        "only, -o scores.csv writes all",
        "1 pair could not be scored and is left out",
    ]
    columns = [column["name"] for column in content["table"]["columns"]]
    assert columns[-2:] == ["chamfer, oracle", "training shape"]
    assert [row[-1] for row in content["table"]["rows"]] == ["no", "yes"]


def test_samples_beyond_the_first_are_counted_and_reasons_stand_in_for_meshes():
    ball = trimesh.creation.icosphere(1)
    far = ball.copy()
    far.apply_translation([0, 1e4, 0])
    cells = comparison.draw_pair(ball, ["failed: why", far, ball, ball, ball, ball])
    assert [cell["column"] for cell in cells] == ["truth", *(f"sample {number}" for number in range(4))]
    assert cells[1]["error"] == "failed: why" and "film" not in cells[2] and "film" in cells[3]
    assert cells[-1]["facts"] == "of 6; the others are not drawn"


def test_only_the_drawings_of_the_worst_shapes_are_kept():
    """However many shapes there are, and also if the samples of a shape come one by one."""
    collector = _ScoreCollector(2)
    order = np.random.default_rng(0).permutation(20).tolist()
    for index in order:
        truth = MeshRow(index, f"obj_{index}", path="")
        pair = Pair(index=index, uid=truth.uid, truth=truth, guesses=(), by_uid=True)
        values = {"truth": {}, "baselines": {}, "apart": [], "drawings": ["truth", f"guess {index}"]}
        collector.write(pair, predictions=[score({**GOOD, "chamfer": index}, "")], **values)
        assert len(collector._drawings) <= 4
    assert collector.drawings == {"obj_19": ["truth", "guess 19"], "obj_18": ["truth", "guess 18"]}
