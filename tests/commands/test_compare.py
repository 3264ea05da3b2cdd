"""`sdfkit compare`: pairing, definitions, and the shapes that nobody predicted."""

import json

import pytest
import trimesh


@pytest.fixture
def folders(tmp_path):
    """Three true spheres, of which two were predicted, one of them well."""
    for name, radii in {"truth": (1, 0.8, 0.6), "predicted": (1, 0.7)}.items():
        (tmp_path / name).mkdir()
        for index, radius in enumerate(radii):
            trimesh.creation.icosphere(3, radius).export(tmp_path / name / f"obj_{index}.ply")
    return tmp_path / "predicted", tmp_path / "truth"


def test_pairs_by_uid_and_counts_what_is_missing(sdfkit, folders):
    result = sdfkit("compare", *folders, "--points", 5000, "--json")
    facts = json.loads(result.stdout)
    assert facts["not_predicted"] == 1
    scores = facts["shapes"]
    assert scores["obj_0"]["iou"] == 1
    # A ball of radius 0.7 in one of 0.8.
    assert scores["obj_1"]["iou"] == pytest.approx((0.7 / 0.8) ** 3, abs=0.03)
    assert scores["obj_1"]["chamfer"] == pytest.approx(0.1, abs=0.01)
    assert scores["obj_2"]["iou"] == 0
    assert scores["obj_2"]["chamfer"] == pytest.approx(2 * 3**0.5)
    assert facts["summary"]["iou"]["worst"] == 0
    assert "chamfer" in facts["definitions"]


def test_one_with_one_whatever_their_names(sdfkit, folders):
    predicted, truth = folders
    result = sdfkit("compare", predicted / "obj_0.ply", truth / "obj_1.ply", "--points", 2000)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split()[:2] == ["uid", "chamfer"]
    assert result.stdout.splitlines()[1].startswith("obj_1")
    assert "An empty prediction scores 0" in result.stdout


def test_csv(sdfkit, folders, tmp_path):
    table = tmp_path / "table.csv"
    assert sdfkit("compare", *folders, "--points", 2000, "-o", table).exit_code == 0
    lines = table.read_text().splitlines()
    assert lines[0] == "uid,chamfer,chamfer_deepsdf,f_score_1,f_score_5,iou,normal_consistency"
    assert [line.split(",")[0] for line in lines[1:]] == ["obj_0", "obj_1", "obj_2"]
    result = sdfkit("compare", *folders, "-o", table)
    assert result.exit_code == 3
    assert "table.csv: exists" in result.stderr


def test_nothing_in_common(sdfkit, folders, tmp_path):
    (tmp_path / "other").mkdir()
    for name in "ab":
        trimesh.creation.box().export(tmp_path / "other" / f"{name}.ply")
    result = sdfkit("compare", tmp_path / "other", folders[1])
    assert result.exit_code == 3
    assert "no uid in common: predicted a …, true obj_0 …; name the files alike" in result.stderr
