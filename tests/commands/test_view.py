"""`sdfkit view`: contact sheets and pages of meshes and of every kind of store."""

import io
import subprocess
import sys

import numpy as np
import pytest
import trimesh
from PIL import Image

from sdfkit.io.meshes.writer import create_meshes
from sdfkit.rows import Row
from tests.commands.view_files import (
    EVIL,
    FAILED,
    ROWS,
    content_of,
    frames_of,
    picture_of,
    write_store,
    write_trajectories,
)


@pytest.fixture
def folder(tmp_path):
    """Three meshes, the last of which is not closed."""
    closed = trimesh.creation.icosphere(subdivisions=2)
    opened = trimesh.creation.box()
    opened.update_faces(np.arange(12) > 0)
    with create_meshes(
        f"{tmp_path}/meshes/", 3, settings={}, seed=None, kind="ply", overwrite=False
    ) as meshes:
        for row, mesh in zip(
            (ROWS[0], Row(1, "obj_0001", EVIL), ROWS[2]), (closed, closed, opened), strict=True
        ):
            meshes.write(row, mesh=mesh)
    return tmp_path / "meshes"


def test_a_folder_of_meshes_is_drawn_as_a_contact_sheet(sdfkit, folder, tmp_path):
    result = sdfkit("view", folder, "-o", tmp_path / "x.png", "--size", 64, "--columns", 2, "--jobs", 1)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.endswith(f"sdfkit: wrote an image of 3 shapes to {tmp_path / 'x.png'}\n")
    picture = picture_of(tmp_path / "x.png")
    assert picture.shape[0] == 12 + 17 + 2 * (64 + 2 * 17 + 12)
    dark = (picture < 200).all(axis=-1)
    # Three of the four tiles contain images and names.
    tiles = [dark[29 + 110 * row : 93 + 110 * row, 12 + 76 * column : 76 + 76 * column].mean()
             for row in (0, 1) for column in (0, 1)]  # fmt: skip
    assert min(tiles[:3]) > 0.2
    assert tiles[3] == 0
    assert dark[93:110, 12:76].any()


def test_a_page_shows_rotating_meshes_and_their_facts(sdfkit, folder, tmp_path):
    assert (
        sdfkit("view", folder, "-o", tmp_path / "x.html", "--views", 6, "--size", 48, "--jobs", 1).exit_code
        == 0
    )
    content = content_of(tmp_path / "x.html")
    assert content["heading"] == str(folder)
    assert content["notes"] == [
        "3 shapes",
        "In 3-D, all 651 faces are shown; positions are rounded to 1/32,767 of the extent.",
    ]
    tiles = content["gallery"]["tiles"]
    assert content["gallery"]["turns"] is True
    assert [(tile["uid"], tile["category"]) for tile in tiles] == [
        ("obj_0000", "chair"), ("obj_0001", EVIL), ("obj_0002", "lamp")]  # fmt: skip
    assert [tile["facts"] for tile in tiles] == ["320 faces, closed", "320 faces, closed", "11 faces, open"]
    frames = frames_of(tiles[0]["film"])
    assert frames.shape == (6, 48, 48, 4)
    # The background is transparent, and every image shows the shape.
    assert frames[:, 0, 0, 3].max() == 0
    assert frames[:, 24, 24, 3].min() == 255


def test_shapes_beyond_the_limit_are_left_out_with_a_note(sdfkit, folder, tmp_path):
    sdfkit("view", folder, "-o", tmp_path / "x.html", "--views", 1, "--limit", 2, "--jobs", 1)
    content = content_of(tmp_path / "x.html")
    assert content["notes"][0] == "2 of 3 shapes; raise --limit to show more"
    assert [tile["uid"] for tile in content["gallery"]["tiles"]] == ["obj_0000", "obj_0001"]


def test_a_missing_texture_is_reported(sdfkit, tmp_path):
    (tmp_path / "a.mtl").write_text("newmtl paint\nmap_Kd nowhere.png\n")
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\n"
    (tmp_path / "a.obj").write_text(f"mtllib a.mtl\n{corners}usemtl paint\nf 1/1 2/2 3/3\n")
    result = sdfkit("view", tmp_path / "a.obj", "-o", tmp_path / "x.html", "--views", 1, "--jobs", 1)
    assert result.exit_code == 0, result.stderr
    message = "a: these textures cannot be read, and plain colours are used instead: "
    assert message in result.stderr
    assert "nowhere.png" in result.stderr


def test_a_failed_mesh_has_an_empty_tile(sdfkit, folder, tmp_path):
    (folder / "aaa.off").write_text("OFF\n3 1 0\n0 0 nan\n1 0 0\n0 1 0\n3 0 1 2\n")
    for name in ("x.html", "x.png"):
        result = sdfkit("view", folder, "-o", tmp_path / name, "--views", 1, "--jobs", 1)
        assert result.exit_code == 4
        assert "sdfkit: aaa: 1 of 3 vertices is NaN or infinite" in result.stderr
        last = f"1 of 4 shapes failed, for the reasons above; the other 3 are in {tmp_path / name}\n"
        assert result.stderr.endswith(last)
    content = content_of(tmp_path / "x.html")
    assert content["notes"][0] == "4 shapes; 1 failed"
    tile = content["gallery"]["tiles"][0]
    assert tile["error"].startswith("1 of 3 vertices")
    assert "film" not in tile
    red = picture_of(tmp_path / "x.png")[29:189, 12:172]
    assert ((red[..., 0] - red[..., 1]) > 80).any()


def test_nothing_is_written_if_all_shapes_fail(sdfkit, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.off").write_text("OFF\n3 1 0\n0 0 nan\n1 0 0\n0 1 0\n3 0 1 2\n")
    result = sdfkit("view", tmp_path / "a.off", tmp_path / "b.off", "-o", tmp_path / "x.png", "--jobs", 1)
    assert result.exit_code == 4
    assert result.stderr.endswith("2 of 2 shapes failed, for the reasons above; no shape was written\n")
    alone = sdfkit("view", tmp_path / "a.off", "-o", tmp_path / "x.png")
    assert (alone.exit_code, alone.stderr.count("\n")) == (4, 1)
    assert not list(tmp_path.glob("*x.png*"))


def test_views_are_shown_as_they_are(sdfkit, tmp_path):
    rgb = np.zeros((3, 9, 24, 24, 3), np.uint8)
    rgb[:, :, 8:16, 8:16, 0] = 25 * np.arange(1, 10)[:, None, None]
    path = write_store(
        tmp_path / "views.zarr",
        "views",
        FAILED,
        {"rgb": (("shape", "view", "row", "column", "channel"), rgb)},
    )
    result = sdfkit("view", path, "-o", tmp_path / "x.html", "--views", 3)
    assert result.exit_code == 4
    assert "sdfkit: obj_0001: no surface at all\n" in result.stderr
    tiles = content_of(tmp_path / "x.html")["gallery"]["tiles"]
    assert [tile["error"] for tile in tiles] == ["", "no surface at all", ""]
    assert tiles[0]["facts"] == "9 views"
    reds = frames_of(tiles[0]["film"])[:, 12, 12, 0].astype(int)
    # The first view, and two at the largest spacing.
    assert np.abs(reds - [25, 100, 175]).max() < 12
    assert sdfkit("view", path, "-o", tmp_path / "x.png", "--size", 32).exit_code == 4
    assert picture_of(tmp_path / "x.png")[29 + 16, 12 + 16].tolist() == pytest.approx([25, 0, 0], abs=2)


def test_samples_are_drawn_in_slices_coloured_by_sign(sdfkit, tmp_path):
    point = np.random.default_rng(0).uniform(-1, 1, (3, 20_000, 3)).astype(np.float32)
    distance = np.linalg.norm(point, axis=-1) - np.float32(0.5)
    arrays = {"point": (("shape", "sample", "xyz"), point), "distance": (("shape", "sample"), distance)}
    path = write_store(tmp_path / "samples.zarr", "samples", ROWS, arrays)
    assert sdfkit("view", path, "-o", tmp_path / "x.html", "--views", 1).exit_code == 0
    tile = content_of(tmp_path / "x.html")["gallery"]["tiles"][1]
    assert (tile["uid"], tile["facts"]) == (EVIL, "20,000 samples")
    assert tile["model"]["shown"] == 20_000
    (picture,) = frames_of(tile["film"]).astype(int)
    assert picture[32, 32, 2] > picture[32, 32, 0]
    assert picture[4, 32, 0] > picture[4, 32, 2]


VECTORS = np.array([[3, 0, 0], [-3, 1, 0], [0, -1, 0]], np.float32)


@pytest.mark.parametrize(("kind", "name"), [("codes", "code"), ("weights", "weights")])
def test_vectors_are_drawn_as_a_map(sdfkit, tmp_path, kind, name):
    axes = ("shape", "dim") if kind == "codes" else ("shape", "parameter")
    path = write_store(tmp_path / "x.zarr", kind, ROWS, {name: (axes, VECTORS)})
    assert sdfkit("view", path, "-o", tmp_path / "x.html").exit_code == 0
    (plot,) = content_of(tmp_path / "x.html")["plots"]
    assert plot["title"] == f"3 {kind} of 3 numbers each"
    assert [(dot["name"], dot["group"]) for dot in plot["points"]] == [
        ("obj_0000", "chair"), (EVIL, "</script>$x_$"), ("obj_0002", "lamp")]  # fmt: skip
    place = np.array([[dot["x"], dot["y"]] for dot in plot["points"]])
    apart = np.linalg.norm(VECTORS[:, None] - VECTORS, axis=-1)
    assert np.allclose(np.linalg.norm(place[:, None] - place, axis=-1), apart, atol=1e-4)


def test_a_map_states_how_many_shapes_are_missing(sdfkit, tmp_path):
    path = write_store(tmp_path / "x.zarr", "codes", FAILED, {"code": (("shape", "dim"), VECTORS)})
    result = sdfkit("view", path, "-o", tmp_path / "x.html")
    assert (result.exit_code, result.stderr.splitlines()) == (0, [
        f"sdfkit: {path}: left out 1 of 3 shapes: failed in an earlier step",
        f"sdfkit: wrote a page of 2 shapes to {tmp_path / 'x.html'}",
    ])  # fmt: skip
    (plot,) = content_of(tmp_path / "x.html")["plots"]
    assert [dot["name"] for dot in plot["points"]] == ["obj_0000", "obj_0002"]


def test_a_plain_array_is_drawn_as_a_map(sdfkit, tmp_path):
    np.save(tmp_path / "x.npy", VECTORS)
    assert sdfkit("view", tmp_path / "x.npy", "-o", tmp_path / "x.html").exit_code == 0
    (plot,) = content_of(tmp_path / "x.html")["plots"]
    assert [dot["name"] for dot in plot["points"]] == ["row_0", "row_1", "row_2"]


def test_a_model_shows_its_loss_and_its_codes(sdfkit, tmp_path):
    arrays = {"loss": (("step",), np.full(9, 0.1, np.float32)), "code": (("shape", "dim"), VECTORS)}
    path = write_store(tmp_path / "x.zarr", "deepsdf", ROWS, arrays)
    assert sdfkit("view", path, "-o", tmp_path / "x.png").exit_code == 0
    height, width, _ = picture_of(tmp_path / "x.png").shape
    assert width == 2400 and height >= 750


@pytest.mark.parametrize("complete", [True, False])
def test_an_incomplete_or_diverged_training_can_be_viewed(sdfkit, tmp_path, complete):
    losses = np.array([1, 0.1, np.nan, 0.01], np.float32)
    arrays = {"loss": (("step",), losses), "code": (("shape", "dim"), VECTORS)}
    path = write_store(tmp_path / "x.zarr", "deepsdf", FAILED, arrays, attributes={"complete": complete})
    assert sdfkit("view", path, "-o", tmp_path / "x.html").exit_code == 0
    content = content_of(tmp_path / "x.html")
    assert content["notes"] == ["deepsdf" if complete else "deepsdf, not complete"]
    curve, cloud = content["plots"]
    assert curve["lines"] == [{"name": "loss", "x": [1, 2, 3, 4], "y": [1, 0.1, None, 0.01]}]
    assert len(cloud["points"]) == 2


def test_inputs_that_cannot_be_shown_side_by_side_are_refused(sdfkit, folder, tmp_path):
    one = write_trajectories(tmp_path / "a.zarr")
    other = write_trajectories(tmp_path / "b.zarr", ROWS[:2])
    codes = write_store(tmp_path / "c.zarr", "codes", ROWS, {"code": (("shape", "dim"), VECTORS)})
    for path, message in (
        (
            other,
            f"has other shapes than {one} (2 and 3 rows; row 0 is obj_0000); predict both from the same inputs",
        ),
        (
            codes,
            "holds codes without trajectories; give this store alone, or only stores with trajectories",
        ),
        (
            folder,
            "is not a store; give only meshes, only stores of trajectories, or a store with --truth MESHES",
        ),
    ):
        result = sdfkit("view", one, path, "-o", tmp_path / "x.html")
        assert (result.exit_code, result.stderr) == (3, f"sdfkit: {path}: {message}\n")
    assert not list(tmp_path.glob("*x.html*"))


def test_bad_input_is_reported_in_one_line(sdfkit, tmp_path):
    (tmp_path / "empty.ply").touch()
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "folder").mkdir()
    broken = np.where(VECTORS > 2, np.nan, VECTORS)
    write_store(tmp_path / "nan.zarr", "codes", ROWS, {"code": (("shape", "dim"), broken)})
    write_store(tmp_path / "ranks.zarr", "ranks", ROWS, {})
    write_store(
        tmp_path / "half.zarr",
        "codes",
        ROWS,
        {"code": (("shape", "dim"), VECTORS)},
        attributes={"complete": False},
    )
    for name, message in (
        ("empty.ply", "is empty"),
        ("notes.txt", "holds data in an unknown format; give a Zarr store, a mesh or a .npy"),
        ("folder", "is a folder without meshes"),
        ("nan.zarr", "obj_0000: the vector holds numbers that are not finite; drop it or make it again"),
        ("ranks.zarr", "holds ranks, which cannot be drawn; list its content with sdfkit info"),
        ("half.zarr", "is not complete; run the command that began it again to finish it"),
    ):
        result = sdfkit("view", tmp_path / name, "-o", tmp_path / "x.png")
        assert (result.exit_code, result.stderr.count("\n")) == (3, 1), name
        assert f"{tmp_path / name}: {message}" in result.stderr
    assert not list(tmp_path.glob("*x.png*"))


def test_the_file_extension_determines_the_output_format(sdfkit, sphere, tmp_path):
    for words, message in (
        (
            ["-o", "x.txt"],
            "x.txt: the file name ends in neither .png nor .html; rename the output or add --format",
        ),
        (["-o", "x.png", "--format", "html"], "x.png: the ending of the file name contradicts --format html"),
    ):
        result = sdfkit("view", sphere, *words)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"sdfkit: {message}")
    assert sdfkit("view", sphere, "-o", tmp_path / "x", "--format", "png").exit_code == 0
    assert picture_of(tmp_path / "x").ndim == 3
    assert sdfkit("view", sphere, "-o", tmp_path / "x", "--format", "png").exit_code == 0
    again = sdfkit("view", sphere, "-o", tmp_path / "x", "--format", "png", "--size", 32)
    assert (again.exit_code, "exists; choose another name or add --overwrite" in again.stderr) == (3, True)


@pytest.mark.slow
def test_piped_meshes_are_drawn_to_standard_output_without_importing_torch(sphere):
    program = "import sys; sys.modules['torch'] = None; from sdfkit.cli import main; main()"
    content = sphere.read_bytes()
    command = [sys.executable, "-c", program, "view", "--jobs", "1", "--limit", "1"]
    result = subprocess.run(command, input=content * 2, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert Image.open(io.BytesIO(result.stdout)).format == "PNG"
    cut = subprocess.run(command, input=content * 2 + content[:-9], capture_output=True, check=False)
    assert (cut.returncode, cut.stdout) == (3, b"")


@pytest.mark.slow
def test_a_piped_store_gives_the_same_page_as_a_file(sdfkit, tmp_path):
    path = write_trajectories(tmp_path / "a.zarr.zip", FAILED)
    sdfkit("view", path, "-o", tmp_path / "x.html")
    command = [sys.executable, "-m", "sdfkit", "view", "--format", "html"]
    result = subprocess.run(command, input=path.read_bytes(), capture_output=True, check=False)
    assert result.returncode == 4
    page = (tmp_path / "x.html").read_bytes()
    assert result.stdout == page.replace(str(path).encode(), b"standard input")
