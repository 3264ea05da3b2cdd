"""The page that `compare` writes: what it holds and what it leaves out."""

import numpy as np
import pytest
import trimesh

from sdfkit.inference.comparison.scores import _model_pair, _ScoreCollector, score_pair
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
    names = [f"sample {number}" for number in range(3)]
    assert [cell["column"] for cell in cells] == ["truth", *names, "sample 3; 2 more are not drawn"]
    assert cells[1]["error"] == "failed: why" and "film" not in cells[2] and "film" in cells[3]
    models = comparison.model_pair(ball, ["failed: why", far, ball, ball, ball, ball], 5)
    assert [sorted(more) for more in models] == [["facts", "model"], [], *[["facts", "model"]] * 3]
    # The first prediction that is a mesh is the one that the truth is measured to.
    assert "distance to sample 1: mean 1e+04" in models[0]["facts"]
    assert models[0]["model"]["distance"]["mean"] == pytest.approx(1e4, rel=1e-3)
    assert models[3]["model"]["distance"]["largest"] == pytest.approx(0, abs=1e-9)
    assert models[2]["model"]["distance"]["mean"] == pytest.approx(1e4, rel=1e-3)


def test_only_the_drawings_of_the_worst_shapes_are_kept():
    """However many shapes there are, and also if the samples of a shape come one by one."""
    collector = _ScoreCollector(2, 1)
    order = np.random.default_rng(0).permutation(20).tolist()
    for index in order:
        truth = MeshRow(index, f"obj_{index}", path="")
        pair = Pair(index=index, uid=truth.uid, truth=truth, guesses=(), by_uid=True)
        values = {"truth": {}, "baselines": {}, "apart": [], "drawings": ["truth", f"guess {index}"]}
        collector.write(pair, predictions=[score({**GOOD, "chamfer": index}, "")], **values)
        assert len(collector._drawings) <= 4
        assert len(collector._pairs) <= 2
    assert collector.drawings == {"obj_19": ["truth", "guess 19"], "obj_18": ["truth", "guess 18"]}
    assert [pair.uid for pair in collector.worst_pairs] == ["obj_19"]


def test_a_pair_that_is_loaded_again_is_placed_as_it_was_scored(tmp_path):
    truth = trimesh.creation.box((1.0, 1.6, 0.4))
    turned = truth.copy().apply_transform(trimesh.transformations.rotation_matrix(0.3, [0, 1, 0]))
    rows = []
    for place, mesh in enumerate((truth, turned)):
        mesh.export(tmp_path / f"{place}.ply")
        rows.append(MeshRow(place, "box", path=str(tmp_path / f"{place}.ply")))
    pair, seen = Pair(index=0, uid="box", truth=rows[0], guesses=(rows[1],), by_uid=False), []

    def paint(truth, guesses, meshes=2):
        seen.append([np.asarray(mesh.vertices) for mesh in (truth, *guesses)])
        return []

    score_pair(pair, points=1000, seed=3, align=True, baselines=None, paint=paint)
    _model_pair(pair, seed=3, align=True, meshes=2, paint=paint)
    (true, scored), again = seen
    assert np.array_equal(again, [true, scored])
    assert np.abs(scored - true).max() < 0.05 < np.abs(turned.vertices - true).max()
