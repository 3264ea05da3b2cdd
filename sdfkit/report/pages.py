"""Web pages: images, plots and trajectories in one HTML file that loads nothing from elsewhere."""

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

from sdfkit.report.plots import Curve, Panel, Scatter
from sdfkit.report.tables import plain

Content = dict[str, Any]
# Quality of WebP images: at 80 no difference from the original is visible, and the 24 images of a shape take 50 kB.
QUALITY = 80


# The scripts of every page, in order, and those of pages with models.
SCRIPTS = ("elements", "plots", "stepper", "gallery", "table")
MODEL_SCRIPTS = ("three.min", "models", "cameras", "controls", "viewer")


def make_page(title: str, content: Mapping[str, Any], *, models: bool = False) -> bytes:
    """Insert content, style and scripts into the page template, and return the HTML file.

    The scripts in the folder web define the content that they can show. Texts from foreign files are safe: they are
    embedded as JSON in which nothing can close the script element, the page shows them as text only, and the page's
    security policy forbids it to load anything.

    Args:
        title: Title of the window.
        content: What elements.js describes.
        models: Include three.js, for content with models.
    """
    scripts = [*SCRIPTS, *(MODEL_SCRIPTS if models else ()), "main"]
    script = "\n".join(_read_part(f"{name}.js") for name in scripts)
    # allow_nan=False, because JSON has no NaN: an error here is better than a page that does not open.
    text = json.dumps(content, default=plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    safe = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    style = _read_part("page.css") + _read_part("table.css")
    parts = {"title": html.escape(title), "style": style, "content": safe, "script": script}
    page, rest = "", _read_part("page.html")
    for name, part in parts.items():
        before, _, rest = rest.partition(f"{{{{{name}}}}}")
        page += before + part
    # File names may contain bytes that are not valid text.
    return (page + rest).encode("utf-8", "replace")


def _read_part(name: str) -> str:
    return files("sdfkit.report").joinpath("web", name).read_text(encoding="utf-8")


def pack_film(pictures: Sequence[np.ndarray] | np.ndarray, *, size: int, lossless: bool) -> Content:
    """Pack the frames of an animation into one image, as a grid. The page shows one frame of it at a time.

    Args:
        pictures: Each frame as uint8 of shape (row, column), (row, column, 3) or (row, column, 4).
        size: Pixels along the longer side of a frame; larger frames are scaled down.
        lossless: Use PNG, which for silhouettes is also smaller than WebP; otherwise use WebP.
    """
    images = [Image.fromarray(picture) for picture in pictures]
    for image in images:
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
    width, height = images[0].size
    # The image is about square, because browsers scale down very long images and WebP does not allow them.
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


def describe_panel(panel: Panel | Scatter) -> Content:
    """Convert a plot to content of the page."""
    content: Content = {"title": panel.title, "x": panel.x, "y": panel.y}
    if isinstance(panel, Scatter):
        points = [
            {"x": _number(x), "y": _number(y), "group": group, "name": name}
            for group, members in panel.groups.items()
            for name, (x, y) in members
        ]
        return content | {"points": points, "equal": True}
    places = [x for curve in panel.curves.values() for x in curve.x] or [0.0]
    ends = (min(places), max(places))
    baselines = {
        name: base if isinstance(base, Curve) else Curve(ends, (base, base))
        for name, base in panel.baselines.items()
    }
    lines = [
        {"name": name, "x": list(map(_number, curve.x)), "y": list(map(_number, curve.y))}
        for name, curve in [*panel.curves.items(), *baselines.items()]
    ]
    return content | {"lines": lines, "log": "y" in panel.log}


def _number(value: float) -> float | None:
    """Round to six digits, finer than the pixels of a screen; None for a number that is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def round_numbers(array: np.ndarray) -> list[Any]:
    """Convert an array to nested lists of rounded numbers."""
    if array.ndim > 1:
        return [round_numbers(part) for part in array]
    return [_number(float(value)) for value in array]
