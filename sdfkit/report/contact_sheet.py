"""Contact sheets: images of shapes, with the names of the shapes below them, in one PNG file."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from sdfkit.report.drawing.lettering import load_font, shorten, wrap
from sdfkit.rows import Row

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

GAP, SEAM, LINE, LETTERS = (
    12,
    2,
    17,
    12,
)  # pixels: gap between tiles, gap between images, line height, font size
INK, PALE, WRONG, PAPER = (30, 30, 30), (120, 120, 120), (180, 40, 30), (255, 255, 255)


@dataclass(frozen=True)
class Tile:
    """The images of one shape, side by side, with two lines of text (`title` and `facts`) below them."""

    title: str
    facts: str
    error: str
    """The reason why there are no images; empty if there are images."""
    pictures: Sequence[np.ndarray | str]
    """Each image as uint8 of shape (row, column), (row, column, 3) or (row, column, 4), or why it is missing."""


def caption(row: Row) -> str:
    """Return the title of a shape's tile: its uid and category."""
    return f"{row.uid}  {row.category}".strip()


def draw_sheet(
    title: str, labels: Sequence[str], tiles: Sequence[Tile], *, columns: int | None, size: int
) -> bytes:
    """Draw tiles row by row, and return the PNG file.

    Args:
        title: Title above the sheet.
        labels: Labels above the images of the first tile; there may be fewer labels than images.
        tiles: The tiles. They may have different numbers of images.
        columns: Number of tiles in a row; None to make the sheet a little wider than high.
        size: Pixels along the longer side of each image.
    """
    across = max([1, *(len(tile.pictures) for tile in tiles)])
    wide, high = across * (size + SEAM) - SEAM + GAP, size + 2 * LINE + GAP
    columns = min(columns or max(1, round((1.3 * len(tiles) * high / wide) ** 0.5)), len(tiles))
    font = load_font(LETTERS)
    title = shorten(title, max(columns * wide, 40 * LETTERS), font)
    top = GAP + LINE + LINE * bool(labels)
    width = max(columns * wide + GAP, round(font.getlength(title)) + 2 * GAP)
    sheet = Image.new("RGB", (width, top + -(-len(tiles) // columns) * high), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP // 2), title, fill=INK, font=font)
    for place, label in enumerate(labels):
        pen.text(
            (GAP + place * (size + SEAM) + size / 2, top - LINE), label, fill=PALE, font=font, anchor="ma"
        )
    for index, tile in enumerate(tiles):
        x, y = GAP + index % columns * wide, top + index // columns * high
        for place, picture in enumerate(tile.pictures):
            left = x + place * (size + SEAM)
            if isinstance(picture, str):
                _write_reason(pen, picture, left, y, size, size, font)
            else:
                _paste(sheet, picture, left, y, size)
        lines = [(tile.title, INK), (tile.facts, PALE)]
        if tile.error:
            _write_reason(pen, tile.error, x, y, wide - GAP, size, font)
        for line, (text, color) in enumerate(lines):
            text = shorten(text, wide - GAP, font)
            middle = x + (wide - GAP) / 2
            pen.text((middle, y + size + line * LINE), text, fill=color, font=font, anchor="ma")
    stream = BytesIO()
    sheet.save(stream, "png")
    return stream.getvalue()


def _paste(sheet: Image.Image, picture: np.ndarray, x: int, y: int, size: int) -> None:
    """Scale an image to a square of `size` pixels and paste it into the middle of the square."""
    image = Image.fromarray(picture)
    share = size / max(image.size)
    wanted = tuple(max(1, round(length * share)) for length in image.size)
    if wanted != image.size:
        image = image.resize(wanted, Image.Resampling.LANCZOS)  # type: ignore[arg-type]
    corner = (x + (size - image.width) // 2, y + (size - image.height) // 2)
    sheet.paste(image, corner, mask=image if image.mode == "RGBA" else None)


def _write_reason(
    pen: ImageDraw.ImageDraw, text: str, x: int, y: int, width: int, height: int, font: "FreeTypeFont"
) -> None:
    """Draw a frame, and in it the reason why an image is missing, broken into lines."""
    pen.rectangle((x, y, x + width - 1, y + height - 1), outline=(220, 220, 220))
    for number, line in enumerate(wrap(text, width - GAP, font, max(1, (height - GAP) // LINE))):
        pen.text((x + GAP // 2, y + GAP // 2 + number * LINE), line, fill=WRONG, font=font)
