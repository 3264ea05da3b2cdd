"""Pictures of any shape and lens become square images whose pixels lie where the camera projects them."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdfkit.errors import InputError
from sdfkit.io.pictures.folders import read_picture_folder

POSE = [[1, 0, 0, 0], [0, 0, -1, -2.5], [0, 1, 0, 0], [0, 0, 0, 1]]


def write(folder, picture, depth=None, mask=None, **lens):
    frame = {"file_path": "a.png", "transform_matrix": POSE}
    picture.save(folder / "a.png")
    if depth is not None:
        depth.save(folder / "d.png")
        frame["depth_file_path"] = "d.png"
    if mask is not None:
        mask.save(folder / "m.png")
        frame["mask_path"] = "m.png"
    (folder / "transforms.json").write_text(json.dumps(lens | {"frames": [frame]}))
    return read_picture_folder(str(folder))


@given(
    width=st.integers(40, 90),
    height=st.integers(40, 90),
    focal=st.floats(60, 90),
    stretch=st.floats(0.8, 1.25),
    place=st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7)),
    centre=st.tuples(st.floats(0.4, 0.6), st.floats(0.4, 0.6)),
)
def test_a_point_stays_where_the_camera_projects_it(
    tmp_path_factory, width, height, focal, stretch, place, centre
):
    column, row = round(place[0] * width), round(place[1] * height)
    colors, depths = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint16)
    colors[row - 2 : row + 2, column - 2 : column + 2] = 255
    depths[row - 2 : row + 2, column - 2 : column + 2] = 2500
    lens = {"fl_x": focal, "fl_y": focal * stretch, "cx": centre[0] * width, "cy": centre[1] * height}
    folder = write(
        tmp_path_factory.mktemp("scene"),
        Image.fromarray(colors),
        Image.fromarray(depths),
        w=width,
        h=height,
        **lens,
    )
    arrays = folder.load(0)
    # The block is around this point at distance 1 in front of the camera.
    x, y = (column - lens["cx"]) / lens["fl_x"], -(row - lens["cy"]) / lens["fl_y"]
    side = arrays["rgb"].shape[1]
    scale = side / 2 / math.tan(arrays["yfov"][0] / 2)
    expected = (side / 2 - scale * y, side / 2 + scale * x)
    for image, tolerance in ((arrays["rgb"][0, ..., 0].astype(float), 0.1), (arrays["depth"][0], 1.0)):
        rows, columns = np.indices(image.shape) + 0.5
        found = [(image * places).sum() / image.sum() for places in (rows, columns)]
        assert np.abs(np.subtract(found, expected)).max() < tolerance
    assert arrays["depth"].max() == 2.5


@pytest.mark.parametrize("level", [1, 255])
def test_masks_of_other_programs(tmp_path, level):
    """One channel, 0 and 1 or 0 and 255, also at another resolution than the picture."""
    levels = np.zeros((16, 16), np.uint8)
    levels[4:12, 4:12] = level
    picture = Image.new("RGB", (32, 32), (90, 90, 90))
    folder = write(tmp_path, picture, mask=Image.fromarray(levels), camera_angle_x=1.0)
    assert "mask" in folder.arrays
    arrays = folder.load(0)
    assert (arrays["mask"][0, 10:22, 10:22] == 255).all() and not arrays["mask"][0, :7].any()
    assert (arrays["rgb"][0, 10:22, 10:22] == 90).all() and not arrays["rgb"][0, :7].any()


def test_what_is_no_mask_or_depth(tmp_path):
    picture = Image.new("RGB", (32, 32))
    with pytest.raises(
        InputError, match=r"m\.png: has another shape than its picture; give a mask of the same size"
    ):
        write(tmp_path, picture, mask=Image.new("L", (32, 20)), camera_angle_x=1.0).load(0)
    with pytest.raises(
        InputError, match=r"d\.png: is not a depth picture of one channel; remove depth_file_path"
    ):
        write(tmp_path, picture, depth=Image.new("RGB", (32, 32)), camera_angle_x=1.0).load(0)
