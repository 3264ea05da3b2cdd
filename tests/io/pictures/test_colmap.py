"""COLMAP's text files: known cameras, and what is refused."""

import math

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from sdfkit.errors import InputError
from sdfkit.images.rendering.cameras import look_at
from sdfkit.io.pictures.colmap import read_colmap

CAMERAS = "# comment\n1 PINHOLE 8 6 10 20 4 3\n2 SIMPLE_PINHOLE 8 8 10 4 4\n"
IMAGE = "1 1 0 0 0 0 0 4 1 a.png\n\n"


def write(folder, cameras=CAMERAS, images=IMAGE, files=("a.png",)):
    (folder / "images").mkdir()
    for file in files:
        Image.new("RGB", (8, 6)).save(folder / "images" / file)
    model = folder / "sparse/0"
    model.mkdir(parents=True)
    if cameras:
        (model / "cameras.txt").write_text(cameras)
    (model / "images.txt").write_text(f"# comment\n{images}")
    return folder


def test_known_cameras(tmp_path):
    """Cameras on a circle, in a world that is turned: up to a turn about the vertical they are the known ones."""
    circle = [np.array([math.sin(angle), 0.5, math.cos(angle)]) for angle in np.arange(8) * math.pi / 4]
    known = np.stack([look_at(2.5 * eye, np.zeros(3), np.array([0.0, 1, 0])) for eye in circle])
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("xyz", [2.0, 0.4, -1.0]).as_matrix()
    lines = []
    for number, camera in enumerate(turned @ known):
        to_camera = np.linalg.inv(camera @ np.diag([1.0, -1, -1, 1]))
        x, y, z, w = Rotation.from_matrix(to_camera[:3, :3]).as_quat()
        numbers = " ".join(map(str, [w, x, y, z, *to_camera[:3, 3]]))
        lines.append(f"{number} {numbers} {1 + number % 2} a b.png\n1 2 3\n")
    scene = read_colmap(write(tmp_path, images="".join(lines), files=["a b.png"]))
    found = np.stack([frame.camera_to_world for frame in scene.frames])
    assert np.allclose(found[:, 1, 3], known[:, 1, 3], atol=1e-6)
    assert np.allclose(found[:, :3, 3] @ found[:, :3, 3].T, known[:, :3, 3] @ known[:, :3, 3].T, atol=1e-6)
    assert np.allclose(scene.to_file @ found, turned @ known, atol=1e-6)
    assert scene.frames[0].lens == (10, 20, 4, 3, 8, 6)
    assert scene.frames[1].lens == (10, 10, 4, 4, 8, 8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cameras": "1 SIMPLE_RADIAL 8 6 10 4 3 0.1\n"}, "a camera of the kind SIMPLE_RADIAL, but only pinhole"),
        ({"cameras": "1 PINHOLE 8 6 10\n"}, "the camera 1 is incomplete"),
        ({"cameras": "1\n"}, "a camera of the kind , but"),
        ({"cameras": "1 PINHOLE 8 6 0 20 4 3\n"}, "has no possible focal length"),
        ({"cameras": ""}, "has no text model of COLMAP, which is cameras.txt and images.txt"),
        ({"images": "1 1 0 0\n\n"}, "the line '1 1 0 0' is not that of a picture"),
        ({"images": "1 1 0 0 0 0 0 4 9 a.png\n\n"}, "is not that of a picture"),
        ({"images": "1 1 0 0 x 0 0 4 1 a.png\n\n"}, "its camera is not seven numbers"),
        ({"images": "1 0 0 0 0 0 0 nan 1 a.png\n\n"}, "is not a rotation and a translation"),
        ({"images": "1 1 0 0 0 0 0 4 1 none.png\n\n"}, "there is no picture none.png"),
        ({"images": ""}, "has no pictures"),
    ],
)  # fmt: skip
def test_what_would_be_read_wrong_is_refused(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        read_colmap(write(tmp_path, **changed))
