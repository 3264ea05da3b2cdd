"""Reads images with masks and cameras, at the size that a reconstruction network takes."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float16, UInt8

from sdfkit.errors import GeometryError, InputError
from sdfkit.io.tables.joined import open_stores
from sdfkit.rows import Row
from sdfkit.wording import counted

if TYPE_CHECKING:
    from sdfkit.io.stores.store_reader import StoreReader
    from sdfkit.io.stores.store_writer import StoreWriter

log = logging.getLogger(__name__)
# The arrays of a views store that `prepare_views` needs.
ARRAYS = ("rgb", "mask", "camera_to_world", "yfov")


class ViewArrays(NamedTuple):
    """Views of one shape, or of several with a leading axis."""

    pictures: UInt8[np.ndarray, "*shape view 4 size size"]
    """Red, green, blue, and the share of each pixel that the shape covers."""
    outlines: Float16[np.ndarray, "*shape view size size"]
    """Signed distance of each pixel's centre from the outline, in pixels, negative inside."""
    cameras: Float[np.ndarray, "*shape view 4 4"]
    yfov: Float[np.ndarray, "*shape view"]


class ViewSet(NamedTuple):
    """Views of the shapes of a store that did not fail."""

    name: str
    rows: list[Row]
    arrays: ViewArrays
    history: list[dict[str, Any]]


def create_posed_arrays(store: "StoreWriter", count: int, views: int, size: int) -> None:
    """Create the arrays of a views store that `ARRAYS` names, for `count` shapes with images of size × size pixels."""
    lead, axes = (count, views), ("shape", "view", "row", "column")
    store.create_array(
        "camera_to_world", shape=(*lead, 4, 4), dtype="f4", axes=("shape", "view", "to", "from")
    )
    store.create_array("yfov", shape=lead, dtype="f4", axes=("shape", "view"))
    store.create_array(
        "rgb", shape=(*lead, size, size, 3), dtype="u1", axes=(*axes, "channel"), compress=True
    )
    store.create_array("mask", shape=(*lead, size, size), dtype="u1", axes=axes, compress=True)


def repeat_views(arrays: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """Return arrays of the views of a shape with `count` views, of which those beyond the first ones are repeated."""
    return {name: np.resize(array, (count, *array.shape[1:])) for name, array in arrays.items()}


def distinct_views(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays of the views of a shape without those that repeat the image and camera of another."""
    cameras = arrays["camera_to_world"].reshape(len(arrays["rgb"]), -1)
    if len(np.unique(cameras, axis=0)) == len(cameras):
        return dict(arrays)
    pairs = zip(cameras, arrays["rgb"], strict=True)
    digests = [hashlib.sha256(camera.tobytes() + image.tobytes()).digest() for camera, image in pairs]
    kept = [view for view, digest in enumerate(digests) if digests.index(digest) == view]
    return {name: array[kept] for name, array in arrays.items()}


def require_masks(store: "StoreReader") -> None:
    """Check that a views store has masks and square images.

    Raises:
        InputError: It has not.
    """
    if "mask" not in store:
        raise InputError(
            f"{store.name}: has views without masks, which are needed; render the meshes again, or give "
            "pictures with transparency or with mask_path in transforms.json"
        )
    height, width = store.array("rgb").shape[2:4]
    if height != width:
        raise InputError(f"{store.name}: has images of {height}×{width} pixels; images must be square")


def prepare_views(arrays: Mapping[str, np.ndarray], size: int) -> ViewArrays:
    """Scale the views of one shape, as a views store holds them, to `size` pixels a side.

    Raises:
        GeometryError: A camera is inside the unit ball, or a mask has no outline.
    """
    from sdfkit.images.rendering.cameras import check_outside
    from sdfkit.images.silhouettes import shrink_outlines, shrink_pictures

    rgb, mask, cameras, yfov = (arrays[name] for name in ARRAYS)
    check_outside(cameras)
    pictures = shrink_pictures(np.concatenate([rgb, mask[..., None]], axis=-1), size)
    outlines = shrink_outlines(mask, size).astype(np.float16)
    return ViewArrays(np.ascontiguousarray(np.moveaxis(pictures, -1, 1)), outlines, cameras, yfov)


def read_view_set(paths: Sequence[str], size: int, *, manifest: Path | None) -> ViewSet:
    """Read the views of all shapes of a store into memory. Shapes that failed or have no outline are left out.

    Args:
        paths: A views store, or several that are read as one.
        size: Width and height of the images in pixels.
        manifest: Manifest whose labels replace the stored ones.

    Raises:
        InputError: The store has no masks, its images are not square, or fewer than two shapes can be used.
    """
    with open_stores(paths, "views", manifest=manifest) as store:
        require_masks(store)
        rows: list[Row] = []
        shapes, first = [], ""
        for row in store.rows(*ARRAYS):
            try:
                if row.error:
                    raise GeometryError(row.error)
                shapes.append(prepare_views(row.arrays, size))
            except GeometryError as error:
                log.warning("%s: is left out: %s", row.uid, error)
                first = first or f" ({row.uid}: {error})"
                continue
            rows.append(row.columns(len(rows)))
        if len(rows) < 2:
            raise InputError(
                f"{store.name}: has {counted(len(rows), 'usable shape')}, but training needs two or more{first}"
            )
        return ViewSet(store.name, rows, ViewArrays(*map(np.stack, zip(*shapes, strict=True))), store.history)
