"""Stores for the tests of `sdfkit view`, and readers of its pictures and pages."""

import base64
import io
import json
import re
from importlib.resources import files

import numpy as np
from PIL import Image

from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row

EVIL = "<script>alert(1)</script>"
ROWS = [Row(0, "obj_0000", "chair"), Row(1, EVIL, "</script>$x_$"), Row(2, "obj_0002", "lamp")]
FAILED = [ROWS[0], Row(1, "obj_0001", "chair", error="no surface at all"), ROWS[2]]
STEPS, SIZE = 4, 16
THREE = files("sdfkit.report").joinpath("web", "three.min.js").read_text(encoding="utf-8")


def write_store(path, kind, rows, arrays, settings=None, **options):
    """Write a store with the given arrays for each row that did not fail."""
    with create_store(
        str(path), kind, rows=rows, history=[], settings=settings or {}, overwrite=False, **options
    ) as store:
        for name, (axes, values) in arrays.items():
            if axes[0] == "shape":
                store.create_array(name, shape=values.shape, dtype=values.dtype, axes=axes)
            else:
                store.create_array(name, data=values, axes=axes)
        for row in rows:
            own = {name: values[row.index] for name, (axes, values) in arrays.items() if axes[0] == "shape"}
            store.write(row, **({} if row.error else own))
    return path


def discs(radii):
    row, column = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return ((np.hypot(row, column) < np.asarray(radii)[..., None, None]) * 255).astype(np.uint8)


def write_trajectories(path, rows=ROWS, noise="scaled", steps=STEPS, **changes):
    """Write straight trajectories from noise to codes, whose silhouettes grow to a disc half as wide as the image."""
    rng = np.random.default_rng(0)
    ends, starts = rng.standard_normal((2, len(rows), 1, 6))
    share = np.linspace(0, 1, steps + 1)[:, None]
    trajectory = ((1 - share) * starts + share * ends).astype(np.float32)
    radii = np.tile(np.linspace(0, SIZE / 4, steps + 1), (len(rows), 1))
    arrays = {
        "code": (("shape", "dim"), trajectory[:, -1]),
        "trajectory": (("shape", "step", "dim"), trajectory),
        "silhouette": (("shape", "step", "row", "column"), discs(radii)),
        "truth": (("shape", "row", "column"), discs(radii[:, -1])),
        "picture": (("shape", "row", "column", "channel"), np.full((len(rows), SIZE, SIZE, 3), 99, np.uint8)),
    } | changes  # fmt: skip
    settings = {"steps": steps, "noise": noise}
    return write_store(path, "codes", rows, {n: a for n, a in arrays.items() if a is not None}, settings)


def picture_of(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def content_of(path):
    """Return the data of a page, after checking that it loads nothing else and runs only its own script."""
    page = path.read_text(encoding="utf-8").replace(THREE, "")
    assert page.startswith("<!doctype html>")
    assert page.count("<script") == page.count("</script") == 2
    assert EVIL not in page
    assert "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)=|@import|url\((?!\"\$\{film\.image\}\"\))", page)
    assert set(re.findall(r"https?://[^\"]*", page)) == {"http://www.w3.org/2000/svg"}
    return json.loads(re.search(r'<script type="application/json" id="content">(.*?)</script>', page)[1])


def frames_of(film):
    """Return the frames of an animation on a page."""
    kind, text = re.fullmatch(r"data:image/(png|webp);base64,(.*)", film["image"]).groups()
    sheet = Image.open(io.BytesIO(base64.b64decode(text)))
    assert sheet.format.lower() == kind
    wide = sheet.width // film["across"]
    high = sheet.height // -(-film["frames"] // film["across"])
    assert film["aspect"] == wide / high
    corners = [(n % film["across"] * wide, n // film["across"] * high) for n in range(film["frames"])]
    return np.stack([np.asarray(sheet.crop((x, y, x + wide, y + high))) for x, y in corners])
