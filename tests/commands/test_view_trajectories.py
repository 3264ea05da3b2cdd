"""`sdfkit view` of trajectories: the page of steps, the strips of images, and errors."""

import numpy as np
import pytest

from sdfkit.rows import Row
from tests.commands.test_mesh import write
from tests.commands.view_files import (
    EVIL,
    FAILED,
    ROWS,
    SIZE,
    STEPS,
    content_of,
    discs,
    frames_of,
    picture_of,
    write_trajectories,
)
from tests.training.octahedra import make_decoder


def test_trajectories_become_a_page_with_steps_and_a_choice_of_runs(sdfkit, tmp_path):
    scaled = write_trajectories(tmp_path / "a.zarr")
    unit = write_trajectories(tmp_path / "b.zarr", noise="unit", steps=2, truth=None, picture=None)
    assert sdfkit("view", scaled, unit, "-o", tmp_path / "x.html").exit_code == 0
    stepper = content_of(tmp_path / "x.html")["stepper"]
    assert [run["name"] for run in stepper["runs"]] == ["scaled noise", "unit noise"]
    assert [shape["uid"] for shape in stepper["shapes"]] == [row.uid for row in ROWS]
    one, other = (run["shapes"][0] for run in stepper["runs"])
    assert len(one["path"]) == len(one["norm"]) == one["film"]["frames"] == STEPS + 1
    assert (len(other["path"]), other["iou"]) == (3, None)
    assert (one["iou"][0], one["iou"][-1]) == (0, 1)
    assert np.all(np.diff(one["iou"]) > 0)
    assert one["moved"] == pytest.approx([0, *[one["moved"][1]] * STEPS], rel=1e-4)
    assert np.array_equal(frames_of(one["film"]), discs(np.linspace(0, SIZE / 4, STEPS + 1)))
    (truth,) = frames_of(stepper["shapes"][0]["truth"])
    assert np.array_equal(truth, discs(SIZE / 4))
    assert frames_of(stepper["shapes"][0]["picture"]).shape == (1, SIZE, SIZE, 3)


def test_the_decoder_of_trajectories_shows_the_mesh_of_each_step(sdfkit, tmp_path):
    # The decoder's surface is an octahedron, of which the first number of a code is the radius; 0 has no surface.
    radii = np.linspace(0, 0.8, STEPS + 1, dtype=np.float32)
    codes = np.zeros((1, STEPS + 1, 4), np.float32)
    codes[..., 0] = radii
    path = write_trajectories(
        tmp_path / "a.zarr",
        ROWS[:1],
        trajectory=(("shape", "step", "dim"), codes),
        code=(("shape", "dim"), codes[:, -1]),
    )
    decoder = write(tmp_path / "d.zarr", "deepsdf", "code", codes[:, -1], decoder=make_decoder())
    result = sdfkit("view", path, "--decoder", decoder, "-o", tmp_path / "x.html")
    assert result.exit_code == 0, result.stderr
    (run,) = content_of(tmp_path / "x.html")["stepper"]["runs"]
    none, *models = run["shapes"][0]["models"]
    assert none is None
    assert [model["scale"] for model in models] == pytest.approx(radii[1:], abs=0.02)
    assert all(model["closed"] for model in models)
    wrong = write_trajectories(tmp_path / "b.zarr")
    for inputs, message in (
        ([wrong], f"{wrong}: its codes have 6 numbers each, but the decoder of {decoder} needs 4"),
        ([path, wrong], f"{wrong}: its codes have 6 numbers each, but the decoder of {decoder} needs 4"),
        ([decoder], f"{decoder}: holds deepsdf; --decoder is for codes with trajectories"),
    ):
        result = sdfkit("view", *inputs, "--decoder", decoder, "-o", tmp_path / "y.html")
        assert (result.exit_code, result.stderr) == (3, f"sdfkit: {message}\n")


def test_trajectories_become_rows_of_images(sdfkit, tmp_path):
    path = write_trajectories(tmp_path / "a.zarr", picture=None)
    assert sdfkit("view", path, "-o", tmp_path / "x.png", "--size", 32).exit_code == 0
    picture = picture_of(tmp_path / "x.png")
    strip = picture[12 + 2 * 17 :][:32, 12 : 12 + 6 * 34 - 2, 0]
    white = [(strip[:, 34 * place : 34 * place + 32] > 128).mean() for place in range(6)]
    assert white[0] == 0
    assert np.all(np.diff(white[:5]) > 0)
    assert white[5] == white[4]


def test_a_failed_shape_keeps_its_place_among_trajectories(sdfkit, tmp_path):
    path = write_trajectories(tmp_path / "a.zarr", FAILED, noise="none")
    for name in ("x.html", "x.png"):
        result = sdfkit("view", path, "-o", tmp_path / name, "--size", 32)
        assert result.exit_code == 4
        assert result.stderr.splitlines()[0] == f"sdfkit: {path}: obj_0001: no surface at all"
    stepper = content_of(tmp_path / "x.html")["stepper"]
    assert stepper["runs"][0]["name"] == str(path)
    assert stepper["runs"][0]["shapes"][1] == {"error": "no surface at all"}
    assert len(stepper["runs"][0]["shapes"][2]["path"]) == STEPS + 1


def with_nan():
    trajectory = np.zeros((3, STEPS + 1, 6), np.float32)
    trajectory[1, 2, 0] = np.nan
    return {"trajectory": (("shape", "step", "dim"), trajectory)}


def of(count):
    return (("shape", "step", "row", "column"), np.zeros((3, count, SIZE, SIZE), np.uint8))


TRUTH = (("shape", "row", "column"), np.zeros((3, 8, 8), np.uint8))


FLAT = (("shape", "step", "row", "column"), np.zeros((3, STEPS + 1, SIZE, SIZE), np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            with_nan(),
            f"{EVIL}, step 2: the vector holds numbers that are not finite; drop it or make it again",
        ),
        (
            {"silhouette": of(3)},
            "the array silhouette has 3 steps, but trajectory has 5; make the store again",
        ),
        ({"truth": TRUTH}, "the array truth has 8 rows, but silhouette has 16; make the store again"),
        (
            {"silhouette": FLAT},
            "the array silhouette has the axes ('shape', 'step', 'row', 'column') and the type float32; ",
        ),
        ({"rows": [Row(n, f"{n}", error="no surface") for n in range(3)]}, "all its shapes failed"),
    ],
)
def test_inconsistent_trajectories_are_refused(sdfkit, tmp_path, changes, message):
    path = write_trajectories(tmp_path / "a.zarr", **changes)
    result = sdfkit("view", path, "-o", tmp_path / "x.html")
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert result.stderr.startswith(f"sdfkit: {path}: {message}")
    assert not list(tmp_path.glob("*x.html*"))
