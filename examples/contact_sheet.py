#!/usr/bin/env python3
"""Draw meshes beside their predictions, shape by shape, into one PNG.

    python contact_sheet.py closed/ predicted/ -o picture.png
    python contact_sheet.py closed/ predicted/ retrieved/ -o picture.png

Meshes of a shape are files of one name; shapes come in the order of the first folder, and each mesh is drawn in its own
unit frame, from the same side. One that is missing keeps its place and says so: nothing that failed is left out.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sdfkit.errors import SdfkitError
from sdfkit.geometry.frame import normalise
from sdfkit.images.rendering.cameras import look_at
from sdfkit.images.rendering.rasteriser import render_views
from sdfkit.io.meshes.reader import MeshRow, is_empty, open_meshes

DISTANCE, YFOV = 2.6, math.radians(46)  # the whole unit sphere, up to the edge
AZIMUTH, HEIGHT = math.radians(35), math.radians(22)
CAPTION, GAP, TITLE = 20, 16, 30
INK, PALE, PAPER = (40, 40, 40), (150, 150, 150), (255, 255, 255)


def read_folder(path: str) -> dict[str, MeshRow]:
    if is_empty(path):
        return {}
    with open_meshes([path], manifest=None) as meshes:
        return {Path(row.path).stem: row for row in meshes}


def draw(row: MeshRow | None, size: int) -> Image.Image:
    """A picture of a mesh on white, or the reason why there is none."""
    picture = Image.new("RGB", (size, size), PAPER)
    reason = "no mesh"
    try:
        if row is not None:
            mesh, _ = normalise(row.load())
            eye = DISTANCE * np.array([
                math.sin(AZIMUTH) * math.cos(HEIGHT), math.sin(HEIGHT), math.cos(AZIMUTH) * math.cos(HEIGHT),
            ])  # fmt: skip
            camera = look_at(eye, np.zeros(3), np.array([0.0, 1.0, 0.0])).astype(np.float32)
            options = {"crease": 0.0, "cull": False, "depth": False, "normal": False, "paint": None}
            views = render_views(mesh, camera[None], yfov=YFOV, size=size, **options)
            # At the edges the picture is mixed with black already; only the paper's share is missing.
            return Image.fromarray(np.minimum(views.rgb[0] + 255 - views.mask[0, :, :, None].astype(int), 255)
                                   .astype(np.uint8))  # fmt: skip
    except SdfkitError as error:
        reason = str(error)
    ImageDraw.Draw(picture).multiline_text((8, size // 2), reason, fill=PALE, font=ImageFont.load_default(12))
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "folders", nargs="+", help="folders of meshes: the shapes, then what is drawn beside them"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG to write")
    parser.add_argument("--columns", type=int, default=4, help="shapes in a row")
    parser.add_argument("--size", type=int, default=180, help="pixels a picture")
    options = parser.parse_args()

    folders = [read_folder(path) for path in options.folders]
    shapes = folders[0]
    if not shapes:
        parser.error(f"{options.folders[0]}: a folder without meshes")
    columns, size = min(options.columns, len(shapes)), options.size
    wide, high = len(folders) * size + GAP, size + CAPTION + GAP
    rows = -(-len(shapes) // columns)
    sheet = Image.new("RGB", (columns * wide + GAP, rows * high + TITLE), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    title = f"{len(shapes)} shapes, each from left to right: {', '.join(options.folders)}"
    pen.text((GAP, 8), title, fill=INK, font=ImageFont.load_default(15))
    for index, (uid, row) in enumerate(shapes.items()):
        x, y = GAP + index % columns * wide, TITLE + index // columns * high
        for place, folder in enumerate(folders):
            sheet.paste(draw(folder.get(uid), size), (x + place * size, y))
        caption = f"{uid}  {row.category}"
        while font.getlength(caption) > len(folders) * size:
            caption = caption[:-2] + "…"
        pen.text((x + len(folders) * size / 2, y + size), caption, fill=INK, font=font, anchor="ma")
    sheet.save(options.output)
    print(f"{len(shapes)} shapes drawn to {options.output}")


if __name__ == "__main__":
    main()
