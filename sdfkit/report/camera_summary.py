"""Describes estimated cameras in lines of text."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sdfkit.wording import counted, listed

# A camera whose expected error is larger than this, in degrees, is called ambiguous.
AMBIGUOUS = 30
# Largest number of images that are described one by one.
FEW = 8


class CameraSummary(NamedTuple):
    """The estimated camera of one image. Angles are in degrees."""

    azimuth: float
    elevation: float
    error: float
    """Expected angle between the viewing direction and the true one."""
    overlap: float
    """IoU of the silhouettes of the image and of the most similar training shape."""


def summarise_cameras(arrays: Mapping[str, np.ndarray]) -> list[CameraSummary]:
    """Describe the cameras of one object in angles.

    Args:
        arrays: Arrays of its row in the views store.
    """
    back = arrays["camera_to_world"][:, :3, 2]
    azimuth = np.degrees(np.arctan2(back[:, 0], back[:, 2]))
    elevation = np.degrees(np.arcsin(np.clip(back[:, 1], -1, 1)))
    values = zip(azimuth, elevation, arrays["pose_error"], arrays["pose_overlap"], strict=True)
    return [CameraSummary(*map(float, view)) for view in values]


def describe_cameras(cameras: Mapping[str, Sequence[CameraSummary]]) -> list[str]:
    """Describe estimated cameras: one by one if they are few, otherwise their errors together.

    Args:
        cameras: The cameras of each object by its uid.
    """
    named = [
        (uid if len(views) == 1 else f"{uid}, view {index}", view)
        for uid, views in cameras.items()
        for index, view in enumerate(views)
    ]
    if len(named) <= FEW:
        return [
            f"camera of {name}: azimuth {view.azimuth:.0f}°, elevation {view.elevation:.0f}°, ±{view.error:.0f}°; "
            f"silhouettes agree at {view.overlap:.2f}"
            for name, view in named
        ]
    errors = [view.error for _, view in named]
    worst = int(np.argmax(errors))
    overlap = np.mean([view.overlap for _, view in named])
    return [
        f"cameras of {counted(len(named), 'image')}: expected error {np.median(errors):.0f}° (median), "
        f"{errors[worst]:.0f}° at most ({named[worst][0]}); silhouettes agree at {overlap:.2f} on average"
    ]


def warn_ambiguous(cameras: Mapping[str, Sequence[CameraSummary]]) -> str:
    """Return a warning if cameras are ambiguous; otherwise an empty text."""
    names = [uid for uid, views in cameras.items() if any(view.error > AMBIGUOUS for view in views)]
    if not names:
        return ""
    return (
        f"{listed(names)}: other directions explain the silhouette almost as well (expected error above "
        f"{AMBIGUOUS}°); the prediction may be turned or mirrored, so look at it, or give more images of the object"
    )
