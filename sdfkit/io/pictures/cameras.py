"""Cameras of pictures in files, whatever the format of the files, and the square image that shows all of a picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sdfkit.errors import InputError

# Largest side of a square picture, in pixels. Larger pictures of other programs are scaled down.
LARGEST = 1024
# Largest deviation of a rotation matrix in a file from a rotation.
ROTATION = 1e-3
# Largest ratio of the focal lengths along rows and columns, and tangent of the largest half field of view.
STRETCHED, WIDEST = 2.0, math.tan(math.radians(75))


class Lens(NamedTuple):
    """A pinhole camera without distortion. Integer coordinates are corners of pixels; row 0 is at the top."""

    fl_x: float
    """Focal length in pixels along a row."""
    fl_y: float
    cx: float
    """Column of the point straight ahead, in pixels from the left edge."""
    cy: float
    width: int
    height: int

    @property
    def reach(self) -> float:
        """Tangent of half the field of view of the square image, centred straight ahead, that holds the picture."""
        return max(
            max(self.cx, self.width - self.cx) / self.fl_x, max(self.cy, self.height - self.cy) / self.fl_y
        )

    @property
    def side(self) -> int:
        """Side in pixels of that image at the resolution of the picture."""
        return round(2 * self.reach * max(self.fl_x, self.fl_y))

    @property
    def yfov(self) -> float:
        """Field of view of that image in radians."""
        return 2 * math.atan(self.reach)

    def scaled(self, width: int, height: int) -> "Lens":
        """Return the lens of the same picture with another number of pixels."""
        x, y = width / self.width, height / self.height
        return Lens(self.fl_x * x, self.fl_y * y, self.cx * x, self.cy * y, width, height)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom edge of the square image in pixels of the picture."""
        x, y = self.reach * self.fl_x, self.reach * self.fl_y
        return self.cx - x, self.cy - y, self.cx + x, self.cy + y


class Frame(NamedTuple):
    """A picture and its camera."""

    path: Path
    camera_to_world: Float[np.ndarray, "4 4"]
    """As `images.rendering.cameras` has it: OpenGL, with +Y up in the world."""
    lens: Lens
    mask: Path | None
    """Picture of the object's silhouette; None if there is none, or if it is the alpha channel of the picture."""
    depth: Path | None


@dataclass(frozen=True)
class Scene:
    """The pictures of one shape.

    Attributes:
        name: Path of the file with the cameras, for messages.
        frames: The pictures.
        to_file: Transforms points from the world of the frames to that of the file with the cameras.
        info: What sdfkit has stored beside the cameras: labels, settings, history. Empty for files of other programs.
    """

    name: str
    frames: Sequence[Frame]
    to_file: Float[np.ndarray, "4 4"]
    info: Mapping[str, Any] = field(default_factory=dict)


def check_pose(matrix: Float[np.ndarray, "4 4"], name: str) -> None:
    """Raise InputError unless a matrix is a rotation and a translation."""
    rotation = matrix[:3, :3]
    is_rotation = np.abs(rotation @ rotation.T - np.eye(3)).max() <= ROTATION and np.linalg.det(rotation) > 0
    if not is_rotation or np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise InputError(
            f"{name}: its camera is not a rotation and a translation; remove scaling from the cameras and export again"
        )


def check_lens(lens: Lens, name: str) -> None:
    """Check a lens: focal lengths and size above 0, nearly square pixels, and the centre within the picture.

    The square image of another lens could be of any size.

    Raises:
        InputError: It is not such a lens.
    """
    is_possible = (
        min(lens.fl_x, lens.fl_y, lens.width, lens.height) > 0
        and max(lens.fl_x, lens.fl_y) <= STRETCHED * min(lens.fl_x, lens.fl_y)
        and 0 <= lens.cx <= lens.width
        and 0 <= lens.cy <= lens.height
    )
    if not is_possible or lens.reach > WIDEST:
        raise InputError(
            f"{name}: has no possible focal length, centre or size of a picture ({_describe(lens)}); correct the "
            "numbers"
        )


def _describe(lens: Lens) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in zip(lens._fields, lens, strict=True))
