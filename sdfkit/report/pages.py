"""The door to web pages: pictures, maps, curves and trajectories in one HTML file that needs nothing else."""

import html
import json
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from importlib.resources import files
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from sdfkit.report.plots import Panel, Scatter
from sdfkit.report.tables import plain

Content = dict[str, Any]
# What a photograph-like picture may lose: at 80 no difference is seen, and a turning shape takes 50 kB.
QUALITY = 80


def write_page(title: str, content: Mapping[str, Any]) -> bytes:
    """Put content into the page that shows it; page.html tells what it understands.

    All texts of foreign files travel as JSON, in which nothing can end the script that holds it, and are shown as
    text only; the page forbids itself to load anything.
    """
    template = files("sdfkit").joinpath("page.html").read_text(encoding="utf-8")
    # No number that is not finite: JSON has none, and a page that breaks is worse than a command that does.
    text = json.dumps(content, default=plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    head, _, rest = template.partition("{{title}}")
    middle, _, tail = rest.partition("{{content}}")
    safe = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    # A name of a file may hold bytes that are no text.
    return "".join([head, html.escape(title), middle, safe, tail]).encode("utf-8", "replace")


def film(pictures: Sequence[np.ndarray] | np.ndarray, *, size: int, lossless: bool) -> Content:
    """Pictures of one size, row by row in one image, which the page shows one at a time.

    Args:
        pictures: (row, column), (row, column, 3) or (row, column, 4) uint8 each.
        size: Pixels along the longer side; larger pictures are shrunk.
        lossless: As PNG, which of silhouettes is the smaller one too; else as WebP.
    """
    images = [Image.fromarray(picture) for picture in pictures]
    for image in images:
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
    width, height = images[0].size
    # As square as can be: browsers shrink, and WebP refuses, what is very long.
    across = math.ceil(math.sqrt(len(images)))
    sheet = Image.new(images[0].mode, (across * width, -(-len(images) // across) * height))
    for index, image in enumerate(images):
        sheet.paste(image, (index % across * width, index // across * height))
    stream = BytesIO()
    if lossless:
        sheet.save(stream, "png", optimize=True)
    else:
        sheet.save(stream, "webp", quality=QUALITY, method=4)
    kind = "png" if lossless else "webp"
    return {
        "image": f"data:image/{kind};base64,{b64encode(stream.getvalue()).decode()}",
        "frames": len(images),
        "across": across,
        "aspect": width / height,
    }


def plot(panel: Panel | Scatter) -> Content:
    """A panel as the page draws it."""
    content: Content = {"title": panel.title, "x": panel.x, "y": panel.y}
    if isinstance(panel, Scatter):
        points = [
            {"x": _number(x), "y": _number(y), "group": group, "name": name}
            for group, members in panel.groups.items()
            for name, (x, y) in members
        ]
        return content | {"points": points, "equal": True}
    lines = [
        {"name": name, "x": list(map(_number, curve.x)), "y": list(map(_number, curve.y))}
        for name, curve in panel.curves.items()
    ]
    return content | {"lines": lines, "log": "y" in panel.log}


def _number(value: float) -> float | None:
    """Six digits, which no screen shows more of; None where there is no number."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def numbers(array: np.ndarray) -> list[Any]:
    """An array as nested lists, as short as they can be."""
    if array.ndim > 1:
        return [numbers(part) for part in array]
    return [_number(float(value)) for value in array]
