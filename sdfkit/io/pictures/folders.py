"""Finds the shapes in folders of pictures with cameras, and reads the pictures of each as a views store has them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sdfkit.errors import InputError
from sdfkit.images.photos import crop_square
from sdfkit.images.unit_frame import find_unit_frame
from sdfkit.io.image_files import SUFFIXES, decode, warn_of_repeats
from sdfkit.io.pictures.cameras import LARGEST, Frame, Scene
from sdfkit.io.pictures.colmap import read_colmap
from sdfkit.io.pictures.places import find_transforms, is_scene, subfolders
from sdfkit.io.pictures.transforms import DEPTH_UNITS, read_transforms
from sdfkit.io.pictures.writer import SCALARS, place_on_black
from sdfkit.rows import unique
from sdfkit.wording import counted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PictureShape:
    """One shape in a folder of pictures: its pictures with cameras, or why they cannot be read."""

    uid: str
    scene: Scene
    error: str = ""


@dataclass(frozen=True)
class PictureFolder:
    """The shapes in a folder of pictures with cameras.

    Attributes:
        name: Path of the folder.
        shapes: The shapes, in the order of their folders' names.
        views: Number of views of each shape, that of the shape with the most pictures. Others repeat theirs.
        side: Side of the square images in pixels.
        arrays: Names of the arrays that `load` returns.
    """

    name: str
    shapes: Sequence[PictureShape]
    views: int
    side: int
    arrays: frozenset[str]

    def load(self, index: int) -> dict[str, np.ndarray]:
        """Read the pictures of one shape.

        Returns:
            The arrays of its row in a views store, and `to_original`, the matrix that transforms points of the unit
            frame to the frame of the cameras' file, if `arrays` names it.

        Raises:
            InputError: A picture cannot be decoded.
            GeometryError: The pictures do not tell where the object is, and how large.
        """
        scene = self.shapes[index].scene
        views = [_load_view(frame, self.side, self.arrays) for frame in scene.frames]
        stacked = {name: np.stack([view[name] for view in views]) for name in views[0]}
        if "to_original" in self.arrays:
            stacked["to_original"] = self._move_to_unit_frame(stacked, scene)
        stacked |= {name: np.array(scene.info[name], np.float32) for name in SCALARS if name in self.arrays}
        order = np.resize(np.arange(len(views)), self.views)
        loaded = {
            name: np.ascontiguousarray(array if name == "to_original" else array[order])
            for name, array in stacked.items()
        }
        loaded["camera_to_world"] = loaded["camera_to_world"].astype(np.float32)
        return loaded

    def _move_to_unit_frame(self, arrays: dict[str, np.ndarray], scene: Scene) -> np.ndarray:
        if scene.info:  # of sdfkit
            return np.array(scene.info.get("to_original", scene.to_file), np.float64)
        cameras = arrays["camera_to_world"]
        frame = find_unit_frame(arrays["mask"], cameras, arrays["yfov"].astype(np.float64))
        scale = frame[0, 0]
        cameras[:, :3, 3] = (cameras[:, :3, 3] - frame[:3, 3]) / scale
        if "depth" in arrays:
            arrays["depth"] /= np.float32(scale)
        return np.asarray(scene.to_file @ frame)


def _load_view(frame: Frame, side: int, wanted: frozenset[str]) -> dict[str, np.ndarray]:
    picture = decode(frame.path.read_bytes(), str(frame.path), turned=False)
    height, width = picture.shape[:2]
    lens = frame.lens.scaled(width, height)
    cover = picture[..., 3]
    if frame.mask is not None:
        cover = _load_mask(frame.mask, (width, height))
    color = np.concatenate([place_on_black(picture[..., :3], cover), cover[..., None]], axis=-1)
    is_whole = (height, width) == (side, side) and np.allclose(lens.box, (0, 0, side, side), atol=1e-3)
    image = np.rint(color).astype(np.uint8) if is_whole else crop_square(color, lens.box, side)
    view: dict[str, Any] = {
        "rgb": image[..., :3], "camera_to_world": frame.camera_to_world, "yfov": np.float32(lens.yfov),
    }  # fmt: skip
    if "mask" in wanted:
        view["mask"] = image[..., 3]
    if "depth" in wanted:
        view["depth"] = _load_depth(frame, side)
    return view


def _load_mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Return the coverage of a mask picture: its alpha channel if it has one, otherwise its grey levels."""
    mask = decode(path.read_bytes(), str(path), turned=False)
    levels = mask[..., 3] if (mask[..., 3] < 255).any() else mask[..., :3].max(axis=-1)
    if (levels <= 1).all():
        levels = levels * np.uint8(255)  # some programs write 1 for the object
    if levels.shape != size[::-1]:
        if abs(levels.shape[1] * size[1] - levels.shape[0] * size[0]) > max(size):
            raise InputError(f"{path}: has another shape than its picture; give a mask of the same size")
        levels = np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BILINEAR))
    return levels


def _load_depth(frame: Frame, side: int) -> np.ndarray:
    """Return depth in units of the cameras' file, scaled to the square image by its nearest pixels."""
    path = frame.depth
    assert path is not None
    try:
        if path.suffix.lower() == ".npy":
            depth = np.load(path, allow_pickle=False).astype(np.float32)
        else:
            with Image.open(path) as picture:
                depth = np.array(picture).astype(np.float32)
        rows, columns = depth.shape
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: is not a depth picture of one channel; remove depth_file_path") from error
    lens = frame.lens.scaled(columns, rows)
    left, top, right, bottom = lens.box
    places = [
        np.floor(start + (np.arange(side) + 0.5) * (end - start) / side).astype(int)
        for start, end in ((top, bottom), (left, right))
    ]
    inside = [(place >= 0) & (place < size) for place, size in zip(places, (rows, columns), strict=True)]
    found = depth[np.ix_(places[0].clip(0, rows - 1), places[1].clip(0, columns - 1))] / np.float32(
        DEPTH_UNITS
    )
    return np.where(np.logical_and.outer(*inside), found, np.float32(0))


def read_picture_folder(path: str) -> PictureFolder:
    """Read the cameras of all pictures in a folder for which `holds_cameras` is true. Pictures are read by `load`.

    One shape of several whose cameras cannot be read is a shape that failed. Pictures in other places than those of the
    cameras are counted in a warning.

    Raises:
        InputError: The cameras of the only shape, or of all shapes, cannot be read.
    """
    folder = Path(path)
    places = [folder] if is_scene(folder) else list(filter(is_scene, subfolders(folder)))
    shapes = []
    for place in places:
        try:
            scene = _read_scene(place)
        except InputError as error:
            if len(places) == 1:
                raise
            shapes.append(PictureShape(place.name, Scene(str(place), [], np.eye(4)), str(error)))
            continue
        shapes.append(PictureShape(str(scene.info.get("uid", "")) or place.resolve().name, scene))
    uids = unique([shape.uid for shape in shapes])
    shapes = [PictureShape(uid, shape.scene, shape.error) for uid, shape in zip(uids, shapes, strict=True)]
    good = [shape for shape in shapes if not shape.error]
    if not good:
        raise InputError(f"{path}: none of its {len(shapes)} shapes can be read ({shapes[0].error})")
    if places != [folder]:
        _warn_of_others(folder, places)
    counts = [len(shape.scene.frames) for shape in good]
    warn_of_repeats({shape.uid: count for shape, count in zip(good, counts, strict=True)}, path)
    side = min(LARGEST, max(frame.lens.side for shape in good for frame in shape.scene.frames))
    if all(shape.scene.info for shape in good):  # pictures of sdfkit, of any size
        side = good[0].scene.frames[0].lens.side
    return PictureFolder(path, shapes, max(counts), max(side, 1), _find_arrays(good, path))


def _read_scene(folder: Path) -> Scene:
    transforms = find_transforms(folder)
    if transforms is not None:
        return read_transforms(transforms)
    return read_colmap(folder)


def _find_arrays(shapes: Sequence[PictureShape], name: str) -> frozenset[str]:
    """Return the names of the arrays that all shapes have, and warn if only some have masks or depth."""
    arrays = {"rgb", "camera_to_world", "yfov"}
    masks = [all(map(_has_mask, shape.scene.frames)) for shape in shapes]
    depths = [all(frame.depth is not None for frame in shape.scene.frames) for shape in shapes]
    for what, found in (("mask", masks), ("depth", depths)):
        if all(found):
            arrays.add(what)
        elif any(found):
            first = shapes[found.index(False)].uid
            log.warning("%s: %s has pictures without %s, so none is read", name, first, what)
    arrays |= {
        each
        for each in SCALARS
        if all(_is_list_of(shape.scene.info.get(each), len(shape.scene.frames)) for shape in shapes)
    }
    is_foreign = [not shape.scene.info or "to_original" in shape.scene.info for shape in shapes]
    if "mask" in arrays and any(is_foreign):
        arrays.add("to_original")
    return frozenset(arrays)


def _is_list_of(value: Any, count: int) -> bool:
    return (
        isinstance(value, list) and len(value) == count and all(type(each) in (int, float) for each in value)
    )


def _has_mask(frame: Frame) -> bool:
    if frame.mask is not None:
        return True
    try:
        with Image.open(frame.path) as picture:
            return "A" in picture.getbands() or "transparency" in picture.info
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False  # the picture fails when it is decoded


def _warn_of_others(folder: Path, places: Sequence[Path]) -> None:
    """Log how many folders and pictures beside the shapes have no cameras and are not read."""
    others = [path for path in subfolders(folder) if path not in places]
    loose = [
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    if others or loose:
        parts = [
            counted(len(found), noun) for found, noun in ((others, "folder"), (loose, "picture")) if found
        ]
        log.warning(
            "%s: %s without cameras (transforms.json) are skipped; estimate their cameras with sdfkit pose",
            folder, " and ".join(parts),
        )  # fmt: skip
