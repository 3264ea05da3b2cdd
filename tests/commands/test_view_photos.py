"""`sdfkit view` with photos: sheets, pages, folders, standard input, and inputs that are no photos."""

import sys

import numpy as np
import pytest
import trimesh
from PIL import Image

from sdfkit.io.image_files import is_photo
from sdfkit.io.streams import open_input
from tests.commands.view_files import content_of, frames_of, picture_of
from tests.report.table_pages.test_photos import make_photo


@pytest.fixture
def photos(tmp_path):
    """A folder: a plain photo, a shape with a cut-out and a noisy photo, and a broken file."""
    folder = tmp_path / "photos"
    (folder / "several").mkdir(parents=True)
    for kind, name in (("grey", "plain"), ("transparent", "several/cut"), ("noise", "several/noisy")):
        Image.fromarray(make_photo(kind)[0]).save(folder / f"{name}.png")
    (folder / "z.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def test_photos_are_shown_with_their_masks_and_inputs(sdfkit, photos, tmp_path):
    done = sdfkit("view", photos, "-o", tmp_path / "x.html", "--jobs", 1)
    assert done.exit_code == 4 and "1 of 3 shapes failed" in done.stderr
    content = content_of(tmp_path / "x.html")
    assert content["notes"][0].startswith("3 shapes; 1 failed; input: what every encoder is given")
    names = ["shape", "without --matte", "photo", "--matte alpha", "--matte plain", "--matte none"]
    assert [column["name"] for column in content["table"]["columns"]] == names
    rows = {row[0]: row[1:] for row in content["table"]["rows"]}
    assert list(rows) == ["plain", "several, cut.png", "several, noisy.png", "z"]
    outcomes = {name: row[0] for name, row in rows.items()}
    assert "(plain)" in outcomes["plain"] and "(alpha)" in outcomes["several, cut.png"]
    assert "takes the WHOLE PICTURE" in outcomes["several, noisy.png"]
    assert "is not an image" in rows["z"][1][0]["error"]
    _, photo, alpha, plain, none = rows["plain"]
    assert [cell["column"] for cell in plain] == ["mask", "input"]
    assert frames_of(photo[0]["film"]).shape[1:3] == (80, 120) and frames_of(none[1]["film"]).shape[1] == 160
    assert "transparent" in alpha[0]["error"] and "whole picture" in none[0]["error"]


def test_a_photo_becomes_a_sheet(sdfkit, photos, tmp_path):
    line = (
        "view",
        photos / "plain.png",
        "-o",
        tmp_path / "x.png",
        "--matte",
        "auto",
        "--size",
        64,
        "--jobs",
        1,
    )
    done = sdfkit(*line)
    assert done.exit_code == 0, done.stderr
    picture = picture_of(tmp_path / "x.png")
    assert picture.shape[1] >= 3 * 64
    assert np.abs(picture - (200, 30, 30)).sum(axis=-1).min() < 12  # the disc


def test_a_photo_on_standard_input_is_recognised_by_its_first_bytes(photos, monkeypatch):
    with (photos / "plain.png").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert is_photo("-")
        assert open_input("-").read() == (photos / "plain.png").read_bytes()


@pytest.mark.parametrize("options", [("--matte", "plain"), ("--model", "x"), ()])
def test_options_for_photos_are_refused_with_other_inputs(sdfkit, photos, tmp_path, options):
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY")
    inputs = [tmp_path / "x.npy", *([] if options else [photos / "plain.png"])]
    done = sdfkit("view", *inputs, "-o", tmp_path / "x.png", *options)
    assert done.exit_code == 2 and "photos, --matte and --model go with no other input" in done.stderr


def test_pictures_beside_meshes_are_their_textures(tmp_path):
    Image.fromarray(make_photo("grey")[0]).save(tmp_path / "wood.png")
    assert is_photo(str(tmp_path))
    (tmp_path / "chair.obj").write_text("v 0 0 0\n")
    assert not is_photo(str(tmp_path)) and not is_photo(str(tmp_path / "chair.obj"))
    (tmp_path / "raw.nef").write_bytes(b"II*\0" + bytes(64))
    assert is_photo(str(tmp_path / "raw.nef")) and not is_photo("s3://bucket/x.zarr")


@pytest.mark.parametrize(
    ("inputs", "option", "told"),
    [
        (("a.ply",), ("--decoder", "d.zarr"), "--decoder is for codes with trajectories"),
        (("a.npy",), ("--truth", "a.ply"), "--truth is for meshes and one store of views"),
        (("a.png",), ("--truth", "a.ply"), "--truth is for meshes and one store of views"),
        (("a.ply",), ("--matte", "plain"), "photos, --matte and --model go with no other input"),
        (("a.ply", "a.png"), (), "photos, --matte and --model go with no other input"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(sdfkit, tmp_path, inputs, option, told):
    trimesh.creation.box().export(tmp_path / "a.ply")
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.float32))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    option = [tmp_path / word if word == "a.ply" else word for word in option]
    result = sdfkit("view", *(tmp_path / name for name in inputs), *option, "-o", tmp_path / "page.html")
    assert result.exit_code == 2 and told in result.stderr, result.stderr
    assert not (tmp_path / "page.html").exists()
