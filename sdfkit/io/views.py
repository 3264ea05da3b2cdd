"""The door to whatever an encoder can look at: a views store, picture files, or captions."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import GeometryError, InputError
from sdfkit.io.captions import CaptionRow, read_captions
from sdfkit.options import STANDARD
from sdfkit.rows import Row

if TYPE_CHECKING:
    from sdfkit.images.encoding.preprocess import Preprocessing
    from sdfkit.io.image_files import ImageRow
    from sdfkit.io.stores.reader import ArrayRow, StoreReader

log = logging.getLogger(__name__)
# The frame that picture files are brought into: pixels a side, and the camera's distance and field of view. It is the
# one that render draws in unless told otherwise.
SIZE, DISTANCE, YFOV = 224, 2.5, math.radians(60)


@dataclass(frozen=True)
class Views:
    """The shapes of an input, and how to get what there is to see of each.

    `load` takes a row, here or on a worker, and gives its `views`, and `camera_to_world` where there are cameras.
    `rows` come in order; `known` holds them where they are known beforehand. All shapes have `views` views;
    `example` is what one looks like.
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
    """What was chosen for reading them; for a store, what they were rendered with is in `rendered`."""
    rendered: Mapping[str, Any]

    def warn_of_cut(self, preprocessing: "Preprocessing") -> None:
        """Say it when the encoder's crop cuts rendered shapes that fill their frame."""
        from sdfkit.images.rendering.cameras import silhouette_share

        if "distance" not in self.rendered or "yfov" not in self.rendered:
            return
        _, height, width, _ = self.example.shape
        yfov = math.radians(self.rendered["yfov"])
        kept = preprocessing.kept(width, height)
        share = silhouette_share(self.rendered["distance"], yfov, width, height, kept)
        if share < 1:
            log.warning(
                "the picture's edge or the encoder's crop cuts %.1f %% off a shape that fills the unit sphere; "
                "render with a larger --yfov or --distance", 100 * (1 - share),
            )  # fmt: skip


@contextmanager
def open_views(
    inputs: Sequence[str], kinds: Sequence[str], *, matte: str, manifest: Path | None
) -> Iterator[Views]:
    """Open a views store, or picture files.

    Args:
        inputs: One store, or files and folders; `-` is standard input.
        kinds: Of pictures: rgb, and depth and normal where they are wanted.
        matte: How the object of a file is told from its background.
        manifest: Labels to prefer.

    Raises:
        InputError: Neither, or without the kinds wanted.
    """
    from sdfkit.io.image_files import holds_images
    from sdfkit.io.stores.reader import open_store

    if holds_images(inputs):
        yield find_views(inputs, kinds, matte=matte, manifest=manifest)
        return
    with open_store(inputs[0], "views", manifest=manifest) as store:
        yield views_of(store, kinds, is_pipe=inputs[0] == STANDARD)


def find_views(inputs: Sequence[str], kinds: Sequence[str], *, matte: str, manifest: Path | None) -> Views:
    """What picture files show; see `open_views`."""
    from sdfkit.io.image_files import find_images

    if len(kinds) > 1:
        raise InputError(f"{inputs[0]}: a picture file has no {kinds[1]}; leave --with out, or render a mesh")
    images = find_images(inputs, manifest=manifest)
    return Views(
        rows=images,
        known=images,
        count=len(images),
        views=len(images[0].paths) or 1,
        example=np.zeros((1, SIZE, SIZE, 3), np.uint8),
        load=partial(_frame, matte=matte),
        has_cameras=False,
        history=[],
        settings={"matte": matte, "size": SIZE},
        rendered={},
    )


def views_of(store: "StoreReader", kinds: Sequence[str], *, is_pipe: bool) -> Views:
    """What an open views store shows; see `open_views`."""
    for kind in kinds:
        if kind not in store:
            raise InputError(f"{store.name}: views without {kind}; render them with --{kind}")
    count, views, height, width, _ = store.array("rgb").shape
    return Views(
        rows=store.rows("camera_to_world", *kinds),
        # On a pipe the last row's name comes last.
        known=None if is_pipe else store.all_rows(),
        count=count,
        views=views,
        example=np.zeros((len(kinds), height, width, 3), np.uint8),
        load=_stack,
        has_cameras=True,
        history=store.history,
        settings={},
        rendered=store.attributes.get("settings", {}),
    )


@contextmanager
def open_captions(path: Path, *, manifest: Path | None) -> Iterator[Views]:
    """Open a CSV file of captions, see `read_captions`."""
    rows = read_captions(path, manifest=manifest)
    yield Views(
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


def _frame(row: "ImageRow", *, matte: Any) -> dict[str, Any]:
    from sdfkit.images.photos import frame_photo

    pictures = []
    for photo in row.load():
        picture, found = frame_photo(photo, matte=matte, size=SIZE, distance=DISTANCE, yfov=YFOV)
        if matte == "auto" and found == "none":
            log.warning(
                "%s: its background is neither transparent nor plain; the whole picture is embedded", row.uid
            )
        pictures.append(picture[None])
    return {"views": pictures}


def _stack(row: "ArrayRow") -> dict[str, Any]:
    from sdfkit.images.structure import draw_depth, draw_normals

    if row.error:
        raise GeometryError(row.error)
    cameras = row.arrays["camera_to_world"]
    pictures = [row.arrays["rgb"]]
    if "depth" in row.arrays:
        pictures.append(draw_depth(row.arrays["depth"], cameras))
    if "normal" in row.arrays:
        pictures.append(draw_normals(row.arrays["normal"]))
    return {"camera_to_world": cameras, "views": list(np.stack(pictures, axis=1))}


def _take_captions(row: CaptionRow) -> dict[str, Any]:
    return {"views": row.captions}
