"""Folders of pictures with cameras as outputs and inputs: what goes out comes back, with labels, and resumes."""

import json
import math
import shutil

import numpy as np
import pytest
import trimesh
import zarr
from PIL import Image

from sdfkit.errors import InputError
from sdfkit.geometry.frame import normalise
from sdfkit.io.stores.reader import open_store
from sdfkit.rows import Row
from tests.commands.views_store import write_views

SMALL = ("--views", 5, "--size", 32, "--jobs", 1)


@pytest.fixture(scope="module")
def meshes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meshes")
    trimesh.creation.box([2, 1, 1]).export(folder / "box.ply")
    trimesh.creation.cone(1, 2).export(folder / "cone.ply")
    (folder / "empty.ply").write_bytes(trimesh.Trimesh().export(file_type="ply", vertex_normal=False))
    return folder


def arrays_of(path):
    group = zarr.open_group(path, mode="r")
    return {name: array[...] for name, array in group.arrays() if name != "input"}


def test_what_goes_out_comes_back(sdfkit, tmp_path, meshes):
    """The pictures hold the same bits as the store that they are copied from; depth is rounded to 0.001."""
    store, pictures = tmp_path / "views.zarr", tmp_path / "pictures"
    inputs = (meshes / "box.ply", meshes / "cone.ply")
    assert sdfkit("render", *inputs, *SMALL, "--depth", "-o", store).exit_code == 0
    assert sdfkit("cat", store, "-o", pictures).exit_code == 0
    assert sdfkit("cat", pictures, "-o", tmp_path / "back.zarr").exit_code == 0
    there, back = arrays_of(store), arrays_of(tmp_path / "back.zarr")
    assert there.keys() == back.keys()
    assert np.abs(there.pop("depth") - back.pop("depth")).max() <= 0.000501
    assert np.abs(there.pop("yfov") - back.pop("yfov")).max() <= 1e-6
    for name, array in there.items():
        assert np.array_equal(array, back[name]), name
    settings = [zarr.open_group(path).attrs["settings"] for path in (store, tmp_path / "back.zarr")]
    assert settings[0]["look"] == settings[1]["look"]


def test_a_folder_for_each_shape(sdfkit, tmp_path, meshes):
    """What other programs look for, and nothing of a shape that failed."""
    output = tmp_path / "pictures"
    result = sdfkit("render", meshes, *SMALL, "--depth", "-o", output)
    assert result.exit_code == 4
    assert "1 of 3 shapes failed, for the reasons above; the other 2 are in" in result.stderr
    assert sorted(path.name for path in output.iterdir()) == ["box", "cone"]
    content = json.loads((output / "box/transforms.json").read_text())
    assert (content["w"], content["h"], content["cx"], content["cy"]) == (32, 32, 16, 16)
    assert content["fl_x"] == content["fl_y"] == pytest.approx(16 / math.tan(math.radians(30)))
    assert content["camera_angle_x"] == pytest.approx(math.radians(60))
    assert content["sdfkit"]["uid"] == "box" and content["sdfkit"]["history"]
    assert [frame["file_path"] for frame in content["frames"]] == [
        f"images/{view:03}.png" for view in range(5)
    ]
    for frame in content["frames"]:
        matrix = np.array(frame["transform_matrix"])
        # The camera looks along -Z, from distance 2.5 at the origin.
        assert np.allclose(matrix[:3, 3] - 2.5 * matrix[:3, 2], 0, atol=1e-5)
        with Image.open(output / "box" / frame["file_path"]) as picture:
            assert (picture.mode, picture.size) == ("RGBA", (32, 32))
            assert picture.getchannel("A").getextrema() == (0, 255)
        with Image.open(output / "box" / frame["depth_file_path"]) as depth:
            nearest = np.array(depth)[np.array(depth) > 0].min() / 1000
            assert 1.5 <= nearest <= 2.5
    heights = [frame["transform_matrix"][2][3] for frame in content["frames"]]
    assert heights == sorted(heights, reverse=True)  # as the views of a Fibonacci sphere go down


def test_an_interrupted_run_is_continued(sdfkit, tmp_path, meshes):
    output = tmp_path / "pictures"
    line = ("render", meshes / "box.ply", meshes / "cone.ply", *SMALL, "-o", f"{output}/")
    assert sdfkit(*line).exit_code == 0
    kept = (output / "box/transforms.json").stat().st_mtime_ns
    shutil.rmtree(output / "cone")
    (output / ".cone.part/images").mkdir(parents=True)  # what a killed run leaves
    (output / "box").rename(output / ".box.old")
    assert sdfkit(*line).exit_code == 0
    assert sorted(path.name for path in output.iterdir()) == ["box", "cone"]
    assert (output / "box/transforms.json").stat().st_mtime_ns == kept
    assert "is complete, and nothing was to be done" in sdfkit(*line).stderr
    other = sdfkit(*line, "--yfov", 50)
    assert other.exit_code == 3
    assert "box: was made with other settings (yfov: 60.0 then, 50.0 now); add --overwrite" in other.stderr
    assert sdfkit(*line, "--yfov", 50, "--overwrite").exit_code == 0
    assert (output / "box/transforms.json").stat().st_mtime_ns > kept


def test_what_sdfkit_has_not_made_is_not_replaced(sdfkit, tmp_path, meshes):
    (tmp_path / "pictures/box").mkdir(parents=True)
    (tmp_path / "pictures/box/mine.txt").touch()
    line = ("render", meshes / "box.ply", *SMALL, "-o", tmp_path / "pictures", "--overwrite")
    result = sdfkit(*line)
    assert result.exit_code == 3
    assert "box: was not made by sdfkit, so it is not replaced; choose another name" in result.stderr
    assert (tmp_path / "pictures/box/mine.txt").exists()
    normals = sdfkit("render", meshes / "box.ply", *SMALL, "--normal", "-o", tmp_path / "others")
    assert normals.exit_code == 3
    assert "others: a folder of pictures has no place for the array normal; write a store" in normals.stderr


def foreign(folder, views, *, mask="alpha", number=5, scale=2.0):
    """Write the views of a store as another program would: without sdfkit's entry, in a larger world, with masks."""
    group = zarr.open_group(views, mode="r")
    (folder / "images").mkdir(parents=True)
    if mask == "file":
        (folder / "masks").mkdir()
    frames = []
    for view in range(number):
        cover, rgb = group["mask"][0, view], group["rgb"][0, view]
        picture = Image.fromarray(rgb)
        if mask == "alpha":
            picture.putalpha(Image.fromarray(cover))
        elif mask == "file":
            picture = Image.fromarray(np.where(cover[..., None] > 0, rgb, 90))  # before a grey background
            Image.fromarray(cover).save(folder / f"masks/{view}.png")
        picture.save(folder / f"images/{view}.png")
        x, y, z, last = group["camera_to_world"][0, view].astype(float)
        matrix = np.stack([x, -z, y, last])
        matrix[:3, 3] *= scale
        frames.append({"file_path": f"images/{view}", "transform_matrix": matrix.tolist()})
    content = {"camera_angle_x": math.radians(60), "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(content))


@pytest.fixture
def box_views(tmp_path):
    unit, _ = normalise(trimesh.creation.box([2, 1, 1.5]))
    return write_views(tmp_path / "box.zarr", [(Row(0, "box"), unit)], views=12, size=64)


@pytest.mark.parametrize("mask", ["alpha", "file", "none"])
def test_pictures_of_other_programs(sdfkit, tmp_path, box_views, mask):
    """They are moved to the unit frame if there are masks; the matrix that undoes it is stored."""
    foreign(tmp_path / "scene", box_views, mask=mask, number=12)
    assert sdfkit("cat", tmp_path / "scene", "-o", tmp_path / "read.zarr").exit_code == 0
    known, found = arrays_of(box_views), arrays_of(tmp_path / "read.zarr")
    assert found["uid"].tolist() == ["scene"]
    places = found["camera_to_world"][0, :, :3, 3]
    if mask == "none":
        assert "mask" not in found and "to_original" not in found
        assert np.allclose(places, 2 * known["camera_to_world"][0, :, :3, 3], atol=1e-5)
        return
    assert np.abs(places - known["camera_to_world"][0, :, :3, 3]).max() < 0.1
    assert np.array_equal(found["mask"], known["mask"])
    assert (found["rgb"][found["mask"] == 0] == 0).all()
    assert sdfkit("cat", tmp_path / "read.zarr", "-o", tmp_path / "again").exit_code == 0
    assert sdfkit("cat", tmp_path / "again", "-o", tmp_path / "again.zarr").exit_code == 0
    assert np.array_equal(arrays_of(tmp_path / "again.zarr")["to_original"], found["to_original"])
    assert found["to_original"][0, :3, :3] == pytest.approx(
        2 * np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]), abs=0.1
    )


def test_shapes_with_different_numbers_of_pictures(sdfkit, tmp_path, box_views):
    """A store repeats those of some, with a warning; folders without cameras and broken ones are named."""
    folder = tmp_path / "scenes"
    foreign(folder / "few", box_views, number=3, scale=1)
    foreign(folder / "many", box_views, number=5, scale=1)
    foreign(folder / "torn", box_views, number=2, scale=1)
    (folder / "torn/images/1.png").unlink()
    (folder / "photos").mkdir()
    result = sdfkit("cat", folder, "-o", tmp_path / "views.zarr")
    assert result.exit_code == 0
    assert "shapes have 3 to 5 pictures; those with fewer than 5 repeat theirs (few)" in result.stderr
    assert "1 folder without cameras (transforms.json) are skipped" in result.stderr
    found = arrays_of(tmp_path / "views.zarr")
    assert found["uid"].tolist() == ["few", "many", "torn"]
    assert found["valid"].tolist() == [True, True, False]
    assert "there is no picture images/1; copy it there" in found["error"][2]
    assert np.array_equal(found["rgb"][0], found["rgb"][0][[0, 1, 2, 0, 1]])
    assert np.array_equal(found["rgb"][0, :3], found["rgb"][1, :3])


def test_info_and_view_say_what_it_is(sdfkit, tmp_path, box_views):
    foreign(tmp_path / "scene", box_views)
    described = sdfkit("info", tmp_path / "scene").stdout
    assert "scene: views, complete, 1 shape" in described
    assert "rgb              shape view row column channel  1×5×64×64×3" in described
    assert sdfkit("view", tmp_path / "scene", "-o", tmp_path / "scene.png").exit_code == 0
    assert sdfkit("info", tmp_path / "scene", "--json").exit_code == 0


def test_view_names_the_command_for_pictures(sdfkit, tmp_path, box_views):
    result = sdfkit("view", box_views, "-o", f"{tmp_path}/pictures/")
    assert result.exit_code == 2
    assert "one image or page is a file; write views as pictures with sdfkit cat" in result.stderr


def test_an_unreadable_picture_is_the_error_of_its_shape(sdfkit, tmp_path, box_views):
    for name in ("a", "b"):
        foreign(tmp_path / "scenes" / name, box_views, scale=1)
    (tmp_path / "scenes/b/images/2.png").write_bytes(b"nothing")
    result = sdfkit("cat", tmp_path / "scenes", "-o", tmp_path / "views.zarr")
    assert result.exit_code == 0
    assert "1 of them failed in an earlier step" in result.stderr
    found = arrays_of(tmp_path / "views.zarr")
    assert found["valid"].tolist() == [True, False]
    assert "2.png: cannot be read as a picture; convert it to PNG or JPEG" in found["error"][1]
    alone = sdfkit("cat", tmp_path / "scenes/b", "-o", tmp_path / "b.zarr")
    assert alone.exit_code == 3 and "2.png: cannot be read as a picture" in alone.stderr


def test_a_kind_that_pictures_are_not(tmp_path, box_views):
    foreign(tmp_path / "scene", box_views)
    with (
        pytest.raises(InputError, match="scene: holds views, but a store of kind samples is needed"),
        open_store(str(tmp_path / "scene"), "samples", manifest=None),
    ):
        pass
