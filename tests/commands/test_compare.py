"""`sdfkit compare`: pairing, scores, and shapes without a prediction."""

import csv
import json
import re

import numpy as np
import pytest
import trimesh

from sdfkit.geometry.metrics import SCORES
from sdfkit.io.meshes.formats.ply.writer import write_comment
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row


@pytest.fixture
def folders(tmp_path):
    """Three true spheres and predictions of two of them, one of which is good."""
    for name, radii in {"truth": (1, 0.8, 0.6), "predicted": (1, 0.7)}.items():
        (tmp_path / name).mkdir()
        for index, radius in enumerate(radii):
            trimesh.creation.icosphere(3, radius).export(tmp_path / name / f"obj_{index}.ply")
    return tmp_path / "predicted", tmp_path / "truth"


@pytest.mark.slow
def test_meshes_are_paired_by_uid_and_missing_predictions_are_counted(sdfkit, folders):
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


def test_missing_predictions_score_the_same_in_partly_and_wholly_empty_folders(sdfkit, folders):
    predicted, truth = folders
    command = ("compare", predicted, truth, "--points", 1000, "--jobs", 1)
    (predicted / "obj_1.ply").unlink()
    few = json.loads(sdfkit(*command, "--json").stdout)
    (predicted / "obj_0.ply").unlink()
    (predicted / "notes.txt").write_text("nothing had a surface")
    result = sdfkit(*command, "--json")
    assert (result.exit_code, result.stderr) == (
        0, f"sdfkit: {predicted}: is a folder without meshes; every true shape counts as not predicted\n"
    )  # fmt: skip
    none = json.loads(result.stdout)
    assert (few["not_predicted"], none["not_predicted"], none["pairing"]) == (2, 3, "uid")
    assert list(none["shapes"]) == ["obj_0", "obj_1", "obj_2"]
    for uid in ("obj_1", "obj_2"):
        assert none["shapes"][uid] == few["shapes"][uid]
    assert {shape["predictions"][0]["state"] for shape in none["shapes"].values()} == {"missing"}
    assert (none["summary"]["iou"]["mean"], none["summary"]["f_score_5"]["mean"]) == (0, 0)
    assert none["summary"]["chamfer"]["mean"] == pytest.approx(2 * 3**0.5)
    assert "3 shapes, 3 of them not predicted" in sdfkit(*command).stdout
    # A missing folder, or a truth without meshes, is an error.
    for paths, status, words in (
        ((predicted / "gone", truth), 3, f"{predicted}/gone: No such file or directory"),
        ((truth, predicted), 3, f"{predicted}: is a folder without meshes ("),
    ):
        refused = sdfkit("compare", *paths)
        assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (status, "", 1)
        assert words in refused.stderr


def test_two_single_files_are_compared_whatever_their_names(sdfkit, folders):
    predicted, truth = folders
    result = sdfkit("compare", predicted / "obj_0.ply", truth / "obj_1.ply", "--points", 2000)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split()[:2] == ["uid", "chamfer"]
    assert result.stdout.splitlines()[1].startswith("obj_1")
    assert "An empty prediction scores 0" in result.stdout


@pytest.mark.slow
def test_csv_output_has_a_row_for_each_prediction(sdfkit, folders, tmp_path):
    table = tmp_path / "table.csv"
    assert sdfkit("compare", *folders, "--points", 2000, "-o", table).exit_code == 0
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[3:9] == [*SCORES]
    assert [(row["uid"], row["candidate"], row["shape"]) for row in rows] == [
        ("obj_0", "prediction", "obj_0"), ("obj_1", "prediction", "obj_1"), ("obj_2", "prediction", ""),
    ]  # fmt: skip
    assert [(row["pieces"], row["euler"], row["true_euler"]) for row in rows][1:] == [
        ("1", "2", "2"),
        ("0", "0", "2"),
    ]
    assert float(rows[1]["volume_ratio"]) == pytest.approx((0.7 / 0.8) ** 3, abs=0.1)
    result = sdfkit("compare", *folders, "-o", table)
    assert result.exit_code == 3
    assert "table.csv: exists" in result.stderr


def test_meshes_without_a_common_uid_are_refused(sdfkit, folders, tmp_path):
    (tmp_path / "other").mkdir()
    for name in "ab":
        trimesh.creation.box().export(tmp_path / "other" / f"{name}.ply")
    result = sdfkit("compare", tmp_path / "other", folders[1])
    assert result.exit_code == 3
    assert (
        "predicted meshes (a …) and true meshes (obj_0 …) have no uid in common; give the files equal names, or add "
        "--pair order" in result.stderr
    )
    result = sdfkit("compare", tmp_path / "other", folders[1], "--pair", "order")
    assert result.exit_code == 3
    assert "2 predicted and 3 true meshes cannot be paired by order; give as many" in result.stderr


@pytest.mark.slow
def test_equal_numbers_without_a_common_uid_are_paired_by_order(sdfkit, folders, tmp_path):
    (tmp_path / "other").mkdir()
    for name, radius in zip("cab", (0.5, 1, 0.8), strict=True):  # by name: a, b, c
        trimesh.creation.icosphere(3, radius).export(tmp_path / "other" / f"{name}.ply")
    result = sdfkit("compare", tmp_path / "other", folders[1], "--points", 1000, "--json")
    assert (
        "predicted and true meshes have no uid in common; the 3 of each are paired by order" in result.stderr
    )
    facts = json.loads(result.stdout)
    assert facts["pairing"] == "order"
    assert [shape["predictions"][0]["shape"] for shape in facts["shapes"].values()] == ["a", "b", "c"]
    assert [shape["iou"] for shape in facts["shapes"].values()][:2] == [1, 1]


@pytest.mark.slow
def test_sample_scores_are_averaged_and_unmatched_predictions_are_reported(sdfkit, folders, tmp_path):
    predicted, truth = folders
    (predicted / "obj_1.ply").rename(predicted / "obj_1_s0.ply")
    trimesh.creation.icosphere(3, 0.8).export(predicted / "obj_1_s1.ply")
    trimesh.creation.box().export(predicted / "stranger.ply")
    result = sdfkit("compare", predicted, truth, "--points", 5000, "--json")
    assert "left out 1 of 4 predicted meshes: no true mesh matches (stranger …)" in result.stderr
    facts = json.loads(result.stdout)
    scores = facts["shapes"]["obj_1"]
    one, two = scores["predictions"]
    assert (one["shape"], two["shape"], facts["samples"]) == ("obj_1_s0", "obj_1_s1", 2)
    assert two["iou"] == 1 and scores["iou"] == pytest.approx((one["iou"] + 1) / 2)
    assert scores["chamfer"] == pytest.approx((one["chamfer"] + two["chamfer"]) / 2)
    assert facts["baselines"]["best of 2"]["iou"]["median"] == 1
    # Balls of radius 0.7 and 0.8; the other shapes have no two samples.
    assert facts["spread"] == pytest.approx(0.1, abs=0.005) and scores["apart"] == [facts["spread"]]
    assert facts["shapes"]["obj_0"]["apart"] == []
    table = sdfkit("compare", predicted, truth, "--points", 1000).stdout
    assert "best of 2 is chosen by the Chamfer distance to the truth, which is unknown in practice" in table
    assert re.search(r"Samples of one shape are 0\.(0\d+|1\d*) apart", table)


@pytest.mark.slow
def test_failed_predictions_and_open_or_unnormalised_truths_are_reported(sdfkit, tmp_path):
    (tmp_path / "predicted").mkdir()
    (tmp_path / "truth").mkdir()
    for name in ("ball", "sheet", "wide"):
        trimesh.creation.icosphere(2, 3 if name == "wide" else 1).export(
            tmp_path / "predicted" / f"{name}.ply"
        )
    trimesh.Trimesh(np.eye(3), [[0, 1, 2]], process=False).export(tmp_path / "truth" / "sheet.ply")
    trimesh.creation.icosphere(2, 3).export(tmp_path / "truth" / "wide.ply")
    trimesh.creation.icosphere(2).export(tmp_path / "truth" / "ball.ply")
    failed = write_comment(
        (tmp_path / "truth" / "ball.ply").read_bytes(), {"uid": "ball", "error": "no surface"}
    )
    (tmp_path / "predicted" / "ball.ply").write_bytes(failed)
    result = sdfkit("compare", tmp_path / "predicted", tmp_path / "truth", "--points", 1000)
    assert result.exit_code == 0
    assert "3 shapes, 0 of them not predicted, 1 failed; paired by uid; 1000 points" in result.stdout
    assert (
        "1 of 3 true meshes is open and without an inside (sheet …); IoU is meaningless there"
        in result.stdout
    )
    assert "1 of 3 true shapes is not in the unit frame (wide has the radius 3, not 1)" in result.stdout


def test_align_undoes_a_rigid_motion_and_is_reported(sdfkit, tmp_path):
    box = trimesh.creation.box((1, 0.6, 0.3))
    box.export(tmp_path / "truth.ply")
    box.apply_transform(trimesh.transformations.rotation_matrix(2, [0, 1, 0]))
    box.apply_translation([0.1, 0, 0])
    box.export(tmp_path / "moved.ply")
    command = ("compare", tmp_path / "moved.ply", tmp_path / "truth.ply", "--points", 5000)
    assert json.loads(sdfkit(*command, "--json").stdout)["shapes"]["truth"]["iou"] < 0.5
    result = sdfkit(*command, "--align", "icp", "--json")
    facts = json.loads(result.stdout)
    assert facts["align"] == "icp" and "iterative closest points" in facts["notes"][0]
    assert facts["shapes"]["truth"]["iou"] > 0.93


@pytest.mark.slow
def test_for_many_shapes_only_the_worst_are_listed(sdfkit, tmp_path):
    for name in ("predicted", "truth"):
        (tmp_path / name).mkdir()
    for index in range(31):
        trimesh.creation.icosphere(1).export(tmp_path / "truth" / f"obj_{index:02d}.ply")
        trimesh.creation.icosphere(1, 1 - index / 100).export(tmp_path / "predicted" / f"obj_{index:02d}.ply")
    command = ("compare", tmp_path / "predicted", tmp_path / "truth", "--points", 1000, "--jobs", 1)
    short = sdfkit(*command).stdout.splitlines()
    assert short[0] == "the 10 worst of 31 by Chamfer distance (--all prints all)"
    assert [line.split()[0] for line in short[2:12]] == [f"obj_{index}" for index in range(30, 20, -1)]
    assert short[12] == "" and short[14].startswith("chamfer ") and short[14].endswith("obj_30")
    assert [line.split()[0] for line in sdfkit(*command, "--all").stdout.splitlines()[1:32]] == [
        f"obj_{index:02d}" for index in range(31)
    ]


@pytest.fixture
def trained(folders, tmp_path):
    """Three training spheres, and features by which the sphere of radius 0.8 retrieves that of radius 0.5."""
    (tmp_path / "training").mkdir()
    for name, radius in {"small": 0.5, "middle": 0.72, "obj_0": 1}.items():
        trimesh.creation.icosphere(3, radius).export(tmp_path / "training" / f"{name}.ply")
    shown = {"obj_0": (1, 0), "obj_1": (0, 1), "obj_2": (1, 0.1)}
    known = {"small": (0, 2), "middle": (-1, 0), "obj_0": (3, 0)}
    return (
        tmp_path / "training",
        write_features(tmp_path / "shown.zarr", shown),
        write_features(tmp_path / "known.zarr", known),
    )


def write_features(path, vectors, model="an encoder"):
    rows = [Row(index, uid) for index, uid in enumerate(vectors)]
    attributes = {"encoder": {"model": model}}
    with create_store(
        str(path), "features", rows=rows, history=[], settings={}, attributes=attributes, overwrite=False
    ) as store:
        store.create_array("feature", shape=(len(rows), 2, 2), dtype="f4", axes=("shape", "view", "dim"))
        for row, vector in zip(rows, vectors.values(), strict=True):
            store.write(row, feature=np.array([vector, vector], np.float32))
    return path


@pytest.mark.slow
def test_baselines_appear_in_the_same_table(sdfkit, folders, trained, tmp_path):
    training, shown, known = trained
    options = ("--training", training, "--features", shown, "--training-features", known, "--points", 5000)
    table = tmp_path / "table.csv"
    facts = json.loads(sdfkit("compare", *folders, *options, "--json", "-o", table).stdout)
    answers = {
        uid: [shape["baselines"][name]["shape"] for name in ("mean shape", "retrieval", "oracle")]
        for uid, shape in facts["shapes"].items()
    }
    assert answers == {
        "obj_0": ["", "obj_0", "obj_0"], "obj_1": ["", "small", "middle"], "obj_2": ["", "obj_0", "small"],
    }  # fmt: skip
    # The mean of three balls' distances is a ball; here it has their mean volume.
    radius = np.cbrt((0.5**3 + 0.72**3 + 1) / 3)
    assert facts["shapes"]["obj_1"]["baselines"]["mean shape"]["iou"] == pytest.approx(
        (radius / 0.8) ** 3, abs=0.06
    )
    assert facts["shapes"]["obj_1"]["baselines"]["retrieval"]["iou"] == pytest.approx(
        (0.5 / 0.8) ** 3, abs=0.05
    )
    assert any(
        "1 of 3 true shapes is a training shape; the scores there measure recall" in note
        for note in facts["notes"]
    )
    for name, duel in facts["against"].items():
        theirs = [shape["baselines"][name]["iou"] for shape in facts["shapes"].values()]
        ours = [shape["iou"] for shape in facts["shapes"].values()]
        assert duel["iou"]["difference"] == pytest.approx(np.mean(ours) - np.mean(theirs))
        assert duel["iou"]["better"] == np.mean(np.array(ours) > theirs)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["candidate"] for row in rows[:4]] == ["prediction", "mean shape", "retrieval", "oracle"]
    assert [row["trained"] for row in rows[::4]] == ["True", "False", "False"]
    text = sdfkit("compare", *folders, *options).stdout
    # obj_0 is predicted and retrieved exactly, so neither is better; obj_2 is not predicted.
    assert re.search(
        r"The prediction beats retrieval on \d+ % of shapes by Chamfer distance and on 33 % by IoU", text
    )
    names = [line.split("  ")[0] for line in text.splitlines() if "  mean shape  " in line]
    assert len(names) == 6


@pytest.mark.slow
def test_one_store_may_contain_features_of_training_and_true_shapes(sdfkit, folders, trained, tmp_path):
    both = {"obj_0": (1, 0), "obj_1": (0, 1), "obj_2": (1, 1), "small": (0, 1), "middle": (2, 2)}
    store = write_features(tmp_path / "both.zarr", both)
    options = ("--training", trained[0], "--features", store, "--points", 1000, "--json")
    shapes = json.loads(sdfkit("compare", *folders, *options).stdout)["shapes"]
    assert [shape["baselines"]["retrieval"]["shape"] for shape in shapes.values()] == [
        "obj_0",
        "small",
        "middle",
    ]


@pytest.mark.slow
def test_the_visual_hull_and_retrieval_by_silhouettes_answer_from_the_images(
    sdfkit, folders, trained, tmp_path
):
    predicted, truth = folders
    views, one = tmp_path / "views.zarr", tmp_path / "one.zarr"
    assert sdfkit("render", truth, "--views", 12, "--size", 96, "-o", views).exit_code == 0
    options = ("--views", views, "--points", 5000, "--json")
    facts = json.loads(sdfkit("compare", predicted, truth, *options, "--training", trained[0]).stdout)
    answers = [shape["baselines"] for shape in facts["shapes"].values()]
    assert list(answers[0]) == ["mean shape", "visual hull", "retrieval by silhouettes", "oracle"]
    # render puts every shape into the unit frame, so that all three spheres look like the one of radius 1.
    assert [answer["retrieval by silhouettes"]["shape"] for answer in answers] == ["obj_0"] * 3
    assert answers[0]["visual hull"]["iou"] > 0.85
    assert answers[1]["visual hull"]["iou"] == pytest.approx(0.8**3, abs=0.05)
    # Without training shapes, the hull is the only baseline.
    alone = json.loads(sdfkit("compare", predicted, truth, *options).stdout)
    assert list(alone["against"]) == ["visual hull"]
    assert sdfkit("render", truth / "obj_0.ply", "--views", 2, "--size", 32, "-o", one).exit_code == 0
    result = sdfkit("compare", predicted, truth, "--views", one)
    assert (
        result.exit_code,
        "one.zarr: has no images of obj_1; render every true shape" in result.stderr,
    ) == (3, True)


def test_unsuitable_features_are_refused(sdfkit, folders, trained, tmp_path):
    training, shown, known = trained
    other = write_features(tmp_path / "other.zarr", {"obj_0": (1, 0)}, model="another")
    few = write_features(tmp_path / "few.zarr", {"obj_0": (1, 0)})
    for features, training_features, message in (
        (other, known, "other.zarr: each feature has 2 numbers from another, but "),
        (shown, few, "few.zarr: has no features of 2 training shapes (middle …); embed all of them"),
        (few, known, "few.zarr: has no features of obj_1; embed the images of every true shape"),
    ):
        options = ("--training", training, "--features", features, "--training-features", training_features)
        result = sdfkit("compare", *folders, *options)
        assert result.exit_code == 3
        assert message in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--features", "f.zarr"), "--features chooses one of the training shapes; add --training MESHES"),
        (
            ("--training", "t", "--training-features", "f.zarr"),
            "--training-features needs --features",
        ),
        (("--training", "t", "--codes", "c.zarr"), "--codes needs --features"),
        (("--training", "-"), "only PREDICTED or TRUTH can be standard input, not both"),
    ],
)
def test_options_without_the_options_they_need_are_refused(sdfkit, folders, options, message):
    result = sdfkit("compare", *folders, *options)
    assert result.exit_code == 2
    assert message in result.stderr
