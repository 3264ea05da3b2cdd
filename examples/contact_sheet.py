#!/usr/bin/env python3
"""Draw meshes beside their predictions, shape by shape, into one PNG.

    python contact_sheet.py closed/ predicted/ -o sheet.png
    python contact_sheet.py closed/ predicted/ retrieved/ -o sheet.png

Files with the same name in all folders are meshes of the same shape. The shapes are drawn in the order of the first
folder. Each mesh is scaled to its own unit frame (centred on the bounding box, farthest vertex at distance 1), and all
are seen from the same direction. In place of a mesh that is missing or cannot be drawn, the reason is written.
"""

import argparse
from pathlib import Path

import numpy as np

from sdfkit.errors import SdfkitError
from sdfkit.geometry.frame import normalise
from sdfkit.images.turntable import draw_turntable
from sdfkit.io.meshes.folders import is_empty
from sdfkit.io.meshes.reader import MeshRow, open_meshes
from sdfkit.report.contact_sheet import Tile, caption, draw_sheet


def read_folder(path: str) -> dict[str, MeshRow]:
    if is_empty(path):
        return {}
    with open_meshes([path], manifest=None) as meshes:
        return {Path(row.path).stem: row for row in meshes}


def draw(row: MeshRow | None, size: int) -> np.ndarray | str:
    """An image of the mesh, or the reason why there is none."""
    if row is None:
        return "no mesh"
    try:
        return draw_turntable(normalise(row.load())[0], views=1, size=size)[0]
    except SdfkitError as error:
        return str(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "folders", nargs="+", help="folders of meshes: first the shapes, then the meshes to draw beside them"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG to write")
    parser.add_argument("--columns", type=int, default=4, help="number of shapes in a row")
    parser.add_argument("--most", type=int, help="number of shapes to draw at most; default: all")
    parser.add_argument(
        "--size", type=int, default=180, help="width and height of the image of one mesh, in pixels"
    )
    options = parser.parse_args()

    folders = [read_folder(path) for path in options.folders]
    shapes = dict(list(folders[0].items())[: options.most])
    if not shapes:
        parser.error(f"{options.folders[0]}: the folder has no meshes")
    tiles = [
        Tile(caption(row), "", "", [draw(folder.get(name), options.size) for folder in folders])
        for name, row in shapes.items()
    ]
    title = f"{len(shapes)} shapes, each from left to right: {', '.join(options.folders)}"
    options.output.write_bytes(draw_sheet(title, [], tiles, columns=options.columns, size=options.size))
    print(f"{len(shapes)} shapes drawn to {options.output}")


if __name__ == "__main__":
    main()
