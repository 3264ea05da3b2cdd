"""Reads and writes transforms.json, the cameras of pictures in the convention of NeRF.

It is the format of nerfstudio, of instant-ngp and of the data sets that are rendered with Blender. A camera is a
camera-to-world matrix in the convention of OpenGL, as in sdfkit, but +Z is up in the world.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from sdfkit.errors import InputError
from sdfkit.io.fields import HISTORY, NUMBER, OBJECT, TEXT, Field, check_fields, parse_json
from sdfkit.io.pictures.cameras import Frame, Lens, Scene, check_lens, check_pose
from sdfkit.io.pictures.places import TRANSFORMS
from sdfkit.rows import LABELS

IMAGES, MASKS, DEPTHS = "images", "masks", "depths"
# Under this key, other readers ignore what sdfkit adds.
OWN = "sdfkit"
# Units of a depth picture in a unit of length: what nerfstudio takes them to be.
DEPTH_UNITS = 1000
# From the world of sdfkit, with +Y up, to that of transforms.json, with +Z up.
TO_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
REMEDY = "write the file again"
# Models of a camera that are pinholes if their distortion is 0.
PINHOLES = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE")
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
# Flags of instant-ngp for other kinds of cameras, and for another order of the axes.
OTHER_CAMERAS = ("is_fisheye", "from_na")
LENS_FIELDS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y")
MATRIX = Field(
    lambda value: (
        isinstance(value, list)
        and len(value) in (3, 4)
        and all(isinstance(row, list) and len(row) == 4 and all(map(NUMBER.fits, row)) for row in value)
    ),
    "a matrix of 4×4 numbers",
)
FRAMES = Field(lambda value: isinstance(value, list) and len(value) > 0, "a list of pictures")
SHARED_FIELDS = {
    **dict.fromkeys((*LENS_FIELDS, *DISTORTION), NUMBER), "camera_model": TEXT, "frames": FRAMES, OWN: OBJECT,
}  # fmt: skip
FRAME_FIELDS = {
    **dict.fromkeys((*LENS_FIELDS, *DISTORTION), NUMBER),
    **dict.fromkeys(("file_path", "mask_path", "depth_file_path", "camera_model"), TEXT),
    "transform_matrix": MATRIX,
}
OWN_FIELDS = {
    **dict.fromkeys(("uid", *LABELS, "origin", "input"), TEXT),
    "settings": OBJECT,
    "history": HISTORY,
    "to_original": Field(lambda value: MATRIX.fits(value) and len(value) == 4, MATRIX.needed),
}


def read_info(folder: Path) -> dict[str, Any]:
    """Return what sdfkit has stored in the transforms.json of a folder; empty if it has not written one there.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / TRANSFORMS
    if not path.is_file():
        return {}
    return dict(_read_own(_read_object(path), str(path)))


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}); {REMEDY}") from error
    return check_fields(content, SHARED_FIELDS, str(path), "entries", REMEDY)


def _read_own(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    return check_fields(content.get(OWN, {}), OWN_FIELDS, name, f"entries under {OWN}", REMEDY)


def read_transforms(path: Path) -> Scene:
    """Read the cameras of the pictures of one shape.

    Pictures without a `mask_path` get the file of the same name in a folder `masks`, if there is one.

    Args:
        path: The file, transforms.json or of another name. The paths in it start at its folder.

    Raises:
        InputError: The file is damaged, a picture is missing, or a camera is not a pinhole without distortion.
    """
    content, name = _read_object(path), str(path)
    if "frames" not in content:
        raise InputError(f"{name}: has no list frames of pictures with cameras; {REMEDY}")
    frames = [_read_frame(content, frame, path) for frame in content["frames"]]
    return Scene(name, frames, TO_Z_UP, _read_own(content, name))


def _read_frame(shared: Mapping[str, Any], frame: Any, path: Path) -> Frame:
    name = str(path)
    check_fields(frame, FRAME_FIELDS, name, "frames", REMEDY)
    lacking = next((key for key in ("file_path", "transform_matrix") if key not in frame), None)
    if lacking is not None:
        raise InputError(f"{name}: a frame has no {lacking}; {REMEDY}")
    picture = find_picture(path.parent, frame["file_path"], name)
    merged = {**{key: value for key, value in shared.items() if key not in ("frames", OWN)}, **frame}
    _refuse_other_cameras(merged, name)
    matrix = np.eye(4)
    matrix[: len(frame["transform_matrix"])] = frame["transform_matrix"]
    check_pose(matrix, f"{name}: {frame['file_path']}")
    lens = _read_lens(merged, picture, name)
    mask, depth = (
        find_picture(path.parent, frame[key], name) if key in frame else None
        for key in ("mask_path", "depth_file_path")
    )
    return Frame(picture, TO_Z_UP.T @ matrix, lens, mask or find_mask(path.parent, picture), depth)


def find_picture(folder: Path, text: str, name: str) -> Path:
    """Return the path of a picture that a file names, with or without its suffix.

    Args:
        folder: The folder at which relative paths start.
        text: The path in the file.
        name: Name of that file in messages.

    Raises:
        InputError: There is no such picture, or it lies outside the folder.
    """
    path = Path(os.path.normpath(folder / text.replace("\\", "/")))
    if not path.is_relative_to(os.path.normpath(folder)):
        raise InputError(f"{name}: the picture {text} lies outside the folder; move it into the folder")
    for found in (path, *(path.with_name(path.name + suffix) for suffix in (".png", ".jpg", ".jpeg"))):
        with suppress(OSError):  # of a name that is too long
            if found.is_file():
                return found
    raise InputError(f"{name}: there is no picture {text}; copy it there, or remove its frame")


def find_mask(folder: Path, picture: Path) -> Path | None:
    """Return the file of the folder `masks` with the name of a picture, or with .png after or for its suffix."""
    names = (picture.name, f"{picture.name}.png", f"{picture.stem}.png")
    return next((folder / MASKS / name for name in names if (folder / MASKS / name).is_file()), None)


def _refuse_other_cameras(camera: Mapping[str, Any], name: str) -> None:
    bent = [f"{key} {camera[key]:g}" for key in DISTORTION if camera.get(key)]
    if bent:
        raise InputError(
            f"{name}: the pictures are distorted ({', '.join(bent)}); undistort them first (colmap image_undistorter)"
        )
    model = str(camera.get("camera_model", "PINHOLE"))
    other = next((key for key in OTHER_CAMERAS if camera.get(key)), None)
    if model not in PINHOLES or other:
        raise InputError(
            f"{name}: has cameras of the kind {other or model}, but only pinhole cameras are read; convert the pictures"
        )


def _read_lens(camera: Mapping[str, Any], picture: Path, name: str) -> Lens:
    if "w" in camera and "h" in camera:
        width, height = int(camera["w"]), int(camera["h"])
    else:
        width, height = measure_picture(picture)
    focal_lengths = [
        camera.get(focal)
        or (size / 2 / math.tan(camera[angle] / 2) if 0 < camera.get(angle, 0) < 3 else None)
        for focal, angle, size in (("fl_x", "camera_angle_x", width), ("fl_y", "camera_angle_y", height))
    ]
    known = [float(focal) for focal in focal_lengths if focal is not None]
    if not known:
        raise InputError(
            f"{name}: has neither fl_x nor camera_angle_x, so the field of view is unknown; add one of them"
        )
    cx, cy = camera.get("cx", width / 2), camera.get("cy", height / 2)
    lens = Lens(known[0], known[-1], float(cx), float(cy), width, height)
    check_lens(lens, name)
    return lens


def measure_picture(path: Path) -> tuple[int, int]:
    """Return width and height of a picture in pixels, without decoding it.

    Raises:
        InputError: It is not a picture that can be read.
    """
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as a picture; convert it to PNG or JPEG") from error


def describe_transforms(
    files: Sequence[str],
    depths: Sequence[str],
    camera_to_world: Float[np.ndarray, "view 4 4"],
    yfov: Float[np.ndarray, " view"],
    size: int,
    info: Mapping[str, Any],
) -> str:
    """Return the text of a transforms.json for square pictures.

    Args:
        files: Paths of the pictures, relative to the folder of the file.
        depths: Paths of the depth pictures, likewise; empty without.
        camera_to_world: The cameras, with +Y up in the world.
        yfov: Field of view of each camera.
        size: Side of the pictures in pixels.
        info: What sdfkit stores beside the cameras.
    """
    frames: list[dict[str, Any]] = []
    shared: dict[str, Any] = {
        "camera_model": "OPENCV", **_describe_lens(yfov[0], size), "cx": size / 2, "cy": size / 2, "w": size, "h": size,
    }  # fmt: skip
    has_own = bool((yfov != yfov[0]).any())
    if has_own:
        for key in _describe_lens(yfov[0], size):
            del shared[key]
    for view, (file, matrix) in enumerate(
        zip(files, TO_Z_UP @ camera_to_world.astype(np.float64), strict=True)
    ):
        frame: dict[str, Any] = {"file_path": file}
        if depths:
            frame["depth_file_path"] = depths[view]
        if has_own:
            frame |= _describe_lens(yfov[view], size)
        frames.append(frame | {"transform_matrix": (matrix + 0.0).tolist()})  # + 0.0 removes the sign of -0
    return json.dumps({**shared, OWN: dict(info), "frames": frames}, indent=1, ensure_ascii=False) + "\n"


def _describe_lens(yfov: float, size: int) -> dict[str, float]:
    focal = size / 2 / math.tan(float(yfov) / 2)
    return {"camera_angle_x": float(yfov), "fl_x": focal, "fl_y": focal}
