"""What `embed` and `predict` make of photos: the mask of the object, and the picture that the encoder is given."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from sdfkit.errors import InputError
from sdfkit.images.photos import frame_object, separate_object
from sdfkit.io.image_files import find_images
from sdfkit.io.views import FRAME
from sdfkit.report.contact_sheet import Tile, draw_sheet
from sdfkit.report.gallery import Drawing, describe_count
from sdfkit.report.pages import Content, make_page, pack_film
from sdfkit.report.viewer.appearance import Appearance
from sdfkit.rows import Row
from sdfkit.runtime.pool import PoolOptions, compute_rows

if TYPE_CHECKING:
    from sdfkit.images.encoding.preprocess import Preprocessing
    from sdfkit.io.image_files import ImageRow

Matte = Literal["auto", "alpha", "plain", "none"]
# The methods that are shown beside each other.
METHODS: tuple[Matte, ...] = ("alpha", "plain", "none")
WHOLE = "no mask: the whole picture is kept"
UNCROPPED = "what every encoder is given, before it resizes and crops it (--model NAME draws that)"
# What `embed` does with a photo without --matte, by the method that it finds.
OUTCOMES = {
    "alpha": "embed cuts the object out by the transparency of the photo (alpha)",
    "plain": "embed removes the background, which is of one colour (plain)",
    "none": "embed takes the WHOLE PICTURE, because its background is neither transparent nor of one colour (none)",
}


class Result(NamedTuple):
    """What a method makes of a photo. What is missing is the reason.

    Attributes:
        mask: Share of each pixel that the object covers, uint8 (row, column).
        input: The picture that the encoder is given, uint8 (row, column, 3).
    """

    mask: np.ndarray | str
    input: np.ndarray | str


@dataclass(frozen=True)
class Photo:
    """One photo.

    Attributes:
        name: Name of the shape, and of the file if the shape has several.
        outcome: A sentence on what `embed` does with it.
        picture: The photo, uint8 (row, column, 4).
        results: What each method makes of it.
    """

    name: str
    outcome: str
    picture: np.ndarray
    results: Sequence[Result]


def draw_photos(
    inputs: Sequence[str],
    matte: Literal[Matte, "all"],
    model: str | None,
    appearance: Appearance,
    options: PoolOptions,
    *,
    manifest: Path | None,
) -> Drawing:
    """Draw photos, the masks that separate their objects, and the pictures that an encoder is given.

    Args:
        inputs: Image files and folders of them; see `find_images`.
        matte: Method to show, or all of them but auto beside each other.
        model: Encoder whose resized and cropped input is drawn; None to draw what any encoder is given.
        appearance: How to draw.
        options: Number of processes.
        manifest: Manifest whose labels replace those of the files.

    Raises:
        MissingError: The encoder is not on this machine.
    """
    preprocessing = None
    if model is not None:
        from sdfkit.images.encoding.features import load_preprocessing

        preprocessing = load_preprocessing(model)
    rows, chosen = find_images(inputs, manifest=manifest), METHODS if matte == "all" else (matte,)
    count = min(len(rows), appearance.limit)
    collected = _Collector()
    load = partial(_examine_row, methods=chosen, preprocessing=preprocessing, size=appearance.size)
    compute_rows(collected, islice(rows, count), count, load, options)
    note = describe_count(count, len(rows), len(collected.failed))
    note += f"; input: as {model} resizes and crops it" if model else f"; input: {UNCROPPED}"
    draw = _make_page if appearance.is_page else _make_sheet
    return Drawing(draw(collected.photos, chosen, note, appearance), count, collected.failed)


class _Collector:
    """A writer that collects the photos of all shapes, or the reason why a shape has none."""

    def __init__(self) -> None:
        self.failed: set[int] = set()
        self.photos: list[Photo | Row] = []

    def has(self, row: Row) -> bool:
        return False

    def write(self, row: Row, **values: Any) -> None:
        if row.error:
            self.failed.add(row.index)
            self.photos.append(row)
        self.photos += values.get("photos", ())


def _examine_row(
    row: "ImageRow", *, methods: Sequence[Matte], preprocessing: "Preprocessing | None", size: int
) -> dict[str, Any]:
    names = [row.uid] if len(row.paths) < 2 else [f"{row.uid}, {Path(path).name}" for path in row.paths]
    pairs = zip(names, row.load(), strict=True)
    return {"photos": [examine_photo(name, photo, methods, preprocessing, size) for name, photo in pairs]}


def examine_photo(
    name: str,
    photo: np.ndarray,
    methods: Sequence[Matte],
    preprocessing: "Preprocessing | None",
    size: int,
) -> Photo:
    """Apply methods to a photo, and find out which of them `embed` chooses.

    Args:
        name: Name of the photo.
        photo: The photo, uint8 (row, column, 4).
        methods: The methods.
        preprocessing: Preprocessing of the encoder; None to leave it out.
        size: Maximum width and height of the pictures that are kept.
    """
    results: dict[str, Result] = {}
    found = ""
    try:
        results["auto"], found = _apply("auto", photo, preprocessing)
        results[found] = results["auto"]
        outcome = OUTCOMES[found]
    except InputError as error:
        outcome = f"embed refuses the photo: {error}"
        results["auto"] = Result(str(error), str(error))
    for method in methods:
        if method not in results:
            try:
                results[method] = _apply(method, photo, preprocessing)[0]
            except InputError as error:
                results[method] = Result(str(error), "not made")
    shown = [Result(*(_shrink(part, size) for part in results[method])) for method in methods]
    return Photo(name, outcome, np.asarray(_shrink(photo, size)), shown)


def _apply(method: Matte, photo: np.ndarray, preprocessing: "Preprocessing | None") -> tuple[Result, str]:
    on_black, cover, found = separate_object(photo, matte=method)
    picture = frame_object(on_black, cover, **FRAME)
    if preprocessing is not None:
        from sdfkit.images.encoding.preprocess import show_input

        picture = show_input(picture[None], preprocessing)[0]
    return Result(WHOLE if cover is None else np.rint(255 * cover).astype(np.uint8), picture), found


def _shrink(picture: np.ndarray | str, size: int) -> np.ndarray | str:
    from PIL import Image

    if isinstance(picture, str):
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return np.array(image)


def _make_sheet(
    photos: Sequence[Photo | Row], methods: Sequence[Matte], note: str, appearance: Appearance
) -> bytes:
    tiles = []
    for photo in photos:
        if isinstance(photo, Row):
            tiles.append(Tile(photo.uid, "", photo.error, ()))
            continue
        parts = [part for result in photo.results for part in result]
        tiles.append(Tile(photo.name, photo.outcome, "", [photo.picture, *parts]))
    labels = ["photo", *(label for method in methods for label in (f"{method}: mask", f"{method}: input"))]
    title = f"{appearance.heading}: {note}"
    return draw_sheet(title, labels, tiles, columns=1, size=appearance.size)


def _make_page(
    photos: Sequence[Photo | Row], methods: Sequence[Matte], note: str, appearance: Appearance
) -> bytes:
    columns = [
        {"name": "shape", "kind": "text"}, {"name": "without --matte", "kind": "text"},
        {"name": "photo", "kind": "cells"}, *({"name": f"--matte {method}", "kind": "cells"} for method in methods),
    ]  # fmt: skip
    rows: list[list[Any]] = []
    for photo in photos:
        if isinstance(photo, Row):
            cells = [{"column": "photo", "error": photo.error}]
            rows.append([photo.uid, "cannot be read", cells, *([] for _ in methods)])
            continue
        pairs = [[_make_cell("mask", one.mask), _make_cell("input", one.input)] for one in photo.results]
        rows.append([photo.name, photo.outcome, [_make_cell("photo", photo.picture)], *pairs])
    content = {"heading": appearance.heading, "notes": [note], "table": {"columns": columns, "rows": rows}}
    return make_page(appearance.heading, content)


def _make_cell(name: str, picture: np.ndarray | str) -> Content:
    if isinstance(picture, str):
        return {"column": name, "error": picture}
    return {"column": name, "film": pack_film([picture], size=max(picture.shape), lossless=False)}
