"""Lines of text that fit into a picture: the font, and texts that are shortened or broken into lines."""

import re
from bisect import bisect
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ImageFont

from sdfkit.rows import printable

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

# Characters of a text that are looked at, at its start and at its end.
LONGEST = 600


@lru_cache(maxsize=16)
def load_font(size: float) -> "FreeTypeFont":
    """Load the font DejaVu Sans, which has more letters than Pillow's default font and is that of matplotlib.

    Args:
        size: Size in pixels.
    """
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), size)


def shorten(text: str, width: float, font: "FreeTypeFont") -> str:
    """Cut the end of a text off, and write … in its place, so that the text fits into a width in pixels."""
    text = printable(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def wrap(text: str, width: float, font: "FreeTypeFont", most: int) -> list[str]:
    """Break a text into lines, at spaces and in paths if possible.

    Args:
        text: The text.
        width: Width of a line in pixels.
        font: Its font.
        most: Maximum number of lines. Of longer texts, the middle is left out: paths differ at the end.
    """
    text = printable(text)
    half, shown = LONGEST, text if len(text) <= 2 * LONGEST else f"{text[:LONGEST]}…{text[-LONGEST:]}"
    while len(lines := _break(shown, width, font)) > most:
        half = min(half, len(shown) // 2) * max(most, len(lines) - 1) // len(lines) * 19 // 20
        shown = f"{text[:half]}…{text[len(text) - half :]}"
    return lines


def _break(text: str, width: float, font: "FreeTypeFont") -> list[str]:
    lines = [""]
    for word in re.split(r"(?<=[\s/_:.-])", text):
        if font.getlength((lines[-1] + word).rstrip()) <= width:
            lines[-1] += word
        elif font.getlength(word) <= width:
            lines.append(word)
        else:
            while font.getlength(lines[-1] + word) > width:
                count = bisect(
                    range(1, len(word)), width, key=lambda end: font.getlength(lines[-1] + word[:end])
                )
                count = max(count, 0 if lines[-1] else 1)
                lines[-1:] = [lines[-1] + word[:count], ""]
                word = word[count:]
            lines[-1] += word
    return [line.strip() for line in lines if line.strip()] or [""]
