"""`sdfkit view` of several meshes of the same shapes: pages with cells side by side."""

import numpy as np
import pytest
import trimesh

from sdfkit.io.meshes.writer import create_meshes
from sdfkit.rows import Row
from tests.commands.view_files import ROWS, content_of, write_store
from tests.images.scenes.test_model import unpack


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    """Folders of true spheres a, b and c, of predictions of a and b, and of two samples of a; in the current folder."""
    for name, radius in {
        "truth/a": 1, "truth/b": 1, "truth/c": 1, "one/a": 1.1, "one/b": 0.9, "two/a_s0": 1, "two/a_s1": 1.2,
    }.items():  # fmt: skip
        path = tmp_path / f"{name}.ply"
        path.parent.mkdir(exist_ok=True)
        trimesh.creation.icosphere(2, radius=radius).export(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cells_of(path):
    """Return for each shape of a page the names of its cells and their radii, or None where there is no mesh."""
    return {
        tile["uid"]: [
            (cell["column"], "model" in cell and round(cell["model"]["scale"], 2)) for cell in tile["cells"]
        ]
        for tile in content_of(path)["gallery"]["tiles"]
    }


def test_predictions_stand_beside_the_truth_in_its_frame(sdfkit, pairs):
    result = sdfkit("view", "one", "two", "--truth", "truth", "-o", "x.html", "--views", 1, "--jobs", 1)
    assert (result.exit_code, result.stderr.splitlines()) == (0, [
        "sdfkit: left out 1 of 3 true shapes, of which there is no prediction",
        "sdfkit: wrote a page of 2 shapes to x.html",
    ])  # fmt: skip
    assert cells_of(pairs / "x.html") == {
        "a": [("truth", 1.0), ("one", 1.1), ("two 1", 1.0), ("two 2", 1.2)],
        "b": [("truth", 1.0), ("one", 0.9), ("two 1", False), ("two 2", False)],
    }
    cells = content_of(pairs / "x.html")["gallery"]["tiles"][0]["cells"]
    # What the prediction misses: the true surface lies inside the first prediction of the shape, so it is blue.
    assert cells[0]["facts"].startswith("320 faces, closed; distance to one: mean 0.098, largest 0.09")
    assert unpack(cells[0]["model"])["distance"].max() < 0
    assert cells[1]["facts"] == "320 faces, closed; distance to the truth: mean 0.1, largest 0.1"


def test_folders_of_the_same_shapes_stand_beside_each_other(sdfkit, pairs):
    assert sdfkit("view", "one", "truth", "-o", "x.html", "--views", 1, "--jobs", 1).exit_code == 0
    # All meshes of a shape are in the unit frame of the first one.
    assert cells_of(pairs / "x.html") == {
        "a": [("one", 1.0), ("truth", 0.91)],
        "b": [("one", 1.0), ("truth", 1.11)],
        "c": [("one", False), ("truth", 1.0)],
    }
    # Folders of different shapes are one list, and so are files.
    for inputs in (["truth", "two"], ["truth/a.ply", "one/a.ply"]):
        sdfkit("view", *inputs, "-o", "x.html", "--views", 1, "--jobs", 1, "--overwrite")
        tiles = content_of(pairs / "x.html")["gallery"]["tiles"]
        assert all("cells" not in tile for tile in tiles)


def test_files_into_which_the_same_uid_was_written_stand_beside_each_other(sdfkit, pairs):
    for name, radius in (("predicted", 1.0), ("refined", 0.9), ("more/predicted", 1.1)):
        (pairs / name).parent.mkdir(exist_ok=True)
        with create_meshes(f"{name}.ply", 1, settings={}, seed=None, kind="ply", overwrite=False) as meshes:
            meshes.write(Row(0, "obj"), mesh=trimesh.creation.icosphere(2, radius=radius))
    line = ("-o", "x.html", "--views", 1, "--jobs", 1, "--overwrite")
    assert sdfkit("view", "refined.ply", "predicted.ply", *line).exit_code == 0
    assert cells_of(pairs / "x.html") == {"obj": [("refined.ply", 1.0), ("predicted.ply", 1.11)]}
    sdfkit("view", "predicted.ply", "more/predicted.ply", *line)
    assert cells_of(pairs / "x.html") == {"obj": [("predicted.ply", 1.0), ("more/predicted.ply", 1.1)]}


def test_a_prediction_that_fails_leaves_the_truth(sdfkit, pairs):
    (pairs / "one" / "a.ply").unlink()
    (pairs / "one" / "a.off").write_text("OFF\n3 1 0\n0 0 nan\n1 0 0\n0 1 0\n3 0 1 2\n")
    result = sdfkit("view", "one", "--truth", "truth", "-o", "x.html", "--views", 1, "--jobs", 1)
    assert result.exit_code == 4
    assert "sdfkit: a: prediction: 1 of 3 vertices is NaN or infinite; repair the mesh" in result.stderr
    truth, prediction = content_of(pairs / "x.html")["gallery"]["tiles"][0]["cells"]
    assert "model" in truth
    assert prediction["error"].startswith("1 of 3 vertices is NaN")


def test_samples_and_grids_stand_beside_the_truth(sdfkit, pairs):
    rows = [Row(0, "a"), Row(1, "other")]
    axis = np.linspace(-1, 1, 17, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    point = np.random.default_rng(0).uniform(-1, 1, (2, 500, 3)).astype(np.float32)
    for kind, arrays in {
        "samples": {
            "point": (("shape", "sample", "xyz"), point),
            "distance": (("shape", "sample"), np.linalg.norm(point, axis=-1) - 0.5),
        },
        "grids": {
            "grid": (("shape", "x", "y", "z"), np.tile(np.linalg.norm(grid, axis=-1) - 0.5, (2, 1, 1, 1)))
        },
    }.items():
        store = write_store(pairs / f"{kind}.zarr", kind, rows, arrays)
        line = ("view", store, "--truth", "truth", "-o", f"{kind}.html", "--views", 1)
        assert sdfkit(*line).exit_code == 0
    named = {"a": [("truth", 1.0), ("samples", 1.0)], "other": [("truth", False), ("samples", 1.0)]}
    assert cells_of(pairs / "samples.html") == named
    named = {"a": [("truth", 1.0), ("prediction", 0.5)], "other": [("truth", False), ("prediction", 0.5)]}
    assert cells_of(pairs / "grids.html") == named
    truth, prediction = content_of(pairs / "grids.html")["gallery"]["tiles"][0]["cells"]
    assert truth["model"]["distance"]["mean"] == pytest.approx(0.5, abs=0.02)
    assert unpack(prediction["model"])["distance"].max() < 0


def test_a_truth_that_cannot_be_shown_is_refused(sdfkit, pairs):
    codes = write_store(
        pairs / "codes.zarr", "codes", ROWS, {"code": (("shape", "dim"), np.zeros((3, 5), np.float32))}
    )
    for inputs, output, status, message in (
        (
            ["one"],
            "x.png",
            2,
            "--truth and --decoder need a page; name the output .html or add --format html",
        ),
        ([codes], "x.html", 3, f"{codes}: holds codes; --truth is for meshes, views, samples and grids"),
        (["truth/c.ply"], "x.html", 3, "predicted meshes (c …) and true meshes (a …) have no uid in common"),
    ):
        truth = "one" if output == "x.html" else "truth"
        result = sdfkit("view", *inputs, "--truth", truth, "-o", output)
        assert (result.exit_code, message in result.stderr) == (status, True), result.stderr


def test_of_many_meshes_the_first_are_models_and_the_others_pictures(sdfkit, pairs, monkeypatch):
    monkeypatch.setattr("sdfkit.report.viewer.appearance.MANY", 5)
    monkeypatch.setattr("sdfkit.report.viewer.appearance.PICTURES", 20)
    assert sdfkit("view", "truth", "one", "-o", "x.html", "--jobs", 1).exit_code == 0
    content = content_of(pairs / "x.html")
    assert content["notes"][1:3] == [
        "In 3-D, the first 2 shapes only; the others are pictures",
        "3 pictures of each, because they are many; --views makes more",
    ]
    tiles = [tile["cells"] for tile in content["gallery"]["tiles"]]
    assert [["model" in cell for cell in cells] for cells in tiles] == [[True] * 2, [True] * 2, [False] * 2]
    assert {cell["film"]["frames"] for cells in tiles for cell in cells if "film" in cell} == {3}
