"""transforms.json: cameras survive it, and those of other programs are read as their conventions say."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.transform import Rotation

from sdfkit.errors import InputError
from sdfkit.io.pictures.transforms import describe_transforms, read_transforms

# A camera at a distance of 4 in front of the object, level, in a world whose +Z is up; and the same with +Y up.
Z_UP = [[1, 0, 0, 0], [0, 0, -1, -4], [0, 1, 0, 0.5], [0, 0, 0, 1]]
Y_UP = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0.5], [0, 0, 1, 4], [0, 0, 0, 1]])


def picture(path, size=(8, 6), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)


def write(folder, content, name="transforms.json", files=("images/a.png",), **options):
    for file in files:
        picture(folder / file, **options)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder / name


angles = st.floats(-math.pi, math.pi)


@given(
    turns=st.lists(st.tuples(angles, angles, angles), min_size=1, max_size=4),
    places=st.lists(st.floats(-50, 50, width=32), min_size=12, max_size=12),
    yfov=st.floats(0.0625, 2.25, width=32),
    spread=st.sampled_from([0, 0.1]),
)
def test_cameras_survive(tmp_path_factory, turns, places, yfov, spread):
    count = len(turns)
    cameras = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
    cameras[:, :3, :3] = Rotation.from_euler("xyz", turns).as_matrix()
    cameras[:, :3, 3] = np.reshape(places, (4, 3))[:count]
    fields = (yfov + spread * np.arange(count)).astype(np.float32)
    folder = tmp_path_factory.mktemp("pictures")
    files = [f"{view}.png" for view in range(count)]
    for file in files:
        (folder / file).touch()
    text = describe_transforms(files, [], cameras, fields, 64, {"uid": "a"})
    (folder / "transforms.json").write_text(text, encoding="utf-8")
    scene = read_transforms(folder / "transforms.json")
    assert np.array_equal([frame.camera_to_world for frame in scene.frames], cameras)
    assert np.allclose([frame.lens.yfov for frame in scene.frames], fields, rtol=0, atol=1e-6)
    assert {frame.lens.side for frame in scene.frames} == {64}
    assert scene.info == {"uid": "a"}


def test_blender(tmp_path):
    """The data sets of NeRF: no sizes, no suffixes, the field of view along a row."""
    content = {
        "camera_angle_x": 0.8,
        "frames": [{"file_path": "./train/r_0", "rotation": 0.1, "transform_matrix": Z_UP}],
    }
    path = write(tmp_path, content, "transforms_train.json", ["train/r_0.png"], size=(8, 8), mode="RGBA")
    (frame,) = read_transforms(path).frames
    assert frame.path == tmp_path / "train/r_0.png"
    assert np.allclose(frame.camera_to_world, Y_UP, atol=1e-6)
    assert np.isclose(frame.lens.yfov, 0.8, atol=1e-6)
    assert frame.lens.box == pytest.approx((0, 0, 8, 8))


def test_nerfstudio(tmp_path):
    """Not square, the centre beside the middle, masks and depth. The square image around the centre shows all of it."""
    content = {
        "camera_model": "OPENCV", "fl_x": 10.0, "fl_y": 20.0, "cx": 3.0, "cy": 2.5, "w": 8, "h": 6, "k1": 0.0, "p2": 0,
        "applied_transform": [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]],
        "frames": [
            {
                "file_path": "images/a.png", "mask_path": "masks/m.png", "depth_file_path": "depths/a.png",
                "transform_matrix": Z_UP, "colmap_im_id": 1,
            },
            {"file_path": "images/b.png", "transform_matrix": Z_UP[:3], "fl_x": 11},
        ],
    }  # fmt: skip
    files = ["images/a.png", "images/b.png", "masks/m.png", "masks/b.png", "depths/a.png"]
    one, two = read_transforms(write(tmp_path, content, files=files)).frames
    assert np.allclose(one.camera_to_world, Y_UP) and np.allclose(two.camera_to_world, Y_UP)
    assert (one.mask, two.mask) == (tmp_path / "masks/m.png", tmp_path / "masks/b.png")
    assert (one.depth, two.depth) == (tmp_path / "depths/a.png", None)
    # The right edge is at (8 - 3) / 10 = 0.5 from the centre, farther than the bottom at 3.5 / 20.
    assert np.isclose(math.tan(one.lens.yfov / 2), 0.5)
    assert one.lens.box == pytest.approx((-2, -7.5, 8, 12.5))
    assert two.lens.fl_x == 11


def test_instant_ngp(tmp_path):
    """Focal lengths in all forms at once; those in pixels count."""
    content = {
        "camera_angle_x": 1.0, "camera_angle_y": 1.0, "fl_x": 5, "fl_y": 5, "k1": 0, "k2": 0, "p1": 0, "p2": 0,
        "is_fisheye": False, "cx": 4, "cy": 4, "w": 8.0, "h": 8.0, "aabb_scale": 4,
        "frames": [{"file_path": "images/a.png", "sharpness": 25.2, "transform_matrix": Z_UP}],
    }  # fmt: skip
    (frame,) = read_transforms(write(tmp_path, content)).frames
    assert np.isclose(frame.lens.yfov, 2 * math.atan(4 / 5))


GOOD = {"fl_x": 8, "w": 8, "h": 6, "frames": [{"file_path": "images/a.png", "transform_matrix": Z_UP}]}
MIRRORED = [[-1, 0, 0, 0], *Z_UP[1:]]
BAD = [
    ({"k1": 0.05, "p1": -0.1}, {}, r"the pictures are distorted \(k1 0.05, p1 -0.1\); undistort them first"),
    ({}, {"k3": 1e-3}, "distorted"),
    ({"camera_model": "OPENCV_FISHEYE"}, {}, "has cameras of the kind OPENCV_FISHEYE, but only pinhole"),
    ({"is_fisheye": True}, {}, "has cameras of the kind is_fisheye"),
    ({"fl_x": 0}, {}, "has neither fl_x nor camera_angle_x"),
    ({"fl_x": -5}, {}, "has no possible focal length"),
    ({"cx": 9}, {}, r"has no possible .* \(fl_x 8, fl_y 8, cx 9, cy 3, width 8, height 6\); correct"),
    ({"fl_y": 17}, {}, "has no possible focal length"),
    ({"fl_x": 1}, {}, "has no possible focal length"),  # a field of view of 152°
    ({"w": 0}, {}, "has no possible focal length, centre or size"),
    ({"frames": []}, {}, r"frames in its entries is a list of 0 items, but a list of pictures is needed"),
    ({}, {"transform_matrix": MIRRORED}, "images/a.png: its camera is not a rotation and a translation"),
    ({}, {"transform_matrix": [[1, 2], [3, 4]]}, "transform_matrix in its frames is a list of 2 items"),
    ({}, {"file_path": "images/none.png"}, "there is no picture images/none.png; copy it there"),
    ({}, {"file_path": "a" * 300}, "there is no picture aaa"),
    ({}, {"file_path": "../secret.png"}, "the picture ../secret.png lies outside the folder"),
    ({}, {"file_path": "/etc/passwd"}, "lies outside the folder"),
    ({}, {"mask_path": "masks/none.png"}, "there is no picture masks/none.png"),
    ({"sdfkit": {"uid": 3}}, {}, "uid in its entries under sdfkit is 3, but a text is needed"),
]


@pytest.mark.parametrize(("shared", "own", "message"), BAD)
def test_what_would_be_read_wrong_is_refused(tmp_path, shared, own, message):
    frames = [GOOD["frames"][0] | own]
    path = write(tmp_path, GOOD | {"frames": frames} | shared)
    with pytest.raises(InputError, match=message) as caught:
        read_transforms(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "transforms.json: is not JSON"),
        ('{"fl_x": NaN}', "is not JSON (it holds NaN"),
        ("[]", "its entries are a list of 0 items, but a JSON object"),
        ("{}", "has no list frames of pictures with cameras"),
        ('{"frames": [3]}', "its frames are 3, but a JSON object"),
        ('{"frames": [{"file_path": "a.png"}]}', "a frame has no transform_matrix"),
    ],
)
def test_damaged_files(tmp_path, text, message):
    path = tmp_path / "transforms.json"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        read_transforms(path)
