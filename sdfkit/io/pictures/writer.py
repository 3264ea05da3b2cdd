"""Writes views as folders of pictures, one folder a shape, with their cameras in transforms.json."""

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from sdfkit.errors import GeometryError, InputError
from sdfkit.io.meshes.journal import Journal, compare_info
from sdfkit.io.meshes.writer import file_name, own_name
from sdfkit.io.outputs import beside, claim, refuse_existing, remove, replaced, share
from sdfkit.io.pictures.places import TRANSFORMS
from sdfkit.io.pictures.transforms import (
    DEPTH_UNITS,
    DEPTHS,
    IMAGES,
    describe_transforms,
    read_info,
)
from sdfkit.rows import LABELS, Row
from sdfkit.runtime.pool import RemoteWriter

log = logging.getLogger(__name__)
# Arrays of views that have a place in a folder of pictures; those of LISTED in the entries of sdfkit.
SCALARS = ("pose_overlap", "pose_error")
LISTED = (*SCALARS, "to_original")
PLACED = ("camera_to_world", "yfov", "rgb", "mask", "depth", *LISTED)
# What killed runs leave in a folder.
LEFTOVER = re.compile(r"\.(?P<name>.+)\.(part|old)")


class PictureWriter:
    """Writes the views of each shape to a folder of its own. Its interface is that of `StoreWriter`, as views use it.

    Attributes:
        failed: Indices of the rows that failed.
        made: Number of rows that this run has made.
    """

    def __init__(self, folder: Path, root: Mapping[str, Any], journal: Journal) -> None:
        self.failed: set[int] = set()
        self.made = 0
        self._folder = folder
        self._names: dict[str, str] = {}
        self._settings = json.loads(json.dumps(root["settings"]))
        self._write_folder = partial(_write_folder, folder, self._settings, root["history"])
        self._journal = journal

    def create_array(self, name: str, **options: Any) -> None:
        """Check that an array of views has a place in folders of pictures.

        Raises:
            InputError: It has none.
        """
        if name not in PLACED:
            raise InputError(
                f"{self._folder}: a folder of pictures has no place for the array {name}; write a store (*.zarr)"
            )

    def _path(self, uid: str) -> Path:
        return self._folder / own_name(uid, "", self._names)

    def has(self, row: Row) -> bool:
        """Return whether the folder of this row exists and was made from the same input with the same settings.

        Raises:
            InputError: The folder exists but was made with other settings, or not by sdfkit.
        """
        path = self._path(row.uid)
        if not path.exists():
            return False
        info = read_info(path)
        if not info:
            raise InputError(f"{path}: was not made by sdfkit, so it is not replaced; choose another name")
        return self._journal.keeps(path, compare_info(info, self._settings, row), row)

    def write(self, row: Row, **arrays: np.ndarray) -> None:
        """Write the pictures, cameras, labels and history of one row. A row with an error has no folder."""
        self.made += 1
        path = self._path(row.uid)
        if row.error:
            self.failed.add(row.index)
            # The pictures of an earlier run would look like a result of this run.
            if read_info(path):
                remove(path)
            return
        self._write_folder(row, **arrays)
        self._journal.add(row.uid)

    def remote(self) -> RemoteWriter:
        """Return the writer of folders for other machines."""
        return RemoteWriter(share(self._folder).check, self._write_folder)

    def record(self, row: Row) -> None:
        """Record a row whose folder is written."""
        self.made += 1
        self._journal.add(row.uid)


def _write_folder(
    folder: Path, settings: Mapping[str, Any], history: Any, row: Row, **arrays: np.ndarray
) -> dict[str, Any]:
    """Write the pictures, cameras, labels and history of one row to its own folder. Nothing is left to write."""
    path = folder / file_name(row.uid)
    if path.exists() and not read_info(path):
        raise InputError(f"{path}: was not made by sdfkit, so it is not replaced; choose another name")
    info: dict[str, Any] = {"uid": row.uid, **{name: getattr(row, name) for name in LABELS}}
    info |= {
        "origin": row.find_origin(), "input": row.identity, "settings": settings, "history": history,
        **{name: np.asarray(arrays[name], np.float64).tolist() for name in LISTED if name in arrays},
    }  # fmt: skip
    with replaced(path) as part:
        _write_pictures(part, arrays, info)
    return {}


def _write_pictures(folder: Path, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
    rgb = arrays["rgb"]
    count, size = rgb.shape[:2]
    digits = max(3, len(str(count - 1)))
    (folder / IMAGES).mkdir(parents=True)
    files = [f"{IMAGES}/{view:0{digits}}.png" for view in range(count)]
    pictures = rgb if "mask" not in arrays else cut_out(rgb, arrays["mask"])
    for file, picture in zip(files, pictures, strict=True):
        _save(Image.fromarray(picture), folder / file)
    depths = []
    if "depth" in arrays:
        (folder / DEPTHS).mkdir()
        depths = [f"{DEPTHS}/{view:0{digits}}.png" for view in range(count)]
        units = np.rint(arrays["depth"].astype(np.float64) * DEPTH_UNITS)
        if units.max(initial=0) > np.iinfo(np.uint16).max:
            raise GeometryError(
                "its depth is beyond what a picture of 16 bits holds (65.5); write a store (*.zarr)"
            )
        for file, picture in zip(depths, units.astype(np.uint16), strict=True):
            _save(Image.fromarray(picture), folder / file)
    # Last, so that the file tells other programs that its pictures are there.
    text = describe_transforms(files, depths, arrays["camera_to_world"], arrays["yfov"], size, info)
    (folder / TRANSFORMS).write_text(text, encoding="utf-8")


def _save(picture: Image.Image, path: Path) -> None:
    # Level 1 takes a third of the time of level 6, for files that are a tenth larger.
    picture.save(path, compress_level=1)


def cut_out(
    rgb: UInt8[np.ndarray, "view row column 3"], mask: UInt8[np.ndarray, "view row column"]
) -> UInt8[np.ndarray, "view row column 4"]:
    """Return images on black as images with an alpha channel, whose colours are not multiplied by it.

    Multiplied by alpha and rounded, they are the images on black again, to the last bit where no value exceeds alpha.
    """
    cover = mask[..., None].astype(np.float32)
    color = np.where(cover > 0, rgb * np.float32(255) / np.maximum(cover, 1), 0)
    return np.concatenate([np.rint(np.minimum(color, 255)).astype(np.uint8), mask[..., None]], axis=-1)


def place_on_black(
    pictures: UInt8[np.ndarray, "*view row column 3"], cover: UInt8[np.ndarray, "*view row column"]
) -> Float[np.ndarray, "*view row column 3"]:
    """Multiply images by alpha, from 0 to 255: the inverse of `cut_out`, before rounding."""
    on_black: Float[np.ndarray, "*view row column 3"]
    on_black = pictures.astype(np.float32) * cover[..., None] / np.float32(255)
    return on_black


@contextmanager
def create_pictures(output: str, root: Mapping[str, Any], *, overwrite: bool) -> Iterator[PictureWriter]:
    """Open a folder for the pictures of shapes, each in a folder of its own that appears when it is complete.

    Args:
        output: The folder, which is made if it does not exist.
        root: Attributes that a store would have, with `settings` and `history`. A folder of an earlier run is kept only
            if its settings and its input are equal.
        overwrite: Replace folders of an earlier run.

    Raises:
        InputError: The output is a file, its parent folder does not exist, or another process writes it.
    """
    path = Path(output)
    with claim(path):
        if not path.is_dir():
            refuse_existing(path, overwrite=False)
            path.mkdir()
        _sweep(path)
        journal = Journal(path, root["settings"], replaces=overwrite)
        yield PictureWriter(path, root, journal)
        journal.finish()


def _sweep(folder: Path) -> None:
    """Remove what killed runs left in a folder, and restore folders that were lost between two renames."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and LEFTOVER.fullmatch(entry.name)]
    for name in names:
        match = LEFTOVER.fullmatch(name)
        assert match is not None
        own = folder / match["name"]
        if beside(own, "old").name == name and not own.exists():
            (folder / name).rename(own)
        else:
            remove(folder / name)
