"""Reads images of objects without their cameras: image files, or the views of a store."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from sdfkit.errors import GeometryError, InputError
from sdfkit.images.photos import separate_object
from sdfkit.io.image_files import count_views, find_images, holds_images, warn_of_repeats
from sdfkit.io.stores.contents.posed_views import require_masks
from sdfkit.io.streams import name_of
from sdfkit.io.tables.joined import open_stores
from sdfkit.options import STANDARD
from sdfkit.rows import Row

if TYPE_CHECKING:
    from sdfkit.io.image_files import ImageRow
    from sdfkit.io.stores.store_reader import ArrayRow

log = logging.getLogger(__name__)
HowToSeparate = Literal["auto", "alpha", "plain"]


class ObjectImage(NamedTuple):
    """An image of an object on black. Values run from 0 to 255."""

    color: Float[np.ndarray, "row column 3"]
    cover: Float[np.ndarray, "row column"]
    """Share of each pixel that the object covers."""


@dataclass(frozen=True)
class ObjectImages:
    """The shapes of an input.

    Attributes:
        rows: The shapes in order.
        known: The same shapes as a sequence; None for a pipe, whose shapes are known only as they arrive.
        count: Number of shapes.
        views: Largest number of images of a shape.
        load: Function that returns the images of a row.
        history: The commands that made the input, oldest first.
    """

    rows: Iterable[Row]
    known: Sequence[Row] | None
    count: int
    views: int
    load: Callable[[Any], list[ObjectImage]]
    history: Sequence[Mapping[str, Any]]


@contextmanager
def open_object_images(
    inputs: Sequence[str], *, matte: HowToSeparate, manifest: Path | None
) -> Iterator[ObjectImages]:
    """Open image files, or a views store, whose cameras are not read.

    Args:
        inputs: Image files and folders of them, or one views store; `-` is standard input.
        matte: How to separate the object in an image file from its background; see `images.photos.frame_photo`.
        manifest: Manifest whose labels replace the stored ones.

    Raises:
        InputError: The input is neither images nor views, or the views have no masks or are not square.
    """
    if holds_images(inputs):
        images = find_images(inputs, manifest=manifest)
        warn_of_repeats({row.uid: len(row.paths) or 1 for row in images}, name_of(inputs[0]))
        load = partial(_load_files, matte=matte)
        yield ObjectImages(images, images, len(images), count_views(images), load, [])
        return
    with open_stores(inputs, "views", manifest=manifest) as store:
        require_masks(store)
        known = None if inputs[0] == STANDARD else store.all_rows()
        views = store.array("rgb").shape[1]
        yield ObjectImages(store.rows("rgb", "mask"), known, len(store), views, _load_views, store.history)


def _load_files(row: "ImageRow", *, matte: HowToSeparate) -> list[ObjectImage]:
    images = []
    for photo in row.load():
        color, cover, _ = separate_object(photo, matte=matte)
        if cover is None:
            raise InputError(
                "the background is neither transparent nor of one colour, so the object is not known; cut the object "
                "out and save it as PNG with transparency"
            )
        images.append(ObjectImage(color, 255 * cover))
    return images


def _load_views(row: "ArrayRow") -> list[ObjectImage]:
    if row.error:
        raise GeometryError(row.error)
    pairs = zip(row.arrays["rgb"], row.arrays["mask"], strict=True)
    return [ObjectImage(color.astype(np.float32), cover.astype(np.float32)) for color, cover in pairs]
