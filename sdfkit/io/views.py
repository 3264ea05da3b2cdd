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
from sdfkit.images.structure import MaskedView, draw_depth, draw_normals
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
        example: One view, from which sizes are measured: zeros of shape (kind, row, column, channel), an empty
            `MaskedView`, or an empty caption.
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
        example = self.example.picture if isinstance(self.example, MaskedView) else self.example[0]
        height, width, _ = example.shape
        yfov = math.radians(self.rendered["yfov"])
        kept = preprocessing.kept(width, height)
        share = silhouette_share(self.rendered["distance"], yfov, width, height, kept)
        if share < 1:
            log.warning(
                "the image's edge or the encoder's crop cuts off %.1f %% of the silhouette of a shape that fills the "
                "unit sphere; render with a larger --yfov or --distance", 100 * (1 - share),
            )  # fmt: skip


def open_source(
    inputs: Sequence[str],
    text: Path | None,
    kinds: Sequence[str],
    masked: bool,
    *,
    matte: str,
    manifest: Path | None,
) -> AbstractContextManager[ViewSource]:
    """Open captions if a file of them is given, otherwise views; see `open_captions` and `open_views`."""
    if text is not None:
        return open_captions(text, manifest=manifest)
    return open_views(inputs, kinds, matte=matte, manifest=manifest, masked=masked)


@contextmanager
def open_views(
    inputs: Sequence[str], kinds: Sequence[str], *, matte: str, manifest: Path | None, masked: bool
) -> Iterator[ViewSource]:
    """Open a views store, or image files.

    Args:
        inputs: One store, or image files and folders of them; `-` is standard input.
        kinds: Kinds of images to load: rgb, and optionally depth and normal.
        matte: How to separate the object in an image file from its background; see `images.photos.frame_photo`.
        manifest: Manifest whose labels replace the stored ones.
        masked: Load each view as a `MaskedView`, with its colours alone: depth and normals will be estimated.

    Raises:
        InputError: The input is neither a views store nor images, or lacks one of the kinds of images or the masks.
    """
    from sdfkit.io.image_files import holds_images
    from sdfkit.io.tables.joined import open_stores

    if holds_images(inputs):
        yield find_views(inputs, kinds, matte=matte, manifest=manifest, repeat=True, masked=masked)
        return
    with open_stores(inputs, "views", manifest=manifest) as store:
        yield views_of(store, kinds, is_pipe=inputs[0] == STANDARD, masked=masked)


def find_views(
    inputs: Sequence[str],
    kinds: Sequence[str],
    *,
    matte: str,
    manifest: Path | None,
    repeat: bool = False,
    masked: bool = False,
) -> ViewSource:
    """Return the shapes of image files; see `open_views`.

    Shapes may have different numbers of images. With `repeat`, `load` repeats the images of those that have fewer.
    """
    from sdfkit.io.image_files import count_views, find_images, warn_of_repeats

    if len(kinds) > 1 and not masked:
        raise InputError(
            f"{inputs[0]}: an image file has no {kinds[1]}; estimate it with --depth-model, omit --with, or render a "
            "mesh"
        )
    images = find_images(inputs, manifest=manifest)
    views = count_views(images)
    if repeat:
        warn_of_repeats({row.uid: len(row.paths) or 1 for row in images}, name_of(inputs[0]))
    return ViewSource(
        rows=images,
        known=images,
        count=len(images),
        views=views,
        example=_example(1, DEFAULT_SIZE, DEFAULT_SIZE, masked=masked),
        load=partial(_frame, matte=matte, views=views if repeat else None, masked=masked),
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
    masked: bool = False,
) -> ViewSource:
    """Return the shapes of an open views store; see `open_views`.

    Args:
        store: The store.
        kinds: Kinds of images to load.
        is_pipe: Whether the store comes through a pipe.
        outlines: Whether the function `load` also returns the arrays `mask` and `yfov`.
        distinct: Whether `load` leaves out repeated views; see `distinct_views`.
        masked: Whether to load each view as a `MaskedView`; see `open_views`.
    """
    for kind in () if masked else kinds:
        if kind not in store:
            raise InputError(
                f"{store.name}: has views without {kind}; render the meshes again with --{kind}, or estimate it with "
                "sdfkit embed --depth-model"
            )
    if masked and "mask" not in store:
        raise InputError(
            f"{store.name}: has views without masks, which the scale of estimated depth needs; render the meshes again"
        )
    _, views, height, width, _ = store.array("rgb").shape
    named = dict.fromkeys(
        (*(("rgb",) if masked else kinds), *(("mask", "yfov") if outlines or masked else ()))
    )
    return ViewSource(
        rows=store.rows("camera_to_world", *named),
        # On a pipe, the uid of the last row arrives last.
        known=None if is_pipe else store.all_rows(),
        count=len(store),
        views=views,
        example=_example(len(kinds), height, width, masked=masked),
        load=partial(_stack, kinds=tuple(kinds), outlines=outlines, distinct=distinct, masked=masked),
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


def _example(kinds: int, height: int, width: int, *, masked: bool) -> "np.ndarray | MaskedView":
    """Return an empty view; see `ViewSource`."""
    empty = np.zeros((kinds, height, width, 3), np.uint8)
    return MaskedView(empty[0], empty[0, ..., 0], DEFAULT_DISTANCE, DEFAULT_YFOV) if masked else empty


def _frame(row: "ImageRow", *, matte: Any, views: int | None, masked: bool) -> dict[str, Any]:
    from sdfkit.images.photos import frame_with_mask

    pictures: list[np.ndarray | MaskedView] = []
    for photo in row.load():
        picture, mask, found = frame_with_mask(photo, matte=matte, **FRAME)
        if matte == "auto" and found == "none":
            log.warning(
                "%s: the image's background is neither transparent nor plain; the whole image is embedded",
                row.uid,
            )
        view = MaskedView(picture, mask, DEFAULT_DISTANCE, DEFAULT_YFOV)
        pictures.append(view if masked else picture[None])
    return {"views": pictures if views is None else list(islice(cycle(pictures), views))}


def _stack(
    row: "ArrayRow", *, kinds: tuple[str, ...], outlines: bool, distinct: bool, masked: bool
) -> dict[str, Any]:
    from sdfkit.images.rendering.cameras import check_outside
    from sdfkit.io.stores.contents.posed_views import distinct_views

    if row.error:
        raise GeometryError(row.error)
    arrays = distinct_views(row.arrays) if distinct else row.arrays
    cameras = arrays["camera_to_world"]
    distance = np.linalg.norm(cameras[:, :3, 3], axis=-1)
    if masked:
        check_outside(cameras)
        columns = zip(arrays["rgb"], arrays["mask"], distance.tolist(), arrays["yfov"].tolist(), strict=True)
        views: list[Any] = [MaskedView(*column) for column in columns]
    else:
        drawn = {"rgb": arrays["rgb"]}
        if "depth" in kinds:
            drawn["depth"] = draw_depth(arrays["depth"], distance)
        if "normal" in kinds:
            drawn["normal"] = draw_normals(arrays["normal"])
        views = list(np.stack([drawn[kind] for kind in kinds], axis=1))
    extra = {name: arrays[name] for name in ("mask", "yfov")} if outlines else {}
    return {"camera_to_world": cameras, "views": views, **extra}


def _take_captions(row: CaptionRow) -> dict[str, Any]:
    return {"views": row.captions}
