"""Reads cameras from the text files of COLMAP: cameras.txt and images.txt."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from sdfkit.errors import InputError
from sdfkit.io.pictures.cameras import Frame, Lens, Scene, check_lens, check_pose
from sdfkit.io.pictures.places import CAMERAS, POSES, find_model
from sdfkit.io.pictures.transforms import find_mask, find_picture

# Where the pictures are in the folder of a shape.
PICTURES = ("images", "")
# Numbers of the models without distortion: where focal lengths and centre are among the parameters.
PARAMETERS = {"SIMPLE_PINHOLE": (0, 0, 1, 2), "PINHOLE": (0, 1, 2, 3)}
# From the axes of OpenCV, whose +Y points down and +Z forward, to those of OpenGL.
TO_OPENGL = np.diag([1.0, -1, -1, 1])


def read_colmap(folder: Path) -> Scene:
    """Read the cameras of the pictures of one shape.

    COLMAP does not know which direction is up. The mean of the upward directions of the cameras becomes +Y.

    Args:
        folder: The folder of the shape. Its pictures are in `images` or in the folder itself.

    Raises:
        InputError: A file is damaged, a picture is missing, or a camera is not a pinhole without distortion.
    """
    model = find_model(folder)
    lenses = dict(_read_lenses(model / CAMERAS))
    name = str(model / POSES)
    pictures = folder / next(place for place in PICTURES if (folder / place).is_dir())
    lines = list(_lines(model / POSES))
    while lines and not lines[-1]:
        lines.pop()
    poses, frames = [], []
    # After each line of a picture comes one with its points, which may be empty.
    for line in lines[::2]:
        words = line.split(maxsplit=9)
        if len(words) != 10 or words[8] not in lenses:
            raise InputError(
                f"{name}: the line {line[:40]!r} is not that of a picture; export the model again"
            )
        poses.append(_read_pose(words[1:8], f"{name}: {words[9]}"))
        path = find_picture(pictures, words[9], name)
        frames.append((path, lenses[words[8]], find_mask(folder, path)))
    if not frames:
        raise InputError(f"{name}: has no pictures; export the model again")
    upright = _turn_upright(np.stack(poses))
    return Scene(
        name,
        [
            Frame(path, upright @ pose, lens, mask, None)
            for (path, lens, mask), pose in zip(frames, poses, strict=True)
        ],
        upright.T,
    )


def _lines(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not a text file of COLMAP; export the model again") from error
    yield from (line.strip() for line in text.split("\n") if not line.startswith("#"))


def _read_lenses(path: Path) -> Iterator[tuple[str, Lens]]:
    for line in filter(None, _lines(path)):
        number, _, words = line.partition(" ")
        model, *rest = words.split() or [""]
        if model not in PARAMETERS:
            raise InputError(
                f"{path}: has a camera of the kind {model}, but only pinhole cameras are read; undistort the pictures "
                "first (colmap image_undistorter)"
            )
        try:
            width, height, *parameters = map(float, rest)
            fl_x, fl_y, cx, cy = (parameters[place] for place in PARAMETERS[model])
            lens = Lens(fl_x, fl_y, cx, cy, int(width), int(height))
        except (IndexError, OverflowError, ValueError) as error:
            raise InputError(f"{path}: the camera {number} is incomplete; export the model again") from error
        check_lens(lens, str(path))
        yield number, lens


def _read_pose(words: list[str], name: str) -> Float[np.ndarray, "4 4"]:
    """Return the camera-to-world matrix for the quaternion (w, x, y, z) and translation of world-to-camera."""
    try:
        numbers = np.array(words, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{name}: its camera is not seven numbers; export the model again") from error
    w, x, y, z = numbers[:4] / max(float(np.linalg.norm(numbers[:4])), 1e-12)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.T, -rotation.T @ numbers[4:]
    pose = pose @ TO_OPENGL
    check_pose(pose, name)
    return pose


def _turn_upright(poses: Float[np.ndarray, "view 4 4"]) -> Float[np.ndarray, "4 4"]:
    """Return the shortest rotation that turns the mean of the cameras' upward directions to +Y."""
    up = poses[:, :3, 1].mean(axis=0)
    length = np.linalg.norm(up)
    turn = np.eye(4)
    if length < 1e-6:
        return turn
    up, target = up / length, np.array([0.0, 1, 0])
    if up[1] < -1 + 1e-9:
        turn[:3, :3] = np.diag([1.0, -1, -1])
        return turn
    middle = up + target
    # The product of two reflections, in the planes across `up` and across the bisector.
    turn[:3, :3] = np.eye(3) - np.outer(middle, middle) / (1 + up[1]) + 2 * np.outer(target, up)
    return turn
