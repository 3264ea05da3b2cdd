"""Inputs of encoders: a views store, image files or captions, with one interface."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import GeometryError, InputError
from sdfkit.images.rendering.defaults import DEFAULT_DISTANCE, DEFAULT_SIZE, DEFAULT_YFOV
from sdfkit.io.captions import CaptionRow, read_captions
from sdfkit.io.streams import name_of
from sdfkit.options import STANDARD
from sdfkit.rows import Row

if TYPE_CHECKING:
    from sdfkit.images.encoding.preprocess import Preprocessing
    from sdfkit.io.image_files import ImageRow
    from sdfkit.io.stores.store_reader import ArrayRow, StoreReader

log = logging.getLogger(__name__)
# How the object of an image file is framed: as in a view of `render`.
FRAME: dict[str, Any] = {"size": DEFAULT_SIZE, "distance": DEFAULT_DISTANCE, "yfov": DEFAULT_YFOV}


@dataclass(frozen=True)
class ViewSource:
    """The shapes of an input, with a function that loads the views of one shape.

    Attributes:
        rows: The shapes in order.
        known: The same shapes as a sequence; None for a pipe, whose shapes are known only as they arrive.
        count: Number of shapes.
        views: Number of views of each shape.
        example: One view, from which sizes are measured: zeros of shape (kind, row, column, channel), or an empty
            caption.
        load: Function that returns `views` of a row, and `camera_to_world` if there are cameras. It can run in a worker
            process.
        has_cameras: Whether `load` returns `camera_to_world`.
        history: The commands that made the input, oldest first.
        settings: Settings with which the input was read.
        rendered: Settings with which the views of a store were rendered; empty for other inputs.
    """

    rows: Iterable[Row]
    known: Sequence[Row] | None
    count: int
    views: int
    example: Any
    load: Callable[[Any], dict[str, Any]]
    has_cameras: bool
    history: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    rendered: Mapping[str, Any]

    def warn_if_cropped(self, preprocessing: "Preprocessing") -> None:
        """Log a warning if the encoder's crop cuts off part of a shape that fills the unit sphere."""
        from sdfkit.images.rendering.cameras import silhouette_share

        if "distance" not in self.rendered or "yfov" not in self.rendered:
            return
        _, height, width, _ = self.example.shape
        yfov = math.radians(self.rendered["yfov"])
        kept = preprocessing.kept(width, height)
        share = silhouette_share(self.rendered["distance"], yfov, width, height, kept)
        if share < 1:
            log.warning(
                "the image's edge or the encoder's crop cuts off %.1f %% of the silhouette of a shape that fills the "
                "unit sphere; render with a larger --yfov or --distance", 100 * (1 - share),
            )  # fmt: skip


def open_source(
    inputs: Sequence[str], text: Path | None, kinds: Sequence[str], *, matte: str, manifest: Path | None
) -> AbstractContextManager[ViewSource]:
    """Open captions if a file of them is given, otherwise views; see `open_captions` and `open_views`."""
    if text is not None:
        return open_captions(text, manifest=manifest)
    return open_views(inputs, kinds, matte=matte, manifest=manifest)


@contextmanager
def open_views(
    inputs: Sequence[str], kinds: Sequence[str], *, matte: str, manifest: Path | None
) -> Iterator[ViewSource]:
    """Open a views store, or image files.

    Args:
        inputs: One store, or image files and folders of them; `-` is standard input.
        kinds: Kinds of images to load: rgb, and optionally depth and normal.
        matte: How to separate the object in an image file from its background; see `images.photos.frame_photo`.
        manifest: Manifest whose labels replace the stored ones.

    Raises:
        InputError: The input is neither a views store nor images, or lacks one of the kinds of images.
    """
    from sdfkit.io.image_files import holds_images
    from sdfkit.io.tables.joined import open_stores

    if holds_images(inputs):
        yield find_views(inputs, kinds, matte=matte, manifest=manifest, repeat=True)
        return
    with open_stores(inputs, "views", manifest=manifest) as store:
        yield views_of(store, kinds, is_pipe=inputs[0] == STANDARD)


def find_views(
    inputs: Sequence[str], kinds: Sequence[str], *, matte: str, manifest: Path | None, repeat: bool = False
) -> ViewSource:
    """Return the shapes of image files; see `open_views`.

    Shapes may have different numbers of images. With `repeat`, `load` repeats the images of those that have fewer.
    """
    from sdfkit.io.image_files import count_views, find_images, warn_of_repeats

    if len(kinds) > 1:
        raise InputError(f"{inputs[0]}: an image file has no {kinds[1]}; omit --with, or render a mesh")
    images = find_images(inputs, manifest=manifest)
    views = count_views(images)
    if repeat:
        warn_of_repeats({row.uid: len(row.paths) or 1 for row in images}, name_of(inputs[0]))
    return ViewSource(
        rows=images,
        known=images,
        count=len(images),
        views=views,
        example=np.zeros((1, DEFAULT_SIZE, DEFAULT_SIZE, 3), np.uint8),
        load=partial(_frame, matte=matte, views=views if repeat else None),
        has_cameras=False,
        history=[],
        settings={"matte": matte, "size": DEFAULT_SIZE},
        rendered={},
    )


def views_of(
    store: "StoreReader",
    kinds: Sequence[str],
    *,
    is_pipe: bool,
    outlines: bool = False,
    distinct: bool = False,
) -> ViewSource:
    """Return the shapes of an open views store; see `open_views`.

    Args:
        store: The store.
        kinds: Kinds of images to load.
        is_pipe: Whether the store comes through a pipe.
        outlines: Whether the function `load` also returns the arrays `mask` and `yfov`.
        distinct: Whether `load` leaves out repeated views; see `distinct_views`.
    """
    for kind in kinds:
        if kind not in store:
            raise InputError(f"{store.name}: has views without {kind}; render the meshes again with --{kind}")
    _, views, height, width, _ = store.array("rgb").shape
    return ViewSource(
        rows=store.rows("camera_to_world", *kinds, *(("mask", "yfov") if outlines else ())),
        # On a pipe, the uid of the last row arrives last.
        known=None if is_pipe else store.all_rows(),
        count=len(store),
        views=views,
        example=np.zeros((len(kinds), height, width, 3), np.uint8),
        load=partial(_stack, distinct=distinct),
        has_cameras=True,
        history=store.history,
        settings={},
        rendered=store.attributes.get("settings", {}),
    )


@contextmanager
def open_captions(path: Path, *, manifest: Path | None) -> Iterator[ViewSource]:
    """Open a CSV file of captions; see `read_captions`."""
    rows = read_captions(path, manifest=manifest)
    yield ViewSource(
        rows=rows,
        known=rows,
        count=len(rows),
        views=len(rows[0].captions),
        example="",
        load=_take_captions,
        has_cameras=False,
        history=[],
        settings={},
        rendered={},
    )


def _frame(row: "ImageRow", *, matte: Any, views: int | None) -> dict[str, Any]:
    from sdfkit.images.photos import frame_photo

    pictures = []
    for photo in row.load():
        picture, found = frame_photo(photo, matte=matte, **FRAME)
        if matte == "auto" and found == "none":
            log.warning(
                "%s: the image's background is neither transparent nor plain; the whole image is embedded",
                row.uid,
            )
        pictures.append(picture[None])
    return {"views": pictures if views is None else list(islice(cycle(pictures), views))}


def _stack(row: "ArrayRow", *, distinct: bool) -> dict[str, Any]:
    from sdfkit.images.structure import draw_depth, draw_normals
    from sdfkit.io.stores.contents.posed_views import distinct_views

    if row.error:
        raise GeometryError(row.error)
    arrays = distinct_views(row.arrays) if distinct else row.arrays
    cameras = arrays["camera_to_world"]
    pictures = [arrays["rgb"]]
    if "depth" in arrays:
        pictures.append(draw_depth(arrays["depth"], cameras))
    if "normal" in arrays:
        pictures.append(draw_normals(arrays["normal"]))
    outlines = {name: arrays[name] for name in ("mask", "yfov") if name in arrays}
    return {"camera_to_world": cameras, "views": list(np.stack(pictures, axis=1)), **outlines}


def _take_captions(row: CaptionRow) -> dict[str, Any]:
    return {"views": row.captions}
